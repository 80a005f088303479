"""Independent dimensions whose axes are permuted and scaled: numbers of the same families."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from disvae.distributions.families import Laplace, Normal, Shape
from disvae.distributions.linear_map import LinearMap
from disvae.distributions.shaped import GeneralizedNormal, StudentT
from disvae.distributions.supports import REAL, blocks
from disvae.distributions.wrapping import is_normal


def scaled(base: Distribution, linear_map: LinearMap) -> Distribution | None:
    """Numbers with their axes permuted and scaled, as the same family, drawn from the same noise.

    Args:
        base: Numbers, of batch shape ``(..., D)``.
        linear_map: A map that has an ``order``.

    Returns:
        The distribution, or None if the family is not one of those that are symmetric about a
        location, with a scale.
    """
    if is_normal(base):
        return ScaledNormal(base, linear_map)
    family = _FAMILIES.get(type(base))
    return None if family is None else family(base, linear_map)


def factors(linear_map: LinearMap, like: Tensor) -> Tensor:
    """What a map that has an ``order`` multiplies each dimension by, ``(D,)``."""
    return linear_map.matrix.sum(-1).to(like.dtype).to(like.device)


class Scaled(Distribution):
    """What the families have in common: mapped parameters, and the maps of samples.

    Args:
        base: Numbers of a family with ``loc`` and ``scale``, of batch shape ``(..., D)``.
        linear_map: A map that has an ``order``.
    """

    def __init__(self, base: Any, linear_map: LinearMap) -> None:
        self.base, self.map = base, linear_map
        order, factor = list(linear_map.order or ()), factors(linear_map, base.loc)
        parameters = {name: getattr(base, name)[..., order] for name in base.arg_constraints}
        parameters["loc"] = parameters["loc"] * factor
        parameters["scale"] = parameters["scale"] * factor.abs()
        super().__init__(**parameters, validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return type(self)(self.base.expand(Size(batch_shape)), self.map)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """The maps of samples with a gradient, ``sample_shape + batch_shape``."""
        return self.map(self.base.rsample(Size(sample_shape)))


class ScaledNormal(Scaled, Normal):
    """Normal numbers whose axes were permuted and scaled."""


class ScaledLaplace(Scaled, Laplace):
    """Laplace numbers whose axes were permuted and scaled."""


class ScaledStudentT(Scaled, StudentT):
    """Student-t numbers whose axes were permuted and scaled."""


class ScaledGeneralizedNormal(Scaled, GeneralizedNormal):
    """Generalised normal numbers whose axes were permuted and scaled."""


# the very classes: a subclass may have a density of its own
_FAMILIES: dict[type[Distribution], type[Scaled]] = {
    Laplace: ScaledLaplace,
    StudentT: ScaledStudentT,
    GeneralizedNormal: ScaledGeneralizedNormal,
    torch.distributions.Laplace: ScaledLaplace,
    torch.distributions.StudentT: ScaledStudentT,
}
_FAMILIES.update({family: family for family in set(_FAMILIES.values())})


class ScaledMarginals(Distribution):
    """The marginals of independent dimensions of any family, with axes permuted and scaled.

    Args:
        base: The marginals of z, of batch shape ``(..., D)``.
        linear_map: A map that has an ``order``.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base: Distribution, linear_map: LinearMap) -> None:
        self.base, self.map = base, linear_map
        self._order = list(linear_map.order or ())
        self._inverse_order = sorted(range(linear_map.dim), key=self._order.__getitem__)
        super().__init__(base.batch_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """All numbers; others are not told."""
        if {block.kind for block in blocks(self.base)} == {REAL}:
            return constraints.real
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The means."""
        return self.map(self.base.mean)

    @property
    def variance(self) -> Tensor:
        """The variances."""
        variance = self.base.variance[..., self._order]
        return variance * factors(self.map, variance).square()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples, ``sample_shape + batch_shape``."""
        return self.map(self.base.sample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of each dimension."""
        each = self.base.log_prob(self._before(value))[..., self._order]
        return each - factors(self.map, each).abs().log()

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below each value."""
        below = self.base.cdf(self._before(value))[..., self._order]
        return torch.where(factors(self.map, below) < 0, 1 - below, below)

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a fraction lies."""
        value = torch.where(factors(self.map, value) < 0, 1 - value, value)
        return self.map(self.base.icdf(value[..., self._inverse_order]))

    def _before(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        return self.map.inverse(value.expand(shape))
