r"""What the codes of data know of attributes: information, and correlation of ranks.

Every figure is one of weighted rows, so that a resample costs no sorting: ranks are counted from
the order of the whole data.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from disvae.alignment.attributes import Floats
from disvae.metrics.counting import counted_information, entropy
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS, equal_frequency, label
from disvae.metrics.information import Information

# below this part of its variance, what others leave of a column is rounding
_NOTHING = 1e-9


class OfCodes(NamedTuple):
    """Figures of A codes and K attributes, with any leading axes.

    Attributes:
        share: The part of the entropy of each attribute that each code knows, (A, K).
        correlation: Spearman's rank correlation, (A, K).
        partial: That given the other attributes, NaN where these determine one, (A, K).
        gap: Largest minus second largest share of each attribute, (K,).
    """

    share: Floats
    correlation: Floats
    partial: Floats
    gap: Floats


class Codes:
    """Codes and attributes of the same data, made ready to be compared again and again.

    Args:
        codes: Finite, no column constant, (N, A).
        attributes: Finite, no column constant, (N, K).
    """

    def __init__(self, codes: Floats, attributes: Floats) -> None:
        self._count = codes.shape[1]
        # bins of equally many data do not depend on outliers, nor on the scale of an attribute
        self._bins = equal_frequency(codes.T, CODE_BINS)
        self._classes = equal_frequency(attributes.T, FACTOR_BINS)
        both = np.concatenate([codes, attributes], axis=1)
        self._ties = [_Ties.of(column) for column in both.T]

    def figures(self) -> OfCodes:
        """Those of all data."""
        return self._of(np.arange(self._bins.shape[1]))

    def resampled(self, rng: np.random.Generator, replicates: int) -> OfCodes:
        """Those of resamples with replacement, the replicates along the first axis."""
        rows = self._bins.shape[1]
        draws = (np.asarray(rng.integers(rows, size=rows)) for _ in range(replicates))
        drawn = [self._of(draw) for draw in draws]
        return OfCodes(*(np.stack(values) for values in zip(*drawn, strict=True)))

    def _of(self, rows: NDArray[np.intp]) -> OfCodes:
        information = self._information(rows)
        weights = np.bincount(rows, minlength=len(rows)).astype(np.float64)
        related = self._correlations(weights)
        return OfCodes(
            information.share,
            related[: self._count, self._count :],
            partial(related, self._count),
            information.gap,
        )

    def _information(self, rows: NDArray[np.intp]) -> Information:
        numbers = np.arange(len(rows))
        labels = [label(numbers, classes[rows]) for classes in self._classes]
        entropies = np.array([entropy(one) for one in labels])
        matrix = counted_information(self._bins[:, rows], labels)
        # a resample of few data may leave an attribute of two values with one
        return Information(matrix, np.where(entropies > 0, entropies, 1.0))

    def _correlations(self, weights: Floats) -> Floats:
        """The rank correlations of all columns, codes first, 0 for a constant one."""
        ranks = np.stack([ties.ranks(weights) for ties in self._ties], axis=1)
        ranks -= (weights.sum() + 1) / 2
        products = (ranks * weights[:, None]).T @ ranks
        deviation = np.sqrt(products.diagonal())
        scale = np.outer(deviation, deviation)
        related = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
        return np.clip(related, -1.0, 1.0)


class _Ties(NamedTuple):
    """One column as groups of equal values, numbered in ascending order."""

    group: NDArray[np.intp]
    groups: int

    @classmethod
    def of(cls, column: Floats) -> "_Ties":
        values, group = np.unique(column, return_inverse=True)
        return cls(group.reshape(-1), len(values))

    def ranks(self, weights: Floats) -> Floats:
        """The rank of each row among all rows, each counted by its weight; equal ones share it."""
        size = np.bincount(self.group, weights, self.groups)
        rank = np.cumsum(size) - (size - 1) / 2
        return np.asarray(rank[self.group])


def partial(correlations: Floats, codes: int) -> Floats:
    r"""Partial correlations of codes and attributes, given all other attributes.

    .. math::

        \frac{r_{dk} - r_{d o} R_{oo}^{-1} r_{o k}}
        {\sqrt{(1 - r_{d o} R_{oo}^{-1} r_{o d}) (1 - r_{k o} R_{oo}^{-1} r_{o k})}}

    with the other attributes o. Where some of these determine others, the inverse is taken on what
    they span.

    Args:
        correlations: Of all columns, codes first, (A + K, A + K).
        codes: The number A of codes.

    Returns:
        Shape (A, K); NaN where the other attributes determine the attribute or the code.

    Example:
        >>> import numpy as np
        >>> r = np.array([[1.0, 0.6, 0.48], [0.6, 1.0, 0.8], [0.48, 0.8, 1.0]])
        >>> partial(r, codes=1).round(6)  # the second is related through the first
        array([[0.410365, 0.      ]])
    """
    among = correlations[codes:, codes:]
    across = correlations[:codes, codes:]
    found = np.full(across.shape, np.nan)
    for k in range(across.shape[1]):
        others = np.delete(np.arange(across.shape[1]), k)
        inverse = np.linalg.pinv(among[np.ix_(others, others)], rcond=_NOTHING, hermitian=True)
        projected = across[:, others] @ inverse
        of_attribute = 1 - among[k, others] @ inverse @ among[others, k]
        of_codes = 1 - (projected * across[:, others]).sum(axis=1)
        known = (of_codes > _NOTHING) & (of_attribute > _NOTHING)
        scale = np.sqrt(np.where(known, of_codes * of_attribute, 1.0))
        left = (across[:, k] - projected @ among[others, k]) / scale
        found[known, k] = np.clip(left, -1.0, 1.0)[known]
    return found
