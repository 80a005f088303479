"""Objectives of pairs against loops by hand, densities and Monte Carlo."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Laplace, kl_divergence

from disvae import VAE, decoders, encoders, posteriors, priors, testing
from disvae import distributions as dist
from disvae.objectives import AdaGVAE, AdaMLVAE, BetaVAE, SlowVAE, schedules

D = 4


class Given(nn.Module):
    """An encoder that reads mean and log scale off its data."""

    def forward(self, x, context=None):
        loc, log_scale = x.chunk(2, dim=-1)
        return Independent(dist.Normal(loc, log_scale.exp()), 1)


class Identity(nn.Module):
    """A decoder of data of twice the size."""

    def forward(self, z, context=None):
        return Independent(dist.Normal(torch.cat((z, z), -1), 1.0), 1)


def model_of():
    return VAE(Given(), Identity(), prior=priors.Normal(D).double())


def data(batch=6, scale=0.4):
    return torch.cat((torch.randn(batch, 2, D), scale * torch.randn(batch, 2, D)), -1).double()


def silent(sampler, shape, *, dtype, device):
    return torch.zeros(shape, dtype=dtype, device=device)


def by_hand(x, average):
    """The posteriors of each pair, dimension by dimension."""
    loc, scale = x[..., :D].clone(), x[..., D:].exp()
    count = 0
    for i in range(len(x)):
        gaps = [
            kl_divergence(
                dist.Normal(loc[i, 0, d], scale[i, 0, d]), dist.Normal(loc[i, 1, d], scale[i, 1, d])
            )
            for d in range(D)
        ]
        threshold = 0.5 * (min(gaps) + max(gaps))
        for d in range(D):
            if gaps[d] < threshold:
                loc[i, :, d], scale[i, :, d] = average(*loc[i, :, d].clone(), *scale[i, :, d])
                count += 1
    assert 0 < count < D * len(x)
    return Independent(dist.Normal(loc.flatten(0, 1), scale.flatten(0, 1)), 1)


def arithmetic(m1, m2, s1, s2):
    return (m1 + m2) / 2, ((s1**2 + s2**2) / 2).sqrt()


def product(m1, m2, s1, s2):
    precision = 1 / s1**2 + 1 / s2**2
    return (m1 / s1**2 + m2 / s2**2) / precision, precision**-0.5


@pytest.mark.parametrize(
    ("objective", "average"), [(AdaGVAE(3.0), arithmetic), (AdaMLVAE(3.0), product)]
)
def test_the_adaptive_objectives_are_the_beta_vae_of_the_averaged_posteriors(objective, average):
    x, model = data(batch=40), model_of()
    q = by_hand(x, average)
    with dist.replace_noise(silent):
        losses = objective(model, x)
    flat = x.flatten(0, 1)
    expected = {
        "reconstruction": -model.decode(q.mean).log_prob(flat).mean(),
        "kl": kl_divergence(q, model.latent_prior()).mean(),
    }
    torch.testing.assert_close(losses.terms, expected)
    total = expected["reconstruction"] + 3.0 * expected["kl"]
    torch.testing.assert_close(losses.total, total)


def test_the_average_of_the_multi_level_vae_is_the_product_of_both_densities():
    loc, variance = torch.randn(1, 2, 1).double(), torch.rand(1, 2, 1).double() + 0.1
    mean, shared = AdaMLVAE()._average(loc, variance)
    grid = torch.linspace(-3, 3, 20).double()
    log_product = dist.Normal(loc, variance.sqrt()).log_prob(grid).sum(1)
    ratio = dist.Normal(mean, shared.sqrt()).log_prob(grid) - log_product
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))


@pytest.mark.parametrize("objective", [AdaGVAE(2.0), AdaGVAE(schedules.Linear(0.0, 2.0, steps=9))])
def test_a_pair_of_equals_is_two_data_of_a_beta_vae(objective):
    single = data()[:, 0]
    x = torch.stack((single, single), dim=1)
    torch.manual_seed(1)
    found = objective(model_of(), x)
    torch.manual_seed(1)
    expected = BetaVAE(beta=2.0)(model_of(), x.flatten(0, 1))
    torch.testing.assert_close(found, expected)


def test_samples_of_a_shared_dimension_are_drawn_apart():
    """Only the distribution is shared; the paper draws for each member."""
    x = data()
    seen = []
    model = model_of()
    model.decoder.register_forward_hook(lambda module, args, p: seen.append(args[0]))
    objective = AdaGVAE()
    objective.sample_shape = torch.Size((3,))
    objective(model, x)
    z = seen[0].unflatten(1, (-1, 2))
    assert z.shape == (3, 6, 2, D)
    assert (z[:, :, 0] != z[:, :, 1]).all()


def test_gradients_reach_both_members_through_the_average():
    x = data().requires_grad_()
    torch.autograd.grad(AdaMLVAE()(model_of(), x).total, x)[0].abs().amin().gt(0)
    gradient = torch.autograd.grad(AdaGVAE()(model_of(), x).total, x)[0]
    assert (gradient != 0).all()


class TestSlowVAE:
    def parts(self, rate, x):
        return SlowVAE(gamma=1.0, rate=rate)(model_of(), x).terms

    @pytest.mark.parametrize("rate", [0.5, 6.0])
    def test_the_transition_is_the_mean_divergence_by_monte_carlo(self, rate):
        x = data(batch=3)
        loc, scale = x[..., :D], x[..., D:].exp()
        first, second = (dist.Normal(loc[:, i], scale[:, i]) for i in (0, 1))
        z = first.sample((40_000,))
        estimate = kl_divergence(second, Laplace(z, 1 / rate)).sum(-1).mean(1) / 2
        error = estimate.std() / 200
        assert abs(self.parts(rate, x)["transition"] - estimate.mean()) < 4.5 * error

    def test_terms_are_means_over_both_frames_of_what_concerns_one(self):
        x = data()
        q = model_of().encode(x[:, 0])
        with dist.replace_noise(silent):
            losses = SlowVAE(gamma=7.0, beta=3.0)(model_of(), x)
            flat = BetaVAE(beta=1.0)(model_of(), x.flatten(0, 1))
        kl = kl_divergence(q, model_of().latent_prior()).mean() / 2
        torch.testing.assert_close(losses.terms["kl"], kl)
        torch.testing.assert_close(losses.terms["reconstruction"], flat.terms["reconstruction"])
        total = flat.terms["reconstruction"] + 3.0 * kl + 7.0 * losses.terms["transition"]
        torch.testing.assert_close(losses.total, total)

    def test_with_unit_weights_it_is_the_bound_of_a_pair(self):
        """Twice the mean is E[log q(z₀)q(z₁) - log p(z₀) p(z₁|z₀) p(x₀|z₀) p(x₁|z₁)]."""
        x, model, rate = data(batch=2), model_of(), 2.0
        objective = SlowVAE(gamma=1.0, rate=rate)
        objective.sample_shape = torch.Size((40_000,))
        torch.manual_seed(1)
        total = objective(model, x).total
        torch.manual_seed(1)
        out = model(x.flatten(0, 1), None, objective.sample_shape)
        first, second = out.z.unflatten(1, (-1, 2)).unbind(2)
        log_prior = out.prior.log_prob(first) + Laplace(first, 1 / rate).log_prob(second).sum(-1)
        log_ratio = out.posterior.log_prob(out.z) - out.likelihood.log_prob(out.x)
        bound = (log_ratio.unflatten(1, (-1, 2)).sum(-1) - log_prior).mean()
        assert abs(2 * total - bound) < 0.03

    def test_the_first_frame_is_the_one_that_comes_first(self):
        x = data()
        assert self.parts(6.0, x)["kl"] != self.parts(6.0, x.flip(1))["kl"]
        assert self.parts(6.0, x)["transition"] != self.parts(6.0, x.flip(1))["transition"]


EVERY = [AdaGVAE(2.0), AdaMLVAE(2.0), SlowVAE()]


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: type(o).__name__)
def test_the_contract_of_objectives_holds(objective):
    model = VAE(encoders.MLP(6, 3), decoders.MLP(3, 6), prior=priors.Normal(3))
    compiles = not isinstance(objective, AdaMLVAE)  # which differs from another in one formula
    testing.check_objective(objective, model, torch.rand(8, 2, 6), compiles=compiles)


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: type(o).__name__)
def test_a_context_belongs_to_the_pair_or_to_each_member(objective):
    model = VAE(
        encoders.MLP(6, 3, context_dim=2), decoders.MLP(3, 6, context_dim=2), prior=priors.Normal(3)
    )
    x, context = torch.rand(5, 2, 6), torch.rand(5, 2)
    found = []
    for given in (context, torch.stack((context, context), dim=1), context.flip(0)):
        torch.manual_seed(1)
        found.append(objective(model, x, context=given).total)
    torch.testing.assert_close(found[0], found[1])
    assert found[0] != found[2]


@pytest.mark.parametrize("objective", EVERY, ids=lambda o: type(o).__name__)
def test_what_is_no_pair_or_no_factorised_normal_is_refused(objective):
    model = VAE(encoders.MLP(6, 3), decoders.MLP(3, 6), prior=priors.Normal(3))
    for x in (torch.rand(8, 6), torch.rand(8, 3, 6), [1.0]):
        with pytest.raises(ValueError, match=r"pairs of shape \(B, 2, \*event\)"):
            objective(model, x)
    for head in (posteriors.Laplace, posteriors.FullNormal):
        other = VAE(head(6, 3), decoders.MLP(3, 6), prior=priors.Normal(3))
        with pytest.raises(TypeError, match="normal posterior with independent dimensions"):
            objective(other, torch.rand(8, 2, 6))


def test_formulas_and_arguments():
    assert str(SlowVAE(5.0, beta=2.0)) == "reconstruction + 2·kl + 5·transition"
    assert str(AdaMLVAE(4.0)) == "reconstruction + 4·kl"
    assert all("https://" in objective.paper for objective in EVERY)
    with pytest.raises(ValueError, match="rate to be positive"):
        SlowVAE(rate=0.0)
    with pytest.raises(ValueError, match="rate to be finite"):
        SlowVAE(rate=math.inf)
