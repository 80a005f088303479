"""The dimensions of one model matched to those of another."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from disvae.metrics.arrays import check_codes
from disvae.metrics.draws import to_unit


class Match(NamedTuple):
    """Which dimension of b goes with each dimension of a; see :func:`match`.

    Attributes:
        permutation: The dimension of b for each of a, -1 without one, shape (D_a,).
        sign: The sign of their correlation: -1, 0 or 1, and 0 without a partner, shape (D_a,).
        correlation: Its absolute value, 0 without a partner, shape (D_a,).
    """

    permutation: NDArray[np.intp]
    sign: NDArray[np.intp]
    correlation: NDArray[np.float64]


def match(codes_a: ArrayLike, codes_b: ArrayLike, *, ranks: bool = False) -> Match:
    r"""Aligns the dimensions of two models that encoded the same rows.

    Of all one-to-one assignments :math:`\pi`, that with the largest
    :math:`\sum_d |\mathrm{corr}(a_d, b_{\pi(d)})|`. With it

    ``codes_b[:, found.permutation] * found.sign``

    stands in the order and with the signs of ``codes_a``; a dimension without a partner, or with
    one that it is not correlated with, comes out as zeros.

    Args:
        codes_a: Codes of one model, finite.
        codes_b: Codes of another model for the same rows, finite. Where one model has fewer
            dimensions, all of its dimensions get a partner and the other's rest gets none.
        ranks: Whether to correlate ranks (Spearman) instead of values (Pearson): a monotone
            function of a code then goes with it as well as the code itself.

    Returns:
        ``permutation``, ``sign`` and ``correlation``. A constant code is correlated with nothing;
        it gets a partner only if one is left over.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the codes do not fit together, or are not finite.

    Shape:
        - codes_a: ``(N, D_a)``
        - codes_b: ``(N, D_b)``

    Example:
        >>> import numpy as np
        >>> a = np.random.default_rng(0).normal(size=(100, 3))
        >>> found = match(a, a[:, [2, 0, 1]] * [1.0, -1.0, 0.5])
        >>> print(found.permutation, found.sign)
        [1 2 0] [-1  1  1]
    """
    a, b = _standardised(codes_a, ranks), _standardised(codes_b, ranks)
    if len(a) != len(b):
        raise ValueError(
            "Expected codes_a and codes_b to have the same number of rows, but got "
            f"{len(a)} and {len(b)}; encode the same data with both models."
        )
    signed = np.clip(a.T @ b / len(a), -1.0, 1.0)
    rows, columns = linear_sum_assignment(np.abs(signed), maximize=True)
    permutation = np.full(a.shape[1], -1)
    permutation[rows] = columns
    found = np.zeros(a.shape[1])
    found[rows] = signed[rows, columns]
    result = Match(permutation, np.sign(found).astype(np.intp), np.abs(found))
    for array in result:
        array.setflags(write=False)
    return result


def _standardised(codes: ArrayLike, ranks: bool) -> NDArray[np.float64]:
    """Codes of mean 0 and variance 1; a constant code is 0."""
    checked, active = check_codes(codes)
    result: NDArray[Any] = np.zeros_like(checked)
    varying = checked[:, active]
    if ranks:
        from scipy.stats import rankdata  # slow to import

        varying = rankdata(varying, axis=0)
    unit, _ = to_unit(varying)
    result[:, active] = (unit - unit.mean(axis=0)) / unit.std(axis=0)
    return result
