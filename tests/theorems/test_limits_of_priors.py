"""Priors at their limits: heavy tails that grow light, and a spike that is never or always there.

Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
https://arxiv.org/abs/1812.02833, break the rotations of the normal prior with a Student-t and with
a sparse one: at the ends of their parameters both are the normal prior again.
"""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from disvae import VAE, TrainStep, decoders, encoders, objectives, posteriors, priors
from disvae.objectives import WeightedSum, terms

pytestmark = pytest.mark.usefixtures("float64")

X, D = 4, 3
seeds = st.integers(0, 2**31)
betas = st.floats(0.2, 8.0)
scales = st.floats(0.2, 3.0)
HEADS = (posteriors.DiagonalNormal, posteriors.FullNormal, posteriors.Laplace)


def first_order(y):
    """lim ν (log t_ν(y) - log N(y)), from the series of the gamma functions and of log1p."""
    return (y**4 - 2 * y**2 - 1) / 4


def parts(head):
    encoder = encoders.MLP(X, D, hidden=(8,), posterior=head)
    decoder = decoders.MLP(D, X, hidden=(8,))
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder, decoder


def sampled(beta):
    return WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL(analytic=False))
    )


class TestStudentT:
    @given(scales, seeds)
    def test_the_density_is_the_normal_one_and_a_term_over_df(self, scale, seed):
        torch.manual_seed(seed)
        z, df = scale * torch.randn(20, D), 1e5
        difference = priors.StudentT(D, df, scale)().log_prob(z)
        difference = difference - priors.Normal(D, scale)().log_prob(z)
        expected = first_order(z / scale).sum(-1)
        torch.testing.assert_close(df * difference, expected, rtol=1e-2, atol=1e-2)

    @given(st.sampled_from(HEADS), scales, betas, seeds)
    def test_the_objective_is_that_of_the_normal_prior_and_a_term_over_df(
        self, head, scale, beta, seed
    ):
        torch.manual_seed(seed)
        (encoder, decoder), x, df = parts(head), torch.rand(5, X), 1e7
        model = VAE(encoder, decoder, prior=priors.StudentT(D, df, scale))
        torch.manual_seed(seed)
        heavy = objectives.BetaVAE(beta)(model, x).total
        torch.manual_seed(seed)
        light = sampled(beta)(VAE(encoder, decoder, prior=priors.Normal(D, scale)), x).total
        torch.manual_seed(seed)
        expected = -beta * first_order(model(x).z / scale).sum(-1).mean()
        torch.testing.assert_close(df * (heavy - light), expected, rtol=1e-2, atol=1e-2)

    @given(scales, st.floats(0.5, 8.0))
    def test_the_normaliser_of_its_powers_is_the_normal_one_and_a_term_over_df(self, scale, beta):
        df = 1e4
        prior = priors.StudentT(1, df, scale)()
        normaliser, _ = integrate.quad(
            lambda z: (beta * prior.log_prob(torch.tensor([z]))).exp().item(),
            -12 * scale / beta**0.5,
            12 * scale / beta**0.5,
            epsabs=0,
            epsrel=1e-11,
        )
        log_f = (1 - beta) / 2 * math.log(2 * math.pi * scale**2) - 0.5 * math.log(beta)
        # β times the mean of the first order under f_β, N(0, 1/β) in units of the scale
        expected = beta * (3 / beta**2 - 2 / beta - 1) / 4
        assert df * (math.log(normaliser) - log_f) == pytest.approx(expected, rel=1e-2, abs=1e-2)

    def test_its_samples_become_normal(self):
        z = priors.StudentT(2, 1e6, 0.7)().sample((20_000,))
        assert scipy.stats.kstest(z.flatten().numpy(), scipy.stats.norm(0, 0.7).cdf).pvalue > 1e-3


ENDS = ((0.0, "slab"), (1.0, "spike"))


def at_an_end(end, spike, slab):
    """The sparse prior there, and the normal prior that it is."""
    gamma, kind = end
    sparse = priors.Sparse(D, gamma, spike_scale=spike, slab_scale=slab)
    return sparse, priors.Normal(D, {"spike": spike, "slab": slab}[kind])


@pytest.mark.parametrize("end", ENDS, ids=str)
class TestSparse:
    @given(st.floats(0.01, 0.5), scales, seeds)
    def test_the_density_is_that_of_one_normal_with_its_gradient(self, end, spike, slab, seed):
        torch.manual_seed(seed)
        sparse, normal = at_an_end(end, spike, slab)
        z = (normal.scale() * torch.randn(20, D)).requires_grad_()
        found, expected = sparse().log_prob(z), normal().log_prob(z)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            torch.autograd.grad(found.sum(), z),
            torch.autograd.grad(expected.sum(), z),
            rtol=1e-10,
            atol=1e-10,
        )

    def test_its_samples_are_those_of_one_normal(self, end):
        sparse, normal = at_an_end(end, 0.05, 1.3)
        z, law = sparse().sample((20_000,)), scipy.stats.norm(0, normal.scale()[0].item())
        assert scipy.stats.kstest(z.flatten().numpy(), law.cdf).pvalue > 1e-3
        torch.testing.assert_close(sparse().mean, normal().mean)
        torch.testing.assert_close(sparse().variance, normal().variance)
        torch.testing.assert_close(z.mT.cov().diagonal(), normal().variance, rtol=0.04, atol=0)
        torch.testing.assert_close(z.mT.corrcoef(), torch.eye(D), rtol=0, atol=0.03)

    @given(st.sampled_from(HEADS), betas, st.floats(0.05, 0.5), scales, seeds)
    def test_training_gets_the_gradient_of_one_normal(self, end, head, beta, spike, slab, seed):
        """Of the sampled divergence: the closed one to a normal prior has another estimate."""
        torch.manual_seed(seed)
        pair, x = parts(head), torch.rand(5, X)
        gradients = []
        for prior, objective in zip(
            at_an_end(end, spike, slab), (objectives.BetaVAE(beta), sampled(beta)), strict=True
        ):
            train = TrainStep(VAE(*pair, prior=prior), objective)
            torch.manual_seed(seed)
            train.zero_grad()
            train(x).total.backward()
            gradients.append([p.grad.clone() for part in pair for p in part.parameters()])
        for found, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        assert any(g.abs().max() > 0 for g in gradients[0])

    @given(st.floats(0.1, 0.5), scales, seeds)
    def test_near_the_end_the_density_changes_by_the_ratio_of_the_two(self, end, spike, slab, seed):
        """d log p / dγ = Σ (N0 - N1) / p: no jump between the end and what is next to it."""
        torch.manual_seed(seed)
        sparse, normal = at_an_end(end, spike, slab)
        _, other = at_an_end((1 - end[0], {"spike": "slab", "slab": "spike"}[end[1]]), spike, slab)
        z, step = 0.3 * spike * torch.randn(20, D), 1e-7
        near = priors.Sparse(D, abs(end[0] - step), spike, slab)().log_prob(z)
        slope = (near - sparse().log_prob(z)) / step
        ratio = torch.distributions.Normal(0.0, other.scale()[0]).log_prob(z)
        ratio = (ratio - torch.distributions.Normal(0.0, normal.scale()[0]).log_prob(z)).exp()
        torch.testing.assert_close(slope, (ratio - 1).sum(-1), rtol=1e-3, atol=1e-3)
