"""The best posterior of the β-ELBO, what a linear β-VAE learns, and both ends of β.

For every β the posterior q* ∝ p(z) p(x|z)^(1/β) maximises E_q[log p(x|z)] - β KL(q ‖ p), its value
is β log ∫ p(z) p(x|z)^(1/β) dz, and any other q loses β KL(q ‖ q*). It follows that a linear model
of noise σ² uses a principal direction of variance λ if and only if λ > βσ², at a rate of
½ log(λ / βσ²): the rates of reverse water-filling, with the water at βσ².
"""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Size, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, constraints

from disvae import VAE, TrainStep, evaluation, likelihoods, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, terms

pytestmark = pytest.mark.usefixtures("float64")

seeds = st.integers(0, 2**31)
dims = st.integers(1, 3)
betas = st.floats(0.1, 50.0)
sigmas = st.floats(0.3, 2.0)


class Affine(nn.Module):
    """A normal posterior of one covariance, its mean affine in x."""

    def __init__(self, gain, centre, covariance):
        super().__init__()
        self.gain, self.centre, self.covariance = gain, centre, covariance

    def forward(self, x):
        loc = (x - self.centre) @ self.gain.mT
        return dist.MultivariateNormal(loc, self.covariance.expand(len(x), -1, -1))


def linear_decoder(dim, event, sigma):
    linear = nn.Linear(dim, event)
    nn.init.normal_(linear.weight)
    nn.init.normal_(linear.bias)
    return nn.Sequential(linear, likelihoods.Normal(event, scale=sigma))


def correlated_prior(dim):
    root = torch.randn(dim, dim)
    return priors.FullNormal(dim, root @ root.mT + 0.2 * torch.eye(dim))


def best_posterior(decoder, prior, sigma, beta):
    """The normal posterior of a likelihood to the power 1/β, whose variance is βσ²."""
    weight, noise = decoder[0].weight.detach(), beta * sigma**2
    precision = torch.linalg.inv(prior().covariance_matrix) + weight.mT @ weight / noise
    covariance = torch.linalg.inv(precision)
    covariance = (covariance + covariance.mT) / 2
    return Affine(covariance @ weight.mT / noise, decoder[0].bias.detach(), covariance)


def least_cost(decoder, prior, sigma, beta, x):
    """-β log ∫ p(z) p(x|z)^(1/β) dz: the power is a normal density of variance βσ² and a factor."""
    weight, bias = decoder[0].weight.detach(), decoder[0].bias.detach()
    event, noise = len(bias), beta * sigma**2
    covariance = weight @ prior().covariance_matrix @ weight.mT + noise * torch.eye(event)
    factor = math.log(2 * math.pi * noise) - math.log(2 * math.pi * sigma**2) / beta
    return -beta * (MultivariateNormal(bias, covariance).log_prob(x) + 0.5 * event * factor)


def cost(out, beta):
    """The negative β-ELBO of each sample."""
    return terms.Reconstruction()(out) + beta * terms.KL(analytic=False)(out)


def exact_noise(sampler, shape, *, dtype, device):
    """2D points of mean 0 and covariance I: the mean of a quadratic function over them is exact."""
    dim = shape[-1]
    points = dim**0.5 * torch.cat((torch.eye(dim), -torch.eye(dim)))
    return points.unsqueeze(1).expand(shape)


def exactly(objective, dim):
    """An objective whose expectation over a normal posterior is exact in linear models."""
    objective.sample_shape = Size((2 * dim,))
    return objective


def minimise(train, x, steps=300):
    """To a gradient of zero, by L-BFGS without noise."""
    parameters = [p for p in train.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=steps,
        tolerance_grad=1e-9,
        tolerance_change=0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def loss():
        optimizer.zero_grad()
        total = train(x).total
        total.backward()
        return total

    with dist.replace_noise(exact_noise):
        optimizer.step(loss)
        return train(x).total.item()


class TestLinearGaussian:
    @given(dims, sigmas, betas, seeds)
    def test_every_sample_of_the_best_posterior_gives_the_value(self, dim, sigma, beta, seed):
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(5, 4)
        model = VAE(best_posterior(decoder, prior, sigma, beta), decoder, prior=prior)
        least = least_cost(decoder, prior, sigma, beta, x)
        objective = WeightedSum(
            reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL(analytic=False))
        )
        found = TrainStep(model, objective)(x).total
        torch.testing.assert_close(found, least.mean(), rtol=1e-9, atol=1e-9)
        each = cost(model(x, sample_shape=(7,)), beta)
        torch.testing.assert_close(each, least.expand(7, -1), rtol=1e-8, atol=1e-8)

    @given(
        st.sampled_from([posteriors.DiagonalNormal, posteriors.FullNormal]),
        dims,
        sigmas,
        betas,
        seeds,
    )
    def test_any_other_posterior_loses_beta_times_its_divergence_from_the_best(
        self, head, dim, sigma, beta, seed
    ):
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(5, 4)
        model = VAE(head(4, dim), decoder, prior=prior)
        with dist.replace_noise(exact_noise):
            found = exactly(objectives.BetaVAE(beta), dim)(model, x).total
        best = best_posterior(decoder, prior, sigma, beta)
        loss = dist.kl(model.encode(x), best(x)).mean()
        assert loss > 0
        expected = least_cost(decoder, prior, sigma, beta, x).mean() + beta * loss
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)

    @settings(max_examples=6)
    @given(dims, sigmas, st.floats(0.3, 10), seeds)
    def test_training_finds_the_best_posterior(self, dim, sigma, beta, seed):
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(9, 4)
        model = VAE(posteriors.FullNormal(4, dim), decoder.requires_grad_(False), prior=prior)
        least = minimise(TrainStep(model, exactly(objectives.BetaVAE(beta), dim)), x)
        expected = least_cost(decoder, prior, sigma, beta, x).mean().item()
        assert least == pytest.approx(expected, abs=1e-8)
        found, best = model.encode(x), best_posterior(decoder, prior, sigma, beta)(x)
        torch.testing.assert_close(found.loc, best.loc, rtol=0, atol=1e-3)
        torch.testing.assert_close(
            found.covariance_matrix, best.covariance_matrix, rtol=0, atol=1e-3
        )


class Tilted(Distribution):
    """p(z) p(x|z)^(1/β) over its integral, sampled on a grid."""

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, model, x, beta, grid, log_integral):
        self.log_density = lambda z: (
            model.prior().log_prob(z) + model.decode(z).log_prob(x) / beta - log_integral
        )
        self.grid = grid
        super().__init__(x.shape[:1], grid.shape[1:], validate_args=False)

    def log_prob(self, z):
        return self.log_density(z)

    def rsample(self, sample_shape=()):
        shares = self.log_density(self.grid.unsqueeze(1)).exp().mT
        index = torch.multinomial(shares, max(Size(sample_shape).numel(), 1), replacement=True)
        return self.grid[index.mT].reshape(self._extended_shape(sample_shape))


class Drawn(nn.Module):
    """Normal posteriors of a few data, as they were drawn: none too narrow for a grid."""

    def __init__(self, count, dim):
        super().__init__()
        self.loc, self.scale = 2 * torch.randn(count, dim).tanh(), 0.5 + torch.rand(count, dim)

    def forward(self, x):
        return Independent(dist.Normal(self.loc, self.scale), 1)


def curved_model(dim, kind, sigma):
    """A decoder that bends the latent space, with any prior."""
    decoder = nn.Sequential(
        nn.Linear(dim, 6), nn.Tanh(), nn.Linear(6, 3), likelihoods.Normal(3, scale=sigma)
    )
    for parameter in decoder.requires_grad_(False).parameters():
        nn.init.normal_(parameter)
    prior = {
        "normal": priors.Normal(dim, 1.5),
        "sparse": priors.Sparse(dim, 0.5, 0.4),
        "mixture": priors.Mixture(dim, means=2 * torch.randn(3, dim), scales=0.6),
        "student-t": priors.StudentT(dim, 8.0),
    }[kind]
    return VAE(Drawn(4, dim), decoder, prior=prior)


def plane(dim, span, points):
    axis = torch.linspace(-span, span, points)
    step = (axis[1] - axis[0]).item()
    return torch.cartesian_prod(*[axis] * dim).reshape(-1, dim), step**dim


def log_integral(model, x, beta, grid, cell):
    """log ∫ p(z) p(x|z)^(1/β) dz, for each datum."""
    log_density = model.prior().log_prob(grid).unsqueeze(-1)
    log_density = log_density + model.decode(grid.unsqueeze(1)).log_prob(x) / beta
    return log_density.logsumexp(0) + math.log(cell), log_density


KINDS = ("normal", "sparse", "mixture", "student-t")


class TestCurvedDecoder:
    """Oracles by quadrature, where nothing is closed."""

    @pytest.mark.parametrize(
        ("dim", "points", "nodes", "tolerance"), [(1, 4001, 1001, 1e-6), (2, 181, 91, 1e-4)]
    )
    @settings(max_examples=15)
    @given(st.sampled_from(KINDS), st.floats(0.5, 2.0), st.floats(0.5, 20), seeds)
    def test_any_posterior_loses_beta_times_its_divergence_from_the_best(
        self, dim, points, nodes, tolerance, kind, sigma, beta, seed
    ):
        """The cost is averaged over the posterior's own noise, the divergence over the space."""
        torch.manual_seed(seed)
        model, x = curved_model(dim, kind, sigma), torch.randn(4, 3)
        grid, cell = plane(dim, 18.0, points)
        value, log_density = log_integral(model, x, beta, grid, cell)
        noise, step = plane(dim, 8.0, nodes)
        weight = step * dist.Normal(0.0, 1.0).log_prob(noise).sum(-1, keepdim=True).exp()
        noise = noise.unsqueeze(1)
        with dist.replace_noise(lambda sampler, shape, *, dtype, device: noise.expand(shape)):
            out = model(x, sample_shape=(len(noise),))
        found = (weight * cost(out, beta)).sum(0)
        q = out.posterior.log_prob(grid.unsqueeze(1))
        loss = (q.exp() * (q - (log_density - value))).sum(0) * cell
        assert (loss > 0).all()
        torch.testing.assert_close(found, beta * (loss - value), rtol=tolerance, atol=tolerance)

    @given(st.sampled_from(KINDS), st.floats(0.3, 2.0), st.floats(0.2, 20), seeds)
    def test_every_sample_of_the_best_posterior_gives_the_value(self, kind, sigma, beta, seed):
        torch.manual_seed(seed)
        model, x = curved_model(1, kind, sigma), torch.randn(4, 3)
        grid, cell = plane(1, 18.0, 4001)
        value, _ = log_integral(model, x, beta, grid, cell)

        class Best(nn.Module):
            def forward(self, x):
                return Tilted(model, x, beta, grid, value)

        best = VAE(Best(), model.decoder, prior=model.prior)
        found = TrainStep(best, objectives.BetaVAE(beta))(x)
        torch.testing.assert_close(found.total, -beta * value.mean(), rtol=1e-9, atol=1e-9)


def principal_data(variances, event, count=40):
    """Centred data with these variances along random directions, exactly."""
    axes = torch.linalg.qr(torch.randn(event, event)).Q
    x = torch.randn(count, event)
    x = torch.linalg.qr(x - x.mean(0)).Q * count**0.5
    return x @ torch.diag(torch.as_tensor(variances).sqrt()) @ axes.mT + torch.randn(event)


def trained(variances, latent_dim, sigma, beta):
    """A linear β-VAE of shipped parts at its optimum: the model, its data, and its cost."""
    event = len(variances)
    x = principal_data(variances, event)
    decoder = linear_decoder(latent_dim, event, sigma)
    model = VAE(
        posteriors.DiagonalNormal(event, latent_dim), decoder, prior=priors.Normal(latent_dim)
    )
    train = TrainStep(model, exactly(objectives.BetaVAE(beta), latent_dim))
    return model, x, minimise(train, x, steps=1000)


def check_water_filling(variances, latent_dim, sigma, beta):
    """Directions above the water βσ², their weights, rates and cost."""
    model, x, found = trained(variances, latent_dim, sigma, beta)
    event, level = len(variances), beta * sigma**2
    ordered = sorted(variances, reverse=True) + [0.0] * latent_dim  # no more directions than data
    top, rest = torch.tensor(ordered[:latent_dim]), torch.tensor(ordered[latent_dim:event])
    used = top.clamp(min=level)
    # -2 log p(x) under the variances `used` where there are directions, and βσ² elsewhere
    kept = used[:event]
    likelihood = (kept.log() + top[:event] / kept).sum() + (math.log(level) + rest / level).sum()
    constant = event * (math.log(2 * math.pi * sigma**2) - beta * math.log(level))
    assert found == pytest.approx((0.5 * (beta * likelihood + constant)).item(), abs=1e-6)
    singular = torch.linalg.svdvals(model.decoder[0].weight.detach())
    singular = torch.nn.functional.pad(singular, (0, latent_dim - len(singular)))
    torch.testing.assert_close(singular**2, used - level, rtol=0, atol=1e-2 * level)
    summary = evaluation.summary(model, x)
    rates = summary.kl_per_dimension[summary.order]
    torch.testing.assert_close(rates, 0.5 * (used / level).log(), rtol=0, atol=1e-3)
    # the means of an active direction vary by 1 - βσ²/λ
    variance = evaluation.active_units(model, x).variance.sort(descending=True).values
    torch.testing.assert_close(variance, 1 - level / used, rtol=0, atol=1e-2)
    return model, x


class TestLinearBetaVAE:
    @pytest.mark.parametrize(("ratio", "active"), [(0.95, 1), (1.05, 2)])
    @pytest.mark.parametrize("beta", [0.5, 4.0])
    def test_a_direction_just_above_the_threshold_is_used_and_one_just_below_is_not(
        self, ratio, active, beta
    ):
        level = beta * 0.7**2
        model, x = check_water_filling([3 * level, ratio * level, 0.2 * level], 3, 0.7, beta)
        units = evaluation.active_units(model, x, threshold=0.01)
        assert units.count == active

    @settings(max_examples=6)
    @given(
        st.lists(st.sampled_from([0.2, 0.6, 0.9, 1.1, 1.5, 2.5, 4.0, 7.0]), min_size=2, max_size=4),
        st.integers(1, 3),
        sigmas,
        st.floats(0.3, 6.0),
        seeds,
    )
    def test_rates_and_weights_are_those_of_reverse_water_filling(
        self, ratios, latent_dim, sigma, beta, seed
    ):
        """Whatever the spectrum, and with more or fewer dimensions than directions."""
        torch.manual_seed(seed)
        check_water_filling([r * beta * sigma**2 for r in ratios], latent_dim, sigma, beta)

    def test_at_beta_of_one_it_is_probabilistic_pca(self):
        """Of largest likelihood: the covariance keeps what is above σ², and fills up the rest."""
        variances = [5.0, 2.0, 0.8, 0.3]
        model, x, found = trained(variances, 2, 0.9, 1.0)
        directions = torch.linalg.eigh(x.mT.cov(correction=0)).eigenvectors.flip(1)
        kept = torch.tensor([5.0, 2.0, 0.81, 0.81])
        covariance = directions @ torch.diag(kept) @ directions.mT
        exact = MultivariateNormal(x.mean(0), covariance).log_prob(x)
        assert -found == pytest.approx(exact.mean().item(), abs=1e-7)
        likelihood = evaluation.log_likelihood(model, x, samples=1)
        torch.testing.assert_close(likelihood, exact, rtol=0, atol=1e-3)


class TestEndsOfBeta:
    @staticmethod
    def parts(decoder, prior, sigma, beta, x):
        """Distortion and rate at the best posterior, exactly."""
        model = VAE(best_posterior(decoder, prior, sigma, beta), decoder, prior=prior)
        objective = exactly(objectives.BetaVAE(beta), prior.latent_dim)
        with dist.replace_noise(exact_noise), torch.no_grad():
            found = objective(model, x).terms
        return found["reconstruction"].item(), found["kl"].item(), model.encode(x)

    @given(dims, sigmas, seeds)
    def test_the_rate_falls_and_the_distortion_rises_with_beta(self, dim, sigma, seed):
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(5, 4)
        found = [self.parts(decoder, prior, sigma, 10.0**k, x)[:2] for k in range(-4, 5)]
        distortions, rates = zip(*found, strict=True)
        assert all(a > b for a, b in itertools.pairwise(rates))
        assert all(a < b for a, b in itertools.pairwise(distortions))

    @given(dims, sigmas, seeds)
    def test_with_a_large_beta_the_best_posterior_is_the_prior(self, dim, sigma, seed):
        """At a rate of Var_p[log p(x|z)] / 2β²."""
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(5, 4)
        # log p(x|z) = c + bᵀz - ½ zᵀAz, of variance bᵀΣb + ½ tr(AΣAΣ) under N(0, Σ)
        weight, covariance = decoder[0].weight.detach(), prior().covariance_matrix
        b = (x - decoder[0].bias.detach()) @ weight / sigma**2
        product = weight.mT @ weight @ covariance / sigma**2
        variance = ((b @ covariance) * b).sum(-1) + 0.5 * (product @ product).trace()
        beta = 1e3 * (1 + variance.amax().item() ** 0.5)
        _, rate, q = self.parts(decoder, prior, sigma, beta, x)
        assert rate * 2 * beta**2 == pytest.approx(variance.mean().item(), rel=1e-2)
        nearness = {"rtol": 0, "atol": 1e-2 * covariance.amax().item()}
        torch.testing.assert_close(q.loc, torch.zeros_like(q.loc), **nearness)
        torch.testing.assert_close(q.covariance_matrix[0], covariance, **nearness)

    @given(dims, sigmas, seeds)
    def test_with_a_small_beta_the_objective_is_that_of_an_autoencoder(self, dim, sigma, seed):
        """The distortion of the best code, which costs D/2 log(1/β) nats and more."""
        torch.manual_seed(seed)
        decoder, prior, x = linear_decoder(dim, 4, sigma), correlated_prior(dim), torch.randn(5, 4)
        nn.init.orthogonal_(decoder[0].weight, gain=1.5)  # no direction without any effect
        distortion, rate, q = self.parts(decoder, prior, sigma, 1e-8, x)
        weight, bias = decoder[0].weight.detach(), decoder[0].bias.detach()
        codes = torch.linalg.lstsq(weight, (x - bias).mT).solution.mT
        torch.testing.assert_close(q.loc, codes, rtol=1e-3, atol=1e-3)
        best = -decoder(codes).log_prob(x).mean().item()
        assert distortion == pytest.approx(best, abs=1e-4)
        _, further, _ = self.parts(decoder, prior, sigma, 1e-10, x)
        assert further - rate == pytest.approx(dim / 2 * math.log(100), abs=1e-3)
