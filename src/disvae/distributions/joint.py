"""Vectors made of independent blocks, and the distribution of one certain vector."""

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from disvae.distributions.families import Shape


class Joint(Distribution):
    r"""Independent blocks of dimensions side by side in one vector.

    .. math::

        p(z) = \prod_b p_b(z_{D_b})

    Args:
        blocks: Distributions over vectors, or over numbers (one dimension each, as in marginals).
            Batch shapes broadcast.
        dims: For each block the dimensions that it takes; by default one block after another.

    Shape:
        The broadcast batch shape; event shape ``(D,)``, with D the sum of the blocks' sizes.

    Example:
        >>> import torch
        >>> from disvae import distributions
        >>> a = distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
        >>> b = distributions.HypersphericalUniform(3)
        >>> Joint([a, b]).sample().shape
        torch.Size([5])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(
        self, blocks: Sequence[Distribution], dims: Sequence[Sequence[int]] | None = None
    ) -> None:
        batch = torch.broadcast_shapes(*(block.batch_shape for block in blocks))
        self.blocks = tuple(b if b.batch_shape == batch else b.expand(batch) for b in blocks)
        sizes = [block.event_shape[0] for block in self.blocks]
        total = sum(sizes)
        if dims is None:
            ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
            dims = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.dims = tuple(tuple(d) for d in dims)
        order = [d for block in self.dims for d in block]
        self._last: tuple[Tensor, list[Tensor]] | None = None
        self._inverse = None if order == list(range(total)) else _inverse(order)
        super().__init__(batch, Size((total,)), validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return Joint([block.expand(Size(batch_shape)) for block in self.blocks], self.dims)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether every block has samples with a gradient."""
        return all(block.has_rsample for block in self.blocks)

    @property
    def has_density(self) -> bool:
        """Whether every block has a density."""
        return all(getattr(block, "has_density", True) for block in self.blocks)

    @property
    def mean(self) -> Tensor:
        """The means of the blocks, in the order of the dimensions."""
        return self.join([block.mean for block in self.blocks])

    @property
    def variance(self) -> Tensor:
        """The variances of the blocks, in the order of the dimensions."""
        return self.join([block.variance for block in self.blocks])

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (D,)``."""
        parts = [block.rsample(Size(sample_shape)) for block in self.blocks]
        self._last = self.join(parts), parts
        return self._last[0]

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a gradient, ``sample_shape + batch_shape + (D,)``."""
        return self.join([block.sample(Size(sample_shape)) for block in self.blocks])

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities, the sums of those of the blocks."""
        parts = zip(self.blocks, self.split(value), strict=True)
        return self.combine([block.log_prob(part) for block, part in parts])

    def entropy(self) -> Tensor:
        """The sum of the blocks' entropies, in nats."""
        return self.combine([block.entropy() for block in self.blocks])

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """What is true of the whole, from log densities or divergences of the blocks: their sum."""
        return functools.reduce(operator.add, values)

    def split(self, value: Tensor) -> list[Tensor]:
        """The blocks' parts of vectors ``(..., D)``."""
        # a block may know the density of the very tensor that it gave
        if self._last is not None and value is self._last[0]:
            return self._last[1]
        if self._inverse is None:
            return list(value.split([len(d) for d in self.dims], dim=-1))
        return [value[..., list(d)] for d in self.dims]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Vectors ``(..., D)`` from the blocks' parts."""
        joined = torch.cat(list(parts), dim=-1)
        return joined if self._inverse is None else joined[..., self._inverse]


class JointMarginals(Distribution):
    """The marginals of a :class:`Joint` of factorised blocks: a batch of one number each."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, joint: Joint, blocks: Sequence[Distribution]) -> None:
        self.joint, self.blocks, self.dims = joint, tuple(blocks), joint.dims
        super().__init__(joint.batch_shape + joint.event_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The means."""
        return self.combine([block.mean for block in self.blocks])

    @property
    def variance(self) -> Tensor:
        """The variances."""
        return self.combine([block.variance for block in self.blocks])

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples, ``sample_shape + batch_shape``."""
        return self.combine([block.sample(Size(sample_shape)) for block in self.blocks])

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of each dimension."""
        return self._each("log_prob", value)

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below each value."""
        return self._each("cdf", value)

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a fraction lies."""
        return self._each("icdf", value)

    def split(self, value: Tensor) -> list[Tensor]:
        """The blocks' parts of vectors ``(..., D)``."""
        return self.joint.split(value)

    def combine(self, values: Sequence[Tensor]) -> Tensor:
        """One row of numbers from those of the blocks, of which some may have sample axes."""
        lead = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
        return self.joint.join([value.expand(lead + value.shape[-1:]) for value in values])

    def _each(self, method: str, value: Tensor) -> Tensor:
        parts = zip(self.blocks, self.split(value), strict=True)
        return self.combine([getattr(block, method)(part) for block, part in parts])


class Delta(Distribution):
    r"""All mass on one vector: the code of a plain autoencoder.

    A sample is the vector itself, with its gradient. There is no density, so ``log_prob`` raises
    and no KL is defined.

    Args:
        value: The vector, ``(..., D)``.

    Shape:
        Batch shape ``(...)``, event shape ``(D,)``.

    Example:
        >>> import torch
        >>> Delta(torch.tensor([1.0, 2.0])).rsample((2,))
        tensor([[1., 2.],
                [1., 2.]])
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True
    has_density = False

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        return Delta(self.value.expand(Size(batch_shape) + self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The vector."""
        return self.value

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """The vector, ``sample_shape + batch_shape + (D,)``."""
        return self.value.expand(self._extended_shape(sample_shape))

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """The vector without a gradient."""
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """Raises: a single point has no density.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "Expected a posterior with a density, but a deterministic or quantised one has none; "
            "train it with objectives.Autoencoder, or with one that compares samples: "
            "objectives.WAE, terms.MMD."
        )


def _inverse(order: Sequence[int]) -> list[int]:
    inverse = [0] * len(order)
    for position, dim in enumerate(order):
        inverse[dim] = position
    return inverse
