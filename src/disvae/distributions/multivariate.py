"""Normal distributions with dependent dimensions, and their divergences from factorised ones."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
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


class DependentNormal(Distribution):
    """A normal distribution over vectors that tells a square root of its covariance."""

    loc: Tensor

    def root(self) -> "Root":
        """The square root of the covariance."""
        raise NotImplementedError


class LowRankMultivariateNormal(DependentNormal):
    r"""The normal distribution of covariance :math:`W W^T + \mathrm{diag}(\sigma^2)`.

    The usual formula (Woodbury) subtracts numbers of the size of :math:`1/\sigma^2`: in float32 it
    is wrong by ten nats at :math:`\sigma = 10^{-3}`. Here, with :math:`V = W/\sigma` and the QR
    factors of V over the identity,

    .. math::

        \begin{pmatrix} V \\ I \end{pmatrix} = Q R, \qquad
        (z - \mu)^T \Sigma^{-1} (z - \mu) =
        \Big\| \begin{pmatrix} y \\ 0 \end{pmatrix} - Q Q_1^T y \Big\|^2, \qquad
        \log|\Sigma| = 2 \sum_i \log|R_{ii}| + 2 \sum_d \log\sigma_d

    for :math:`y = (z - \mu)/\sigma` and the upper rows :math:`Q_1` of Q, where nothing cancels.

    Args:
        loc: The mean, ``(..., D)``.
        cov_factor: The factor W, ``(..., D, R)``.
        cov_diag: The variances :math:`\sigma^2`, ``(..., D)``.
        validate_args: Whether torch checks the arguments.

    Shape:
        Batch shape ``(...)``, event shape ``(D,)``.

    Example:
        >>> import torch
        >>> d = LowRankMultivariateNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3))
        >>> d.variance
        tensor([2., 2., 2.])
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.cov_factor, self.cov_diag = loc, cov_factor, cov_diag
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        return LowRankMultivariateNormal(
            self.loc.expand(shape + self.event_shape),
            self.cov_factor.expand(shape + self.cov_factor.shape[-2:]),
            self.cov_diag.expand(shape + self.event_shape),
            validate_args=False,
        )

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mean."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension."""
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance, ``(..., D, D)``."""
        return self.cov_factor @ self.cov_factor.mT + torch.diag_embed(self.cov_diag)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        dtype, device = self.loc.dtype, self.loc.device
        columns = (*shape[:-1], self.cov_factor.shape[-1], 1)
        shared = noise(torch.randn, columns, dtype=dtype, device=device)
        own = noise(torch.randn, shape, dtype=dtype, device=device)
        return self.loc + (self.cov_factor @ shared).squeeze(-1) + self.cov_diag.sqrt() * own

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of vectors ``(..., D)``."""
        root = self.root()
        square = root.whiten((value - self.loc).unsqueeze(-1)).square().sum((-2, -1))
        return -0.5 * (square + root.log_det + self.event_shape[0] * math.log(2 * math.pi))

    def entropy(self) -> Tensor:
        """The differential entropy in nats."""
        return 0.5 * (self.root().log_det + self.event_shape[0] * (1 + math.log(2 * math.pi)))

    def root(self) -> "Root":
        """The square root of the covariance, by the QR factors above."""
        scale = self.cov_diag.sqrt().unsqueeze(-1)
        above = self.cov_factor / scale
        rank = above.shape[-1]
        identity = torch.eye(rank, dtype=above.dtype, device=above.device)
        below = identity.expand(*above.shape[:-2], rank, rank)
        q, r = torch.linalg.qr(torch.cat((above, below), dim=-2))
        upper, lower = q.split([above.shape[-2], rank], dim=-2)

        def whiten(y: Tensor) -> Tensor:
            y = y / scale
            along = upper.mT @ y
            return torch.cat((y - upper @ along, -(lower @ along)), dim=-2)

        log_det = r.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1) + scale.log().sum((-2, -1))
        diagonal = torch.diag_embed(scale.squeeze(-1))
        return Root(torch.cat((self.cov_factor, diagonal), dim=-1), whiten, 2 * log_det)


class DiagonalNormal(Distribution):
    """A factorised normal seen as one of vectors: only to name the pair in a table of KLs."""

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def root(self) -> "Root":
        """The square root of the covariance."""
        scale = self.scale.unsqueeze(-1)
        log_det = 2 * self.scale.log().sum(-1)
        return Root(torch.diag_embed(self.scale), lambda y: y / scale, log_det)


class Root(NamedTuple):
    r"""A covariance by its square root.

    Attributes:
        factor: A with :math:`\Sigma = A A^T`, ``(..., D, k)``.
        whiten: Maps columns ``(..., D, n)`` to ones whose squared lengths are
            :math:`y^T \Sigma^{-1} y`.
        log_det: :math:`\log|\Sigma|`, ``(...)``.
    """

    factor: Tensor
    whiten: Callable[[Tensor], Tensor]
    log_det: Tensor

    @staticmethod
    def of(d: Any) -> "Root":
        """That of any normal distribution over vectors, those of torch among them."""
        if isinstance(d, torch.distributions.MultivariateNormal):
            tril = d._unbroadcasted_scale_tril
            identity = torch.eye(tril.shape[-1], dtype=tril.dtype, device=tril.device)
            # once for a whole batch, where the prior has none
            inverse = torch.linalg.solve_triangular(tril, identity.expand_as(tril), upper=False)
            log_det = 2 * tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            return Root(tril, lambda y: inverse @ y, log_det)
        if isinstance(d, torch.distributions.LowRankMultivariateNormal):
            d = LowRankMultivariateNormal(d.loc, d.cov_factor, d.cov_diag, validate_args=False)
        return d.root()


def _kl_normals(q: Any, p: Any) -> Tensor:
    root_q, root_p = Root.of(q), Root.of(p)
    trace = root_p.whiten(root_q.factor).square().sum((-2, -1))
    shift = root_p.whiten((q.loc - p.loc).unsqueeze(-1)).square().sum((-2, -1))
    return 0.5 * (trace + shift - q.event_shape[0] + root_p.log_det - root_q.log_det)


DEPENDENT_NORMALS = (
    torch.distributions.MultivariateNormal,
    torch.distributions.LowRankMultivariateNormal,
    DependentNormal,
)
"""The normal distributions over vectors with dependent dimensions, those of torch among them."""

# those of torch itself have their own form between one another
_OURS = (MultivariateNormal, DependentNormal, DiagonalNormal)
_TORCHS = (
    torch.distributions.MultivariateNormal,
    torch.distributions.LowRankMultivariateNormal,
)
for _q, _p in itertools.product(_OURS + _TORCHS, repeat=2):
    if not (_q in _TORCHS and _p in _TORCHS):
        register_kl(_q, _p)(_kl_normals)
