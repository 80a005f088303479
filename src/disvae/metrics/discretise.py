"""Codes and factors as small integers: the form in which information and votes are counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import Arrays, check_count
from disvae.metrics.score import NotDefinedError

CODE_BINS = 20
"""Equal-width bins of a code, as in the published comparisons."""

FACTOR_BINS = 10
"""Equal-width bins of a continuous factor."""

# Whole numbers are counted rather than sorted where their range is within this many times the
# number of rows, and where they fit a machine integer.
_SPAN = 4
_MACHINE = 2.0**62


@dataclass(frozen=True)
class Labels:
    """One factor as classes.

    Attributes:
        rows: The rows at which the factor is known, shape (n,), ascending.
        classes: The class of each of those rows, in [0, V), shape (n,).
        sizes: The number of rows of each class, all positive, shape (V,).
    """

    rows: NDArray[np.intp]
    classes: NDArray[np.intp]
    sizes: NDArray[np.intp]


@dataclass(frozen=True)
class Values:
    """One continuous factor as it is.

    Attributes:
        rows: The rows at which the factor is known, shape (n,), ascending.
        values: Its value at each of those rows, not all equal, shape (n,).
    """

    rows: NDArray[np.intp]
    values: NDArray[np.float64]


def equal_width(values: NDArray[np.float64], bins: int) -> NDArray[np.unsignedinteger]:
    r"""Bins each column of the data into equal widths from its smallest to its largest value.

    Bin :math:`b` is :math:`[e_b, e_{b+1})` with :math:`e_b = \min + b\,(\max - \min)/B`; the last
    bin holds its upper edge. The comparison is made with the edges of
    :func:`numpy.histogram_bin_edges` in float64, so that values on an edge fall as they do there.

    Args:
        values: Finite, one row per column of the data, shape (C, N), no row constant.
        bins: The number of bins B.

    Returns:
        Bin numbers in [0, B), in the smallest dtype that holds them, shape (C, N).
    """
    binned = np.empty(values.shape, dtype=np.min_scalar_type(bins - 1))
    # Row by row and small, so that what is in work stays in the cache.
    for d, row in enumerate(map(np.ascontiguousarray, values)):
        low, high = row.min(), row.max()
        edges = np.linspace(low, high, bins + 1)
        position = row - low
        position /= high - low
        position *= bins
        number = position.astype(np.intp)
        np.minimum(number, bins - 1, out=number)
        # This may round across an edge, so the edges themselves have the last word.
        number -= row < edges.take(number)
        edges[-1] = np.inf
        number += row >= edges[1:].take(number)
        binned[d] = number
    return binned


def equal_frequency(values: NDArray[np.float64], bins: int) -> NDArray[np.unsignedinteger]:
    r"""Bins each column of the data at its own quantiles, so that bins hold equally many rows.

    With the values in ascending order, bin :math:`b` ends at number
    :math:`\lceil (b+1)N/B \rceil`, included. Equal values share a bin, the first that they
    reach, so that ties leave bins unequal or empty.

    Args:
        values: Finite, one row per column of the data, shape (C, N).
        bins: The number of bins B.

    Returns:
        Bin numbers in [0, B), in the smallest dtype that holds them, shape (C, N).
    """
    N = values.shape[1]
    last = -(-np.arange(1, bins) * N // bins) - 1
    binned = np.empty(values.shape, dtype=np.min_scalar_type(bins - 1))
    for d, row in enumerate(values):
        binned[d] = np.sort(row)[last].searchsorted(row)
    return binned


def label_factors(arrays: Arrays, bins: int) -> tuple[Labels, ...]:
    """The classes of each factor: discrete ones as they are, continuous ones in ``bins`` widths.

    Raises:
        NotDefinedError: If a factor is constant, or known at fewer than two rows.
    """
    check_count("factor_bins", bins, minimum=2)
    return tuple(
        factor
        if isinstance(factor, Labels)
        else label(factor.rows, equal_width(factor.values[None], bins)[0])
        for factor in mix_factors(arrays)
    )


def mix_factors(arrays: Arrays) -> tuple[Labels | Values, ...]:
    """The classes of each discrete factor, and the values of each continuous one.

    Raises:
        NotDefinedError: If a factor is constant, or known at fewer than two rows.
    """
    floating = arrays.factors.dtype.kind == "f"
    factors: list[Labels | Values] = []
    for k, column in enumerate(arrays.factors.T):
        rows = np.flatnonzero(~np.isnan(column)) if floating else np.arange(len(column))
        observed = column[rows] if floating else np.ascontiguousarray(column)
        _check_varies(observed, k)
        factors.append(
            label(rows, observed)
            if arrays.discrete[k]
            else Values(rows, observed.astype(np.float64))
        )
    return tuple(factors)


def _check_varies(observed: NDArray[Any], column: int) -> None:
    low, high = (observed.min(), observed.max()) if len(observed) else (np.nan, np.nan)
    if not low < high:
        state = f"only the value {low}" if len(observed) else "no value at all"
        raise NotDefinedError(
            f"Expected every factor to vary, but got {state} in factor column {column}; "
            "leave that column out.",
            reason=f"factor column {column} is constant",
        )
    if not np.isfinite(float(high) - float(low)):
        raise ValueError(
            f"Expected factors whose range fits a float64, but got column {column} from "
            f"{low:.3g} to {high:.3g}; rescale it."
        )


def label(rows: NDArray[np.intp], observed: NDArray[Any]) -> Labels:
    """Numbers the distinct values, none of them NaN, in ascending order."""
    low, high = observed.min(), observed.max()
    countable = (
        float(high) - float(low) < _SPAN * len(observed)
        and max(-float(low), float(high)) < _MACHINE
        and (observed.dtype.kind != "f" or np.array_equal(np.floor(observed), observed))
    )
    if not countable:
        classes = np.unique(observed, return_inverse=True)[1].reshape(-1)
        return Labels(rows, classes, np.bincount(classes))
    classes = np.subtract(observed, low, dtype=np.intp, casting="unsafe")
    sizes = np.bincount(classes)
    if not sizes.all():
        present = sizes > 0
        classes = (np.cumsum(present) - 1)[classes]
        sizes = sizes[present]
    return Labels(rows, classes, sizes)
