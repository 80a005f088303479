"""How far codes are from independent, as if they were normal."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Rng, check_codes, resolve_rng
from disvae.metrics.draws import to_unit
from disvae.metrics.label_free import LabelFreeScore, label_free_provenance


@dataclass(frozen=True, eq=False, repr=False)
class GaussianTotalCorrelationScore(LabelFreeScore):
    """The value of :func:`gaussian_total_correlation`.

    Attributes:
        correlation: Correlation of the codes, 0 for constant ones, shape (D, D).
    """

    name: ClassVar[str] = "Gaussian total correlation"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    correlation: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class GaussianWassersteinScore(LabelFreeScore):
    """The value of :func:`gaussian_wasserstein`.

    Attributes:
        normalised: The score over the sum of the variances, which a common scale does not change;
            0 if every code is constant.
        covariance: Covariance of the codes, with N - 1 in the denominator, shape (D, D).
    """

    name: ClassVar[str] = "Gaussian Wasserstein"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    normalised: float
    covariance: NDArray[np.float64]


def gaussian_total_correlation(codes: ArrayLike, *, rng: Rng = 0) -> GaussianTotalCorrelationScore:
    r"""Total correlation of a normal distribution with the covariance of the codes.

    .. math::
        \mathrm{TC} = \frac12 \Bigl( \sum_d \ln \Sigma_{dd} - \ln \det \Sigma \Bigr)
        = -\frac12 \ln \det R

    in nats, R being the correlation matrix. It is 0 for uncorrelated codes and does not see other
    dependence. **It is infinite** if one code is a linear combination of others, up to the
    rounding of the dtype it comes in: two copies of a code, or no more rows than codes.
    Estimated from N rows it is too high by about :math:`D(D-1)/(4N)`.

    Args:
        codes: One row per data point, finite.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The total correlation, from 0 to infinity, with ``correlation`` and ``provenance``.
        Constant codes are left out; a single code has none.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the codes are not two-dimensional, empty, or not finite.

    Shape:
        - codes: ``(N, D)``

    References:
        - Challenging Common Assumptions in the Unsupervised Learning of Disentangled
          Representations (Locatello et al., 2019), https://arxiv.org/abs/1811.12359

    Example:
        >>> import numpy as np
        >>> x, y = np.random.default_rng(0).normal(size=(2, 10_000))
        >>> print(gaussian_total_correlation(np.column_stack([x, 0.6 * x + 0.8 * y])))
        Gaussian total correlation 0.2177 (N=10000, D=2)
        >>> gaussian_total_correlation(np.column_stack([x, y, 2 * x])).score
        inf
    """
    resolve_rng(rng)
    checked, active = check_codes(codes)
    N, D = checked.shape
    correlation, score = np.zeros((D, D)), 0.0
    if active.any():
        unit, width = to_unit(checked[:, active])
        deviation = unit.std(axis=0)
        standardised = (unit - unit.mean(axis=0)) / deviation
        correlation[np.ix_(active, active)] = standardised.T @ standardised / N
        # Singular values of the codes tell near copies apart where eigenvalues of R, their
        # squares, are lost in rounding.
        spread = np.linalg.svd(np.linalg.qr(standardised, mode="r"), compute_uv=False)
        spread /= np.sqrt(N)
        dtype = np.asarray(codes).dtype
        resolution = np.finfo(dtype if dtype.kind == "f" else np.float64).eps
        largest = np.abs(checked[:, active]).max(axis=0) / width / deviation
        singular = spread[-1] <= 2 * resolution * largest.max()
        # Not below 0 but for rounding; + 0.0 turns -0 into 0.
        score = np.inf if singular else max(0.0, -float(np.log(spread).sum())) + 0.0
    return GaussianTotalCorrelationScore(
        score,
        label_free_provenance(
            checked,
            active,
            {"metric": "gaussian_total_correlation", "estimator": "sample covariance"},
        ),
        correlation=correlation,
    )


def gaussian_wasserstein(codes: ArrayLike, *, rng: Rng = 0) -> GaussianWassersteinScore:
    r"""Squared 2-Wasserstein distance of normal codes from independent ones.

    The distance between a normal distribution with the covariance of the codes and the product
    of its marginals:

    .. math::
        W_2^2 = 2 \operatorname{tr} \Sigma - 2 \operatorname{tr}
        \bigl( \Lambda^{1/2} \Sigma \Lambda^{1/2} \bigr)^{1/2},
        \qquad \Lambda = \operatorname{diag} \Sigma.

    It is 0 for uncorrelated codes and finite for copies, but goes with the square of the scale
    of the codes; ``normalised`` is divided by :math:`\operatorname{tr} \Sigma`.

    Args:
        codes: One row per data point, finite.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The squared distance, at least 0, with ``normalised``, ``covariance`` and ``provenance``.
        Constant codes are left out; a single code has distance 0. The distance is infinite where
        it overflows (codes beyond 1e154), ``normalised`` never.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the codes are not two-dimensional, empty, or not finite.

    Shape:
        - codes: ``(N, D)``

    References:
        - Challenging Common Assumptions in the Unsupervised Learning of Disentangled
          Representations (Locatello et al., 2019), https://arxiv.org/abs/1811.12359

    Example:
        >>> import numpy as np
        >>> x, y = np.random.default_rng(0).normal(size=(2, 10_000))
        >>> print(gaussian_wasserstein(np.column_stack([x, 0.6 * x + 0.8 * y])))
        Gaussian Wasserstein 0.1980 (N=10000, D=2)
    """
    resolve_rng(rng)
    checked, active = check_codes(codes)
    covariance, normalised, score = np.zeros((checked.shape[1],) * 2), 0.0, 0.0
    if active.any():
        unit, width = to_unit(checked[:, active])
        # The widest code as the unit of length: nothing over- or underflows until the end.
        length = width.max()
        sigma = np.atleast_2d(np.cov(unit * (width / length), rowvar=False))
        variance = sigma.diagonal()
        root = np.sqrt(variance)
        eigenvalues = np.linalg.eigvalsh(sigma * root * root[:, None])
        crossed = np.sqrt(np.maximum(eigenvalues, 0)).sum()
        normalised = max(0.0, 2 - 2 * float(crossed / variance.sum()))
        with np.errstate(over="ignore"):
            covariance[np.ix_(active, active)] = sigma * length * length
            score = float(normalised * variance.sum() * length * length)
    return GaussianWassersteinScore(
        score,
        label_free_provenance(
            checked, active, {"metric": "gaussian_wasserstein", "estimator": "sample covariance"}
        ),
        normalised=normalised,
        covariance=covariance,
    )
