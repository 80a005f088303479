"""Several metrics at once, each beside its uncertainty and its chance level."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae.metrics.arrays import (
    Arrays,
    Discrete,
    Rng,
    check_arrays,
    check_count,
    check_names,
    resolve_rng,
)
from disvae.metrics.discretise import CODE_BINS, FACTOR_BINS
from disvae.metrics.factor_vae import factor_vae_score
from disvae.metrics.findings import FactorRow, MetricRow, Report
from disvae.metrics.gap import mig
from disvae.metrics.information import Discretised
from disvae.metrics.score import NotDefinedError, Score

Metric = Callable[..., float]
"""Called as ``metric(codes, factors, discrete=flags, rng=seed)``; gives one number."""

_STANDARD: dict[str, Metric] = {"MIG": mig, "FactorVAE score": factor_vae_score}

_PERMUTATIONS = 5
_NORMAL_975 = 1.96
# Binned information of independent pairs beyond this share of the entropy moves the scores.
_FEW_ROWS = 0.05


def report(
    codes: ArrayLike,
    factors: ArrayLike,
    names: Sequence[str] | None = None,
    metrics: str | Mapping[str, Metric] | Sequence[Metric] = "standard",
    *,
    discrete: Discrete = None,
    intervals: bool = True,
    compare: Mapping[str, ArrayLike] | None = None,
    replicates: int = 30,
    rng: Rng = 0,
) -> Report:
    r"""Measures codes by several metrics, with intervals and chance levels beside the scores.

    - *score*: ``metric(codes, factors, discrete=flags, rng=seed)``, with the seed that was passed.
    - *95 % interval*: score ± 1.96 standard errors, within the bounds of the metric. The standard
      error is the standard deviation over ``replicates`` resamples of the rows with replacement
      (the same for every metric), each with fresh votes where a metric votes. It is laid about
      the score itself because repeated rows bias binned information upwards in the resamples.
    - *chance*: mean over five permutations of the rows of the factors against those of the codes.
    - one more column for each entry of ``compare``: the score of those codes.
    - *share*, *gap*: for each factor the largest :math:`I(z_d; v_k)/H(v_k)` and its lead over the
      second, in the bins of :func:`mig`, beside the mean share of permuted factors. The code is
      named where it stands above chance in the sense of :func:`carried_factors`.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows, NaN where a value is missing.
        names: One name per factor; by default ``factor 0``, ``factor 1``, ...
        metrics: ``"standard"`` (MIG and FactorVAE score), or metric functions: a list, or a
            mapping from the name of a row to its function. A function of your own takes
            ``(codes, factors, *, discrete, rng)`` and returns a float.
        discrete: Whether each factor is discrete, as in :func:`mig`.
        intervals: Whether to compute the intervals, which take most of the time.
        compare: Other codes of the same rows by name, such as those of the untrained model.
        replicates: Resamples behind each interval.
        rng: Seed or generator.

    Returns:
        A report: print it, or take ``to_dict()``, ``to_markdown()``, ``to_json()``. A metric that
        is not defined for these factors says so in its row. A note warns where chance alone gives
        a code more than 0.05 of a factor's entropy: the rows are then too few for the bins.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a shape, length or value does not fit, or a factor is constant.

    Shape:
        - codes: ``(N, D)``
        - factors: ``(N, K)``

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> factors = rng.integers(5, size=(2000, 2))
        >>> codes = np.column_stack([factors, rng.normal(size=2000)])
        >>> found = report(codes, factors, ["size", "angle"], intervals=False)
        >>> print(str(found).split("Chance:")[0].strip())
        3 codes, 2 factors, 2000 rows
        <BLANKLINE>
        metric           score  chance
        MIG              0.985   0.010
        FactorVAE score  1.000   0.502
        <BLANKLINE>
        factor  carried by  share    gap  chance
        size        code 0  1.000  0.984   0.006
        angle       code 1  1.000  0.986   0.006
    """
    generator, seed = resolve_rng(rng)
    if seed is None:
        seed = int(generator.integers(2**63))
    if intervals:
        check_count("replicates", replicates, minimum=2)
    chosen = _chosen(metrics)
    arrays = check_arrays(codes, factors, discrete)
    names = check_names(names, arrays.factors.shape[1])
    others = _others(compare, arrays)
    known_seed, chance_seed, bootstrap_seed = np.random.SeedSequence(seed).spawn(3)
    factor_rows = _factor_rows(arrays, names, np.random.default_rng(known_seed))

    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, metric in chosen.items():
        try:
            scores[name] = _measure(metric, arrays.codes, arrays.factors, arrays.discrete, seed)
        except NotDefinedError as error:
            reasons[name] = error.reason
    defined = {name: chosen[name] for name in scores}
    permuted = _repeat(defined, arrays, chance_seed, _PERMUTATIONS, _permutation)
    resampled = (
        _repeat(defined, arrays, bootstrap_seed, replicates, _resample)
        if intervals
        else {name: [] for name in defined}
    )
    rows = tuple(
        MetricRow(
            name,
            scores.get(name),
            _interval_of(scores[name], resampled[name], replicates) if name in scores else None,
            float(np.mean(permuted[name])) if name in scores else None,
            {
                other: _measure(metric, array, arrays.factors, arrays.discrete, seed)
                if name in scores
                else None
                for other, array in others.items()
            },
            reasons.get(name),
        )
        for name, metric in chosen.items()
    )
    n, D = arrays.codes.shape
    notes = _notes(arrays, factor_rows, replicates if intervals else None)
    return Report(rows, factor_rows, notes, n, D, tuple(others), bool(intervals))


def _chosen(metrics: str | Mapping[str, Metric] | Sequence[Metric]) -> dict[str, Metric]:
    if isinstance(metrics, str):
        if metrics == "standard":
            return dict(_STANDARD)
        raise ValueError(
            f"Expected metrics to be 'standard', or metric functions, but got {metrics!r:.80}; "
            "pass for instance [metrics.mig]."
        )
    functions: list[Metric] = []
    if isinstance(metrics, Mapping):
        functions.extend(metrics.values())
    elif isinstance(metrics, list | tuple):
        functions.extend(metrics)
    if not functions:
        raise TypeError(
            "Expected metrics to be 'standard', a list of metric functions or a mapping to "
            f"them, but got {metrics!r:.80}; pass for instance [metrics.mig]."
        )
    for metric in functions:
        if not callable(metric):
            raise TypeError(
                "Expected functions metric(codes, factors, *, discrete, rng), but got "
                f"{metric!r:.80}; pass for instance [metrics.mig]."
            )
    if isinstance(metrics, Mapping):
        return dict(metrics)
    titles = {metric: title for title, metric in _STANDARD.items()}
    chosen: dict[str, Metric] = {}
    for metric in functions:
        name = titles.get(metric) or getattr(metric, "__name__", None)
        if name is None or name in chosen:
            raise ValueError(
                "Expected metric functions of different names, but got "
                f"{metric!r:.80} without a name of its own; pass a mapping such as "
                "{'MIG, 50 bins': functools.partial(mig, bins=50)}."
            )
        chosen[name] = metric
    return chosen


def _others(compare: Mapping[str, ArrayLike] | None, arrays: Arrays) -> dict[str, NDArray[Any]]:
    if compare is None:
        return {}
    if not isinstance(compare, Mapping):
        raise TypeError(
            f"Expected compare to map names to codes, but got {type(compare).__name__}; "
            "pass for instance {'untrained': other_codes}."
        )
    return {
        name: check_arrays(codes, arrays.factors, arrays.discrete).codes
        for name, codes in compare.items()
    }


def _measure(
    metric: Metric,
    codes: NDArray[Any],
    factors: NDArray[Any],
    discrete: NDArray[np.bool_],
    seed: int,
) -> float:
    score = metric(codes, factors, discrete=discrete, rng=seed)
    if not isinstance(score, float | int | np.number):
        raise TypeError(
            f"Expected a metric to return one number, but {metric!r:.80} returned "
            f"{type(score).__name__}; wrap it in a function that picks the number to report."
        )
    return score


def _permutation(rng: np.random.Generator, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    return arrays.codes, arrays.factors[rng.permutation(len(arrays.factors))]


def _resample(rng: np.random.Generator, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = rng.integers(len(arrays.codes), size=len(arrays.codes))
    return arrays.codes[rows], arrays.factors[rows]


def _repeat(
    metrics: Mapping[str, Metric],
    arrays: Arrays,
    seed: np.random.SeedSequence,
    times: int,
    redraw: Callable[[np.random.Generator, Arrays], tuple[NDArray[Any], NDArray[Any]]],
) -> dict[str, list[float]]:
    """Each metric on arrays drawn anew; a draw for which it is not defined is left out."""
    values: dict[str, list[float]] = {name: [] for name in metrics}
    for child in seed.spawn(times):
        rng = np.random.default_rng(child)
        codes, factors = redraw(rng, arrays)
        votes = int(rng.integers(2**63))
        for name, metric in metrics.items():
            try:
                value = _measure(metric, codes, factors, arrays.discrete, votes)
            except NotDefinedError:
                continue
            values[name].append(float(value))
    return values


def _interval_of(
    score: float, resampled: list[float], replicates: int
) -> tuple[float, float] | None:
    # With most resamples undefined (two rows, a class of one) what is left says little.
    if len(resampled) < 2 or 2 * len(resampled) < replicates:
        return None
    reach = _NORMAL_975 * float(np.std(resampled, ddof=1))
    low, high = score.bounds if isinstance(score, Score) else (-np.inf, np.inf)
    return max(low, float(score) - reach), min(high, float(score) + reach)


def _factor_rows(
    arrays: Arrays, names: tuple[str, ...], rng: np.random.Generator
) -> tuple[FactorRow, ...]:
    discretised = Discretised.of(arrays, CODE_BINS, FACTOR_BINS)
    information, chance = discretised.information(), discretised.chance(rng)
    best = information.share.argmax(axis=0)
    return tuple(
        FactorRow(
            name,
            int(best[k]) if chance.exceeded[best[k], k] else None,
            float(information.share[best[k], k]),
            float(information.gap[k]),
            float(chance.share[k]),
        )
        for k, name in enumerate(names)
    )


def _notes(
    arrays: Arrays, factors: tuple[FactorRow, ...], replicates: int | None
) -> tuple[str, ...]:
    notes = [f"Chance: mean over {_PERMUTATIONS} permutations of the factors' rows."]
    if replicates is not None:
        notes.append(
            f"Interval: score ± 1.96 standard errors over {replicates} resamples of the rows."
        )
    dropped = np.flatnonzero(~arrays.active)
    if len(dropped):
        notes.append(f"Constant codes: {', '.join(map(str, dropped))}.")
    worst = max(factors, key=lambda row: row.chance)
    if worst.chance > _FEW_ROWS:
        notes.append(
            f"Warning: {len(arrays.codes)} rows are few: by chance alone a code seems to know "
            f"{worst.chance:.3f} of the entropy of {worst.name}, and gaps come out too small by "
            "about as much."
        )
    return tuple(notes)
