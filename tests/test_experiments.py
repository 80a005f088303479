"""Sweeps of runs: each is kept, none is run twice, and a cut one loses the run in hand only."""

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

import disvae
from disvae import alignment, decoders, encoders, objectives, priors
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


EXPERIMENTS = ("pinwheel", "sparsity", "independence")


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("only", ["", "seed1", "beta0", "nothing of that name"])
def test_a_sweep_of_some_runs_draws_what_is_there(name, only, tmp_path, monkeypatch, capsys):
    experiment = importlib.import_module(f"examples.mathieu2019.{name}")
    names = {*getattr(experiment, "QUANTITIES", ()), *getattr(experiment, "SCORES", ())}
    names |= {*getattr(experiment, "COLUMNS", ()), "hoyer_of_samples", "hoyer_of_prior"}
    results = dict.fromkeys([*names, "kl", "reconstruction", "active_units"], 1.0)
    results |= {"means": [[0.0, 1.0], [1.0, 0.0]], "scales": [[0.1, 0.1]] * 2}
    results |= {
        "signal": np.ones(3),
        "magnitudes": np.ones((10, 3)),
        "standard_deviation": np.ones(3),
        "attributes": {},
    }
    monkeypatch.setattr(experiment, "run", lambda settings, path: results)
    for drawn in ("magnitudes", "traversals"):
        monkeypatch.setattr(experiment, drawn, lambda record: Figure(), raising=False)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path), "--only", only])
    experiment.main()
    kept = experiments.read(tmp_path / "results" / name / "quick")
    assert set(kept) == {run for run in experiment.settings_of("quick") if only in run}
    drawn = (tmp_path / "figures" / "quick" / f"{name}.png").exists()
    assert drawn == bool(experiment.panels(kept))
    assert "seeds" in capsys.readouterr().out  # the table


class Images:
    """A data set of few images of noise."""

    def __init__(self, size=28, **options):
        self.images = torch.rand(24, 1, size, size)
        self.labels, self.factors = torch.zeros(24), torch.zeros(24, 1)


@pytest.mark.parametrize(
    ("name", "source", "run"),
    [
        ("sparsity", "FashionMNIST", "gamma0.8-beta0.1-alpha0-seed0"),
        ("independence", "DSprites", "isotropic-beta0.1-seed0"),
    ],
)
def test_each_run_keeps_weights_of_its_own(name, source, run, tmp_path, monkeypatch):
    experiment = importlib.import_module(f"examples.mathieu2019.{name}")
    monkeypatch.setattr(experiment.data, source, Images)
    monkeypatch.setattr(experiment, "measured", lambda *arguments: {})
    sizes = {"train": 20, "epochs": 1, "batch_size": 10}
    settings = experiment.settings_of("quick").get(run) or experiment.settings_of("desk")[run]
    experiment.run({**settings, **sizes}, tmp_path / run)
    assert [path.name for path in tmp_path.iterdir()] == [f"{run}.pt"]


def record(seed, **results):
    return {"settings": {"seed": seed}, "results": results}


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


ROOT = Path(__file__).parents[1]
needs_data = pytest.mark.skipif(
    "DISVAE_DATA" not in os.environ, reason="DISVAE_DATA is unset: no real data"
)


def quick(name, folder, *, paper="mathieu2019", pool=None):
    """The records of a quick run, and the paths of its pictures."""
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
    assert len(pictures) == 5
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


def test_gap_given_the_class_asks_for_one_dimension_in_all_classes():
    from examples.pastrana2022 import classes

    grid = torch.cartesian_prod(torch.arange(3), *[torch.arange(10)] * 2).double()
    label, first, second = grid.T
    codes = torch.stack((first, second), 1)
    of_one_dimension, of_one_each = first + 100 * label, torch.where(label == 1, first, second)
    attributes = torch.stack((of_one_dimension, of_one_each), 1)
    # of the second, each dimension knows 1/3 or 2/3: all of it in one class, or in two
    assert classes.gaps_given(codes, attributes, label) == pytest.approx([1, 1 / 3])
    assert classes.gaps_given(codes[:, :1], attributes, label) == pytest.approx([1, 1 / 3])


def test_gap_given_a_single_class_is_that_of_an_alignment():
    from examples.pastrana2022 import classes

    rng = np.random.default_rng(0)
    data = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 5))
    expected = alignment.codes.Codes(data[:, :3], data[:, 3:]).figures().gap
    codes, attributes = torch.from_numpy(data).split((3, 2), dim=1)
    found = classes.gaps_given(codes, attributes, torch.zeros(500))
    assert found == pytest.approx(expected.tolist())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Runs of one experiment of MNIST; they all share one folder, where what is there is kept."""
    folder = tmp_path_factory.mktemp("pastrana2022")
    return lambda name: quick(name, folder, paper="pastrana2022", pool="mnist")


@needs_data
@pytest.mark.slow
def test_one_latent_dimension_is_too_few_for_digits(digits):
    records, pictures = digits("latent_size")
    assert len(pictures) == 1
    bound = medians(records, "elbo", "latent_dim")
    assert bound[(10,)] > bound[(1,)] + 20
    for record in records.values():
        assert record["results"]["floor"] < record["results"]["reconstruction"]
        assert record["results"]["reconstruction"] < record["results"]["of_mean_image"]


@needs_data
@pytest.mark.slow
def test_the_class_goes_through_the_condition_and_weight_costs_reconstruction(digits):
    records, pictures = digits("kl_weight")
    assert len(pictures) == 1
    records = {name: record for name, record in records.items() if "dim10" in name}
    cost, rate, known = (
        medians(records, field, "conditional", "beta")
        for field in ("reconstruction", "kl", "class_in_codes")
    )
    for conditional in (False, True):
        assert cost[conditional, 10] > cost[conditional, 1] + 10
        assert rate[conditional, 10] < rate[conditional, 1] - 5
    for beta in (1, 10):
        assert cost[True, beta] < cost[False, beta]
    assert known[True, 1] < known[False, 1] - 0.05
    assert known[True, 10] < 0.2 < 0.3 < known[False, 10]  # chance is 0.11
    for name in (name for name in records if "conditional" in name):
        results = records[name]["results"]
        shuffled = results["reconstruction_with_shuffled_labels"]
        assert shuffled > results["reconstruction"] + 10
        if "beta10-" in name:
            assert results["other_label_seen"] > 0.9
            assert results["class_kept_under_other_label"] < 0.1


@needs_data
@pytest.mark.slow
def test_every_recipe_turns_thickness(digits):
    records, pictures = digits("knobs")
    assert len(pictures) == 7
    recipes = {name: record for name, record in records.items() if "conditional" in name}
    assert len(recipes) >= 6
    for record in recipes.values():
        thickness = record["results"]["carriers"][0]
        assert thickness["attribute"] == "thickness"
        assert abs(thickness["correlation"]["value"]) > 0.2
        assert thickness["monotonicity"]["value"] > 0.7


@needs_data
@pytest.mark.slow
def test_single_digits_and_the_plane_of_digits(digits):
    records, pictures = digits("single_digits")
    assert len(pictures) == 2
    ones = [name for name in records if "digit1" in name]
    assert all("class_in_codes" not in records[name]["results"] for name in ones)
    assert len(digits("manifold")[1]) == 4
