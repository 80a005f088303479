"""Mutual information between codes and factors, counted from one contingency table a factor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from disvae.metrics.arrays import Arrays
from disvae.metrics.discretise import Labels, bin_codes, label_factors

PERMUTATIONS = 50
"""Pairings at random with which information is compared."""


@dataclass(frozen=True)
class Information:
    """The information of D codes about K factors.

    Attributes:
        matrix: Mutual information in nats, shape (D, K).
        entropy: Entropy of each factor in nats, shape (K,).
    """

    matrix: NDArray[np.float64]
    entropy: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """The part of each factor's entropy that each code knows, in [0, 1], shape (D, K)."""
        return self.matrix / self.entropy

    @property
    def gap(self) -> NDArray[np.float64]:
        """Largest minus second largest share of each factor; with one code, minus 0. (K,)."""
        padded = np.concatenate([np.zeros((2, self.matrix.shape[1])), self.share])
        second, first = np.sort(padded, axis=0)[-2:]
        return first - second


@dataclass(frozen=True)
class Chance:
    """What the same codes know of factors whose rows were permuted together.

    Attributes:
        share: Mean share of the entropy over pairings and active codes, shape (K,).
        exceeded: Where the true share stands above chance, shape (D, K).
    """

    share: NDArray[np.float64]
    exceeded: NDArray[np.bool_]


@dataclass(frozen=True)
class Discretised:
    """Codes and factors as integers, from which information is counted.

    Attributes:
        codes: Bin of each code that is not constant, shape (active codes, N).
        labels: The classes of each factor.
        active: Which codes are not constant, shape (D,).
    """

    codes: NDArray[np.intp]
    labels: tuple[Labels, ...]
    active: NDArray[np.bool_]

    @classmethod
    def of(cls, arrays: Arrays, bins: int, factor_bins: int) -> "Discretised":
        """Bins the codes, and the factors that are continuous."""
        labels = label_factors(arrays, factor_bins)
        return cls(bin_codes(arrays, bins), labels, arrays.active)

    def information(self) -> Information:
        """The plug-in estimate of the mutual information, over the rows known for each factor."""
        active = _information(self.codes, self.labels)
        matrix = np.zeros((len(self.active), len(self.labels)))
        matrix[self.active] = active.matrix
        return Information(matrix, active.entropy)

    def chance(self, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> Chance:
        r"""Permutes the rows of the codes against those of the factors.

        Independent pairs have :math:`2NI` close to a chi-squared variable, whose standard
        deviation goes with the root of its mean: so each pair is measured as
        :math:`(I - m)/\sqrt{m}`, m being its mean over the permutations and the true pairing. It
        exceeds chance where it lies above the highest such value of any pair in any permutation.
        The true pairing enters like every other, so independent arrays show any pair above chance
        with probability 1/(permutations + 1), however many pairs there are.
        """
        exceeded = np.zeros((len(self.active), len(self.labels)), dtype=np.bool_)
        if not self.active.any():
            return Chance(np.zeros(len(self.labels)), exceeded)
        rows = self.codes.shape[1]
        true = _information(self.codes, self.labels)
        permuted = np.stack(
            [
                _information(self.codes.take(rng.permutation(rows), axis=1), self.labels).matrix
                for _ in range(permutations)
            ]
        )
        mean = (permuted.sum(axis=0) + true.matrix) / (permutations + 1)
        # A mean of zero belongs to a pair that is zero throughout: it has no excess.
        root = np.sqrt(np.where(mean > 0, mean, 1.0))
        highest = ((permuted - mean) / root).max()
        exceeded[self.active] = (true.matrix - mean) / root > highest
        return Chance((permuted / true.entropy).mean(axis=(0, 1)), exceeded)


def _information(codes: NDArray[np.intp], labels: tuple[Labels, ...]) -> Information:
    """The information of binned codes (A, N), none of them left out."""
    A, N = codes.shape
    B = int(codes.max(initial=0)) + 1
    # Each code has bins of its own, so that one count serves all codes.
    bins = codes + B * np.arange(A)[:, None]
    matrix, entropy = np.empty((A, len(labels))), np.empty(len(labels))
    for k, factor in enumerate(labels):
        known = bins if len(factor.rows) == N else bins.take(factor.rows, axis=1)
        V = len(factor.sizes)
        counts = np.bincount((known * V + factor.classes).reshape(-1), minlength=A * B * V)
        p = factor.sizes / len(factor.rows)
        entropy[k] = -xlogy(p, p).sum()
        # Between these bounds but for rounding; a share of 1 + 1e-16 would surprise.
        matrix[:, k] = np.clip(_mutual_information(counts.reshape(A, B, V)), 0.0, entropy[k])
    return Information(matrix, entropy)


def _mutual_information(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    r"""Information of each contingency table, shape (A, B, V), of the same n rows.

    With counts :math:`n_{bv}`, :math:`I = \ln n + \frac1n \bigl(\sum_{bv} n_{bv} \ln n_{bv}
    - \sum_b n_b \ln n_b - \sum_v n_v \ln n_v\bigr)`.
    """
    bins, classes = counts.sum(axis=2), counts.sum(axis=1)
    n = bins.sum(axis=1)
    nats = xlogy(counts, counts).sum(axis=(1, 2))
    nats -= xlogy(bins, bins).sum(axis=1) + xlogy(classes, classes).sum(axis=1)
    return nats / n + np.log(n)
