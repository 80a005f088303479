"""Distributions on the unit sphere."""

import math

import scipy.special
import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions import constraints as torch_constraints

from disvae.distributions import constraints
from disvae.distributions.families import Shape
from disvae.distributions.noise import noise, standard_gamma


class HypersphericalUniform(Distribution):
    r"""The uniform distribution on the unit sphere :math:`S^{D-1}` in D dimensions.

    .. math::

        p(z) = \frac{\Gamma(D/2)}{2\pi^{D/2}}, \quad |z| = 1

    It is a density with respect to the area of the sphere, and 0 off the sphere.

    Args:
        dim: The number D of coordinates, at least 2.
        batch_shape: The batch shape.
        dtype: The dtype of samples and densities.
        device: Their device.

    Shape:
        Event shape ``(D,)``.

    Example:
        >>> import torch
        >>> HypersphericalUniform(2).log_prob(torch.tensor([0.0, 1.0]))  # -log 2π
        tensor(-1.8379)
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.sphere

    def __init__(
        self,
        dim: int,
        batch_shape: Shape = (),
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.dim = dim
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        self.device = torch.device("cpu" if device is None else device)
        super().__init__(Size(batch_shape), Size((dim,)), validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return HypersphericalUniform(self.dim, batch_shape, self.dtype, self.device)

    @property
    def mean(self) -> Tensor:
        """The centre of the sphere, which is not on it."""
        return torch.zeros(self._extended_shape(), dtype=self.dtype, device=self.device)

    @property
    def variance(self) -> Tensor:
        """One over D for every coordinate."""
        return torch.full_like(self.mean, 1 / self.dim)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        return F.normalize(noise(torch.randn, shape, dtype=self.dtype, device=self.device), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities; minus infinity off the sphere (by more than 1e-4)."""
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        inside = constraints.sphere.check(value).expand(lead)
        density = torch.full_like(value[..., 0], -log_area(self.dim)).expand(lead)
        return torch.where(inside, density, -torch.inf)

    def entropy(self) -> Tensor:
        """The log area of the sphere, in nats."""
        return torch.full(self.batch_shape, log_area(self.dim), dtype=self.dtype).to(self.device)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantiles of each coordinate: :math:`(z_d + 1)/2` is beta-distributed."""
        half = (self.dim - 1) / 2
        found = scipy.special.betaincinv(half, half, value.detach().cpu().double().numpy())
        return torch.as_tensor(2 * found - 1, dtype=self.dtype, device=self.device)


class PowerSpherical(Distribution):
    r"""A distribution on the unit sphere with one mode, sampled without rejection.

    .. math::

        p(z) \propto (1 + \mu^T z)^\kappa, \quad |z| = |\mu| = 1

    It has the shape of a von Mises-Fisher distribution, and an exact density, entropy and
    reparameterised sample.

    Args:
        loc: The mode :math:`\mu`, of unit length, ``(..., D)``.
        concentration: :math:`\kappa > 0`, ``(...)``; near 0 it is uniform.

    Shape:
        Batch shape ``(...)``, event shape ``(D,)``, a density with respect to the sphere's area.

    Example:
        >>> import torch
        >>> d = PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(10.0))
        >>> d.log_prob(d.loc)
        tensor(-0.1331)

    References:
        De Cao and Aziz, The Power Spherical distribution, 2020, https://arxiv.org/abs/2006.04437.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.sphere,
        "concentration": torch_constraints.positive,
    }
    support = constraints.sphere
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        return PowerSpherical(
            self.loc.expand(shape + self.event_shape), self.concentration.expand(shape)
        )

    @property
    def mean(self) -> Tensor:
        """The mean, which lies inside the sphere."""
        alpha, beta = self._shapes()
        return ((alpha - beta) / (alpha + beta)).unsqueeze(-1) * self.loc

    @property
    def mode(self) -> Tensor:
        """The mode, which lies on the sphere."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The variance of each coordinate."""
        alpha, beta = self._shapes()
        total = alpha + beta
        along = 4 * alpha * beta / (total.square() * (total + 1))  # of μᵀz
        second = along + ((alpha - beta) / total).square()
        across = (1 - second) / (self.event_shape[0] - 1)
        square = self.loc.square()
        return along.unsqueeze(-1) * square + across.unsqueeze(-1) * (1 - square)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        alpha, beta = (v.unsqueeze(-1) for v in self._shapes())
        one = standard_gamma(alpha, (*shape[:-1], 1))
        other = standard_gamma(beta, (*shape[:-1], 1))
        # t = μᵀz = 2b - 1 for b = one / (one + other); √(1 - t²) without cancellation
        t = (one - other) / (one + other)
        across = 2 * (one * other).sqrt() / (one + other)
        direction = noise(
            torch.randn,
            (*shape[:-1], shape[-1] - 1),
            dtype=self.loc.dtype,
            device=self.loc.device,
        )
        y = torch.cat((t, across * F.normalize(direction, dim=-1)), dim=-1)
        # the reflection that takes the first axis to μ
        first = F.one_hot(torch.zeros((), dtype=torch.long, device=y.device), shape[-1]).to(y.dtype)
        normal = F.normalize(first - self.loc, dim=-1)
        return y - 2 * (y * normal).sum(-1, keepdim=True) * normal

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities; opposite to the mode 1 + μᵀz has a floor of the dtype's precision."""
        # (1 + μᵀz) / 2 = 1 - |z - μ|² / 4, which keeps its digits near the mode
        part = (value - self.loc).square().sum(-1) / 4
        part = part.clamp(max=1 - torch.finfo(part.dtype).eps)
        return self.concentration * torch.log1p(-part) - self._log_normaliser().to(part.dtype)

    def entropy(self) -> Tensor:
        """The differential entropy in nats."""
        alpha, beta = (v.double() for v in self._shapes())
        expected = torch.digamma(alpha) - torch.digamma(alpha + beta)
        entropy = self._log_normaliser() - (alpha - beta) * expected
        return entropy.to(self.concentration.dtype)

    def _shapes(self) -> tuple[Tensor, Tensor]:
        """The parameters of the beta distribution of (1 + μᵀz) / 2."""
        beta = torch.full_like(self.concentration, (self.event_shape[0] - 1) / 2)
        return self.concentration + beta, beta

    def _log_normaliser(self) -> Tensor:
        """Of the density ((1 + μᵀz) / 2)^κ; in float64, as log gammas of large κ cancel."""
        alpha, beta = (v.double() for v in self._shapes())
        ratio = torch.lgamma(alpha) - torch.lgamma(alpha + beta)
        return 2 * beta * math.log(2) + ratio + beta * math.log(math.pi)


def log_area(dim: int) -> float:
    r"""The log area of the unit sphere in ``dim`` dimensions, :math:`\log 2\pi^{D/2}/\Gamma(D/2)`.

    Example:
        >>> round(log_area(3), 4)  # log 4π
        2.531
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


@register_kl(PowerSpherical, HypersphericalUniform)
def _kl_power_spherical_uniform(q: PowerSpherical, p: HypersphericalUniform) -> Tensor:
    return log_area(p.dim) - q.entropy()
