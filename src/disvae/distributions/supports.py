"""Where a distribution lives: on all numbers, on a part of them, on a sphere, on a simplex."""

from typing import NamedTuple

from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    constraints,
)

from disvae.distributions.constraints import Sphere
from disvae.distributions.joint import Joint

CATEGORIES = (type(constraints.simplex), type(constraints.one_hot))
# sets without a volume: a density on one says nothing about another
THIN = (Sphere, *CATEGORIES)
REAL = type(constraints.real)
_PARTS = tuple(
    type(part)
    for part in (constraints.unit_interval, constraints.positive, constraints.nonnegative)
)


class Block(NamedTuple):
    """Some dimensions of a distribution that live on one kind of set.

    Attributes:
        kind: The type of the support's constraint, None where it is not told.
        dims: The dimensions, in the order of the block.
        family: The distribution's type, for errors.
    """

    kind: type[constraints.Constraint] | None
    dims: tuple[int, ...]
    family: type[Distribution]


def blocks(d: Distribution) -> list[Block]:
    r"""The blocks of dimensions of a distribution over vectors, one for most distributions.

    Example:
        >>> from disvae import priors
        >>> joint = priors.Joint([priors.Normal(2), priors.Categorical(3)])()
        >>> [block.dims for block in blocks(joint)]
        [(0, 1), (2, 3, 4)]
    """
    dim = d.event_shape.numel() if d.event_shape else d.batch_shape[-1:].numel()
    while isinstance(d, Independent | MixtureSameFamily):
        d = d.base_dist if isinstance(d, Independent) else d.component_distribution
    if isinstance(d, Joint):
        return [
            Block(inner.kind, tuple(dims[i] for i in inner.dims), inner.family)
            for part, dims in zip(d.blocks, d.dims, strict=True)
            for inner in blocks(part)
        ]
    return [Block(_kind(d), tuple(range(dim)), type(d))]


def check_supports(q: Distribution, p: Distribution, *, wider: bool = False) -> None:
    """Refuse a pair that is infinitely far apart because ``p`` has no mass where ``q`` has.

    Args:
        q: The distribution to average over.
        p: The reference.
        wider: Whether ``q`` may live on all numbers where ``p`` lives on a part of them: no
            divergence is finite then, but samples of ``q`` can be weighed.

    Raises:
        ValueError: If the supports differ.
    """
    opposite = {dim: block for block in blocks(p) for dim in block.dims}
    for of_q in blocks(q):
        for of_p in (opposite[dim] for dim in of_q.dims if dim in opposite):
            thin = of_q.kind in THIN or of_p.kind in THIN
            differ = of_q.kind is not of_p.kind or of_q.dims != of_p.dims
            if (thin and differ) or (not wider and of_q.kind is REAL and of_p.kind in _PARTS):
                raise infinite(of_q.family, of_p.family)


def infinite(q: type[Distribution], p: type[Distribution]) -> ValueError:
    """The error for a pair whose divergence is infinite by support."""
    return ValueError(
        f"Expected a prior on the same set as the posterior, but KL({q.__name__} ‖ {p.__name__}) "
        f"is infinite, for they have different supports; change one of them, or take an objective "
        f"without a KL: objectives.Autoencoder, objectives.WAE, terms.MMD."
    )


def _kind(d: Distribution) -> type[constraints.Constraint] | None:
    try:
        found = d.support
    except NotImplementedError:
        return None
    while isinstance(found, constraints.independent):
        found = found.base_constraint
    return None if found is None else type(found)
