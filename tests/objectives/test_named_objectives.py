"""Named objectives: each is its paper's formula, written by hand from one pass."""

import inspect
import math
import re
from functools import partial

import pytest
import torch

from disvae import VAE, decoders, encoders, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import schedules, terms

N, D = 50, 3
X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)).double()


def model(posterior=posteriors.DiagonalNormal, prior=None, latent_dim=D):
    encoder = encoders.MLP(6, latent_dim, posterior=posterior)
    prior = priors.Normal(latent_dim) if prior is None else prior
    return VAE(encoder, decoders.MLP(latent_dim, 6), prior=prior).double()


def joint_model():
    head = partial(
        posteriors.Joint,
        heads=[(2, posteriors.DiagonalNormal), (3, posteriors.RelaxedCategorical)],
    )
    return model(head, priors.Joint([priors.Normal(2), priors.Categorical(3)]), 5)


def rec(out):
    logits = out.likelihood.base_dist.logits
    cost = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, out.x.expand_as(logits), reduction="none"
    )
    return cost.sum(-1).mean()


def kl(q):
    """KL(q ‖ N(0, I)) of a factorised normal."""
    mean, scale = q.base_dist.loc, q.base_dist.scale
    return (0.5 * (mean**2 + scale**2 - 1) - scale.log()).sum(-1).mean()


def kl_to_uniform(q):
    return (q.probs * (q.probs * q.probs.shape[-1]).log()).sum(-1).mean()


def covariance(out, variant):
    mean, scale = out.posterior.base_dist.loc, out.posterior.base_dist.scale
    found = torch.cov(mean.T, correction=0)
    return found + torch.diag(scale.square().mean(0)) if variant == "II" else found


def dip(out, variant, off_diagonal, diagonal):
    total = rec(out) + kl(out.posterior)
    error = covariance(out, variant) - torch.eye(D)
    for i in range(D):
        for j in range(D):
            total = total + (diagonal if i == j else off_diagonal) * error[i, j] ** 2
    return total


def log_q(out):
    """log q(z) of the batch as the data set."""
    each = dist.marginals(out.posterior).log_prob(out.z.unsqueeze(-2)).sum(-1)
    return each.logsumexp(-1) - math.log(len(out.x))


def aggregate_kl(out):
    return (log_q(out) - out.prior.log_prob(out.z)).mean()


BATCH_KL = terms.AggregateKL(N, "batch")
CASES = {
    "Autoencoder": (objectives.Autoencoder(), rec),
    "ELBO": (objectives.ELBO(), lambda o: rec(o) + kl(o.posterior)),
    "BetaVAE": (objectives.BetaVAE(3.0), lambda o: rec(o) + 3 * kl(o.posterior)),
    "CapacityVAE": (
        objectives.CapacityVAE(gamma=20.0, capacity=7.0),
        lambda o: rec(o) + 20 * (kl(o.posterior) - 7).abs(),
    ),
    "Decomposition": (
        objectives.Decomposition(beta=0.5, alpha=3.0, divergence=BATCH_KL),
        lambda o: rec(o) + 0.5 * kl(o.posterior) + 3 * aggregate_kl(o),
    ),
    "InfoVAE": (
        objectives.InfoVAE(alpha=0.2, lambda_=10.0, divergence=BATCH_KL),
        lambda o: rec(o) + 0.8 * kl(o.posterior) + 9.2 * aggregate_kl(o),
    ),
    "InfoVAE, no KL": (
        objectives.InfoVAE(alpha=1.0, lambda_=10.0, divergence=BATCH_KL),
        lambda o: rec(o) + 10 * aggregate_kl(o),
    ),
    "InfoVAE, ELBO": (
        objectives.InfoVAE(alpha=0, lambda_=1, divergence=BATCH_KL),
        lambda o: rec(o) + kl(o.posterior),
    ),
    "WAE": (
        objectives.WAE(weight=5.0, divergence=BATCH_KL),
        lambda o: rec(o) + 5 * aggregate_kl(o),
    ),
    "DIPVAE I": (
        objectives.DIPVAE("I", lambda_od=10.0, lambda_d=3.0),
        lambda o: dip(o, "I", 10, 3),
    ),
    "DIPVAE II": (
        objectives.DIPVAE("II", lambda_od=10.0, lambda_d=3.0),
        lambda o: dip(o, "II", 10, 3),
    ),
    "BetaTCVAE": (
        objectives.BetaTCVAE(N, alpha=2.0, beta=2.0, gamma=2.0, estimator="batch"),
        lambda o: rec(o) + 2 * (o.posterior.log_prob(o.z) - o.prior.log_prob(o.z)).mean(),
    ),
    "BetaTCVAE, joint": (
        objectives.BetaTCVAE(N, alpha=0.0, beta=2.0, gamma=2.0, estimator="batch"),
        lambda o: rec(o) + 2 * aggregate_kl(o),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_total_is_the_formula(name):
    objective, formula = CASES[name]
    net = model()
    torch.manual_seed(1)
    found = objective(net, X).total
    torch.manual_seed(1)
    expected = formula(net(X))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    gradients = [
        torch.autograd.grad(v, list(net.parameters()), allow_unused=True) for v in (found, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        torch.testing.assert_close(a.expand_as(b), b.expand_as(a), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_joint_vae_holds_each_kind_of_block_at_its_capacity(swapped):
    net = joint_model()
    blocks = {"continuous": (0,), "discrete": (1,)}
    if swapped:  # of numbers of blocks that are not there
        with pytest.raises(ValueError, match="numbers of blocks below 2"):
            objectives.JointVAE(1.0, 1.0, 1.0, discrete=(2,))(net, X)
        return
    objective = objectives.JointVAE(30.0, 2.0, 0.4, **blocks)
    torch.manual_seed(1)
    found = objective(net, X).total
    torch.manual_seed(1)
    out = net(X)
    z, c = out.posterior.blocks
    expected = rec(out) + 30 * (kl(z) - 2.0).abs() + 30 * (kl_to_uniform(c) - 0.4).abs()
    torch.testing.assert_close(found, expected)


def test_a_schedule_serves_as_weight_and_as_capacity():
    ramp = schedules.Linear(0.0, 10.0, steps=10)
    net = model()
    for objective, at_five in (
        (objectives.CapacityVAE(ramp, ramp), objectives.CapacityVAE(5.0, 5.0)),
        (
            objectives.DIPVAE("I", lambda_od=ramp, lambda_d=ramp),
            objectives.DIPVAE("I", lambda_od=5.0, lambda_d=5.0),
        ),
    ):
        torch.manual_seed(0)
        found = objective(net, X, step=torch.tensor(5)).total
        torch.manual_seed(0)
        torch.testing.assert_close(found, at_five(net, X).total)


FORMULAS = {
    "reconstruction": objectives.Autoencoder(),
    "reconstruction + 100·|kl - 25|": objectives.CapacityVAE(100.0, 25.0),
    "reconstruction + Cosine(0.0 → 9.0, 5 steps)·|kl - Linear(0.0 → 25.0, 10 steps)|": (
        objectives.CapacityVAE(schedules.Cosine(0.0, 9.0, 5), schedules.Linear(0.0, 25.0, 10))
    ),
    "reconstruction + 0.5·kl + 3·divergence": CASES["Decomposition"][0],
    "reconstruction + 0.8·kl + 9.2·divergence": CASES["InfoVAE"][0],
    "reconstruction + 5·divergence": CASES["WAE"][0],
    "reconstruction + kl + 10·off_diagonal + 3·diagonal": CASES["DIPVAE I"][0],
    "reconstruction + 30·|kl_continuous - 5| + 30·|kl_discrete - 1.1|": objectives.JointVAE(
        30.0, 5.0, 1.1
    ),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_printed(formula):
    assert str(FORMULAS[formula]) == formula


NAMED = [
    value
    for value in vars(objectives).values()
    if inspect.isclass(value)
    and issubclass(value, objectives.Objective)
    and value not in (objectives.Objective, objectives.WeightedSum)
]


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_objective_tells_its_paper(kind):
    assert re.fullmatch(r"[^\n]{8,160}, (19|20)\d\d, https?://\S+[^.,\s]", kind.paper)
    assert kind.paper.split(", http")[1].split("/")[-1].rstrip("/") in kind.__doc__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.InfoVAE(1.5, 1.0, BATCH_KL), "alpha of at most 1"),
        (lambda: objectives.InfoVAE(0.0, 0.5, BATCH_KL), "alpha of at most 1"),
        (lambda: objectives.InfoVAE("0", 0.5, BATCH_KL), "Expected alpha to be a number"),
        (lambda: objectives.WAE(-1.0, BATCH_KL), "divergence to be finite and at least 0"),
        (lambda: objectives.WAE(1.0, terms.AggregateKL), "term of divergence to be an nn.Module"),
        (lambda: objectives.DIPVAE("i", lambda_od=1.0, lambda_d=1.0), "variant to be 'I' or 'II'"),
        (lambda: objectives.JointVAE(1.0, 1.0, 1.0, discrete=(0,)), "continuous or discrete"),
        (lambda: objectives.CapacityVAE(1.0, -1.0), "target to be finite"),
        (lambda: objectives.BetaTCVAE(9, beta=1.0, estimator="x"), "estimator to be one of"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
