"""The README's code and the quickstart run as they stand, and say something true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import disvae

ROOT = Path(__file__).parents[1]


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_code_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks) + "\nmodel(dataset.images[:4])\n")
    finished = run([script], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "MIG" in finished.stdout
    assert (tmp_path / "traversal.png").exists()


def numbers(line):
    return [float(n) for n in re.findall(r"-?\d+\.\d+", line)]


def shows_images(path):
    pixels = np.asarray(Image.open(path).convert("L"), dtype=float)
    return pixels.std() > 10


@pytest.mark.slow
def test_the_gallery_draws_every_prior(tmp_path):
    finished = run([ROOT / "examples" / "gallery.py", "--out", "gallery.png"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert shows_images(tmp_path / "gallery.png")
    source = (ROOT / "examples" / "gallery.py").read_text()
    assert all(f"priors.{name}" in source for name in disvae.priors.__all__)


@pytest.mark.slow
def test_the_quickstart_learns_and_shows_it(tmp_path):
    finished = run([ROOT / "examples" / "quickstart.py"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    # the bar names the terms while it trains
    assert "total_correlation=" in finished.stderr
    rows = {line.split("  ")[0]: line for line in finished.stdout.splitlines() if "  " in line}
    score, low, high, chance, untrained = numbers(rows["MIG"])
    assert low <= score <= high
    assert score > 0.1
    assert score > 3 * max(chance, untrained)
    score, _, _, chance, untrained = numbers(rows["FactorVAE score"])
    assert score > chance + 0.2
    assert score > untrained
    for name in ("reconstructions", "traversals"):
        assert shows_images(tmp_path / "quickstart" / f"{name}.png")


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("data", ["mnist", "fashion-mnist", "dsprites"])
def test_the_quickstart_runs_on_real_images(data, tmp_path):
    finished = run([ROOT / "examples" / "quickstart.py", "--data", data, "--epochs", "1"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert ("MIG" in finished.stdout) == (data == "dsprites")
    for name in ("reconstructions", "traversals"):
        assert shows_images(tmp_path / "quickstart" / f"{name}.png")


def test_the_quickstart_without_data_says_what_is_missing(tmp_path):
    environment = {**os.environ, "DISVAE_DATA": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, ROOT / "examples" / "quickstart.py", "--data", "mnist"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith("FileNotFoundError: Expected to find mnist/")
    assert not (tmp_path / "quickstart").exists()
