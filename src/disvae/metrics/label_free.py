"""What the metrics of codes alone share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import Arrays
from disvae.metrics.score import Score, provenance


@dataclass(frozen=True, eq=False, repr=False)
class LabelFreeScore(Score):
    """A metric's value that needs no factors; see :class:`Score`."""

    def __repr__(self) -> str:
        shape = f"(N={self.provenance['n']}, D={self.provenance['codes']})"
        return f"{self.name} {self.score:.4f} {shape}"


def label_free_provenance(
    codes: NDArray[np.float64], active: NDArray[np.bool_], settings: Mapping[str, object]
) -> dict[str, Any]:
    """The record of a score of codes alone: that of :func:`provenance`, less the factors."""
    none = Arrays(codes, np.empty((len(codes), 0)), np.empty(0, dtype=np.bool_), active)
    record = provenance(none, settings, dropped=np.flatnonzero(~active).tolist(), seed=None)
    return {key: record[key] for key in record if key not in ("factors", "discrete", "missing")}
