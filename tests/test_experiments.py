"""Sweeps of runs: each is kept, none is run twice, and a cut one loses the run in hand only."""

import json
import math

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
