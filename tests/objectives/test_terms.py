"""Terms and weighted sums against exact values."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal

from disvae import VAE, VAEOutput, decoders, encoders, objectives, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, aggregate, schedules, terms

N, D = 12, 3


def pass_of(posterior, z, prior=None):
    """A pass in which only posterior, samples and prior matter."""
    prior = prior or Independent(dist.Laplace(torch.zeros(D).double(), torch.ones(D).double()), 1)
    likelihood = Independent(dist.Normal(torch.zeros(*z.shape[:-1], 2).double(), 1.0), 1)
    return VAEOutput(torch.zeros(z.shape[-2], 2).double(), z, posterior, prior, likelihood)


def diagonal(scale=0.4):
    loc = torch.randn(N, D).double()
    return Independent(dist.Normal(loc, torch.full_like(loc, scale)), 1)


def full():
    factor = torch.tril(torch.randn(N, D, D)).double()
    covariance = factor @ factor.mT + 0.2 * torch.eye(D)
    return MultivariateNormal(torch.randn(N, D).double(), covariance)


def exact_aggregate(posterior):
    """q(z) over a data set of N points, whole, and of each dimension: as mixtures."""
    weights = Categorical(probs=torch.ones(N).double())
    joint = MixtureSameFamily(weights, posterior)
    each = dist.marginals(posterior)
    columns = [
        MixtureSameFamily(weights, dist.Normal(each.mean[:, d], each.stddev[:, d]))
        for d in range(D)
    ]
    return joint, columns


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("sample_shape", [(), (4,)])
def test_estimates_on_a_whole_data_set_are_exact_but_for_the_known_constant(make, sample_shape):
    """When the batch is the data set, 1/(BN) stands for 1/N: each log density is low by log N."""
    posterior = make()
    z = posterior.rsample(sample_shape)
    out = pass_of(posterior, z)
    joint, columns = exact_aggregate(posterior)
    log_q = joint.log_prob(z)
    log_each = sum(column.log_prob(z[..., d]) for d, column in enumerate(columns))
    shift = math.log(N)
    expected = {
        terms.MutualInformation: posterior.log_prob(z) - log_q + shift,
        terms.TotalCorrelation: log_q - log_each + (D - 1) * shift,
        terms.DimensionwiseKL: log_each - out.prior.log_prob(z) - D * shift,
    }
    for term, value in expected.items():
        torch.testing.assert_close(term(dataset_size=N)(out), value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dataset_size", [N, 1000])
def test_the_three_parts_add_up_to_the_sampled_kl(dataset_size):
    posterior = diagonal()
    out = pass_of(posterior, posterior.rsample((5,)))
    parts = (terms.MutualInformation, terms.TotalCorrelation, terms.DimensionwiseKL)
    total = sum(term(dataset_size)(out) for term in parts)
    torch.testing.assert_close(total, terms.KL(analytic=False)(out), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("batch", [1, 16])
def test_extreme_posteriors_stay_finite_with_their_gradients(scale, batch):
    loc = torch.randn(batch, D, requires_grad=True)
    posterior = Independent(dist.Normal(loc, torch.full((batch, D), scale)), 1)
    prior = Independent(dist.Normal(torch.zeros(D), torch.ones(D)), 1)
    out = pass_of(posterior, posterior.rsample(), prior)
    for term in (terms.MutualInformation, terms.TotalCorrelation, terms.DimensionwiseKL):
        value = term(1000)(out).mean()
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, loc, retain_graph=True)[0]).all()


@pytest.mark.parametrize("make", [diagonal, full])
def test_log_sums_are_computed_once_for_all_terms_of_one_estimator(make, monkeypatch):
    posterior = make()
    out = pass_of(posterior, posterior.rsample())
    calls = []
    original = aggregate.log_sums
    monkeypatch.setattr(aggregate, "log_sums", lambda *a, **k: calls.append(a) or original(*a, **k))
    for term in (terms.MutualInformation, terms.TotalCorrelation, terms.DimensionwiseKL):
        term(1000)(out)
        term(1000, estimator="stratified")(out)
    assert len(calls) == 2


def small_model():
    return VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2)).double()


class TestWeightedSum:
    x = torch.rand(8, 6).double()

    @pytest.mark.parametrize(
        ("objective", "weights"),
        [
            (objectives.ELBO(), {"reconstruction": 1, "kl": 1}),
            (objectives.BetaVAE(beta=3.5), {"reconstruction": 1, "kl": 3.5}),
            (
                objectives.BetaTCVAE(dataset_size=100, alpha=0.5, beta=6.0, gamma=2.0),
                {
                    "reconstruction": 1,
                    "mutual_information": 0.5,
                    "total_correlation": 6,
                    "dimensionwise_kl": 2,
                },
            ),
        ],
    )
    def test_total_is_the_sum_of_weights_times_terms(self, objective, weights):
        losses = objective(small_model(), self.x)
        assert list(losses.terms) == list(weights)
        expected = sum(w * losses.terms[name] for name, w in weights.items())
        torch.testing.assert_close(losses.total.detach(), expected, rtol=1e-14, atol=1e-14)
        assert losses.total.dtype == torch.float64
        assert not any(value.requires_grad for value in losses.terms.values())

    def test_the_beta_tc_vae_with_unit_weights_is_the_elbo_with_a_sampled_kl(self):
        sampled = WeightedSum(
            reconstruction=(1.0, terms.Reconstruction()), kl=(1.0, terms.KL(analytic=False))
        )
        model, gradients = small_model(), []
        for objective in (sampled, objectives.BetaTCVAE(dataset_size=100, beta=1.0)):
            torch.manual_seed(3)
            total = objective(model, self.x).total
            gradients.append(torch.autograd.grad(total, list(model.parameters())))
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)

    def test_elbo_is_the_formula_written_by_hand(self):
        model = small_model()
        torch.manual_seed(1)
        found = objectives.ELBO()(model, self.x).total
        torch.manual_seed(1)
        q = model.encoder(self.x)
        mu, sigma = q.mean, q.stddev
        z = mu + sigma * torch.randn(8, 2, dtype=torch.float64)
        logits = model.decoder(z).base_dist.logits
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(
            logits, self.x, reduction="sum"
        )
        kl = -0.5 * (1 + 2 * sigma.log() - mu**2 - sigma**2).sum()
        torch.testing.assert_close(found, (cross_entropy + kl) / 8, rtol=1e-12, atol=1e-12)

    def test_an_auxiliary_is_never_multiplied_by_the_weight(self):
        class Adversarial(nn.Module):
            def forward(self, out):
                return torch.tensor(2.0), torch.tensor(5.0)

        for weight, expected in ((0.0, 5.0), (35.0, 75.0)):
            losses = WeightedSum(critic=(weight, Adversarial()))(small_model(), self.x)
            assert losses.total == expected
            assert losses.terms == {"critic": 2.0, "critic_auxiliary": 5.0}

    def test_a_zero_weight_keeps_an_infinite_term_out_of_the_sum(self):
        class Infinite(nn.Module):
            def forward(self, out):
                return torch.tensor(torch.inf)

        losses = WeightedSum(off=(0.0, Infinite()))(small_model(), self.x)
        assert losses.total == 0
        assert losses.terms["off"] == torch.inf

    def test_a_schedule_weighs_by_the_step(self):
        objective = objectives.BetaVAE(beta=schedules.Linear(0.0, 4.0, steps=10))
        model = small_model()
        for step, beta in ((0, 0.0), (5, 2.0), (torch.tensor(5), 2.0), (50, 4.0), (None, 4.0)):
            losses = objective(model, self.x, step=step)
            expected = losses.terms["reconstruction"] + beta * losses.terms["kl"]
            torch.testing.assert_close(losses.total.detach(), expected)
            assert losses.total.dtype == torch.float64

    def test_more_samples_lower_the_variance_and_not_the_mean(self):
        model = small_model()
        one, many = objectives.ELBO(), objectives.ELBO()
        many.sample_shape = (64,)
        a = torch.stack([one(model, self.x).total for _ in range(300)]).detach()
        b = torch.stack([many(model, self.x).total for _ in range(30)]).detach()
        assert b.std() < 0.3 * a.std()
        assert (a.mean() - b.mean()).abs() < 5 * a.std() / 300**0.5

    @pytest.mark.parametrize(
        ("objective", "formula"),
        [
            (objectives.ELBO(), "reconstruction + kl"),
            (objectives.BetaVAE(beta=0.5), "reconstruction + 0.5·kl"),
            (
                objectives.BetaVAE(beta=schedules.Linear(0.0, 4.0, steps=10_000)),
                "reconstruction + Linear(0.0 → 4.0, 10000 steps)·kl",
            ),
            (objectives.BetaVAE(beta=schedules.Constant(4.0)), "reconstruction + 4·kl"),
        ],
    )
    def test_prints_as_its_formula(self, objective, formula):
        assert str(objective) == formula

    def test_a_term_with_a_value_for_each_dimension_is_refused(self):
        """Its mean over dimensions would be the KL divided by D, silently."""

        class PerDimension(nn.Module):
            def forward(self, out):
                return dist.kl(dist.marginals(out.posterior), dist.marginals(out.prior))

        with pytest.raises(ValueError, match="sum over latent dimensions"):
            WeightedSum(kl=(1.0, PerDimension()))(small_model(), self.x)


class TestReconstructionAndKL:
    def test_samples_lead_and_every_datum_has_its_value(self):
        out = small_model()(torch.rand(8, 6).double(), sample_shape=(5,))
        assert terms.Reconstruction()(out).shape == (5, 8)
        assert terms.KL()(out).shape == (8,)
        assert terms.KL(analytic=False)(out).shape == (5, 8)

    def test_a_joint_density_is_counted_once(self):
        """An unfactorised prior broadcast over dimensions would count log p(z) D times."""
        mixture = MixtureSameFamily(
            Categorical(torch.ones(2).double()),
            Independent(dist.Normal(torch.randn(2, D).double(), 1.0), 1),
        )
        posterior = diagonal()
        z = posterior.rsample()
        out = pass_of(posterior, z, mixture)
        expected = dist.marginals(posterior).log_prob(z).sum(-1) - mixture.log_prob(z)
        torch.testing.assert_close(terms.KL()(out), expected)
