"""Disentanglement, completeness and informativeness."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Arrays, Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import Labels, Values, mix_factors
from disvae.metrics.draws import to_unit
from disvae.metrics.importance import concentration, weighted_mean
from disvae.metrics.probes import PROBES, Fitted, Probe
from disvae.metrics.score import provenance
from disvae.metrics.splits import Rows, Split, check_rows, random_split


@dataclass(frozen=True)
class Prediction:
    """How one factor was predicted at the test rows.

    Attributes:
        rows: The test rows, shape (n,).
        truth: The factor there: numbers of its classes, or values, shape (n,).
        predicted: What was predicted, shape (n,).
        discrete: Whether these are classes.
    """

    rows: NDArray[np.intp] = field(repr=False)
    truth: NDArray[Any] = field(repr=False)
    predicted: NDArray[Any] = field(repr=False)
    discrete: bool

    def __post_init__(self) -> None:
        for array in (self.rows, self.truth, self.predicted):
            array.setflags(write=False)

    def informativeness(self, drawn: NDArray[np.intp] | None = None) -> float:
        """Accuracy for classes and R², not below 0, for values, at the test rows or some drawn."""
        picked = slice(None) if drawn is None else drawn
        truth, predicted = self.truth[picked], self.predicted[picked]
        if self.discrete:
            return float(np.mean(truth == predicted))
        variation = ((truth - truth.mean()) ** 2).sum()
        if not variation > 0:
            return 0.0
        return float(max(0.0, 1 - ((truth - predicted) ** 2).sum() / variation))


class DCI(NamedTuple):
    """The values of :func:`dci`.

    Attributes:
        disentanglement: D: mean over codes, each weighed by its importance, in [0, 1].
        completeness: C: mean over factors, each weighed by the importance of all codes to it, in
            [0, 1].
        informativeness: I: mean over factors of the accuracy, or of R², at the test rows.
        importance: How much each code mattered to each factor, shape (D, K).
        code_disentanglement: D of each code, 0 if it did not matter, shape (D,).
        factor_completeness: C of each factor, 0 if no code mattered to it, shape (K,).
        factor_informativeness: I of each factor, shape (K,).
        predictions: What I follows from, one entry per factor.
        provenance: How the values were estimated.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: NDArray[np.float64]
    code_disentanglement: NDArray[np.float64]
    factor_completeness: NDArray[np.float64]
    factor_informativeness: NDArray[np.float64]
    predictions: tuple[Prediction, ...]
    provenance: dict[str, Any]

    def resampled(self, rng: Rng, replicates: int) -> dict[str, NDArray[np.float64]]:
        """Informativeness over test rows that are drawn anew, with replacement, without a refit.

        Disentanglement and completeness follow from the fit to the training rows alone: they are
        not here, and an interval for them would take a fit per replicate.

        Args:
            rng: Seed or generator.
            replicates: How often.

        Returns:
            ``{"informativeness": ...}``, shape (replicates,).
        """
        generator, _ = resolve_rng(rng)
        check_count("replicates", replicates, minimum=1)
        most = max(len(factor.rows) for factor in self.predictions)
        values = np.empty(replicates)
        for i in range(replicates):
            # The same draw for all factors, most of which are tested at the same rows.
            uniform = generator.random(most)
            values[i] = np.mean(
                [
                    factor.informativeness((uniform[:n] * n).astype(np.intp))
                    for factor in self.predictions
                    for n in (len(factor.rows),)
                ]
            )
        return {"informativeness": values}


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    estimator: str = "gbt",
    train_rows: Rows = None,
    test_rows: Rows = None,
    rng: Rng = 0,
) -> DCI:
    r"""DCI: does each code serve one factor, each factor need one code, and do codes tell it?

    Each factor is predicted from all codes, which gives the importance :math:`R_{dk}` of code d to
    factor k. With its shares :math:`p_{dk} = R_{dk} / \sum_k R_{dk}` of a code, and
    :math:`q_{dk} = R_{dk} / \sum_d R_{dk}` of a factor, among D codes that are not constant and K
    factors,

    .. math::
        D = \sum_d \rho_d \Bigl(1 + \sum_k p_{dk} \log_K p_{dk}\Bigr), \qquad
        C = \sum_k \gamma_k \Bigl(1 + \sum_d q_{dk} \log_D q_{dk}\Bigr),

    where :math:`\rho_d` and :math:`\gamma_k` are the parts of all importance that lie with code d
    and with factor k. I is the accuracy at other rows, or :math:`R^2` (not below 0) for factors
    that are not discrete, averaged over factors.

    **D and C grow with the number of training rows and depend on the estimator**, so they are to
    be compared at equal rows and with the same estimator only. The default rows are those of the
    published values, however many there are. Both are in ``provenance``.

    Estimators:

    - ``"gbt"``: the trees of ``"gbt-exact"``, fitted to the same residuals with the same
      importances, on codes that are binned once. Within 0.01 of its D and C, and some thirty
      times faster with 10,000 training rows. It sees the order of a code's values and nothing
      else. Codes that offer equally good splits share the importance, so that copies of a code
      get equal parts; ``"gbt-exact"`` picks one at random each time.
    - ``"gbt-exact"``: scikit-learn's GradientBoostingClassifier or -Regressor with defaults.
    - ``"random-forest"``: scikit-learn's RandomForestClassifier or -Regressor with defaults.
    - ``"lasso"``: linear or logistic regression with a penalty of 0.02 on absolute weights, of
      standardised codes; importances are absolute weights, summed over classes.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor.
        discrete: Whether each factor is discrete: one bool per column, or one for all. Classes
            are predicted for discrete factors, values for others. By default a column of whole
            numbers is, and so is one with five rows or more per distinct value.
        estimator: ``"gbt"``, ``"gbt-exact"``, ``"lasso"`` or ``"random-forest"``.
        train_rows: Rows to fit on, drawn at random: a number of them, or a share such as 0.6.
            None takes 1,500, or 60 % where a factor is known at fewer than 2,500 rows.
        test_rows: Rows to test on, likewise. None takes 1,000, or 40 %.
        rng: Seed or generator of the rows, and of estimators that draw.

    Returns:
        A tuple ``(disentanglement, completeness, informativeness, ...)``. All are 0 for codes
        that matter to nothing, apart from the accuracy of a guess. With a single factor D is 1,
        and with a single code that is not constant C is 1, if there is any importance. A factor
        that is constant at the training rows is predicted to stay so.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there are too few rows to fit and to test on.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood &
          Williams, 2018), https://openreview.net/forum?id=By-7dz-AZ
        - Challenging Common Assumptions in the Unsupervised Learning of Disentangled
          Representations (Locatello et al., 2019), https://arxiv.org/abs/1811.12359
        - Greedy Function Approximation: A Gradient Boosting Machine (Friedman, 2001),
          https://doi.org/10.1214/aos/1013203451

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(4, size=(600, 2))
        >>> codes = factors + 0.1 * rng.normal(size=(600, 2))
        >>> found = dci(codes, factors)
        >>> print(f"{found.disentanglement:.2f} {found.completeness:.2f}")
        1.00 1.00
        >>> mixed = dci(codes @ np.array([[1.0, 1.0], [1.0, -1.0]]), factors)
        >>> print(f"{mixed.disentanglement:.2f} {mixed.informativeness:.2f}")
        0.00 0.99
    """
    probe = _probe(estimator)
    check_rows("train_rows", train_rows)
    check_rows("test_rows", test_rows)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    known = mix_factors(arrays)
    order = generator.permutation(len(arrays.codes))
    seeds = generator.integers(2**31 - 1, size=len(known))
    splits = [
        random_split(factor.rows, order, train_rows, test_rows, k) for k, factor in enumerate(known)
    ]
    importance = np.zeros((len(arrays.active), len(known)))
    predictions = []
    for k, (factor, split) in enumerate(zip(known, splits, strict=True)):
        importance[:, k], prediction = _predict(arrays, factor, split, probe, int(seeds[k]))
        predictions.append(prediction)
    per_code = concentration(importance, len(known))
    per_factor = concentration(importance.T, int(arrays.active.sum()))
    informativeness = np.array([prediction.informativeness() for prediction in predictions])
    for array in (importance, per_code, per_factor, informativeness):
        array.setflags(write=False)
    return DCI(
        weighted_mean(per_code, importance),
        weighted_mean(per_factor, importance.T),
        float(informativeness.mean()),
        importance,
        per_code,
        per_factor,
        informativeness,
        tuple(predictions),
        provenance(
            arrays,
            {
                "metric": "dci",
                "estimator": probe.name,
                "variant": estimator,
                "train_rows": [len(split.train) for split in splits],
                "test_rows": [len(split.test) for split in splits],
                "normaliser": "log of the number of factors, and of codes",
            },
            dropped=np.flatnonzero(~arrays.active).tolist(),
            seed=seed,
        ),
    )


def _probe(estimator: str) -> Probe:
    if not isinstance(estimator, str) or estimator not in PROBES:
        raise ValueError(
            f"Expected estimator to be one of {', '.join(map(repr, PROBES))}, but got "
            f"{estimator!r:.80}; pass one of these."
        )
    return PROBES[estimator]


def _predict(
    arrays: Arrays, factor: Labels | Values, split: Split, probe: Probe, seed: int
) -> tuple[NDArray[np.float64], Prediction]:
    """The importance of each code to a factor, (D,), and what was predicted at the test rows."""
    train, test = arrays.codes[factor.rows[split.train]], arrays.codes[factor.rows[split.test]]
    varies = arrays.active & (train.min(axis=0) < train.max(axis=0))
    train, test = train[:, varies], test[:, varies]
    if isinstance(factor, Labels):
        fitted = _fit_classes(probe, train, factor.classes[split.train], test, seed)
        truth: NDArray[Any] = factor.classes[split.test]
    else:
        # Centred on the training rows and at most 1 there, so that no square over- or underflows.
        values = to_unit(factor.values[:, None])[0][:, 0]
        values -= values[split.train].mean()
        values /= np.abs(values[split.train]).max() or 1.0
        fitted = _fit_values(probe, train, values[split.train], test, seed)
        truth = values[split.test]
    importance = np.zeros(len(arrays.active))
    importance[varies] = fitted.importance
    return importance, Prediction(
        factor.rows[split.test], truth, fitted.predicted, isinstance(factor, Labels)
    )


def _fit_classes(
    probe: Probe,
    train: NDArray[np.float64],
    classes: NDArray[np.intp],
    test: NDArray[np.float64],
    seed: int,
) -> Fitted:
    """Predicts the classes that are among the training rows; the commonest if nothing varies."""
    seen, target = np.unique(classes, return_inverse=True)
    if len(seen) == 1 or not train.shape[1]:
        commonest = np.bincount(classes).argmax()
        return Fitted(np.zeros(train.shape[1]), np.full(len(test), commonest))
    fitted = probe.classes(train, target.reshape(-1), test, seed)
    return Fitted(fitted.importance, seen[fitted.predicted])


def _fit_values(
    probe: Probe,
    train: NDArray[np.float64],
    values: NDArray[np.float64],
    test: NDArray[np.float64],
    seed: int,
) -> Fitted:
    """Predicts values of mean 0; 0 if nothing varies."""
    if not values.any() or not train.shape[1]:
        return Fitted(np.zeros(train.shape[1]), np.zeros(len(test)))
    return probe.values(train, values, test, seed)
