"""The distribution that depends on its vector through an Lᵖ norm only."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from disvae.distributions.families import Shape
from disvae.distributions.noise import standard_gamma
from disvae.distributions.shaped import GeneralizedNormal


class LpSpherical(Distribution):
    r"""A vector whose density depends on its Lᵖ norm: one subspace of ISA-VAE.

    .. math::

        p(z) \propto \exp\left(-\left(\frac{1}{\sigma}
        \Big(\sum_d |z_d|^p\Big)^{1/p}\right)^{q}\right)

    With :math:`p = q` the dimensions are independent generalised normals; with :math:`p = 2` the
    density is invariant to rotations inside the subspace.

    Args:
        scale: The scale :math:`\sigma`, ``(...)``.
        power: The power p of the norm.
        outer_power: The power q of the norm in the exponent.
        dim: The size D of the vector.

    Shape:
        Batch shape ``(...)``, event shape ``(D,)``.

    Example:
        >>> import torch
        >>> LpSpherical(torch.tensor(2**0.5), 2.0, 2.0, dim=2).log_prob(torch.zeros(2))
        tensor(-1.8379)

    References:
        Stühmer, Turner and Nowozin, Independent Subspace Analysis for Unsupervised Learning of
        Disentangled Representations, 2020, https://arxiv.org/abs/1909.05063. Gupta and Song,
        Lp-norm spherical distribution, 1997, https://doi.org/10.1016/S0378-3758(96)00129-2.
    """

    arg_constraints = {"scale": constraints.positive}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, scale: Tensor, power: float, outer_power: float, dim: int) -> None:
        self.scale, self.power, self.outer_power = scale, power, outer_power
        super().__init__(scale.shape, Size((dim,)), validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        scale = self.scale.expand(Size(batch_shape))
        return LpSpherical(scale, self.power, self.outer_power, self.event_shape[0])

    @property
    def mean(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.variance)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension."""
        dim, p, q = self.event_shape[0], self.power, self.outer_power
        # E r² of the radius, and E u² of a coordinate of a vector of unit norm
        radius = math.lgamma((dim + 2) / q) - math.lgamma(dim / q)
        direction = math.lgamma(3 / p) - math.lgamma(1 / p)
        direction += math.lgamma(dim / p) - math.lgamma((dim + 2) / p)
        variance = self.scale.square() * math.exp(radius + direction)
        return variance.unsqueeze(-1).expand(self._extended_shape())

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        shape = self._extended_shape(sample_shape)
        one = torch.ones_like(self.scale)
        g = GeneralizedNormal(0 * one, one, self.power, validate_args=False).expand(shape).rsample()
        norm = torch.linalg.vector_norm(g, self.power, dim=-1, keepdim=True)
        concentration = one * (self.event_shape[0] / self.outer_power)
        radius = standard_gamma(concentration, shape[:-1]) ** (1 / self.outer_power)
        return (self.scale * radius).unsqueeze(-1) * g / norm

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of vectors ``(..., D)``."""
        dim, p, q = self.event_shape[0], self.power, self.outer_power
        y = (value / self.scale.unsqueeze(-1)).abs()
        # by the largest coordinate first: powers overflow, and a norm has no gradient at 0
        largest = y.amax(-1, keepdim=True).detach().clamp(min=torch.finfo(y.dtype).tiny)
        part = (y / largest).clamp(min=1e-30)
        norm = largest.squeeze(-1) * (part**p).sum(-1) ** (1 / p)
        exponent = norm**q
        volume = dim * math.log(2) + dim * math.lgamma(1 + 1 / p) - math.lgamma(1 + dim / p)
        log_constant = volume + math.lgamma(1 + dim / q)
        return -exponent - log_constant - dim * self.scale.log()
