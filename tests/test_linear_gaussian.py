"""A linear-Gaussian model, where log p(x) and the true posterior are known exactly.

x = W z + b + σ ε with z ~ N(0, diag(s²)): p(x) = N(b, W diag(s²) Wᵀ + σ² I), and the posterior is
normal with precision diag(1/s²) + Wᵀ W / σ².
"""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal

from disvae import VAE, TrainStep, evaluation, objectives, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, terms

SIGMA = 0.7


class LinearDecoder(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, z):
        return Independent(dist.Normal(z @ self.weight.T + self.bias, SIGMA), 1)


class FullCovarianceEncoder(nn.Module):
    """A user's own encoder: the true posterior, or one that is off by ``shift`` and ``stretch``."""

    def __init__(self, weight, bias, scale, shift=0.0, stretch=1.0):
        super().__init__()
        precision = torch.diag(scale**-2) + weight.T @ weight / SIGMA**2
        covariance = torch.linalg.inv(precision)
        self.gain = nn.Parameter(covariance @ weight.T / SIGMA**2)
        self.bias, self.shift = bias, shift
        self.covariance = stretch * (covariance + covariance.T) / 2

    def forward(self, x):
        loc = (x - self.bias) @ self.gain.T + self.shift
        return MultivariateNormal(loc, self.covariance.expand(len(x), -1, -1))


@pytest.fixture(params=[1, 3], ids="D={}".format)
def problem(request):
    generator = torch.Generator().manual_seed(request.param)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    latent_dim = request.param
    weight, bias, x = draw(5, latent_dim), draw(5), draw(6, 5) * 2
    # a prior takes its constants in as float32: one that is exact there
    scale = (draw(latent_dim).abs() + 0.5).float().double()
    covariance = weight @ torch.diag(scale**2) @ weight.T + SIGMA**2 * torch.eye(5).double()
    exact = MultivariateNormal(bias, covariance).log_prob(x)

    def build(**off):
        return VAE(
            FullCovarianceEncoder(weight, bias, scale, **off),
            LinearDecoder(weight, bias),
            prior=priors.Normal(latent_dim, scale=scale).double(),
        )

    return build, x, exact


def test_every_single_sample_bound_is_exact_at_the_true_posterior(problem):
    build, x, exact = problem
    objective = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(1.0, terms.KL(analytic=False))
    )
    model = build()
    for i in range(len(x)):
        losses = TrainStep(model, objective)(x[i : i + 1])
        assert abs(-losses.total - exact[i]) < 1e-9
    out = model(x, sample_shape=(50,))
    bound = -(terms.Reconstruction()(out) + terms.KL(analytic=False)(out))
    torch.testing.assert_close(bound, exact.expand(50, -1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("problem", [1], indirect=True)
def test_the_bound_with_the_closed_form_is_exact_in_the_mean(problem):
    """A diagonal posterior is the true one for a single latent, so the closed form applies."""
    build, x, exact = problem
    model = build()

    class Diagonal(nn.Module):
        def forward(self, x):
            q = model.encoder(x)
            return Independent(dist.Normal(q.loc, q.variance.sqrt()), 1)

    diagonal = VAE(Diagonal(), model.decoder, prior=model.prior)
    out = diagonal(x, sample_shape=(20_000,))
    assert dist.has_closed_form(out.posterior, out.prior)
    bound = -(terms.Reconstruction()(out) + terms.KL()(out))
    error = bound.std(0) / 20_000**0.5
    assert ((bound.mean(0) - exact).abs() < 4 * error).all()
    assert (bound.std(0) > 0.01).all()  # one sample alone is not exact with the closed form


@pytest.mark.parametrize("samples", [1, 7, 500])
def test_log_likelihood_is_exact_for_any_number_of_samples(problem, samples):
    build, x, exact = problem
    found = evaluation.log_likelihood(build(), x, samples=samples, batch_size=16)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-9)


def test_with_a_wrong_posterior_it_rises_with_the_samples_towards_the_truth(problem):
    build, x, exact = problem
    model = build(shift=0.3, stretch=1.5)
    x, exact = x.repeat(300, 1), exact.repeat(300)
    gaps = [
        (exact - evaluation.log_likelihood(model, x, samples=k)).mean().item() for k in (1, 10, 300)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > -0.01
    assert gaps[0] > 0.05
    assert gaps[2] < 0.05 * gaps[0]


def test_elbo_differs_from_the_truth_by_the_divergence_to_the_true_posterior(problem):
    build, x, exact = problem
    wrong, right = build(shift=0.3, stretch=1.5), build()
    gap = torch.distributions.kl_divergence(wrong.encoder(x), right.encoder(x)).detach()
    found = evaluation.elbo(wrong, x, samples=40_000)
    torch.testing.assert_close(exact - found, gap, rtol=0, atol=0.05)


def test_memory_of_many_samples_is_that_of_one_chunk(problem):
    build, x, _ = problem
    model, seen = build(), []
    model.decoder.register_forward_hook(
        lambda module, args, p: seen.append(args[0][..., 0].numel())
    )
    evaluation.log_likelihood(model, x, samples=5000, batch_size=100)
    assert max(seen) <= 100
    assert sum(seen) == 5000 * len(x)


def test_gradient_descent_on_the_elbo_finds_the_maximum_likelihood():
    """In one dimension the best σ² of the marginal is the variance of the data."""
    torch.manual_seed(0)
    x = 1.7 * torch.randn(512, 1).double()
    x = (x - x.mean()) * 2.0 / x.std(correction=0)
    weight, bias = torch.tensor([[0.5]]).double(), torch.zeros(1).double()
    decoder = LinearDecoder(weight, bias)

    class Amortised(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.1).double())
            self.log_scale = nn.Parameter(torch.tensor(0.0).double())

        def forward(self, x):
            return Independent(dist.Normal(self.slope * x, self.log_scale.exp()), 1)

    model = VAE(Amortised(), decoder, prior=priors.Normal(1).double())
    train = TrainStep(model, objectives.ELBO())
    optimizer = torch.optim.Adam(train.parameters(), lr=0.02)
    for _ in range(800):
        losses = train(x)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    variance = decoder.weight.item() ** 2 + SIGMA**2
    assert variance == pytest.approx(4.0, rel=0.03)
