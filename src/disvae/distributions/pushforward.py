r"""Distributions of :math:`Az`: what a linear map of the latent space makes of a distribution."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, constraints

from disvae.distributions.constraints import Sphere, sphere
from disvae.distributions.families import Shape
from disvae.distributions.joint import Joint
from disvae.distributions.linear_map import LinearMap
from disvae.distributions.multivariate import (
    DEPENDENT_NORMALS,
    DependentNormal,
    DiagonalNormal,
    Root,
)
from disvae.distributions.scaled import factors, scaled
from disvae.distributions.supports import REAL, THIN, blocks
from disvae.distributions.wrapping import base_of, is_normal


def pushforward(base: Distribution, linear_map: LinearMap | Tensor) -> Distribution:
    r"""The distribution of :math:`Az` for :math:`z` from another distribution, exactly.

    .. math::

        z' = A z,\ z \sim p: \quad p'(z') = p(A^{-1} z') / |\det A|

    A sample is A times a sample of ``base``, of the same random numbers. Normal distributions give
    normal ones, with their closed forms. Where A has one entry only in each row and column (a
    permutation of the axes, with a factor for each), independent dimensions stay independent, and
    normal, Laplace, Student-t and generalised normal ones stay of their family. Which form is taken
    follows from the family and from A, never from parameters.

    Args:
        base: Any distribution over vectors. On a sphere or a simplex A must be orthogonal.
        linear_map: The map, or its matrix A, ``(D, D)``. A map that is used again and again, or in
            a function that is compiled, is made beforehand.

    Shape:
        Batch shape of ``base``, event shape ``(D,)``.

    Raises:
        TypeError: If the matrix is no floating-point tensor.
        ValueError: If it is not square, finite and invertible, or not of the size of the event.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent
        >>> from disvae import distributions
        >>> q = Independent(distributions.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])), 1)
        >>> turned = pushforward(q, torch.tensor([[0.6, -0.8], [0.8, 0.6]]))
        >>> turned.covariance_matrix
        tensor([[ 2.9200, -1.4400],
                [-1.4400,  2.0800]])
        >>> pushforward(q, torch.tensor([[0.0, 1.0], [-3.0, 0.0]])).stddev
        tensor([2., 3.])
    """
    if not isinstance(linear_map, LinearMap):
        linear_map = LinearMap(linear_map)
    _check_event(base, linear_map)
    inner = base_of(base)
    if linear_map.order is not None and not inner.event_shape:
        same_family = scaled(inner, linear_map)
        if same_family is not None:
            return Independent(same_family, 1, validate_args=False)
    if is_normal(inner) or isinstance(base, DEPENDENT_NORMALS):
        return PushedNormal(base, linear_map)
    return Pushforward(base, linear_map)


class Pushforward(Distribution):
    r"""The distribution of :math:`Az`, as :func:`pushforward` makes it where no family fits.

    Args:
        base: The distribution of z, over vectors.
        linear_map: The map.

    Attributes:
        base: The distribution of z.
        map: The map.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base: Distribution, linear_map: LinearMap) -> None:
        self.base, self.map = base, linear_map
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return type(self)(self.base.expand(Size(batch_shape)), self.map)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the base has samples with a gradient."""
        return self.base.has_rsample

    @property
    def has_density(self) -> bool:
        """Whether the base has a density."""
        return getattr(self.base, "has_density", True)

    @property
    def support(self) -> Any:
        """All vectors, or the sphere; others are not told."""
        kinds = [block.kind for block in blocks(self.base)]
        if set(kinds) == {REAL}:
            return constraints.real_vector
        if kinds == [Sphere]:  # the map is orthogonal, or was refused
            return sphere
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The map of the mean."""
        return self.map(self.base.mean)

    @property
    def mode(self) -> Tensor:
        """The map of the mode."""
        return self.map(self.base.mode)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension, where it mixes none, or independent ones only."""
        if self.map.order is not None:
            variance = self.base.variance[..., list(self.map.order)]
            return variance * factors(self.map, variance).square()
        base, matrix = self.base, self.map.matrix
        while isinstance(base, Pushforward):
            matrix, base = matrix @ base.map.matrix, base.base
        if not is_factorised(base):
            raise NotImplementedError
        variance = base.variance
        squares = matrix.square().to(variance.dtype).to(variance.device)
        # what does not count may be infinite
        return torch.where(squares == 0, 0.0, squares * variance.unsqueeze(-2)).sum(-1)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """The maps of samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        return self.map(self.base.rsample(Size(sample_shape)))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """The maps of samples without a gradient, ``sample_shape + batch_shape + (D,)``."""
        with torch.no_grad():
            return self.map(self.base.sample(Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of vectors ``(..., D)``."""
        return self.base.log_prob(self.map.inverse(value)) - self.map.log_abs_det

    def entropy(self) -> Tensor:
        """The differential entropy in nats."""
        return self.base.entropy() + self.map.log_abs_det


class PushedNormal(Pushforward, DependentNormal):
    r"""The distribution of :math:`Az` for normal z, as :func:`pushforward` makes it.

    It has the closed forms of every normal distribution with dependent dimensions.

    Args:
        base: The distribution of z: a normal one over vectors.
        linear_map: The map.

    Attributes:
        loc: The mean, ``(..., D)``.
    """

    def __init__(self, base: Distribution, linear_map: LinearMap) -> None:
        super().__init__(base, linear_map)
        self.loc = linear_map(base.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of each dimension."""
        return self.root().factor.square().sum(-1)

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance, ``(..., D, D)``."""
        factor = self.root().factor
        return factor @ factor.mT

    def root(self) -> Root:
        """The square root of the covariance: the map of that of the base."""
        inner = base_of(self.base)
        normal = DiagonalNormal(inner.loc, inner.scale) if is_normal(inner) else inner
        root = Root.of(normal)
        return Root(
            self.map(root.factor.mT).mT,
            lambda y: root.whiten(self.map.inverse(y.mT).mT),
            root.log_det + 2 * self.map.log_abs_det,
        )


def is_factorised(d: Distribution) -> bool:
    """Whether the joint log density of ``d`` is the sum of those of its :func:`marginals`."""
    if isinstance(d, Joint):
        return all(is_factorised(block) for block in d.blocks)
    if isinstance(d, Pushforward):
        return d.map.order is not None and is_factorised(d.base)
    return not base_of(d).event_shape


def _check_event(base: Distribution, linear_map: LinearMap) -> None:
    if base.event_shape != (linear_map.dim,):
        raise ValueError(
            f"Expected a matrix of the size of the event, but got ({linear_map.dim}, "
            f"{linear_map.dim}) for a distribution of event shape {tuple(base.event_shape)}; pass "
            f"one row and column for each latent dimension."
        )
    thin = [block for block in blocks(base) if block.kind in THIN]
    if thin and not linear_map.orthogonal:
        raise ValueError(
            f"Expected an orthogonal matrix for {thin[0].family.__name__}, which lives on a "
            f"{'sphere' if thin[0].kind is Sphere else 'simplex'}, but got one that stretches it; "
            f"rotations keep its density."
        )
