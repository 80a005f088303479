"""The β-VAE score, drawn from arrays by conditioning."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import FACTOR_BINS, Labels, label_factors
from disvae.metrics.draws import draw_pairs, fixing_one, require_two_factors, to_unit
from disvae.metrics.logistic import fit_classifier
from disvae.metrics.score import Score, provenance


@dataclass(frozen=True, eq=False, repr=False)
class BetaVAEScore(Score):
    """The value of :func:`beta_vae_score`.

    Attributes:
        train_score: The share of training votes that the classifier gets right.
        confusion: Evaluation votes by the factor that was fixed (rows) and the factor that the
            classifier gives (columns), shape (K, K).
        weights: What the classifier adds to the score of each factor for one unit of mean
            difference of each code; 0 for a constant code, shape (D, K).
    """

    name: ClassVar[str] = "β-VAE score"

    train_score: float
    confusion: NDArray[np.intp]
    weights: NDArray[np.float64]


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    train_votes: int = 5000,
    eval_votes: int = 2500,
    batch_size: int = 64,
    standardise: bool = False,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> BetaVAEScore:
    r"""β-VAE score: can a linear classifier tell which factor two images share?

    A vote fixes a factor chosen uniformly and draws ``batch_size`` pairs of rows; the two rows of
    a pair share their value of that factor, which is that of a row chosen uniformly, anew for
    each pair. The point

    .. math::
        x = \frac1B \sum_{b=1}^{B} |z^{(b,1)} - z^{(b,2)}|

    is small along the codes that the factor fixes. The score is the accuracy, on evaluation
    votes, of a multinomial logistic regression from points to factors: 1 for codes along the
    factors, near 1/K for codes that know nothing. It is generous: linearly mixed codes
    often score 1 as well.

    The regression has the penalty :math:`\frac12\|w\|^2` on its weights, as in the published
    implementation. So the score depends on the scale of the codes, a common one as well as that
    of single codes: what is much smaller than 1 is not heard (codes along five factors score 1
    at a standard deviation of 0.03, and 1/5 at 0.001). ``standardise=True`` divides each code by
    its standard deviation first and is invariant.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is not drawn while
            that factor is fixed.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        train_votes: Votes on which the classifier is fitted.
        eval_votes: Votes on which it is scored.
        batch_size: Pairs of a vote. A value that a single row has is not drawn.
        standardise: Whether codes are divided by their standard deviation first.
        factor_bins: Equal-width bins of a factor that is not discrete.
        rng: Seed or generator of the votes.

    Returns:
        The score, in [0, 1], with ``train_score``, ``confusion``, ``weights`` and
        ``provenance``. Constant codes are left out; if every code is constant, the classifier
        always gives the factor most often fixed in training.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there is one factor only, or a factor whose values are
            all different.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework
          (Higgins et al., 2017), https://openreview.net/forum?id=Sy2fzU9gl
        - Challenging Common Assumptions in the Unsupervised Learning of Disentangled
          Representations (Locatello et al., 2019), https://arxiv.org/abs/1811.12359

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(6, size=(1000, 2))
        >>> print(beta_vae_score(codes=factors[:, ::-1], factors=factors))
        β-VAE score 1.0000 (N=1000, D=2, K=2)
    """
    check_count("train_votes", train_votes, minimum=1)
    check_count("eval_votes", eval_votes, minimum=1)
    check_count("batch_size", batch_size, minimum=1)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    labels = label_factors(arrays, factor_bins)
    require_two_factors(labels)
    groups = [fixing_one(labels, k) for k in range(len(labels))]
    active = arrays.active
    K = len(groups)
    unit, width = to_unit(arrays.codes[:, active])
    fixed = generator.integers(K, size=train_votes + eval_votes)
    points = np.empty((len(fixed), unit.shape[1]))
    for k, group in enumerate(groups):
        votes = np.flatnonzero(fixed == k)
        points[votes] = _differences(unit, group, len(votes), batch_size, generator)
    scale = 1 / unit.std(axis=0) if standardise else width

    train, test = slice(train_votes), slice(train_votes, None)
    spread = points[train].std(axis=0)
    spread[spread == 0] = 1.0
    points = (points - points[train].mean(axis=0)) / spread
    # Weights w on the scaled codes are w · scale · spread on these points of unit variance.
    penalty = _inverse_square(scale * spread)
    classifier = fit_classifier(points[train], fixed[train], K, penalty)
    given = classifier.predict(points)
    confusion = np.zeros((K, K), dtype=np.intp)
    np.add.at(confusion, (fixed[test], given[test]), 1)
    weights = np.zeros((len(active), K))
    weights[active] = classifier.weights.T / (scale * spread)[:, None]
    return BetaVAEScore(
        float(np.trace(confusion) / eval_votes),
        provenance(
            arrays,
            {
                "metric": "beta_vae_score",
                "estimator": "logistic regression with unit L2 penalty, pairs of different rows",
                "train_votes": int(train_votes),
                "eval_votes": int(eval_votes),
                "batch_size": int(batch_size),
                "standardise": bool(standardise),
                "factor_bins": int(factor_bins),
                "normaliser": "standard deviation" if standardise else None,
            },
            dropped=np.flatnonzero(~active).tolist(),
            seed=seed,
        ),
        train_score=float(np.mean(given[train] == fixed[train])),
        confusion=confusion,
        weights=weights,
    )


def _differences(
    codes: NDArray[np.float64],
    groups: Labels,
    votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The mean absolute difference of each code over the pairs of each vote: (votes, D)."""
    points = np.empty((votes, codes.shape[1]))
    for chunk, first, second in draw_pairs(groups, votes, batch_size, rng):
        difference = codes[first.reshape(-1)]
        difference -= codes[second.reshape(-1)]
        np.abs(difference, out=difference)
        points[chunk] = difference.reshape(*first.shape, -1).sum(axis=1)
    return points / batch_size


def _inverse_square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1/x², held between the smallest and the largest that cause no trouble further on."""
    return np.square(1 / np.clip(values, 1e-100, 1e100))
