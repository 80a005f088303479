"""One metric of a report: its values, their intervals, their chance levels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from disvae.metrics.arrays import Arrays
from disvae.metrics.findings import MetricRow
from disvae.metrics.score import NotDefinedError, Score
from disvae.metrics.suites import Metric

PERMUTATIONS = 5
_NORMAL_975 = 1.96


@runtime_checkable
class Fitted(Protocol):
    """What a metric returns that is too dear to be repeated: it resamples its own test rows."""

    def resampled(
        self, rng: np.random.Generator, replicates: int
    ) -> dict[str, NDArray[np.float64]]:
        """For each field that test rows decide, its values over resamples of them."""


@dataclass(frozen=True)
class Draws:
    """The seeds of a report's draws: every metric sees the same permutations and resamples."""

    seed: int
    chance: SeedSequence
    bootstrap: SeedSequence
    replicates: int


def measured(
    name: str, metric: Metric, arrays: Arrays, others: Mapping[str, NDArray[Any]], draws: Draws
) -> list[MetricRow]:
    """The rows of a metric: one, or one for each float of the NamedTuple that it returns."""
    try:
        result = _call(metric, arrays.codes, arrays.factors, arrays, draws.seed)
    except NotDefinedError as error:
        missing = dict.fromkeys(others)
        return [MetricRow(name, None, None, None, missing, error.reason)]
    scores = values(name, result)
    fitted = isinstance(result, Fitted)
    permuted = _repeated(
        name, metric, arrays, _permutations(arrays, draws.chance, 1 if fitted else PERMUTATIONS)
    )
    if isinstance(result, Fitted) and draws.replicates:
        rng = np.random.default_rng(draws.bootstrap)
        found = result.resampled(rng, draws.replicates)
        # a metric of one value has it under the name of its field
        resampled = {
            name if isinstance(result, Score) else f"{name} {field}": list(drawn)
            for field, drawn in found.items()
        }
    else:
        resampled = _repeated(
            name, metric, arrays, _resamples(arrays, draws.bootstrap, draws.replicates)
        )
    compared = {
        other: _values_there(name, metric, codes, arrays, draws.seed)
        for other, codes in others.items()
    }
    record = result.provenance if hasattr(result, "provenance") else None
    return [
        MetricRow(
            row,
            score,
            interval(score, resampled.get(row, []), draws.replicates),
            float(np.mean(permuted[row])) if permuted.get(row) else None,
            {other: there.get(row) for other, there in compared.items()},
            None,
            record,
            fitted,
        )
        for row, score in scores.items()
    ]


def values(name: str, result: object) -> dict[str, float]:
    """The rows that a metric's result fills: one, or one for each float of a NamedTuple.

    Raises:
        TypeError: If the result is neither.
        ValueError: If a number is not finite.
    """
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        parts = {
            f"{name} {field}": value
            for field, value in zip(result._fields, result, strict=True)
            if isinstance(value, float)
        }
    elif isinstance(result, float | int | np.number) and not isinstance(result, bool):
        parts = {name: result}  # type: ignore[dict-item]
    else:
        parts = {}
    if not parts:
        raise TypeError(
            f"Expected a metric to return one number, or a NamedTuple with floats, but "
            f"{name!r:.60} returned {type(result).__name__}; wrap it in a function that picks the "
            "number to report."
        )
    for row, value in parts.items():
        if not np.isfinite(value):
            raise ValueError(
                f"Expected a metric to return finite numbers, but {row!r:.80} is {value}; raise "
                "metrics.NotDefinedError where it has no value."
            )
    return parts


def _values_there(
    name: str, metric: Metric, codes: NDArray[Any], arrays: Arrays, seed: int
) -> dict[str, float]:
    """The values of other codes; none where the metric is not defined for them."""
    try:
        return values(name, _call(metric, codes, arrays.factors, arrays, seed))
    except NotDefinedError:
        return {}


def interval(score: float, resampled: list[float], replicates: int) -> tuple[float, float] | None:
    """95 % about the score, cut to the bounds; None where too few resamples have a value."""
    # With most resamples undefined (two rows, a class of one) what is left says little.
    if len(resampled) < 2 or 2 * len(resampled) < replicates:
        return None
    reach = _NORMAL_975 * float(np.std(resampled, ddof=1))
    if isinstance(score, Score):
        low, high = score.bounds
    else:
        # the bounds of a value in a tuple are not told; those within [0, 1] throughout have these
        inside = all(0 <= value <= 1 for value in (score, *resampled))
        low, high = (0.0, 1.0) if inside else (-np.inf, np.inf)
    return max(low, float(score) - reach), min(high, float(score) + reach)


def _call(
    metric: Metric, codes: NDArray[Any], factors: NDArray[Any], arrays: Arrays, seed: int
) -> object:
    return metric(codes, factors, discrete=arrays.discrete, rng=seed)


Drawn = tuple[np.random.Generator, NDArray[Any], NDArray[Any]]


def _permutations(arrays: Arrays, seed: SeedSequence, times: int) -> Iterator[Drawn]:
    for rng in _generators(seed, times):
        yield rng, arrays.codes, arrays.factors[rng.permutation(len(arrays.factors))]


def _resamples(arrays: Arrays, seed: SeedSequence, times: int) -> Iterator[Drawn]:
    for rng in _generators(seed, times):
        rows = rng.integers(len(arrays.codes), size=len(arrays.codes))
        yield rng, arrays.codes[rows], arrays.factors[rows]


def _generators(seed: SeedSequence, times: int) -> Iterator[np.random.Generator]:
    # not by spawn, which counts on: every metric is to see the same draws
    for k in range(times):
        key = (*seed.spawn_key, k)
        yield np.random.default_rng(SeedSequence(seed.entropy, spawn_key=key))


def _repeated(
    name: str, metric: Metric, arrays: Arrays, drawn: Iterator[Drawn]
) -> dict[str, list[float]]:
    """The values on arrays drawn anew; a draw for which the metric is not defined is left out."""
    found: dict[str, list[float]] = {}
    for rng, codes, factors in drawn:
        try:
            result = _call(metric, codes, factors, arrays, int(rng.integers(2**63)))
        except NotDefinedError:
            continue
        for row, value in values(name, result).items():
            found.setdefault(row, []).append(float(value))
    return found
