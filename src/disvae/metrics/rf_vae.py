"""The RF-VAE score, drawn from arrays by conditioning."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Discrete, Rng
from disvae.metrics.discretise import FACTOR_BINS
from disvae.metrics.draws import fixing_others
from disvae.metrics.score import Score
from disvae.metrics.votes import vote


@dataclass(frozen=True, eq=False, repr=False)
class RFVAEScore(Score):
    """The value of :func:`rf_vae_score`.

    Attributes:
        votes: How often each code varied most while each factor alone varied, over the training
            votes, shape (D, K).
        factor_of_code: The factor that the classifier gives for each code, -1 for a code without
            a vote, shape (D,).
    """

    name: ClassVar[str] = "RF-VAE score"

    votes: NDArray[np.intp]
    factor_of_code: NDArray[np.intp]


def rf_vae_score(
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
) -> RFVAEScore:
    r"""RF-VAE score: does the code that varies most tell which factor was varied?

    The counterpart of :func:`factor_vae_score`, also known as Z-max variance. A vote chooses a
    factor uniformly, holds *all the others* at their values in a row chosen uniformly, and draws
    ``batch_size`` rows with those values. It goes to the code

    .. math::
        d^* = \arg\max_d \; \mathrm{Var}_\mathrm{batch}(z_d) \,/\, \mathrm{Var}_\mathrm{all}(z_d).

    Each code stands for the factor that got most of its training votes; the score is the share of
    evaluation votes whose code stands for the factor that was varied. It is 1 for codes along the
    factors, and near 1/K for codes that know nothing. Codes of noise among others cost it votes:
    they vary in every batch as they do overall, and so does the code that is meant. Leave them
    out first.

    The arrays must hold rows that agree in all factors but one: a grid, or a good part of one.
    Rows are drawn with replacement among those that agree, and only where the chosen factor takes
    two values or more. Few rows that agree make for repeated draws: with codes of pure noise and
    groups of a few rows, a group always votes alike.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is not drawn at
            all, because every vote fixes or varies every factor.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        train_votes: Votes from which the classifier is made.
        eval_votes: Votes on which it is scored.
        batch_size: Rows of a vote.
        min_std: Codes with a smaller standard deviation are dropped, which depends on the scale
            of the codes. By default only codes that are constant up to rounding are dropped, and
            the score does not depend on the scale.
        factor_bins: Equal-width bins of a factor that is not discrete. Rows of one bin count as
            agreeing, so that wide bins let the other factors vary a little.
        rng: Seed or generator of the votes.

    Returns:
        The score, in [0, 1], with ``votes``, ``factor_of_code`` and ``provenance``. It is 0 if
        every code is dropped.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if there is one factor only, or no two rows differ in some
            factor alone.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - Relevance Factor VAE: Learning and Identifying Disentangled Factors (Kim et al., 2019),
          https://arxiv.org/abs/1902.01568
        - Measuring Disentanglement: A Review of Metrics (Carbonneau et al., 2020),
          https://arxiv.org/abs/2012.09276

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(6, size=(1000, 2))
        >>> score = rf_vae_score(codes=factors[:, ::-1], factors=factors)
        >>> print(score, score.factor_of_code)
        RF-VAE score 1.0000 (N=1000, D=2, K=2) [1 0]
    """
    majority, record = vote(
        "rf_vae_score",
        codes,
        factors,
        lambda labels, k: fixing_others(labels, k)[0],
        np.argmax,
        discrete=discrete,
        train_votes=train_votes,
        eval_votes=eval_votes,
        batch_size=batch_size,
        min_std=min_std,
        factor_bins=factor_bins,
        rng=rng,
    )
    return RFVAEScore(
        majority.score,
        record,
        votes=majority.votes,
        factor_of_code=majority.factor_of_code,
    )
