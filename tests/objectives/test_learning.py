"""Does an objective do what it is for? On small sprites, three seeds each."""

import functools

import pytest
import torch

from disvae import VAE, TrainStep, data, decoders, encoders, evaluation, objectives, priors
from disvae import distributions as dist
from disvae.objectives import kernels, schedules, terms

pytestmark = pytest.mark.slow
SHAPE, D = (1, 16, 16), 4
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


@functools.cache
def images():
    return data.Sprites(16, samples=2000).images


def trained(objective, seed, steps=1200, lr=2e-3):
    torch.manual_seed(seed)
    x = images()
    model = VAE(
        encoders.MLP(SHAPE, D, hidden=(128,)),
        decoders.MLP(D, SHAPE, hidden=(128,)),
        prior=priors.Normal(D),
    )
    train = TrainStep(model, objective)
    optimizer = torch.optim.Adam(train.parameters(), lr=lr)
    for step in range(steps):
        losses = train(x[torch.randint(len(x), (128,))], step=torch.tensor(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return model


@functools.cache
def plain(seed):
    return trained(objectives.ELBO(), seed)


@torch.no_grad()
def total_correlation(model):
    """Of the aggregate posterior of the whole set, exact but for the samples."""
    out = model(images())
    return terms.TotalCorrelation(len(images()), "batch")(out).mean().item()


@SEEDS
def test_a_weight_on_the_total_correlation_lowers_it(seed):
    model = trained(objectives.BetaTCVAE(len(images()), beta=4.0), seed)
    before, after = (evaluation.summary(m, images()) for m in (plain(seed), model))
    assert total_correlation(model) < 0.5 * total_correlation(plain(seed))
    # at the same scale of reconstruction: it is no collapse
    assert after.reconstruction < 1.3 * before.reconstruction
    assert after.active.count >= 2


@SEEDS
def test_the_kl_reaches_the_capacity(seed):
    capacity = schedules.Linear(0.0, 4.0, steps=600)
    model = trained(objectives.CapacityVAE(100.0, capacity), seed)
    assert evaluation.summary(model, images()).kl == pytest.approx(4.0, abs=0.3)


@SEEDS
def test_free_bits_keep_units_active(seed):
    strong = objectives.WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(20.0, terms.KL())
    )
    free = objectives.WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), kl=(20.0, terms.FreeBits(0.5))
    )
    collapsed, kept = (evaluation.summary(trained(o, seed), images()) for o in (strong, free))
    assert (kept.kl_per_dimension > 0.3).all()
    assert kept.active.count == D > collapsed.active.count


@SEEDS
def test_a_wasserstein_autoencoder_matches_its_prior(seed):
    term = terms.MMD(kernels.InverseMultiquadratic())
    model = trained(objectives.WAE(100.0, term), seed)
    bare = trained(objectives.Autoencoder(), seed)
    with torch.no_grad():
        far, near = (term(m(images())).item() for m in (bare, model))
        codes = dist.point(model.encode(images()))
    assert near < 0.05 * far
    assert codes.std(0).max() < 2.0
