"""Sweeps of runs: each is kept, none is run twice, and a cut one loses the run in hand only."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import disvae
from disvae import decoders, encoders, objectives, priors
from examples import experiments


@pytest.fixture
def runs():
    return {f"run{seed}": {"seed": seed, "weight": 0.5} for seed in range(3)}


@pytest.fixture(autouse=True)
def _restore_torch():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_default_device(None)


def sweep(runs, run, folder, **options):
    return experiments.sweep(runs, run, folder, threads=1, device="cpu", **options)


def drawn(settings, path):
    return {"value": torch.rand(()), "numbers": np.arange(2.0), "nothing": math.nan}


def test_a_cut_sweep_loses_only_the_run_in_hand(runs, tmp_path):
    done = []

    def cut(settings, path):
        if settings["seed"] == 2 and len(done) == 2:
            raise KeyboardInterrupt
        done.append(settings["seed"])
        return drawn(settings, path)

    with pytest.raises(KeyboardInterrupt):
        sweep(runs, cut, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run0.json", "run1.json"]
    done.append("again")
    records = sweep(runs, cut, tmp_path)
    assert done == [0, 1, "again", 2]
    assert list(records) == list(runs)


def test_results_do_not_depend_on_what_ran_before(runs, tmp_path):
    whole = sweep(runs, drawn, tmp_path / "whole")
    alone = sweep({"run2": runs["run2"]}, drawn, tmp_path / "alone")
    assert alone["run2"]["results"] == whole["run2"]["results"]
    assert whole["run1"]["results"]["value"] != whole["run2"]["results"]["value"]
    kept = sweep(runs, drawn, tmp_path / "whole")
    assert kept == whole
    assert experiments.read(tmp_path / "whole") == whole


def test_a_record_is_plain_and_says_where_it_comes_from(runs, tmp_path):
    record = sweep(runs, drawn, tmp_path)["run0"]
    assert record["settings"] == runs["run0"]
    assert record["results"]["numbers"] == [0.0, 1.0]
    assert record["results"]["nothing"] is None
    provenance = record["provenance"]
    assert provenance["versions"]["torch"] == torch.__version__
    assert provenance["threads"] == 1
    assert json.loads((tmp_path / "run0.json").read_text()) == record


def test_other_settings_under_the_same_name_are_refused(runs, tmp_path):
    sweep(runs, drawn, tmp_path)
    runs["run1"]["weight"] = 0.7
    with pytest.raises(SystemExit, match=r"other settings.*move it away"):
        sweep(runs, drawn, tmp_path)


def test_only_some_runs_are_run_and_the_others_are_read(runs, tmp_path):
    sweep(runs, drawn, tmp_path, only="run1")
    assert [path.stem for path in tmp_path.iterdir()] == ["run1"]
    assert list(sweep(runs, drawn, tmp_path, only="run2")) == ["run1", "run2"]


def test_training_lowers_the_loss_and_repeats_bit_for_bit():
    def train():
        torch.manual_seed(0)
        x = (torch.randn(300, 2) @ torch.full((2, 8), 3.0)).sigmoid()
        model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        objective = objectives.ELBO()
        before = objective(model, x).total.item()
        experiments.fit(model, objective, x, epochs=20, batch_size=64, lr=1e-2)
        return before, objective(model, x).total.item()

    before, after = train()
    assert after < before - 0.1
    assert train() == (before, after)


def test_the_interval_is_that_of_students_t():
    values = [1.0, 2.0, 4.0]
    mean, half = experiments.mean_and_interval(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert math.isnan(experiments.mean_and_interval([1.0])[1])


ROOT = Path(__file__).parents[1]
needs_data = pytest.mark.skipif(
    "DISVAE_DATA" not in os.environ, reason="DISVAE_DATA is unset: no real data"
)


def quick(name, folder, *options):
    """The records of a quick run, and the paths of its pictures."""
    command = [sys.executable, "-m", f"examples.mathieu2019.{name}", "--quick"]
    finished = subprocess.run(
        [*command, "--out", str(folder), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    pictures = [Path(line) for line in finished.stdout.splitlines() if line.endswith(".png")]
    assert all(path.stat().st_size > 10_000 for path in pictures)
    return experiments.read(folder / "results" / name / "quick"), pictures


def medians(records, field, *keys):
    groups = experiments.over_seeds(records, *keys)
    return {
        key: np.median(experiments.values_of(several, field)) for key, several in groups.items()
    }


@pytest.mark.slow
def test_pinwheel_overlap_by_beta_and_structure_by_alpha(tmp_path):
    records, pictures = quick("pinwheel", tmp_path)
    assert len(pictures) == 1

    def row(field, keys):
        found = medians(records, field, "beta", "alpha")
        return np.array([found[key] for key in keys])

    by_alpha = [(0, 1), (0, 3), (0, 5), (0, 8)]
    information = row("mutual_information", by_alpha)
    assert (np.diff(information) < 0).all()
    assert 4 < information[0] < 5.7
    assert 2 < information[-1] < 3.4
    assert (np.diff(row("inclusive_kl", by_alpha)) < 0).all()
    assert row("inclusive_kl", by_alpha)[-1] < 0.25
    by_beta = [(0.01, 0), (0.5, 0), (1, 0), (5, 0)]
    information = row("mutual_information", by_beta)
    assert (np.diff(information) < 0).all()
    assert information[0] > 0.97 * math.log(400)  # a look-up table
    assert information[-1] < 0.1  # nothing is left
    assert row("inclusive_kl", by_beta)[0] > 50
    again, _ = quick("pinwheel", tmp_path)
    assert again == records  # kept, and not run again


@pytest.mark.slow
def test_a_run_of_the_pinwheel_repeats_bit_for_bit(tmp_path):
    from examples.mathieu2019 import pinwheel

    runs = pinwheel.settings_of("quick")
    runs = {name: runs[name] for name in ("beta0-alpha3-seed1", "beta1-alpha0-seed0")}
    first = sweep(runs, pinwheel.run, tmp_path / "first")
    second = sweep(dict(reversed(runs.items())), pinwheel.run, tmp_path / "second")
    assert {name: record["results"] for name, record in first.items()} == {
        name: record["results"] for name, record in second.items()
    }


@needs_data
@pytest.mark.slow
def test_sparsity_by_the_prior_and_divergence_by_alpha(tmp_path):
    records, pictures = quick("sparsity", tmp_path)
    assert len(pictures) == 3
    divergence = medians(records, "divergence", "gamma", "alpha")
    likelihood = medians(records, "log_likelihood", "gamma", "alpha")
    for gamma in (0.0, 0.8):
        assert divergence[gamma, 100] < 0.25 * divergence[gamma, 0]
        assert likelihood[gamma, 100] < likelihood[gamma, 0]
    hoyer = medians(records, "hoyer", "gamma", "alpha")
    assert hoyer[0.8, 0] > hoyer[0.0, 0] + 0.03
    assert hoyer[0.8, 100] > hoyer[0.0, 100] + 0.03


@needs_data
@pytest.mark.slow
def test_independence_costs_reconstruction_as_beta_grows(tmp_path):
    records, pictures = quick("independence", tmp_path)
    assert len(pictures) == 1
    reconstruction = medians(records, "reconstruction", "prior", "beta")
    rate = medians(records, "kl", "prior", "beta")
    for prior in ("isotropic", "laplace"):
        assert reconstruction[prior, 0.1] < reconstruction[prior, 1] - 2
        assert rate[prior, 0.1] > rate[prior, 1] + 2
    assert min(medians(records, "factor_vae_score", "prior", "beta").values()) > 0.3
