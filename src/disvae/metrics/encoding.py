"""OMES: how factors are encoded, from rows that differ in one factor alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.discretise import FACTOR_BINS, Labels, label_factors
from disvae.metrics.draws import fixing_others, kept_codes, to_unit
from disvae.metrics.score import Score, provenance

_POOLINGS = ("avg", "max")


@dataclass(frozen=True, eq=False, repr=False)
class OMESScore(Score):
    """The value of :func:`omes`.

    Attributes:
        per_factor: Overlap and multiple encoding weighed together, shape (K,); their mean is the
            score.
        overlap: The overlap score of each factor, low if its codes encode others too, shape (K,).
        multiple_encoding: The multiple encoding score of each factor, low if several codes encode
            it, shape (K,).
        association: How far each code is moved by each factor alone, 0 for a code that is left
            out, shape (D, K).
    """

    name: ClassVar[str] = "OMES"

    per_factor: NDArray[np.float64]
    overlap: NDArray[np.float64]
    multiple_encoding: NDArray[np.float64]
    association: NDArray[np.float64]


def omes(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    alpha: float = 0.5,
    pooling: str = "avg",
    one_sided: bool = False,
    min_std: float | None = None,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> OMESScore:
    r"""Overlap and multiple encoding scores: does a factor move one code, and only its own?

    Two rows that differ in factor k alone have the same value of every code that does not encode
    it. The association is what their correlation lacks,

    .. math::
        S_{dk} = 1 - \bigl|\mathrm{corr}(z_d, z'_d)\bigr|
        \quad\text{over all pairs with } v_k \ne v'_k,\; v_{-k} = v'_{-k}.

    A matrix with a single 1 in the row and the column of each factor is best. The distances

    .. math::
        o_{dk} = 1 - \frac1K \sum_{k'} \bigl|\delta_{kk'} - S_{dk'}\bigr|, \qquad
        m_{dk} = 1 - \frac1D \sum_{d'} \bigl|\delta_{dd'} - S_{d'k}\bigr|

    are pooled over codes, each weighed by its association,

    .. math::
        \mathrm{OS}_k = \frac{\sum_d S_{dk}^2\, o_{dk}}{\sum_d S_{dk}}, \qquad
        \mathrm{MES}_k = \frac{\sum_d S_{dk}^2\, m_{dk}}{\sum_d S_{dk}}, \qquad
        \mathrm{OMES} = \frac1K \sum_k \alpha\, \mathrm{OS}_k + (1 - \alpha)\, \mathrm{MES}_k.

    All pairs are counted exactly, where the authors draw some of them.

    A code that encodes a factor of V values alone does not reach :math:`S_{dk} = 1`: two
    different values of V are correlated by :math:`-1/(V-1)`, so that the association is
    :math:`1 - 1/(V-1)`, **0 for a factor of two values**. ``one_sided=True`` counts a negative
    correlation as none, and gives 1 to codes along the factors.

    Codes of noise are moved by every factor and score :math:`\tfrac{\alpha}{K} + \tfrac{1 -
    \alpha}{D}`. The arrays must hold rows that agree in all factors but one: a grid, or a good
    part of one.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is in no pair.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        alpha: The weight of the overlap score against the multiple encoding score, from 0 to 1.
        pooling: ``"avg"`` pools as above; ``"max"`` takes the largest :math:`S_{dk}\, o_{dk}` and
            :math:`S_{dk}\, m_{dk}`.
        one_sided: Whether a negative correlation counts as 0.
        min_std: Codes with a smaller standard deviation are dropped; 0.05 gives the published
            pruning, which depends on the scale of the codes. By default only codes that are
            constant up to rounding are dropped, and the score does not depend on the scale.
        factor_bins: Equal-width bins of a factor that is not discrete. Rows of one bin count as
            agreeing, so that wide bins let the other factors vary a little.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``overlap``, ``multiple_encoding``,
        ``association`` and ``provenance``. A factor that moves no code scores 0, and so does
        every factor if all codes are dropped.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if no two rows differ in some factor alone.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Transferring disentangled representations: bridging the gap between synthetic and real
          images (Dapueto et al., 2024), https://arxiv.org/abs/2409.18017

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(9), range(5)), axis=-1).reshape(-1, 2)
        >>> aligned = omes(codes=0.5 * factors, factors=factors)
        >>> print(aligned, aligned.association.round(3).tolist())
        OMES 0.7383 (N=45, D=2, K=2) [[0.875, 0.0], [0.0, 0.75]]
        >>> print(omes(codes=0.5 * factors, factors=factors, one_sided=True))
        OMES 1.0000 (N=45, D=2, K=2)
    """
    resolve_rng(rng)
    if not (isinstance(alpha, float | int | np.number) and 0 <= alpha <= 1):
        raise ValueError(
            f"Expected alpha to be a number from 0 to 1, but got {alpha!r:.80}; "
            "pass 0.5 to weigh overlap and multiple encoding alike."
        )
    if pooling not in _POOLINGS:
        raise ValueError(
            f"Expected pooling to be one of {', '.join(map(repr, _POOLINGS))}, but got "
            f"{pooling!r:.80}; pass one of these."
        )
    arrays = check_arrays(codes, factors, discrete)
    labels = label_factors(arrays, factor_bins)
    kept = kept_codes(arrays, min_std)
    D, K = len(kept), len(labels)
    association = np.zeros((D, K))
    unit, _ = to_unit(arrays.codes[:, kept])
    for k in range(K):
        correlation = _pair_correlation(unit, *fixing_others(labels, k))
        nearness = np.maximum(correlation, 0) if one_sided else np.abs(correlation)
        association[kept, k] = 1 - np.minimum(nearness, 1)
    moved = association[kept]
    overlap = _pool(moved, _agreement(moved), pooling)
    multiple_encoding = _pool(moved, _agreement(moved.T).T, pooling)
    per_factor = alpha * overlap + (1 - alpha) * multiple_encoding
    return OMESScore(
        float(per_factor.mean()),
        provenance(
            arrays,
            {
                "metric": "omes",
                "estimator": "correlation over all pairs that differ in one factor alone",
                "alpha": float(alpha),
                "pooling": pooling,
                "one_sided": bool(one_sided),
                "min_std": None if min_std is None else float(min_std),
                "factor_bins": int(factor_bins),
                "normaliser": None,
            },
            dropped=np.flatnonzero(~kept).tolist(),
            seed=None,
        ),
        per_factor=per_factor,
        overlap=overlap,
        multiple_encoding=multiple_encoding,
        association=association,
    )


def _pair_correlation(
    codes: NDArray[np.float64], groups: Labels, values: NDArray[np.intp]
) -> NDArray[np.float64]:
    r"""Correlation of each code over the ordered pairs of a group that differ in value: (D,).

    With sums over a group :math:`S_g` and over those of its rows that have one value
    :math:`S_{gv}`, the products over all such pairs sum to :math:`S_g^2 - \sum_v S_{gv}^2`. A
    code that does not vary among them is unmoved: its correlation is 1.
    """
    order = np.lexsort((values, groups.classes))
    group, value = groups.classes[order], values[order]
    new_cell = np.append(True, (np.diff(group) != 0) | (np.diff(value) != 0))
    first = np.flatnonzero(new_cell)
    cell_sizes = np.diff(np.append(first, len(group)))
    partners = groups.sizes[group] - np.repeat(cell_sizes, cell_sizes)
    pairs = partners.sum()

    centred = codes[groups.rows[order]]
    centred -= partners @ centred / pairs
    variance = partners @ centred**2 / pairs
    in_cells = np.add.reduceat(centred, first, axis=0)
    in_groups = np.add.reduceat(in_cells, np.flatnonzero(np.diff(group[first], prepend=-1)), axis=0)
    covariance = ((in_groups**2).sum(axis=0) - (in_cells**2).sum(axis=0)) / pairs
    # The codes lie in [0, 1]: what is below this is rounding.
    varies = variance > np.finfo(np.float64).eps ** 2
    return np.where(varies, covariance / np.where(varies, variance, 1.0), 1.0)


def _agreement(association: NDArray[np.float64]) -> NDArray[np.float64]:
    """One minus the mean distance of each row to each unit vector, shape of the input."""
    K = association.shape[1]
    # |1 - S| at the place of the unit vector in exchange for |S| there, as 0 <= S <= 1.
    distance = association.sum(axis=1, keepdims=True) + 1 - 2 * association
    return 1 - distance / K


def _pool(
    association: NDArray[np.float64], agreement: NDArray[np.float64], pooling: str
) -> NDArray[np.float64]:
    scored = association * agreement
    if pooling == "max":
        return scored.max(axis=0, initial=0.0)
    total = association.sum(axis=0)
    moved = total > 0
    return np.where(moved, (scored * association).sum(axis=0) / np.where(moved, total, 1.0), 0.0)
