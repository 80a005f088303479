"""Experiments as a user starts them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from examples import experiments


@pytest.fixture(autouse=True)
def _restore_torch():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_default_device(None)


ROOT = Path(__file__).parents[2]


def _quick(name, folder, *, paper="mathieu2019", pool=None):
    finished = subprocess.run(
        [sys.executable, "-m", f"examples.{paper}.{name}", "--quick", "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    pictures = [Path(line) for line in lines if line.endswith((".png", ".gif"))]
    assert all(path.stat().st_size > 10_000 for path in pictures)
    return experiments.read(folder / "results" / (pool or name) / "quick"), pictures


def _medians(records, field, *keys):
    groups = experiments.over_seeds(records, *keys)
    return {
        key: np.median(experiments.values_of(several, field)) for key, several in groups.items()
    }


@pytest.fixture(scope="session")
def quick():
    """Runs an experiment: its records, and the paths of its pictures."""
    return _quick


@pytest.fixture(scope="session")
def medians():
    """The medians over seeds of one figure, by settings."""
    return _medians
