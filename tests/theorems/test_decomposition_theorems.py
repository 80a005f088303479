"""What β does, and what the rate is made of, on randomly drawn models.

Theorem 1 of Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
https://arxiv.org/abs/1812.02833: with f_β = p^β / F_β and F_β = ∫ p^β, the β-ELBO is the ELBO under
the prior f_β, plus (β - 1) H[q] + log F_β. And the mean rate is I_q(x; z) + KL(q(z) ‖ p(z)), where
0 ≤ I ≤ log N.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, special
from torch import nn
from torch.distributions import Categorical, Independent, Laplace

from disvae import VAE, VAEOutput, decoders, encoders, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, terms

pytestmark = pytest.mark.usefixtures("float64")

B, X, D = 5, 4, 3
betas = st.floats(0.2, 8.0)
seeds = st.integers(0, 2**31)
HEADS = (
    posteriors.DiagonalNormal,
    posteriors.FullNormal,
    posteriors.LowRankNormal,
    posteriors.Laplace,
    posteriors.StudentT,
    posteriors.InverseAutoregressive,
)


class Given(nn.Module):
    """A part of one's own: a distribution as it is."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self):
        return self.d


class Tempered(nn.Module):
    """f_β of any prior, with its normaliser."""

    def __init__(self, prior, beta, log_normaliser):
        super().__init__()
        self.prior, self.beta, self.log_normaliser = prior, beta, log_normaliser

    def forward(self):
        tempered, p = self, self.prior()

        class Power(torch.distributions.Distribution):
            arg_constraints = {}  # noqa: RUF012
            support = p.support

            def log_prob(self, z):
                return tempered.beta * p.log_prob(z) - tempered.log_normaliser

        return Power((), p.event_shape)


def scales():
    return 0.3 + 2 * torch.rand(D)


# Each draws a prior, and gives with it f_β and log F_β.


def isotropic_normal(beta):
    scale = scales()[0].item()
    log_f = log_normaliser_of_a_normal(beta, 2 * D * math.log(scale))
    return priors.Normal(D, scale), priors.Normal(D, scale / beta**0.5), log_f


def anisotropic_normal(beta):
    scale = scales()
    log_f = log_normaliser_of_a_normal(beta, 2 * scale.log().sum().item())
    return priors.Normal(D, scale), priors.Normal(D, scale / beta**0.5), log_f


def full_normal(beta):
    root = torch.randn(D, D)
    covariance = root @ root.mT + 0.1 * torch.eye(D)
    log_f = log_normaliser_of_a_normal(beta, torch.logdet(covariance).item())
    return priors.FullNormal(D, covariance), priors.FullNormal(D, covariance / beta), log_f


def log_normaliser_of_a_normal(beta, log_determinant):
    """As the paper has it."""
    constant = D * (1 - beta) / 2 * math.log(2 * math.pi) - D / 2 * math.log(beta)
    return constant + (1 - beta) / 2 * log_determinant


def laplace(beta):
    scale = scales()
    log_f = (1 - beta) * (2 * scale).log().sum().item() - D * math.log(beta)
    return priors.Laplace(D, scale), priors.Laplace(D, scale / beta), log_f


def generalised_normal(beta):
    scale, power = scales(), 0.5 + 3 * torch.rand(()).item()
    log_constant = (2 * scale / power).log().sum().item() + D * special.gammaln(1 / power)
    log_f = (1 - beta) * log_constant - D / power * math.log(beta)
    tempered = priors.GeneralizedNormal(D, power, scale / beta ** (1 / power))
    return priors.GeneralizedNormal(D, power, scale), tempered, log_f


def student_t(beta):
    """f_β is another Student-t, where the power of the tails can be integrated at all."""
    df, scale = 0.5 + 10 * torch.rand(()).item(), scales()
    tempered_df = beta * (df + 1) - 1
    assume(tempered_df > 0.1)
    log_c = -special.betaln(0.5, df / 2)
    log_tempered_c = -special.betaln(0.5, tempered_df / 2)
    width = scale.log().sum().item() + D / 2 * math.log(df)
    log_f = D * (beta * log_c - log_tempered_c) + (1 - beta) * width
    tempered = priors.StudentT(D, tempered_df, scale * (df / tempered_df) ** 0.5)
    return priors.StudentT(D, df, scale), tempered, log_f


def sparse(beta):
    """By quadrature of each dimension, for which the density of one is enough."""
    settings = 0.1 + 0.8 * torch.rand(()).item(), 0.05 + 0.3 * torch.rand(()).item(), 1.3
    one = priors.Sparse(1, *settings)()

    def power(z):
        return (beta * one.log_prob(torch.tensor([z]))).exp().item()

    half = sum(
        integrate.quad(power, a, b, epsabs=0, epsrel=1e-12, limit=200)[0]
        for a, b in ((0.0, 0.3), (0.3, 1.5), (1.5, 40.0))
    )
    log_f = D * math.log(2 * half)
    prior = priors.Sparse(D, *settings)
    return prior, Tempered(prior, beta, log_f), log_f


def sparse_to_a_whole_power(beta):
    """(γ N0 + (1 - γ) N1)^β is itself a mixture of β + 1 normals around 0."""
    beta = math.ceil(beta)
    gamma, spike, slab = 0.1 + 0.8 * torch.rand(()).item(), 0.2, 1.3
    k = torch.arange(beta + 1.0)
    precision = k / spike**2 + (beta - k) / slab**2
    log_weight = k * math.log(gamma / spike) + (beta - k) * math.log((1 - gamma) / slab)
    log_weight += torch.from_numpy(np.log(special.binom(beta, k.numpy())))
    log_weight += (1 - beta) / 2 * math.log(2 * math.pi) - 0.5 * precision.log()
    components = dist.Normal(torch.zeros(D, beta + 1), precision**-0.5)
    tempered = dist.Mixture(Categorical(logits=log_weight.expand(D, -1)), components)
    log_f = D * log_weight.logsumexp(-1).item()
    return priors.Sparse(D, gamma, spike, slab), Given(Independent(tempered, 1)), log_f, beta


def squared_mixture(beta):
    """The square of a mixture of K normals is one of K²."""
    means, scale = torch.randn(3, D), 0.3 + torch.rand(3, D)
    weights = 0.2 + torch.rand(3)
    weights = weights / weights.sum()
    a, b = (v.flatten() for v in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))
    precision = scale[a] ** -2 + scale[b] ** -2
    centres = (means[a] * scale[a] ** -2 + means[b] * scale[b] ** -2) / precision
    apart = dist.Normal(means[b], (scale[a] ** 2 + scale[b] ** 2).sqrt()).log_prob(means[a])
    shares = weights[a] * weights[b] * apart.sum(-1).exp()
    prior = priors.Mixture(D, means=means, scales=scale, weights=weights)
    tempered = priors.Mixture(D, means=centres, scales=precision**-0.5, weights=shares)
    return prior, tempered, shares.sum().log().item(), 2


PRIORS = (
    isotropic_normal,
    anisotropic_normal,
    full_normal,
    laplace,
    generalised_normal,
    student_t,
    sparse,
    sparse_to_a_whole_power,
    squared_mixture,
)


class NegativeEntropy(nn.Module):
    """log q(z|x) at the samples."""

    def forward(self, out):
        return out.posterior.log_prob(out.z)


def random_model(head, prior):
    encoder = encoders.MLP(X, D, hidden=(8,), posterior=head)
    decoder = decoders.MLP(D, X, hidden=(8,))
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        nn.init.normal_(parameter, std=0.5)
    return VAE(encoder, decoder, prior=prior)


def losses(objective, model, x, seed):
    torch.manual_seed(seed)
    return objective(model, x)


def drawn(make, beta):
    prior, tempered, log_f, *power = make(beta)
    return prior, tempered, log_f, power[0] if power else beta


@pytest.mark.parametrize("make", PRIORS)
@given(st.sampled_from(HEADS), betas, seeds)
def test_beta_is_a_change_of_prior_and_a_reward_for_entropy(make, head, beta, seed):
    """On common samples the two sides are equal, whatever posterior, prior, decoder and β."""
    torch.manual_seed(seed)
    prior, tempered, log_f, beta = drawn(make, beta)
    model, x = random_model(head, prior), torch.rand(B, X)
    beta_elbo = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL(analytic=False))
    )
    elbo = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()),
        kl=(1.0, terms.KL(analytic=False)),
        negative_entropy=(0.0, NegativeEntropy()),
    )
    found = losses(beta_elbo, model, x, seed)
    of_tempered = losses(elbo, VAE(model.encoder, model.decoder, prior=tempered), x, seed)
    assert found.terms["reconstruction"] == of_tempered.terms["reconstruction"]  # common samples
    entropy = -of_tempered.terms["negative_entropy"]
    expected = of_tempered.total - (beta - 1) * entropy - log_f
    size = found.total.abs() + beta * found.terms["kl"].abs() + beta * entropy.abs() + abs(log_f)
    assert (found.total - expected).abs() < 1e-12 * (1 + size)


CLOSED = [
    (head, make)
    for make in (isotropic_normal, anisotropic_normal, full_normal)
    for head in (posteriors.DiagonalNormal, posteriors.FullNormal, posteriors.LowRankNormal)
]
CLOSED += [
    (posteriors.DiagonalNormal, laplace),
    (posteriors.Laplace, laplace),
    (posteriors.Laplace, anisotropic_normal),
    (posteriors.StudentT, anisotropic_normal),
]


@pytest.mark.parametrize(("head", "make"), CLOSED)
@given(betas, seeds)
def test_closed_divergences_and_entropies_obey_it_too(head, make, beta, seed):
    torch.manual_seed(seed)
    prior, tempered, log_f, beta = drawn(make, beta)
    model, x = random_model(head, prior), torch.rand(B, X)
    other = VAE(model.encoder, model.decoder, prior=tempered)
    posterior = model.encode(x)
    assert dist.has_closed_form(posterior, prior())
    if head is posteriors.LowRankNormal:  # which has no entropy of its own
        entropy = 0.5 * torch.logdet(2 * math.pi * math.e * posterior.covariance_matrix)
    else:
        entropy = posterior.entropy()
    found = losses(objectives.BetaVAE(beta), model, x, seed)
    of_tempered = losses(objectives.ELBO(), other, x, seed)
    expected = of_tempered.total - (beta - 1) * entropy.mean() - log_f
    size = found.total.abs() + beta * found.terms["kl"] + beta * entropy.abs().max() + abs(log_f)
    assert (found.total - expected).abs() < 1e-12 * (1 + size)


def test_the_power_of_a_sparse_prior_is_divided_by_its_integral():
    """The identity holds with any F_β there, which cancels: it must be that of a density."""
    z = torch.linspace(-20, 20, 400_001)
    for beta in (0.3, 0.9, 2.5):
        f = sparse(beta)[1]()
        along = torch.nn.functional.pad(z.unsqueeze(-1), (0, D - 1))  # one dimension, others at 0
        mass = torch.trapezoid(f.log_prob(along).exp(), z)
        others = (f.log_prob(torch.zeros(D)) * (D - 1) / D).exp()
        torch.testing.assert_close(mass, others, rtol=1e-8, atol=0)


# Posteriors in a table: one for each of N data.

counts = st.integers(2, 12)
spreads = st.floats(0, 30)  # from posteriors that coincide to some that are apart


def factorised(n, dim, spread):
    return Independent(dist.Normal(spread * torch.randn(n, dim), 0.3 + torch.rand(n, dim)), 1)


def dependent(n, dim, spread):
    factor = torch.tril(torch.rand(n, dim, dim) - 0.5) + torch.eye(dim)
    return dist.MultivariateNormal(spread * torch.randn(n, dim), scale_tril=factor)


def peaked(n, dim, spread):
    return Independent(Laplace(spread * torch.randn(n, dim), 0.3 + torch.rand(n, dim)), 1)


def line(posterior, points):
    """An even grid that holds all but 1e-30 of the mass of every posterior."""
    ends = posterior.mean.abs().amax() + 12 * posterior.stddev.amax()
    return torch.linspace(-ends, ends, points), 2 * ends / (points - 1)


def on_a_grid(posterior, prior, grid):
    """One pass whose samples are the points of a grid, the same for every datum."""
    n = posterior.batch_shape[0]
    z = grid.unsqueeze(-2).expand(-1, n, -1)
    likelihood = Independent(dist.Normal(torch.zeros(*z.shape[:-1], 1), 1.0), 1)
    return VAEOutput(torch.zeros(n, 1), z, posterior, prior, likelihood)


def integrals(posterior, prior, points):
    """I, KL(q(z) ‖ p(z)) and the rate, and the entropy of q(z), by enumeration and quadrature."""
    n, dim = *posterior.batch_shape, *posterior.event_shape
    axis, step = line(posterior, points)
    grid = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    out = on_a_grid(posterior, prior, grid)
    weight = posterior.log_prob(out.z).exp() * step**dim / n
    information = (weight * terms.MutualInformation(n, "batch")(out)).sum()
    divergence = (weight * terms.AggregateKL(n, "batch")(out)).sum()
    rate = (weight * terms.KL(analytic=False)(out)).sum()
    log_q = torch.logsumexp(posterior.log_prob(out.z), -1) - math.log(n)
    entropy = -(log_q.exp() * log_q).sum() * step**dim
    return information, divergence, rate, entropy


def prior_of(kind, dim):
    return {
        "normal": priors.Normal(dim, 2.0),
        "laplace": priors.Laplace(dim),
        "sparse": priors.Sparse(dim, 0.6, 0.2),
        "mixture": priors.Mixture(dim, means=torch.randn(3, dim)),
    }[kind]()


@pytest.mark.parametrize(
    ("family", "dim", "points", "tolerance"),
    [(factorised, 1, 6001, 1e-8), (peaked, 1, 30_001, 1e-4), (dependent, 2, 181, 1e-6)],
)
@given(counts, st.floats(0, 5), st.sampled_from(["normal", "laplace", "sparse", "mixture"]), seeds)
def test_the_mean_rate_is_the_information_and_the_aggregates_divergence(
    family, dim, points, tolerance, n, spread, kind, seed
):
    torch.manual_seed(seed)
    if kind == "laplace":
        tolerance = max(tolerance, 1e-4)  # a kink is hard on the quadrature
    n, spread = (n, spread) if dim == 1 else (min(n, 4), min(spread, 1.5))
    posterior, prior = family(n, dim, spread), prior_of(kind, dim)
    information, divergence, rate, entropy = integrals(posterior, prior, points)
    if dist.has_closed_form(posterior, prior):
        closed = terms.KL()(on_a_grid(posterior, prior, torch.zeros(1, dim))).mean()
        torch.testing.assert_close(rate, closed, rtol=tolerance, atol=tolerance)
    # I is an entropy less the mean of the others
    by_entropies = entropy - posterior.entropy().mean()
    torch.testing.assert_close(information, by_entropies, rtol=0, atol=tolerance)
    torch.testing.assert_close(information + divergence, rate, rtol=tolerance, atol=tolerance)
    assert -tolerance < information < math.log(n) + tolerance
    assert divergence > -tolerance


@given(counts, spreads, seeds)
def test_the_information_has_its_ends_where_posteriors_coincide_and_where_they_are_apart(
    n, spread, seed
):
    torch.manual_seed(seed)
    posterior = factorised(n, 1, spread)
    information, *_ = integrals(posterior, prior_of("normal", 1), 20_001)
    assert -1e-8 < information < math.log(n) + 1e-8
    equal = Independent(dist.Normal(posterior.mean[:1], posterior.stddev[:1]).expand((n, 1)), 1)
    assert abs(integrals(equal, prior_of("laplace", 1), 4001)[0]) < 1e-12
    far = Independent(dist.Normal(60.0 * torch.arange(n).unsqueeze(-1), posterior.stddev), 1)
    torch.testing.assert_close(
        integrals(far, prior_of("laplace", 1), 20_001)[0], torch.tensor(math.log(n)).double()
    )
