"""The reference cases, and a small grid of factors."""

import json
from pathlib import Path

import numpy as np
import pytest

REFERENCE = Path(__file__).parents[1] / "reference"


class Reference:
    """Codes and factors of the stored cases, and the values that others compute on them."""

    def __init__(self):
        self.values = json.loads((REFERENCE / "values.json").read_text())

    def case(self, name):
        with np.load(REFERENCE / "cases" / f"{name}.npz") as arrays:
            return {key: arrays[key] for key in arrays}

    def entries(self, metric):
        return [v for v in self.values if v["metric"] == metric and v["value"] is not None]


@pytest.fixture(scope="session")
def reference():
    return Reference()


@pytest.fixture(scope="session")
def grid():
    """Every combination of three factors of sizes 16, 16 and 8, shuffled, as in the trap list."""
    axes = np.meshgrid(np.arange(16), np.arange(16), np.arange(8), indexing="ij")
    rows = np.stack(axes, axis=-1).reshape(-1, 3)
    return np.random.default_rng(0).permutation(rows)


@pytest.fixture(scope="session")
def noisy():
    """Four codes, three of them noisy factors, one pure noise; no value lies on a bin edge."""
    rng = np.random.default_rng(1)
    factors = np.stack([rng.integers(size, size=1500) for size in (3, 5, 7)], axis=1)
    codes = rng.normal(size=(1500, 4))
    codes[:, :3] = factors + 0.5 * codes[:, :3]
    return codes, factors
