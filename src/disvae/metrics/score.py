"""What a metric returns: a float that remembers how it came about."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import metadata
from typing import Any, ClassVar, Self

import numpy as np

from disvae.metrics.arrays import Arrays


class NotDefinedError(ValueError):
    """The definition of a metric does not cover these arrays.

    Attributes:
        reason: The cause in a few words, for a table.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (str(self), self.reason)


@dataclass(frozen=True, eq=False, repr=False)
class Score(float):
    """A metric's value: a float, with the details of its making as read-only attributes.

    Arithmetic on it gives plain floats. Each metric returns its own subclass.

    Attributes:
        score: The value as a plain float.
        provenance: How the value was estimated: the metric and its settings, rows, codes and
            factors, which factors were discrete, how many of their values were missing, which
            codes were dropped, the seed (None if a generator was passed) and the versions.
    """

    name: ClassVar[str] = "score"
    """What a table calls it."""

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """The smallest and the largest value that the metric can take."""

    score: float
    provenance: dict[str, Any]

    def __new__(cls, score: float, *_: object, **__: object) -> Self:
        """Makes the float; the fields are set by the initialiser."""
        return super().__new__(cls, score)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __repr__(self) -> str:
        shape = ", ".join(
            f"{letter}={self.provenance[key]}"
            for letter, key in (("N", "n"), ("D", "codes"), ("K", "factors"))
        )
        return f"{self.name} {self.score:.4f} ({shape})"


def provenance(
    arrays: Arrays, settings: Mapping[str, object], *, dropped: list[int], seed: int | None
) -> dict[str, Any]:
    """The record that goes with a score; plain Python values only, so that it can be stored.

    Args:
        arrays: The checked input.
        settings: The metric's own entries: its name, estimator, bins and the like.
        dropped: The codes that were left out.
        seed: The seed, or None if a generator was passed or nothing was drawn.
    """
    rows, codes = arrays.codes.shape
    return {
        **settings,
        "n": rows,
        "codes": codes,
        "factors": arrays.factors.shape[1],
        "discrete": arrays.discrete.tolist(),
        "missing": np.isnan(arrays.factors).sum(axis=0).tolist(),
        "dropped": dropped,
        "seed": seed,
        "versions": dict(_versions()),
    }


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(name)) for name in ("disvae", "numpy", "scipy", "scikit-learn"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
