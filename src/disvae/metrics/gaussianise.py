"""Heavy-tailed codes made normal, before a score that supposes normal ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaln, erfinv, ndtri_exp

from disvae.metrics.arrays import check_codes

# Below this the incomplete beta function loses digits to underflow.
_TINY = 1e-280
_TERMS = 24


def student_t_to_normal(
    codes: ArrayLike, df: ArrayLike, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0
) -> NDArray[np.float64]:
    r"""Maps Student-t codes to standard normal ones, dimension by dimension.

    .. math::
        y_d = \Phi^{-1}\bigl( F_\nu((z_d - \mu_d) / \sigma_d) \bigr),

    with the distribution functions of the normal and of the Student-t distribution. The map is
    odd about :math:`\mu`, increasing, and accurate to 1e-12 relative to :math:`y` from the middle
    to the far tails, where the probabilities themselves underflow: no finite code becomes
    infinite. Scores that see order only (mutual information in quantile bins) do not change.

    Args:
        codes: One row per data point, finite.
        df: Degrees of freedom :math:`\nu`, positive, one for all codes or one per code;
            ``numpy.inf`` only standardises.
        loc: Centre :math:`\mu` of the distribution, one for all codes or one per code.
        scale: Its scale :math:`\sigma`, positive (not the standard deviation).

    Returns:
        Codes that are standard normal if the input is distributed as said, shape (N, D).

    Raises:
        TypeError: If the codes are not an array of numbers.
        ValueError: If a shape or value does not fit.

    Shape:
        - codes: ``(N, D)``
        - df, loc, scale: ``()`` or ``(D,)``

    References:
        - Disentangling Disentanglement in Variational Autoencoders (Mathieu et al., 2019),
          https://arxiv.org/abs/1812.02833

    Example:
        >>> import numpy as np
        >>> print(student_t_to_normal([[0.0, 1.0, -1e6]], df=3.0).round(4))
        [[ 0.      0.8578 -8.7463]]
    """
    checked, _ = check_codes(codes)
    D = checked.shape[1]
    freedom = _one_per_code("df", df, D)
    centre = _one_per_code("loc", loc, D)
    unit = _one_per_code("scale", scale, D)
    for name, values, allowed in (
        ("df", freedom, freedom > 0),
        ("loc", centre, np.isfinite(centre)),
        ("scale", unit, (unit > 0) & np.isfinite(unit)),
    ):
        if not allowed.all():
            wanted = "finite" if name == "loc" else "positive"
            raise ValueError(
                f"Expected {name} to be {wanted}, but got {values[~allowed][0]}; pass the "
                f"{name} of the Student-t distribution, one for all codes or one per code."
            )
    with np.errstate(over="ignore"):
        t = (checked - centre) / unit
    t = np.clip(t, -np.finfo(np.float64).max, np.finfo(np.float64).max)
    result = t.copy()
    for d in np.flatnonzero(np.isfinite(freedom)):
        result[:, d] = np.copysign(_normal_size(np.abs(t[:, d]), freedom[d]), t[:, d])
    return result


def _one_per_code(name: str, values: ArrayLike, D: int) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"Expected {name} to be a number or one number per code, but got dtype "
            f"{array.dtype}; pass for instance {name}=1.0."
        )
    if array.shape not in ((), (D,)):
        raise ValueError(
            f"Expected {name} to be a number or to have shape ({D},), but got {array.shape}; "
            "pass one number per code."
        )
    return np.broadcast_to(array.astype(np.float64), (D,))


def _normal_size(t: NDArray[np.float64], df: float) -> NDArray[np.float64]:
    """The normal quantile at the Student-t probability of t >= 0."""
    a, root = df / 2, np.sqrt(df)
    length = np.hypot(root, t)
    # Whichever of the two shares is below a half has all its digits, and so have the
    # probabilities made from it: that between -t and t, and, in the tail, that beyond.
    x, y = np.square(root / length), np.square(t / length)
    near = y < 0.5
    middle = np.empty_like(t)
    middle[near] = betainc(0.5, a, y[near])
    middle[~near] = betaincc(a, 0.5, x[~near])
    normal = np.sqrt(2.0) * erfinv(np.minimum(middle, 0.5))
    tail = middle > 0.5
    outside = np.zeros_like(t)
    outside[tail & near] = betaincc(0.5, a, y[tail & near])
    outside[tail & ~near] = betainc(a, 0.5, x[tail & ~near])
    far = tail & (outside < _TINY)
    log_outside = np.log(outside, where=tail & ~far, out=np.zeros_like(t))
    log_outside[far] = _log_far_outside(t[far], df)
    normal[tail] = -ndtri_exp(log_outside[tail] - np.log(2.0))
    return normal


def _log_far_outside(t: NDArray[np.float64], df: float) -> NDArray[np.float64]:
    r"""Log probability outside [-t, t], for t so large that the probability itself underflows.

    That is :math:`I_x(a, \frac12)` with :math:`a = \frac\nu2` and :math:`x = \nu / (\nu + t^2)`:

    .. math::
        I_x(a, \tfrac12) = \frac{x^a (1 - x)^{-1/2}}{a B(a, \frac12)}
        \sum_n \frac{(1/2)_n}{(a + 1)_n} \Bigl( -\frac{\nu}{t^2} \Bigr)^n,

    of which the first terms suffice there.
    """
    a, root = df / 2, np.sqrt(df)
    ratio = root / t
    step = -np.square(ratio)
    term, series = np.ones_like(t), np.ones_like(t)
    for n in range(_TERMS):
        term = term * step * (n + 0.5) / (a + 1 + n)
        series += term
    # log(1 + t²/ν), from the side where neither square over- nor underflows.
    log_length = np.where(
        ratio < 1,
        np.log1p(np.square(ratio)) - 2 * np.log(ratio),
        np.log1p(np.square(1 / np.maximum(ratio, 1.0))),
    )
    return -a * log_length + 0.5 * np.log1p(-step) - np.log(a) - betaln(a, 0.5) + np.log(series)
