"""Interventions drawn from arrays: rows that agree on what is held fixed, and batches of them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import Arrays
from disvae.metrics.discretise import Labels
from disvae.metrics.score import NotDefinedError

# Rows and pairs drawn at a time: bounds the memory, whatever the number of votes. The codes of
# pairs are copied, so they come in chunks that a cache holds.
_ROWS = 1 << 20
_PAIRS = 1 << 14


def require_two_factors(labels: Sequence[Labels]) -> None:
    """Raises if there is one factor only, so that nothing is to be told apart."""
    if len(labels) < 2:
        raise NotDefinedError(
            "Expected at least two factors to tell apart, but got one; with one factor every "
            "vote is right and the score says nothing, use mig instead.",
            reason="one factor",
        )


def kept_codes(arrays: Arrays, min_std: float | None) -> NDArray[np.bool_]:
    """The codes that are not constant, and whose standard deviation is at least ``min_std``."""
    if min_std is None:
        return arrays.active
    if not (isinstance(min_std, float | int | np.number) and 0 <= min_std < np.inf):
        raise ValueError(
            f"Expected min_std to be None or a finite number of at least 0, but got {min_std!r}; "
            "pass 0.05 for the published pruning."
        )
    kept = arrays.active.copy()
    unit, width = to_unit(arrays.codes[:, kept])
    kept[kept] = width * unit.std(axis=0, ddof=1) >= min_std
    return kept


def to_unit(codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes mapped to [0, 1] one by one, and the width of each before.

    No square of them over- or underflows, whatever the scale of a code. No code may be constant.
    """
    scaled = codes - codes.min(axis=0)
    width = scaled.max(axis=0)
    scaled /= width
    return scaled, width


def fixing_one(labels: Sequence[Labels], column: int) -> Labels:
    """Rows grouped by their value of one factor; a value that a single row has is left out."""
    factor = labels[column]
    shared = factor.sizes >= 2
    if not shared.any():
        raise NotDefinedError(
            f"Expected a value of factor column {column} that at least two rows share, but all "
            f"{len(factor.rows)} differ; pass more rows, or discrete=False to bin that factor.",
            reason=f"factor column {column} has no two rows alike",
        )
    return _only(factor, shared)


def fixing_others(labels: Sequence[Labels], column: int) -> tuple[Labels, NDArray[np.intp]]:
    """Rows grouped by their values of all factors but one.

    Rows at which a factor is missing belong to no group, and groups in which the one factor does
    not vary are left out.

    Returns:
        The groups, and the class of that factor at each of their rows.
    """
    rows = labels[0].rows
    for factor in labels[1:]:
        rows = np.intersect1d(rows, factor.rows, assume_unique=True)
    group = np.zeros(len(rows), dtype=np.intp)
    for k, factor in enumerate(labels):
        if k != column:
            # Numbered anew after each factor, so that no product of sizes overflows.
            values = _classes_at(factor, rows)
            group = np.unique(group * len(factor.sizes) + values, return_inverse=True)[1].ravel()
    own = _classes_at(labels[column], rows)
    sizes = np.bincount(group)
    cells = np.unique(group * len(labels[column].sizes) + own)
    varied = np.bincount(cells // len(labels[column].sizes), minlength=len(sizes)) >= 2
    if not varied.any():
        raise NotDefinedError(
            f"Expected rows that differ in factor column {column} and agree in all others, but "
            f"none of {len(rows)} do; pass more rows, or discrete=False and fewer factor_bins.",
            reason=f"no rows differ in factor column {column} alone",
        )
    return _only(Labels(rows, group, sizes), varied), own[varied[group]]


def draw_batches(
    groups: Labels, votes: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.intp]]]:
    """Draws batches with replacement, each from the group of a row chosen uniformly.

    Yields:
        Which votes, and the positions (votes, batch_size) of their rows, among the rows sorted by
        group.
    """
    start = np.cumsum(groups.sizes) - groups.sizes
    group = groups.classes[rng.integers(len(groups.classes), size=votes)]
    for chunk in _chunks(votes, max(1, _ROWS // batch_size)):
        size, offset = groups.sizes[group[chunk], None], start[group[chunk], None]
        uniform = rng.random((len(size), batch_size))
        yield chunk, offset + (uniform * size).astype(np.intp)


def draw_pairs(
    groups: Labels, votes: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.intp], NDArray[np.intp]]]:
    """Draws pairs of different rows of one group, each from the group of a row chosen uniformly.

    Yields:
        Which votes, and the rows (votes, batch_size) that come first and second.
    """
    start = np.cumsum(groups.sizes) - groups.sizes
    order = np.argsort(groups.classes, kind="stable")
    rows, group = groups.rows[order], groups.classes[order]
    for chunk in _chunks(votes, max(1, _PAIRS // batch_size)):
        first = rng.integers(len(rows), size=(chunk.stop - chunk.start, batch_size))
        size, offset = groups.sizes[group[first]], start[group[first]]
        # A step of 1 to size - 1, around the group, never comes back to the first row.
        step = 1 + (rng.random(first.shape) * (size - 1)).astype(np.intp)
        yield chunk, rows[first], rows[offset + (first - offset + step) % size]


def _chunks(votes: int, at_once: int) -> Iterator[slice]:
    for begin in range(0, votes, at_once):
        yield slice(begin, min(begin + at_once, votes))


def _classes_at(factor: Labels, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    return factor.classes[np.searchsorted(factor.rows, rows)]


def _only(groups: Labels, kept: NDArray[np.bool_]) -> Labels:
    if kept.all():
        return groups
    chosen = kept[groups.classes]
    classes = (np.cumsum(kept) - 1)[groups.classes[chosen]]
    return Labels(groups.rows[chosen], classes, groups.sizes[kept])
