r"""The best classifier of one code by thresholds: intervals, each of which stands for a class.

With V classes there are at most V - 1 thresholds, so that each class can have an interval. They,
and the class of each interval, are chosen together, to maximise balanced accuracy: the mean over
classes of the share of its rows that fall into intervals of that class. That sum over intervals
is maximised exactly by dynamic programming, over cuts between neighbouring values of different
classes; other cuts cannot be better. Where there are more such cuts than bins, neighbouring ones
are taken together, so that bins are small where classes mix and large where one class is alone.
"""

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.binned import Column

# Bins between which thresholds can lie: so many, or so many per class if that is more.
_BINS = 128
_BINS_PER_CLASS = 4

# Entries of a table of choices in work at a time: bounds the memory with very many classes.
_CHOICES = 1 << 25


def balanced_accuracies(
    train: NDArray[np.float64],
    train_classes: NDArray[np.intp],
    test: NDArray[np.float64],
    test_classes: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Fits thresholds on each code and gives their balanced accuracy at other rows.

    Args:
        train: Codes to fit on, shape (n, A).
        train_classes: Numbered from 0, all of which occur here and at the test rows, shape (n,).
        test: Codes to test on, shape (m, A).
        test_classes: Shape (m,).

    Returns:
        Shape (A,).
    """
    V = int(train_classes.max()) + 1
    A = train.shape[1]
    B = max(_BINS, _BINS_PER_CLASS * V)
    fitted, tested = np.zeros((A, B, V)), np.zeros((A, B, V))
    for a in range(A):
        column = Column.of(train[:, a], len(train))
        bins = _bin_by_class(column.rank, train_classes, B)
        fitted[a] = _shares(bins[column.rank], train_classes, B, V)
        edges = column.middles[bins[1:] > bins[:-1]]
        tested[a] = _shares(np.searchsorted(edges, column.sign * test[:, a]), test_classes, B, V)
    B = int(np.flatnonzero(fitted.max(axis=(0, 2)))[-1]) + 1
    at_once = max(1, _CHOICES // (B * V * min(B, V)))
    labels = np.concatenate([label_bins(fitted[a : a + at_once, :B]) for a in range(0, A, at_once)])
    hits = np.take_along_axis(tested[:, :B], labels[:, :, None], axis=2)
    return np.asarray(hits.sum(axis=(1, 2)) / V)


def label_bins(shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Chooses a class for each bin so that the sum of their shares is largest.

    Classes change at most V - 1 times from bin to bin. Of equally good choices it takes the one
    that changes last.

    Args:
        shares: The part of each class's rows that is in each bin, shape (A, B, V).

    Returns:
        Class numbers, shape (A, B).
    """
    A, B, V = shares.shape
    M = min(B, V)
    # best[a, i, v]: the largest sum so far with at most i changes, the last bin being of class v.
    best = np.repeat(shares[:, :1], M, axis=1)
    changed = np.zeros((B, A, M, V), dtype=np.bool_)
    before = np.zeros((B, A, M), dtype=np.intp)
    every = np.arange(A * M)
    for b in range(1, B):
        before[b] = best.argmax(axis=2)
        highest = best.reshape(A * M, V)[every, before[b].reshape(-1)].reshape(A, M, 1)[:, :-1]
        np.greater(highest, best[:, 1:], out=changed[b, :, 1:])
        np.maximum(highest, best[:, 1:], out=best[:, 1:])
        best += shares[:, b, None]
    labels = np.empty((A, B), dtype=np.intp)
    code, changes = np.arange(A), np.full(A, M - 1)
    label = best[:, -1].argmax(axis=1)
    for b in range(B - 1, -1, -1):
        labels[:, b] = label
        change = changed[b, code, changes, label]
        changes = changes - change
        label = np.where(change, before[b, code, changes], label)
    return labels


def _bin_by_class(rank: NDArray[np.intp], classes: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """The bin of each rank: neighbours share one if all their rows are of one class, (U,)."""
    U = int(rank.max()) + 1
    lowest, highest = np.full(U, len(classes)), np.full(U, -1)
    np.minimum.at(lowest, rank, classes)
    np.maximum.at(highest, rank, classes)
    alike = (lowest[:-1] == highest[1:]) & (highest[:-1] == lowest[1:])
    number = np.concatenate([[0], np.cumsum(~alike)])
    runs = number[-1] + 1
    return number * most // runs if runs > most else number


def _shares(
    bins: NDArray[np.intp], classes: NDArray[np.intp], B: int, V: int
) -> NDArray[np.float64]:
    """The part of each class's rows that is in each bin, shape (B, V)."""
    counts = np.bincount(bins * V + classes, minlength=B * V).reshape(B, V)
    return np.asarray(counts / counts.sum(axis=0))
