r"""What decoding does to attributes when one latent dimension is moved.

The dimension goes through even steps while the others stay, from the codes of several data; the
decoded data are measured.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disvae.alignment.attributes import Floats, Gauge
from disvae.alignment.finding import Curves
from disvae.distributions import point
from disvae.model import VAE, device_of, evaluating

# of a traversal with fewer measured frames nothing is said
_LEAST_FRAMES = 3
# of an attribute, in standard deviations: that of float32 is less
_ROUNDING = 1e-6
# the part of base data within the band of a curve
_BAND = (0.1, 0.9)


class OfSweeps(NamedTuple):
    """Figures of A dimensions and K attributes, with any leading axes.

    Attributes:
        slope: The mean change of each attribute, in standard deviations over the data, for each
            standard deviation of the code, (A, K); NaN where nothing could be measured.
        monotonicity: The mean size of the rank correlation along a traversal, (A, K).
        cross_talk: How far the other attributes move, relative to this one, (A, K).
    """

    slope: Floats
    monotonicity: Floats
    cross_talk: Floats


class Sweeps:
    """Measured traversals.

    Args:
        values: What each dimension takes, ascending, in standard deviations of its codes, (A, T).
        measured: The attributes of each frame, in standard deviations over the data, NaN where not
            measured, (S, A, T, K).
    """

    def __init__(self, values: Floats, measured: Floats) -> None:
        there = ~np.isnan(measured)
        count = there.sum(axis=2, keepdims=True)
        enough = count[:, :, 0] >= _LEAST_FRAMES
        x = np.broadcast_to(values[None, :, :, None], measured.shape)
        x, y = _centred(x, there, count), _centred(measured, there, count)
        spread, change = (x * x).sum(axis=2), (y * y).sum(axis=2)
        slope = _ratio((x * y).sum(axis=2), spread)
        ranks = [_centred(_ranks(v, there), there, count) for v in (x, measured)]
        sizes = np.sqrt((ranks[0] ** 2).sum(axis=2) * (ranks[1] ** 2).sum(axis=2))
        related = _ratio((ranks[0] * ranks[1]).sum(axis=2), sizes)
        # those of each traversal, and which traversals have any, (S, A, K)
        self._each = np.stack([slope, np.abs(related), _ratio(change, count[:, :, 0])])
        self._enough = enough.astype(np.float64)

    def figures(self) -> OfSweeps:
        """Those of all traversals."""
        return OfSweeps(*(value[0] for value in self._of(np.ones((1, len(self._enough))))))

    def resampled(self, rng: np.random.Generator, replicates: int) -> OfSweeps:
        """Those of resampled base data, the replicates along the first axis."""
        samples = len(self._enough)
        if samples == 1:  # which tells nothing of others
            unknown = np.full((replicates, *self._enough.shape[1:]), np.nan)
            return OfSweeps(unknown, unknown, unknown)
        draws = rng.multinomial(samples, np.full(samples, 1 / samples), size=replicates)
        return self._of(draws.astype(np.float64))

    def _of(self, weights: Floats) -> OfSweeps:
        total = np.einsum("rs,sak->rak", weights, self._enough)
        sums = np.einsum("rs,qsak->qrak", weights, self._each * self._enough)
        nothing = np.full_like(total, np.nan)
        slope, monotonicity, variance = (
            np.divide(one, total, out=nothing.copy(), where=total > 0) for one in sums
        )
        moved = np.sqrt(variance)
        return OfSweeps(slope, monotonicity, _cross_talk(moved))


def sweep(
    model: VAE,
    gauge: Gauge,
    base: Tensor,
    context: Tensor | None,
    dims: Sequence[int],
    values: Tensor,
    batch_size: int,
) -> Floats:
    """The attributes of decoded traversals, NaN where not measured, (S, A, T, K).

    Args:
        model: The model.
        gauge: What measures.
        base: The codes that stay but for one dimension, (S, D).
        context: What the model is conditioned on, (S, C), or None.
        dims: The dimensions that move, A of them.
        values: What each takes, (A, T).
        batch_size: How many data are decoded at once.
    """
    z = moved(base, dims, values)
    shape = z.shape[:3]
    if context is not None:
        context = context[:, None, None].expand(*shape, -1).flatten(0, 2)
    frames = z.flatten(0, 2).split(batch_size)
    contexts = [None] * len(frames) if context is None else context.split(batch_size)
    found = [gauge(decoded(model, f, c)) for f, c in zip(frames, contexts, strict=True)]
    return np.concatenate(found).reshape(*shape, -1)


def steps_through(codes: Floats, steps: int, central: float) -> Floats:
    """Even steps through the central part of codes (N, A), ascending, (A, T)."""
    tail = (1 - central) / 2
    low, high = np.quantile(codes, [tail, 1 - tail], axis=0)
    # of sparse codes nearly all may be equal
    apart = low < high
    low, high = np.where(apart, (low, high), (codes.min(axis=0), codes.max(axis=0)))
    return np.linspace(low, high, steps, axis=1)


def curves_of(values: Floats, measured: Floats) -> Curves:
    """The mean and a band of the attributes over base data; NaN where none could be measured."""
    there = ~np.isnan(measured)
    # columns of NaN alone would warn
    known = np.where(there.any(axis=0), measured, 0.0)
    found = [np.nanmean(known, axis=0), *np.nanquantile(known, _BAND, axis=0)]
    masked = [torch.from_numpy(np.where(there.any(axis=0), value, np.nan)) for value in found]
    return Curves(torch.from_numpy(values), *masked)


def moved(base: Tensor, dims: Sequence[int], values: Tensor) -> Tensor:
    """Codes with one dimension after another moved, (S, A, T, D), from codes (S, D)."""
    z = base[:, None, None].repeat(1, len(dims), values.shape[1], 1)
    for row, d in enumerate(dims):
        z[:, row, :, d] = values[row].to(z)
    return z


def decoded(model: VAE, z: Tensor, context: Tensor | None) -> Tensor:
    """Point estimates of the data for latents (B, D), on the CPU."""
    with evaluating(model):
        device = device_of(model)
        context = None if context is None else context.to(device)
        return point(model.decode(z.to(device), context)).cpu()


def _cross_talk(moved: Floats) -> Floats:
    """The mean movement of the other attributes over that of each, (..., A, K)."""
    count = moved.shape[-1]
    if count == 1:
        return np.full_like(moved, np.nan)
    others = (moved.sum(axis=-1, keepdims=True) - moved) / (count - 1)
    # what moves nothing but by rounding, or was not measured, has none
    return np.divide(others, moved, out=np.full_like(moved, np.nan), where=moved > _ROUNDING)


def _centred(values: Floats, there: np.ndarray, count: np.ndarray) -> Floats:
    """Values less their mean along the frames, 0 where they are missing."""
    known = np.where(there, values, 0.0)
    return np.where(there, known - _ratio(known.sum(axis=2, keepdims=True), count), 0.0)


def _ranks(values: Floats, there: np.ndarray) -> Floats:
    """Ranks along the frames among those that are there; equal values share theirs."""
    known = np.where(there, values, np.nan)
    ranks = np.zeros(values.shape)
    for other in np.moveaxis(known, 2, 0)[:, :, :, None]:
        ranks += (known > other) + 0.5 * (known == other)
    return ranks


def _ratio(a: Floats, b: np.ndarray) -> Floats:
    """A quotient, 0 where the divisor is."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) > 0)
