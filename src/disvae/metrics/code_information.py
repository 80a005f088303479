"""The information that codes share among themselves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Rng, check_codes, resolve_rng
from disvae.metrics.discretise import CODE_BINS
from disvae.metrics.estimators import Estimator, choose
from disvae.metrics.label_free import LabelFreeScore, label_free_provenance


@dataclass(frozen=True, eq=False, repr=False)
class CodeMutualInformationScore(LabelFreeScore):
    """The value of :func:`code_mutual_information`.

    Attributes:
        information: Mutual information of each two codes in nats, with zeros for constant codes
            and for a code with itself, shape (D, D).
    """

    name: ClassVar[str] = "code mutual information"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    information: NDArray[np.float64]


def code_mutual_information(
    codes: ArrayLike,
    *,
    bins: int = CODE_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> CodeMutualInformationScore:
    r"""Mean mutual information of two codes, in nats: how far codes are from pairwise independent.

    .. math::
        \frac{1}{D(D-1)} \sum_{i \ne j} I(z_i; z_j)

    over codes that are not constant. It needs no factors. Independent codes score the bias of
    binned information, about :math:`(B-1)^2/(2N)` nats for B bins that are all in use: 0.025 for
    normal codes with 5,760 rows. It is at most the mean entropy of a binned code, below
    :math:`\ln B`.

    Args:
        codes: One row per data point, finite.
        bins: Equal-width bins of a code.
        estimator: How information is estimated instead of by ``bins``: :class:`EqualFrequency`,
            :class:`Neighbours`, or one of your own.
        rng: Seed or generator of the noise that breaks ties for :class:`Neighbours`; otherwise
            nothing is drawn.

    Returns:
        The mean, at least 0, with ``information`` and ``provenance``. Constant codes are left
        out; a single code shares nothing.

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
        >>> code = np.arange(1000) % 4
        >>> print(code_mutual_information(np.column_stack([code, -code])))
        code mutual information 1.3863 (N=1000, D=2)
    """
    generator, seed = resolve_rng(rng)
    chosen = choose(estimator, bins)
    array, active = check_codes(codes)
    A, D = int(active.sum()), len(active)
    matrix = np.zeros((D, D))
    if A >= 2:
        matrix[np.ix_(active, active)] = chosen.between(array.T[active], generator)
    record = label_free_provenance(
        array, active, {"metric": "code_mutual_information", **chosen.settings()}
    )
    return CodeMutualInformationScore(
        float(matrix.sum() / (A * (A - 1))) if A >= 2 else 0.0,
        {**record, "seed": seed if chosen.random else None},
        matrix,
    )
