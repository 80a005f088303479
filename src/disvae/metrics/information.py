"""What codes know of factors: measured once, and read by every metric of information."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Arrays, Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.counting import counted_information, entropy
from disvae.metrics.discretise import Labels, label_factors
from disvae.metrics.draws import to_unit
from disvae.metrics.estimators import EqualWidth, Estimator, choose
from disvae.metrics.score import NotDefinedError, Score, provenance

PERMUTATIONS = 50
"""Pairings at random with which information is compared."""


@dataclass(frozen=True)
class Information:
    """The information of D codes about K factors.

    Attributes:
        matrix: Mutual information in nats, shape (D, K); 0 for a constant code.
        entropy: Entropy of each factor in nats, shape (K,).
    """

    matrix: NDArray[np.float64]
    entropy: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """The part of each factor's entropy that each code knows, in [0, 1], shape (D, K)."""
        return np.minimum(self.matrix / self.entropy, 1.0)

    @property
    def gap(self) -> NDArray[np.float64]:
        """Largest minus second largest share of each factor; with one code, minus 0. (K,)."""
        return largest_gap(self.share)


@dataclass(frozen=True, eq=False, repr=False)
class InformationScore(Score):
    """A value that was computed from the information of codes about factors.

    Attributes:
        information: Mutual information of codes and factors in nats, shape (D, K).
        entropy: Entropy of each factor in nats, shape (K,).
    """

    information: NDArray[np.float64]
    entropy: NDArray[np.float64]


@dataclass(frozen=True)
class Measurement:
    """The information of checked arrays, and how it was measured.

    Attributes:
        arrays: The checked input.
        labels: The classes of each factor.
        information: What was measured.
        estimator: The estimator.
        factor_bins: Equal-width bins of a continuous factor.
        seed: The seed that was passed, None if it was a generator or if nothing was drawn.
    """

    arrays: Arrays
    labels: tuple[Labels, ...]
    information: Information
    estimator: Estimator
    factor_bins: int
    seed: int | None

    def provenance(self, metric: str, normaliser: str | None, **settings: object) -> dict[str, Any]:
        """The record of a metric that was computed from it."""
        return provenance(
            self.arrays,
            {
                "metric": metric,
                **self.estimator.settings(),
                "factor_bins": int(self.factor_bins),
                "normaliser": normaliser,
                **settings,
            },
            dropped=np.flatnonzero(~self.arrays.active).tolist(),
            seed=self.seed,
        )


def measure(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete,
    bins: int,
    factor_bins: int,
    estimator: Estimator | None,
    rng: Rng,
    unit: bool = False,
) -> Measurement:
    """Checks the arrays and measures what each code knows of each factor.

    With ``unit``, codes are mapped to [0, 1] before they are binned, as some published code has
    it: that decides in which bin values on an edge fall.
    """
    generator, seed = resolve_rng(rng)
    chosen = choose(estimator, bins)
    arrays = check_arrays(codes, factors, discrete)
    labels = label_factors(arrays, factor_bins)
    matrix = np.zeros((len(arrays.active), len(labels)))
    if arrays.active.any():
        known = unit_codes(arrays) if unit else varying(arrays)
        matrix[arrays.active] = chosen.information(known, labels, generator)
    information = Information(matrix, np.array([entropy(factor) for factor in labels]))
    return Measurement(
        arrays, labels, information, chosen, factor_bins, seed if chosen.random else None
    )


def require_two(factors: Sequence[Labels], metric: str) -> None:
    """Raises if there is one factor only, so that a code has nothing to prefer."""
    if len(factors) < 2:
        raise NotDefinedError(
            f"Expected at least two factors, but got one; with one factor {metric} is 1 for every "
            "code that knows anything of it, use mig instead.",
            reason="one factor",
        )


def varying(arrays: Arrays) -> NDArray[np.float64]:
    """The codes that are not constant, shape (active codes, N)."""
    columns = arrays.codes.T
    return columns if arrays.active.all() else columns[arrays.active]


def unit_codes(arrays: Arrays) -> NDArray[np.float64]:
    """The codes that are not constant, each mapped to [0, 1], shape (active codes, N)."""
    return to_unit(arrays.codes[:, arrays.active])[0].T


def largest_gap(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest minus second largest value of each column; with one row, minus 0."""
    padded = np.concatenate([np.zeros((2, shares.shape[1])), shares])
    second, first = np.sort(padded, axis=0)[-2:]
    return np.asarray(first - second)


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

    codes: NDArray[np.integer]
    labels: tuple[Labels, ...]
    active: NDArray[np.bool_]

    @classmethod
    def of(cls, arrays: Arrays, bins: int, factor_bins: int) -> "Discretised":
        """Bins the codes, and the factors that are continuous, into equal widths."""
        labels = label_factors(arrays, factor_bins)
        return cls(EqualWidth(bins).bin(varying(arrays)), labels, arrays.active)

    def information(self) -> Information:
        """The plug-in estimate of the mutual information, over the rows known for each factor."""
        matrix = np.zeros((len(self.active), len(self.labels)))
        matrix[self.active] = counted_information(self.codes, self.labels)
        return Information(matrix, np.array([entropy(factor) for factor in self.labels]))

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
        true = counted_information(self.codes, self.labels)
        permuted = np.stack(
            [
                counted_information(self.codes.take(rng.permutation(rows), axis=1), self.labels)
                for _ in range(permutations)
            ]
        )
        mean = (permuted.sum(axis=0) + true) / (permutations + 1)
        # A mean of zero belongs to a pair that is zero throughout: it has no excess.
        root = np.sqrt(np.where(mean > 0, mean, 1.0))
        highest = ((permuted - mean) / root).max()
        exceeded[self.active] = (true - mean) / root > highest
        entropies = np.array([entropy(factor) for factor in self.labels])
        return Chance((permuted / entropies).mean(axis=(0, 1)), exceeded)
