"""The axis-alignment metric."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.estimators import Estimator
from disvae.metrics.information import InformationScore, measure


@dataclass(frozen=True, eq=False, repr=False)
class AAMScore(InformationScore):
    """The value of :func:`aam`.

    Attributes:
        per_factor: The value of each factor, shape (K,); their mean is the score.
    """

    name: ClassVar[str] = "AAM"

    per_factor: NDArray[np.float64]


def aam(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = FACTOR_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> AAMScore:
    r"""Axis-alignment metric: does one code know more of a factor than all others together?

    .. math::
        \mathrm{AAM} = \frac1K \sum_{k=1}^{K} \frac{\max\bigl(0,\; I(z_{d_k}; v_k)
        - \sum_{d \ne d_k} I(z_d; v_k)\bigr)}{I(z_{d_k}; v_k)},
        \qquad d_k = \arg\max_d I(z_d; v_k).

    Stricter than :func:`mig`, which looks at the second code only, and blind to how much the best
    code knows: what divides is its information, not the entropy of the factor. Because it sums
    over codes, the bias of binned information adds up: with many codes and few rows it is 0.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete.
        estimator: How information is estimated instead of by ``bins``: :class:`EqualFrequency`,
            :class:`Neighbours`, or one of your own.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`; otherwise
            nothing is drawn.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``information``, ``entropy``, ``provenance``. A
        factor of which no code knows anything counts as 0. With a single code it is 1 where that
        code knows anything.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Disentangling VAE, the code that introduced it (Dubois et al., 2019),
          https://github.com/YannDubs/disentangling-vae

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(5)), axis=-1).reshape(-1, 2)
        >>> print(aam(codes=factors, factors=factors))
        AAM 1.0000 (N=20, D=2, K=2)
        >>> print(aam(codes=factors[:, [0, 1, 1]], factors=factors).per_factor)
        [1. 0.]
    """
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
    nats = information.matrix
    best = nats.max(axis=0)
    lead = np.maximum(2 * best - nats.sum(axis=0), 0.0)
    per_factor = lead / np.where(best > 0, best, 1.0)
    return AAMScore(
        float(per_factor.mean()),
        measured.provenance("aam", "information of the best code"),
        information=nats,
        entropy=information.entropy,
        per_factor=per_factor,
    )
