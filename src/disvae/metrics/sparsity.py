"""The Hoyer sparsity of codes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from disvae.metrics.arrays import Rng, check_codes, resolve_rng
from disvae.metrics.draws import to_unit
from disvae.metrics.label_free import LabelFreeScore, label_free_provenance
from disvae.metrics.score import NotDefinedError


@dataclass(frozen=True, eq=False, repr=False)
class HoyerSparsityScore(LabelFreeScore):
    """The value of :func:`hoyer_sparsity`.

    Attributes:
        gaussian: What as many independent normal codes of mean 0 would score.
        per_row: The sparsity of each row, NaN for a row of zeros, shape (N,).
    """

    name: ClassVar[str] = "Hoyer sparsity"

    gaussian: float
    per_row: NDArray[np.float64]


def hoyer_sparsity(codes: ArrayLike, *, rng: Rng = 0) -> HoyerSparsityScore:
    r"""Hoyer sparsity: how few codes does a data point use?

    Each code is divided by its standard deviation (a code that has collapsed would else pass for
    a sparse one), and

    .. math::
        \mathrm{Sparsity} = \frac1N \sum_n
        \frac{\sqrt D - \|\bar z_n\|_1 / \|\bar z_n\|_2}{\sqrt D - 1}, \qquad
        \bar z_{nd} = z_{nd} / \sigma(z_d).

    A row with one code other than 0 has sparsity 1, a row of codes of equal size 0. Dense normal
    codes are not at 0: ``gaussian`` is the value of :math:`\mathcal N(0, I_D)`, where
    :math:`\mathrm E \|z\|_1 / \|z\|_2 = \tfrac{D}{\sqrt\pi}\,
    \Gamma(\tfrac D2) / \Gamma(\tfrac{D+1}2)`, about 0.27 at ten codes.

    Codes are not centred: zero is where a code says nothing, so that a shift changes the score.

    Args:
        codes: One row per data point, finite.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The mean sparsity, in [0, 1], with ``gaussian``, ``per_row`` and ``provenance``. Constant
        codes are left out of D, and rows of zeros out of the mean.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the codes are not two-dimensional, empty, or not finite.
        NotDefinedError: A ValueError; if fewer than two codes vary.

    Shape:
        - codes: ``(N, D)``

    References:
        - Disentangling Disentanglement in Variational Autoencoders (Mathieu et al., 2019),
          https://arxiv.org/abs/1812.02833
        - Comparing Measures of Sparsity (Hurley & Rickard, 2009),
          https://arxiv.org/abs/0811.4706

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> dense = hoyer_sparsity(rng.normal(size=(10_000, 10)))
        >>> print(f"{dense:.3f} {dense.gaussian:.3f}")
        0.266 0.266
        >>> sparse = hoyer_sparsity(rng.normal(size=(1000, 10)) * (rng.random((1000, 10)) < 0.2))
        >>> sparse > 0.7
        True
    """
    resolve_rng(rng)
    checked, active = check_codes(codes)
    D = int(active.sum())
    if D < 2:
        raise NotDefinedError(
            f"Expected at least two codes that vary, but got {D}; sparsity compares the codes of "
            "a row with one another, so pass codes of two dimensions or more.",
            reason=f"{D} codes vary",
        )
    unit, width = to_unit(checked[:, active])
    size = np.abs(checked[:, active]) / width / unit.std(axis=0)
    used = size.any(axis=1)
    size[used] /= size[used].max(axis=1, keepdims=True)
    root = np.sqrt(D)
    per_row = np.full(len(size), np.nan)
    ratio = size[used].sum(axis=1) / np.sqrt(np.square(size[used]).sum(axis=1))
    per_row[used] = np.clip((root - ratio) / (root - 1), 0.0, 1.0)
    record = label_free_provenance(
        checked,
        active,
        {
            "metric": "hoyer_sparsity",
            "estimator": "mean over rows",
            "normaliser": "standard deviation of each code",
        },
    )
    return HoyerSparsityScore(
        float(per_row[used].mean()),
        {**record, "zero_rows": int(np.count_nonzero(~used))},
        gaussian=_gaussian_sparsity(D),
        per_row=per_row,
    )


def _gaussian_sparsity(D: int) -> float:
    """Of independent normal codes: their direction, and so the ratio, is free of their length."""
    ratio = D / np.sqrt(np.pi) * np.exp(gammaln(D / 2) - gammaln((D + 1) / 2))
    return float((np.sqrt(D) - ratio) / (np.sqrt(D) - 1))
