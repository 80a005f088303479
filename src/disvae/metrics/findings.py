"""What a report found, and how it is shown."""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from disvae.metrics.table import Table


@dataclass(frozen=True)
class MetricRow:
    """One metric of a report.

    Attributes:
        name: What the table calls it.
        score: Its value, as the metric returned it; None if it is not defined.
        interval: 95 % interval; None if it was not asked for or cannot be had.
        chance: Its mean over permuted factors; None if it is not defined.
        compare: Its value for each set of other codes.
        reason: Why it is not defined; None if it is.
        provenance: How the metric was computed; None if it does not tell.
        fitted: Whether it was fitted once, and its resamples are of the test rows.
    """

    name: str
    score: float | None
    interval: tuple[float, float] | None
    chance: float | None
    compare: dict[str, float | None]
    reason: str | None
    provenance: dict[str, Any] | None = None
    fitted: bool = False


@dataclass(frozen=True)
class FactorRow:
    """One factor of a report.

    Attributes:
        name: Its name.
        code: The code that knows most of it; None where that is not above chance.
        share: The part of the factor's entropy that this code knows.
        gap: The share less that of the second code.
        chance: The mean share that a code knows of permuted factors.
    """

    name: str
    code: int | None
    share: float
    gap: float
    chance: float


@dataclass(frozen=True)
class Report:
    """What :func:`disvae.metrics.report` found: a table in a terminal and in a notebook.

    Attributes:
        metrics: One row per metric.
        factors: One row per factor: which code carries it.
        notes: Sentences on how to read the numbers, and warnings.
        n: Rows.
        codes: Codes D.
        compared: Names of the other codes.
        intervals: Whether intervals were asked for.
    """

    metrics: tuple[MetricRow, ...]
    factors: tuple[FactorRow, ...]
    notes: tuple[str, ...]
    n: int
    codes: int
    compared: tuple[str, ...]
    intervals: bool

    def __str__(self) -> str:
        blocks = [self._title(), *(table.text() for table in self._tables()), "\n".join(self.notes)]
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        tables = "".join(table.html() for table in self._tables())
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<div><p>{escape(self._title())}</p>{tables}{notes}</div>"

    def to_markdown(self) -> str:
        """The same tables and notes in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([self._title(), *(table.markdown() for table in self._tables()), notes])

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain Python values, by metric name and by factor name."""
        metrics = {}
        for row in self.metrics:
            metrics[row.name] = {
                "score": _plain(row.score),
                "interval": None if row.interval is None else list(row.interval),
                "chance": row.chance,
                "compare": {name: _plain(score) for name, score in row.compare.items()},
                "reason": row.reason,
                "provenance": row.provenance,
            }
        factors = {
            row.name: {
                "code": row.code,
                "share": row.share,
                "gap": row.gap,
                "chance": row.chance,
            }
            for row in self.factors
        }
        return {
            "n": self.n,
            "codes": self.codes,
            "metrics": metrics,
            "factors": factors,
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """:meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def _title(self) -> str:
        counts = (("code", self.codes), ("factor", len(self.factors)), ("row", self.n))
        return ", ".join(f"{count} {noun}{'s' * (count != 1)}" for noun, count in counts)

    def _tables(self) -> tuple[Table, Table]:
        interval = ("95 % interval",) if self.intervals else ()
        header = ("metric", "score", *interval, "chance", *self.compared)
        scores = []
        for row in self.metrics:
            score = _number(row.score) if row.reason is None else f"not defined ({row.reason})"
            middle = (_interval(row.interval),) if self.intervals else ()
            others = (_number(row.compare[name]) for name in self.compared)
            scores.append((row.name, score, *middle, _number(row.chance), *others))
        factors = tuple(
            (
                row.name,
                "none" if row.code is None else f"code {row.code}",
                _number(row.share),
                _number(row.gap),
                _number(row.chance),
            )
            for row in self.factors
        )
        return Table(header, tuple(scores)), Table(
            ("factor", "carried by", "share", "gap", "chance"), factors
        )


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{float(value):.3f}"


def _interval(value: tuple[float, float] | None) -> str:
    return "-" if value is None else f"[{value[0]:.3f}, {value[1]:.3f}]"
