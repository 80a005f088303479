"""The FactorVAE score, drawn from arrays by conditioning."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.discretise import FACTOR_BINS
from disvae.metrics.draws import fixing_one
from disvae.metrics.score import Score
from disvae.metrics.votes import vote


@dataclass(frozen=True, eq=False, repr=False)
class FactorVAEScore(Score):
    """The value of :func:`factor_vae_score`.

    Attributes:
        votes: How often each code varied least while each factor was fixed, over the training
            votes, shape (D, K).
        factor_of_code: The factor that the classifier gives for each code, -1 for a code without
            a vote, shape (D,).
    """

    name: ClassVar[str] = "FactorVAE score"

    votes: NDArray[np.intp]
    factor_of_code: NDArray[np.intp]


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    train_votes: int = 5000,
    eval_votes: int = 2500,
    batch_size: int = 64,
    min_std: float | None = None,
    factor_bins: int = FACTOR_BINS,
    rng: Rng = 0,
) -> FactorVAEScore:
    r"""FactorVAE score: does the code that varies least tell which factor was held fixed?

    A vote fixes a factor chosen uniformly, at its value in a row chosen uniformly, and draws
    ``batch_size`` rows with that value. It goes to the code

    .. math::
        d^* = \arg\min_d \; \mathrm{Var}_\mathrm{batch}(z_d) \,/\, \mathrm{Var}_\mathrm{all}(z_d).

    Each code stands for the factor that got most of its training votes; the score is the share of
    evaluation votes whose code stands for the factor that was fixed. It is 1 for codes along the
    factors, and near 1/K for codes that know nothing. A factor that several codes
    carry costs nothing, as long as one of them is nearly fixed with it.

    The rows of a vote are drawn with replacement: fresh samples, as from a renderer, so that a
    value needs two rows only, and not ``batch_size``. A value that a single row has is not drawn.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is not drawn while
            that factor is fixed.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        train_votes: Votes from which the classifier is made.
        eval_votes: Votes on which it is scored.
        batch_size: Rows of a vote.
        min_std: Codes with a smaller standard deviation are dropped; 0.05 gives the published
            pruning, which depends on the scale of the codes. By default only codes that are
            constant up to rounding are dropped, and the score does not depend on the scale.
        factor_bins: Equal-width bins of a factor that is not discrete.
        rng: Seed or generator of the votes.

    Returns:
        The score, in [0, 1], with ``votes``, ``factor_of_code`` and ``provenance``. It is 0 if
        every code is dropped, as in the published implementation.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there is one factor only, or a factor whose values are
            all different.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Disentangling by Factorising (Kim & Mnih, 2018), https://arxiv.org/abs/1802.05983

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(6, size=(1000, 2))
        >>> score = factor_vae_score(codes=factors[:, ::-1], factors=factors)
        >>> print(score, score.factor_of_code)
        FactorVAE score 1.0000 (N=1000, D=2, K=2) [1 0]
    """
    majority, record = vote(
        "factor_vae_score",
        codes,
        factors,
        fixing_one,
        np.argmin,
        discrete=discrete,
        train_votes=train_votes,
        eval_votes=eval_votes,
        batch_size=batch_size,
        min_std=min_std,
        factor_bins=factor_bins,
        rng=rng,
    )
    return FactorVAEScore(
        majority.score,
        record,
        votes=majority.votes,
        factor_of_code=majority.factor_of_code,
    )
