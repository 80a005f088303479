"""Normal distributions with dependent dimensions, and their divergences from factorised ones."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl

from disvae.distributions.families import Shape
from disvae.distributions.noise import noise


class MultivariateNormal(torch.distributions.MultivariateNormal):
    r"""The normal distribution with a full covariance, sampled with replaceable noise.

    Shape:
        ``loc`` ``(..., D)`` and ``scale_tril`` ``(..., D, D)``; the event shape is ``(D,)``.

    Example:
        >>> import torch
        >>> MultivariateNormal(torch.zeros(2), scale_tril=torch.eye(2)).rsample((5,)).shape
        torch.Size([5, 2])
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        epsilon = noise(torch.randn, shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self._unbroadcasted_scale_tril @ epsilon.unsqueeze(-1)).squeeze(-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a gradient, ``sample_shape + batch_shape + (D,)``."""
        with torch.no_grad():
            return self.rsample(sample_shape)


class LowRankMultivariateNormal(torch.distributions.LowRankMultivariateNormal):
    r"""The normal distribution of covariance :math:`W W^T + \mathrm{diag}(d)`, replaceable noise.

    Shape:
        ``loc`` ``(..., D)``, ``cov_factor`` ``(..., D, R)`` and ``cov_diag`` ``(..., D)``; the
        event shape is ``(D,)``.

    Example:
        >>> import torch
        >>> d = LowRankMultivariateNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3))
        >>> d.variance
        tensor([2., 2., 2.])
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.loc.dtype, "device": self.loc.device}
        factor, diagonal = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        shared = noise(torch.randn, (*shape[:-1], factor.shape[-1], 1), **like)
        own = noise(torch.randn, shape, **like)
        return self.loc + (factor @ shared).squeeze(-1) + diagonal.sqrt() * own

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a gradient, ``sample_shape + batch_shape + (D,)``."""
        with torch.no_grad():
            return self.rsample(sample_shape)


class DiagonalNormal(Distribution):
    """A factorised normal seen as one of vectors: only to name the pair in a table of KLs."""

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)


def _kl_dependent_diagonal(q: Distribution, p: DiagonalNormal) -> Tensor:
    # the covariance of q enters by its diagonal only
    square = (q.variance + (q.mean - p.loc).square()) / p.scale.square()
    cross = 0.5 * (square + math.log(2 * math.pi)) + p.scale.log()
    return cross.sum(-1) - q.entropy()


@register_kl(torch.distributions.MultivariateNormal, DiagonalNormal)
def _kl_full_diagonal(q: torch.distributions.MultivariateNormal, p: DiagonalNormal) -> Tensor:
    return _kl_dependent_diagonal(q, p)


@register_kl(torch.distributions.LowRankMultivariateNormal, DiagonalNormal)
def _kl_low_rank_diagonal(
    q: torch.distributions.LowRankMultivariateNormal, p: DiagonalNormal
) -> Tensor:
    return _kl_dependent_diagonal(q, p)


@register_kl(DiagonalNormal, torch.distributions.MultivariateNormal)
def _kl_diagonal_full(q: DiagonalNormal, p: torch.distributions.MultivariateNormal) -> Tensor:
    # with L⁻¹, taken once for the whole batch: tr(Σ⁻¹ diag s²) = Σ_ij (L⁻¹)²_ij s²_j
    tril = p._unbroadcasted_scale_tril
    identity = torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
    inverse = torch.linalg.solve_triangular(tril, identity.expand_as(tril), upper=False)
    shift = (inverse @ (q.loc - p.loc).unsqueeze(-1)).squeeze(-1)
    spread = (inverse.square() @ q.scale.square().unsqueeze(-1)).squeeze(-1)
    log_ratio = tril.diagonal(dim1=-2, dim2=-1).log() - q.scale.log()
    return (0.5 * (shift.square() + spread - 1) + log_ratio).sum(-1)


@register_kl(DiagonalNormal, torch.distributions.LowRankMultivariateNormal)
def _kl_diagonal_low_rank(
    q: DiagonalNormal, p: torch.distributions.LowRankMultivariateNormal
) -> Tensor:
    inverse = p.precision_matrix
    delta = (q.loc - p.loc).unsqueeze(-1)
    square = (delta.mT @ inverse @ delta).squeeze(-1).squeeze(-1)
    trace = (inverse.diagonal(dim1=-2, dim2=-1) * q.scale.square()).sum(-1)
    # -log p has the mean H(p) - D/2 + (square + trace)/2
    constant = 0.5 * q.event_shape[0] * (2 + math.log(2 * math.pi))
    return 0.5 * (square + trace) + p.entropy() - constant - q.scale.log().sum(-1)
