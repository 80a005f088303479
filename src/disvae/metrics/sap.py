"""The separated attribute predictability score."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.discretise import Labels, Values, mix_factors
from disvae.metrics.draws import to_unit
from disvae.metrics.information import largest_gap
from disvae.metrics.score import Score, provenance
from disvae.metrics.splits import check_share, divisible, stratified_split
from disvae.metrics.thresholds import balanced_accuracies


@dataclass(frozen=True, eq=False, repr=False)
class SAPScore(Score):
    """The value of :func:`sap`.

    Attributes:
        per_factor: The gap of each factor, shape (K,); their mean is the score.
        predictability: How well each code alone predicts each factor, in [0, 1], shape (D, K).
    """

    name: ClassVar[str] = "SAP"

    per_factor: NDArray[np.float64]
    predictability: NDArray[np.float64]


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    adjusted: bool = True,
    test_share: float = 0.3,
    rng: Rng = 0,
) -> SAPScore:
    r"""SAP: is each factor predicted by one code, and by one only?

    .. math::
        \mathrm{SAP} = \frac1K \sum_{k=1}^{K} \Bigl( S_{d_k k} - \max_{d \ne d_k} S_{dk} \Bigr),
        \qquad d_k = \arg\max_d S_{dk}.

    For a factor that is not discrete, :math:`S_{dk}` is the squared correlation over all rows
    where it is known. For a discrete one with V classes it is the balanced accuracy of thresholds
    on code d alone: at most V - 1 of them cut the code into intervals, each of which stands for a
    class, so that the mean over classes of the share recognised is as large as can be. They are
    fitted to one part of the rows and tested on the other, each class being divided in the same
    proportion; a class of a single row is left out. The order of the classes does not matter, nor
    does the scale of the code.

    An accuracy a is given as :math:`(a - 1/V) / (1 - 1/V)`, or 0 if it is below chance: a code
    that knows nothing then has 0 whatever the number of classes, and codes along the factors
    score 1. As published, accuracies are not adjusted, and the best score is the mean of
    :math:`1 - 1/V`.

    Linear classifiers on one code, as in widely used implementations, cannot single out a class
    in the middle, and score 0.34 for codes along the factors.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
            ``discrete=False`` scores all factors by squared correlation.
        adjusted: Whether accuracies are adjusted for chance.
        test_share: The part of the rows of each class that thresholds are tested on.
        rng: Seed or generator of the division into parts. Nothing is drawn for factors that are
            not discrete.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``predictability``, ``provenance``. A constant
        code predicts nothing, and a single code is compared with one that predicts nothing.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if a discrete factor has no two classes of two rows.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar
          et al., 2018), https://arxiv.org/abs/1711.00848

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(50)), axis=-1).reshape(-1, 2)
        >>> print(sap(codes=factors, factors=factors, discrete=False))
        SAP 1.0000 (N=200, D=2, K=2)
        >>> noise = np.random.default_rng(0).normal(size=(200, 1))
        >>> print(sap(np.hstack([factors[:, :1], noise]), factors[:, :1]))
        SAP 1.0000 (N=200, D=2, K=1)
    """
    if not isinstance(adjusted, bool | np.bool_):
        raise TypeError(
            f"Expected adjusted to be a bool, but got {type(adjusted).__name__}; "
            "pass True or False."
        )
    check_share("test_share", test_share)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    known = [
        divisible(factor, k) if isinstance(factor, Labels) else factor
        for k, factor in enumerate(mix_factors(arrays))
    ]
    drawn = bool(arrays.discrete.any())
    order = generator.permutation(len(arrays.codes)) if drawn else np.arange(len(arrays.codes))
    active = arrays.codes[:, arrays.active]
    gap = np.empty(len(known))
    predictability = np.zeros((len(arrays.active), len(known)))
    for k, factor in enumerate(known):
        chance, share = 0.0, 1.0
        if isinstance(factor, Labels):
            above = _above_chance(active, factor, order, test_share)
            if not adjusted:
                chance = 1 / len(factor.sizes)
                share = 1 - chance
        else:
            above = _squared_correlation(active[factor.rows], factor)
        gap[k] = share * largest_gap(above[:, None])[0]
        predictability[:, k] = chance
        predictability[arrays.active, k] += share * above
    return SAPScore(
        float(gap.mean()),
        provenance(
            arrays,
            {
                "metric": "sap",
                "estimator": "balanced thresholds for classes, squared correlation for values",
                "adjusted": bool(adjusted),
                "test_share": float(test_share),
                "rows": [len(factor.rows) for factor in known],
                "normaliser": "chance" if adjusted else "none",
            },
            dropped=np.flatnonzero(~arrays.active).tolist(),
            seed=seed if drawn else None,
        ),
        per_factor=gap,
        predictability=predictability,
    )


def _above_chance(
    codes: NDArray[np.float64],
    factor: Labels,
    order: NDArray[np.intp],
    test_share: float,
) -> NDArray[np.float64]:
    """Balanced accuracy of thresholds on each code, from 0 at chance to 1, shape (A,)."""
    split = stratified_split(factor, order, test_share)
    if not codes.shape[1]:
        return np.zeros(0)
    accuracy = balanced_accuracies(
        codes[factor.rows[split.train]],
        factor.classes[split.train],
        codes[factor.rows[split.test]],
        factor.classes[split.test],
    )
    V = len(factor.sizes)
    return np.clip((V * accuracy - 1) / (V - 1), 0.0, 1.0)


def _squared_correlation(codes: NDArray[np.float64], factor: Values) -> NDArray[np.float64]:
    """Of each code with the factor, shape (A,); 0 for a code that is constant where it is known."""
    squared = np.zeros(codes.shape[1])
    varies = codes.min(axis=0, initial=np.inf) < codes.max(axis=0, initial=-np.inf)
    if varies.any():
        unit, _ = to_unit(codes[:, varies])
        value, _ = to_unit(factor.values[:, None])
        unit -= unit.mean(axis=0)
        value -= value.mean()
        covariance = value[:, 0] @ unit
        squared[varies] = covariance**2 / ((unit**2).sum(axis=0) * (value**2).sum())
    return np.minimum(squared, 1.0)
