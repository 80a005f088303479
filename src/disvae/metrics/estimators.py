"""Estimators of mutual information, as objects to pass to a metric."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import check_count
from disvae.metrics.counting import counted_information
from disvae.metrics.discretise import (
    CODE_BINS,
    Labels,
    Values,
    equal_frequency,
    equal_width,
    label,
)
from disvae.metrics.neighbours import (
    Classes,
    Ranked,
    class_information,
    digammas,
    plane_information,
    standardised,
)
from disvae.metrics.score import NotDefinedError


class Estimator(ABC):
    """How mutual information is estimated; what a subclass of your own has to bring.

    Attributes:
        random: Whether it draws from the generator.
    """

    random: ClassVar[bool] = False

    @abstractmethod
    def information(
        self,
        codes: NDArray[np.float64],
        factors: Sequence[Labels | Values],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """Mutual information of codes, shape (A, N), none constant, and factors: (A, K) in nats."""

    @abstractmethod
    def between(self, codes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Mutual information of each two codes, shape (A, N), none constant: (A, A) in nats.

        It is symmetric, with zeros for the information of a code with itself.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it puts on record: plain Python values, the entry ``"estimator"`` among them."""


class Binning(Estimator):
    """Counts what falls into the bins of a code and the classes of a factor.

    The estimate is biased upwards, by about (B - 1)(V - 1)/(2N) nats for B bins and V classes.

    Attributes:
        bins: The number of bins of a code.
    """

    bins: int

    @abstractmethod
    def bin(self, codes: NDArray[np.float64]) -> NDArray[np.integer]:
        """Bin numbers in [0, bins) of codes, shape (A, N), none constant."""

    def information(
        self,
        codes: NDArray[np.float64],
        factors: Sequence[Labels | Values],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """The plug-in estimate, at most the entropy of the factor."""
        return counted_information(self.bin(codes), _classes_only(factors))

    def between(self, codes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """The plug-in estimate."""
        binned = self.bin(codes)
        rows = np.arange(binned.shape[1])
        matrix = np.zeros((len(binned), len(binned)))
        for a, number in enumerate(binned[1:], start=1):
            matrix[:a, a] = counted_information(binned[:a], [label(rows, number)])[:, 0]
        return matrix + matrix.T


@dataclass(frozen=True)
class EqualWidth(Binning):
    """Bins of equal width between the smallest and the largest value of a code.

    What the published comparisons use. A single outlier can leave all other rows in one bin.

    Args:
        bins: The number of bins of a code.

    Example:
        >>> import numpy as np
        >>> from disvae.metrics import EqualFrequency, EqualWidth, mig
        >>> factors = np.arange(2000).reshape(-1, 1) % 4
        >>> codes = factors + 0.0
        >>> codes[0] = 1000.0
        >>> print(f"{mig(codes, factors, estimator=EqualWidth(10)):.2f}")
        0.00
        >>> print(f"{mig(codes, factors, estimator=EqualFrequency(10)):.2f}")
        1.00
    """

    bins: int = CODE_BINS

    def __post_init__(self) -> None:
        check_count("bins", self.bins, minimum=2)

    def bin(self, codes: NDArray[np.float64]) -> NDArray[np.integer]:
        """See :class:`Binning`."""
        return equal_width(codes, self.bins)

    def settings(self) -> dict[str, Any]:
        """See :class:`Estimator`."""
        return {"estimator": "plug-in, equal-width bins", "bins": int(self.bins)}


@dataclass(frozen=True)
class EqualFrequency(Binning):
    """Bins of equally many rows, cut at the quantiles of each code.

    They do not depend on the scale of a code, nor on any other increasing map of it, and a few
    outliers hardly move them. Equal values share a bin.

    Args:
        bins: The number of bins of a code.
    """

    bins: int = CODE_BINS

    def __post_init__(self) -> None:
        check_count("bins", self.bins, minimum=2)

    def bin(self, codes: NDArray[np.float64]) -> NDArray[np.integer]:
        """See :class:`Binning`."""
        return equal_frequency(codes, self.bins)

    def settings(self) -> dict[str, Any]:
        """See :class:`Estimator`."""
        return {"estimator": "plug-in, equal-frequency bins", "bins": int(self.bins)}


@dataclass(frozen=True)
class Neighbours(Estimator):
    """Distances to the k-th nearest neighbour: no bins for the codes, and hardly any bias.

    The estimates of Ross (2014) for a factor of classes and of Kraskov et al. (2004) for a
    continuous one, as in scikit-learn's ``mutual_info_classif`` and ``mutual_info_regression``.
    Codes are standardised, and noise of 1e-10 breaks ties; it is the same for every code, so that
    their order does not matter. Without ties the noise changes nothing. An estimate below 0 is
    taken to 0; one for classes may exceed their entropy by about (V - 1)/(2N). In classes of at
    most 2k rows scikit-learn takes distances by a formula whose rounding can count the k-th
    neighbour itself; here no rounding can.

    Args:
        k: The number of neighbours. A smaller class takes all of its own, and a class of one is
            left out.

    References:
        - Mutual Information between Discrete and Continuous Data Sets (Ross, 2014),
          https://doi.org/10.1371/journal.pone.0087357
        - Estimating mutual information (Kraskov et al., 2004),
          https://arxiv.org/abs/cond-mat/0305641
    """

    random: ClassVar[bool] = True

    k: int = 3

    def __post_init__(self) -> None:
        check_count("k", self.k, minimum=1)

    def information(
        self,
        codes: NDArray[np.float64],
        factors: Sequence[Labels | Values],
        rng: np.random.Generator,
    ) -> NDArray[np.float64]:
        """The estimate for classes or for two continuous variables, factor by factor."""
        A, N = codes.shape
        noise, other_noise = rng.standard_normal((2, N))
        psi = digammas(N)
        scaled = [Ranked.of(code) for code in standardised(codes, noise)]
        matrix = np.zeros((A, len(factors)))
        for j, factor in enumerate(factors):
            if isinstance(factor, Labels):
                classes = Classes.of(factor, N, self.k)
                if not len(classes.sizes):
                    raise NotDefinedError(
                        f"Expected a value of factor column {j} that at least two rows share, but "
                        f"all {len(factor.rows)} differ; pass discrete=False for that factor, or "
                        "another estimator.",
                        reason=f"factor column {j} has no two rows alike",
                    )
                column = [class_information(code, classes, self.k, psi) for code in scaled]
            else:
                rows = factor.rows
                y = Ranked.of(standardised(factor.values[None], other_noise[rows])[0])
                known = (
                    scaled
                    if len(rows) == N
                    else [Ranked.of(x) for x in standardised(codes[:, rows], noise[rows])]
                )
                column = [plane_information(x, y, self.k, psi) for x in known]
            matrix[:, j] = column
        return matrix

    def between(self, codes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """The estimate for two continuous variables."""
        A, N = codes.shape
        noise, other_noise = rng.standard_normal((2, N))
        psi = digammas(N)
        first = [Ranked.of(code) for code in standardised(codes, noise)]
        second = [Ranked.of(code) for code in standardised(codes, other_noise)]
        matrix = np.zeros((A, A))
        for a in range(1, A):
            for b in range(a):
                matrix[a, b] = plane_information(first[a], second[b], self.k, psi)
        return matrix + matrix.T

    def settings(self) -> dict[str, Any]:
        """See :class:`Estimator`."""
        return {"estimator": "k nearest neighbours", "k": int(self.k)}


def choose(estimator: Estimator | None, bins: int) -> Estimator:
    """The estimator that was passed, or equal widths in so many bins.

    Raises:
        TypeError: If it is not an estimator.
        ValueError: If both were chosen.
    """
    if estimator is None:
        return EqualWidth(bins)
    if not isinstance(estimator, Estimator):
        raise TypeError(
            "Expected estimator to be a metrics.Estimator or None, but got "
            f"{estimator!r:.80}; pass for instance metrics.Neighbours(k=3)."
        )
    if bins != CODE_BINS:
        raise ValueError(
            f"Expected bins or an estimator, but got both bins={bins!r:.20} and {estimator!r:.80}; "
            "pass the bins to the estimator, as in metrics.EqualFrequency(bins=20)."
        )
    return estimator


def _classes_only(factors: Sequence[Labels | Values]) -> list[Labels]:
    labels = [factor for factor in factors if isinstance(factor, Labels)]
    if len(labels) < len(factors):
        raise ValueError(
            "Expected factor_bins to be a number with an estimator that counts, but got None and "
            "a continuous factor; pass factor_bins=10, or estimator=metrics.Neighbours()."
        )
    return labels
