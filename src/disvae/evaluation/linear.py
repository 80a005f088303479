"""What a posterior with independent dimensions costs under a linear decoder, in closed form."""

import dataclasses
import math
import numbers

import torch
from torch import Tensor

from disvae.evaluation.findings import Finding, listing
from disvae.nn import check_finite


@dataclasses.dataclass(frozen=True, eq=False)
class DiagonalGap(Finding):
    r"""What :func:`best_diagonal_gap` finds, in nats, the mean over the data; it prints as a table.

    Attributes:
        optimum: The highest value of the objective over all posteriors, which a normal one with a
            full covariance has.
        diagonal: The highest value over normal posteriors with independent dimensions.
        gap: The first minus the second, the same for every datum; never negative.
        precision: The optimal posterior's precision :math:`\Lambda`, ``(D, D)``.
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
        ValueError: If shapes do not go together, or a scale or beta is not positive and finite.

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
    noise, prior = (
        _positive(value, name) ** 2
        for value, name in ((noise_scale, "noise_scale"), (prior_scale, "prior_scale"))
    )
    beta = _positive(beta, "beta")
    features, dim = weight.shape
    gram = weight.T @ weight
    precision = gram / (beta * noise)
    precision.diagonal().add_(1 / prior)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    centred = x - bias
    mean = centred @ weight @ covariance / (beta * noise)

    # of the precision scaled to a diagonal of ones, so that the gap of orthogonal columns is 0
    root = precision.diagonal().rsqrt()
    scaled = (root[:, None] * precision * root).fill_diagonal_(1.0)
    log_det = 2 * torch.linalg.cholesky(scaled).diagonal().log().sum().clamp(max=0.0)
    gap = -0.5 * beta * log_det

    error = (centred - mean @ weight.T).square().sum(-1) + (gram * covariance).sum()
    likelihood = -0.5 * (features * math.log(2 * math.pi * noise) + error / noise)
    divergence = 0.5 * (
        (mean.square().sum(-1) + covariance.trace()) / prior
        - dim
        + dim * math.log(prior)
        + log_det
        - 2 * root.log().sum()
    )
    optimum = (likelihood - beta * divergence).mean()
    return DiagonalGap(optimum.item(), (optimum - gap).item(), gap.abs().item(), precision)


def _checked(weight: Tensor, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors in float64."""
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
    weight, x, bias = (v.detach().to(weight.device, torch.float64) for v in (weight, x, bias))
    return weight, x, bias


def _positive(value: float, name: str) -> float:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ValueError(
            f"Expected {name} to be a positive, finite number, but got {value!r:.60}; pass e.g. "
            f"1.0."
        )
    return float(value)
