"""Codes and factors as small integers: the form in which information and votes are counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import Arrays, check_count
from disvae.metrics.score import NotDefinedError

CODE_BINS = 20
"""Equal-width bins of a code, as in the published comparisons."""

FACTOR_BINS = 10
"""Equal-width bins of a continuous factor."""


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


def equal_width(values: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    r"""Bins each column of the data into equal widths from its smallest to its largest value.

    Bin :math:`b` is :math:`[e_b, e_{b+1})` with :math:`e_b = \min + b\,(\max - \min)/B`; the last
    bin holds its upper edge. The comparison is made with the edges of
    :func:`numpy.histogram_bin_edges` in float64, so that values on an edge fall as they do there.

    Args:
        values: Finite, one row per column of the data, shape (C, N), no row constant.
        bins: The number of bins B.

    Returns:
        Bin numbers in [0, B), shape (C, N).
    """
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    edges = np.linspace(low[:, 0], high[:, 0], bins + 1, axis=1)
    binned = ((values - low) / (high - low) * bins).astype(np.intp)
    np.minimum(binned, bins - 1, out=binned)
    # This may round across an edge, so the edges themselves have the last word.
    binned -= values < np.take_along_axis(edges, binned, axis=1)
    edges[:, -1] = np.inf
    binned += values >= np.take_along_axis(edges, binned + 1, axis=1)
    return binned


def bin_codes(arrays: Arrays, bins: int) -> NDArray[np.intp]:
    """Bins the codes that are not constant into equal widths. Shape (active codes, N)."""
    check_count("bins", bins, minimum=2)
    return equal_width(arrays.codes.T[arrays.active], bins)


def label_factors(arrays: Arrays, bins: int) -> tuple[Labels, ...]:
    """The classes of each factor: discrete ones as they are, continuous ones in ``bins`` widths.

    Raises:
        NotDefinedError: If a factor is constant, or known at fewer than two rows.
    """
    check_count("factor_bins", bins, minimum=2)
    labels = []
    for k, column in enumerate(arrays.factors.T):
        known = np.flatnonzero(~np.isnan(column))
        values, classes = np.unique(column[known], return_inverse=True)
        if len(values) < 2:
            state = f"only the value {values[0]}" if len(values) else "no value at all"
            raise NotDefinedError(
                f"Expected every factor to vary, but got {state} in factor column {k}; "
                "leave that column out.",
                reason=f"factor column {k} is constant",
            )
        if not arrays.discrete[k]:
            binned = equal_width(column[None, known].astype(np.float64), bins)
            classes = np.unique(binned, return_inverse=True)[1]
        labels.append(Labels(known, classes.reshape(-1), np.bincount(classes.reshape(-1))))
    return tuple(labels)
