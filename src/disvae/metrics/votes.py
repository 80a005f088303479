"""The vote of codes for factors by their variance, and the majority that makes it a score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from disvae.metrics.arrays import Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import Labels, label_factors
from disvae.metrics.draws import draw_batches, kept_codes, require_two_factors, to_unit
from disvae.metrics.score import provenance

Pick = Callable[..., NDArray[np.intp]]
"""``numpy.argmin`` or ``numpy.argmax``: which code of a vote wins."""


@dataclass(frozen=True)
class Majority:
    """Votes of codes for factors, and what they come to.

    Attributes:
        score: The share of evaluation votes that the majority of training votes foretells.
        votes: Training votes, shape (D, K).
        factor_of_code: The factor that each code stands for, -1 without a vote, shape (D,).
    """

    score: float
    votes: NDArray[np.intp]
    factor_of_code: NDArray[np.intp]


def vote(
    metric: str,
    codes: ArrayLike,
    factors: ArrayLike,
    group: Callable[[tuple[Labels, ...], int], Labels],
    pick: Pick,
    *,
    discrete: Discrete,
    train_votes: int,
    eval_votes: int,
    batch_size: int,
    min_std: float | None,
    factor_bins: int,
    rng: Rng,
) -> tuple[Majority, dict[str, Any]]:
    """Checks what a voting metric is given, lets the codes vote, and records how.

    Args:
        metric: The metric's name for the record.
        codes: As the metric was given them, like the factors and every keyword.
        factors: The ground truth.
        group: From the labels and the number of a factor, the rows of its batches.
        pick: Which code wins a vote.
        discrete: Which factors are classes.
        train_votes: Votes from which each code gets its factor.
        eval_votes: Votes on which it is scored.
        batch_size: Rows of a vote.
        min_std: Codes with a smaller standard deviation are dropped.
        factor_bins: Bins of a continuous factor.
        rng: Seed or generator of the votes.
    """
    check_count("train_votes", train_votes, minimum=1)
    check_count("eval_votes", eval_votes, minimum=1)
    check_count("batch_size", batch_size, minimum=2)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    labels = label_factors(arrays, factor_bins)
    require_two_factors(labels)
    kept = kept_codes(arrays, min_std)
    majority = majority_vote(
        arrays.codes,
        kept,
        [group(labels, k) for k in range(len(labels))],
        pick,
        train_votes=train_votes,
        eval_votes=eval_votes,
        batch_size=batch_size,
        rng=generator,
    )
    settings = {
        "metric": metric,
        "estimator": "majority vote, rows drawn with replacement",
        "train_votes": int(train_votes),
        "eval_votes": int(eval_votes),
        "batch_size": int(batch_size),
        "min_std": None if min_std is None else float(min_std),
        "factor_bins": int(factor_bins),
        "normaliser": "variance over all rows",
    }
    dropped = np.flatnonzero(~kept).tolist()
    return majority, provenance(arrays, settings, dropped=dropped, seed=seed)


def majority_vote(
    codes: NDArray[np.float64],
    kept: NDArray[np.bool_],
    groups: Sequence[Labels],
    pick: Pick,
    *,
    train_votes: int,
    eval_votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Majority:
    """Lets the codes vote for the factor that an intervention is about.

    Args:
        codes: Shape (N, D).
        kept: The codes that take part, shape (D,). Without any, the score is 0.
        groups: For each factor, the rows among which its batches are drawn.
        pick: Which code wins a vote, by its variance in the batch over that in all rows.
        train_votes: Votes from which each code gets its factor.
        eval_votes: Votes on which it is scored.
        batch_size: Rows of a vote.
        rng: Generator of the votes.
    """
    K = len(groups)
    votes = np.zeros((len(kept), K), dtype=np.intp)
    if not kept.any():
        return Majority(0.0, votes, np.full(len(kept), -1))
    chosen = rng.integers(K, size=train_votes + eval_votes)
    winner = np.empty(len(chosen), dtype=np.intp)
    for k, group in enumerate(groups):
        count = int(np.count_nonzero(chosen == k))
        winner[chosen == k] = _winners(codes[:, kept], group, pick, count, batch_size, rng)
    winner = np.flatnonzero(kept)[winner]
    np.add.at(votes, (winner[:train_votes], chosen[:train_votes]), 1)
    foretold = votes.argmax(axis=1)
    right = foretold[winner[train_votes:]] == chosen[train_votes:]
    return Majority(float(right.mean()), votes, np.where(votes.any(axis=1), foretold, -1))


def _winners(
    codes: NDArray[np.float64],
    groups: Labels,
    pick: Pick,
    votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """The code of the smallest or largest local over global variance, for each vote."""
    scaled, _ = to_unit(codes)
    global_variance = scaled.var(axis=0)
    # Group by group, with the first row of the group as origin: a code that its group fixes is
    # then exactly 0, and the difference of moments below does not cancel.
    start = np.cumsum(groups.sizes) - groups.sizes
    members = scaled[groups.rows[np.argsort(groups.classes, kind="stable")]]
    members -= np.repeat(members[start], groups.sizes, axis=0)
    moments = np.concatenate([members, members**2], axis=1)
    winner = np.empty(votes, dtype=np.intp)
    for chunk, drawn in draw_batches(groups, votes, batch_size, rng):
        # A sparse matrix of draws times the moments sums each vote's rows without a copy of them.
        ends = np.arange(0, drawn.size + 1, batch_size)
        draws = sparse.csr_matrix(
            (np.ones(drawn.size), drawn.reshape(-1), ends), shape=(len(drawn), len(members))
        )
        first, second = np.split(draws @ moments / batch_size, 2, axis=1)
        winner[chunk] = pick((second - first**2) / global_variance, axis=1)
    return winner
