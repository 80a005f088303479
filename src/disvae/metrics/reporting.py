"""Several metrics at once, each beside its uncertainty and its chance level."""

from collections.abc import Mapping, Sequence
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
from disvae.metrics.findings import FactorRow, MetricRow, Report
from disvae.metrics.information import Discretised
from disvae.metrics.measuring import PERMUTATIONS, Draws, measured
from disvae.metrics.suites import Metric, chosen

# Binned information of independent pairs beyond this share of the entropy moves the scores.
_FEW_ROWS = 0.05


def report(
    codes: ArrayLike,
    factors: ArrayLike,
    names: Sequence[str] | None = None,
    metrics: str | Mapping[str, Metric] | Sequence[str | Metric] = "standard",
    *,
    discrete: Discrete = None,
    intervals: bool = True,
    compare: Mapping[str, ArrayLike] | None = None,
    replicates: int = 30,
    preset: str | None = None,
    rng: Rng = 0,
) -> Report:
    r"""Measures codes by several metrics, with intervals and chance levels beside the scores.

    - *score*: ``metric(codes, factors, discrete=flags, rng=seed)``, with the seed that was passed.
      A metric of several values (a NamedTuple) has a row for each of its floats.
    - *95 % interval*: score ± 1.96 standard errors, within the bounds of the metric. The standard
      error is the standard deviation over ``replicates`` resamples of the rows with replacement
      (the same for every metric), each with fresh votes where a metric votes. It is laid about
      the score itself because repeated rows bias binned information upwards in the resamples. A
      metric that fits predictors (DCI) is fitted once: its resamples are of the test rows, so that
      what depends on the fit alone, its disentanglement and completeness, has no interval.
    - *chance*: mean over five permutations of the rows of the factors against those of the codes;
      of DCI, one.
    - one more column for each entry of ``compare``: the score of those codes.
    - *share*, *gap*: for each factor the largest :math:`I(z_d; v_k)/H(v_k)` and its lead over the
      second, in the bins of :func:`mig`, beside the mean share of permuted factors. The code is
      named where it stands above chance in the sense of :func:`carried_factors`.

    Args:
        codes: One row per data point, finite.
        factors: Ground truth of the same rows, NaN where a value is missing.
        names: One name per factor; by default ``factor 0``, ``factor 1``, ...
        metrics: ``"standard"`` (MIG, modularity, SAP, DCI, β-VAE and FactorVAE score), ``"all"``,
            a list of metrics by function or by name (``["mig", metrics.dci]``), or a mapping from
            the name of a row to a function. A function of your own takes
            ``(codes, factors, *, discrete, rng)`` and returns a float, or a NamedTuple with floats
            in it.
        discrete: Whether each factor is discrete, as in :func:`mig`.
        intervals: Whether to compute the intervals, which take most of the time.
        compare: Other codes of the same rows by name, such as those of the untrained model.
        replicates: Resamples behind each interval.
        preset: ``"locatello2019"`` for the standard metrics with exactly the settings of that
            study: 10,000 rows or votes to fit and 5,000 to score, 20 bins, scikit-learn's gradient
            boosting for DCI (minutes), 64 rows a vote, and codes of a standard deviation below 0.05
            pruned in the FactorVAE score.
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
        >>> found = report(codes, factors, ["size", "angle"], ["mig", "sap"], intervals=False)
        >>> print(str(found).split("Chance:")[0].strip())
        3 codes, 2 factors, 2000 rows
        <BLANKLINE>
        metric  score  chance
        MIG     0.985   0.010
        SAP     0.992   0.011
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
    suite = chosen(metrics, preset)
    arrays = check_arrays(codes, factors, discrete)
    names = check_names(names, arrays.factors.shape[1])
    others = _others(compare, arrays)
    known_seed, chance_seed, bootstrap_seed = np.random.SeedSequence(seed).spawn(3)
    factor_rows = _factor_rows(arrays, names, np.random.default_rng(known_seed))
    draws = Draws(seed, chance_seed, bootstrap_seed, replicates if intervals else 0)
    rows = tuple(
        row
        for name, metric in suite.items()
        for row in measured(name, metric, arrays, others, draws)
    )
    n, D = arrays.codes.shape
    notes = _notes(arrays, factor_rows, rows, replicates if intervals else None)
    return Report(rows, factor_rows, notes, n, D, tuple(others), bool(intervals))


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
    arrays: Arrays,
    factors: tuple[FactorRow, ...],
    rows: tuple[MetricRow, ...],
    replicates: int | None,
) -> tuple[str, ...]:
    notes = [f"Chance: mean over {PERMUTATIONS} permutations of the factors' rows."]
    if replicates is not None:
        notes.append(
            f"Interval: score ± 1.96 standard errors over {replicates} resamples of the rows."
        )
    fitted = [row.name for row in rows if row.fitted]
    if fitted:
        notes.append(
            f"Fitted once, and once for chance: {', '.join(fitted)}. Their intervals are over "
            "resamples of the test rows; what the fit alone decides has none."
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
