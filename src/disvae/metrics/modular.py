"""Modularity."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.estimators import Estimator
from disvae.metrics.information import InformationScore, measure, require_two


@dataclass(frozen=True, eq=False, repr=False)
class ModularityScore(InformationScore):
    """The value of :func:`modularity`.

    Attributes:
        per_code: The value of each code, shape (D,), 0 where it is not counted.
        counted: The codes that know anything of any factor, shape (D,); the mean over them is the
            score.
    """

    name: ClassVar[str] = "modularity"

    per_code: NDArray[np.float64]
    counted: NDArray[np.bool_]


def modularity(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = FACTOR_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> ModularityScore:
    r"""Modularity: does each code depend on one factor at most?

    .. math::
        1 - \frac{1}{|C|} \sum_{d \in C} \frac{\sum_{k \ne k_d} I(z_d; v_k)^2}
        {(K - 1)\, I(z_d; v_{k_d})^2}, \qquad k_d = \arg\max_k I(z_d; v_k),

    over the codes C that know anything of any factor. A code that knows nothing is modular in no
    sense: it is left out. Published code counts a constant code as 0 (0.5 for five aligned codes
    beside five constant ones, 1 here) or divides by zero.

    It asks how exclusive a code is, not how much it knows. What looks like information of pure
    noise is as exclusive as it comes by chance, so that **independent codes score about 0.58**
    with five factors: read it beside its chance level. Nats are compared across factors as they
    are, so factors of many values weigh more than factors of few.

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
        The score, in [0, 1], with ``per_code``, ``counted``, ``information``, ``entropy``,
        ``provenance``. It is 0 if no code knows anything.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there is one factor only.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Learning Deep Disentangled Embeddings With the F-Statistic Loss (Ridgeway & Mozer,
          2018), https://arxiv.org/abs/1802.05312

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(4)), axis=-1).reshape(-1, 2)
        >>> both = factors[:, 0] + 4 * factors[:, 1]
        >>> dead = np.zeros(16)
        >>> print(modularity(np.column_stack([factors, both, dead]), factors).per_code)
        [1. 1. 0. 0.]
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
    require_two(measured.labels, "modularity")
    squares = information.matrix**2
    best = squares.max(axis=1)
    counted = best > 0
    others = (squares.sum(axis=1) - best) / (len(measured.labels) - 1)
    per_code = np.where(counted, 1 - others / np.where(counted, best, 1.0), 0.0)
    return ModularityScore(
        float(per_code[counted].mean()) if counted.any() else 0.0,
        measured.provenance("modularity", None, counted=np.flatnonzero(counted).tolist()),
        information=information.matrix,
        entropy=information.entropy,
        per_code=per_code,
        counted=counted,
    )
