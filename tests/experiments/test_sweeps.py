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


def test_training_takes_whole_batches_with_the_context_of_their_images():
    seen = []

    class Looking(objectives.ELBO):
        def forward(self, model, x, *, context=None, step=None):
            seen.append((x[:, 0], context[:, 0]))
            return super().forward(model, x, context=context, step=step)

    x = torch.rand(25, 8)
    model = disvae.VAE(
        encoders.MLP(8, 2, context_dim=1), decoders.MLP(2, 8), prior=priors.Normal(2)
    )
    size = {"epochs": 3, "batch_size": 10, "lr": 1e-3}
    experiments.fit(model, Looking(), x, context=x[:, :1], **size)
    assert [len(rows) for rows, _ in seen] == [10] * 6
    assert all(torch.equal(rows, context) for rows, context in seen)
    assert len(torch.cat([rows for rows, _ in seen[:2]]).unique()) == 20


@pytest.mark.parametrize("name", ["isotropic", "pca", "laplace"])
def test_priors_that_are_compared_have_a_mean_variance_of_one(name):
    images = torch.rand(100, 1, 4, 4) * torch.linspace(0, 1, 4)
    prior = experiments.prior_of(name, images, 3)
    assert prior().variance.mean().item() == pytest.approx(1.0)
    learnt = list(experiments.prior_of(f"{name}-learnt", images, 3).parameters())
    assert not list(prior.parameters())
    assert bool(learnt) == (name == "pca")


def test_the_interval_is_that_of_students_t():
    values = [1.0, 2.0, 4.0]
    mean, half = experiments.mean_and_interval(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert math.isnan(experiments.mean_and_interval([1.0])[1])
    assert experiments.shown([-0.004, 0.001], 1).startswith("0.0 ± ")  # and not -0.0


def record(seed, **results):
    return {"settings": {"seed": seed}, "results": results}


def test_standard_errors_are_of_the_seeds_that_have_a_figure():
    known = [2.0, 5.0, 9.0]
    values = [*known[:2], math.nan, known[2]]
    assert experiments.standard_error(values) == pytest.approx(stats.sem(known))
    assert math.isnan(experiments.standard_error([1.0, math.nan]))


def test_runs_of_a_group_stand_in_the_order_of_their_seeds():
    # "seed10" stands before "seed2" in a folder
    records = {
        f"weight{weight}-seed{seed}": {"settings": {"seed": seed, "weight": weight}}
        for seed in (10, 0, 2)
        for weight in (1, 4)
    }
    groups = experiments.over_seeds(records, "weight")
    seeds = {key: [run["settings"]["seed"] for run in runs] for key, runs in groups.items()}
    assert seeds == {(1,): [0, 2, 10], (4,): [0, 2, 10]}


def test_means_leave_out_a_run_that_has_no_figure():
    groups = [[record(0, score=1.0), record(1, score=None), record(2, score=4.0)]]
    groups += [[record(0, score=None)], [record(0, score=2.0)]]
    mean, error = experiments.means_of(groups, "score")
    assert mean == pytest.approx([2.5, math.nan, 2.0], nan_ok=True)
    known = stats.sem([1.0, 4.0])
    assert error == pytest.approx([known, math.nan, math.nan], nan_ok=True)


def test_differences_are_paired_by_seed():
    first = [record(2, score=5.0), record(0, score=1.0), record(1, score=None)]
    second = [
        record(0, score=0.5),
        record(1, score=3.0),
        record(2, score=7.0),
        record(3, score=9.0),
    ]
    assert experiments.differences(first, second, "score") == pytest.approx(
        [0.5, math.nan, -2.0], nan_ok=True
    )


def test_excess_is_taken_at_an_equal_value_of_the_reference_of_the_same_seed():
    curve = [(30.0, 0.5), (10.0, 0.1), (20.0, 0.3)]  # in no order, as runs may be
    reference = [record(0, reconstruction=x, score=y) for x, y in curve]
    reference += [record(1, reconstruction=x, score=0.0) for x, _ in curve]

    def excess(seed, x, y):
        return experiments.excess(record(seed, reconstruction=x, score=y), reference, "score")

    assert excess(0, 25.0, 0.6) == pytest.approx(0.2)
    assert excess(1, 25.0, 0.6) == pytest.approx(0.6)
    assert excess(0, 50.0, 0.6) == pytest.approx(0.1)  # beyond the curve its end is taken
    assert math.isnan(excess(2, 25.0, 0.6))
    assert math.isnan(excess(0, 25.0, None))
