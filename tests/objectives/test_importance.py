"""Importance-weighted bounds against log p(x), and their gradients against one another.

The model is linear and Gaussian: x = W z + b + σ ε, so log p(x) and the true posterior are exact.
"""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal

from disvae import VAE, VAEOutput, decoders, encoders, objectives, posteriors, priors, testing
from disvae import distributions as dist
from disvae.objectives import CIWAE, IWAE, MIWAE, DReG, WeightedSum, terms

SIGMA = 0.7
WEIGHT = torch.tensor([[1.0, 0.3], [-0.4, 0.8], [0.2, -1.1]]).double()
BIAS = torch.tensor([0.5, -1.0, 0.2]).double()
X = torch.tensor([[1.0, 0.5, -2.0], [0.3, -2.0, 1.0], [0.0, 0.0, 0.0], [3.0, -1.0, 2.0]]).double()
EVERY = [IWAE(5), MIWAE(5, 3), CIWAE(5, 0.3), DReG(5)]


class Encoder(nn.Module):
    """The true posterior, off by a shift and a stretch that are parameters."""

    def __init__(self, shift=0.0, stretch=1.0):
        super().__init__()
        covariance = torch.linalg.inv(torch.eye(2).double() + WEIGHT.T @ WEIGHT / SIGMA**2)
        self.gain = covariance @ WEIGHT.T / SIGMA**2
        self.tril = torch.linalg.cholesky(covariance)
        self.shift = nn.Parameter(torch.full((2,), shift).double())
        self.stretch = nn.Parameter(torch.tensor(stretch).double())

    def forward(self, x):
        loc = (x - BIAS) @ self.gain.T + self.shift
        tril = (self.stretch * self.tril).expand(len(x), 2, 2)
        return dist.MultivariateNormal(loc, scale_tril=tril)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHT.clone())

    def forward(self, z):
        return Independent(dist.Normal(z @ self.weight.T + BIAS, SIGMA), 1)


def model_of(shift=0.0, stretch=1.0):
    return VAE(Encoder(shift, stretch), Decoder(), prior=priors.Normal(2).double())


def exact():
    noise = SIGMA**2 * torch.eye(3).double()
    return MultivariateNormal(BIAS, WEIGHT @ WEIGHT.T + noise).log_prob(X)


@pytest.mark.parametrize("objective", EVERY, ids=str)
def test_every_bound_is_exact_at_the_true_posterior(objective):
    for row, log_p in zip(X, exact(), strict=True):
        total = objective(model_of(), row.unsqueeze(0)).total
        assert abs(-total - log_p) < 1e-9


@pytest.mark.parametrize("objective", [IWAE(1), MIWAE(1, 4), CIWAE(1, 0.3), DReG(1)], ids=str)
def test_with_one_sample_it_is_the_elbo_with_a_sampled_kl(objective):
    elbo = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(1.0, terms.KL(analytic=False))
    )
    out = model_of(0.3, 1.5)(X, sample_shape=objective.sample_shape)
    found, expected = objective.loss(out), elbo.loss(out)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-12, atol=0)
    for name in ("reconstruction", "kl"):
        torch.testing.assert_close(found.terms[name], expected.terms[name])


def test_it_falls_with_the_samples_towards_the_truth():
    model, x = model_of(0.3, 1.5), X.repeat(500, 1)
    truth = -exact().mean().item()
    gaps = [IWAE(k)(model, x).total.item() - truth for k in (1, 4, 20, 200)]
    assert all(a > b for a, b in pairwise(gaps))
    assert gaps[0] > 0.2
    assert abs(gaps[-1]) < 0.05 * gaps[0]


class TestFormulas:
    def pass_of(self, log_weight):
        """A pass with these log weights: all is in the likelihood."""

        class Given(torch.distributions.Distribution):
            arg_constraints = {}  # noqa: RUF012

            def log_prob(self, x):
                return log_weight

        z = torch.zeros(*log_weight.shape, 1).double()
        q = Independent(dist.Normal(torch.zeros(z.shape[-2], 1).double(), 1.0), 1)
        p = Independent(dist.Normal(torch.zeros(1).double(), 1.0), 1)
        return VAEOutput(torch.zeros(z.shape[-2], 1).double(), z, q, p, Given())

    def test_values_are_those_of_the_formulas(self):
        log_weight = torch.randn(3, 4, 5).double()  # M, K, B
        w = log_weight.exp()
        flat = self.pass_of(log_weight[0])
        iwae = -w[0].mean(0).log().mean()
        torch.testing.assert_close(IWAE(4).loss(flat).total, iwae)
        torch.testing.assert_close(DReG(4).loss(flat).total, iwae)
        expected = 0.25 * -log_weight[0].mean() + 0.75 * iwae
        torch.testing.assert_close(CIWAE(4, 0.25).loss(flat).total, expected)
        grouped = MIWAE(4, 3).loss(self.pass_of(log_weight)).total
        torch.testing.assert_close(grouped, -w.mean(1).log().mean())

    def test_weights_that_underflow_are_no_loss(self):
        """exp(-2000) is 0: only logsumexp gives the bound."""
        log_weight = torch.tensor([[-2000.0], [-2001.0], [-5000.0]]).double()
        expected = 2000 + math.log(3) - math.log1p(math.exp(-1))
        assert IWAE(3).loss(self.pass_of(log_weight)).total.item() == pytest.approx(expected)

    def test_the_bound_is_logged_beside_the_parts_of_the_elbo(self):
        losses = CIWAE(4, 0.25)(model_of(0.3, 1.5), X)
        values = losses.terms
        expected = 0.25 * (values["reconstruction"] + values["kl"])
        expected = expected + 0.75 * values["importance_weighted"]
        torch.testing.assert_close(losses.total.detach(), expected)


def gradients(objective, model, x, parameters):
    total = objective(model, x).total
    found = torch.autograd.grad(total, parameters)
    return torch.cat([g.flatten() for g in found])


class TestDReG:
    def test_the_gradient_of_the_encoder_is_the_formula(self):
        """-Σ w̃² (∂log w/∂z)(∂z/∂φ), with z moved by hand."""
        model = model_of(0.3, 1.5)
        torch.manual_seed(1)
        found = gradients(DReG(4), model, X, list(model.encoder.parameters()))
        torch.manual_seed(1)
        out = model(X, sample_shape=(4,))
        q = MultivariateNormal(out.posterior.loc.detach(), scale_tril=out.posterior.scale_tril[0])
        q = MultivariateNormal(q.loc, scale_tril=q.scale_tril.detach())
        z = out.z.detach().requires_grad_()
        log_weight = model.decoder(z).log_prob(X) + out.prior.log_prob(z) - q.log_prob(z)
        by_z = torch.autograd.grad(log_weight.sum(), z)[0]
        share = log_weight.detach().softmax(0).unsqueeze(-1)
        moved = -(share.square() * by_z * out.z).sum() / len(X)
        expected = torch.autograd.grad(moved, list(model.encoder.parameters()))
        torch.testing.assert_close(found, torch.cat([g.flatten() for g in expected]))

    def test_value_and_gradient_of_the_decoder_are_those_of_the_iwae(self):
        model = model_of(0.3, 1.5)
        found = []
        for objective in (IWAE(4), DReG(4)):
            torch.manual_seed(1)
            total = objective(model, X).total
            found.append((total, torch.autograd.grad(total, model.decoder.weight)[0]))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("samples", [1, 6])
    def test_both_gradients_agree_in_expectation_and_this_one_has_less_noise(self, samples):
        model, x = model_of(0.2, 1.2), X.repeat(50, 1)
        parameters = list(model.encoder.parameters())
        plain, double = (
            torch.stack([gradients(kind(samples), model, x, parameters) for _ in range(150)])
            for kind in (IWAE, DReG)
        )
        error = ((plain.var(0) + double.var(0)) / 150).sqrt()
        assert ((plain.mean(0) - double.mean(0)).abs() < 4.5 * error).all()
        assert (plain.mean(0).abs() > 5 * error).all()  # there is something to agree on
        assert (double.var(0) < 0.7 * plain.var(0)).all()

    def test_it_vanishes_at_the_true_posterior_sample_by_sample(self):
        model = model_of()
        parameters = list(model.encoder.parameters())
        assert gradients(DReG(4), model, X[:1], parameters).abs().max() < 1e-12
        assert gradients(IWAE(4), model, X[:1], parameters).abs().max() > 1e-2

    def test_it_works_without_a_gradient(self):
        with torch.no_grad():
            assert torch.isfinite(DReG(4)(model_of(), X).total)

    @pytest.mark.parametrize(
        "head",
        [
            posteriors.FullNormal,
            posteriors.LowRankNormal,
            posteriors.Laplace,
            posteriors.StudentT,
            posteriors.PowerSpherical,
            posteriors.RelaxedCategorical,
            lambda features, dim: posteriors.Joint(
                features, dim, [(1, posteriors.Laplace), (2, posteriors.DiagonalNormal)]
            ),
        ],
    )
    def test_the_posterior_is_held_constant_whatever_its_family(self, head):
        """Its own density at given samples has no gradient; the posterior itself keeps its own."""
        q = head(4, 3)(torch.randn(6, 4))
        constant = objectives.importance._constant(q)
        z = q.rsample((2,)).detach()
        torch.testing.assert_close(constant.log_prob(z), q.log_prob(z))
        assert not constant.log_prob(z).requires_grad
        assert q.log_prob(z).requires_grad

    def test_a_flow_is_refused_in_one_sentence(self):
        pytest.importorskip("zuko")
        encoder = nn.Sequential(nn.Linear(6, 4), posteriors.InverseAutoregressive(4, 2))
        model = VAE(encoder, decoders.MLP(2, 6), prior=priors.Normal(2))
        assert torch.isfinite(IWAE(3)(model, torch.rand(4, 6)).total)
        with pytest.raises(TypeError, match=r"made of tensors.*use objectives\.IWAE") as raised:
            DReG(3)(model, torch.rand(4, 6))
        assert len(str(raised.value)) < 400


@pytest.mark.parametrize("objective", EVERY, ids=str)
def test_the_contract_of_objectives_holds(objective):
    # the other two differ from it in a mean
    testing.check_objective(objective, compiles=type(objective) in (IWAE, DReG))


@pytest.mark.parametrize(
    ("objective", "formula"),
    [
        (IWAE(5), "-log mean_5(w)"),
        (MIWAE(5, 3), "mean_3(-log mean_5(w))"),
        (CIWAE(5, 0.25), "0.25·(reconstruction + kl) + 0.75·(-log mean_5(w))"),
        (DReG(5), "-log mean_5(w), doubly reparameterised"),
    ],
)
def test_prints_as_its_formula_and_tells_its_paper(objective, formula):
    assert str(objective) == formula
    assert "https://" in objective.paper


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="samples to be an integer of at least 1"):
        IWAE(0)
    with pytest.raises(ValueError, match="share of the ELBO"):
        CIWAE(4, 1.5)
    model = VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2))
    with pytest.raises(ValueError, match="samples of shape"):
        IWAE(4).loss(model(torch.rand(3, 6)))
