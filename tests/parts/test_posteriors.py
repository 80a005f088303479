"""Posterior heads: what their outputs mean, that a sample's gradient is right, and their limits."""

import functools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Independent

from disvae import VAE, TrainStep, decoders, encoders, likelihoods, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import schedules

B, D = 4, 3


def zeroed(head):
    nn.init.zeros_(head.affine.weight)
    nn.init.zeros_(head.affine.bias)
    return head


def optimum(head, target, steps=400):
    """The posterior of one constant feature that is nearest to the target, by its sampled KL."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, steps)
    h = torch.ones(1, 1).double()
    for _ in range(steps):
        q = head(h)
        z = q.rsample((256,))
        loss = (q.log_prob(z) - target.log_prob(z)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    q = head(h)
    z = q.rsample((20_000,))
    return q, (q.log_prob(z) - target.log_prob(z)).mean().item()


@pytest.fixture
def correlated():
    covariance = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 0.5]]).double()
    return dist.MultivariateNormal(torch.tensor([1.0, -2.0, 0.5]).double(), covariance)


def test_full_covariance_reaches_a_correlated_target(correlated):
    q, distance = optimum(posteriors.FullNormal(1, D).double(), correlated, steps=1000)
    assert distance < 0.05  # the best factorised normal: 1.1
    torch.testing.assert_close(
        q.covariance_matrix[0], correlated.covariance_matrix, atol=0.1, rtol=0
    )
    torch.testing.assert_close(q.mean[0], correlated.mean, atol=0.1, rtol=0)


def test_low_rank_reaches_a_target_of_its_form_and_a_diagonal_one_does_not():
    factor = torch.tensor([[1.0], [-1.0], [0.5]]).double()
    target = dist.LowRankMultivariateNormal(
        torch.zeros(3).double(), factor, torch.full((3,), 0.3).double()
    )
    torch.manual_seed(3)
    assert optimum(posteriors.LowRankNormal(1, D, rank=1).double(), target)[1] < 0.02
    # the best factorised normal has the diagonal of the precision: a known distance
    precision = torch.linalg.inv(target.covariance_matrix)
    best = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    found = optimum(posteriors.DiagonalNormal(1, D).double(), target)[1]
    assert found == pytest.approx(best.item(), abs=0.03)


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (posteriors.Laplace, lambda loc, scale: dist.Laplace(loc, scale)),
        (posteriors.StudentT, lambda loc, scale: dist.StudentT(4.0, loc, scale)),
    ],
)
def test_heavy_heads_reach_a_target_of_their_family(head, target):
    loc, scale = torch.tensor([0.5, -1.0]).double(), torch.tensor([0.3, 1.5]).double()
    q, distance = optimum(head(1, 2).double(), Independent(target(loc, scale), 1))
    assert abs(distance) < 0.01
    torch.testing.assert_close(q.base_dist.loc[0], loc, atol=0.1, rtol=0)
    torch.testing.assert_close(q.base_dist.scale[0], scale, atol=0.1, rtol=0.1)


def test_power_spherical_reaches_a_target_on_the_sphere():
    loc = torch.tensor([0.6, 0.0, -0.8]).double()
    target = dist.PowerSpherical(loc, torch.tensor(5.0).double())
    q, distance = optimum(posteriors.PowerSpherical(1, D).double(), target)
    assert abs(distance) < 0.01
    torch.testing.assert_close(q.loc[0], loc, atol=0.05, rtol=0)


def test_inverse_autoregressive_bends_to_a_target_that_is_not_normal():
    """A banana: z₂ follows z₁²."""

    class Banana:
        def log_prob(self, z):
            first = dist.Normal(torch.zeros(()).double(), 1.0).log_prob(z[..., 0])
            return first + dist.Normal(z[..., 0].square() - 1, 0.4).log_prob(z[..., 1])

    head = posteriors.InverseAutoregressive(1, 2, transforms=2, hidden=(32,)).double()
    normal = optimum(posteriors.FullNormal(1, 2).double(), Banana(), steps=300)[1]
    bent = optimum(head, Banana(), steps=300)[1]
    assert bent < 0.3 * normal


def test_the_density_of_the_last_sample_is_that_of_any_point():
    q = posteriors.InverseAutoregressive(5, D)(torch.randn(B, 5))
    z = q.rsample((2,))
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), rtol=1e-4, atol=1e-4)


def test_zero_features_give_unit_scales():
    h = torch.zeros(B, 5)
    torch.testing.assert_close(
        zeroed(posteriors.FullNormal(5, D))(h).covariance_matrix, torch.eye(D).expand(B, D, D)
    )
    low_head = zeroed(posteriors.LowRankNormal(5, D))
    low = low_head(h)
    torch.testing.assert_close(low.covariance_matrix, torch.eye(D).expand(B, D, D))
    nn.init.ones_(low_head.affine.bias)
    scale = 1e-4 + torch.log1p(torch.tensor(2.718281828) * torch.expm1(torch.tensor(0.9999)))
    torch.testing.assert_close(low_head(h).cov_diag, scale.square().expand(B, D))
    student = zeroed(posteriors.StudentT(5, D))(h)
    torch.testing.assert_close(student.base_dist.df, torch.full((B, D), 3.0))
    torch.testing.assert_close(student.base_dist.scale, torch.ones(B, D))


class TestRelaxedCategorical:
    def test_temperature_follows_its_schedule_over_training_passes_only(self):
        head = posteriors.RelaxedCategorical(5, D, schedules.Linear(2.0, 1.0, steps=4))
        h = torch.zeros(B, 5)
        assert head(h).temperature[0] == 2.0
        head.eval()
        before = {k: v.clone() for k, v in head.state_dict().items()}
        for _ in range(3):
            assert head(h).temperature[0] == 1.75
        assert all(torch.equal(v, before[k]) for k, v in head.state_dict().items())
        head.train()
        found = [head(h).temperature[0].item() for _ in range(6)]
        assert found == [1.75, 1.5, 1.25, 1.0, 1.0, 1.0]
        other = posteriors.RelaxedCategorical(5, D, schedules.Linear(2.0, 1.0, steps=4))
        other.load_state_dict(head.state_dict())
        assert other(h).temperature[0] == 1.0

    def test_a_schedule_of_ones_own_need_not_know_the_final_step(self):
        head = posteriors.RelaxedCategorical(5, D, lambda step: 0.5 + 0.5**step)
        assert [head(torch.zeros(B, 5)).temperature[0] for _ in range(2)] == [1.5, 1.0]

    def test_a_schedule_compiles_once(self):
        head = posteriors.RelaxedCategorical(5, D, schedules.Linear(2.0, 1.0, steps=4))
        torch._dynamo.reset()
        graphs = []
        fast = torch.compile(
            lambda h: head(h).temperature,
            backend=lambda graph, inputs: graphs.append(graph) or graph.forward,
            fullgraph=True,
        )
        found = [fast(torch.zeros(B, 5))[0].item() for _ in range(4)]
        assert found == [2.0, 1.75, 1.5, 1.25]
        assert len(graphs) == 1

    def test_the_sampled_kl_to_a_prior_at_the_same_parameters_is_zero(self):
        head = zeroed(posteriors.RelaxedCategorical(5, D, temperature=0.4))
        q, p = head(torch.zeros(B, 5)), priors.Categorical(D, temperature=0.4)()
        torch.testing.assert_close(dist.kl(q, p, q.rsample()), torch.zeros(B))


class TestQuantized:
    @pytest.mark.parametrize("levels", [2, 3, 4, 7, 8])
    def test_codes_are_all_of_the_evenly_spaced_levels_in_equal_bins(self, levels):
        head = posteriors.Quantized(1, 1, levels=levels)
        nn.init.ones_(head.affine.weight)
        nn.init.zeros_(head.affine.bias)
        # tanh(h) evenly spread over (-1, 1)
        u = (torch.arange(8400) + 0.5) / 4200 - 1
        code = head(torch.atanh(u.double()).float()[:, None]).mean.detach()[:, 0]
        values, counts = code.mul(1e4).round().unique(return_counts=True)
        np.testing.assert_allclose(values / 1e4, np.linspace(-1, 1, levels), atol=1e-4)
        np.testing.assert_allclose(counts, 8400 / levels, rtol=0.01)

    def test_the_gradient_passes_straight_through(self):
        head = posteriors.Quantized(1, 1, levels=5)
        h = torch.linspace(-2, 2, 9)[:, None].requires_grad_()
        head(h).rsample().sum().backward()
        raw = (head.affine.weight * h + head.affine.bias).detach()
        expected = 5 / 4 * (1 - raw.tanh().square()) * head.affine.weight.detach()
        torch.testing.assert_close(h.grad, expected)

    def test_extreme_features_stay_on_the_levels(self):
        head = posteriors.Quantized(1, 2, levels=(3, 4))
        code = head(torch.tensor([[-1e6], [1e6]])).mean
        torch.testing.assert_close(code.abs(), torch.ones(2, 2))


@pytest.mark.parametrize("head", [posteriors.Deterministic, posteriors.Quantized])
def test_an_autoencoder_learns_with_a_code_without_a_density(head):
    x = torch.eye(8).repeat(8, 1)
    model = VAE(
        encoders.MLP(8, 4, hidden=(32,), posterior=head),
        decoders.MLP(4, 8, hidden=(32,)),
        prior=priors.Normal(4),
    )
    train = TrainStep(model, objectives.Autoencoder())
    optimizer = torch.optim.Adam(train.parameters(), lr=5e-3)
    for _ in range(400):
        losses = train(x)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert losses.total < 0.2  # independent pixels: 3.0
    assert torch.equal(model.reconstruct(x[:8]), model.reconstruct(x[:8]))
    assert torch.equal(model.reconstruct(x[:8]).argmax(-1), torch.arange(8))


def test_joint_heads_see_the_same_features_and_keep_to_their_dimensions():
    head = posteriors.Joint(
        5, 5, heads=[(2, posteriors.DiagonalNormal), (3, posteriors.RelaxedCategorical)]
    )
    q = head(torch.randn(B, 5))
    z = q.rsample((6,))
    torch.testing.assert_close(z[..., 2:].sum(-1), torch.ones(6, B))
    expected = q.blocks[0].log_prob(z[..., :2]) + q.blocks[1].log_prob(z[..., 2:])
    torch.testing.assert_close(q.log_prob(z), expected)


def test_a_vae_with_categories_sorts_clusters_into_them():
    """JointVAE in small: the category must carry what a one-dimensional code cannot."""
    torch.manual_seed(0)
    labels = torch.arange(300) % 3
    x = 4 * torch.eye(3)[labels] + 0.1 * torch.randn(300, 3)
    encoder = encoders.MLP(3, 3, hidden=(32,), posterior=posteriors.RelaxedCategorical)
    likelihood = functools.partial(likelihoods.Normal, scale=0.5)
    decoder = decoders.MLP(3, 3, hidden=(32,), likelihood=likelihood)
    model = VAE(encoder, decoder, prior=priors.Categorical(3))
    train = TrainStep(model, objectives.ELBO())
    optimizer = torch.optim.Adam(train.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        train(x).total.backward()
        optimizer.step()
    category = dist.point(model.encode(x)).argmax(-1)
    purity = sum(torch.bincount(labels[category == c], minlength=3).max() for c in range(3)) / 300
    assert purity > 0.95


def test_student_t_samples_are_scipys():
    head = zeroed(posteriors.StudentT(5, 1, df=4.0))
    z = head(torch.zeros(1, 5)).sample((20_000,)).flatten().numpy()
    assert scipy.stats.kstest(z, scipy.stats.t(4).cdf).pvalue > 1e-3
