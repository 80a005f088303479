r"""Kernels for the maximum mean discrepancy.

A kernel is any function ``kernel(squared_distance, latent_dim)`` of a tensor of squared distances
that returns a tensor of the same shape. Those here are sums over several scales, and are evaluated
in the cache; a kernel of one's own goes through autograd, with tensors of all pairs.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kernel = Callable[[Tensor, int], Tensor]


class MultiScale:
    """What kernels that are sums over several scales share."""

    def __init__(self, scales: Sequence[float] | None = None) -> None:
        if isinstance(scales, int | float):
            scales = (scales,)
        self.scales = None if scales is None else _checked(scales)

    def __repr__(self) -> str:
        scales = "" if self.scales is None else ", ".join(f"{scale:g}" for scale in self.scales)
        return f"{type(self).__name__}({f'({scales})' if scales else ''})"

    def __call__(self, squared_distance: Tensor, latent_dim: int) -> Tensor:
        """The kernel of squared distances, with autograd."""
        raise NotImplementedError

    def accumulate(
        self,
        s: Tensor,
        latent_dim: int,
        weight: Tensor,
        sums: Tensor,
        buffer: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add ``k(s) @ weight`` to sums, and overwrite slope by ``-k'(s)``; s is not kept."""
        raise NotImplementedError


def _checked(scales: Sequence[float]) -> tuple[float, ...]:
    mend = "pass e.g. scales=(0.5, 1.0, 2.0), or none for those relative to latent_dim."
    if not isinstance(scales, Sequence) or not all(
        isinstance(scale, int | float) and not isinstance(scale, bool) for scale in scales
    ):
        raise TypeError(f"Expected scales to be numbers, but got {type(scales).__name__}; {mend}")
    found = tuple(float(scale) for scale in scales)
    # squares beyond these would leave the range of float32
    if not found or not all(1e-15 <= scale <= 1e15 for scale in found):
        raise ValueError(
            f"Expected scales to be positive numbers from 1e-15 to 1e15, but got {found!s:.80}; "
            f"{mend}"
        )
    return found


class RBF(MultiScale):
    r"""Radial basis functions of several lengths: Gaussian kernels.

    .. math::

        k(u, v) = \sum_k \exp\Big(-\frac{\|u - v\|^2}{2 \sigma_k^2}\Big)

    Args:
        scales: The lengths :math:`\sigma_k`. By default seven, relative to the number D of latent
            dimensions: :math:`\sigma_k^2 = D \cdot 2^k` for k from -3 to 3, where
            :math:`2D` is the mean squared distance of two draws from N(0, I).

    Lengths whose squares differ by powers of two (by :math:`\sqrt 2` or 2 from one to the next)
    cost least: an exponential is squared from one to the next.

    Example:
        >>> import torch
        >>> RBF(scales=(1.0, 2.0))(torch.tensor([0.0, 8.0]), 2)  # 2, then exp(-4) + exp(-1)
        tensor([2.0000, 0.3862])

    References:
        Gretton et al., A Kernel Two-Sample Test, 2012,
        https://jmlr.org/papers/v13/gretton12a.html.
    """

    def __call__(self, squared_distance: Tensor, latent_dim: int) -> Tensor:
        """The kernel of squared distances, with autograd."""
        total = torch.zeros_like(squared_distance)
        for rate in self._rates(latent_dim):
            total = total + (-rate * squared_distance).exp()
        return total

    def accumulate(
        self,
        s: Tensor,
        latent_dim: int,
        weight: Tensor,
        sums: Tensor,
        buffer: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add ``k(s) @ weight`` to sums, and overwrite slope by ``-k'(s)``; s is not kept."""
        matrix = buffer.flatten(0, -2)
        first = last = 0.0
        for rate in self._rates(latent_dim):
            squarings = _power_of_two(rate, last)
            # each squaring doubles the rounding error of the exponential: 4e-6 after six at most,
            # and that only at pairs much closer than all lengths
            if squarings is None or rate > 64.1 * first:
                # exponentials that underflow take ten times as long
                torch.mul(s, -rate, out=buffer).clamp_(min=-80.0).exp_()
                first = rate
            else:
                for _ in range(squarings):
                    # and so do, on some processors, products that do
                    buffer.clamp_(min=1e-18).square_()
            sums.addmv_(matrix, weight)
            if slope is not None and last:
                slope.add_(buffer, alpha=rate)
            elif slope is not None:
                torch.mul(buffer, rate, out=slope)
            last = rate

    def _rates(self, latent_dim: int) -> list[float]:
        """The factors of the squared distance, ascending."""
        if self.scales is None:
            return [0.5 / latent_dim * 2.0**k for k in range(-3, 4)]
        return sorted(0.5 / scale**2 for scale in self.scales)


def _power_of_two(rate: float, last: float) -> int | None:
    """How often an exponential is squared from one rate to the next, if that is how to get it."""
    if not last:
        return None
    power = round(math.log2(rate / last))
    return power if math.isclose(rate, last * 2.0**power, rel_tol=1e-14) else None


class InverseMultiquadratic(MultiScale):
    r"""Inverse multiquadratic kernels of several scales, with heavier tails than :class:`RBF`.

    .. math::

        k(u, v) = \sum_k \frac{C_k}{C_k + \|u - v\|^2}

    Args:
        scales: The squared lengths :math:`C_k`. By default the seven of the WAE paper's code for a
            prior of unit variance, relative to the number D of latent dimensions:
            :math:`C_k = 2 D c` for c in {0.1, 0.2, 0.5, 1, 2, 5, 10}.

    Example:
        >>> import torch
        >>> InverseMultiquadratic(scales=(1.0, 4.0))(torch.tensor([0.0, 4.0]), 2)  # 2, 1/5 + 1/2
        tensor([2.0000, 0.7000])

    References:
        Tolstikhin et al., Wasserstein Auto-Encoders, 2017, https://arxiv.org/abs/1711.01558.
    """

    def __call__(self, squared_distance: Tensor, latent_dim: int) -> Tensor:
        """The kernel of squared distances, with autograd."""
        total = torch.zeros_like(squared_distance)
        for scale in self._squares(latent_dim):
            total = total + scale / (scale + squared_distance)
        return total

    def accumulate(
        self,
        s: Tensor,
        latent_dim: int,
        weight: Tensor,
        sums: Tensor,
        buffer: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add ``k(s) @ weight`` to sums, and overwrite slope by ``-k'(s)``; s is not kept."""
        matrix = buffer.flatten(0, -2)
        for k, scale in enumerate(self._squares(latent_dim)):
            torch.add(s, scale, out=buffer).reciprocal_()
            sums.addmv_(matrix, weight, alpha=scale)
            if slope is not None and k:
                slope.addcmul_(buffer, buffer, value=scale)
            elif slope is not None:
                torch.mul(buffer, scale, out=slope).mul_(buffer)

    def _squares(self, latent_dim: int) -> Sequence[float]:
        if self.scales is None:
            return [2 * latent_dim * c for c in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return self.scales
