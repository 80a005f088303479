"""Priors that carry structure, against closed forms, scipy and the data they are made from."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from disvae import VAE, TrainStep, decoders, encoders, objectives, posteriors, priors
from disvae import distributions as dist


def fit(prior, z, steps=60, context=()):
    """The maximum of the likelihood of samples."""
    optimizer = torch.optim.LBFGS(prior.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -prior(*context).log_prob(z).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return -loss().item()


class TestFixedTrace:
    def test_learning_keeps_the_sum_of_the_variances(self):
        prior = priors.Normal(3, torch.tensor([2.0, 1.0, 0.5]), learn_scale=True, fixed_trace=True)
        torch.testing.assert_close(prior().variance, torch.tensor([4.0, 1.0, 0.25]))
        z = torch.randn(4000, 3) * torch.tensor([0.1, 3.0, 3.0])
        fit(prior, z)
        torch.testing.assert_close(prior().variance.sum(), torch.tensor(5.25))
        assert prior().variance[0] < 0.5 < prior().variance[1]
        assert sum(p.numel() for p in prior.parameters()) == 3

    def test_variances_are_the_softmax_of_the_paper(self):
        prior = priors.Normal(4, 1.5, learn_scale=True, fixed_trace=True)
        logits = torch.randn(4)
        with torch.no_grad():
            prior.scale.log_shares.copy_(logits)
        torch.testing.assert_close(prior().variance, 1.5**2 * 4 * logits.softmax(-1))

    def test_pca_variances_are_centred_and_largest_first(self):
        """The published code takes the smallest of the top twenty, uncentred."""
        g = np.random.default_rng(0)
        basis = np.linalg.qr(g.normal(size=(6, 6)))[0]
        x = g.normal(size=(2000, 6)) * [5, 3, 2, 1, 0.5, 0.1] @ basis + 100
        covariance = np.cov(x.T)
        eigenvalues = np.sort(np.linalg.eigvalsh(covariance))[::-1][:3]
        images = torch.from_numpy(x).float().reshape(2000, 1, 2, 3)
        prior = priors.Normal.from_pca(images, 3, variance=2.0)
        expected = 2.0 * 3 * eigenvalues / eigenvalues.sum()
        np.testing.assert_allclose(prior().variance, expected, rtol=1e-3)
        assert not list(prior.parameters())
        learnt = priors.Normal.from_pca(images, 3, learn_scale=True)
        assert [p.shape for p in learnt.parameters()] == [(3,)]


class TestHeavyTails:
    def test_student_t_learns_its_degrees_of_freedom(self):
        z = torch.from_numpy(scipy.stats.t(3.0).rvs((4000, 2), random_state=0)).float()
        prior = priors.StudentT(2, df=20.0, learn_df=True, learn_scale=True)
        fit(prior, z)
        best = scipy.stats.t.fit(z.flatten().numpy(), floc=0)
        assert prior.df()[0].item() == pytest.approx(best[0], rel=0.02)
        assert prior.scale()[0].item() == pytest.approx(best[2], rel=0.02)

    @given(st.floats(0.5, 5), st.floats(0.2, 3))
    def test_densities_are_scipys_products(self, shape, scale):
        z = np.linspace(-4, 4, 14).reshape(7, 2)
        for prior, law in (
            (priors.StudentT(2, shape, scale), scipy.stats.t(shape, 0, scale)),
            (priors.GeneralizedNormal(2, shape, scale), scipy.stats.gennorm(shape, 0, scale)),
        ):
            found = prior.double()().log_prob(torch.from_numpy(z))
            np.testing.assert_allclose(found, law.logpdf(z).sum(-1), rtol=1e-4, atol=1e-4)

    def test_both_depend_on_a_context_where_asked(self):
        for prior in (
            priors.StudentT(2, 4.0, context_dim=3),
            priors.GeneralizedNormal(2, 1.5, context_dim=3),
        ):
            c = torch.eye(3)
            before = prior(c).log_prob(torch.ones(3, 2))
            torch.testing.assert_close(before, before[:1].expand(3))
            nn.init.normal_(prior.affine.weight)
            assert prior(c).log_prob(torch.ones(3, 2)).std() > 0.1


class TestSparse:
    @given(st.floats(0.01, 0.99), st.floats(0.01, 0.5))
    def test_density_is_the_sum_of_two_normals_for_each_dimension(self, gamma, spike):
        z = np.linspace(-2, 2, 10).reshape(5, 2)
        each = gamma * scipy.stats.norm.pdf(z, 0, spike) + (1 - gamma) * scipy.stats.norm.pdf(z)
        found = priors.Sparse(2, gamma, spike).double()().log_prob(torch.from_numpy(z))
        np.testing.assert_allclose(found, np.log(each).sum(-1), rtol=1e-4, atol=1e-4)

    def test_moments_shares_and_quantiles(self):
        d = priors.Sparse(2)()
        z = d.sample((100_000,))
        torch.testing.assert_close(z.var(0), d.variance, rtol=0.03, atol=0)
        torch.testing.assert_close(d.variance, torch.full((2,), 0.8 * 0.05**2 + 0.2))
        inside = (z.abs() < 0.2).float().mean()
        expected = 0.8 + 0.2 * (2 * scipy.stats.norm.cdf(0.2) - 1)
        assert inside.item() == pytest.approx(expected, abs=0.01)
        u = torch.tensor([0.01, 0.2, 0.99])
        x = dist.quantile(d, u)[:, 0].double().numpy()
        cdf = 0.8 * scipy.stats.norm.cdf(x, 0, 0.05) + 0.2 * scipy.stats.norm.cdf(x)
        np.testing.assert_allclose(cdf, u, atol=1e-5)


class TestMixtures:
    def test_given_components_are_those_of_the_paper(self):
        means = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
        prior = priors.Mixture(2, means=means, scales=0.03**0.5)
        z = torch.randn(9, 2)
        each = [scipy.stats.multivariate_normal(m, 0.03).pdf(z) for m in means.numpy()]
        np.testing.assert_allclose(prior().log_prob(z), np.log(np.mean(each, 0)), rtol=1e-4)
        assert not list(prior.parameters())

    def test_scales_and_weights_belong_to_their_component(self):
        means = torch.tensor([[-20.0], [20.0]])
        prior = priors.Mixture(
            1, means=means, scales=torch.tensor([[0.1], [2.0]]), weights=torch.tensor([3.0, 1.0])
        )
        z = prior().sample((40_000,))[:, 0]
        assert (z < 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
        assert z[z < 0].std().item() == pytest.approx(0.1, rel=0.03)
        assert z[z > 0].std().item() == pytest.approx(2.0, rel=0.03)

    def test_learnt_components_find_the_clusters(self):
        torch.manual_seed(1)
        centres = torch.tensor([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]])
        z = centres.repeat(300, 1) + 0.3 * torch.randn(900, 2)
        prior = priors.Mixture(2, components=3)
        bound = fit(prior, z, steps=200)
        truth = priors.Mixture(2, means=centres, scales=0.3)().log_prob(z).mean()
        assert bound > truth - 0.01
        assert {name for name, _ in prior.named_parameters()} == {"means", "logits", "scales.raw"}

    def test_a_fresh_mixture_has_about_unit_variance(self):
        variance = torch.stack([priors.Mixture(2, components=50)().variance for _ in range(20)])
        torch.testing.assert_close(variance.mean(), torch.tensor(1.0), atol=0.1, rtol=0)

    def test_a_tree_is_a_mixture_of_its_leaves(self):
        prior = priors.TreeMixture(2, branching=(2, 3))
        first, second = prior.offsets
        for logits in prior.logits:
            nn.init.normal_(logits)
        leaves, weights = [], []
        top = prior.logits[0].softmax(-1)
        for a in range(2):
            inner = prior.logits[1][a].softmax(-1)
            for b in range(3):
                leaves.append(first[a] + second[a, b])
                weights.append(top[a] * inner[b])
        torch.testing.assert_close(prior.means(), torch.stack(leaves))
        torch.testing.assert_close(prior.log_weights().exp(), torch.stack(weights))
        expected = priors.Mixture(
            2,
            means=torch.stack(leaves),
            scales=prior.scale()[0, 0].item(),
            weights=torch.stack(weights),
        )
        z = torch.randn(9, 2)
        torch.testing.assert_close(prior().log_prob(z), expected().log_prob(z))

    @pytest.mark.parametrize("dim", [2, 10])
    def test_the_leaves_of_a_fresh_tree_are_clusters_of_clusters(self, dim):
        prior = priors.TreeMixture(dim, branching=(3, 4))
        means = prior.means().detach().reshape(3, 4, dim)
        within = torch.cdist(means, means).amax()
        between = min(torch.cdist(means[a], means[b]).amin() for a, b in ((0, 1), (0, 2), (1, 2)))
        assert between > 0.5 * within
        nearest = torch.cdist(means, means)[torch.cdist(means, means) > 0].amin()
        assert nearest > 3 * prior.scale()[0, 0]


class TestGraph:
    def test_samples_follow_the_structural_equations(self):
        weights = torch.zeros(3, 3)
        weights[0, 1], weights[2, 0], weights[2, 1] = 0.7, -1.2, 0.4  # 1 → 0 → 2, 1 → 2
        scale = torch.tensor([0.5, 2.0, 1.0])
        prior = priors.GaussianGraph([(1,), (), (0, 1)], weights=weights, scale=scale)
        noise = scale * torch.randn(200_000, 3)
        z = torch.zeros_like(noise)
        for d in (1, 0, 2):
            z[:, d] = z @ weights[d] + noise[:, d]
        torch.testing.assert_close(prior().covariance_matrix, z.T.cov(), rtol=0.02, atol=0.02)
        torch.testing.assert_close(
            prior().sample((200_000,)).T.cov(), z.T.cov(), rtol=0.02, atol=0.02
        )
        # the density is the product of the conditionals
        each = dist.Normal(z[:9] @ weights.T, scale).log_prob(z[:9]).sum(-1)
        torch.testing.assert_close(prior().log_prob(z[:9]), each, rtol=1e-4, atol=1e-4)

    def test_learning_recovers_the_weights_of_a_graph(self):
        weights = torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [0, -0.8, 0]])
        z = priors.GaussianGraph([(), (0,), (1,)], weights=weights)().sample((5000,))
        prior = priors.GaussianGraph([(), (0,), (0, 1)])
        fit(prior, z)
        torch.testing.assert_close(prior.weights(), weights, atol=0.05, rtol=0)

    def test_without_edges_it_is_the_standard_normal_prior(self):
        z = torch.randn(5, 3)
        found = priors.GaussianGraph([(), (), ()])().log_prob(z)
        torch.testing.assert_close(found, priors.Normal(3)().log_prob(z))


class TestFullNormal:
    def test_learning_finds_the_covariance_of_the_samples(self):
        covariance = torch.tensor([[2.0, -0.9, 0.0], [-0.9, 1.0, 0.3], [0.0, 0.3, 0.5]])
        z = priors.FullNormal(3, covariance)().sample((3000,))
        prior = priors.FullNormal(3)
        torch.testing.assert_close(prior().covariance_matrix, torch.eye(3))
        fit(prior, z)
        torch.testing.assert_close(prior().covariance_matrix, z.T @ z / 3000, rtol=1e-2, atol=1e-2)


class TestSubspaces:
    def test_dimensions_depend_inside_a_group_and_not_across(self):
        covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
        prior = priors.Subspaces(
            [
                ([0, 3], priors.FullNormal(2, covariance)),
                ([1], priors.Laplace(1)),
                ([2], priors.Normal(1)),
            ]
        )
        z = prior().sample((50_000,))
        expected = torch.eye(4)
        expected[0, 3] = expected[3, 0] = 0.9
        torch.testing.assert_close(z.T.corrcoef(), expected, atol=0.02, rtol=0)
        each = (
            priors.FullNormal(2, covariance)().log_prob(z[:, [0, 3]])
            + priors.Laplace(1)().log_prob(z[:, [1]])
            + priors.Normal(1)().log_prob(z[:, [2]])
        )
        torch.testing.assert_close(prior().log_prob(z), each)

    def test_they_are_a_joint_prior_with_its_dimensions(self):
        blocks, dims = [priors.Laplace(2), priors.Normal(1, 3.0)], [[2, 0], [1]]
        z = torch.randn(9, 3)
        found = priors.Joint((block for block in blocks), dims=dims)
        expected = priors.Subspaces(zip(dims, blocks, strict=True))
        assert found.latent_dim == expected.latent_dim == 3
        torch.testing.assert_close(found().log_prob(z), expected().log_prob(z))

    def test_an_error_inside_a_block_is_its_own(self):
        class Broken(nn.Module):
            def forward(self, context=None):
                return torch.zeros(2) + "a"

        with pytest.raises(TypeError, match="unsupported operand"):
            priors.Joint([Broken()])()

    def test_lp_nested_prior_is_the_formula_up_to_its_constant(self):
        prior = priors.Subspaces.lp_nested((2, 3), power=2.2, outer_power=2.1)
        z = torch.randn(9, 5)
        inner = [(z[:, d].abs() ** 2.2).sum(-1) for d in ([0, 1], [2, 3, 4])]
        energy = sum(v ** (2.1 / 2.2) for v in inner)
        difference = prior().log_prob(z) + energy
        torch.testing.assert_close(difference, difference[:1].expand(9))


class TestVamp:
    def model(self, **options):
        encoder = encoders.MLP(6, 2, hidden=(8,))
        prior = priors.Vamp(encoder, torch.rand(5, 6), **options)
        return VAE(encoder, decoders.MLP(2, 6, hidden=(8,)), prior=prior)

    def test_density_is_the_mean_of_the_posteriors_at_the_pseudo_inputs(self):
        model, z = self.model(), torch.randn(9, 2)
        q = model.encode(model.prior.pseudo_inputs)
        expected = q.log_prob(z[:, None]).logsumexp(-1) - np.log(5)
        torch.testing.assert_close(model.prior().log_prob(z), expected)

    @pytest.mark.parametrize("head", [posteriors.FullNormal, posteriors.PowerSpherical])
    def test_density_of_other_posteriors_too(self, head):
        encoder = encoders.MLP(6, 2, hidden=(8,), posterior=head)
        prior = priors.Vamp(encoder, torch.rand(5, 6))
        z = encoder(torch.rand(9, 6)).sample()
        expected = encoder(prior.pseudo_inputs).log_prob(z[:, None]).logsumexp(-1) - np.log(5)
        torch.testing.assert_close(prior().log_prob(z), expected)

    def test_the_encoder_is_shared_and_the_gradient_reaches_the_pseudo_inputs(self):
        model = self.model()
        assert model.prior.encoder is model.encoder
        train = TrainStep(model, objectives.ELBO())
        train(torch.rand(4, 6)).total.backward()
        assert (model.prior.pseudo_inputs.grad != 0).all()
        copied = {id(p) for p in model.parameters()}
        assert len(copied) == len(list(model.parameters()))

    def test_exemplars_are_other_data_at_each_call_and_average_to_the_whole(self):
        model = self.model(learn=False, exemplars=2)
        assert "pseudo_inputs" in dict(model.prior.named_buffers())
        means = torch.stack([model.prior().loc for _ in range(400)])
        whole = model.encode(model.prior.pseudo_inputs).mean
        assert means.shape == (400, 2, 2)
        assert len({tuple(m.flatten().tolist()) for m in means}) > 15
        assert (means[:, 0] != means[:, 1]).any(-1).all()
        torch.testing.assert_close(means.mean((0, 1)), whole.mean(0), atol=0.02, rtol=0)

    def test_a_shared_scale_replaces_that_of_the_posteriors(self):
        model = self.model(scale=0.3)
        torch.testing.assert_close(model.prior().scale, torch.full((5, 2), 0.3))
        assert model.prior.scale.raw.requires_grad


class TestClassConditional:
    def test_each_class_learns_its_own_mean_and_scale(self):
        labels = torch.arange(600) % 3
        means, scales = torch.tensor([-2.0, 0.0, 5.0]), torch.tensor([0.5, 1.0, 2.0])
        z = (means[labels] + scales[labels] * torch.randn(600))[:, None]
        prior = priors.ClassConditional(1, num_classes=3)
        fit(prior, z, context=(torch.eye(3)[labels],), steps=200)
        found = prior(torch.eye(3))
        for c in range(3):
            torch.testing.assert_close(found.mean[c, 0], z[labels == c].mean(), atol=0.02, rtol=0)
            expected = z[labels == c].std(correction=0)
            torch.testing.assert_close(found.stddev[c, 0], expected, atol=0.02, rtol=0)


class TestCategorical:
    def test_learnt_probabilities_find_the_shares(self):
        probs = torch.tensor([0.6, 0.3, 0.1])
        z = priors.Categorical(3, probs=probs)().sample((20_000,))
        prior = priors.Categorical(3, learn=True)
        fit(prior, z)
        torch.testing.assert_close(prior().probs, probs, atol=0.02, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_sphere_follows_the_dtype_of_its_module(dtype):
    prior = priors.HypersphericalUniform(3).to(dtype)
    expected = torch.promote_types(dtype, torch.float32)
    assert prior().sample().dtype == prior().log_prob(prior().sample()).dtype == expected
