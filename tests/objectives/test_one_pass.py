"""Losses of one pass taken twice, of parts that do not fit, and of numbers that are none."""

import dataclasses
import functools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent

import disvae
from disvae import decoders, encoders, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, aggregate, schedules, terms


def model(posterior=posteriors.DiagonalNormal, prior=None, context_dim=0):
    torch.manual_seed(0)
    return disvae.VAE(
        encoders.MLP(6, 4, hidden=(8,), posterior=posterior, context_dim=context_dim),
        decoders.MLP(4, 6, hidden=(8,), context_dim=context_dim),
        prior=priors.Normal(4) if prior is None else prior,
    )


X = torch.rand(16, 6)


def gradient(vae, total):
    return torch.autograd.grad(total, list(vae.encoder.parameters()), retain_graph=True)


@pytest.mark.parametrize(
    ("objective", "term"),
    [
        (objectives.BetaTCVAE(100, beta=6.0), terms.TotalCorrelation(100)),
        (
            objectives.DIPVAE("II", lambda_od=100.0, lambda_d=10.0),
            terms.CovariancePenalty("II", diagonal=0.0),
        ),
    ],
)
def test_a_term_looked_at_without_gradients_takes_none_from_the_loss(objective, term):
    vae = model()
    out = vae(X)
    plain = gradient(vae, objective.loss(dataclasses.replace(out)).total)
    with torch.no_grad():
        term(out)
    torch.testing.assert_close(gradient(vae, objective.loss(out).total), plain)


def test_dreg_is_the_same_however_often_its_loss_is_taken():
    vae, objective = model(), objectives.DReG(5)
    out = vae(X, sample_shape=(5,))
    first = gradient(vae, objective.loss(out).total)
    torch.testing.assert_close(gradient(vae, objective.loss(out).total), first)


def test_a_normal_with_a_density_of_its_own_is_none():
    class Shifted(dist.Normal):
        def log_prob(self, value):
            return super().log_prob(value) - 1.0

    loc, scale = torch.randn(5, 2).double(), torch.rand(5, 2).double() + 0.5
    plain = Independent(dist.Normal(loc, scale), 1)
    shifted = Independent(Shifted(loc, scale), 1)
    z = plain.sample()

    def log_q(q):
        out = disvae.VAEOutput(z, z, q, plain, plain)
        return aggregate.aggregate_log_density(out, 100)

    joint, each = log_q(plain)
    moved_joint, moved_each = log_q(shifted)
    torch.testing.assert_close(moved_joint, joint - 2.0)
    torch.testing.assert_close(moved_each, each - 1.0)


@pytest.mark.parametrize("objective", [objectives.GECO(2.0), objectives.ControlVAE(2.0)])
def test_one_bad_batch_does_not_stay_in_the_state(objective):
    vae = model()
    vae.check_values = False
    good = {name: v.clone() for name, v in objective.state_dict().items()}
    objective(vae, X * torch.nan)
    for name in good.keys() - {"beta"}:  # which is that of an error of 0
        torch.testing.assert_close(objective.state_dict()[name], good[name])
    objective(vae, X)
    assert all(v.isfinite().all() for v in objective.state_dict().values())


@pytest.mark.parametrize("temperature", [0.1, 0.5, 0.67])
def test_a_sampled_divergence_of_categories_does_not_fall_with_the_logits(temperature):
    """Where samples underflow, its formula would go to minus infinity."""
    found = []
    for largest in (1.0, 10.0, 30.0, 60.0, 1000.0, 1e6):
        torch.manual_seed(0)
        logits = torch.tensor([largest, 0.0, -largest]).expand(4000, 3)
        q = dist.RelaxedCategorical(logits, temperature)
        p = dist.RelaxedCategorical(torch.zeros(3), temperature)
        z = q.rsample()
        found.append((q.log_prob(z) - p.log_prob(z)).mean().item())
    assert all(value > 0.9 * found[0] for value in found)
    exact = dist.RelaxedCategorical(torch.tensor([10.0, 0.0, -10.0]).double(), 0.5)
    assert exact.probs[1].item() == pytest.approx(math.exp(-10) / (1 + math.exp(-10)), rel=1e-3)


def joint(kinds):
    heads = {"normal": posteriors.DiagonalNormal, "category": posteriors.RelaxedCategorical}
    made = {"normal": priors.Normal, "category": priors.Categorical}
    head = functools.partial(posteriors.Joint, heads=[(2, heads[kind]) for kind in kinds])
    return model(head, priors.Joint([made[kind](2) for kind in kinds]))


PAIR = torch.rand(8, 2, 6)
REFUSED = {
    "blocks in another order": lambda: objectives.JointVAE(30.0, 2.0, 0.5)(
        joint(("category", "normal")), X
    ),
    "block for blocks": lambda: objectives.JointVAE(30.0, 2.0, 0.5, continuous=0),
    "too much context of M2": lambda: objectives.SemiSupervisedVAE(nn.Linear(6, 3), 3)(
        model(context_dim=5), X, context=torch.rand(32, 2)
    ),
    "no data for M2": lambda: objectives.SemiSupervisedVAE(nn.Linear(6, 3), 3)(
        model(context_dim=3), None
    ),
    "context of pairs in one axis": lambda: objectives.AdaGVAE()(
        model(context_dim=3), PAIR, context=torch.rand(16, 1, 3)
    ),
    "context of pairs in other rows": lambda: objectives.AdaGVAE()(
        model(context_dim=3), PAIR, context=torch.rand(4, 4, 3)
    ),
    "one label for all": lambda: WeightedSum(
        c=(
            1.0,
            terms.Classification(nn.Sequential(nn.Linear(4, 3), posteriors.DiagonalNormal(3, 1))),
        )
    )(model(), X, labels=torch.zeros(1, 1)),
    "a list of labels": lambda: WeightedSum(c=(1.0, terms.Classification(nn.Linear(4, 3))))(
        model(), X, labels=[0] * 16
    ),
    "labels for an objective without": lambda: disvae.TrainStep(model(), objectives.IWAE(3))(
        X, labels=torch.zeros(16)
    ),
    "a schedule of several numbers": lambda: objectives.BetaVAE(lambda s: torch.ones(3))(
        model(), X
    ),
    "a capacity of several numbers": lambda: objectives.CapacityVAE(1.0, lambda s: torch.ones(16))(
        model(), X
    ),
    "a negative capacity": lambda: objectives.CapacityVAE(1.0, lambda s: -1.0)(model(), X),
    "a class of schedules": lambda: objectives.ControlVAE(schedules.Linear),
    "a step that is none": lambda: objectives.ELBO()(model(), X, step="last"),
    "a step of one row": lambda: objectives.ControlVAE(2.0)(model(), X, step=torch.tensor([3])),
    "a power that is none": lambda: terms.SlicedWasserstein(power="a"),
    "a scale that is none": lambda: objectives.kernels.RBF("a"),
    "a scale without a square": lambda: objectives.kernels.RBF(1e-200),
    "no class probabilities": lambda: objectives.SemiSupervisedVAE(
        nn.Linear(6, 3), 3, class_probs=[]
    ),
    "a list of code bases": lambda: objectives.convert_beta(
        1.0, source=["pythae"], data_shape=784, latent_dim=10
    ),
    "no number for decay": lambda: objectives.GECO(1.0, decay=None),
    "no module to optimise": lambda: disvae.param_groups(None),
    "an array for groups": lambda: objectives.HFVAE(torch.zeros(2, 2), 100, beta=1.0),
    "the name of a mode": lambda: WeightedSum(training=(1.0, terms.KL())),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_one_sentence(name, is_clear):
    with pytest.raises((TypeError, ValueError)) as caught:
        REFUSED[name]()
    is_clear(caught.value)
    if name == "no number for decay":
        assert "schedule" not in str(caught.value)
