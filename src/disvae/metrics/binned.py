"""Codes by rank and bin: all that a threshold on them can see."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Column:
    """One code by the ranks of its values, in an orientation of its own.

    The first row that does not lie in the middle of the ranks lies below it. A code and its
    mirror image are therefore the same column, and so is any increasing function of it.

    Attributes:
        sign: 1, or -1 if the code was mirrored.
        middles: Halfway between neighbouring distinct values, after the sign, shape (U - 1,).
        rank: Number of distinct values below that of each row, in [0, U), shape (N,).
        bins: The bin of each rank, ascending from 0 without gaps, shape (U,).
    """

    sign: float
    middles: NDArray[np.float64]
    rank: NDArray[np.intp]
    bins: NDArray[np.intp]

    @classmethod
    def of(cls, values: NDArray[np.float64], bins: int) -> "Column":
        """Ranks values (N,) and cuts them into at most ``bins`` bins of about equal size.

        Equal values share a bin; with no more distinct values than bins, each has its own.
        """
        distinct, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
        rank = rank.reshape(-1)
        top = len(distinct) - 1
        off_middle = np.flatnonzero(2 * rank != top)
        sign = 1.0
        if len(off_middle) and 2 * rank[off_middle[0]] > top:
            sign, rank = -1.0, top - rank
            distinct, counts = -distinct[::-1], counts[::-1]
        lower, upper = distinct[:-1], distinct[1:]
        middles = 0.5 * lower + 0.5 * upper
        # Between adjacent floats the middle may round to the upper one.
        middles = np.where(middles < upper, middles, lower)
        if len(distinct) <= bins:
            return cls(sign, middles, rank, np.arange(len(distinct)))
        halfway = 2 * np.cumsum(counts) - counts
        numbers = np.unique(halfway * bins // (2 * len(rank)), return_inverse=True)[1]
        return cls(sign, middles, rank, numbers.reshape(-1))

    def locate(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """The rank of the distinct value that each of other values, shape (n,), is nearest to."""
        return np.asarray(np.searchsorted(self.middles, self.sign * values))


@dataclass(frozen=True)
class BinnedCodes:
    """Several codes by rank and bin, in an order of their own.

    The order follows from the ranks alone, so that nothing made of them depends on the order in
    which the codes came. A sorted position is a place among the rows sorted by a code.

    Attributes:
        columns: The codes.
        source: The number under which each code came, shape (D,).
        rank: Rank of each row, shape (D, N).
        row: The row at each sorted position, shape (D, N).
        closing: Whether the next sorted position has another value, shape (D, N).
        start: First sorted position of each bin, N from the end of the last, shape (D, B + 1).
        several: Whether a bin holds several distinct values, shape (D, B).
        width: Rows of the largest such bin.
        membership: Which bins, of all codes in turn, a row is in: sparse, shape (D B, N).
    """

    columns: tuple[Column, ...]
    source: NDArray[np.intp]
    rank: NDArray[np.unsignedinteger]
    row: NDArray[np.intp]
    closing: NDArray[np.bool_]
    start: NDArray[np.intp]
    several: NDArray[np.bool_]
    width: int
    membership: Any

    @classmethod
    def of(cls, codes: NDArray[np.float64], bins: int) -> "BinnedCodes":
        """Ranks and bins codes (N, D)."""
        N, D = codes.shape
        found = [Column.of(code, bins) for code in codes.T]
        source = sorted(range(D), key=lambda d: found[d].rank.tobytes())
        columns = tuple(found[d] for d in source)
        rank = np.stack([column.rank for column in columns])
        row = np.argsort(rank, axis=1, kind="stable")
        ordered = np.take_along_axis(rank, row, axis=1)
        closing = np.zeros((D, N), dtype=np.bool_)
        closing[:, :-1] = ordered[:, 1:] != ordered[:, :-1]

        B = max(int(column.bins[-1]) for column in columns) + 1
        start = np.empty((D, B + 1), dtype=np.intp)
        several = np.empty((D, B), dtype=np.bool_)
        place = np.empty((N, D), dtype=np.intp)
        for d, column in enumerate(columns):
            start[d] = np.searchsorted(column.bins[ordered[d]], np.arange(B + 1))
            several[d] = np.bincount(column.bins, minlength=B) > 1
            place[:, d] = column.bins[column.rank] + B * d
        membership = sparse.csr_matrix(
            (np.ones(N * D), place.reshape(-1), np.arange(0, N * D + 1, D)), shape=(N, D * B)
        )
        return cls(
            columns,
            np.array(source),
            rank.astype(np.min_scalar_type(N)),
            row,
            closing,
            start,
            several,
            int(np.diff(start, axis=1)[several].max(initial=0)),
            membership.T,
        )

    def locate(self, codes: NDArray[np.float64]) -> NDArray[np.intp]:
        """Ranks other rows (n, D) among the values here, shape (D, n)."""
        return np.stack(
            [
                column.locate(codes[:, d])
                for column, d in zip(self.columns, self.source, strict=True)
            ]
        )

    def sum_by_bin(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums m sets of numbers, one per row, over the bins: (m, N) to (m, D, B)."""
        # The sparse product wants the sets of one row side by side, and so do not cumulative sums.
        sums = self.membership @ np.ascontiguousarray(values.T)
        return np.ascontiguousarray(sums.T).reshape(len(values), len(self.columns), -1)
