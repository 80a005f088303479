"""Terms with an adversary: isolated gradients, known density ratios, permutations, learning."""

import copy
import functools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Independent

from disvae import (
    VAE,
    TrainStep,
    VAEOutput,
    data,
    decoders,
    encoders,
    objectives,
    param_groups,
    posteriors,
    priors,
)
from disvae import distributions as dist
from disvae.objectives import schedules, terms

LATENT, WIDTHS = 3, (16, 16)
X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def small_model(posterior=posteriors.DiagonalNormal, prior=priors.Normal):
    encoder = encoders.MLP(6, LATENT, hidden=(8,), posterior=posterior)
    return VAE(encoder, decoders.MLP(LATENT, 6, hidden=(8,)), prior=prior(LATENT)).double()


def pass_of(z, prior=None):
    """A pass in which only samples and prior matter."""
    prior = prior or Independent(dist.Normal(torch.zeros(z.shape[-1]), 1.0), 1)
    likelihood = Independent(dist.Normal(torch.zeros(*z.shape[:-1], 2), 1.0), 1)
    return VAEOutput(torch.zeros(z.shape[-2], 2), z, dist.Delta(z), prior, likelihood)


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


class Recorder:
    """A source of noise that keeps what it drew."""

    def __init__(self):
        self.draws = []

    def __call__(self, sampler, shape, *, dtype, device):
        self.draws.append(sampler(shape, dtype=dtype, device=device))
        return self.draws[-1]


class TestGradientsAreThoseOfTwoBackwardPasses:
    """The steps of two optimisers written by hand, one network frozen in each."""

    SCHEDULE = schedules.Linear(0.0, 35.0, steps=10)

    @staticmethod
    def compare(train, total, own_loss):
        """Losses of the model with the adversary frozen, and of the adversary on fixed latents."""
        model, term = train.model, train.objective.terms[list(train.objective.terms)[-1]]
        found = gradients(train)
        train.zero_grad()
        term.discriminator.requires_grad_(False)
        total().backward()
        of_model = gradients(train)
        assert not any(name.startswith("objective") for name in of_model)
        train.zero_grad()
        term.discriminator.requires_grad_(True)
        model.requires_grad_(False)
        own_loss().backward()
        expected = of_model | gradients(train)
        assert found.keys() == expected.keys() == dict(train.named_parameters()).keys()
        for name, gradient in expected.items():
            assert gradient.any()
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize(
        ("gamma", "step", "number"),
        [
            (0.0, None, 0.0),
            (1.0, None, 1.0),
            (35.0, None, 35.0),
            (SCHEDULE, torch.tensor(0), 0.0),
            (SCHEDULE, torch.tensor(4), 14.0),
        ],
    )
    def test_factor_vae(self, gamma, step, number):
        objective = objectives.FactorVAE(LATENT, gamma=gamma, hidden=WIDTHS).double()
        train = TrainStep(small_model(), objective)
        source = Recorder()
        with dist.replace_noise(source):
            train(X, step=step).total.backward()
        epsilon, uniform = source.draws
        discriminator = objective.terms["total_correlation"].discriminator

        def latents():
            q = train.model.encoder(X)
            return q, q.mean + q.stddev * epsilon

        def total():
            q, z = latents()
            logits = train.model.decoder(z).base_dist.logits
            reconstruction = F.binary_cross_entropy_with_logits(logits, X, reduction="sum")
            kl = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).sum()
            tc = discriminator(z).sum()
            return (reconstruction + kl + number * tc) / len(X)

        def own_loss():
            z = latents()[1].detach()
            columns = [z[uniform[d].argsort(), d] for d in range(LATENT)]
            real, permuted = discriminator(z), discriminator(torch.stack(columns, dim=1))
            return -(real.sigmoid().log() + (1 - permuted.sigmoid()).log()).mean() / 2

        self.compare(train, total, own_loss)

    @pytest.mark.parametrize("weight", [0.0, 1.0, 35.0])
    def test_adversarial_autoencoder(self, weight):
        objective = objectives.AdversarialAutoencoder(LATENT, weight=weight, hidden=WIDTHS).double()
        train = TrainStep(small_model(posteriors.Deterministic), objective)
        source = Recorder()
        with dist.replace_noise(source):
            train(X).total.backward()
        (drawn,) = source.draws
        discriminator = objective.terms["divergence"].discriminator

        def total():
            z = train.model.encoder(X).mean
            logits = train.model.decoder(z).base_dist.logits
            reconstruction = F.binary_cross_entropy_with_logits(logits, X, reduction="sum")
            return (reconstruction - weight * discriminator(z).sigmoid().log().sum()) / len(X)

        def own_loss():
            of_prior = discriminator(drawn).sigmoid()
            of_latents = discriminator(train.model.encoder(X).mean.detach()).sigmoid()
            return -(of_prior.log() + (1 - of_latents).log()).mean() / 2

        self.compare(train, total, own_loss)

    def test_a_weight_scales_the_gradient_of_the_model_and_not_that_of_the_adversary(self):
        found = []
        for gamma in (1.0, 35.0):
            torch.manual_seed(0)
            objective = objectives.FactorVAE(LATENT, gamma=gamma, hidden=WIDTHS).double()
            objective(small_model(), X).total.backward()
            found.append(gradients(objective))
        for name, gradient in found[0].items():
            assert torch.equal(gradient, found[1][name])


class Columns(nn.Module):
    """A discriminator that keeps what it is shown."""

    def forward(self, z):
        if not z.requires_grad:
            self.seen = z
        return z[:, :1]


class TestPermutation:
    def permuted(self, z):
        term = terms.AdversarialTotalCorrelation(z.shape[-1], hidden=())
        term.discriminator = Columns()
        term(pass_of(z.requires_grad_()))
        first, second = term.discriminator.seen.chunk(2)
        assert torch.equal(first, z.detach().flatten(0, -2))
        return second

    @pytest.mark.parametrize("lead", [(500,), (4, 125)])
    def test_every_column_keeps_its_values_and_loses_its_company(self, lead):
        z = torch.randn(*lead, 1).expand(*lead, 4) + torch.tensor([0.0, 10.0, 20.0, 30.0])
        permuted = self.permuted(z.clone())
        rows = z.flatten(0, -2)
        assert torch.equal(permuted.sort(0).values, rows.sort(0).values)
        # columns are permuted independently: 4.5 standard errors of a correlation are 0.2
        assert (permuted.T.corrcoef() - torch.eye(4)).abs().max() < 0.2
        # and the first of them is permuted as well
        assert torch.stack((permuted[:, 0], rows[:, 0])).corrcoef()[0, 1].abs() < 0.2

    def test_every_permutation_is_as_likely(self):
        z = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        seen = [tuple(self.permuted(z.clone())[:, 1].tolist()) for _ in range(1200)]
        counts = np.unique(np.array(seen), axis=0, return_counts=True)[1]
        assert len(counts) == 6
        assert scipy.stats.chisquare(counts).pvalue > 1e-4

    def test_one_datum_cannot_be_permuted(self):
        term = terms.AdversarialTotalCorrelation(LATENT, hidden=WIDTHS)
        for shape in ((1, LATENT), (5, 1, LATENT)):
            with pytest.raises(ValueError, match=r"at least two data.*drop_last=True"):
                term(pass_of(torch.randn(shape)))


class Ratio(nn.Module):
    """The best discriminator: the logarithm of a known density ratio."""

    def __init__(self, ratio):
        super().__init__()
        self.ratio = ratio

    def forward(self, z):
        return self.ratio(z).unsqueeze(-1)


def gaussian_ratio(rho):
    """log q(z) / q(z_1) q(z_2) of two standard normal numbers with correlation rho."""

    def ratio(z):
        a, b = z.unbind(-1)
        square = (rho**2 * (a**2 + b**2) - 2 * rho * a * b) / (1 - rho**2)
        return -0.5 * (math.log(1 - rho**2) + square)

    return ratio


def correlated(n, rho):
    z = torch.randn(n, 2)
    return torch.stack((z[:, 0], rho * z[:, 0] + math.sqrt(1 - rho**2) * z[:, 1]), dim=1)


class TestAgainstTheory:
    @pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
    def test_the_best_discriminator_gives_the_total_correlation(self, rho):
        term = terms.AdversarialTotalCorrelation(2, hidden=())
        term.discriminator = Ratio(gaussian_ratio(rho))
        value, auxiliary = term(pass_of(correlated(200_000, rho)))
        error = (value.std() / len(value) ** 0.5).item()
        assert value.mean().item() == pytest.approx(
            -0.5 * math.log(1 - rho**2), abs=4 * error + 1e-6
        )
        # its own loss is log 2 less the Jensen-Shannon divergence
        grid = torch.linspace(-8, 8, 801)
        points = torch.cartesian_prod(grid, grid)
        logit = gaussian_ratio(rho)(points).double()
        product = torch.exp(-0.5 * points.double().square().sum(-1)) / (2 * math.pi)
        loss = 0.5 * product * (logit.exp() * F.softplus(-logit) + F.softplus(logit))
        expected = loss.sum().item() * (16 / 800) ** 2
        assert auxiliary.item() == pytest.approx(expected, abs=0.005)

    def test_a_trained_discriminator_comes_near_it(self):
        rho = 0.8
        term = terms.AdversarialTotalCorrelation(2, hidden=(32, 32))
        optimizer = torch.optim.Adam(term.parameters(), lr=5e-3)
        for _ in range(300):
            term(pass_of(correlated(256, rho)))[1].backward()
            optimizer.step()
            optimizer.zero_grad()
        value, _ = term(pass_of(correlated(50_000, rho)))
        assert value.mean().item() == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)

    @pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.7, 0.6), (-0.3, 1.4)])
    def test_the_divergence_with_the_best_discriminator(self, mean, scale):
        q, p = scipy.stats.norm(mean, scale), scipy.stats.norm()
        ours, prior = dist.Normal(mean, scale), dist.Normal(0.0, 1.0)
        term = terms.AdversarialDivergence(1, hidden=())
        term.discriminator = Ratio(lambda z: (prior.log_prob(z) - ours.log_prob(z)).squeeze(-1))
        value, auxiliary = term(pass_of(mean + scale * torch.randn(200_000, 1)))

        def mixture(z):
            return 0.5 * (q.pdf(z) + p.pdf(z))

        def kl(a, b):
            return scipy.integrate.quad(lambda z: a(z) * np.log(a(z) / b(z)), -12, 12)[0]

        expected = kl(q.pdf, p.pdf) - kl(q.pdf, mixture) + math.log(2)
        error = (value.std() / len(value) ** 0.5).item()
        assert value.mean().item() == pytest.approx(expected, abs=4 * error + 1e-5)
        jensen_shannon = 0.5 * (kl(q.pdf, mixture) + kl(p.pdf, mixture))
        assert auxiliary.item() == pytest.approx(math.log(2) - jensen_shannon, abs=0.005)

    def test_a_step_down_the_divergence_brings_latents_nearer_to_the_prior(self):
        z = (3 + torch.randn(256, 2)).requires_grad_()
        term = terms.AdversarialDivergence(2, hidden=(32,))
        optimizer = torch.optim.Adam(term.parameters(), lr=1e-2)
        for _ in range(100):
            term(pass_of(z))[1].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert z.grad is None
        (gradient,) = torch.autograd.grad(term(pass_of(z))[0].sum(), z)
        assert (gradient.mean(0) > 0).all()


MAKERS = {
    "FactorVAE": functools.partial(objectives.FactorVAE, gamma=5.0),
    "AdversarialAutoencoder": functools.partial(objectives.AdversarialAutoencoder, weight=5.0),
}
LAST = {"FactorVAE": "total_correlation", "AdversarialAutoencoder": "divergence"}


@pytest.mark.parametrize("name", MAKERS)
class TestObjectives:
    def test_total_is_the_weighted_sum_and_the_unweighted_auxiliary(self, name):
        losses = MAKERS[name](LATENT, hidden=WIDTHS).double()(small_model(), X)
        last = LAST[name]
        weights = dict.fromkeys(losses.terms, 1.0) | {last: 5.0}
        assert list(losses.terms)[-2:] == [last, f"{last}_auxiliary"]
        expected = sum(weights[key] * value for key, value in losses.terms.items())
        torch.testing.assert_close(losses.total.detach(), expected, rtol=1e-12, atol=1e-12)
        assert losses.total.dtype == torch.float64

    def test_evaluation_changes_no_state(self, name):
        train = TrainStep(small_model(), MAKERS[name](LATENT, hidden=WIDTHS).double()).eval()
        before = copy.deepcopy(train.state_dict())
        losses = train(X)
        with torch.no_grad():
            assert train(X).terms.keys() == losses.terms.keys()
        after = train.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[key]) for key, value in before.items())
        assert not any(module.training for module in train.modules())

    def test_compiles_whole(self, name):
        objective = MAKERS[name](LATENT, hidden=WIDTHS).double()
        train = TrainStep(small_model(), objective)
        compiled = torch.compile(train, fullgraph=True, backend="eager")
        found = []
        for call in (train, compiled):
            torch.manual_seed(1)
            train.zero_grad()
            losses = call(X, step=torch.tensor(3))
            losses.total.backward()
            found.append((losses.terms, gradients(train)))
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)

    def test_autocast_changes_nothing_in_the_adversary(self, name):
        term = MAKERS[name](LATENT, hidden=WIDTHS).terms[LAST[name]]
        z = (100 * torch.randn(16, LATENT)).requires_grad_()
        found = []
        for enabled in (False, True):
            torch.manual_seed(1)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                found.append(term(pass_of(z)))
        for plain, mixed in zip(*found, strict=True):
            assert mixed.dtype == torch.float32
            assert torch.equal(plain, mixed)

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    def test_extreme_latents_stay_finite_with_their_gradients(self, name, scale):
        term = MAKERS[name](LATENT, hidden=WIDTHS).terms[LAST[name]]
        z = (scale * torch.randn(16, LATENT)).requires_grad_()
        value, auxiliary = term(pass_of(z))
        (value.mean() + auxiliary).backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(auxiliary)
        assert torch.isfinite(z.grad).all()
        assert all(torch.isfinite(g).all() for g in gradients(term).values())

    def test_samples_of_each_datum_are_all_used(self, name):
        objective = MAKERS[name](LATENT, hidden=WIDTHS).double()
        source = Recorder()
        with dist.replace_noise(source):
            out = small_model()(X, sample_shape=(4,))
            value, auxiliary = objective.terms[LAST[name]](out)
        assert value.shape == (4, 8)
        assert auxiliary.shape == ()
        assert source.draws[-1].numel() == 4 * 8 * LATENT

    def test_the_optimizer_takes_settings_for_the_adversary(self, name):
        objective = MAKERS[name](LATENT, hidden=WIDTHS)
        train = TrainStep(small_model().float(), objective)
        adversary = objective.terms[LAST[name]].discriminator
        groups = param_groups(train, {adversary: {"lr": 1e-4, "betas": (0.5, 0.9)}})
        optimizer = torch.optim.Adam(groups, lr=1e-3)
        rest, own = optimizer.param_groups
        assert (own["lr"], own["betas"], rest["lr"]) == (1e-4, (0.5, 0.9), 1e-3)
        assert own["params"] == list(adversary.parameters())
        assert len(rest["params"]) + len(own["params"]) == len(list(train.parameters()))

    def test_latents_of_another_size_are_refused(self, name):
        objective = MAKERS[name](LATENT + 1, hidden=WIDTHS).double()
        with pytest.raises(ValueError, match=r"latents of 4 dimensions.*got 3.*latent_dim"):
            objective(small_model(), X)

    @pytest.mark.parametrize(
        "arguments", [{"latent_dim": 0}, {"hidden": 1000}, {"hidden": (0,)}, {"latent_dim": 2.5}]
    )
    def test_sizes_that_make_no_network_are_refused(self, name, arguments):
        with pytest.raises((ValueError, TypeError), match=r"^Expected .*; .*\.$"):
            MAKERS[name](**({"latent_dim": LATENT} | arguments))

    def test_names_its_paper(self, name):
        assert MAKERS[name].func.paper.rsplit(" ", 1)[1].startswith("https://arxiv.org/abs/1")


def test_the_published_networks_are_the_defaults():
    def sizes(objective):
        layers = objective.terms[LAST[type(objective).__name__]].discriminator
        return [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]

    assert sizes(objectives.FactorVAE(10, gamma=1.0)) == [1000] * 6 + [1]
    assert sizes(objectives.AdversarialAutoencoder(10, weight=1.0)) == [1000, 1000, 1]


def test_they_print_as_their_formulas():
    gamma = schedules.Linear(0.0, 35.0, steps=100)
    assert str(objectives.FactorVAE(2, gamma=gamma, hidden=())) == (
        "reconstruction + kl + Linear(0.0 → 35.0, 100 steps)·total_correlation"
    )
    assert str(objectives.AdversarialAutoencoder(2, weight=5.0)) == "reconstruction + 5·divergence"


@pytest.mark.parametrize(
    "prior",
    [
        priors.Laplace,
        functools.partial(priors.StudentT, df=3.0),
        priors.HypersphericalUniform,
        functools.partial(priors.Mixture, components=3),
    ],
)
@pytest.mark.parametrize("posterior", [posteriors.Deterministic, posteriors.FullNormal])
def test_the_adversarial_autoencoder_takes_every_prior_that_samples(posterior, prior):
    model = small_model(posterior, prior)
    objective = objectives.AdversarialAutoencoder(LATENT, weight=2.0, hidden=WIDTHS).double()
    losses = objective(model, X)
    losses.total.backward()
    assert math.isfinite(losses.total.detach())
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert all(p.grad is None for p in model.prior.parameters())


def test_a_prior_given_a_context_is_drawn_once_for_each_datum():
    means = torch.tensor([[0.0, 0.0], [100.0, 100.0], [200.0, 200.0]])
    prior = Independent(dist.Normal(means, 1.0), 1)
    term = terms.AdversarialDivergence(2, hidden=())
    for lead in ((3,), (4, 3)):
        term.discriminator = Columns()
        z = torch.zeros(*lead, 2, requires_grad=True)
        term(pass_of(z, prior))
        drawn = term.discriminator.seen.chunk(2)[0].reshape(z.shape)
        assert (drawn - means).abs().max() < 6


@pytest.mark.slow
def test_factor_vae_lowers_the_total_correlation_of_sprites():
    """Against the ELBO, by the exact aggregate posterior of the whole set, for three seeds."""
    sprites = data.Sprites(16, factor_sizes=(1, 4, 1, 12, 12))
    images = torch.as_tensor(np.asarray(sprites.images)).float()
    for seed in range(3):
        found = []
        for gamma in (0.0, 20.0):
            torch.manual_seed(seed)
            encoder = encoders.MLP(images[0].shape, 4, hidden=(128,))
            decoder = decoders.MLP(4, images[0].shape, hidden=(128,))
            model = VAE(encoder, decoder, prior=priors.Normal(4))
            objective = objectives.FactorVAE(4, gamma=gamma, hidden=(128, 128, 128))
            train = TrainStep(model, objective)
            adversary = objective.terms["total_correlation"].discriminator
            groups = param_groups(train, {adversary: {"lr": 1e-3, "betas": (0.5, 0.9)}})
            optimizer = torch.optim.Adam(groups, lr=1e-3)
            for _ in range(1500):
                losses = train(images[torch.randint(len(images), (64,))])
                optimizer.zero_grad()
                losses.total.backward()
                optimizer.step()
            exact = terms.TotalCorrelation(len(images), estimator="batch")
            with torch.no_grad():
                found.append(exact(model(images)).mean().item())
        assert found[1] < 0.6 * found[0]
