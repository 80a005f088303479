"""The mutual-information-based entropy of disentanglement."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_count
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.estimators import Estimator
from disvae.metrics.importance import concentration, weighted_mean
from disvae.metrics.information import InformationScore, measure


@dataclass(frozen=True, eq=False, repr=False)
class MEDScore(InformationScore):
    """The value of :func:`med`.

    Attributes:
        per_code: Disentanglement of each code, 0 if it knows nothing, shape (D,).
        importance: The part of all information about each factor that each code has, shape (D, K).
        selected: The codes that count, shape (D,).
    """

    name: ClassVar[str] = "MED"

    per_code: NDArray[np.float64]
    importance: NDArray[np.float64]
    selected: NDArray[np.bool_]


def med(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    top_k: int | None = None,
    bins: int = CODE_BINS,
    factor_bins: int = FACTOR_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> MEDScore:
    r"""MED: the disentanglement of DCI, with information for importance and no predictor.

    With :math:`R_{dk} = I(z_d; v_k) / \sum_d I(z_d; v_k)` and the shares :math:`p_{dk} = R_{dk} /
    \sum_k R_{dk}` of each code,

    .. math::
        \mathrm{MED} = \sum_d \rho_d \Bigl(1 + \sum_k p_{dk} \log_K p_{dk}\Bigr), \qquad
        \rho_d = \frac{\sum_k R_{dk}}{\sum_{dk} R_{dk}}.

    It suits representations of many codes, for which predictors are slow. Top-k MED asks whether
    some of the codes are disentangled: of those that are most important to a factor (the factor
    with the largest :math:`R_{dk}`), it keeps the k with the most concentrated shares, and is the
    same mean over the codes kept.

    Binned information of codes that know nothing is above 0, so that independent codes score
    above 0 by an amount that depends on the sizes of the factors.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        top_k: Codes to keep for each factor; None keeps all.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete.
        estimator: How information is estimated instead of by ``bins``: :class:`EqualFrequency`,
            :class:`Neighbours`, or one of your own.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`; otherwise
            nothing is drawn.

    Returns:
        The score, in [0, 1], with ``per_code``, ``importance``, ``selected``, ``information``,
        ``entropy``, ``provenance``. It is 0 if no code knows anything. With a single factor it is
        1 if any does.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - An Empirical Study on Disentanglement of Negative-free Contrastive Learning (Cao et al.,
          2022), https://arxiv.org/abs/2206.04756

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(5)), axis=-1).reshape(-1, 2)
        >>> codes = np.column_stack([factors, factors.sum(axis=1)])
        >>> print(f"{med(codes, factors):.2f} {med(codes, factors, top_k=1):.2f}")
        0.77 1.00
    """
    if top_k is not None:
        check_count("top_k", top_k, minimum=1)
    measured = measure(
        codes,
        factors,
        discrete=discrete,
        bins=bins,
        factor_bins=factor_bins,
        estimator=estimator,
        rng=rng,
    )
    information = measured.information
    known = information.matrix.sum(axis=0)
    importance = information.matrix / np.where(known > 0, known, 1.0)
    per_code = concentration(importance, importance.shape[1])
    selected = _select(importance, per_code, top_k)
    return MEDScore(
        weighted_mean(per_code[selected], importance[selected]),
        measured.provenance("med", "information of all codes", top_k=top_k),
        information=information.matrix,
        entropy=information.entropy,
        per_code=per_code,
        importance=importance,
        selected=selected,
    )


def _select(
    importance: NDArray[np.float64], per_code: NDArray[np.float64], top_k: int | None
) -> NDArray[np.bool_]:
    """The codes that know anything, or the most disentangled of those of each factor: (D,)."""
    selected = np.asarray(importance.max(axis=1) > 0)
    if top_k is None:
        return selected
    factor = importance.argmax(axis=1)
    for k in range(importance.shape[1]):
        own = np.flatnonzero(selected & (factor == k))
        selected[own[np.argsort(-per_code[own], kind="stable")[top_k:]]] = False
    return selected
