"""What a posterior with independent dimensions costs under a linear decoder, in closed form."""

import dataclasses
import math
import numbers

import scipy.linalg
import torch
from torch import Tensor

from disvae.evaluation.findings import Finding, listing
from disvae.nn import check_finite

# how many times longer a column may be than what sets it apart: all is right to a millionth then
_FAR = 1e10


@dataclasses.dataclass(frozen=True, eq=False)
class DiagonalGap(Finding):
    r"""What :func:`best_diagonal_gap` finds, in nats, the mean over the data; it prints as a table.

    Attributes:
        optimum: The highest value of the objective over all posteriors, which a normal one with a
            full covariance has.
        diagonal: The highest value over normal posteriors with independent dimensions.
        gap: The first minus the second, the same for every datum; never negative.
        precision: The optimal posterior's precision :math:`\Lambda`, ``(D, D)``, in float64.
    """

    optimum: float
    diagonal: float
    gap: float
    precision: Tensor

    def __str__(self) -> str:
        """A table for the terminal."""
        return listing(
            [
                ("optimum", f"{self.optimum:.4f} nats, over all posteriors"),
                ("diagonal", f"{self.diagonal:.4f} nats, over those with independent dimensions"),
                ("gap", f"{self.gap:.4f} nats"),
            ]
        )


def best_diagonal_gap(
    weight: Tensor,
    x: Tensor,
    *,
    noise_scale: float = 1.0,
    bias: Tensor | None = None,
    prior_scale: float = 1.0,
    beta: float = 1.0,
) -> DiagonalGap:
    r"""How far the best posterior with independent dimensions stays below the best of all.

    For the linear decoder :math:`p(x|z) = N(Wz + b, \sigma^2 I)` and the prior
    :math:`p(z) = N(0, s^2 I)`, the objective :math:`E_q[\log p(x|z)] - \beta\,KL(q \| p)` is
    highest at the normal posterior

    .. math::

        q^*(z|x) = N(m, \Lambda^{-1}), \quad
        \Lambda = \frac{I}{s^2} + \frac{W^\top W}{\beta\sigma^2}, \quad
        m = \Lambda^{-1} \frac{W^\top (x - b)}{\beta\sigma^2},

    and at any other q it is lower by :math:`\beta\,KL(q \| q^*)`. Among those with independent
    dimensions the least of this has the same mean and the variances :math:`1/\Lambda_{dd}`:

    .. math::

        \text{gap} = \frac\beta2 \Big(\sum_d \log \Lambda_{dd} - \log|\Lambda|\Big) \ge 0,

    which is 0 if and only if the columns of W are orthogonal. The optimum is the same for W and
    :math:`W R^\top`, the decoder in a latent space rotated by R, but the gap is not: so a posterior
    with independent dimensions prefers some axes, though prior and objective do not.

    Args:
        weight: The decoder's matrix W, ``(features, D)``, as ``nn.Linear`` holds it.
        x: Data, ``(N, features)``.
        noise_scale: The decoder's standard deviation :math:`\sigma`.
        bias: The decoder's bias b, ``(features,)``; by default 0.
        prior_scale: The prior's standard deviation s.
        beta: The weight of the KL.

    Raises:
        TypeError: If a tensor is no floating-point tensor.
        ValueError: If shapes do not go together, a scale or beta is not positive and finite, or
            the columns are too large or too nearly dependent to be told apart in float64.

    Example:
        >>> import torch
        >>> from disvae import evaluation
        >>> W, x = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, -1.0]])
        >>> evaluation.best_diagonal_gap(W, x).gap
        0.0
        >>> R = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
        >>> print(evaluation.best_diagonal_gap(W @ R.T, x))
        optimum   -3.3392 nats, over all posteriors
        diagonal  -3.4334 nats, over those with independent dimensions
        gap       0.0942 nats

    References:
        Lucas et al., Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse, 2019,
        https://arxiv.org/abs/1911.02469, and Rolinek et al., Variational Autoencoders Pursue PCA
        Directions (by Accident), 2019, https://arxiv.org/abs/1812.06775, for what diagonal
        posteriors do; Mathieu et al., Disentangling Disentanglement in Variational Autoencoders,
        2019, https://arxiv.org/abs/1812.02833, for the invariance that they break.
    """
    weight, x, bias = _checked(weight, x, bias)
    noise_scale = _positive(noise_scale, "noise_scale")
    prior_scale = _positive(prior_scale, "prior_scale")
    beta = _positive(beta, "beta")
    features, dim = weight.shape
    unit = math.sqrt(beta) * noise_scale
    root = torch.cat((weight / unit, torch.eye(dim, dtype=weight.dtype) / prior_scale))
    precision = root.T @ root
    if not precision.isfinite().all():
        raise _not_told_apart()
    # of the root, for squares lose half of the digits
    q, r = _qr(root)
    diagonal = r.diagonal().abs()
    # of each column what lies along those before it, beside what does not
    along = (r.triu(diagonal=1) / diagonal).square().sum(0)
    if not along.max() < _FAR**2:
        raise _not_told_apart()
    gap = 0.5 * beta * along.log1p().sum()

    # at beta = 1 the optimum is log p(x); the square is what ridge regression of x - b on W leaves
    y = (x - bias).T / unit
    upper, lower = q.split([features, dim])
    fitted = upper.T @ y
    square = (y - upper @ fitted).square().sum(0) + (lower @ fitted).square().sum(0)
    log_det = 2 * (diagonal * prior_scale).log().sum()
    constant = features * (math.log(2 * math.pi) + 2 * math.log(noise_scale))
    optimum = -0.5 * (constant + beta * (log_det + square.mean()))
    return DiagonalGap(optimum.item(), (optimum - gap).item(), gap.item(), precision)


def _qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The QR factors of a matrix with some columns in another order.

    With large rows first and columns pivoted, small rows keep their digits beside large ones.
    """
    order = matrix.abs().amax(1).argsort(descending=True)
    q, r, _ = scipy.linalg.qr(matrix[order].numpy(), mode="economic", pivoting=True)
    return torch.from_numpy(q)[order.argsort()], torch.from_numpy(r)


def _not_told_apart() -> ValueError:
    return ValueError(
        "Expected a weight whose columns float64 can tell apart beside prior and noise, but got "
        "too large or too nearly dependent ones; pass a larger noise_scale, or fewer columns."
    )


def _checked(weight: Tensor, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors in float64, on the CPU."""
    check_finite(weight, "weight")
    check_finite(x, "x")
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(
            f"Expected weight to have shape (features, D), but got {tuple(weight.shape)}; pass the "
            f"weight of the decoder's nn.Linear."
        )
    features = len(weight)
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != features:
        raise ValueError(
            f"Expected x to have shape (N, {features}), one column for each row of the weight, but "
            f"got {tuple(x.shape)}; pass data as vectors."
        )
    if bias is None:
        bias = weight.new_zeros(features)
    check_finite(bias, "bias")
    if bias.shape != (features,):
        raise ValueError(
            f"Expected bias to have shape ({features},), but got {tuple(bias.shape)}; pass the "
            f"bias of the decoder's nn.Linear."
        )
    weight, x, bias = (v.detach().to("cpu", torch.float64) for v in (weight, x, bias))
    return weight, x, bias


def _positive(value: float, name: str) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ValueError(
            f"Expected {name} to be a positive, finite number, but got {value!r:.60}; pass e.g. "
            f"1.0."
        )
    return float(value)
