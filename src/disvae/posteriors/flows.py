"""Posteriors made by normalising flows, with zuko."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints

from disvae._extras import require
from disvae.distributions.families import Shape
from disvae.nn import check_int, check_widths
from disvae.nn.layers import linear_in_full_precision
from disvae.posteriors.gaussian import DiagonalNormal


class InverseAutoregressive(nn.Module):
    r"""Features to a normal posterior that inverse autoregressive transforms bend.

    .. math::

        z^{(0)} \sim N(\mu(h), \mathrm{diag}\,\sigma(h)^2), \qquad
        z^{(t)}_d = a_d z^{(t-1)}_d + b_d, \quad (a_d, b_d) = f_t(z^{(t-1)}_{<d}, h)

    A sample takes one pass through the networks. The density of a sample is known from the same
    pass; that of any other point takes D passes, one dimension after another. The KL has no closed
    form. It needs zuko (``pip install 'disvae[flows]'``), as do other flows of that library, which
    are posterior heads unmodified: ``zuko.flows.NSF(D, context=features)``.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.
        transforms: The number of transforms, each with the order of the dimensions reversed.
        hidden: The widths of the hidden layers of each masked network.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ImportError: If zuko is not installed.
        ValueError: If a size is below 1.

    Example:
        >>> import torch
        >>> q = InverseAutoregressive(512, 10)(torch.zeros(4, 512))
        >>> q.log_prob(q.rsample()).shape
        torch.Size([4])

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016,
        https://arxiv.org/abs/1606.04934.
    """

    def __init__(
        self,
        features: int,
        latent_dim: int,
        transforms: int = 2,
        hidden: Sequence[int] = (64,),
    ) -> None:
        super().__init__()
        flows, lazy = require("zuko.flows", "flows"), require("zuko.lazy", "flows")
        self.latent_dim = check_int(latent_dim, "latent_dim")
        features = check_int(features, "features")
        order = torch.arange(self.latent_dim)
        steps = [
            lazy.LazyInverse(
                flows.autoregressive.MaskedAutoregressiveTransform(
                    self.latent_dim,
                    context=features,
                    order=order if step % 2 == 0 else order.flip(0),
                    hidden_features=check_widths(hidden, "hidden"),
                )
            )
            for step in range(check_int(transforms, "transforms"))
        ]
        for step in steps:
            _in_full_precision(step)
        self.flow = lazy.Flow(steps, DiagonalNormal(features, self.latent_dim))

    def forward(self, h: Tensor) -> "Remembered":
        """The posterior for features ``h`` of shape ``(B, features)``."""
        return Remembered(self.flow(h))


class _MaskedHead(nn.Module):
    """A masked linear layer of zuko that computes in float32 at least, with autocast off."""

    mask: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("mask", layer.mask, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return linear_in_full_precision(h, self.mask * self.weight, self.bias)


def _in_full_precision(module: nn.Module) -> None:
    """Replace the masked layers inside: in half precision a density would lose its digits."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, _MaskedHead(child))
        else:
            _in_full_precision(child)


class Remembered(Distribution):
    r"""A flow that knows the density of its last sample, without inverting its transforms.

    Args:
        flow: A distribution with ``rsample_and_log_prob``, as those of zuko.

    Shape:
        As ``flow``.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self._last: tuple[Tensor, Tensor] | None = None
        super().__init__(flow.batch_shape, flow.event_shape, validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return Remembered(self.flow.expand(Size(batch_shape)))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        z, log_prob = self.flow.rsample_and_log_prob(Size(sample_shape))
        self._last = z, log_prob
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities; those of the tensor that was sampled last are at hand."""
        if self._last is not None and value is self._last[0]:
            return self._last[1]
        return self.flow.log_prob(value)
