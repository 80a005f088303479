r"""Regression trees of depth three, grown for several targets at once.

A node is split where the sum of squares falls most, as in scikit-learn's regression trees: for a
node of n rows whose residuals sum to S, and a cut that sends m of them with sum s to the left, by

.. math:: \frac{s^2}{m} + \frac{(S - s)^2}{n - m} - \frac{S^2}{n}.

Cuts between bins are all tried, from one sum per bin: the left children's by a sparse product, the
right children's by subtraction. Then the bins are opened where a better cut may hide inside. Of a
code on which a node's ancestors were split, the node occupies few bins, and all of them are
opened: by bins alone that code would lose against the others, which the same rows spread over.
Of other codes that promise about as much as the best, the bins beside the best cut are.

Codes that offer equally good cuts share the gain, as they would on average if the tie were broken
at random. For a tie to be one, sums must not depend on the order of addition, so they are exact:
see :func:`tag`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.binned import BinnedCodes

DEPTH = 3
"""Levels of splits; a tree has at most eight leaves."""

LEAVES = 2**DEPTH
"""Leaves of a tree."""

MOST_ROWS = 1 << 21
"""Rows up to which :func:`tag` leaves enough digits to the residuals."""

# Rows up to which all occupied bins of a code that ancestors were split on are opened.
_NARROW = 4096
# The part of the best gain from which the bins beside the best cut on another code are opened, and
# the rows on each side that they hold at least.
_PROMISING = 0.9
_BESIDE = 30


@dataclass(frozen=True)
class Trees:
    """One tree per target. Nodes come in order of level, and from left to right in a level.

    Attributes:
        code: The code that each node is split on, in the order of the binned codes, shape
            (LEAVES - 1, T).
        cut: The largest rank that goes to the left, shape (LEAVES - 1, T). A node that is not
            split sends all rows there.
    """

    code: NDArray[np.intp]
    cut: NDArray[np.intp]

    def leaves(self, rank: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The leaf of each row, from the ranks of its codes (D, n), shape (T, n)."""
        node = np.zeros((self.code.shape[1], rank.shape[1]), dtype=np.uint8)
        for level in range(DEPTH):
            here = slice(2**level - 1, 2 ** (level + 1) - 1)
            _descend(node, self.code[here], self.cut[here], rank)
        return node


def tag(residuals: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    r"""Makes sums of residuals exact, and lets them count their terms.

    Each residual, of absolute value below 2, is rounded to a multiple of :math:`2^{2L - 50}` with
    :math:`L = \lceil \log_2 N \rceil`, and the unit :math:`2^{L + 2}` is added to it. A sum of n
    of them then is n units plus the sum of the residuals, which is less than half a unit; all its
    digits fit a float64, so that it is the same in any order.

    Args:
        residuals: Shape (T, N).

    Returns:
        The tagged residuals, and the unit.
    """
    L = int(np.ceil(np.log2(residuals.shape[1])))
    grain, unit = 2.0 ** (2 * L - 50), 2.0 ** (L + 2)
    tagged = residuals / grain
    np.rint(tagged, out=tagged)
    tagged *= grain
    tagged += unit
    return tagged, unit


def grow(
    codes: BinnedCodes, tagged: NDArray[np.float64], unit: float
) -> tuple[Trees, NDArray[np.uint8], NDArray[np.float64]]:
    """Grows one tree for each set of residuals.

    Args:
        codes: The codes.
        tagged: Residuals as :func:`tag` makes them, shape (T, N).
        unit: Their unit.

    Returns:
        The trees, the leaf of each row, shape (T, N), and the gain that each code brought over
        all trees, shape (D,).
    """
    T, N = tagged.shape
    D = len(codes.columns)
    node = np.zeros((T, N), dtype=np.uint8)
    above = np.zeros((T, D), dtype=np.bool_)
    sums = codes.sum_by_bin(tagged)
    gain = np.zeros(D)
    code, cut = [], []
    for level in range(DEPTH):
        nodes = 2**level
        if level:
            left = np.stack([np.equal(node, 2 * j) * tagged for j in range(nodes // 2)])
            parents = sums.reshape(nodes // 2, T, D, -1)
            of_left = codes.sum_by_bin(left.reshape(-1, N)).reshape(parents.shape)
            sums = np.stack([of_left, parents - of_left], axis=1).reshape(nodes * T, D, -1)
        level_code, level_cut, level_gain = _split(codes, sums, tagged, unit, node, above)
        gain += level_gain
        above[np.arange(len(above)), level_code] = True
        above = np.repeat(above.reshape(nodes, 1, T, D), 2, axis=1).reshape(-1, D)
        code.append(level_code.reshape(nodes, T))
        cut.append(level_cut.reshape(nodes, T))
        _descend(node, code[-1], cut[-1], codes.rank)
    return Trees(np.concatenate(code), np.concatenate(cut)), node, gain


def _descend(
    node: NDArray[np.uint8],
    code: NDArray[np.intp],
    cut: NDArray[np.intp],
    rank: NDArray[np.integer],
) -> None:
    """Moves rows from their node in a level, shape (T, n), to the node in the next, in place."""
    right = np.zeros(node.shape, dtype=np.bool_)
    for j, (split_on, last) in enumerate(zip(code, cut, strict=True)):
        right |= (node == j) & (rank[split_on] > last[:, None].astype(rank.dtype))
    node *= 2
    node += right


@dataclass(frozen=True)
class _Level:
    """The nodes of a level, of T trees each in turn, and the best cut so far on each code.

    Attributes:
        below: Tagged sums over each bin and those below it, shape (M, D, B).
        total: Sum of the residuals of each node, shape (M,).
        size: Its rows, shape (M,).
        gain: Sum of squares that the best cut on each code explains, shape (M, D).
        last: The last sorted position to its left, shape (M, D).
    """

    below: NDArray[np.float64]
    total: NDArray[np.float64]
    size: NDArray[np.float64]
    gain: NDArray[np.float64]
    last: NDArray[np.intp]


def _split(
    codes: BinnedCodes,
    sums: NDArray[np.float64],
    tagged: NDArray[np.float64],
    unit: float,
    node: NDArray[np.uint8],
    above: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """The code and cut of each node of a level, and the gain that each code brought."""
    M, D, _ = sums.shape
    below = sums.cumsum(axis=2)
    left, count = _untag(below, unit)
    total, size = left[:, 0, -1], count[:, 0, -1]
    explained = _explained(left, count, total[:, None, None], size[:, None, None])
    edge = explained.argmax(axis=2)
    m, d = np.ogrid[:M, :D]
    level = _Level(below, total, size, explained[m, d, edge], codes.start[d, edge + 1] - 1)
    unsplit = total**2 / np.maximum(size, 1)
    if codes.several.any():
        searchable = (sums > 1.5 * unit) & codes.several
        opened = _worth_opening(searchable, codes.width, level, unsplit, edge, above)
        _search(codes, level, np.nonzero(opened), tagged, unit, node)
    best = level.gain.max(axis=1)
    tied = level.gain == best[:, None]
    gain = best - unsplit
    chosen = tied.argmax(axis=1)
    last = level.last[np.arange(M), chosen]
    whole = gain <= 0
    gain[whole] = 0
    last[whole] = node.shape[1] - 1
    shared = tied * (gain / tied.sum(axis=1))[:, None]
    return chosen, codes.rank[chosen, codes.row[chosen, last]].astype(np.intp), shared.sum(axis=0)


def _worth_opening(
    searchable: NDArray[np.bool_],
    width: int,
    level: _Level,
    unsplit: NDArray[np.float64],
    edge: NDArray[np.intp],
    above: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The bins to be opened, of those of several values and of several rows here: (M, D, B)."""
    M, D, B = searchable.shape
    best = level.gain.max(axis=1)
    promising = level.gain - unsplit[:, None] >= _PROMISING * (best - unsplit)[:, None]
    opened = np.zeros(searchable.shape, dtype=np.bool_)
    m, d = np.ogrid[:M, :D]
    reach = max(1, -(-_BESIDE // width))
    for offset in range(1 - reach, 1 + reach):
        opened[m, d, np.clip(edge + offset, 0, B - 1)] |= promising
    m, d = np.nonzero(above)
    narrow = searchable[m, d].sum(axis=1) * width <= _NARROW
    opened[m[narrow], d[narrow]] = True
    opened &= searchable
    return opened


def _search(
    codes: BinnedCodes,
    level: _Level,
    opened: tuple[NDArray[np.intp], ...],
    tagged: NDArray[np.float64],
    unit: float,
    node: NDArray[np.uint8],
) -> None:
    """Tries every cut inside the opened bins, and enters those that beat the best so far."""
    m, d, b = opened
    if not len(m):
        return
    T, N = tagged.shape
    tree, number = m % T, (m // T).astype(np.uint8)
    position = codes.start[d, b][:, None] + np.arange(codes.width)
    inside = position < codes.start[d, b + 1][:, None]
    np.minimum(position, N - 1, out=position)
    position += (d * N)[:, None]
    row = codes.row.take(position)
    row += (tree * N)[:, None]
    below = tagged.take(row)
    below *= (node.take(row) == number[:, None]) & inside
    below[:, 0] += np.where(b > 0, level.below[m, d, b - 1], 0.0)
    left, count = _untag(below.cumsum(axis=1), unit)
    explained = _explained(left, count, level.total[m][:, None], level.size[m][:, None])
    # Where the next row has the same value there is no cut.
    explained *= inside & codes.closing.take(position)
    at = explained.argmax(axis=1)
    found = explained[np.arange(len(at)), at]

    # The best bin of each node and code, the first of them if there are several.
    pair = m * level.gain.shape[1] + d
    order = np.lexsort((-found, pair))
    best = order[np.unique(pair[order], return_index=True)[1]]
    best = best[found[best] > level.gain[m[best], d[best]]]
    m, d = m[best], d[best]
    level.gain[m, d] = found[best]
    level.last[m, d] = position[best, at[best]] - d * N


def _untag(
    sums: NDArray[np.float64], unit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of tagged residuals as sums of residuals, and how many they are of."""
    count = sums / unit
    np.rint(count, out=count)
    residual = count * -unit
    residual += sums
    return residual, count


def _explained(
    left: NDArray[np.float64],
    count: NDArray[np.float64],
    total: NDArray[np.float64],
    size: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The part of the sum of squares that both sides of a cut explain; symmetric in the sides.

    A cut that leaves a side empty explains what the uncut node does.
    """
    explained = left * left
    explained /= np.maximum(count, 1)
    right = total - left
    right *= right
    right /= np.maximum(size - count, 1)
    explained += right
    return explained
