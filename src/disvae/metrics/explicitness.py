"""Explicitness: how easily all codes together tell the values of each factor."""

import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import FACTOR_BINS, Labels, label_factors
from disvae.metrics.score import Score, provenance
from disvae.metrics.splits import check_share, divisible, standardise, stratified_split

# Steps of the solver; without enough of them it warns.
_STEPS = 1000


@dataclass(frozen=True)
class Scored:
    """What the classifier of one factor made of the test rows.

    Attributes:
        scores: Log probability of each class but for a constant, shape (n, V).
        classes: The true classes, shape (n,).
    """

    scores: NDArray[np.float64] = field(repr=False)
    classes: NDArray[np.intp] = field(repr=False)

    def areas(self, drawn: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Area under the ROC curve of each class against the rest, shape (V,).

        Args:
            drawn: Test rows drawn anew. NaN for a class that is not among them, or is alone.
        """
        from scipy.stats import rankdata

        scores, classes = self.scores, self.classes
        if drawn is not None:
            scores, classes = scores[drawn], classes[drawn]
        n, V = scores.shape
        own = np.bincount(classes, minlength=V)
        # The sum of the ranks of a class counts the pairs that it wins (Mann & Whitney, 1947).
        ranks = rankdata(scores, axis=0)[np.arange(n), classes]
        won = np.bincount(classes, ranks, minlength=V) - own * (own + 1) / 2
        pairs = own * (n - own)
        return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)


@dataclass(frozen=True, eq=False, repr=False)
class ExplicitnessScore(Score):
    """The value of :func:`explicitness`.

    Attributes:
        per_factor: The value of each factor, shape (K,); their mean is the score.
        areas: For each factor, the area under the ROC curve of each class, shape (V,).
        scored: What they follow from, one entry per factor.
        normalised: Whether chance is 0 instead of 0.5.
    """

    name: ClassVar[str] = "explicitness"

    per_factor: NDArray[np.float64]
    areas: tuple[NDArray[np.float64], ...]
    scored: tuple[Scored, ...]
    normalised: bool

    def resampled(self, rng: Rng, replicates: int) -> dict[str, NDArray[np.float64]]:
        """The score over test rows that are drawn anew, with replacement, without a refit.

        Classes that a draw misses are left out of it.

        Args:
            rng: Seed or generator.
            replicates: How often.

        Returns:
            ``{"score": ...}``, shape (replicates,).
        """
        generator, _ = resolve_rng(rng)
        check_count("replicates", replicates, minimum=1)
        values = np.empty((replicates, len(self.scored)))
        most = max(len(factor.classes) for factor in self.scored)
        for i in range(replicates):
            uniform = generator.random(most)
            for k, factor in enumerate(self.scored):
                n = len(factor.classes)
                values[i, k] = _mean(factor.areas((uniform[:n] * n).astype(np.intp)))
        return {"score": _normalise(values, self.normalised).mean(axis=1)}


def explicitness(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    normalise: bool = False,
    test_share: float = 0.3,
    shuffle: bool = True,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> ExplicitnessScore:
    r"""Explicitness: can a linear classifier tell each factor's values from all codes?

    Multinomial logistic regression (with the penalty :math:`\frac12 \lVert w \rVert^2` on its
    weights, the default of scikit-learn) is fitted to standardised codes. At other rows, each
    class is told from the rest by its probability, and

    .. math:: \frac1K \sum_{k=1}^{K} \frac{1}{V_k} \sum_{v=1}^{V_k} \mathrm{AUC}_{kv}

    is the mean area under the ROC curve: the probability that a row of class v is given a higher
    probability of v than a row of another class. It is 0.5 by chance, so codes that know nothing
    score 0.5; ``normalise=True`` maps 0.5 to 0.

    It asks nothing of single codes: a rotation leaves it nearly as it is. Each class is divided
    into rows to fit on and to test on in the same proportion, so that none is missing from either;
    a class of a single row is left out.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        normalise: Whether to give 2 AUC - 1, and 0 where a factor is below chance.
        test_share: The part of the rows of each class that is tested on.
        shuffle: Whether rows are divided at random. False tests on the last rows of each class, as
            published code does, and is right only for rows that come in random order.
        factor_bins: Equal-width bins of a factor that is not discrete.
        rng: Seed or generator of the division into parts.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``areas``, ``provenance``. It is at chance if
        every code is constant.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if a factor has no two classes of two rows.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Learning Deep Disentangled Embeddings with the F-Statistic Loss (Ridgeway & Mozer,
          2018), https://arxiv.org/abs/1802.05312

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(5, size=(500, 2))
        >>> rotated = factors @ np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> print(explicitness(rotated, factors))
        explicitness 1.0000 (N=500, D=2, K=2)
    """
    _check_flag("normalise", normalise)
    _check_flag("shuffle", shuffle)
    check_share("test_share", test_share)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    labels = [divisible(factor, k) for k, factor in enumerate(label_factors(arrays, factor_bins))]
    order = np.arange(len(arrays.codes))
    if shuffle:
        generator.shuffle(order)
    scored = []
    for factor in labels:
        split = stratified_split(factor, order, test_share)
        scored.append(_score(arrays.codes[:, arrays.active], factor, split.train, split.test))
    areas = tuple(factor.areas() for factor in scored)
    for area in areas:
        area.setflags(write=False)
    per_factor = _normalise(np.array([area.mean() for area in areas]), bool(normalise))
    return ExplicitnessScore(
        float(per_factor.mean()),
        provenance(
            arrays,
            {
                "metric": "explicitness",
                "estimator": "multinomial logistic regression, one-vs-rest area under the curve",
                "test_share": float(test_share),
                "shuffle": bool(shuffle),
                "factor_bins": int(factor_bins),
                "rows": [len(factor.rows) for factor in labels],
                "normaliser": "chance" if normalise else "none",
            },
            dropped=np.flatnonzero(~arrays.active).tolist(),
            seed=seed if shuffle else None,
        ),
        per_factor=per_factor,
        areas=areas,
        scored=tuple(scored),
        normalised=bool(normalise),
    )


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"Expected {name} to be a bool, but got {type(value).__name__}; pass True or False."
        )


def _score(
    codes: NDArray[np.float64], factor: Labels, train: NDArray[np.intp], test: NDArray[np.intp]
) -> Scored:
    """Fits one factor and scores its test rows; both index the rows where it is known."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fit_on, test_on = codes[factor.rows[train]], codes[factor.rows[test]]
    varies = np.ptp(fit_on, axis=0) > 0 if fit_on.shape[1] else np.zeros(0, dtype=np.bool_)
    scores = np.zeros((len(test), len(factor.sizes)))
    if varies.any():
        fit_on, test_on = standardise(fit_on[:, varies], test_on[:, varies])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(max_iter=_STEPS).fit(fit_on, factor.classes[train])
        decision = model.decision_function(test_on)
        # Of two classes scikit-learn gives one column, the log odds of the second.
        scores = np.stack([-decision, decision], axis=1) if decision.ndim == 1 else decision
        # Scores of a multinomial model are log probabilities but for a constant of each row.
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return Scored(scores, factor.classes[test])


def _normalise(areas: NDArray[np.float64], normalise: bool) -> NDArray[np.float64]:
    return np.maximum(2 * areas - 1, 0.0) if normalise else areas


def _mean(areas: NDArray[np.float64]) -> float:
    present = areas[~np.isnan(areas)]
    return float(present.mean()) if len(present) else 0.5
