r"""The aggregate posterior of a whole data set, exact at any point.

.. math::

    q(z) = \frac1N \sum_{n=1}^N q(z|x_n)

One pass over the data keeps the N posteriors (their parameters, which take little beside the data),
and every density is a sum over all of them. N is never subsampled: the logarithm of a part's mean
density is on average below that of the whole, which no number of points mends. What is averaged is
the points z, so estimates are unbiased, with a standard error that falls as the points grow.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from disvae.distributions import GaussianMixture, Joint, equal_mixture, noise
from disvae.distributions.families import Shape
from disvae.evaluation.feeding import Context, Data, batches
from disvae.model import VAE, evaluating
from disvae.nn import check_float
from disvae.objectives.aggregate import Groups, log_sum_exp_, log_sums

# how many numbers the densities of points under one batch of posteriors may take at once
_NUMBERS = 2**21
# up to so many scales from the origin, a matrix product in float64 is right to a millionth
_FAR = 2.0**16
_MOMENT_SAMPLES = 256


class LogDensities(NamedTuple):
    """Log densities of the aggregate at some points, in float64.

    Attributes:
        joint: Of whole points, ``(M,)``.
        each: Of single dimensions, ``(M, D)``.
        of_groups: Of groups of dimensions, ``(M, G)``.
    """

    joint: Tensor
    each: Tensor
    of_groups: Tensor


class Aggregate(Distribution):
    r"""The mixture, with equal weights, of all distributions of some batches.

    .. math::

        q(z) = \frac1N \sum_{n=1}^N q_n(z)

    Args:
        parts: Distributions over vectors of batch shapes ``(B,)``, which may differ in B. They are
            held, and taken one after another.

    Shape:
        Batch shape ``()``, event shape ``(D,)``.

    Raises:
        ValueError: If there are no parts, or they are no batches of vectors of one size.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> parts = [Independent(Normal(torch.full((3, 2), float(i)), 1.0), 1) for i in range(4)]
        >>> Aggregate(parts).mean
        tensor([1.5000, 1.5000])
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, parts: Sequence[Distribution]) -> None:
        self.parts = tuple(parts)
        # the number of batch axes, and the event shape
        kinds = {(len(part.batch_shape), *part.event_shape) for part in self.parts}
        if [(kind[0], len(kind)) for kind in kinds] != [(1, 2)]:
            shapes = [(tuple(part.batch_shape), tuple(part.event_shape)) for part in self.parts]
            raise ValueError(
                f"Expected distributions of batch shapes (B,) and one event shape (D,), but got "
                f"{f'batch and event shapes {shapes!s:.100}' if shapes else 'none'}; pass e.g. "
                f"[model.encode(x)]."
            )
        self.sizes = [part.batch_shape[0] for part in self.parts]
        self.size = sum(self.sizes)
        super().__init__(Size(), self.parts[0].event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """Where its components live."""
        return self.parts[0].support

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture."""
        return self.moments()[0].mean(0)

    @property
    def variance(self) -> Tensor:
        """The variance of the mixture: that of its components and that of their means."""
        mean, variance = self.moments()
        return variance.mean(0) + mean.var(0, correction=0)

    @torch.no_grad()
    def moments(self) -> tuple[Tensor, Tensor]:
        """The means and variances of all components, ``(N, D)`` each.

        One that a component has not in closed form is that of 256 samples.
        """
        found = [_moments(part) for part in self.parts]
        return torch.cat([mean for mean, _ in found]), torch.cat([v for _, v in found])

    @torch.no_grad()
    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Independent draws of the mixture, ``sample_shape + (D,)``."""
        shape = Size(sample_shape)
        like = self.parts[0].sample()
        u = noise(torch.rand, (shape.numel(),), dtype=torch.float64, device=like.device)
        chosen = (u * self.size).long().clamp(max=self.size - 1)
        z = like.new_empty(len(chosen), like.shape[-1])
        start = 0
        for part, rows in zip(self.parts, self.sizes, strict=True):
            drawn = torch.nonzero((chosen >= start) & (chosen < start + rows)).flatten()
            if len(drawn):
                component, order = (chosen[drawn] - start).sort(stable=True)
                # the how-manieth draw of its component each one is
                first = torch.searchsorted(component, component)
                repeat = torch.arange(len(drawn), device=z.device) - first
                several = part.sample(Size((int(repeat.max()) + 1,)))
                z[drawn[order]] = several[repeat, component]
            start += rows
        return z.reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of vectors ``(..., D)``, in nats; without a gradient.

        Raises:
            TypeError: If they are no floating-point tensor.
            ValueError: If they are of another size.
        """
        check_float(value, "value")
        joint = self.log_joint(value.reshape(-1, *value.shape[-1:]))
        return joint.reshape(value.shape[:-1]).to(value.dtype)

    @torch.no_grad()
    def log_joint(self, z: Tensor) -> Tensor:
        """Log densities of points ``(M, D)``, in float64; all posteriors with a density have it."""
        return self._sums(z, lambda part, some: (_joint(part, some),))[0]

    @torch.no_grad()
    def log_densities(self, z: Tensor, groups: Groups = ()) -> LogDensities:
        """Log densities of points ``(M, D)``, joint, of each dimension and of groups of them.

        Raises:
            ValueError: If the components have no marginals.
        """
        return LogDensities(*self._sums(z, lambda part, some: log_sums(part, some, groups)))

    def _sums(
        self, z: Tensor, sums: Callable[[Distribution, Tensor], tuple[Tensor, ...]]
    ) -> list[Tensor]:
        """Log sums over the components of all parts, less log N, in float64.

        Raises:
            ValueError: If the points are of another size than the components.
        """
        if z.ndim != 2 or z.shape[1:] != self.event_shape:
            raise ValueError(
                f"Expected points of {self.event_shape[0]} numbers, as the aggregate has, but got "
                f"shape {tuple(z.shape)}; pass a column for each latent dimension."
            )
        total: list[Tensor] = []
        for part, size in zip(self.parts, self.sizes, strict=True):
            rows = max(1, _NUMBERS // (size * z.shape[-1]))
            several = [sums(part, some) for some in z.split(rows)]
            found = [torch.cat(of).double() for of in zip(*several, strict=True)]
            total = list(map(torch.logaddexp, total, found)) if total else found
        return [value - math.log(self.size) for value in total]


def _joint(part: Distribution, z: Tensor) -> Tensor:
    """Log sums of joint densities alone: for posteriors without marginals, and cheaper."""
    mixture = equal_mixture(part, z)
    if not isinstance(mixture, GaussianMixture):
        return mixture.log_prob(z).double() + math.log(part.batch_shape[0])
    reach = torch.maximum(z.abs().amax(), mixture.loc.abs().amax()) / mixture.scale.amin()
    if reach > _FAR:
        return log_sums(part, z)[0].double()
    # far components underflow, and their exponentials would take ten times as long
    return log_sum_exp_(mixture.component_log_probs(z)) + math.log(part.batch_shape[0])


def _moments(d: Distribution) -> tuple[Tensor, Tensor]:
    if isinstance(d, Joint):
        each = [_moments(block) for block in d.blocks]
        return d.join([mean for mean, _ in each]), d.join([variance for _, variance in each])
    mean, variance = _closed(d, "mean"), _closed(d, "variance")
    if mean is None or variance is None:
        samples = d.sample(Size((_MOMENT_SAMPLES,)))
        mean = samples.mean(0) if mean is None else mean
        variance = samples.var(0) if variance is None else variance
    shape = d.batch_shape + d.event_shape
    return mean.expand(shape), variance.expand(shape)


def _closed(d: Distribution, moment: str) -> Tensor | None:
    """A moment, where it has a closed form."""
    try:
        found: Tensor = getattr(d, moment)
    except (NotImplementedError, AttributeError):
        return None
    return found


def aggregate_posterior(
    model: VAE, data: Data, *, context: Context = None, batch_size: int = 512
) -> Aggregate:
    r"""The aggregate posterior of a model as a distribution: to draw from, or for its density.

    .. math::

        q(z) = \frac1N \sum_{n=1}^N q(z|x_n)

    Its density at a point is exact, a sum over all data: M points cost M·N·D operations.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Shape:
        Batch shape ``()``, event shape ``(D,)``.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> q = evaluation.aggregate_posterior(model, torch.rand(100, 8))
        >>> q.log_prob(q.sample((5,))).shape
        torch.Size([5])

    References:
        Hoffman and Johnson, ELBO surgery, 2016,
        http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    """
    with evaluating(model):
        return Aggregate(
            [model.encode(x, c) for x, _, c in batches(model, data, context, batch_size)]
        )
