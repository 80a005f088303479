"""What a decomposition says: warnings, what is not defined, its table, and bad input."""

import functools
import json
import math
import pickle

import pytest
import torch
from torch.distributions import Cauchy, Independent, OneHotCategorical, Uniform

from disvae import VAE, decoders, encoders, evaluation, posteriors, priors
from disvae import distributions as dist
from disvae.evaluation import Estimate, decompose, overlap
from disvae.evaluation.findings import mean_of

N, D = 40, 4
UNDER_THE_RATE = {"rate", "elbo", "sampled_rate", "aggregate_kl", "kl_per_dimension"}
OF_DIMENSIONS = {"dimensionwise_kl", "dimensionwise_kl_per_dimension"}
OF_MARGINALS = {"total_correlation", "information_per_dimension", *OF_DIMENSIONS}
JOINT = functools.partial(
    posteriors.Joint,
    heads=[(2, posteriors.DiagonalNormal), (2, posteriors.RelaxedCategorical)],
)
MIXED = functools.partial(
    posteriors.Joint, heads=[(2, posteriors.DiagonalNormal), (2, posteriors.Laplace)]
)


@pytest.fixture
def x():
    return torch.rand(N, 8)


def model(head=posteriors.DiagonalNormal, prior=None):
    encoder, decoder = encoders.MLP(8, D, posterior=head), decoders.MLP(D, 8)
    return VAE(encoder, decoder, prior=priors.Normal(D) if prior is None else prior)


class TestWarnings:
    def test_a_healthy_model_has_none(self, random_table):
        table = random_table(400, 2, seed=1, spread=0.8)
        table.scale = torch.full_like(table.scale, 0.6)
        assert decompose(table.model, table.x).warnings == ()

    def test_collapsed_dimensions_are_named(self, tables):
        """The third is no collapse: its means are one, but its scales tell the data apart."""
        n = torch.linspace(-1, 1, 50).double()
        loc = torch.stack((n * 0.9, 0 * n, 0 * n, 0.05 * n), 1)
        scale = torch.stack((0.4 + 0 * n, 1 + 0 * n, 1.2 + n, 1 + 0 * n), 1)
        table = tables(loc, scale)
        text, *others = decompose(table.model, table.x, samples=20).warnings
        assert text == "posterior collapse of z1, z3: no information about the data"
        assert not any("collapse" in other for other in others)

    def test_a_single_datum_is_neither_collapse_nor_look_up_table(self, tables):
        assert decompose(tables([[0.3]], 1.0).model, torch.zeros(1, 1).double()).warnings == ()

    def test_a_look_up_table(self, tables):
        table = tables(torch.linspace(-2, 2, 30)[:, None], 1e-3)
        looks, *_ = decompose(table.model, table.x).warnings
        assert looks.startswith("look-up table")
        overlapping = tables(torch.linspace(-2, 2, 30)[:, None], 0.07)
        found = decompose(overlapping.model, overlapping.x, samples=20)
        assert 0.7 < found.mutual_information / found.ceiling < 0.97
        assert not any("look-up" in text for text in found.warnings)

    def test_holes(self, tables):
        """Both cover ±2, one with a hole between."""
        ends = tables(torch.tensor([-2.0, 2.0]).repeat(20)[:, None], 0.3)
        whole = tables(torch.linspace(-2, 2, 40)[:, None], 0.3)
        with_hole, without = (decompose(t.model, t.x) for t in (ends, whole))
        assert any(text.startswith("holes: KL(p(z)‖q(z))") for text in with_hole.warnings)
        assert not any("holes" in text for text in without.warnings)

    def test_dimensions_outside_the_prior(self, tables):
        loc = torch.zeros(40, 3)
        loc[:, 0] = torch.linspace(-1, 1, 40)
        loc[:10, 1], loc[:, 2] = 8.0, torch.linspace(-1, 1, 40)
        table = tables(loc, 0.7)
        found = decompose(table.model, table.x, samples=4)
        assert found.outside[1] == 0.25
        assert found.outside[0] < 0.01
        text = found.warnings[-1]
        assert text == (
            "outside the prior: up to 25 % of q(z) lies beyond the prior's central 99.8 %, in z1"
        )

    @pytest.mark.parametrize("side", [-1, 1])
    def test_the_mass_of_the_prior_is_its_central_998_in_1000(self, tables, monkeypatch, side):
        monkeypatch.setattr("disvae.evaluation.divergences._PRIOR_SAMPLES", 1_000_000)
        tails = torch.tensor([0.0005, 0.0015]).double()
        table = tables(side * torch.special.ndtri(tails)[None], 1e-6)
        assert decompose(table.model, table.x).outside.tolist() == [1, 0]


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(
    ("head", "prior", "undefined"),
    [
        (posteriors.DiagonalNormal, priors.Normal(D), set()),
        (posteriors.DiagonalNormal, priors.StudentT(D, df=3.0), set()),
        (posteriors.Laplace, priors.Sparse(D), set()),
        (MIXED, priors.Joint([priors.Normal(2), priors.StudentT(2, df=3.0)]), set()),
        (posteriors.FullNormal, priors.Normal(D), {"kl_per_dimension"}),
        (
            posteriors.LowRankNormal,
            priors.FullNormal(D),
            {"kl_per_dimension", *OF_DIMENSIONS},
        ),
        (
            posteriors.DiagonalNormal,
            priors.Mixture(D, components=3),
            {"kl_per_dimension", *OF_DIMENSIONS},
        ),
        (
            posteriors.PowerSpherical,
            priors.HypersphericalUniform(D),
            {"kl_per_dimension", *OF_MARGINALS},
        ),
        (
            JOINT,
            priors.Joint([priors.Normal(2), priors.Categorical(2)]),
            {"kl_per_dimension", *OF_MARGINALS},
        ),
        (
            posteriors.InverseAutoregressive,
            priors.Normal(D),
            {"kl_per_dimension", *OF_MARGINALS},
        ),
        (
            posteriors.DiagonalNormal,
            priors.HypersphericalUniform(D),
            {*UNDER_THE_RATE, *OF_DIMENSIONS, "inclusive_kl"},
        ),
        (
            posteriors.Deterministic,
            priors.Normal(D),
            {*UNDER_THE_RATE, *OF_MARGINALS, "mutual_information", "inclusive_kl"},
        ),
    ],
)
def test_what_is_not_defined_is_said_in_words(x, head, prior, undefined, samples):
    found = decompose(model(head, prior), x, samples=samples)
    undefined = {*undefined, "prior_information"}
    assert set(found.not_defined) == undefined
    for name, value in vars(found).items():
        assert (value is None) == (name in undefined), name
    shown = undefined - {name for name in undefined if name.endswith("per_dimension")}
    assert str(found).count("not defined (") == len(shown - {"prior_information"})
    assert "None" not in str(found)
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {name for name, value in stored.items() if value is None} == undefined


class TestForeignDistributions:
    """Parts of others, of which less is known."""

    def test_a_prior_on_a_part_of_the_numbers(self, table_model):
        loc = torch.tensor([[0.2], [0.7]])
        model = table_model(
            lambda i: Independent(dist.Normal(loc[i], 0.1), 1),
            Independent(Uniform(torch.zeros(1), torch.ones(1)), 1),
        )
        found = decompose(model, torch.arange(2.0)[:, None], samples=2000)
        assert found.not_defined["rate"] == "posterior and prior live on different sets"
        # the other direction is finite: the posterior covers the prior
        z = torch.linspace(0, 1, 20_001)[:, None]
        log_q = dist.Normal(loc[:, 0], 0.1).log_prob(z).logsumexp(1) - math.log(2)
        assert abs(found.inclusive_kl + log_q.mean()) < 4 * found.inclusive_kl.standard_error
        assert found.mutual_information == pytest.approx(math.log(2), abs=0.1)

    def test_categories(self, table_model):
        """Every quantity is a finite sum."""
        logits = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, -1.0]]).double()
        prior = OneHotCategorical(logits=torch.tensor([0.5, 0.0, 0.0]).double())
        model = table_model(lambda i: OneHotCategorical(logits=logits[i]), prior)
        found = decompose(model, torch.arange(2.0).double()[:, None], samples=4000)
        q, p = logits.softmax(1), prior.probs
        mean = q.mean(0)
        exact = {
            "rate": (q * (q / p).log()).sum(1).mean(),
            "mutual_information": (q * (q / mean).log()).sum(1).mean(),
            "aggregate_kl": (mean * (mean / p).log()).sum(),
            "inclusive_kl": (p * (p / mean).log()).sum(),
        }
        for name, value in exact.items():
            estimate = getattr(found, name)
            assert abs(estimate - value) <= 4 * estimate.standard_error + 1e-9, name
            assert estimate.standard_error < 0.05

    def test_posteriors_without_a_mean(self, table_model):
        loc = torch.tensor([[0.0], [5.0]])
        model = table_model(
            lambda i: Independent(Cauchy(loc[i], torch.ones(1)), 1),
            Independent(Cauchy(torch.zeros(1), torch.ones(1)), 1),
        )
        found = decompose(model, torch.arange(2.0)[:, None], samples=2000)
        assert 0.2 < found.mutual_information < math.log(2)
        assert math.isnan(found.signal)
        assert found.to_dict()["signal"] == [None]
        assert not any("collapse" in text for text in found.warnings)

    def test_a_prior_without_a_density(self, table_model):
        class Sampler(dist.Delta):
            """Draws from somewhere, of no known density."""

            def __init__(self):
                super().__init__(torch.zeros(1))

            def log_prob(self, value):
                raise NotImplementedError

            has_density = True

            def sample(self, sample_shape=()):
                return torch.randn(*sample_shape, 1)

        loc = torch.tensor([[0.0], [5.0]])
        model = table_model(lambda i: Independent(dist.Normal(loc[i], 1.0), 1), Sampler())
        found = decompose(model, torch.arange(2.0)[:, None], samples=500)
        assert found.not_defined["rate"] == found.not_defined["inclusive_kl"]
        assert found.not_defined["rate"] == "the prior has no density"
        assert found.mutual_information > 0.6
        assert found.mmd > 0.5


class TestPrinting:
    def test_values_stand_in_columns(self, random_table):
        table = random_table(20, 3, seed=2)
        found = decompose(table.model, table.x)
        lines = str(found).splitlines()
        split = next(i for i, line in enumerate(lines) if line.startswith("dimension"))
        head = lines[: next(i for i, line in enumerate(lines) if line.startswith("dimension  "))]
        values = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in head}
        assert len(values) == 1
        assert f"{found.mutual_information} nats, at most {math.log(20):.3f}" in str(found)
        assert f"{found.total_correlation:.3f} ±" in str(found)
        split = len(head)
        table_rows = lines[split : split + 4]
        assert len({len(row) for row in table_rows}) == 1
        order = found.kl_per_dimension.argsort(descending=True).tolist()
        assert [row.split()[0] for row in table_rows[1:]] == [f"z{d}" for d in order]
        assert f"{found.kl_per_dimension[order[0]]:.3f}" in table_rows[1]

    def test_to_dict_holds_every_number(self, random_table):
        table = random_table(20, 3, seed=2)
        found = decompose(table.model, table.x)
        stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert stored["mutual_information"] == {
            "value": float(found.mutual_information),
            "standard_error": found.mutual_information.standard_error,
        }
        assert stored["signal"] == found.signal.tolist()
        assert stored["active"]["mask"] == found.active.mask.tolist()
        assert stored["data"] == stored["points"] == 20
        assert len(stored["dimensionwise_kl_per_dimension"]) == 3

    def test_one_sample_has_no_standard_error(self, tables):
        found = decompose(tables([[0.3]], 1.0).model, torch.zeros(1, 1).double())
        assert math.isnan(found.sampled_rate.standard_error)
        assert found.to_dict()["sampled_rate"]["standard_error"] is None
        assert "nan" not in str(found)


class TestEstimate:
    @pytest.mark.parametrize(
        ("population", "square"),
        [
            # of two data 0 2 | 3 7: their means 1 and 5 have variance 8, within them 2 and 8
            (2, 5 / 4),
            (8, 0.25 * 5 / 4 + 0.75 * 8 / 2),
        ],
    )
    def test_the_error_of_two_stages_by_hand(self, population, square):
        values = torch.tensor([[0.0, 3.0], [2.0, 7.0]])
        found = mean_of(values, population)
        assert (found, found.standard_error**2) == (3, pytest.approx(square))
        one = mean_of(values[:1], population)
        assert (one, one.standard_error**2) == (1.5, pytest.approx(4.5 / 2))
        exact = mean_of(values[:1], population, sampled=False)
        assert exact.standard_error**2 == pytest.approx((1 - 2 / population) * 4.5 / 2)

    def test_is_a_number_that_keeps_its_error(self):
        found = Estimate(1.5, 0.25)
        assert found + 1 == 2.5
        assert type(found + 1) is float
        assert str(found) == "1.500 ± 0.250"
        assert str(Estimate(-1e-9)) == "0.000"
        copy = pickle.loads(pickle.dumps(found))
        assert (copy, copy.standard_error) == (1.5, 0.25)
        assert repr(copy) == "Estimate(1.5, 0.25)"


class TestBadInput:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"points": N + 1},
            {"points": 0},
            {"points": 2.5},
            {"samples": 0},
            {"samples": True},
            {"batch_size": 0},
            {"context": "labels"},
        ],
    )
    @pytest.mark.parametrize("function", [decompose, overlap, evaluation.independence])
    def test_arguments(self, x, is_clear, function, arguments):
        with pytest.raises((TypeError, ValueError)) as raised:
            function(model(), x, **arguments)
        is_clear(raised.value)

    @pytest.mark.parametrize(
        "function",
        [
            decompose,
            overlap,
            evaluation.independence,
            evaluation.sparsity,
            evaluation.clusters,
            evaluation.aggregate_posterior,
        ],
    )
    @pytest.mark.parametrize(
        "make",
        [
            lambda x: x[:0],
            lambda x: x[:, :3],
            lambda x: x.numpy(),
            lambda x: x * math.nan,
            lambda x: iter(()),
            lambda x: "data",
        ],
        ids=["empty", "shape", "array", "nan", "exhausted", "string"],
    )
    def test_data(self, x, is_clear, function, make):
        with pytest.raises((TypeError, ValueError)) as raised:
            function(model(prior=priors.Mixture(D, 2)), make(x))
        is_clear(raised.value)

    @pytest.mark.parametrize("threshold", ["0.1", None, math.nan])
    def test_a_threshold_of_active_units(self, x, is_clear, threshold):
        with pytest.raises(ValueError, match="threshold") as raised:
            evaluation.active_units(model(), x, threshold=threshold)
        is_clear(raised.value)

    def test_no_model(self, x, is_clear):
        with pytest.raises(TypeError) as raised:
            decompose(None, x)
        is_clear(raised.value)

    def test_encoder_and_prior_of_unequal_dimensions(self, table_model, is_clear):
        two = Independent(dist.Normal(torch.zeros(2), 1.0), 1)
        model = table_model(lambda i: Independent(dist.Normal(torch.zeros(len(i), 3), 1.0), 1), two)
        for function in (decompose, overlap):
            with pytest.raises(ValueError, match="same latent_dim") as raised:
                function(model, torch.zeros(5, 1))
            is_clear(raised.value)

    def test_the_model_gets_its_mode_back_and_no_gradient(self, x):
        m = model()
        m.decoder.eval()
        q = evaluation.aggregate_posterior(m, x)
        assert m.training
        assert not m.decoder.training
        assert not q.log_prob(torch.zeros(3, D)).requires_grad
