"""Bad input gets one clear sentence, raised by disvae itself, and changes nothing."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Independent

import disvae
from disvae import (
    VAE,
    TrainStep,
    decoders,
    distributions,
    encoders,
    evaluation,
    likelihoods,
    objectives,
    posteriors,
    priors,
    traversals,
)
from disvae.objectives import WeightedSum, schedules, terms


def model(**options):
    return VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2), **options)


def images():
    return VAE(encoders.Conv((1, 8, 8), 2), decoders.Conv(2, (1, 8, 8)), prior=priors.Normal(2))


def conditional():
    return VAE(
        encoders.MLP(6, 2, context_dim=3), decoders.MLP(2, 6, context_dim=3), prior=priors.Normal(2)
    )


class NoEvent(nn.Module):
    """A prior whose dimensions are a batch, the mistake that counts log p(z) D times."""

    def forward(self, context=None):
        return distributions.Normal(torch.zeros(2), torch.ones(2))


class Foreign(nn.Module):
    """A prior of one's own with three dimensions."""

    def forward(self, context=None):
        return Independent(distributions.Normal(torch.zeros(3), torch.ones(3)), 1)


class Discrete(nn.Module):
    def forward(self, x):
        return torch.distributions.OneHotCategorical(logits=torch.zeros(len(x), 2))


class Gamma(nn.Module):
    """A likelihood of positive data."""

    def __init__(self, data_shape):
        super().__init__()

    def forward(self, parameters):
        return Independent(torch.distributions.Gamma(parameters.exp(), 1.0, validate_args=False), 1)


class Box(nn.Module):
    """A prior from which every normal posterior is infinitely far."""

    def forward(self, context=None):
        return Independent(torch.distributions.Uniform(-torch.ones(2), torch.ones(2)), 1)


class Returns(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, out):
        return self.value


ones = torch.ones
x = torch.rand(4, 6)

CASES = {
    # shapes
    "wrong shape": lambda: model()(torch.rand(4, 7)),
    "flat images": lambda: images()(torch.rand(4, 64)),
    "no batch axis": lambda: images()(torch.rand(1, 8, 8)),
    "too many axes": lambda: model()(torch.rand(4, 1, 6)),
    "empty batch": lambda: model()(torch.rand(0, 6)),
    "wrong z": lambda: model().decode(torch.rand(4, 3)),
    "z without batch": lambda: model().decode(torch.rand(2)),
    "decoder of another shape": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 5), prior=priors.Normal(2)
    )(x),
    # latent_dim
    "prior of another latent_dim": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(3)
    ),
    "decoder of another latent_dim": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(3, 6), prior=priors.Normal(2)
    ),
    "sequence of another latent_dim": lambda: VAE(
        nn.Sequential(nn.Flatten(), posteriors.DiagonalNormal(6, 5)),
        decoders.MLP(2, 6),
        prior=priors.Normal(2),
    ),
    "foreign prior of another latent_dim": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6), prior=Foreign()
    ),
    "latent_dim 0": lambda: encoders.MLP(6, 0),
    "latent_dim -1 of a prior": lambda: priors.Laplace(-1),
    "latent_dim of a decoder": lambda: decoders.Conv(0, (1, 8, 8)),
    "latent_dim that is no integer": lambda: priors.Normal(2.5),
    "latent_dim of a head": lambda: posteriors.DiagonalNormal(6, 0),
    # values
    "images above 1": lambda: model()(x * 255),
    "images below 0": lambda: model()(x - 0.5),
    "NaN": lambda: model()(x.where(x > 0.3, torch.nan)),
    "infinity": lambda: model()(x.where(x > 0.3, torch.inf)),
    "fractions as counts": lambda: VAE(
        encoders.MLP(6, 2),
        decoders.MLP(2, 6, likelihood=likelihoods.Poisson),
        prior=priors.Normal(2),
    )(x),
    "fractions as classes": lambda: VAE(
        encoders.MLP(6, 2),
        decoders.MLP(2, 6, likelihood=partial(likelihoods.Categorical, classes=3)),
        prior=priors.Normal(2),
    )(x),
    "NaN under a normal likelihood": lambda: VAE(
        encoders.MLP(6, 2),
        decoders.MLP(2, 6, likelihood=likelihoods.Normal),
        prior=priors.Normal(2),
    )(x * torch.nan),
    "NaN in encode": lambda: model().encode(x * torch.nan),
    "NaN in evaluation": lambda: evaluation.encode(model(), x * torch.nan),
    "integer images": lambda: model()(torch.randint(0, 255, (4, 6), dtype=torch.uint8)),
    "int64 images": lambda: model()(torch.randint(0, 2, (4, 6))),
    "an array": lambda: model()(x.numpy()),
    "float64 data": lambda: model()(x.double()),
    # parts
    "a class for an encoder": lambda: VAE(encoders.MLP, decoders.MLP(2, 6), prior=priors.Normal(2)),
    "a function for a prior": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6), prior=lambda: None
    ),
    "an encoder that returns a tensor": lambda: VAE(
        nn.Linear(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2)
    )(x),
    "a prior without event": lambda: VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=NoEvent())(
        x
    ),
    "a posterior without rsample": lambda: VAE(
        Discrete(), decoders.MLP(2, 6), prior=priors.Normal(2)
    )(x),
    # context
    "context that no part uses": lambda: model()(x, ones(4, 3)),
    "context to a part that takes none": lambda: VAE(
        nn.Sequential(posteriors.DiagonalNormal(6, 2)),
        decoders.MLP(2, 6, context_dim=3),
        prior=priors.Normal(2),
    )(x, ones(4, 3)),
    "missing context": lambda: conditional()(x),
    "context of labels": lambda: conditional()(x, torch.arange(4)),
    "context of another size": lambda: conditional()(x, ones(4, 2)),
    "context of another length": lambda: conditional()(x, ones(3, 3)),
    "conditional prior without context": lambda: priors.Normal(2, context_dim=3)(),
    "rows of context for samples": lambda: conditional().sample(5, context=ones(4, 3)),
    "no samples": lambda: model().sample(0),
    # constructors
    "empty data_shape": lambda: encoders.MLP((), 2),
    "negative size": lambda: decoders.MLP(2, (1, -8, 8)),
    "small image": lambda: encoders.Conv((1, 7, 8), 2),
    "vector for a conv": lambda: decoders.Conv(2, 784),
    "too many convolutions": lambda: encoders.Conv((1, 8, 8), 2, channels=(8,) * 5),
    "no convolutions": lambda: decoders.Conv(2, (1, 8, 8), channels=()),
    "hidden width 0": lambda: encoders.MLP(6, 2, hidden=(0,)),
    "negative scale": lambda: priors.Normal(2, scale=-1.0),
    "NaN scale": lambda: priors.Laplace(2, scale=float("nan")),
    "scale of another size": lambda: priors.Normal(2, scale=ones(3)),
    "scale zero of a likelihood": lambda: likelihoods.Normal(6, scale=0.0),
    "scale predicted and learnt": lambda: likelihoods.Normal(6, scale=None, learn_scale=True),
    # objectives
    "negative beta": lambda: objectives.BetaVAE(beta=-1.0),
    "NaN beta": lambda: objectives.BetaVAE(beta=float("nan")),
    "infinite gamma": lambda: objectives.BetaTCVAE(dataset_size=9, beta=1.0, gamma=float("inf")),
    "beta of a string": lambda: objectives.BetaVAE(beta="4"),
    "beta of a tensor": lambda: objectives.BetaVAE(beta=ones(())),
    "dataset_size 0": lambda: terms.TotalCorrelation(dataset_size=0),
    "dataset_size of a float": lambda: objectives.BetaTCVAE(dataset_size=1e4, beta=1.0),
    "negative schedule": lambda: schedules.Linear(0.0, -1.0, steps=10),
    "schedule of no steps": lambda: schedules.Linear(0.0, 1.0, steps=0),
    "negative constant": lambda: schedules.Constant(-1.0),
    "no terms": lambda: WeightedSum(),
    "a term without weight": lambda: WeightedSum(kl=terms.KL()),
    "a class for a term": lambda: WeightedSum(kl=(1.0, terms.KL)),
    "an objective without a loss": lambda: objectives.Objective()(model(), x),
    "dataset smaller than the batch": lambda: objectives.BetaTCVAE(dataset_size=3, beta=1.0)(
        model(), x
    ),
    # evaluation and traversals
    "empty data": lambda: evaluation.encode(model(), torch.rand(0, 6)),
    "empty loader": lambda: evaluation.elbo(model(), []),
    "no importance samples": lambda: evaluation.log_likelihood(model(), x, samples=0),
    "rows of context for data": lambda: evaluation.encode(conditional(), x, context=ones(3, 3)),
    "too many rows of context": lambda: evaluation.encode(conditional(), x, context=ones(9, 3)),
    "tensor context for a loader": lambda: evaluation.encode(
        conditional(), torch.utils.data.DataLoader(x), context=ones(4, 3)
    ),
    "batch_size 0": lambda: evaluation.encode(model(), x, batch_size=0),
    "traversal of a missing dimension": lambda: traversals.traverse(model(), x[:1], dims=[2]),
    "traversal of a negative dimension": lambda: traversals.traverse(model(), x[:1], dims=[-1]),
    "traversal of many data": lambda: traversals.traverse(model(), x),
    "traversal of no steps": lambda: traversals.traverse(model(), x[:1], steps=0),
    "traversal of an empty span": lambda: traversals.traverse(model(), x[:1], span=(1.0, 1.0)),
    "interpolation between unlike batches": lambda: traversals.interpolate(model(), x[:1], x),
    # what a stranger tried
    "a pair for data": lambda: evaluation.encode(model(), (x, x)),
    "an array for data": lambda: evaluation.encode(model(), x.numpy()),
    "nothing for data": lambda: evaluation.encode(model(), None),
    "dictionaries for data": lambda: evaluation.encode(model(), [{"x": x}]),
    "strings for labels": lambda: evaluation.encode(model(), [(x, ["a"] * 4)]),
    "a list of rows for context": lambda: evaluation.encode(conditional(), x, context=[1, 2]),
    "a train step to evaluate": lambda: evaluation.encode(TrainStep(model(), objectives.ELBO()), x),
    "reconstruction outside the support": lambda: model().reconstruct(x * 255),
    "likelihood outside the support": lambda: evaluation.log_likelihood(model(), x * 255),
    "negative data under a half-open support": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6, likelihood=Gamma), prior=priors.Normal(2)
    )(-x),
    "a uniform prior": lambda: TrainStep(
        VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=Box()), objectives.ELBO()
    )(x),
    "a conditional prior as an unconditional one": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6), prior=posteriors.DiagonalNormal(3, 2)
    )(x),
    "NaN in the context": lambda: conditional()(x, ones(4, 3) * torch.nan),
    "rows of context for a conditional prior": lambda: VAE(
        encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2, context_dim=3)
    )(x, ones(3, 3)),
    "an integer for sample_shape": lambda: model()(x, None, 5),
    "no samples in sample_shape": lambda: model()(x, None, (0,)),
    "features of another size": lambda: posteriors.DiagonalNormal(6, 2)(torch.rand(4, 7)),
    "logits of another shape": lambda: likelihoods.Bernoulli((1, 8, 8))(torch.zeros(4, 64)),
    "logits of too many channels": lambda: likelihoods.Normal((1, 8, 8))(torch.zeros(4, 3, 8, 8)),
    "hidden of one number": lambda: encoders.MLP(6, 2, hidden=512),
    "channels of one number": lambda: decoders.Conv(2, (1, 8, 8), channels=32),
    "an instance for activation": lambda: encoders.MLP(6, 2, activation=nn.ReLU()),
    "a name for activation": lambda: encoders.MLP(6, 2, activation="relu"),
    "an instance for posterior": lambda: encoders.MLP(
        6, 2, posterior=posteriors.DiagonalNormal(6, 2)
    ),
    "a name for likelihood": lambda: decoders.MLP(2, 6, likelihood="bernoulli"),
    "a float for data_shape": lambda: encoders.MLP(784.0, 2),
    "nothing for data_shape": lambda: decoders.MLP(2, None),
    "negative context_dim": lambda: encoders.MLP(6, 2, context_dim=-1),
    "a name for scale": lambda: priors.Normal(2, scale="1"),
    "many bad scales": lambda: likelihoods.Normal((1, 28, 28), scale=torch.zeros(1, 28, 28)),
    "a class for a wrapped part": lambda: disvae.nn.Unconditional(nn.ReLU),
    "swapped model and objective": lambda: TrainStep(objectives.ELBO(), model()),
    "a class for an objective": lambda: TrainStep(model(), objectives.ELBO),
    "a term for an objective": lambda: TrainStep(model(), terms.KL()),
    "swapped weight and term": lambda: WeightedSum(kl=(terms.KL(), 1.0)),
    "a term named total": lambda: WeightedSum(total=(1.0, terms.KL())),
    "a term named forward": lambda: WeightedSum(forward=(1.0, terms.KL())),
    "a term with a dot": lambda: WeightedSum(**{"a.b": (1.0, terms.KL())}),
    "a term that returns a float": lambda: WeightedSum(one=(1.0, Returns(1.0)))(model(), x),
    "a schedule below 0": lambda: objectives.BetaVAE(beta=lambda step: -1.0)(model(), x),
    "a schedule of a string": lambda: schedules.Linear(0.0, 1.0, steps="10"),
    "a step of two numbers": lambda: objectives.ELBO()(model(), x, step=torch.tensor([1, 2])),
    "a mask for dims": lambda: traversals.traverse(model(), x[:1], dims=[True, False]),
    "a number for dims": lambda: traversals.traverse(model(), x[:1], dims=1),
    "an infinite span": lambda: traversals.traverse(model(), x[:1], span=float("inf")),
    "three ends for span": lambda: traversals.traverse(model(), x[:1], span=(0.0, 1.0, 2.0)),
    "context of many rows for a traversal": lambda: traversals.traverse(
        conditional(), x[:1], context=ones(2, 3)
    ),
    "nothing to traverse": lambda: traversals.traverse(model(), None),
    "a list to interpolate": lambda: traversals.interpolate(model(), [1.0], x[:1]),
    "settings without keywords": lambda: disvae.param_groups(model(), {nn.ReLU(): 1e-3}),
    "probabilities outside (0, 1)": lambda: distributions.quantile(
        priors.Normal(2)(), torch.zeros(2000)
    ),
    "parameter groups of another module": lambda: disvae.param_groups(model(), {nn.ReLU(): {}}),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_sentence(name, is_clear):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[name]()
    is_clear(caught.value)


def test_the_sentence_names_both_shapes_and_the_way_out():
    with pytest.raises(ValueError, match=r"\(B, 1, 8, 8\), but got \(4, 64\); .*reshape"):
        images()(torch.rand(4, 64))


def test_a_bad_batch_changes_nothing():
    train = TrainStep(model(), objectives.BetaTCVAE(dataset_size=100, beta=2.0))
    train(x).total.backward()
    before = {k: v.clone() for k, v in train.state_dict().items()}
    gradients = [p.grad.clone() for p in train.parameters()]
    for bad in (x * torch.nan, x * 255, torch.rand(4, 7), torch.rand(0, 6)):
        with pytest.raises(ValueError, match="Expected"):
            train(bad)
    assert all(torch.equal(v, before[k]) for k, v in train.state_dict().items())
    grads = zip(train.parameters(), gradients, strict=True)
    assert all(torch.equal(p.grad, g) for p, g in grads)


def test_an_error_in_evaluation_leaves_the_modes_as_they_were():
    m = model()
    m.decoder.eval()
    modes = [module.training for module in m.modules()]
    with pytest.raises(ValueError, match="finite"):
        evaluation.encode(m, x * torch.nan)
    assert modes == [module.training for module in m.modules()]


def test_values_are_not_checked_when_switched_off():
    out = model(check_values=False)(x * 255)
    assert torch.isfinite(out.likelihood.log_prob(out.x)).all()


def test_values_inside_the_support_are_let_through():
    normal = partial(likelihoods.Normal, scale=0.1)
    VAE(encoders.MLP(6, 2), decoders.MLP(2, 6, likelihood=normal), prior=priors.Normal(2))(x * 255)
    model()(torch.tensor([[0.0, 1.0, 0.5, 0.0, 1.0, 0.25]]))
