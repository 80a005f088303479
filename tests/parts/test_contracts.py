"""Every shipped part keeps the contract of its role, the one that users prove their own by."""

import functools

import pytest
import torch
import zuko
from torch import nn

from disvae import decoders, encoders, likelihoods, posteriors, priors
from disvae.testing import check_decoder, check_encoder, check_prior

ENCODER = encoders.MLP(6, 2, hidden=(8,))

PRIORS = {
    "Normal": lambda: priors.Normal(2),
    "Normal, learnt": lambda: priors.Normal(2, torch.tensor([0.5, 2.0]), learn_scale=True),
    "Normal, fixed trace": lambda: priors.Normal(2, 1.5, learn_scale=True, fixed_trace=True),
    "Normal, from PCA": lambda: priors.Normal.from_pca(torch.rand(50, 6), 2),
    "FullNormal": lambda: priors.FullNormal(2),
    "FullNormal, given": lambda: priors.FullNormal(2, torch.tensor([[1.0, 0.9], [0.9, 1.0]])),
    "Laplace": lambda: priors.Laplace(2, learn_scale=True),
    "StudentT": lambda: priors.StudentT(2, 3.0, learn_df=True, learn_scale=True),
    "StudentT, Cauchy": lambda: priors.StudentT(2, 1.0),
    "GeneralizedNormal": lambda: priors.GeneralizedNormal(2, 0.7, learn_scale=True),
    "GeneralizedNormal, a box": lambda: priors.GeneralizedNormal(2, 8.0),
    "Sparse": lambda: priors.Sparse(2),
    "Mixture": lambda: priors.Mixture(2, components=5),
    "Mixture, given": lambda: priors.Mixture(2, means=torch.eye(2), scales=0.05),
    "TreeMixture": lambda: priors.TreeMixture(2),
    "GaussianGraph": lambda: priors.GaussianGraph([(), (0,)], learn_scale=True),
    "Subspaces": lambda: priors.Subspaces(
        [([1], priors.Laplace(1, learn_scale=True)), ([0], priors.StudentT(1, 4.0))]
    ),
    "Subspaces, nested": lambda: priors.Subspaces.lp_nested((1, 1), learn_scale=True),
    "LpSpherical": lambda: priors.LpSpherical(2, 1.0, 3.0, learn_scale=True),
    "Vamp": lambda: priors.Vamp(ENCODER, torch.rand(5, 6)),
    "Vamp of full normals": lambda: priors.Vamp(
        encoders.MLP(6, 2, hidden=(8,), posterior=posteriors.FullNormal), torch.rand(5, 6)
    ),
    "Vamp, shared scale": lambda: priors.Vamp(
        nn.Sequential(nn.Linear(6, 4), posteriors.DiagonalNormal(4, 2)), torch.rand(5, 6), scale=0.3
    ),
    "HypersphericalUniform": lambda: priors.HypersphericalUniform(2),
    "Categorical": lambda: priors.Categorical(2, learn=True),
    "Categorical of three": lambda: priors.Categorical(3, temperature=1.5),
    "Joint": lambda: priors.Joint([priors.Normal(1), priors.Laplace(1, learn_scale=True)]),
    "Joint with categories": lambda: priors.Joint([priors.Normal(2), priors.Categorical(3)]),
}
CONDITIONAL = {
    "Normal": lambda: priors.Normal(2, context_dim=3),
    "Laplace": lambda: priors.Laplace(2, context_dim=3),
    "StudentT": lambda: priors.StudentT(2, 4.0, context_dim=3),
    "GeneralizedNormal": lambda: priors.GeneralizedNormal(2, 1.3, context_dim=3),
    "ClassConditional": lambda: priors.ClassConditional(2, num_classes=3),
    "Joint": lambda: priors.Joint([priors.ClassConditional(1, num_classes=3), priors.Sparse(1)]),
}
HEADS = {
    "DiagonalNormal": posteriors.DiagonalNormal,
    "FullNormal": posteriors.FullNormal,
    "LowRankNormal": posteriors.LowRankNormal,
    "Laplace": posteriors.Laplace,
    "StudentT": posteriors.StudentT,
    "StudentT, fixed": functools.partial(posteriors.StudentT, df=5.0),
    "PowerSpherical": posteriors.PowerSpherical,
    "RelaxedCategorical": posteriors.RelaxedCategorical,
    "RelaxedCategorical, scheduled": functools.partial(
        posteriors.RelaxedCategorical, temperature=lambda step: 1 / (1 + step / 100)
    ),
    "Joint": functools.partial(
        posteriors.Joint, heads=[(1, posteriors.DiagonalNormal), (1, posteriors.Laplace)]
    ),
    "Deterministic": posteriors.Deterministic,
    "Quantized": posteriors.Quantized,
}
IMAGE = (1, 9, 8)
ENCODERS = {
    "MLP": lambda c: encoders.MLP(IMAGE, 2, hidden=(8,), context_dim=c),
    "Conv": lambda c: encoders.Conv(IMAGE, 2, hidden=(8,), context_dim=c),
    "Residual": lambda c: encoders.Residual(IMAGE, 2, channels=(8,), hidden=(8,), context_dim=c),
}
DECODERS = {
    "MLP": lambda c: decoders.MLP(2, IMAGE, hidden=(8,), context_dim=c),
    "Conv": lambda c: decoders.Conv(2, IMAGE, hidden=(8,), context_dim=c),
    "Residual": lambda c: decoders.Residual(2, IMAGE, channels=(8,), hidden=(8,), context_dim=c),
    "SpatialBroadcast": lambda c: decoders.SpatialBroadcast(2, IMAGE, channels=(8,), context_dim=c),
}
LIKELIHOODS = {
    "Bernoulli": (likelihoods.Bernoulli, 1),
    "ContinuousBernoulli": (likelihoods.ContinuousBernoulli, 1),
    "Normal": (likelihoods.Normal, 1),
    "Normal, learnt": (functools.partial(likelihoods.Normal, learn_scale=True), 1),
    "Normal, predicted": (functools.partial(likelihoods.Normal, scale=None), 1),
    "Laplace": (functools.partial(likelihoods.Laplace, scale=None), 1),
    "StudentT": (functools.partial(likelihoods.StudentT, learn_df=True), 1),
    "Categorical": (functools.partial(likelihoods.Categorical, classes=4), 3),
    "DiscretizedLogistic": (likelihoods.DiscretizedLogistic, 1),
    "Poisson": (likelihoods.Poisson, 9),
    "NegativeBinomial": (likelihoods.NegativeBinomial, 9),
    "Beta": (likelihoods.Beta, 1),
}


@pytest.mark.parametrize("name", PRIORS)
def test_priors(name):
    check_prior(PRIORS[name]())


@pytest.mark.parametrize("name", CONDITIONAL)
def test_priors_with_a_context(name):
    check_prior(CONDITIONAL[name](), torch.eye(3))


def test_exemplars_are_random_by_design_and_a_flow_does_not_compile():
    check_prior(priors.Vamp(ENCODER, torch.rand(5, 6), learn=False), compiles=False)
    check_prior(zuko.flows.NSF(2, transforms=1, hidden_features=(8,)), compiles=False)


@pytest.mark.parametrize("name", HEADS)
def test_posterior_heads(name):
    check_encoder(HEADS[name](5, 2), torch.randn(4, 5))


def test_a_buffer_of_nan_is_no_change_of_state():
    class Remembering(priors.Normal):
        """Keeps a loss that is not known yet."""

        def __init__(self):
            super().__init__(2)
            self.register_buffer("best", torch.tensor(torch.nan))

    check_prior(Remembering())


def test_inverse_autoregressive_flows_do_not_compile():
    head = posteriors.InverseAutoregressive(5, 2, transforms=2, hidden=(8,))
    check_encoder(head, torch.randn(4, 5), compiles=False)


@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name, context_dim):
    context = torch.rand(4, 3) if context_dim else None
    check_encoder(ENCODERS[name](context_dim), torch.rand(4, *IMAGE), context)


@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name, context_dim):
    context = torch.rand(4, 3) if context_dim else None
    x = torch.rand(4, *IMAGE)
    check_decoder(DECODERS[name](context_dim), torch.randn(4, 2), x, context)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods(name):
    head, largest = LIKELIHOODS[name]
    x = torch.rand(4, 5) if largest == 1 else torch.randint(0, largest + 1, (4, 5)).float()
    check_decoder(decoders.MLP(2, 5, hidden=(8,), likelihood=head), torch.randn(4, 2), x)


def test_every_shipped_class_is_here():
    named = lambda table: {name.split(",")[0] for name in table}  # noqa: E731
    assert named(PRIORS) | named(CONDITIONAL) >= set(priors.__all__)
    assert named(HEADS) | {"InverseAutoregressive"} >= set(posteriors.__all__)
    assert named(LIKELIHOODS) >= set(likelihoods.__all__) - {"bits_per_dim"}
    classes = lambda module: {n for n in module.__all__ if n[0].isupper()}  # noqa: E731
    assert set(ENCODERS) >= classes(encoders)
    assert set(DECODERS) >= classes(decoders)
