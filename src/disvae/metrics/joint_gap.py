"""The joint entropy minus mutual information gap."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.counting import joint_entropy
from disvae.metrics.discretise import CODE_BINS
from disvae.metrics.estimators import Binning, Estimator, choose
from disvae.metrics.information import InformationScore, largest_gap, measure, unit_codes

# Nats within which two codes know equally much of a factor.
_TIE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class JEMMIGScore(InformationScore):
    """The value of :func:`jemmig`.

    Attributes:
        per_factor: The normalised value of each factor, shape (K,); their mean is the score.
        nats: The value of each factor as the paper has it, before it is normalised: 0 is best,
            shape (K,). All 0 if every code is constant.
    """

    name: ClassVar[str] = "JEMMIG"

    per_factor: NDArray[np.float64]
    nats: NDArray[np.float64]


def jemmig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    bins: int = CODE_BINS,
    factor_bins: int = CODE_BINS,
    estimator: Estimator | None = None,
    rng: Rng = 0,
) -> JEMMIGScore:
    r"""JEMMIG: is each factor known to one code, which holds nothing else?

    .. math::
        \mathrm{JEMMIG}_k = H(z_{d_k}, v_k) - I(z_{d_k}; v_k) + \max_{d \ne d_k} I(z_d; v_k),
        \qquad d_k = \arg\max_d I(z_d; v_k).

    The paper's value is a cost in nats, between 0 and :math:`H(v_k) + \ln B` for B bins of a
    code. The score is the mean over factors of one minus its part of that. It takes in what
    :func:`mig` leaves out: a code that knows its factor and varies otherwise costs its own
    entropy. It therefore depends on the bins, and no code with noise in it reaches 1. As in the
    code of the review by Carbonneau et al., codes are mapped to [0, 1] before they are binned,
    which decides in which bin values on an edge fall.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor. A discrete factor is used as it is.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        bins: Equal-width bins of a code.
        factor_bins: Equal-width bins of a factor that is not discrete; by default as many as of a
            code, as in the review.
        estimator: Other bins of a code, such as :class:`EqualFrequency`. Neighbours give no joint
            entropy.
        rng: Nothing is drawn here; accepted because every metric is called alike.

    Returns:
        The score, in [0, 1], with ``per_factor``, ``nats``, ``information``, ``entropy``,
        ``provenance``. With a single code the last term is 0. If every code is constant it is 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Theory and Evaluation Metrics for Learning Disentangled Representations (Do & Tran,
          2020), https://arxiv.org/abs/1908.09961
        - Measuring Disentanglement: A Review of Metrics (Carbonneau et al., 2020), for the
          normalised form, https://arxiv.org/abs/2012.09276

    Example:
        >>> import numpy as np
        >>> factors = np.stack(np.meshgrid(range(4), range(4)), axis=-1).reshape(-1, 2)
        >>> print(jemmig(codes=factors, factors=factors))
        JEMMIG 1.0000 (N=16, D=2, K=2)
        >>> both = factors[:, :1] + 4 * factors[:, 1:]  # ln 16 nats for ln 4 of each factor
        >>> print(jemmig(codes=both, factors=factors).nats / np.log(2))
        [2. 2.]
    """
    chosen = choose(estimator, bins)
    if not isinstance(chosen, Binning):
        raise TypeError(
            "Expected estimator to be metrics.EqualWidth or metrics.EqualFrequency, because "
            f"JEMMIG needs the entropy of a binned code, but got {estimator!r:.80}; pass one of "
            "these, or bins=20."
        )
    measured = measure(
        codes,
        factors,
        discrete=discrete,
        bins=CODE_BINS,
        factor_bins=factor_bins,
        estimator=chosen,
        rng=rng,
        unit=True,
    )
    information = measured.information
    known, H = information.matrix, information.entropy
    nats, per_factor = np.zeros(len(H)), np.zeros(len(H))
    if measured.arrays.active.any():
        joint = np.full(known.shape, np.inf)
        joint[measured.arrays.active] = joint_entropy(
            chosen.bin(unit_codes(measured.arrays)), measured.labels
        )
        # Of codes that know equally much, the one with the least of its own.
        tied = known >= known.max(axis=0) - _TIE
        nats = np.where(tied, joint, np.inf).min(axis=0) - largest_gap(known)
        per_factor = 1 - nats / (H + np.log(chosen.bins))
    return JEMMIGScore(
        float(per_factor.mean()),
        measured.provenance("jemmig", "factor entropy + log bins"),
        information=known,
        entropy=H,
        per_factor=per_factor,
        nats=nats,
    )
