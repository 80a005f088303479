"""The FactorVAE score, drawn from arrays by conditioning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from disvae.metrics.arrays import Arrays, Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import FACTOR_BINS, Labels, label_factors
from disvae.metrics.score import NotDefinedError, Score, provenance

# Rows drawn at a time: bounds the memory, whatever the number of votes.
_DRAWS = 1 << 20


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
    check_count("train_votes", train_votes, minimum=1)
    check_count("eval_votes", eval_votes, minimum=1)
    check_count("batch_size", batch_size, minimum=2)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    if arrays.factors.shape[1] < 2:
        raise NotDefinedError(
            "Expected at least two factors to tell apart, but got one; with one factor every "
            "vote is right and the score says nothing, use mig instead.",
            reason="one factor",
        )
    labels = label_factors(arrays, factor_bins)
    kept = _kept(arrays, min_std)
    K = len(labels)
    votes = np.zeros((len(kept), K), dtype=np.intp)
    score = 0.0
    if kept.any():
        total = train_votes + eval_votes
        fixed = generator.integers(K, size=total)
        winner = np.empty(total, dtype=np.intp)
        for k, factor in enumerate(labels):
            winner[fixed == k] = _winners(
                arrays.codes[:, kept],
                _drawable(factor, k),
                int(np.count_nonzero(fixed == k)),
                batch_size,
                generator,
            )
        winner = np.flatnonzero(kept)[winner]
        np.add.at(votes, (winner[:train_votes], fixed[:train_votes]), 1)
        given = votes.argmax(axis=1)[winner[train_votes:]]
        score = float(np.mean(given == fixed[train_votes:]))
    return FactorVAEScore(
        score,
        provenance(
            arrays,
            {
                "metric": "factor_vae_score",
                "estimator": "majority vote, rows drawn with replacement",
                "train_votes": int(train_votes),
                "eval_votes": int(eval_votes),
                "batch_size": int(batch_size),
                "min_std": None if min_std is None else float(min_std),
                "factor_bins": int(factor_bins),
                "normaliser": "variance over all rows",
            },
            dropped=np.flatnonzero(~kept).tolist(),
            seed=seed,
        ),
        votes=votes,
        factor_of_code=np.where(votes.any(axis=1), votes.argmax(axis=1), -1),
    )


def _kept(arrays: Arrays, min_std: float | None) -> NDArray[np.bool_]:
    if min_std is None:
        return arrays.active
    if not (isinstance(min_std, float | int | np.number) and 0 <= min_std < np.inf):
        raise ValueError(
            f"Expected min_std to be None or a finite number of at least 0, but got {min_std!r}; "
            "pass 0.05 for the published pruning."
        )
    return arrays.active & (arrays.codes.std(axis=0, ddof=1) >= min_std)


def _drawable(factor: Labels, column: int) -> Labels:
    """The rows whose value of the factor is shared by another row."""
    shared = factor.sizes >= 2
    if not shared.any():
        raise NotDefinedError(
            f"Expected a value of factor column {column} that at least two rows share, but all "
            f"{len(factor.rows)} differ; pass more rows, or discrete=False to bin that factor.",
            reason=f"factor column {column} has no two rows alike",
        )
    if shared.all():
        return factor
    chosen = shared[factor.classes]
    classes = (np.cumsum(shared) - 1)[factor.classes[chosen]]
    return Labels(factor.rows[chosen], classes, factor.sizes[shared])


def _winners(
    codes: NDArray[np.float64],
    factor: Labels,
    votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """The code of the smallest local over global variance, for each vote that fixes the factor."""
    # Into [0, 1] first, so that no square over- or underflows whatever the scale of a code.
    low = codes.min(axis=0)
    scaled = codes - low
    scaled /= scaled.max(axis=0)
    global_variance = scaled.var(axis=0)
    # Class by class, with the first row of the class as origin: a code that its class fixes is
    # then exactly 0, and the difference of moments below does not cancel.
    order = np.argsort(factor.classes, kind="stable")
    start = np.cumsum(factor.sizes) - factor.sizes
    members = scaled[factor.rows[order]]
    members -= np.repeat(members[start], factor.sizes, axis=0)
    moments = np.concatenate([members, members**2], axis=1)
    winner = np.empty(votes, dtype=np.intp)
    for chunk, drawn in _draw(factor, start, votes, batch_size, rng):
        # A sparse matrix of draws times the moments sums each vote's rows without a copy of them.
        ends = np.arange(0, drawn.size + 1, batch_size)
        draws = sparse.csr_matrix(
            (np.ones(drawn.size), drawn.reshape(-1), ends), shape=(len(drawn), len(members))
        )
        first, second = np.split(draws @ moments / batch_size, 2, axis=1)
        winner[chunk] = ((second - first**2) / global_variance).argmin(axis=1)
    return winner


def _draw(
    factor: Labels,
    start: NDArray[np.intp],
    votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[tuple[slice, NDArray[np.intp]]]:
    """Positions among the members, sorted by class, of the rows of each vote: (votes, batch)."""
    value = factor.classes[rng.integers(len(factor.classes), size=votes)]
    at_once = max(1, _DRAWS // batch_size)
    for begin in range(0, votes, at_once):
        chunk = slice(begin, min(begin + at_once, votes))
        size, offset = factor.sizes[value[chunk], None], start[value[chunk], None]
        uniform = rng.random((len(size), batch_size))
        yield chunk, offset + (uniform * size).astype(np.intp)
