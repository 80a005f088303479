"""Fits of one factor to all codes that say how much each code mattered."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.boosting import Binomial, Deviance, Multinomial, Squares, boost
from disvae.metrics.sparse_linear import lasso_classes, lasso_values
from disvae.metrics.splits import standardise
from disvae.metrics.trees import MOST_ROWS

ALPHA = 0.02
"""The penalty of the lasso, for codes and values of variance 1."""

# A code further from 0 than this many times its range is centred before it is rounded to single
# precision, which has 24 binary digits.
_RESOLVED = 2**10


@dataclass(frozen=True)
class Fitted:
    """What came of fitting one factor.

    Attributes:
        importance: How much each code mattered, not negative, shape (D,).
        predicted: The class or value predicted for each test row, shape (n,).
    """

    importance: NDArray[np.float64]
    predicted: NDArray[Any]


class Probe(ABC):
    """A way to predict a factor from codes, none of them constant over the training rows."""

    name: str
    """What it is called in a record."""

    @abstractmethod
    def classes(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.intp],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """Fits classes, numbered from 0, all of which occur; there are at least two."""

    @abstractmethod
    def values(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.float64],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """Fits values of mean 0, the largest of which is 1 in absolute value."""


class HistogramBoosting(Probe):
    """Gradient boosting on codes that are binned once; nothing depends on chance."""

    name = "gradient boosting, 100 rounds of depth 3, binned codes"

    def classes(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.intp],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        if target.max() == 1:
            importance, odds = self._boost(train, Binomial(target), test)
            return Fitted(importance, (odds[0] > 0).astype(np.intp))
        importance, scores = self._boost(train, Multinomial(target), test)
        return Fitted(importance, scores.argmax(axis=0))

    def values(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.float64],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        importance, scores = self._boost(train, Squares(target), test)
        return Fitted(importance, scores[0])

    @staticmethod
    def _boost(
        train: NDArray[np.float64], deviance: Deviance, test: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if len(train) > MOST_ROWS:
            raise ValueError(
                f"Expected at most {MOST_ROWS} training rows for estimator='gbt', but got "
                f"{len(train)}; pass train_rows, for instance train_rows=100_000."
            )
        fitted = boost(train, deviance)
        return fitted.importance, fitted.scores(test)


class ExactBoosting(Probe):
    """scikit-learn's gradient boosting with its defaults, the definition behind published DCI."""

    name = "scikit-learn gradient boosting, defaults"

    def classes(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.intp],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        from sklearn.ensemble import GradientBoostingClassifier

        return _fit_trees(GradientBoostingClassifier(random_state=seed), train, target, test)

    def values(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.float64],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        from sklearn.ensemble import GradientBoostingRegressor

        return _fit_trees(GradientBoostingRegressor(random_state=seed), train, target, test)


class RandomForest(Probe):
    """scikit-learn's random forests with their defaults."""

    name = "scikit-learn random forest, defaults"

    def classes(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.intp],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        from sklearn.ensemble import RandomForestClassifier

        return _fit_trees(RandomForestClassifier(random_state=seed), train, target, test)

    def values(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.float64],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        from sklearn.ensemble import RandomForestRegressor

        return _fit_trees(RandomForestRegressor(random_state=seed), train, target, test)


class Lasso(Probe):
    """Linear and logistic regression with a penalty on absolute weights."""

    name = f"lasso, alpha {ALPHA}"

    def classes(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.intp],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        train, test = standardise(train, test)
        weights = lasso_classes(train, target, ALPHA)
        scores = test @ weights[:-1] + weights[-1]
        return Fitted(np.abs(weights[:-1]).sum(axis=1), scores.argmax(axis=1))

    def values(
        self,
        train: NDArray[np.float64],
        target: NDArray[np.float64],
        test: NDArray[np.float64],
        seed: int,
    ) -> Fitted:
        """See :class:`Probe`."""
        train, test = standardise(train, test)
        spread = target.std()
        weights = lasso_values(train, target / spread, ALPHA)
        return Fitted(np.abs(weights[:, 0]), spread * (test @ weights)[:, 0])


PROBES: dict[str, Probe] = {
    "gbt": HistogramBoosting(),
    "gbt-exact": ExactBoosting(),
    "lasso": Lasso(),
    "random-forest": RandomForest(),
}
"""The published variants of DCI, by name."""


def to_single(
    train: NDArray[np.float64], test: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes times powers of two, so that scikit-learn's trees see them whatever their scale.

    Those round to single precision and take values within 1e-7 for equal. A power of two changes
    neither the order of values nor their digits. A code so far from 0 that single precision would
    not resolve it is centred first.
    """
    low, high = train.min(axis=0), train.max(axis=0)
    far = np.maximum(np.abs(low), np.abs(high)) > _RESOLVED * (high - low)
    centre = np.where(far, low, 0.0)
    train, test = train - centre, test - centre
    shift = 10 - np.frexp(np.abs(train).max(axis=0))[1]
    largest = np.finfo(np.float32).max
    return np.ldexp(train, shift), np.clip(np.ldexp(test, shift), -largest, largest)


def fit_quietly(
    model: Any, train: NDArray[np.float64], target: NDArray[np.intp] | NDArray[np.float64]
) -> Any:
    """Fits a model of scikit-learn, without its remark on the number of classes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return model.fit(train, target)


def _fit_trees(
    model: Any,
    train: NDArray[np.float64],
    target: NDArray[np.intp] | NDArray[np.float64],
    test: NDArray[np.float64],
) -> Fitted:
    train, test = to_single(train, test)
    fitted = fit_quietly(model, train, target)
    # Without a single gain scikit-learn divides 0 by 0; rounding can leave gains just below 0.
    with np.errstate(invalid="ignore"):
        importance = np.nan_to_num(np.maximum(fitted.feature_importances_, 0.0))
    return Fitted(importance, np.asarray(fitted.predict(test)))
