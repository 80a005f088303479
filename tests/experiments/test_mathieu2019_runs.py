"""The experiments of Mathieu et al., 2019."""

import importlib
import math
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from examples import experiments

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


@pytest.mark.slow
def test_pinwheel_overlap_by_beta_and_structure_by_alpha(tmp_path, quick, medians):
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
    options = {"threads": 1, "device": "cpu"}
    first = experiments.sweep(runs, pinwheel.run, tmp_path / "first", **options)
    turned = dict(reversed(runs.items()))
    second = experiments.sweep(turned, pinwheel.run, tmp_path / "second", **options)
    assert {name: record["results"] for name, record in first.items()} == {
        name: record["results"] for name, record in second.items()
    }


@pytest.mark.real_data
@pytest.mark.slow
def test_sparsity_by_the_prior_and_divergence_by_alpha(tmp_path, quick, medians):
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


@pytest.mark.real_data
@pytest.mark.slow
def test_independence_costs_reconstruction_as_beta_grows(tmp_path, quick, medians):
    records, pictures = quick("independence", tmp_path)
    assert len(pictures) == 1
    reconstruction = medians(records, "reconstruction", "prior", "beta")
    rate = medians(records, "kl", "prior", "beta")
    for prior in ("isotropic", "laplace"):
        assert reconstruction[prior, 0.1] < reconstruction[prior, 1] - 2
        assert rate[prior, 0.1] > rate[prior, 1] + 2
    assert min(medians(records, "factor_vae_score", "prior", "beta").values()) > 0.3
