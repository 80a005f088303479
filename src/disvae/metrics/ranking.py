"""Unsupervised disentanglement ranking: do models of the same data agree?"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import check_codes
from disvae.metrics.draws import to_unit
from disvae.metrics.score import NotDefinedError

_RELEVANCE = ("lasso", "spearman")


class UDR(NamedTuple):
    """How far models agree on their dimensions; see :func:`udr`.

    Attributes:
        scores: One score per model, the median of its agreement with the others, shape (M,).
        pairwise: Agreement of each pair of models, 0 on the diagonal, shape (M, M). With
            ``"lasso"``, row i predicts column j.
        relevance: ``relevance[i][j]`` holds how each dimension of model i (rows) goes with each
            of model j (columns); 0 for dimensions left out, and for i = j.
        provenance: How it was estimated.
    """

    scores: NDArray[np.float64]
    pairwise: NDArray[np.float64]
    relevance: tuple[tuple[NDArray[np.float64], ...], ...]
    provenance: dict[str, Any]


def udr(
    models: Sequence[ArrayLike],
    *,
    informative: Sequence[ArrayLike] | None = None,
    relevance: str = "lasso",
    alpha: float = 0.1,
) -> UDR:
    r"""Unsupervised disentanglement ranking: which of several models is most like the others?

    Disentangled models agree up to order and sign, entangled ones each in their own way. With
    :math:`R_{ab}` the relevance of dimension a of model i to dimension b of model j, informative
    dimensions only,

    .. math::
        \mathrm{UDR}_{ij} = \frac12 \Bigl( \frac1{D_j} \sum_b
        \frac{\max_a R_{ab}^2}{\sum_a R_{ab}} + \frac1{D_i} \sum_a
        \frac{\max_b R_{ab}^2}{\sum_b R_{ab}} \Bigr), \qquad
        \mathrm{UDR}_j = \operatorname{median}_{i \ne j} \mathrm{UDR}_{ij},

    0 for a dimension without any relevance. The relevance is either the absolute weight of a Lasso
    regression from model i to model j, both standardised, or the absolute Spearman correlation.
    A model gets 1 if most others have the same dimensions up to order, sign and (with
    ``"spearman"``) monotone functions; Lasso shrinks that to 1 - alpha. Compare models trained
    alike from several seeds, and see :func:`match` for which dimensions go together.

    Args:
        models: The codes of two models or more for the same rows.
        informative: For each model, which of its dimensions count, as one bool per dimension. The
            paper keeps those whose KL divergence from the prior exceeds 0.01. By default all do
            that are not constant: a dimension of noise lowers the score.
        relevance: ``"lasso"`` or ``"spearman"``, the paper's two.
        alpha: The penalty of the Lasso.

    Returns:
        ``scores``, ``pairwise``, ``relevance`` and ``provenance``. A model without an informative
        dimension agrees with none: 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit.
        NotDefinedError: A ValueError; if there are fewer than two models.

    Shape:
        - models: M arrays ``(N, D_m)``
        - informative: M arrays ``(D_m,)``

    References:
        - Unsupervised Model Selection for Variational Disentangled Representation Learning
          (Duan et al., 2020), https://arxiv.org/abs/1905.12614

    Example:
        >>> import numpy as np
        >>> a = np.random.default_rng(0).normal(size=(1000, 2))
        >>> rotated = a @ np.array([[1.0, -1.0], [1.0, 1.0]])
        >>> models = [a, a[:, ::-1], np.tanh(-a), rotated]
        >>> print(udr(models, relevance="spearman").scores.round(2))
        [0.98 0.98 0.98 0.36]
    """
    if relevance not in _RELEVANCE:
        raise ValueError(
            f"Expected relevance to be one of {', '.join(map(repr, _RELEVANCE))}, but got "
            f"{relevance!r:.80}; pass one of these."
        )
    if not (isinstance(alpha, float | int | np.number) and 0 < alpha < np.inf):
        raise ValueError(
            f"Expected alpha to be a positive number, but got {alpha!r:.80}; "
            "pass 0.1 for the published penalty."
        )
    checked = [check_codes(codes) for codes in models]
    M = len(checked)
    if M < 2:
        raise NotDefinedError(
            f"Expected the codes of two models or more, but got {M}; pass a list with one array "
            "per model, encoded from the same rows.",
            reason=f"{M} models",
        )
    rows = [len(codes) for codes, _ in checked]
    if len(set(rows)) > 1:
        raise ValueError(
            f"Expected all models to have the same number of rows, but got {min(rows)} and "
            f"{max(rows)}; encode the same data with every model."
        )
    kept = _informative(informative, [active for _, active in checked])
    prepared = [
        _standardised(codes[:, mask], relevance == "spearman")
        for (codes, _), mask in zip(checked, kept, strict=True)
    ]
    matrices = (
        _correlations(prepared) if relevance == "spearman" else _lasso_weights(prepared, alpha)
    )
    pairwise = np.array([[_agreement(matrix) for matrix in row] for row in matrices])
    np.fill_diagonal(pairwise, 0.0)
    others = ~np.eye(M, dtype=np.bool_)
    scores = np.array([np.median(pairwise[others[:, j], j]) for j in range(M)])
    for array in (scores, pairwise):
        array.setflags(write=False)
    return UDR(
        scores,
        pairwise,
        tuple(
            tuple(
                _spread_out(np.zeros_like(matrix) if i == j else matrix, kept[i], kept[j])
                for j, matrix in enumerate(row)
            )
            for i, row in enumerate(matrices)
        ),
        {
            "metric": "udr",
            "estimator": relevance,
            "alpha": float(alpha) if relevance == "lasso" else None,
            "n": rows[0],
            "codes": [len(mask) for mask in kept],
            "informative": [int(mask.sum()) for mask in kept],
        },
    )


def _informative(
    masks: Sequence[ArrayLike] | None, active: list[NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """The dimensions of each model that count: those said, less constant ones."""
    if masks is None:
        return active
    if len(masks) != len(active):
        raise ValueError(
            f"Expected informative to hold one mask for each of {len(active)} models, but got "
            f"{len(masks)}; pass one array of bools per model."
        )
    kept = []
    for m, (mask, varies) in enumerate(zip(masks, active, strict=True)):
        flags = np.asarray(mask)
        if flags.dtype != np.bool_ or flags.shape != varies.shape:
            raise ValueError(
                f"Expected informative[{m}] to be {len(varies)} bools, but got dtype "
                f"{flags.dtype} and shape {flags.shape}; pass for instance kl > 0.01."
            )
        kept.append(flags & varies)
    return kept


def _standardised(codes: NDArray[np.float64], ranks: bool) -> NDArray[np.float64]:
    if codes.shape[1] == 0:
        return codes
    if ranks:
        from scipy.stats import rankdata  # slow to import

        codes = rankdata(codes, axis=0)
    unit, _ = to_unit(codes)
    return (unit - unit.mean(axis=0)) / unit.std(axis=0)


def _correlations(models: list[NDArray[np.float64]]) -> list[list[NDArray[np.float64]]]:
    return [[np.abs(a.T @ b) / len(a) for b in models] for a in models]


def _lasso_weights(
    models: list[NDArray[np.float64]], alpha: float
) -> list[list[NDArray[np.float64]]]:
    """Absolute weights of each model's dimensions in the prediction of every other's."""
    from sklearn.linear_model import Lasso

    ends = np.cumsum([codes.shape[1] for codes in models])
    targets = np.concatenate(models, axis=1)
    matrices = []
    for codes in models:
        weights = np.zeros((codes.shape[1], ends[-1]))
        if weights.size:
            # Tighter than the default, so that the order of the dimensions does not show.
            lasso = Lasso(alpha, fit_intercept=False, precompute=True, max_iter=100_000, tol=1e-8)
            weights = np.abs(lasso.fit(codes, targets).coef_.reshape(ends[-1], -1).T)
        matrices.append(np.split(weights, ends[:-1], axis=1))
    return matrices


def _agreement(relevance: NDArray[np.float64]) -> float:
    """Relative strength of the most relevant dimension, mean over dimensions and both models."""
    if relevance.size == 0:
        return 0.0
    means = []
    for matrix in (relevance, relevance.T):
        total = matrix.sum(axis=0)
        strength = np.square(matrix.max(axis=0)) / np.where(total > 0, total, 1.0)
        means.append(strength.mean())
    return float(np.mean(means))


def _spread_out(
    matrix: NDArray[np.float64], rows: NDArray[np.bool_], columns: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The matrix among all dimensions, 0 for those left out; read-only."""
    full = np.zeros((len(rows), len(columns)))
    full[np.ix_(rows, columns)] = matrix
    full.setflags(write=False)
    return full
