"""Gaps of information seen from the codes: MIG-sup and DCIMIG."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.estimators import Estimator
from disvae.metrics.information import InformationScore, largest_gap, measure


@dataclass(frozen=True, eq=False, repr=False)
class MIGSupScore(InformationScore):
    """The value of :func:`mig_sup`.

    Attributes:
        per_code: The gap of each code, 0 for a constant one, shape (D,); the mean over those that
            are not constant is the score.
    """

    name: ClassVar[str] = "MIG-sup"

    per_code: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class DCIMIGScore(InformationScore):
    """The value of :func:`dcimig`.

    Attributes:
        per_factor: The largest gap of a code that knows this factor best, in nats, shape (K,);
            their sum over that of the entropies is the score.
    """

    name: ClassVar[str] = "DCIMIG"

    per_factor: NDArray[np.float64]


def mig_sup(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = FACTOR_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> MIGSupScore:
    r"""MIG-sup: does each code know one factor, and one only?

    .. math::
        \frac1D \sum_{d=1}^{D} \Bigl( \frac{I(z_d; v_{k_d})}{H(v_{k_d})}
        - \max_{k \ne k_d} \frac{I(z_d; v_k)}{H(v_k)} \Bigr),
        \qquad k_d = \arg\max_k \frac{I(z_d; v_k)}{H(v_k)}.

    The counterpart of :func:`mig`, which asks the same of each factor: two copies of one code
    cost nothing here, and a code that carries two factors costs nothing there. A code of pure
    noise lowers it, because it knows no factor.

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
        The score, in [0, 1], with ``per_code``, ``information``, ``entropy``, ``provenance``. The
        mean is over codes that are not constant; it is 0 if all are. With a single factor the
        second term is 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Progressive Learning and Disentanglement of Hierarchical Representations (Li et al.,
          2020), https://arxiv.org/abs/2002.10549

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(5)), axis=-1).reshape(-1, 2)
        >>> print(mig_sup(codes=factors[:, [0, 0, 1]], factors=factors))
        MIG-sup 1.0000 (N=20, D=3, K=2)
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
    gap = largest_gap(information.share.T)
    active = measured.arrays.active
    return MIGSupScore(
        float(gap[active].mean()) if active.any() else 0.0,
        measured.provenance("mig_sup", "factor entropy"),
        information=information.matrix,
        entropy=information.entropy,
        per_code=gap,
    )


def dcimig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = CODE_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> DCIMIGScore:
    r"""DCIMIG: how much of the factors is known to codes that know little else?

    Each code stands for the factor it knows most of, and its gap is what it knows of that factor
    more than of any other:

    .. math::
        g_d = I(z_d; v_{k_d}) - \max_{k \ne k_d} I(z_d; v_k),
        \qquad k_d = \arg\max_k I(z_d; v_k).

    A factor takes the largest gap of the codes that stand for it, 0 if there are none:

    .. math::
        \mathrm{DCIMIG} = \sum_{k=1}^{K} \max_{d:\, k_d = k} g_d \Bigm/ \sum_{k=1}^{K} H(v_k).

    As in the code of the review by Carbonneau et al., codes are mapped to [0, 1] before they are
    binned, which decides in which bin values on an edge fall.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete; by default as many as of a
            code, as in the review.
        estimator: How information is estimated instead of by ``bins``: :class:`EqualFrequency`,
            :class:`Neighbours`, or one of your own.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`; otherwise
            nothing is drawn.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``information``, ``entropy``, ``provenance``.
        A constant code knows nothing. With a single factor the second term is 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - How to Not Measure Disentanglement (Sepliarskaia et al., 2019),
          https://arxiv.org/abs/1910.05587
        - Measuring Disentanglement: A Review of Metrics (Carbonneau et al., 2020),
          https://arxiv.org/abs/2012.09276

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(4)), axis=-1).reshape(-1, 2)
        >>> print(dcimig(codes=factors, factors=factors))
        DCIMIG 1.0000 (N=16, D=2, K=2)
        >>> print(dcimig(codes=factors[:, :1], factors=factors))
        DCIMIG 0.5000 (N=16, D=1, K=2)
    """
    measured = measure(
        codes,
        factors,
        discrete=discrete,
        bins=bins,
        factor_bins=factor_bins,
        estimator=estimator,
        rng=rng,
        unit=True,
    )
    information = measured.information
    # An estimate that need not stay below the entropy shall not lift the score above 1.
    nats = np.minimum(information.matrix, information.entropy)
    best = np.zeros(len(information.entropy))
    np.maximum.at(best, nats.argmax(axis=1), largest_gap(nats.T))
    return DCIMIGScore(
        float(best.sum() / information.entropy.sum()),
        measured.provenance("dcimig", "sum of factor entropies"),
        information=information.matrix,
        entropy=information.entropy,
        per_factor=best,
    )
