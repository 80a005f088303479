"""The matrix of mutual information itself."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS, label_factors, mix_factors
from disvae.metrics.estimators import Estimator, choose
from disvae.metrics.information import varying


def mutual_information(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int | None = FACTOR_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> NDArray[np.float64]:
    r"""Mutual information of each code and each factor, in nats.

    What :func:`mig` and its kin are made of. With ``estimator=Neighbours(k)`` an entry for a
    discrete factor is what scikit-learn's ``mutual_info_classif`` gives for that pair, and with
    ``factor_bins=None`` an entry for a continuous one is that of ``mutual_info_regression``.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete. None leaves it continuous,
            which only an estimator without bins can take: information is then not bounded by an
            entropy, and grows with the number of rows where a code determines the factor.
        estimator: How information is estimated instead of by ``bins``: :class:`EqualFrequency`,
            :class:`Neighbours`, or one of your own.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`; otherwise
            nothing is drawn.

    Returns:
        Shape (D, K); 0 for a constant code.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Elements of Information Theory, chapter 2 (Cover & Thomas, 2006),
          https://doi.org/10.1002/047174882X

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(8)), axis=-1).reshape(-1, 2)
        >>> mutual_information(factors[:, ::-1], factors).round(3)
        array([[0.   , 2.079],
               [1.386, 0.   ]])
    """
    generator, _ = resolve_rng(rng)
    chosen = choose(estimator, bins)
    arrays = check_arrays(codes, factors, discrete)
    known = mix_factors(arrays) if factor_bins is None else label_factors(arrays, factor_bins)
    matrix = np.zeros((len(arrays.active), len(known)))
    if arrays.active.any():
        matrix[arrays.active] = chosen.information(varying(arrays), known, generator)
    return matrix
