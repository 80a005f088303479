"""The interventional robustness score."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.discretise import FACTOR_BINS, Labels, label_factors
from disvae.metrics.draws import to_unit
from disvae.metrics.score import Score, provenance


@dataclass(frozen=True, eq=False, repr=False)
class IRSScore(Score):
    """The value of :func:`irs`.

    Attributes:
        per_code: The robustness of each code to its own factor, the largest of its row of
            ``robustness``; 0 for a constant code, shape (D,).
        robustness: One minus the mean deviation within a class of the factor, over the largest
            deviation overall; 0 for a constant code, shape (D, K).
        weights: The weight of each code in the score; they sum to 1, shape (D,).
    """

    name: ClassVar[str] = "IRS"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    per_code: NDArray[np.float64]
    robustness: NDArray[np.float64]
    weights: NDArray[np.float64]


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    quantile: float = 0.99,
    standardise: bool = False,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> IRSScore:
    r"""Interventional robustness score: does a code stay put while all but one factor change?

    With the rows of factor k at its value v, each code strays from its mean among them by the
    q-quantile of the absolute deviations. The mean over the values, seen against the largest
    deviation of the code from its mean over all rows, is taken from 1:

    .. math::
        R_{dk} = 1 - \frac{1}{V_k} \sum_v
        \frac{Q_q\bigl(|z_d - \bar z_{dv}| : v_k = v\bigr)}{\max |z_d - \bar z_d|}, \qquad
        \mathrm{IRS} = \frac{\sum_d w_d \max_k R_{dk}}{\sum_d w_d}, \qquad
        w_d = \max |z_d - \bar z_d|.

    It is 1 if each code depends on one factor only. It is **not** near 0 for noise, because a
    class of n rows strays less far than all rows do (0.37 for ten normal codes on 5,760 rows,
    0.16 with ``quantile=1``; a class of a single row does not stray at all). Compare it with its
    chance level.

    The weights :math:`w_d` make it depend on the scale of single codes, though not on a common
    one; ``standardise=True`` divides each code by its standard deviation first and is invariant.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
            A discrete factor is used as it is, not binned again.
        quantile: The quantile q of the deviations in a class; 1 is the maximum of the paper.
        standardise: Whether codes are divided by their standard deviation first.
        factor_bins: Equal-width bins of a factor that is not discrete.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The score, with ``per_code``, ``robustness``, ``weights`` and ``provenance``. It is at
        most 1, and below 0 only if most classes stray further than the codes as a whole.
        Constant codes are left out; if every code is constant the score is 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Robustly Disentangled Causal Mechanisms: Validating Deep Representations for
          Interventional Robustness (Suter et al., 2019), https://arxiv.org/abs/1811.00007

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(6, size=(1000, 2))
        >>> print(irs(codes=-0.5 * factors, factors=factors))
        IRS 1.0000 (N=1000, D=2, K=2)
        >>> rotated = factors @ np.array([[1.0, -1.0], [1.0, 1.0]])
        >>> irs(rotated, factors) < 0.55
        True
    """
    resolve_rng(rng)
    if not (isinstance(quantile, float | int | np.number) and 0 <= quantile <= 1):
        raise ValueError(
            f"Expected quantile to be a number from 0 to 1, but got {quantile!r:.80}; "
            "pass 0.99, or 1.0 for the largest deviation."
        )
    arrays = check_arrays(codes, factors, discrete)
    labels = label_factors(arrays, factor_bins)
    active = arrays.active
    D, K = len(active), len(labels)
    robustness, weights, score = np.zeros((D, K)), np.zeros(D), 0.0
    if active.any():
        unit, width = to_unit(arrays.codes[:, active])
        largest = np.abs(unit - unit.mean(axis=0)).max(axis=0)
        strays = np.stack([_strays(unit, factor, quantile) for factor in labels], axis=1)
        robustness[active] = 1 - strays / largest[:, None]
        scale = 1 / unit.std(axis=0) if standardise else width / width.max()
        weights[active] = largest * scale / (largest * scale).sum()
        # The weights sum to 1 but for rounding; this way codes of robustness 1 score just that.
        score = float(1 - weights @ (1 - robustness.max(axis=1)))
    return IRSScore(
        score,
        provenance(
            arrays,
            {
                "metric": "irs",
                "estimator": "quantile of absolute deviations by class",
                "quantile": float(quantile),
                "standardise": bool(standardise),
                "factor_bins": int(factor_bins),
                "normaliser": "largest deviation over all rows",
            },
            dropped=np.flatnonzero(~active).tolist(),
            seed=None,
        ),
        per_code=robustness.max(axis=1),
        robustness=robustness,
        weights=weights,
    )


def _strays(codes: NDArray[np.float64], factor: Labels, quantile: float) -> NDArray[np.float64]:
    """The quantile of the deviations from the mean of the class, mean over the classes: (D,)."""
    order = np.argsort(factor.classes, kind="stable")
    members = codes[factor.rows[order]]
    start = np.cumsum(factor.sizes) - factor.sizes
    total = np.zeros(codes.shape[1])
    for v in np.flatnonzero(factor.sizes > 1):  # a single row does not stray
        rows = members[start[v] : start[v] + factor.sizes[v]]
        # The first row as origin: a code that the class fixes then strays by exactly 0.
        rows = rows - rows[0]
        total += np.quantile(np.abs(rows - rows.mean(axis=0)), quantile, axis=0)
    return total / len(factor.sizes)
