r"""Gradient boosting of trees: scikit-learn's, on codes that are ranked and binned once.

A hundred rounds, each of which fits trees of depth three to the first-order residuals of the
deviance and takes a tenth of a Newton step in every leaf: what ``GradientBoostingClassifier`` and
``GradientBoostingRegressor`` do by default, importances included. What differs is which cuts are
tried (:mod:`disvae.metrics.trees`) and that nothing depends on chance.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from disvae.metrics.binned import BinnedCodes
from disvae.metrics.trees import LEAVES, Trees, grow, tag

ROUNDS = 100
"""Rounds of boosting."""

RATE = 0.1
"""The part of a Newton step that is taken."""

# Bins of a code. The fewer targets there are, the more bins can be afforded; with as many bins as
# rows every cut is tried.
_BINS = 96
_BINS_OF_ONE_TARGET = 2048

# Bins of nodes in work at a time: the trees of a round are independent, and the sums over so many
# bins stay in the cache.
_SUMS = 30_000


class Deviance(ABC):
    """What is boosted: T scores per row, whose residuals the trees of a round are fitted to."""

    step: float = 1.0
    """Newton steps are multiplied by this."""

    @abstractmethod
    def start(self) -> NDArray[np.float64]:
        """The scores before the first round, shape (T,)."""

    @abstractmethod
    def residuals(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the scores (T, N) leave unexplained, below 2 in absolute value, shape (T, N)."""

    def curvature(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Second derivatives, shape (T, N): p (1 - p) for the residuals 1 - p and -p."""
        distance = np.abs(residuals)
        return distance * (1 - distance)


class Squares(Deviance):
    """Half the squared distance from values (N,) within [-1, 1] whose mean is 0."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values

    def start(self) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        return np.zeros(1)

    def residuals(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        return self._values - scores

    def curvature(self, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        return np.ones(residuals.shape)


class Binomial(Deviance):
    """Two classes, numbered 0 and 1, shape (N,); the score is the log odds of the second."""

    def __init__(self, classes: NDArray[np.intp]) -> None:
        self._classes = classes

    def start(self) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        second = self._classes.mean()
        return np.array([np.log(second / (1 - second))])

    def residuals(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        return self._classes - expit(scores)


class Multinomial(Deviance):
    """More than two classes, numbered from 0, all of which occur, shape (N,); a score for each."""

    def __init__(self, classes: NDArray[np.intp]) -> None:
        self._classes = classes
        self._sizes = np.bincount(classes)
        # The correction of a Newton step for its neglect of the other classes (Friedman, 2001).
        self.step = (len(self._sizes) - 1) / len(self._sizes)

    def start(self) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        return np.log(self._sizes / len(self._classes))

    def residuals(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :class:`Deviance`."""
        p = scores - scores.max(axis=0)
        np.exp(p, out=p)
        p /= p.sum(axis=0)
        np.negative(p, out=p)
        p[self._classes, np.arange(p.shape[1])] += 1
        return p


@dataclass(frozen=True)
class Boosted:
    """A fitted sum of trees.

    Attributes:
        importance: The part of all gains that each code brought, shape (D,); 0 if there were none.
    """

    importance: NDArray[np.float64]
    _codes: BinnedCodes
    _start: NDArray[np.float64]
    _trees: tuple[tuple[slice, Trees, NDArray[np.float64]], ...]

    def scores(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The T scores of other rows, (n, D) to (T, n)."""
        rank = self._codes.locate(codes)
        scores = np.repeat(self._start[:, None], len(codes), axis=1)
        for targets, trees, steps in self._trees:
            scores[targets] += _at(steps, trees.leaves(rank))
        return scores


def boost(codes: NDArray[np.float64], deviance: Deviance) -> Boosted:
    """Fits a sum of trees.

    Args:
        codes: One row per row of the target, no column constant, shape (N, D).
        deviance: The target.
    """
    N, D = codes.shape
    start = deviance.start()
    T = len(start)
    bins = max(_BINS, _BINS_OF_ONE_TARGET // T**2)
    binned = BinnedCodes.of(codes, bins)
    at_once = max(2, _SUMS // (LEAVES // 2 * D * bins))
    scores = np.repeat(start[:, None], N, axis=1)
    gain = np.zeros(D)
    grown = []
    for _ in range(ROUNDS):
        residuals = deviance.residuals(scores)
        tagged, unit = tag(residuals)
        curvature = deviance.curvature(residuals)
        for begin in range(0, T, at_once):
            targets = slice(begin, min(begin + at_once, T))
            trees, leaf, brought = grow(binned, tagged[targets], unit)
            gain += brought
            steps = _sum_by_leaf(residuals[targets], leaf)
            bend = _sum_by_leaf(curvature[targets], leaf)
            # A leaf whose rows are all certain stays as it is.
            certain = bend < np.finfo(np.float64).tiny
            steps = np.where(certain, 0.0, steps / np.where(certain, 1.0, bend))
            steps *= RATE * deviance.step
            scores[targets] += _at(steps, leaf)
            grown.append((targets, trees, steps))
    importance = np.zeros(D)
    importance[binned.source] = gain / gain.sum() if gain.sum() > 0 else 0.0
    return Boosted(importance, binned, start, tuple(grown))


def _sum_by_leaf(values: NDArray[np.float64], leaf: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sums over the rows of each leaf, (T, N) to (T, LEAVES)."""
    T = len(values)
    place = leaf + LEAVES * np.arange(T)[:, None]
    sums = np.bincount(place.reshape(-1), values.reshape(-1), minlength=LEAVES * T)
    return np.asarray(sums, dtype=np.float64).reshape(T, LEAVES)


def _at(steps: NDArray[np.float64], leaf: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The step of the leaf that each row is in, shape (T, n)."""
    return steps.reshape(-1).take(leaf + LEAVES * np.arange(len(steps))[:, None])
