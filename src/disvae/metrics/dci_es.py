"""Explicitness and size: what DCI-ES adds to DCI."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import Arrays, Discrete, Rng, check_arrays, check_count, resolve_rng
from disvae.metrics.discretise import Labels, Values, mix_factors
from disvae.metrics.draws import to_unit
from disvae.metrics.probes import fit_quietly, to_single
from disvae.metrics.score import NotDefinedError, provenance
from disvae.metrics.splits import Rows, Split, check_rows, random_split

DEPTHS = (1, 2, 3, 4, 8, 10, 12, 14, 16, 18, 20, 32)
"""Depths of the authors' random forests."""


class DCIES(NamedTuple):
    """The values of :func:`dci_es`.

    Attributes:
        explicitness: E: mean over factors, at most 1.
        size: S: factors over codes that are not constant.
        factor_explicitness: E of each factor, shape (K,).
        losses: The smallest loss on the test rows up to each depth, shape (depths, K).
        baselines: The loss of a guess, shape (K,).
        provenance: How the values were estimated.
    """

    explicitness: float
    size: float
    factor_explicitness: NDArray[np.float64]
    losses: NDArray[np.float64]
    baselines: NDArray[np.float64]
    provenance: dict[str, Any]


def dci_es(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    discrete: Discrete = None,
    depths: Sequence[int] = DEPTHS,
    train_rows: Rows = None,
    test_rows: Rows = None,
    rng: Rng = 0,
) -> DCIES:
    r"""Explicitness and size: how small a predictor suffices, and how many codes are spent?

    Predictors of growing capacity :math:`\kappa_1 < \dots < \kappa_P` are fitted, here random
    forests whose trees are cut off at growing depths. With the smallest loss
    :math:`\ell_i` reached on other rows up to :math:`\kappa_i`, and the loss
    :math:`\ell^b` of a guess, each factor has

    .. math::
        E_k = 1 - \frac{1}{Z} \sum_{i=1}^{P-1} (\kappa_{i+1} - \kappa_i)
        \Bigl( \frac{\ell_i + \ell_{i+1}}{2} - \ell_P \Bigr), \qquad
        Z = \tfrac12 (\kappa_P - \kappa_1)\, \ell^b .

    The loss is 1 - accuracy for a discrete factor of V classes, with :math:`\ell^b = 1 - 1/V`,
    and :math:`1 - R^2` for others, with :math:`\ell^b = 1`. E is 1 if the simplest predictor does
    as well as any, and falls the more capacity it takes. Z and the depths are those of the
    authors' code, which takes 0 for the smallest possible loss.

    **E does not ask whether anything is predicted at all: codes that know nothing score about 1.**
    Read it beside the informativeness of :func:`dci`.

    S is K over the number of codes, 1 where there is one code per factor.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows. NaN is a missing value: its row is left out for
            that factor.
        discrete: Whether each factor is discrete: one bool per column, or one for all. By default
            a column of whole numbers is, and so is one with five rows or more per distinct value.
        depths: Capacities, ascending.
        train_rows: Rows to fit on, drawn at random: a number of them, or a share such as 0.6.
            None takes 1,500, or 60 % where a factor is known at fewer than 2,500 rows.
        test_rows: Rows to test on, likewise. None takes 1,000, or 40 %.
        rng: Seed or generator of the rows and the forests.

    Returns:
        A tuple ``(explicitness, size, ...)``. A factor that is constant at the training rows has
        an E of 1.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.
        NotDefinedError: A ValueError; if every code is constant, or if there are too few rows to
            fit and to test on.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    References:
        - DCI-ES: An Extended Disentanglement Framework with Connections to Identifiability
          (Eastwood et al., 2023), https://arxiv.org/abs/2210.00364

    Example:
        >>> import numpy as np
        >>> factors = np.random.default_rng(0).integers(3, size=(400, 2))
        >>> found = dci_es(codes=factors, factors=factors, depths=(1, 2, 4, 8))
        >>> print(f"{found.explicitness:.2f} {found.size:.2f}")
        0.96 1.00
    """
    capacities = _check_depths(depths)
    check_rows("train_rows", train_rows)
    check_rows("test_rows", test_rows)
    generator, seed = resolve_rng(rng)
    arrays = check_arrays(codes, factors, discrete)
    known = mix_factors(arrays)
    width = int(arrays.active.sum())
    if not width:
        raise NotDefinedError(
            f"Expected at least one code that varies, but all {len(arrays.active)} are constant; "
            "check the encoder.",
            reason="all codes are constant",
        )
    order = generator.permutation(len(arrays.codes))
    seeds = generator.integers(2**31 - 1, size=len(known))
    splits = [
        random_split(factor.rows, order, train_rows, test_rows, k) for k, factor in enumerate(known)
    ]
    losses = np.empty((len(capacities), len(known)))
    for k, (factor, split) in enumerate(zip(known, splits, strict=True)):
        losses[:, k] = _losses(arrays, factor, split, capacities, int(seeds[k]))
    losses = np.minimum.accumulate(losses, axis=0)
    baselines = np.array(
        [1 - 1 / len(factor.sizes) if isinstance(factor, Labels) else 1.0 for factor in known]
    )
    excess = (losses[:-1] + losses[1:]) / 2 - losses[-1]
    area = np.diff(capacities) @ excess
    per_factor = 1 - area / (0.5 * (capacities[-1] - capacities[0]) * baselines)
    for array in (per_factor, losses, baselines):
        array.setflags(write=False)
    return DCIES(
        float(per_factor.mean()),
        len(known) / width,
        per_factor,
        losses,
        baselines,
        provenance(
            arrays,
            {
                "metric": "dci_es",
                "estimator": "scikit-learn random forest, 100 trees cut off at each depth",
                "depths": capacities.tolist(),
                "train_rows": [len(split.train) for split in splits],
                "test_rows": [len(split.test) for split in splits],
                "normaliser": "half the range of depths times the loss of a guess",
            },
            dropped=np.flatnonzero(~arrays.active).tolist(),
            seed=seed,
        ),
    )


def _check_depths(depths: Sequence[int]) -> NDArray[np.intp]:
    for depth in depths:
        check_count("each of depths", depth, minimum=1)
    array = np.array(depths, dtype=np.intp)
    if len(array) < 2 or (np.diff(array) <= 0).any():
        raise ValueError(
            f"Expected depths to be at least two ascending numbers, but got {depths!r:.80}; pass "
            "for instance (1, 2, 4, 8)."
        )
    return array


def _losses(
    arrays: Arrays, factor: Labels | Values, split: Split, depths: NDArray[np.intp], seed: int
) -> NDArray[np.float64]:
    """The loss on the test rows of forests of each depth, shape (depths,)."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    train, test = arrays.codes[factor.rows[split.train]], arrays.codes[factor.rows[split.test]]
    varies = arrays.active & (train.min(axis=0) < train.max(axis=0))
    train, test = to_single(train[:, varies], test[:, varies])
    settings = {"max_depth": int(depths[-1]), "random_state": seed}
    if isinstance(factor, Labels):
        classes, truth = factor.classes[split.train], factor.classes[split.test]
        if not varies.any() or classes.min() == classes.max():
            return np.full(len(depths), np.mean(truth != np.bincount(classes).argmax()))
        forest = fit_quietly(RandomForestClassifier(**settings), train, classes)
        votes = _predict_by_depth(forest, test, depths)
        return np.asarray((forest.classes_[votes.argmax(axis=2)] != truth).mean(axis=1))
    # In [0, 1], so that no square over- or underflows.
    values = to_unit(factor.values[:, None])[0][:, 0]
    target, actual = values[split.train], values[split.test]
    spread = ((actual - actual.mean()) ** 2).sum()
    if not varies.any() or target.min() == target.max() or not spread > 0:
        return np.ones(len(depths))
    forest = fit_quietly(RandomForestRegressor(**settings), train, target)
    means = _predict_by_depth(forest, test, depths)[:, :, 0]
    return np.asarray(((means - actual) ** 2).sum(axis=1) / spread)


def _predict_by_depth(
    forest: Any, test: NDArray[np.float64], depths: NDArray[np.intp]
) -> NDArray[np.float64]:
    """What the forest predicts if its trees are cut off at each depth: (depths, n, outputs).

    The splits down to a depth do not depend on what follows, so one forest does for all depths.
    """
    test = test.astype(np.float32)
    rows = np.arange(len(test))
    total: Any = 0.0
    for estimator in forest.estimators_:
        tree = estimator.tree_
        value = tree.value[:, 0]
        split_on = np.maximum(tree.feature, 0)
        node = np.zeros(len(test), dtype=np.intp)
        by_depth = []
        for depth in range(1, int(depths[-1]) + 1):
            left = test[rows, split_on[node]] <= tree.threshold[node]
            below = np.where(left, tree.children_left[node], tree.children_right[node])
            node = np.where(below >= 0, below, node)
            if depth in depths:
                by_depth.append(value[node])
        total = total + np.stack(by_depth)
    return np.asarray(total / len(forest.estimators_))
