"""Which factor each code carries."""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from disvae.metrics.arrays import Discrete, Rng, check_arrays, check_names, resolve_rng
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.information import Discretised


def carried_factors(
    codes: ArrayLike,
    factors: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> list[str | None]:
    r"""Names, for each code, the factor that it knows most of; None where that is chance.

    The factor is :math:`\arg\max_k I(z_d; v_k)/H(v_k)`. It is named if that share stands above
    chance: above the highest that any code shows of any factor, against the mean of its own pair,
    in 50 random pairings of the rows of the codes with those of the factors. Among codes that
    know nothing, one is named about once in 50 times. Several codes may carry the same factor,
    and with many rows a code may be named for a small share: the shares themselves are
    ``mig(...).information / mig(...).entropy``.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows, NaN where a value is missing.
        names: One name per factor; by default ``factor 0``, ``factor 1``, ...
        discrete: Whether each factor is discrete, as in :func:`mig`.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete.
        rng: Seed or generator of the pairings.

    Returns:
        D names, in the order of the codes.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(5, size=(1000, 2))
        >>> noise = rng.normal(size=1000)
        >>> carried_factors(np.column_stack([factors[:, 1], noise]), factors, ["size", "angle"])
        ['angle', None]
    """
    generator, _ = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    names = check_names(names, arrays.factors.shape[1])
    discretised = Discretised.of(arrays, bins, factor_bins)
    best = discretised.information().share.argmax(axis=1)
    exceeded = discretised.chance(generator).exceeded
    return [names[k] if exceeded[d, k] else None for d, k in enumerate(best)]
