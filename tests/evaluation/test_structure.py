"""Structure of the aggregate posterior: dependence, subspaces, sparsity, clusters."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal
from torch.utils.data import DataLoader, TensorDataset

from disvae import VAE, decoders, encoders, metrics, posteriors, priors
from disvae import distributions as dist
from disvae.evaluation import (
    clusters,
    independence,
    overlap,
    random_rotation,
    rotate,
    sparsity,
    subspaces,
)
from disvae.nn import Unconditional


def within(found, exact, errors=4.0, floor=1e-9):
    return abs(found - exact) <= errors * found.standard_error + floor


@pytest.fixture
def correlated(tables):
    """Means on a noisy line, in three dimensions of which the last stands apart."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=(8, 1))
    loc = np.hstack([t, t + 0.3 * rng.normal(size=(8, 1)), rng.normal(size=(8, 1))])
    return tables(loc, rng.uniform(0.3, 0.6, size=(8, 3)))


class TestIndependence:
    def test_by_quadrature(self, correlated, tables):
        two = tables(correlated.loc[:, :2], correlated.scale[:, :2])
        found = independence(two.model, two.x, samples=2000)
        exact = two.dependence([(0,), (1,)])
        assert exact > 0.2
        assert within(found.total_correlation, exact)
        assert found.total_correlation.standard_error < 0.01
        # of two dimensions the pair is the whole
        assert abs(found.pairs[0, 1] - exact) < 4 * found.pair_errors[0, 1]

    def test_every_pair_by_quadrature(self, correlated, tables):
        found = independence(correlated.model, correlated.x, samples=1500, batch_size=3)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            pair = tables(correlated.loc[:, [i, j]], correlated.scale[:, [i, j]])
            exact = pair.dependence([(0,), (1,)])
            assert abs(found.pairs[i, j] - exact) < 4 * found.pair_errors[i, j]
            assert found.pair_errors[i, j] < 0.02
        torch.testing.assert_close(found.pairs, found.pairs.mT)
        assert found.pairs.diagonal().tolist() == [0, 0, 0]
        first, *_ = (line for line in str(found).splitlines() if line.startswith("I(z"))
        assert first.startswith("I(z0; z1)")
        assert f"{found.pairs[0, 1]:.3f} ±" in first

    def test_the_gaussian_one_has_the_covariance_of_the_mixture(self, correlated):
        found = independence(correlated.model, correlated.x, samples=3000)
        loc = correlated.loc - correlated.loc.mean(0)
        covariance = loc.T @ loc / 8 + torch.diag(correlated.scale.square().mean(0))
        scale = covariance.diagonal().sqrt()
        exact = -0.5 * torch.logdet(covariance / scale / scale[:, None]).item()
        assert found.gaussian == pytest.approx(exact, abs=0.03)

    def test_linear_independence_is_not_independence(self, tables):
        """A parabola: no correlation, and one dimension tells the other."""
        t = torch.linspace(-2, 2, 41).double()
        table = tables(torch.stack((t, t.square()), 1), 0.1)
        found = independence(table.model, table.x, samples=50)
        assert found.gaussian < 0.02
        assert found.total_correlation > 1

    def test_a_grid_is_independent(self, tables):
        """The product of two sets of posteriors factorises at every point."""
        a, b = torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([0.0, 1.0])
        table = tables(torch.cartesian_prod(a, b), torch.tensor([0.4, 0.7]))
        found = independence(table.model, table.x, samples=10)
        assert abs(found.total_correlation) < 1e-12
        assert found.total_correlation.standard_error < 1e-12
        assert abs(found.pairs[0, 1]) < 1e-12

    def test_pieces_and_fewer_points_for_pairs(self, correlated, monkeypatch):
        whole = independence(correlated.model, correlated.x, samples=100)
        monkeypatch.setattr("disvae.evaluation.structure._NUMBERS", 30)
        torch.manual_seed(0)
        pieces = independence(correlated.model, correlated.x, samples=100)
        assert (pieces.pairs - whole.pairs).abs().max() < 0.1
        monkeypatch.setattr("disvae.evaluation.structure._PAIRS", 8 * 3 * 200)
        few = independence(correlated.model, correlated.x, samples=100)
        ratio = (few.pair_errors / whole.pair_errors)[0, 1].item()
        assert ratio == pytest.approx(2, rel=0.3)

    def test_few_points_for_pairs_are_of_all_data(self, correlated, tables, monkeypatch):
        monkeypatch.setattr("disvae.evaluation.structure._PAIRS", 1)
        monkeypatch.setattr("disvae.evaluation.structure._LEAST", 3)
        two = tables(correlated.loc[:, :2], correlated.scale[:, :2])
        found = [independence(two.model, two.x).pairs[0, 1].item() for _ in range(400)]
        error = np.std(found, ddof=1) / 400**0.5
        assert np.mean(found) == pytest.approx(two.dependence([(0,), (1,)]), abs=4 * error)

    @pytest.mark.filterwarnings("error")
    def test_one_point_has_no_errors(self, random_table):
        table = random_table(1, 2)
        found = independence(table.model, table.x)
        assert found.pairs.tolist() == [[0, 0], [0, 0]]
        assert found.pair_errors.isnan().all()
        assert "nan" not in str(found)

    def test_dependent_posteriors_have_no_pairs(self):
        encoder = encoders.MLP(8, 2, posterior=posteriors.FullNormal)
        model = VAE(encoder, decoders.MLP(2, 8), prior=priors.Normal(2))
        found = independence(model, torch.rand(30, 8))
        assert found.pairs is found.pair_errors is None
        assert "not defined" in str(found)
        assert found.to_dict()["pairs"] is None

    def test_an_infinite_value_goes_into_json(self, tables):
        """Posteriors without any width on a line: one dimension is the other."""
        table = tables(torch.linspace(-1, 1, 50)[:, None].expand(50, 2), 1e-30)
        found = independence(table.model, table.x)
        assert found.gaussian == math.inf
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["gaussian"] is None

    def test_one_dimension_depends_on_nothing(self, random_table):
        table = random_table(5, 1)
        found = independence(table.model, table.x)
        assert found.total_correlation == pytest.approx(0, abs=1e-12)
        assert found.gaussian == pytest.approx(0, abs=1e-12)
        assert "total correlation" in str(found)

    @pytest.mark.parametrize("head", [posteriors.Deterministic, posteriors.RelaxedCategorical])
    def test_no_marginals_is_an_error(self, head, is_clear):
        encoder = encoders.MLP(8, 2, posterior=head)
        model = VAE(encoder, decoders.MLP(2, 8), prior=priors.Normal(2))
        for function in (independence, lambda *given: subspaces(*given, [(0, 1)])):
            with pytest.raises(ValueError, match="densities of their own") as raised:
                function(model, torch.rand(30, 8))
            is_clear(raised.value)


@pytest.mark.parametrize(
    "function",
    [independence, sparsity, overlap, lambda *given, **k: subspaces(*given, [(1,), (0, 2)], **k)],
    ids=["independence", "sparsity", "overlap", "subspaces"],
)
def test_a_context_reaches_the_encoder(function, random_table):
    """Posteriors whose means are the context, beside the same ones from a table."""
    table = random_table(7, 3, seed=2)

    class Shifted(torch.nn.Module):
        def forward(self, x, context):
            scale = table.scale[x[:, 0].round().long()]
            return Independent(dist.Normal(context, scale), 1)

    prior, decoder = Unconditional(table.prior), Unconditional(table.model.decoder)
    model = VAE(Shifted(), decoder, prior=prior)
    with dist.seeded(0):
        expected = function(table.model, table.x, batch_size=3)
    with dist.seeded(0):
        found = function(model, table.x, context=table.loc, batch_size=3)
    assert found.to_dict() == expected.to_dict()


class TestSubspaces:
    @settings(max_examples=15)
    @given(size=st.integers(1, 6), seed=st.integers(0, 10**6))
    def test_between_and_within_make_the_total(self, random_table, size, seed):
        table = random_table(size, 4, seed, spread=2.0)
        found = subspaces(table.model, table.x, [(3, 0), (1,), (2,)], samples=10)
        assert found.between + found.within == pytest.approx(found.total_correlation, abs=1e-9)
        assert sum(found.within_each) == pytest.approx(found.within, abs=1e-9)
        assert found.within_each[1:] == pytest.approx((0, 0), abs=1e-12)

    def test_by_quadrature(self, correlated, tables):
        found = subspaces(correlated.model, correlated.x, [(0, 2), (1,)], samples=1500)
        pair = tables(correlated.loc[:, [0, 2]], correlated.scale[:, [0, 2]])
        within_pair = pair.dependence([(0,), (1,)])
        assert within(found.within, within_pair)
        assert within(found.within_each[0], within_pair)
        assert found.groups == ((0, 2), (1,))

    def test_independent_subspaces_have_all_of_it_within(self, tables):
        """Three points on a line times two: no dependence between the groups, at any point."""
        line, other = torch.tensor([-1.0, 0.5, 2.0]), torch.tensor([0.0, 1.0])
        product = torch.cartesian_prod(line, other)
        loc = torch.stack((product[:, 0], product[:, 1], product[:, 0]), 1)
        table = tables(loc, 0.5)
        found = subspaces(table.model, table.x, [(0, 2), (1,)], samples=2000)
        assert abs(found.between) < 1e-12
        assert found.between.standard_error < 1e-12
        pair = tables(torch.stack((line, line), 1), 0.5)
        assert within(found.within, pair.dependence([(0,), (1,)]))
        assert found.within > 0.2
        across = subspaces(table.model, table.x, [(0, 1), (2,)], samples=20)
        assert across.between > 0.2

    def test_posteriors_with_dependent_dimensions(self, table_model):
        """One posterior alone: the dependence is that of a normal, in closed form."""
        covariance = torch.tensor([[1.0, 0.6, 0.3], [0.6, 1.0, 0.2], [0.3, 0.2, 1.0]]).double()
        model = table_model(
            lambda i: dist.MultivariateNormal(torch.zeros(len(i), 3).double(), covariance),
            priors.Normal(3).double(),
        )
        x = torch.zeros(1, 1).double()
        found = subspaces(model, x, [(0, 1), (2,)], samples=20_000)
        within_pair = -0.5 * math.log(1 - 0.36)
        total = -0.5 * torch.logdet(covariance).item()
        assert within(found.within, within_pair)
        assert within(found.total_correlation, total)
        assert within(found.between, total - within_pair)

    def test_sharp_posteriors_that_were_rotated(self, table_model):
        """In float32: the dependence within the only group is the total."""
        loc, scale = torch.randn(40, 3), torch.tensor([1.0, 0.01, 1e-4])
        model = table_model(
            lambda i: Independent(dist.Normal(loc[i], scale), 1),
            Independent(dist.Normal(torch.zeros(3), 1.0), 1),
        )
        turned = rotate(model, random_rotation(3, generator=torch.Generator().manual_seed(0)))
        found = subspaces(turned, torch.arange(40.0)[:, None], [(2, 0, 1)], samples=20)
        assert abs(found.between) < 2e-3
        assert found.within == pytest.approx(found.total_correlation, abs=2e-3)
        assert found.total_correlation > 5

    def test_prints_its_groups(self, random_table):
        table = random_table(9, 3)
        found = subspaces(table.model, table.x, [(0, 2), (1,)])
        assert f"  z0, z2           {found.within_each[0]}" in str(found)
        stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert stored["groups"] == [[0, 2], [1]]

    @pytest.mark.parametrize(
        "groups", [[(0, 1)], [(0, 1), (1, 2)], [(0, 1, 2), ()], [(0, 1, 2, 3)], "012", [0, 1, 2], 3]
    )
    def test_wrong_groups(self, random_table, is_clear, groups):
        table = random_table(5, 3)
        with pytest.raises((TypeError, ValueError)) as raised:
            subspaces(table.model, table.x, groups)
        is_clear(raised.value)


class TestSparsity:
    def test_a_collapsed_dimension_is_not_blown_up(self, tables):
        """Two codes of which one is used at a time, and three that have collapsed."""
        rng = np.random.default_rng(0)
        size = 400
        loc = 1e-3 * rng.normal(size=(size, 5))
        loc[:, :2] = 0
        loc[np.arange(size), rng.integers(2, size=size)] = rng.normal(size=size)
        table = tables(loc, np.array([0.01, 0.01, 1, 1, 1]))
        found = sparsity(table.model, table.x)
        assert found.dimensions == (0, 1)
        assert found.codes == pytest.approx(1)
        assert found.codes == metrics.hoyer_sparsity(loc[:, :2])
        everything = metrics.hoyer_sparsity(loc)
        assert everything < 0.5  # what it would be with them
        assert found.codes_gaussian == metrics.hoyer_sparsity(rng.normal(size=(9, 2))).gaussian
        assert found.gaussian == everything.gaussian

    @pytest.mark.parametrize(
        ("prior", "exact"),
        [(priors.Normal(50), 0.23075), (priors.Sparse(50, 0.8, 0.05), 0.650),
         (priors.Sparse(50, 0.8, 0.05**0.5), 0.420)],
    )  # fmt: skip
    def test_samples_of_posteriors_that_are_the_prior(self, table_model, prior, exact):
        p = prior()
        model = table_model(lambda i: p.expand((len(i),)), prior)
        found = sparsity(model, torch.zeros(4000, 1))
        assert found.prior == pytest.approx(exact, abs=2e-3)
        assert within(found.prior, exact, floor=1e-3)
        assert found.samples == pytest.approx(exact, abs=5e-3)
        assert found.gaussian == pytest.approx(0.23075, abs=1e-5)
        assert 0 < found.prior.standard_error < 2e-3
        assert found.codes is None
        assert found.not_defined["codes"] == "0 dimensions carry a signal"
        assert "not defined (0 dimensions carry a signal)" in str(found)

    def test_the_threshold(self, tables):
        loc = torch.linspace(-1, 1, 60).double()[:, None] * torch.tensor([2.0, 1.0, 0.5, 0.1])
        table = tables(loc, 1.0)
        for threshold, kept in ((0.0, 4), (np.float32(0.01), 3), (0.1, 2), (1.0, 0)):
            assert len(sparsity(table.model, table.x, threshold=threshold).dimensions) == kept

    def test_codes_without_noise(self, table_model):
        loc = torch.randn(50, 3)
        model = table_model(lambda i: dist.Delta(loc[i]), priors.Normal(3))
        found = sparsity(model, torch.arange(50.0)[:, None])
        assert found.codes == found.samples == metrics.hoyer_sparsity(loc.numpy())
        stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert stored["dimensions"] == [0, 1, 2]

    def test_one_dimension_has_none(self, random_table):
        table = random_table(5, 1)
        found = sparsity(table.model, table.x)
        assert found.codes is found.samples is found.prior is found.gaussian is None
        assert str(found).count("not defined") == 5
        assert found.not_defined == {
            "codes": "one dimension carries a signal",
            "codes_gaussian": "one dimension carries a signal",
            "samples": "there is one dimension",
            "gaussian": "there is one dimension",
            "prior": "there is one dimension",
        }

    @pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan, "0.1", None])
    def test_wrong_threshold(self, random_table, is_clear, threshold):
        table = random_table(5, 2)
        with pytest.raises(ValueError, match="threshold") as raised:
            sparsity(table.model, table.x, threshold=threshold)
        is_clear(raised.value)


class TestClusters:
    MEANS = torch.tensor([[-1.0], [1.0]])

    def table(self, tables, loc, scale, weights=None, means=None):
        means = self.MEANS if means is None else means
        prior = priors.Mixture(
            means.shape[1], means=means, scales=0.5, weights=weights, learn=False
        ).double()
        return tables(loc, scale, prior)

    def test_responsibilities_by_hand(self, tables):
        """p(k=1 | z) = 1 / (1 + exp(-2 z / 0.25) w0 / w1), averaged over the posterior."""
        loc, scale = torch.tensor([[-0.5], [0.1], [0.8]]).double(), 0.3
        table = self.table(tables, loc, scale, weights=torch.tensor([1.0, 3.0]))
        found = clusters(table.model, table.x, samples=20_000)
        z = np.arange(-6, 6, 1e-3)
        responsible = 1 / (1 + np.exp(-8 * z) / 3)
        density = np.exp(-0.5 * ((z - loc.numpy()) / scale) ** 2) / scale / math.sqrt(2 * math.pi)
        r = (density * responsible).sum(1) * 1e-3
        r = np.stack([1 - r, r], 1)
        assert found.weights.numpy() == pytest.approx(r.mean(0), abs=0.01)
        entropy = -(r * np.log(r)).sum(1).mean()
        assert found.assignment_entropy == pytest.approx(entropy, abs=0.01)
        mean_entropy = -(r.mean(0) * np.log(r.mean(0))).sum()
        assert found.mean_entropy == pytest.approx(mean_entropy, abs=0.01)
        assert found.information == pytest.approx(mean_entropy - entropy, abs=0.015)

    @pytest.mark.parametrize("batch_size", [2, 100])
    def test_separate_clusters(self, tables, batch_size):
        """Weights 1/2, 1/4, 1/4, 0 of four components, and labels that cut across them."""
        means = torch.tensor([[0.0, 9.0], [9.0, 0.0], [0.0, -9.0], [-9.0, 0.0]])
        table = self.table(tables, means[[0, 0, 1, 2, 0, 0, 1, 2]], 0.1, means=means)
        labels = [5, 5, 7, 7, 5, 7, 7, 9]
        found = clusters(table.model, table.x, labels, batch_size=batch_size)
        assert found.assignment_entropy == pytest.approx(0, abs=1e-12)
        assert found.information == pytest.approx(1.5 * math.log(2))
        assert found.weights.tolist() == pytest.approx([0.5, 0.25, 0.25, 0])
        assert (found.components, found.used) == (4, 3)
        # component 0 holds 5 5 5 7, component 1 holds 7 7, component 2 holds 7 9
        assert found.purity == (3 + 2 + 1) / 8
        assert found.majority == 4 / 8
        assert found.classes == 3
        assert "0.750 (3 labels, majority 0.500)" in str(found)
        assert "3 of 4" in str(found)
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["purity"] == 0.75

    def test_a_component_is_used_from_a_tenth_of_its_share_on(self, tables):
        means = torch.tensor([[-9.0], [9.0]])
        for few, used in ((0, 1), (4, 1), (5, 2)):
            loc = torch.full((100, 1), 9.0)
            loc[:few] = -9.0
            table = self.table(tables, loc, 0.1, means=means)
            assert clusters(table.model, table.x).used == used

    def test_one_cluster_for_all(self, tables):
        table = self.table(tables, torch.zeros(6, 1), 1e-3)
        found = clusters(table.model, table.x)
        assert found.assignment_entropy == pytest.approx(math.log(2), abs=1e-3)
        assert abs(found.information) < 1e-4
        table = self.table(tables, torch.ones(6, 1), 1e-3)
        found = clusters(table.model, table.x, [0, 0, 0, 0, 1, 1])
        assert abs(found.information) < 1e-4
        assert found.used == 1
        assert found.purity == found.majority == 4 / 6

    def test_the_labels_of_the_data_set(self, tables):
        table = self.table(tables, torch.tensor([[-1.0], [-1.0], [1.0], [1.0]]), 0.01)
        labels = torch.tensor([0, 0, 1, 2])
        for y in (labels, labels[:, None], labels > 0):
            data = TensorDataset(table.x, y)
            expected = 1.0 if y.dtype == torch.bool else 0.75
            assert clusters(table.model, data).purity == expected
            loader = DataLoader(data, batch_size=3, shuffle=True)
            assert clusters(table.model, loader).purity == expected
        for y in (torch.rand(4), torch.zeros(4, 2).long()):
            found = clusters(table.model, TensorDataset(table.x, y))
            assert found.purity is found.majority is found.classes is None
            assert found.not_defined["purity"] == "the data have no class labels"
        assert "not defined (the data have no class labels)" in str(found)
        # given ones come before those of the data
        data = TensorDataset(table.x, labels)
        assert clusters(table.model, data, [0, 0, 1, 1]).purity == 1

    def test_any_mixture_over_vectors(self, table_model, tables):
        """Full covariances, and one mixture for each context, against diagonal ones."""
        loc = torch.tensor([[-1.0], [0.2], [1.0]]).double()
        weights = torch.tensor([1.0, 3.0])
        table = self.table(tables, loc, 1e-6, weights)
        expected = clusters(table.model, table.x)

        def mixture(*context):
            shape = (len(context[0]), 2) if context else (2,)
            means = self.MEANS.double().expand(*shape, 1)
            components = MultivariateNormal(means, 0.25 * torch.eye(1).double())
            return MixtureSameFamily(Categorical(weights.double().expand(shape)), components)

        def posterior(i):
            return Independent(dist.Normal(loc[i], torch.full_like(loc[i], 1e-6)), 1)

        model = table_model(posterior, mixture)
        for context in (None, torch.zeros(3, 1).double()):
            found = clusters(model, table.x, context=context, batch_size=2)
            torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=1e-4)
        assert clusters(model, table.x).components == 2

    @pytest.mark.parametrize(
        "prior",
        [
            priors.Normal(2),
            priors.Sparse(2),
            priors.Joint([priors.Mixture(1, 3), priors.Normal(1)]),
        ],
    )
    def test_other_priors_are_refused(self, prior, is_clear):
        model = VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=prior)
        with pytest.raises(ValueError, match=r"priors\.Mixture") as raised:
            clusters(model, torch.rand(5, 8))
        is_clear(raised.value)

    @pytest.mark.parametrize("prior", [priors.TreeMixture(2), None], ids=["tree", "vamp"])
    def test_trees_and_pseudo_inputs(self, prior):
        encoder = encoders.MLP(8, 2)
        prior = priors.Vamp(encoder, torch.rand(7, 8)) if prior is None else prior
        model = VAE(encoder, decoders.MLP(2, 8), prior=prior)
        found = clusters(model, torch.rand(30, 8))
        assert found.components in (7, 12)
        assert found.weights.sum() == pytest.approx(1)
        assert -1e-6 < found.information < math.log(found.components)

    @pytest.mark.parametrize(
        "labels", [[0, 1], np.zeros((6, 2), int), [0.5] * 6, list("abcdef"), [[0, 1], [2]]]
    )
    def test_wrong_labels(self, tables, is_clear, labels):
        table = self.table(tables, torch.zeros(6, 1), 1.0)
        with pytest.raises((TypeError, ValueError)) as raised:
            clusters(table.model, table.x, labels)
        is_clear(raised.value)

    def test_labels_beside_a_loader_are_refused(self, tables, is_clear):
        table = self.table(tables, torch.zeros(6, 1), 1.0)
        with pytest.raises(TypeError, match="shuffle") as raised:
            clusters(table.model, DataLoader(TensorDataset(table.x)), [0] * 6)
        is_clear(raised.value)
