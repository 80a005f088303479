"""The parts of the rate against numerical integration, on models whose posteriors are a table."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent
from torch.utils.data import DataLoader, TensorDataset

from disvae import VAE, priors
from disvae import distributions as dist
from disvae.evaluation import decompose
from disvae.evaluation.divergences import split_of
from disvae.evaluation.points import draw, encoded, missing


class Part(nn.Module):
    """A part that returns what a function makes of its arguments."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def within(found, exact, errors=4.0, floor=1e-9):
    """Whether an estimate is within some of its standard errors of the truth."""
    return abs(found - exact) <= errors * found.standard_error + floor


def exact_distortion(table):
    square = (table.x[:, 0] - table.loc.sum(1)).square() + table.scale.square().sum(1)
    return (0.5 * square + 0.5 * math.log(2 * math.pi)).mean().item()


def exact_rate(table):
    """Of each dimension, to a standard normal."""
    loc, scale = table.loc, table.scale
    return (0.5 * (loc.square() + scale.square() - 1) - scale.log()).mean(0)


class TestAgainstQuadrature:
    @pytest.mark.parametrize(("size", "dim"), [(5, 1), (4, 2)])
    def test_every_part(self, random_table, log_prob_of, size, dim):
        table = random_table(size, dim, seed=dim)
        found = decompose(table.model, table.x, samples=3000)
        assert found.points == 3000 * size
        prior = table.prior()
        log_p, single_p = log_prob_of(prior), log_prob_of(prior.base_dist)
        z, cell = table.grid(range(dim))
        density, log_q = np.exp(log_p(z)), table.log_aggregate(z)
        exact = {
            "mutual_information": table.information(),
            "total_correlation": table.dependence([(d,) for d in range(dim)]),
            "dimensionwise_kl": sum(
                table.divergence([d], lambda z, d=d: single_p(z.repeat(dim, -1))[..., d])
                for d in range(dim)
            ),
            "aggregate_kl": table.divergence(range(dim), log_p),
            "inclusive_kl": (density * (log_p(z) - log_q)).sum() * cell,
            "rate": exact_rate(table).sum().item(),
            "distortion": exact_distortion(table),
        }
        exact["sampled_rate"] = exact["rate"]
        exact["elbo"] = -exact["rate"] - exact["distortion"]
        for name, value in exact.items():
            estimate = getattr(found, name)
            assert within(estimate, value), (name, estimate, value)
            assert estimate.standard_error < 0.08, name
        assert found.total_correlation.standard_error > 0 or dim == 1
        assert found.rate.standard_error == 0
        assert decompose(table.model, table.x).rate.standard_error == 0
        torch.testing.assert_close(found.scale, table.scale.mean(0))
        torch.testing.assert_close(found.spread, table.loc.std(0, correction=0))
        torch.testing.assert_close(found.kl_per_dimension, exact_rate(table))
        for d in range(dim):
            one = type(table)(table.loc[:, [d]], table.scale[:, [d]])
            assert within(found.information_per_dimension[d], one.information())
            alone = one.divergence([0], lambda z, d=d: single_p(z.repeat(dim, -1))[..., d])
            assert within(found.dimensionwise_kl_per_dimension[d], alone)

    def test_a_posterior_with_dependent_dimensions(self, table_model, random_table):
        """I = E_n KL(q_n ‖ q), TC from the joint density, with the marginals of a full normal."""
        table = random_table(4, 2, seed=3)
        tril = torch.tensor([[0.7, 0.0], [0.5, 0.4]]).double().expand(4, 2, 2)
        model = table_model(
            lambda i: dist.MultivariateNormal(table.loc[i], scale_tril=tril[i]), table.prior
        )
        found = decompose(model, table.x, samples=3000)
        z, cell = table.grid((0, 1))
        q = dist.MultivariateNormal(table.loc, scale_tril=tril)
        log_q = q.log_prob(torch.as_tensor(z).unsqueeze(1)).numpy()
        log_mean = np.logaddexp.reduce(log_q, axis=1) - math.log(4)
        information = (np.exp(log_q) * (log_q - log_mean[:, None])).sum() * cell / 4
        assert within(found.mutual_information, information)
        alone = type(table)(table.loc, (tril @ tril.mT).diagonal(dim1=1, dim2=2).sqrt())
        marginal = alone.log_aggregate(z[:, :1], [0]) + alone.log_aggregate(z[:, 1:], [1])
        correlation = (np.exp(log_mean) * (log_mean - marginal)).sum() * cell
        assert within(found.total_correlation, correlation)
        assert found.total_correlation.standard_error < 0.02
        assert found.kl_per_dimension is None
        assert found.not_defined["kl_per_dimension"] == "posterior or prior does not factorise"

    def test_posteriors_of_another_family(self, table_model):
        loc, x = torch.tensor([[-1.0], [0.0], [2.0]]).double(), torch.arange(3.0).double()[:, None]
        model = table_model(
            lambda i: Independent(dist.Laplace(loc[i], torch.ones(1).double()), 1),
            priors.Laplace(1).double(),
        )
        found = decompose(model, x, samples=5000)
        z = np.arange(-40, 40, 1e-3)
        log_q = -np.abs(z[:, None] - loc.numpy()[:, 0]) - math.log(2)
        log_mean = np.logaddexp.reduce(log_q, axis=1) - math.log(3)
        information = (np.exp(log_q) * (log_q - log_mean[:, None])).sum() * 1e-3 / 3
        assert within(found.mutual_information, information)
        assert found.mutual_information.standard_error < 0.01

    def test_on_a_circle_the_joint_density_alone_is_enough(self, table_model):
        angle = torch.tensor([0.0, 0.5, 3.0]).double()
        loc = torch.stack((angle.cos(), angle.sin()), 1)
        kappa = torch.tensor([3.0, 1.0, 8.0]).double()
        uniform = dist.HypersphericalUniform(2, dtype=torch.float64)
        model = table_model(lambda i: dist.PowerSpherical(loc[i], kappa[i]), uniform)
        found = decompose(model, torch.arange(3.0).double()[:, None], samples=4000)
        t = torch.arange(0, 2 * math.pi, 2 * math.pi / 4000).double()
        circle = torch.stack((t.cos(), t.sin()), 1)
        log_q = dist.PowerSpherical(loc, kappa).log_prob(circle.unsqueeze(1))
        log_mean, cell = log_q.logsumexp(1) - math.log(3), 2 * math.pi / 4000
        information = (log_q.exp() * (log_q - log_mean[:, None])).sum() * cell / 3
        beyond = (log_mean.exp() * (log_mean + math.log(2 * math.pi))).sum() * cell
        holes = ((-math.log(2 * math.pi) - log_mean) / (2 * math.pi)).sum() * cell
        assert within(found.mutual_information, information.item())
        assert within(found.aggregate_kl, beyond.item())
        assert within(found.inclusive_kl, holes.item())
        assert found.mutual_information.standard_error < 0.02
        assert set(found.not_defined) == {
            "kl_per_dimension",
            "information_per_dimension",
            "total_correlation",
            "dimensionwise_kl",
            "dimensionwise_kl_per_dimension",
            "prior_information",
        }

    def test_a_linear_gaussian_model_at_its_optimum(self):
        """z ~ N(0, 1), x = w z + σ ε, true posteriors, and data at the quantiles of x.

        The bound is log p(x), the aggregate is the prior, I is the capacity of the channel.
        """
        w, sigma = 1.5, 0.6
        total = w**2 + sigma**2
        u = (torch.arange(2000).double() + 0.5) / 2000
        x = total**0.5 * dist.Normal(torch.zeros(1).double(), 1.0).icdf(u)[:, None]

        def encoder(x):
            loc = w * x / total
            return Independent(dist.Normal(loc, torch.full_like(loc, sigma / total**0.5)), 1)

        def decoder(z):
            return Independent(dist.Normal(w * z, torch.full_like(z, sigma)), 1)

        model = VAE(Part(encoder), Part(decoder), prior=priors.Normal(1).double())
        found = decompose(model, x, samples=2)
        exact = dist.Normal(torch.zeros(1).double(), total**0.5).log_prob(x).mean().item()
        assert within(found.elbo, exact)
        assert found.elbo.standard_error < 0.02
        assert within(found.mutual_information, 0.5 * math.log(total / sigma**2), floor=2e-3)
        assert within(found.aggregate_kl, 0.0, floor=2e-3)
        assert within(found.inclusive_kl, 0.0, floor=2e-3)
        assert found.signal.item() == pytest.approx(w**2 / total, abs=2e-3)
        assert found.spread.item() == pytest.approx(w / total**0.5, abs=2e-3)
        assert found.scale.item() == pytest.approx(sigma / total**0.5)
        assert found.outside.item() == pytest.approx(0.002, abs=0.003)
        assert found.warnings == ()

    def test_the_mmd_is_that_of_the_whole_mixture(self, tables):
        """Two posteriors far apart: draws of one and the same datum belong to q(z) too."""
        table = tables([[-2.0], [2.0]], [[0.3], [0.5]])
        z, cell = table.grid((0,))
        difference = np.exp(table.log_aggregate(z)) - np.exp(-0.5 * z[:, 0] ** 2) / math.sqrt(
            2 * math.pi
        )
        square = (z - z.T) ** 2
        kernel = sum(2 * c / (2 * c + square) for c in (0.1, 0.2, 0.5, 1, 2, 5, 10))
        exact = difference @ kernel @ difference * cell**2
        found = [decompose(table.model, table.x, samples=200).mmd for _ in range(40)]
        errors = [value.standard_error for value in found]
        assert np.mean(found) == pytest.approx(exact, abs=4 * np.mean(errors) / 40**0.5)
        assert 0.5 < np.std(found, ddof=1) / np.mean(errors) < 1.6
        assert np.mean(errors) < 0.2 * exact


class TestTheorems:
    @settings(max_examples=25)
    @given(
        size=st.integers(1, 8),
        dim=st.integers(1, 3),
        spread=st.floats(0.0, 20.0),
        seed=st.integers(0, 10**6),
    )
    def test_the_parts_add_up_on_the_same_samples(self, random_table, size, dim, spread, seed):
        table = random_table(size, dim, seed, spread=spread)
        found = decompose(table.model, table.x, samples=40)
        information, beyond = found.mutual_information, found.aggregate_kl
        parts = information + found.total_correlation + found.dimensionwise_kl
        assert parts == pytest.approx(found.sampled_rate, abs=1e-9)
        assert information + beyond == pytest.approx(found.sampled_rate, abs=1e-9)
        singles = sum(found.dimensionwise_kl_per_dimension)
        assert singles == pytest.approx(found.dimensionwise_kl, abs=1e-9)
        # of a factorised posterior, dependence is what single dimensions know twice
        twice = sum(found.information_per_dimension) - information
        assert twice == pytest.approx(found.total_correlation, abs=1e-9)
        # the averaged divergence: I_q(x; z) + KL(q(z) ‖ p(z)), and 0 ≤ I ≤ log N
        error = found.sampled_rate.standard_error
        assert abs(information + beyond - found.rate) <= 5 * error + 1e-9
        assert -5 * information.standard_error - 1e-9 <= information <= found.ceiling + 1e-9
        assert found.ceiling == math.log(size)
        assert found.elbo + found.distortion + found.rate == pytest.approx(0, abs=1e-9)

    def test_a_mixture_prior_has_two_parts(self, random_table, log_prob_of):
        means = torch.tensor([[0.0, 1.5], [0.0, -1.5]])
        prior = priors.Mixture(2, means=means, scales=0.6).double()
        table = random_table(5, 2, seed=4, prior=prior)
        found = decompose(table.model, table.x, samples=2000)
        parts = found.mutual_information + found.aggregate_kl
        assert parts == pytest.approx(found.sampled_rate, abs=1e-9)
        assert within(found.aggregate_kl, table.divergence((0, 1), log_prob_of(prior())))
        assert found.dimensionwise_kl is None
        assert found.not_defined["dimensionwise_kl"] == "the prior does not factorise"
        assert within(found.rate, found.sampled_rate, errors=5)
        assert found.rate.standard_error > 0  # there is no closed form

    @pytest.mark.parametrize("batch_size", [4, 100])
    def test_a_prior_that_knows_a_context(self, random_table, table_model, batch_size):
        table = random_table(6, 1, seed=5)
        context = torch.tensor([[0.0], [1.0], [-1.0], [2.0], [0.5], [0.0]]).double()
        model = table_model(
            lambda i: Independent(dist.Normal(table.loc[i], table.scale[i]), 1),
            lambda c: Independent(dist.Normal(c, torch.full_like(c, 0.8)), 1),
        )
        found = decompose(model, table.x, samples=2000, context=context, batch_size=batch_size)
        mixture = type(table)(context, 0.8)
        beyond = table.divergence([0], mixture.log_aggregate)
        z, cell = mixture.grid([0])
        log_p, log_q = mixture.log_aggregate(z), table.log_aggregate(z)
        holes = (np.exp(log_p) * (log_p - log_q)).sum() * cell
        z, cell = table.grid([0])
        gain = mixture.log_q(z) - mixture.log_aggregate(z)[:, None]  # of each datum's own prior
        known = (np.exp(table.log_q(z)) * gain).sum() * cell / 6
        assert within(found.aggregate_kl, beyond)
        assert within(found.inclusive_kl, holes)
        assert within(found.prior_information, known)
        assert found.prior_information.standard_error < 0.02
        parts = found.mutual_information + found.aggregate_kl - found.prior_information
        assert parts == pytest.approx(found.sampled_rate, abs=1e-9)
        assert within(found.sampled_rate, found.rate)
        assert found.dimensionwise_kl is None
        assert "context" in found.not_defined["dimensionwise_kl"]
        assert "known to the prior" in str(found)

    def test_posteriors_that_are_the_prior(self, tables):
        found = decompose(tables(torch.zeros(7, 3), 1.0).model, torch.arange(7.0)[:, None].double())
        for name in (
            "rate",
            "sampled_rate",
            "mutual_information",
            "total_correlation",
            "dimensionwise_kl",
            "aggregate_kl",
            "inclusive_kl",
        ):
            assert abs(getattr(found, name)) < 1e-12, name
        assert abs(found.mmd) < 5 * found.mmd.standard_error
        assert found.signal.tolist() == [0, 0, 0]
        assert found.warnings == ("posterior collapse of all dimensions: no information "
                                  "about the data",)  # fmt: skip

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_posteriors_that_do_not_overlap(self, table_model, dtype):
        loc = torch.linspace(-3, 3, 11, dtype=dtype)[:, None].expand(11, 2)
        model = table_model(
            lambda i: Independent(dist.Normal(loc[i], torch.full_like(loc[i], 1e-4)), 1),
            priors.Normal(2).to(dtype),
        )
        found = decompose(model, torch.arange(11, dtype=dtype)[:, None], samples=3)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-12
        assert found.mutual_information == pytest.approx(math.log(11), abs=tolerance)
        assert found.mutual_information.standard_error < tolerance
        # each dimension alone names the datum
        assert found.total_correlation == pytest.approx(math.log(11), abs=tolerance)
        assert any(text.startswith("look-up table") for text in found.warnings)
        assert all(math.isfinite(v) for v in (found.rate, found.inclusive_kl, found.mmd))

    @pytest.mark.parametrize("scale", [1e-3, 30.0])
    def test_what_a_change_of_units_leaves_alone(self, random_table, tables, scale):
        table = random_table(30, 2, seed=6)
        other = tables(table.loc * scale, table.scale * scale)
        with dist.replace_noise(halves):
            one, two = (decompose(t.model, t.x) for t in (table, other))
        for name in ("mutual_information", "total_correlation"):
            assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-9)
        torch.testing.assert_close(one.signal, two.signal)
        torch.testing.assert_close(one.scale * scale, two.scale)
        torch.testing.assert_close(one.spread * scale, two.spread)
        assert one.active.count == 2
        assert two.active.count == (0 if scale < 1 else 2)


def halves(sampler, shape, *, dtype, device):
    """In place of noise, the same number everywhere."""
    return torch.full(shape, 0.5, dtype=dtype, device=device)


def steps(sampler, shape, *, dtype, device):
    """In place of uniform noise, evenly spaced numbers: every component is drawn as often."""
    if sampler is torch.rand:
        count = math.prod(shape)
        return ((torch.arange(count, dtype=dtype) + 0.5) / count).reshape(shape)
    return halves(sampler, shape, dtype=dtype, device=device)


def numbers(found):
    """All numbers of a result, by the path to them."""

    def walk(value, path):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from walk(item, (*path, key))
        elif isinstance(value, list):
            for key, item in enumerate(value):
                yield from walk(item, (*path, key))
        else:
            yield path, value

    return dict(walk(found.to_dict(), ()))


class TestSampling:
    @pytest.mark.parametrize("samples", [1, 3])
    def test_batches_do_not_change_it(self, random_table, samples):
        table = random_table(23, 2, seed=7)
        with dist.replace_noise(steps):
            whole, *others = (
                numbers(decompose(table.model, table.x, samples=samples, batch_size=b))
                for b in (23, 1, 5, 1000)
            )
        for other in others:
            assert other == pytest.approx(whole, abs=1e-10)

    def test_the_order_of_the_data_does_not_change_it(self, random_table):
        table = random_table(20, 2, seed=8)
        order = torch.randperm(20)
        with dist.replace_noise(steps):
            one, two = (
                numbers(decompose(table.model, x, batch_size=7)) for x in (table.x, table.x[order])
            )
        for values in (one, two):
            del values["mmd", "standard_error"]  # by blocks of the draws in their order
        assert one == pytest.approx(two, abs=1e-10)

    def test_loaders_iterators_and_second_items(self, random_table):
        table = random_table(20, 2, seed=8)
        labels = torch.arange(20) % 3
        data = TensorDataset(table.x, labels)
        forms = [
            data,
            DataLoader(data, batch_size=6, shuffle=True),
            iter([table.x[:15], table.x[15:]]),
        ]
        with dist.replace_noise(steps):
            expected = decompose(table.model, table.x)
            for form in forms:
                found = decompose(table.model, form)
                assert found.mutual_information == pytest.approx(expected.mutual_information)
                assert found.total_correlation == pytest.approx(expected.total_correlation)
                assert found.data == 20

    def test_points_of_a_part_of_the_data_are_unbiased(self, random_table):
        """The aggregate of the points' own data would bound I by log 3, and bias TC."""
        table = random_table(12, 2, seed=9, spread=3.0)
        exact = {
            "mutual_information": table.information(),
            "total_correlation": table.dependence([(0,), (1,)]),
        }
        assert exact["mutual_information"] > math.log(3) + 0.3
        found = [some_points(table, points=3, samples=1) for _ in range(500)]
        assert {at.z.shape for at, _ in found} == {(1, 3, 2)}
        for name, value in exact.items():
            values = [getattr(split, name) for _, split in found]
            error = np.std(values, ddof=1) / 500**0.5
            assert np.mean(values) == pytest.approx(value, abs=4 * error)

    @pytest.mark.parametrize(
        ("points", "samples", "low", "high"),
        [(12, 4, 0.85, 1.15), (3, 3, 0.8, 1.2), (7, 2, 0.85, 1.15), (3, 1, 0.8, 1.3),
         (12, 1, 1.1, 9.0)],
    )  # fmt: skip
    def test_standard_errors_are_those_of_repeated_runs(
        self, random_table, points, samples, low, high
    ):
        """With one sample of every datum they are too large, as said; else right."""
        table = random_table(12, 2, seed=10, spread=2.0)
        found = [some_points(table, points, samples)[1].total_correlation for _ in range(400)]
        squares = np.mean([value.standard_error**2 for value in found]) ** 0.5
        assert low < squares / np.std(found, ddof=1) < high

    def test_what_is_chosen_by_default(self, random_table, monkeypatch):
        table = random_table(300, 2, seed=11)
        assert decompose(table.model, table.x, samples=3).points == 900
        for points, draws in ((120, 360), (20, 100), (300, 900)):
            found = decompose(table.model, table.x, samples=3, points=points)
            assert (found.points, found.mmd_samples) == (3 * points, draws)
        assert decompose(table.model, table.x, samples=7).mmd_samples == 2000
        for budget, points in ((300 * 900 * 2, 900), (300 * 700 * 2, 600), (300 * 150 * 2, 150)):
            monkeypatch.setattr("disvae.evaluation.points._OF_NORMALS", budget)
            assert decompose(table.model, table.x, samples=3).points == points
        monkeypatch.setattr("disvae.evaluation.points._OF_NORMALS", 1)
        assert decompose(table.model, table.x, samples=3).points == 100


def some_points(table, points, samples):
    """The points and the split alone, which is quick."""
    found = encoded(table.model, table.x, None, 512)
    why = missing(found.q, found.p)
    at = draw(found, why, samples, points)
    return at, split_of(found, at, why)
