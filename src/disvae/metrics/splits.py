"""Rows to fit on, and rows to test on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import check_count
from disvae.metrics.discretise import Labels
from disvae.metrics.score import NotDefinedError

Rows = int | float | None
"""A number of rows, a share of them, or None for the usual number."""

TRAIN_ROWS = 1500
"""Rows that DCI is fitted on, as in the published values that others are compared with."""

TEST_ROWS = 1000
"""Rows that DCI is tested on."""

# Fewer rows than these on either side say nothing.
_FEWEST = 2


@dataclass(frozen=True)
class Split:
    """Rows to fit on, and rows to test on, none in both.

    They are numbered among the rows at which the factor is known.

    Attributes:
        train: Rows to fit on.
        test: Rows to test on.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]


def check_rows(name: str, rows: Rows) -> None:
    """Raises unless this is a number of rows, a share of them, or None."""
    if rows is None:
        return
    if isinstance(rows, float | np.floating):
        if not 0 < rows < 1:
            raise ValueError(
                f"Expected {name} as a share to be between 0 and 1, but got {rows!r}; pass for "
                "instance 0.6, or a whole number of rows."
            )
        return
    check_count(name, rows, minimum=_FEWEST)


def random_split(
    known: NDArray[np.intp], order: NDArray[np.intp], train: Rows, test: Rows, column: int
) -> Split:
    """Takes the rows at which a factor is known in a random order, first to fit, then to test.

    Args:
        known: The rows at which the factor is known, ascending.
        order: All rows in random order.
        train: Rows to fit on. None: 1,500, or 60 % where there are fewer than 2,500.
        test: Rows to test on. None: 1,000, or 40 % where there are fewer than 2,500.
        column: The factor's column, for a refusal.

    Raises:
        NotDefinedError: If there are not as many rows.
    """
    n = len(known)
    usual = n >= TRAIN_ROWS + TEST_ROWS or not (train is None and test is None)
    to_fit = _count(train, n, TRAIN_ROWS if usual else 0.6)
    to_test = _count(test, n, TEST_ROWS if usual else 0.4)
    # A side that was left open makes do with what the other leaves, and so does rounding.
    if train is None:
        to_fit = min(to_fit, n - to_test)
    elif not isinstance(test, int | np.integer):
        to_test = min(to_test, n - to_fit)
    if min(to_fit, to_test) < _FEWEST or to_fit + to_test > n:
        raise NotDefinedError(
            f"Expected enough rows to fit on {max(to_fit, _FEWEST)} and test on "
            f"{max(to_test, _FEWEST)}, but factor column {column} is known at {n}; pass more rows, "
            "or fewer train_rows and test_rows.",
            reason=f"too few rows for factor column {column}",
        )
    taken = _positions(known, order)
    return Split(taken[:to_fit], taken[to_fit : to_fit + to_test])


def divisible(labels: Labels, column: int) -> Labels:
    """The factor without the classes of a single row, which cannot be on both sides.

    Args:
        labels: The factor as classes.
        column: The factor's column, for a refusal.

    Raises:
        NotDefinedError: If fewer than two classes are left.
    """
    kept = labels.sizes >= 2
    if kept.all():
        return labels
    if kept.sum() < 2:
        raise NotDefinedError(
            "Expected at least two classes of two rows or more, to fit on one and test on another, "
            f"but factor column {column} has {int(kept.sum())} among {len(kept)} classes; pass "
            "more rows, or discrete=False if its numbers are values.",
            reason=f"factor column {column} has no two classes of two rows",
        )
    chosen = kept[labels.classes]
    classes = (np.cumsum(kept) - 1)[labels.classes[chosen]]
    return Labels(labels.rows[chosen], classes, labels.sizes[kept])


def stratified_split(labels: Labels, order: NDArray[np.intp], test_share: float) -> Split:
    """Divides the rows of each class, so that every class is on both sides.

    Args:
        labels: The factor as classes, each of two rows or more.
        order: All rows in the order to take them in, those to test on last.
        test_share: The part of each class to test on, rounded, but at least one row a side.
    """
    taken = _positions(labels.rows, order)
    # Of few bits, so that numpy sorts by counting.
    classes = labels.classes[taken].astype(np.min_scalar_type(len(labels.sizes)))
    sort = taken[np.argsort(classes, kind="stable")]
    classes = labels.classes[sort]
    number = np.arange(len(sort)) - (np.cumsum(labels.sizes) - labels.sizes)[classes]
    to_test = np.clip(np.rint(test_share * labels.sizes), 1, labels.sizes - 1)
    tested = number >= (labels.sizes - to_test)[classes]
    return Split(np.sort(sort[~tested]), np.sort(sort[tested]))


def check_share(name: str, share: object) -> None:
    """Raises unless this is a number between 0 and 1."""
    if isinstance(share, bool) or not isinstance(share, float | int | np.number):
        raise TypeError(
            f"Expected {name} to be a number, but got {type(share).__name__}; pass for instance "
            "0.3."
        )
    if not 0 < share < 1:
        raise ValueError(
            f"Expected {name} to be between 0 and 1, but got {share!r}; pass for instance 0.3."
        )


def standardise(
    train: NDArray[np.float64], test: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes in standard deviations from the mean, both those of the training rows."""
    low = train.min(axis=0)
    width = train.max(axis=0) - low
    # By the range first, so that no square over- or underflows whatever the scale of a code.
    train, test = (train - low) / width, (test - low) / width
    mean, spread = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / spread, (test - mean) / spread


def _positions(known: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers among the known rows, in the given order of all rows."""
    if len(known) == len(order):
        return order
    number = np.full(len(order), -1)
    number[known] = np.arange(len(known))
    taken = number[order]
    return np.asarray(taken[taken >= 0])


def _count(rows: Rows, n: int, usual: int | float) -> int:
    wanted = usual if rows is None else rows
    return round(wanted * n) if isinstance(wanted, float | np.floating) else int(wanted)
