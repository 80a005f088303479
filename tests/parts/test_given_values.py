"""Constants that a user gives: their dtype, their limits, and that a part keeps them."""

import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from disvae import VAE, TrainStep, decoders, encoders, objectives, posteriors, priors
from disvae.nn import AffineHead, CholeskyFactor

double = torch.from_numpy(np.array([0.5, 2.0]))
covariance = torch.from_numpy(np.array([[1.0, 0.4], [0.4, 0.5]]))
weights = torch.from_numpy(np.array([[0.0, 0.0], [1.5, 0.0]]))

# each with a float64 constant, as numpy computes them
FROM_NUMPY = {
    "Normal": lambda: priors.Normal(2, double),
    "Normal, learnt": lambda: priors.Normal(2, double, learn_scale=True),
    "Normal, fixed trace": lambda: priors.Normal(2, double, learn_scale=True, fixed_trace=True),
    "FullNormal": lambda: priors.FullNormal(2, covariance),
    "FullNormal, learnt": lambda: priors.FullNormal(2, covariance, learn=True),
    "GaussianGraph": lambda: priors.GaussianGraph([(), (0,)], weights=weights, scale=double),
    "GaussianGraph, learnt": lambda: priors.GaussianGraph([(), (0,)], weights=weights, learn=True),
    "StudentT": lambda: priors.StudentT(2, double, double),
    "GeneralizedNormal": lambda: priors.GeneralizedNormal(2, double),
    "Mixture": lambda: priors.Mixture(2, means=covariance, scales=double, weights=double),
    "Mixture, learnt": lambda: priors.Mixture(2, means=covariance, weights=double, learn=True),
    "Mixture, only weights": lambda: priors.Mixture(2, 2, weights=double),
}


@pytest.mark.parametrize("name", FROM_NUMPY)
def test_float64_constants_go_with_float32_networks_and_are_promoted(name):
    prior = FROM_NUMPY[name]()
    assert prior().sample().dtype == torch.float32
    train = TrainStep(
        VAE(encoders.MLP(6, 2, hidden=(8,)), decoders.MLP(2, 6, hidden=(8,)), prior=prior),
        objectives.ELBO(),
    )
    total = train(torch.rand(4, 6)).total
    total.backward()
    assert total.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in train.parameters())
    assert {b.dtype for b in prior.state_dict().values() if b.is_floating_point()} == {
        torch.float32
    }
    prior.double()
    assert prior().sample().dtype == prior().log_prob(prior().sample()).dtype == torch.float64


def test_categories_of_float64_probabilities_are_float32():
    prior = priors.Categorical(2, probs=double)
    assert prior().probs.dtype == torch.float32
    torch.testing.assert_close(prior().probs, torch.tensor([0.2, 0.8]))


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e6])
def test_a_given_covariance_is_kept_whatever_its_size(scale):
    prior = priors.FullNormal(2, covariance * scale)
    law = scipy.stats.multivariate_normal(np.zeros(2), covariance.numpy() * scale)
    z = law.rvs(9, random_state=0)
    found = prior().log_prob(torch.from_numpy(z).float())
    np.testing.assert_allclose(found, law.logpdf(z), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        prior().covariance_matrix, (covariance * scale).float(), rtol=1e-5, atol=0
    )


def test_a_learnt_covariance_starts_at_the_given_one():
    prior = priors.FullNormal(2, covariance, learn=True)
    torch.testing.assert_close(prior().covariance_matrix, covariance.float())


def test_constants_are_copies_without_a_gradient():
    given = covariance.clone().requires_grad_()
    scale = torch.ones(2, requires_grad=True)
    mixture = torch.zeros(3, 2, requires_grad=True)
    edges = weights.clone().requires_grad_()
    for prior in (
        priors.FullNormal(2, given),
        priors.Normal(2, scale),
        priors.Mixture(2, means=mixture, weights=torch.ones(3, requires_grad=True)),
        priors.GaussianGraph([(), (0,)], weights=edges),
        priors.Categorical(2, probs=torch.ones(2, requires_grad=True)),
    ):
        assert not any(b.requires_grad for b in prior.buffers())
        before = prior().sample().isfinite().all()
        assert before
    kept = priors.Mixture(2, means=mixture)
    with torch.no_grad():
        mixture.add_(1.0)
    assert not kept.means.any()


def test_a_given_scale_below_the_floor_is_kept_where_the_trace_is_fixed():
    scale = torch.tensor([1.0, 1e-6])
    torch.testing.assert_close(priors.Normal(2, scale, fixed_trace=True)().stddev, scale)


def test_weights_whose_sum_overflows_keep_their_proportions():
    large = torch.tensor([1e38, 2e38, 3e38])
    expected = torch.tensor([1.0, 2.0, 3.0]) / 6
    mixture = priors.Mixture(1, means=torch.zeros(3, 1), weights=large)
    torch.testing.assert_close(mixture().logits.softmax(-1), expected)
    torch.testing.assert_close(priors.Categorical(3, probs=large)().probs, expected)


@pytest.mark.parametrize(
    "x", [torch.rand(1, 3), torch.ones(5, 3), torch.rand(5, 1).expand(5, 3)], ids=len
)
def test_data_without_directions_are_refused_without_a_warning(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"directions, but got shape \(\d, 3\) with [01]"):
            priors.Normal.from_pca(x, 2)


def test_a_prior_of_classes_is_not_made_by_pca():
    assert not hasattr(priors.ClassConditional, "from_pca")


class TestCholeskyFactor:
    def test_the_entries_of_a_factor_give_it_back(self):
        factor = CholeskyFactor(5)
        tril = torch.randn(5, 5).tril(-1) + torch.rand(5).add(0.1).diag()
        torch.testing.assert_close(factor(factor.inverse(tril)), tril)

    def test_the_density_of_own_samples_is_right_in_many_dimensions(self):
        """Without the scaling of entries: wrong by 1e14 nats."""
        head = posteriors.FullNormal(32, 200)
        h = 3 * torch.randn(8, 32)
        with torch.no_grad():
            q = head(h)
            z = q.sample()
            found = q.log_prob(z)
            expected = head.double()(h.double()).log_prob(z.double())
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.01)


def test_a_head_runs_on_the_meta_device():
    head = AffineHead(3, 2, device="meta")
    found = head(torch.empty(4, 3, device="meta", dtype=torch.bfloat16))
    assert found.shape == (4, 2)
    assert found.dtype == torch.float32


class TestTreeOnALine:
    @pytest.mark.parametrize("branching", [(5,), (3, 4), (1, 3)])
    def test_siblings_stand_at_different_places(self, branching):
        means = priors.TreeMixture(1, branching).means().detach()[:, 0].sort().values
        assert means.diff().min() > 0.1

    def test_its_leaves_find_as_many_clusters(self):
        torch.manual_seed(0)
        z = torch.tensor([-2.0, -0.5, 0.7, 2.0]).repeat(200)[:, None]
        z = z + 0.05 * torch.randn(800, 1)
        prior = priors.TreeMixture(1, branching=(4,))
        optimizer = torch.optim.Adam(prior.parameters(), lr=0.03)
        for _ in range(400):
            optimizer.zero_grad()
            (-prior().log_prob(z).mean()).backward()
            optimizer.step()
        found = prior.means().detach()[:, 0].sort().values
        torch.testing.assert_close(found, torch.tensor([-2.0, -0.5, 0.7, 2.0]), atol=0.05, rtol=0)


def test_a_vamp_prior_draws_nothing_to_build_its_density():
    encoder = encoders.MLP(6, 3, hidden=(8,), posterior=posteriors.PowerSpherical)
    prior = priors.Vamp(encoder, torch.rand(5, 6))
    before = torch.get_rng_state()
    found = prior()
    assert torch.equal(torch.get_rng_state(), before)
    assert found.log_prob(found.sample()).dtype == torch.float32
    half = nn.Sequential(nn.Linear(6, 4), posteriors.PowerSpherical(4, 3)).bfloat16()
    found = priors.Vamp(half, torch.rand(5, 6).bfloat16())()
    assert found.mixture_distribution.logits.dtype == torch.float32
