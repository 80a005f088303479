"""The aggregate posterior over two latent dimensions, and its density in cells."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from torch.distributions import Distribution

from disvae.distributions import point
from disvae.evaluation import Context, Data
from disvae.evaluation.feeding import batches
from disvae.model import VAE, evaluating
from disvae.plotting.arrays import as_numbers, check_whole, labels_of
from disvae.plotting.cells import Floats, Normals, Part
from disvae.plotting.pairs import part_of

Span = float | tuple[float, float] | tuple[tuple[float, float], tuple[float, float]]
"""A number s for (-s, s), ends (low, high) for both dimensions, or such ends for each."""

# samples of a prior whose masses have no exact form
_PRIOR_SAMPLES = 200_000
# the part of the data, and of the prior, that the usual span leaves out at each end
_OUTSIDE, _OUTSIDE_OF_PRIOR = 0.001, 0.005


class Density(NamedTuple):
    r"""A density over two latent dimensions, averaged over each cell of a grid.

    Attributes:
        values: The mean density of :math:`q(z)` in each cell, ``(R, R)``: rows are cells of the
            second dimension, from low to high, and columns those of the first.
        x: The edges of the columns, ``(R + 1,)``.
        y: The edges of the rows, ``(R + 1,)``.
        prior: That of :math:`p(z)`, or None where there is no prior.
    """

    values: Floats
    x: Floats
    y: Floats
    prior: Floats | None

    @property
    def mass(self) -> float:
        """The part of the mass of q that lies in the grid, at most 1."""
        return float(self.values.sum() * (self.x[1] - self.x[0]) * (self.y[1] - self.y[0]))


class Aggregate:
    r"""The aggregate posterior over two latent dimensions.

    .. math::

        q(z_a, z_b) = \frac1N \sum_{n=1}^N q(z_a, z_b|x_n)

    It is made by :meth:`of_model` or :meth:`of_normals`, and drawn by :func:`densities`.

    Attributes:
        means: Point estimates of the posteriors, ``(N, 2)``.
        dims: The two latent dimensions.
        labels: A label for each datum, ``(N,)``, or None.
        exact: Whether densities are exact, and no histograms of samples.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        prior: Sequence[Part],
        means: Floats,
        dims: tuple[int, int],
        labels: NDArray[Any] | None,
    ) -> None:
        self._parts, self._prior = parts, prior
        self.means, self.dims, self.labels = means, dims, labels
        self.exact = all(part.exact for part in parts)

    @classmethod
    def of_normals(
        cls,
        means: ArrayLike,
        scales: ArrayLike,
        *,
        dims: tuple[int, int] = (0, 1),
        labels: ArrayLike | None = None,
        prior: Distribution | None = None,
    ) -> Self:
        """That of factorised normal posteriors, from their parameters: no model is needed.

        Args:
            means: The means, ``(N, D)``.
            scales: The standard deviations, ``(N, D)``.
            dims: The two dimensions.
            labels: A label for each datum, ``(N,)`` or ``(N, 1)``.
            prior: The prior, a distribution over vectors of D numbers.

        Raises:
            TypeError: If the values are not numbers, or the prior no distribution.
            ValueError: If a shape or a dimension does not fit, a mean is not finite, or a scale
                not finite and above 0.

        Example:
            >>> import numpy as np
            >>> aggregate = Aggregate.of_normals([[-1.0, 0.0], [1.0, 0.0]], np.full((2, 2), 0.1))
            >>> round(aggregate.density().mass, 2)
            1.0
        """
        loc, scale = as_numbers(means, "means"), as_numbers(scales, "scales")
        if loc.ndim != 2 or loc.shape[1] < 2 or not len(loc) or scale.shape != loc.shape:
            raise ValueError(
                f"Expected means and scales of one shape (N, D), with D at least 2, but got "
                f"{loc.shape} and {scale.shape}; pass one row for each datum in both."
            )
        if not (np.isfinite(loc).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError(
                "Expected finite means, and finite standard deviations above 0, but got others; "
                "leave out what has diverged, and take exp(log_variance / 2) of log variances."
            )
        chosen = _check_dims(dims, loc.shape[1])
        columns = list(chosen)
        part = Normals(loc[:, columns], scale[:, columns], np.ones(len(loc)))
        priors = [] if prior is None else [_part_of_prior(prior, chosen, loc.shape[1])]
        return cls([part], priors, part.loc, chosen, _check_labels(labels, len(loc)))

    @classmethod
    def of_model(
        cls,
        model: VAE,
        data: Data,
        *,
        dims: tuple[int, int] = (0, 1),
        labels: ArrayLike | None = None,
        prior: bool = True,
        samples: int = 32,
        context: Context = None,
        batch_size: int = 512,
    ) -> Self:
        """That of a model on data.

        The density is exact where a posterior factorises and has a cdf, and where it is normal or
        a mixture of such; else (flows, categories, spheres) it is a histogram of samples.

        Args:
            model: The model.
            data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
            dims: The two latent dimensions.
            labels: A label for each datum, ``(N,)`` or ``(N, 1)``.
            prior: Whether the prior is kept, to be drawn as contours. One that depends on the
                context is averaged over the data.
            samples: How many samples of each posterior make a histogram, where one is needed.
            context: As in :func:`disvae.evaluation.encode`.
            batch_size: How many data are encoded at once.

        Raises:
            ValueError: If a dimension does not exist, or there is not one label for each datum.

        Example:
            >>> import torch, disvae
            >>> from disvae import decoders, encoders, priors
            >>> model = disvae.VAE(encoders.MLP(8, 5), decoders.MLP(5, 8), prior=priors.Laplace(5))
            >>> aggregate = Aggregate.of_model(model, torch.rand(100, 8), dims=(3, 1))
            >>> aggregate.means.shape, aggregate.exact
            ((100, 2), True)
        """
        check_whole(samples, "samples")
        if not isinstance(prior, bool):
            raise TypeError(
                f"Expected prior to be True or False, but got {type(prior).__name__}; the prior is "
                "that of the model."
            )
        parts: list[Part] = []
        priors: list[Part] = []
        means = []
        with evaluating(model):
            for x, _, c in batches(model, data, context, batch_size):
                q = model.encode(x, c)
                dims = _check_dims(dims, q.event_shape[0])
                parts.append(part_of(q, dims, samples))
                means.append(point(q)[:, list(dims)].double().cpu().numpy())
                if prior and (c is not None or not priors):
                    p = model.latent_prior(c)
                    if p.batch_shape or not priors:
                        each = max(1, _PRIOR_SAMPLES // p.batch_shape.numel())
                        priors.append(part_of(p, dims, each))
        found = np.concatenate(means)
        return cls(parts, priors, found, dims, _check_labels(labels, len(found)))

    def ends(self) -> Floats:
        """The ends of the usual span, rows (low, high) for each dimension.

        Nearly all posteriors lie within to three standard deviations, and at least 99 % of the
        prior's mass in each dimension. Both dimensions have one scale.
        """
        ends = _ends(self._parts, _OUTSIDE)
        if self._prior:
            outside = 0.0 if all(p.exact for p in self._prior) else _OUTSIDE_OF_PRIOR
            ends = union([ends, _ends(self._prior, outside)])
        return squared(ends)

    def density(self, span: Span | None = None, resolution: int = 128) -> Density:
        r"""The mean densities of q, and of p, in the cells of a grid.

        Each is the mass in a cell, divided by the cell's area, so that posteriors far narrower than
        a cell count in full. Where posteriors are wider it is the density at the cell's centre, up
        to an error of the square of the cell's width.

        Args:
            span: The ends of the grid: a number s for (-s, s), a pair (low, high) for both
                dimensions, or a pair of such pairs. By default that of :meth:`ends`.
            resolution: The number R of cells along each side.

        Raises:
            ValueError: If a span is empty or infinite, or the resolution below 2.

        Example:
            >>> import numpy as np
            >>> aggregate = Aggregate.of_normals(np.zeros((1, 2)), np.ones((1, 2)))
            >>> density = aggregate.density(span=5.0, resolution=101)
            >>> round(float(density.values[50, 50] * 2 * np.pi), 2)  # 1 at the origin
            1.0
        """
        return self.within(self.ends() if span is None else ends_of(span), resolution)

    def within(self, ends: Floats, resolution: int) -> Density:
        """As :meth:`density`, between ends as :meth:`ends` gives them."""
        check_whole(resolution, "resolution", minimum=2)
        x, y = (np.linspace(low, high, resolution + 1) for low, high in ends)
        area = (x[1] - x[0]) * (y[1] - y[0])
        values = sum(part.masses(x, y) for part in self._parts) / len(self.means) / area
        if not self._prior:
            return Density(values, x, y, None)
        whole = sum(part.weight.sum() for part in self._prior)
        prior = sum(part.masses(x, y) for part in self._prior) / whole / area
        if not all(part.exact for part in self._prior):
            # contours of few counts would be ragged
            prior = gaussian_filter(prior, resolution / 64)
        return Density(values, x, y, prior)


def ends_of(span: Span) -> Floats:
    """The ends that a span means, rows (low, high) for each dimension.

    Raises:
        ValueError: If it is empty or infinite, or has another form.
    """
    try:
        ends = np.asarray(span, dtype=np.float64)
        ends = np.stack([-ends, ends]) if ends.ndim == 0 else ends
        ends = np.broadcast_to(ends, (2, 2))
    except (TypeError, ValueError):
        ends = np.zeros((2, 2))
    if not (np.isfinite(ends).all() and (ends[:, 0] < ends[:, 1]).all()):
        raise ValueError(
            f"Expected span to be a positive number, ends (low, high), or such ends for each of "
            f"two dimensions, all finite, but got {span!r:.60}; pass e.g. span=3.0."
        )
    return ends


def union(several: Sequence[Floats]) -> Floats:
    """The least ends that enclose several."""
    return np.stack([np.min(several, axis=0)[:, 0], np.max(several, axis=0)[:, 1]], axis=1)


def squared(ends: Floats) -> Floats:
    """Ends around the same centres, as wide for both dimensions."""
    half = np.ptp(ends, axis=1).max() / 2 or 1.0
    return ends.mean(axis=1, keepdims=True) + np.array([-half, half])


def _ends(parts: Sequence[Part], outside: float) -> Floats:
    low, high = (np.concatenate(each) for each in zip(*(p.ends() for p in parts), strict=True))
    return np.stack(
        [
            np.quantile(low, outside, axis=0, method="lower"),
            np.quantile(high, 1 - outside, axis=0, method="higher"),
        ],
        axis=1,
    )


def _check_dims(dims: tuple[int, int], latent_dim: int) -> tuple[int, int]:
    try:
        a, b = (operator.index(d) for d in dims)
    except (TypeError, ValueError):
        a = b = -1
    if a == b or not (0 <= a < latent_dim and 0 <= b < latent_dim):
        raise ValueError(
            f"Expected dims to be two different latent dimensions between 0 and {latent_dim - 1}, "
            f"but got {dims!r:.60}; pass e.g. dims=(0, 1)."
        )
    return a, b


def _check_labels(labels: ArrayLike | None, count: int) -> NDArray[Any] | None:
    return None if labels is None else labels_of(labels, count)


def _part_of_prior(prior: Any, dims: tuple[int, int], latent_dim: int) -> Part:
    if not isinstance(prior, Distribution):
        raise TypeError(
            f"Expected prior to be a distribution, but got {type(prior).__name__}; call the module "
            f"that makes it, as in prior=priors.Normal(2)()."
        )
    if prior.event_shape != (latent_dim,):
        raise ValueError(
            f"Expected a prior over vectors of {latent_dim} numbers, as the means are, but got "
            f"event shape {tuple(prior.event_shape)}; wrap it in torch.distributions.Independent."
        )
    return part_of(prior, dims, _PRIOR_SAMPLES)
