"""The experiments of Pastrana, 2022."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

import disvae
from disvae import alignment, plotting, priors
from disvae.nn import Unconditional
from examples import experiments
from examples.pastrana2022 import classes, kl_weight, knobs, latent_size, runs

DIGITS = ("latent_size", "kl_weight", "knobs", "single_digits", "manifold")


def carrier(value, **others):
    """How an attribute is carried, with the same figure everywhere, or another where named."""
    fields = ["gap", "gap_given_class", "code_correlation", "correlation", "partial"]
    fields += ["slope", "monotonicity", "cross_talk"]
    return {field: {"value": others.get(field, value)} for field in fields} | {"agree": value > 0}


@pytest.mark.parametrize("name", DIGITS)
@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("only", ["", "seed0", "beta10-", "conditional", "nothing of that name"])
def test_a_sweep_of_some_runs_trains_and_draws_no_others(
    name, only, collapsed, tmp_path, monkeypatch, capsys
):
    experiment = importlib.import_module(f"examples.pastrana2022.{name}")
    shown = []

    def run(settings, path):
        scored = None if collapsed else 1.0
        row = carrier(1.0)
        costs = ("elbo", "reconstruction", "kl", "continuous_bernoulli_elbo", "active_units")
        shares = ("class_in_codes", "other_label_seen", "class_kept_under_other_label")
        known = (
            *costs,
            *shares,
            "mutual_information",
            "total_correlation",
            "reconstruction_with_shuffled_labels",
            "floor",
            "of_mean_image",
        )
        results = dict.fromkeys(runs.ALIGNMENT, scored) | dict.fromkeys(known, 1.0)
        return results | {"carriers": None if collapsed else [row] * 3}

    def model_for(options, wanted):
        shown.extend(wanted)
        return (None, *wanted.values())

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(runs, "model_for", model_for)
    for drawn in ("aligned", "traversals"):
        monkeypatch.setattr(runs, drawn, lambda model, settings: Figure())
    monkeypatch.setattr(plotting, "alignment", lambda model, found, units: Figure())
    for drawn in ("manifold", "codes", "walks", "animation"):
        monkeypatch.setattr(experiment, drawn, lambda *arguments: Figure(), raising=False)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path), "--only", only])
    experiment.main()
    kept = experiments.read(tmp_path / "results" / "mnist" / "quick")
    assert set(kept) == {run for run in experiment.settings_of("quick") if only in run}
    assert set(shown) <= set(kept)
    assert "seeds" in capsys.readouterr().out or name == "manifold"  # the table


def of_digits(seed, results, **settings):
    fixed = {"conditional": False, "beta": 1.0, "latent_dim": 10}
    return {"settings": {**fixed, "seed": seed, **settings}, "results": results}


def test_the_sufficient_size_is_the_smallest_within_one_standard_error_of_the_best():
    bounds = {2: (-120, -121, -119), 5: (-101.4, -100.2, -101), 10: (-99, -101, -100)}
    bounds |= {20: (-100.1, -100.2, -100.1), 50: (-100.3, -100.3, -100.3)}
    records = {
        f"{dim}-{seed}": of_digits(seed, {"elbo": bound}, latent_dim=dim)
        for dim, several in bounds.items()
        for seed, bound in enumerate(several)
    }
    assert stats.sem(bounds[10]) == pytest.approx(0.577, abs=1e-3)
    assert latent_size.sufficient(records) == 10
    records["5-0"]["results"]["elbo"] = -100.3  # the mean is -100.5 now
    assert latent_size.sufficient(records) == 5


@pytest.mark.parametrize(("cross_talk_moves", "last"), [(False, "the opposite"), (True, "mixed")])
def test_claims_are_differences_of_the_right_models_with_a_verdict(cross_talk_moves, last):
    gaps = {(False, 1.0): (0.1, 0.2, 0.3), (False, 10.0): (0.3, 0.4, 0.51)}
    gaps |= {(True, 1.0): (0.15, 0.15, 0.31), (True, 10.0): (0.2, 0.31, None)}
    records = {}
    for (conditional, beta), several in gaps.items():
        for seed, gap in enumerate(several):
            results = dict.fromkeys(kl_weight.SCORES, gap) | {"own_dimensions": 2}
            results["cross_talk"] = 0.0 if conditional and beta == seed == 1 else 2.0
            if cross_talk_moves and conditional and beta == 10:
                results["cross_talk"] = gap
            settings = {"conditional": conditional, "beta": beta}
            records[f"{conditional}-{beta}-{seed}"] = of_digits(seed, results, **settings)
    header, *rows = kl_weight.claims(records)
    half = stats.t.interval(0.95, 2, 0.0, stats.sem([0.2, 0.2, 0.21]))[1]
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["gap"].split()[0] for row in found] == ["0.203", "0.105", "0.003", "-0.095"]
    assert found[0]["gap"] == f"0.203 ± {half:.3f} better"
    assert [row["seeds"] for row in found] == ["3", "2", "3", "2"]  # one has collapsed
    assert [row["verdict"] for row in found] == ["confirmed", "not shown", "not shown", last]
    assert found[3]["gap"].endswith(" worse")
    assert found[3]["cross-talk"].endswith(" better") == cross_talk_moves


def test_recipes_are_compared_at_equal_reconstruction_over_the_same_seeds():
    records = {}

    def add(seed, beta, cost, gap, objective="beta-vae", conditional=True):
        results = dict.fromkeys(knobs.COLUMNS, 1.0) | {"kl": 1.0}
        results |= {"reconstruction": cost, "gap": gap, "cross_talk": 1 - gap}
        settings = {"objective": objective, "prior": "isotropic", "conditional": conditional}
        record = of_digits(seed, results, beta=beta, **settings)
        records[f"{objective}-{beta}-{conditional}-{seed}"] = record

    for seed in range(5):  # the fourth and fifth only of the paper's models
        add(seed, 10.0, 140.0, 0.3)
        add(seed, 10.0, 150.0, 9.0, conditional=False)
    for seed in range(3):
        add(seed, 1.0, 100.0, 0.1)
        add(seed, 4.0, 120.0, 0.5 + 0.1 * seed, "factor-vae")
    header, *rows = knobs.recipes(records)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["model"] for row in found] == ["β-VAE", "β-VAE", "FactorVAE"]
    assert [row["seeds"] for row in found] == ["3"] * 3
    half = stats.t.interval(0.95, 2, 0.0, 0.1 / 3**0.5)[1]
    assert [row["gap above"] for row in found] == ["–", "–", f"0.40 ± {half:.2f}"]
    assert found[2]["cross-talk above"] == f"-0.40 ± {half:.2f}"


def test_carriers_are_means_of_sizes_where_these_are_known():
    each = (carrier(-0.2), carrier(0.4), carrier(-0.2, cross_talk=None))
    model = {"objective": "beta-vae", "prior": "isotropic"}
    records = {
        str(seed): of_digits(seed, {"carriers": [row] * 3}, **model)
        for seed, row in enumerate(each)
    }
    header, row, *_ = knobs.carriers(records)
    found = dict(zip(header, row, strict=True))
    assert (found["attribute"], found["seeds"]) == ("thickness", "3")
    assert found["correlation by decoding"].startswith("0.27 ± ")
    assert found["cross-talk"].startswith("0.30 ± ")
    assert found["codes agree"] == "1 of 3"


@pytest.fixture
def noise(monkeypatch):
    """Settings of a run on few images of noise."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(25, 1, 28, 28, generator=rng)
    digits = runs.Digits(images, torch.arange(25) % 10, None)
    monkeypatch.setattr(runs, "digits_of", lambda settings, train: digits)
    return runs.one("quick", 0, conditional=True, latent_dim=2)


def test_correlation_by_codes_is_that_of_the_dimension_that_codes_name(noise, monkeypatch):
    (settings,) = noise.values()
    model = runs.model_of(settings, runs.digits_of(settings, train=False).images)
    monkeypatch.setattr(classes, "gaps_given", lambda *arguments: [0.0] * 3)
    rows = [{"from_codes": dimension} for dimension in (0, 1, 1)]
    figures = {"gap": 0.0, "correlation": 0.0, "monotonicity": 0.0, "cross_talk": 0.0}
    found = SimpleNamespace(
        dimensions=(1, 0),  # rows of the matrix
        correlation=torch.tensor([[0.1, 0.2, -0.3], [-0.4, 0.5, 0.6]]),
        carriers=[SimpleNamespace(dimension=0, **figures)] * 3,
        to_dict=lambda: {"carriers": rows},
    )
    results = runs._of_alignment(found, model, settings)
    each = [row["code_correlation"]["value"] for row in results["carriers"]]
    assert each == pytest.approx([-0.4, 0.2, -0.3])
    assert results["code_correlation"] == pytest.approx(0.3)


def test_weights_are_kept_whole_or_not_at_all_and_are_those_of_any_other_order(
    noise, tmp_path, monkeypatch
):
    ((name, settings),) = noise.items()
    settings |= {"epochs": 2, "batch_size": 10}

    def cut(content, path):
        Path(path).write_bytes(b"half of them")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            runs.trained(settings, tmp_path / name)
    first = runs.trained(settings, tmp_path / name).state_dict()
    torch.rand(3)
    kept = runs.trained(settings, tmp_path / name).state_dict()
    anew = runs.trained(settings, tmp_path / "anew").state_dict()
    for weights in (kept, anew):
        assert all(torch.equal(first[key], weights[key]) for key in first)
    with pytest.raises(SystemExit, match="other settings"):
        runs.trained(settings | {"beta": 2.0}, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("beta-vae", "reconstruction + 6·kl"),
        (
            "beta-tcvae",
            "reconstruction + mutual_information + 6·total_correlation + dimensionwise_kl",
        ),
        ("factor-vae", "reconstruction + kl + 6·total_correlation"),
    ],
)
def test_an_objective_has_the_weight_of_its_run(name, shown):
    (settings,) = runs.one("quick", 0, beta=6, objective=name).values()
    assert str(runs.objective_of(settings, 500)) == shown


def test_a_run_of_one_digit_has_no_other_and_its_own_floor(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    images, labels = torch.rand(40, 1, 28, 28, generator=rng), torch.arange(40) % 10
    whole = runs.Digits(images, labels, torch.arange(40.0)[:, None])
    monkeypatch.setattr(runs, "_first", lambda count, train: whole)
    (settings,) = runs.one("quick", 0, digit=4).values()
    found = runs.digits_of(settings, train=False)
    assert found.attributes[:, 0].tolist() == [4.0, 14.0, 24.0, 34.0]
    assert torch.equal(found.images, images[4::10])
    assert found.labels.tolist() == [4] * 4
    floors = runs._floors(found.images)
    x = found.images.double()
    entropy = stats.bernoulli(x.numpy()).entropy().sum() / 4
    of_mean = stats.bernoulli(x.mean(0).numpy()).entropy().sum()
    assert floors == pytest.approx({"floor": entropy, "of_mean_image": of_mean})


def test_the_density_elbo_has_the_normaliser(noise):
    (settings,) = noise.values()
    digits = runs.digits_of(settings, train=False)
    context = digits.context(settings)
    model = runs.model_of(settings, digits.images)
    with torch.no_grad():
        first, last = (part for part in model.decoder.modules() if isinstance(part, nn.Linear))
        first.weight[:, :2] = 0.0  # the samples do not matter
        last.weight.mul_(20)
        logits = model.decode(torch.zeros(25, 2), context).base_dist.logits.double()
        density = torch.distributions.ContinuousBernoulli(logits=logits)
        expected = density.log_prob(digits.images.double()).sum((1, 2, 3)).mean()
        posterior = model.encode(digits.images, context)
        expected -= torch.distributions.kl_divergence(posterior, model.prior()).mean()
    found = runs.continuous_bernoulli_elbo(model, settings)
    assert found == pytest.approx(expected.item(), rel=1e-5)


class Told(nn.Module):
    """An encoder to the data itself, or where it is told the class, to a trace of that."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x, context=None):
        return Independent(Normal(x if context is None else 1e-3 * context, self.scale), 1)


class Writing(nn.Module):
    """A decoder of the class it is told, or of the latents."""

    def __init__(self, reads_context):
        super().__init__()
        self.reads_context = reads_context

    def forward(self, z, context=None):
        shown = context.expand_as(z) if self.reads_context else z
        return Independent(Bernoulli(logits=8 * (shown - 0.5), validate_args=False), 1)


def test_the_class_is_read_off_samples_and_not_off_traces_in_the_means():
    torch.manual_seed(0)
    labels = torch.arange(600) // 2 % 10
    x = classes.one_hot(labels)
    model = disvae.VAE(Told(1.0), Writing(False), prior=priors.Normal(10))
    sharp = disvae.VAE(Told(1e-5), Writing(False), prior=priors.Normal(10))
    assert classes.in_codes(model, x, labels, x) < 0.2
    assert classes.in_codes(sharp, x, labels, x) > 0.95
    assert classes.in_codes(model, 9 * x, labels, None) > 0.9


def test_which_way_the_class_goes_is_seen_under_another_label():
    torch.manual_seed(0)
    labels = torch.arange(90) % 10
    x = classes.one_hot(labels)

    def found(reads_context, encoder):
        model = disvae.VAE(encoder, Writing(reads_context), prior=priors.Normal(10))
        return classes.through_condition(model, x, labels, nn.Identity())

    told, untold = found(True, Told(0.01)), found(False, Unconditional(Told(0.01)))
    for results in (told, untold):
        assert results["judge_accuracy"] == results["own_label_seen"] == 1.0
    assert (told["other_label_seen"], told["class_kept_under_other_label"]) == (1.0, 0.0)
    assert (untold["other_label_seen"], untold["class_kept_under_other_label"]) == (0.0, 1.0)
    assert told["reconstruction_with_shuffled_labels"] > 5
    assert untold["reconstruction_with_shuffled_labels"] < 1


def test_gap_given_the_class_asks_for_one_dimension_in_all_classes():
    grid = torch.cartesian_prod(torch.arange(3), *[torch.arange(10)] * 2).double()
    label, first, second = grid.T
    codes = torch.stack((first, second), 1)
    of_one_dimension, of_one_each = first + 100 * label, torch.where(label == 1, first, second)
    attributes = torch.stack((of_one_dimension, of_one_each), 1)
    # of the second, each dimension knows 1/3 or 2/3: all of it in one class, or in two
    assert classes.gaps_given(codes, attributes, label) == pytest.approx([1, 1 / 3])
    assert classes.gaps_given(codes[:, :1], attributes, label) == pytest.approx([1, 1 / 3])


def test_gap_given_a_single_class_is_that_of_an_alignment():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 5))
    expected = alignment.codes.Codes(data[:, :3], data[:, 3:]).figures().gap
    codes, attributes = torch.from_numpy(data).split((3, 2), dim=1)
    found = classes.gaps_given(codes, attributes, torch.zeros(500))
    assert found == pytest.approx(expected.tolist())


@pytest.fixture(scope="module")
def digits(tmp_path_factory, quick):
    """Runs of one experiment of MNIST; they all share one folder, where what is there is kept."""
    folder = tmp_path_factory.mktemp("pastrana2022")
    return lambda name: quick(name, folder, paper="pastrana2022", pool="mnist")


@pytest.mark.real_data
@pytest.mark.slow
def test_one_latent_dimension_is_too_few_for_digits(digits, medians):
    records, pictures = digits("latent_size")
    assert len(pictures) == 1
    bound = medians(records, "elbo", "latent_dim")
    assert bound[(10,)] > bound[(1,)] + 20
    for record in records.values():
        assert record["results"]["floor"] < record["results"]["reconstruction"]
        assert record["results"]["reconstruction"] < record["results"]["of_mean_image"]


@pytest.mark.real_data
@pytest.mark.slow
def test_the_class_goes_through_the_condition_and_weight_costs_reconstruction(digits, medians):
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


@pytest.mark.real_data
@pytest.mark.slow
def test_single_digits_and_the_plane_of_digits(digits):
    records, pictures = digits("single_digits")
    assert len(pictures) == 2
    ones = [name for name in records if "digit1" in name]
    assert all("class_in_codes" not in records[name]["results"] for name in ones)
    assert len(digits("manifold")[1]) == 4


@pytest.mark.real_data
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
