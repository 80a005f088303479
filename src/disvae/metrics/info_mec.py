"""InfoMEC: modularity, explicitness and compactness in terms of information."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Arrays, Discrete, Rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.draws import to_unit
from disvae.metrics.estimators import Estimator, Neighbours
from disvae.metrics.information import Measurement, measure, require_two, varying
from disvae.metrics.predictive import Logistic, Predictor, basis
from disvae.metrics.ratio import preference


class InfoMEC(NamedTuple):
    """The values of :func:`infomec`.

    Attributes:
        infom: InfoM, modularity: mean over active codes that know anything, in [0, 1].
        infoe: InfoE, explicitness: mean over factors, at most 1.
        infoc: InfoC, compactness: mean over factors, in [0, 1].
        per_code: Modularity of each code, 0 if it is not active or knows nothing, shape (D,).
        explicitness: Explicitness of each factor, shape (K,).
        compactness: Compactness of each factor, 0 if nothing is known of it, shape (K,).
        share: Information over the entropy of the factor, shape (D, K).
        active: The codes that count for InfoM and InfoC, shape (D,).
        provenance: How the values were estimated.
    """

    infom: float
    infoe: float
    infoc: float
    per_code: NDArray[np.float64]
    explicitness: NDArray[np.float64]
    compactness: NDArray[np.float64]
    share: NDArray[np.float64]
    active: NDArray[np.bool_]
    provenance: dict[str, Any]


def infomec(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    factor_bins: int = FACTOR_BINS,
    estimator: Estimator | None = None,
    predictor: Predictor | None = None,
    min_range: float = 0.05,
    standardise: bool = False,
    rng: Rng = 0,
) -> InfoMEC:
    r"""InfoMEC: is each code about one factor, each factor easy to read, and held by one code?

    With the shares :math:`s_{dk} = I(z_d; v_k) / H(v_k)` of D active codes by ten nearest
    neighbours,

    .. math::
        \mathrm{InfoM} = \frac{m - 1/K}{1 - 1/K}, \quad
        m = \frac{1}{|C|} \sum_{d \in C} \frac{\max_k s_{dk}}{\sum_k s_{dk}}, \qquad
        \mathrm{InfoC} = \frac{c - 1/D}{1 - 1/D}, \quad
        c = \frac1K \sum_{k=1}^{K} \frac{\max_d s_{dk}}{\sum_d s_{dk}},

    .. math::
        \mathrm{InfoE} = \frac1K \sum_{k=1}^{K}
        \frac{H_\mathcal V(v_k) - H_\mathcal V(v_k \mid z)}{H_\mathcal V(v_k)},

    the part of each factor's entropy that logistic regression on all codes at once predicts, on
    the rows that it was fitted to. InfoM is over the codes C that know anything: the published
    code divides by zero where one does not.

    **A code is active if its range is above a twentieth of the largest range**, so InfoM and
    InfoC change when a single code is rescaled; only a common scale changes nothing.
    ``standardise=True`` compares ranges in standard deviations instead, and ``min_range=0`` keeps
    all codes that are not constant: both are free of the scale.

    Independent codes do not score 0 in InfoM and InfoC (about 0.5 and 0.4 with five factors and
    ten codes), because estimates of no information that happen to be above 0 look like a
    preference. A rotation of the codes leaves InfoE as it is. InfoM and InfoC alone, which take
    a quarter of the time, are ``mir(..., estimator=Neighbours(k=10))`` where no code is pruned.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        factor_bins: Equal-width bins of a factor that is not discrete.
        estimator: How information is estimated, by default :class:`Neighbours` with k = 10.
        predictor: The predictors of InfoE, by default :class:`Logistic`. :class:`Linear` takes
            factors as the numbers they are, and gives R² instead.
        min_range: A code is active if its range is above this part of the largest.
        standardise: Whether ranges are taken of standardised codes.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`.

    Returns:
        A tuple ``(infom, infoe, infoc, ...)``. InfoM is 0 if no active code knows anything. A
        factor of which nothing is known counts as 0 in InfoC; with a single active code, one of
        which something is known counts as 1. If every code is constant, all three are 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there is one factor only, or, for neighbours, a factor
            of which no two rows are alike.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Disentanglement via Latent Quantization (Hsu et al., 2023),
          https://arxiv.org/abs/2305.18378
        - A Theory of Usable Information Under Computational Constraints (Xu et al., 2020),
          https://arxiv.org/abs/2002.10689

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(5, size=(2000, 2))
        >>> codes = factors + 0.1 * rng.normal(size=(2000, 2))
        >>> found = infomec(codes, factors)
        >>> print(f"{found.infom:.2f} {found.infoe:.2f} {found.infoc:.2f}")
        1.00 1.00 1.00
        >>> mixed = infomec(codes @ np.array([[1.0, 1.0], [1.0, -1.0]]), factors)
        >>> print(f"{mixed.infom:.2f} {mixed.infoe:.2f} {mixed.infoc:.2f}")
        0.00 1.00 0.03
    """
    _check(predictor, min_range)
    chosen = Logistic() if predictor is None else predictor
    measured = measure(
        codes,
        factors,
        discrete=discrete,
        bins=CODE_BINS,
        factor_bins=factor_bins,
        estimator=Neighbours(k=10) if estimator is None else estimator,
        rng=rng,
    )
    require_two(measured.labels, "InfoM")
    share = measured.information.share
    active = _active(measured.arrays, min_range, standardise)
    per_code, counted = preference(share, share.shape[1])
    per_code[~active], counted = 0.0, counted & active
    compactness, _ = preference(share[active].T, int(active.sum()))
    explicitness = _explicitness(measured, chosen)
    for array in (per_code, explicitness, compactness, share, active):
        array.setflags(write=False)
    return InfoMEC(
        float(per_code[counted].mean()) if counted.any() else 0.0,
        float(explicitness.mean()),
        float(compactness.mean()),
        per_code,
        explicitness,
        compactness,
        share,
        active,
        measured.provenance(
            "infomec",
            "factor entropy",
            **chosen.settings(),
            min_range=float(min_range),
            standardise=bool(standardise),
            counted=np.flatnonzero(counted).tolist(),
        ),
    )


def _check(predictor: Predictor | None, min_range: float) -> None:
    if predictor is not None and not isinstance(predictor, Predictor):
        raise TypeError(
            "Expected predictor to be a metrics.Predictor or None, but got "
            f"{predictor!r:.80}; pass for instance metrics.Linear()."
        )
    if not (isinstance(min_range, float | int | np.number) and 0 <= min_range < 1):
        raise ValueError(
            f"Expected min_range to be a number of at least 0 and below 1, but got {min_range!r}; "
            "pass 0.05 for the published pruning, or 0 for none."
        )


def _active(arrays: Arrays, min_range: float, standardise: bool) -> NDArray[np.bool_]:
    """The codes that are not constant, and whose range is large enough."""
    active = arrays.active.copy()
    if active.any():
        unit, width = to_unit(arrays.codes[:, active])
        if standardise:
            width = 1 / unit.std(axis=0)
        active[active] = width > min_range * width.max()
    return active


def _explicitness(measured: Measurement, predictor: Predictor) -> NDArray[np.float64]:
    """The part of each factor that is predicted from the codes that are not constant: (K,)."""
    arrays = measured.arrays
    explicitness = np.zeros(len(measured.labels))
    if not arrays.active.any():
        return explicitness
    codes = varying(arrays)
    everywhere = basis(codes)
    for k, factor in enumerate(measured.labels):
        here = everywhere if len(factor.rows) == codes.shape[1] else basis(codes[:, factor.rows])
        values = arrays.factors[factor.rows, k].astype(np.float64)
        explicitness[k] = predictor.share(here, factor, values)
    return explicitness
