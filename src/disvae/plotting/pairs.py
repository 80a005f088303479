"""Two latent dimensions of a distribution, in a form whose masses in cells can be computed."""

from typing import Any

import numpy as np
import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal

from disvae.distributions import (
    Delta,
    GaussianMixture,
    Joint,
    base_of,
    is_factorised,
    is_normal,
    marginals,
    point,
    quantile,
)
from disvae.distributions.multivariate import DEPENDENT_NORMALS
from disvae.plotting.cells import DependentNormals, Floats, Normals, Part, Points

# the part of the mass that is shown of a distribution whose quantiles are known
_CENTRAL = 0.997
# how many numbers are sampled at once
_CHUNK = 2**22


class Factorised:
    """Independent dimensions of any family that has a cdf.

    Args:
        each: The distributions of all dimensions, of batch shape ``(..., D)``.
        dims: Which two.
        like: A tensor of the dtype and device of their parameters.
        weight: The weights, ``(K,)``, one for each row of dimensions.
    """

    exact = True

    def __init__(
        self, each: Distribution, dims: tuple[int, int], like: Tensor, weight: Floats
    ) -> None:
        self.each, self.dims, self.like, self.weight = each, dims, like, weight

    def ends(self) -> tuple[Floats, Floats]:
        """The quantiles that enclose 99.7 %."""
        tail = (1 - _CENTRAL) / 2
        low, high = quantile(self.each, [tail, 1 - tail])
        return self._pair(low), self._pair(high)

    def masses(self, x: Floats, y: Floats) -> Floats:
        """A product of two matrices, of masses in one dimension each."""
        # every dimension is asked for its mass below an edge of x, but the second for one of y
        edges = torch.as_tensor(x)[:, None].repeat(1, self.each.batch_shape[-1])
        edges[:, self.dims[1]] = torch.as_tensor(y)
        below = np.stack([self._pair(self.each.cdf(edge)) for edge in edges.to(self.like)])
        in_x, in_y = np.moveaxis(np.diff(below, axis=0), -1, 0)
        return (in_y * self.weight) @ in_x.T

    def _pair(self, values: Tensor) -> Floats:
        shape = self.each.batch_shape
        return _numbers(values.expand(shape).reshape(-1, shape[-1])[:, list(self.dims)])


def part_of(d: Distribution, dims: tuple[int, int], samples: int) -> Part:
    """Two dimensions of distributions over vectors, their weights adding up to their number.

    Where there is no exact form, it is made of samples of each.
    """
    if isinstance(d, Joint):
        for block, owned in zip(d.blocks, d.dims, strict=True):
            if set(dims) <= set(owned) and block.event_shape:
                return part_of(block, (owned.index(dims[0]), owned.index(dims[1])), samples)
    components, share = _components(d)
    weight = _numbers(share.expand(components.batch_shape).flatten())
    base, chosen = base_of(components), list(dims)
    if is_normal(base):
        loc, scale = (v.reshape(-1, v.shape[-1])[:, chosen] for v in (base.loc, base.scale))
        return Normals(_numbers(loc), _numbers(scale), weight)
    if isinstance(base, DEPENDENT_NORMALS):
        return _dependent(base, chosen, weight)
    if is_factorised(components):
        each = marginals(components)
        if _has_cdf(each):
            return Factorised(each, dims, point(d), weight)
    return _sampled(d, chosen, samples)


def _components(d: Distribution) -> tuple[Distribution, Tensor]:
    """The components of mixtures, and their weights."""
    if isinstance(d, GaussianMixture):
        return Independent(Normal(d.loc, d.scale, validate_args=False), 1), d.logits.exp()
    if isinstance(d, MixtureSameFamily):
        return d.component_distribution, d.mixture_distribution.probs
    return d, torch.ones(())


def _dependent(d: Any, dims: list[int], weight: Floats) -> DependentNormals:
    covariance = d.covariance_matrix[..., dims, :][..., dims]
    covariance = _numbers(covariance.expand(*d.batch_shape, 2, 2).reshape(-1, 2, 2))
    loc = _numbers(d.mean.expand(*d.batch_shape, -1).reshape(-1, d.event_shape[0])[:, dims])
    scale = np.sqrt(covariance.diagonal(axis1=1, axis2=2))
    return DependentNormals(loc, scale, covariance[:, 0, 1] / scale.prod(1), weight)


def _has_cdf(each: Distribution) -> bool:
    """Whether the cdf is defined on all numbers; those of torch refuse some."""
    like = point(each)
    try:
        return all(
            bool(torch.isfinite(each.cdf(torch.full_like(like, value))).all())
            for value in (-1e4, 0.0, 1e4)
        )
    except (NotImplementedError, ValueError):
        return False


def _sampled(d: Distribution, dims: list[int], samples: int) -> Points:
    samples = 1 if isinstance(base_of(d), Delta) else samples
    rows = max(1, _CHUNK // max(1, d.batch_shape.numel() * d.event_shape.numel()))
    found = []
    for start in range(0, samples, rows):
        z = d.sample(Size((min(rows, samples - start),)))
        found.append(_numbers(z[..., dims].reshape(-1, 2)))
    points = np.concatenate(found)
    return Points(points, np.full(len(points), 1 / samples))


def _numbers(values: Tensor) -> Floats:
    return values.detach().double().cpu().numpy()
