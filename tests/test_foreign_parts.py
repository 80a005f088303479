"""Parts that were not written for disvae work unmodified, with nothing registered anywhere."""

import pytest
import torch
import zuko
from torch import nn
from torch.distributions import Independent, StudentT

import disvae
from disvae import (
    VAE,
    TrainStep,
    decoders,
    encoders,
    evaluation,
    objectives,
    posteriors,
    priors,
    traversals,
)

SHAPE, D, CONTEXT = (1, 12, 12), 3, 4


class SixLinePrior(nn.Module):
    def __init__(self):
        super().__init__()
        self.df = nn.Parameter(torch.tensor(5.0))

    def forward(self, context=None):
        return Independent(StudentT(self.df.expand(D)), 1)


class FlowEncoder(nn.Module):
    """A conditional flow of zuko as q(z|x), or q(z|x, c)."""

    def __init__(self, features):
        super().__init__()
        self.flow = zuko.flows.MAF(D, context=features, transforms=2, hidden_features=(16,))

    def forward(self, x, context=None):
        h = x.flatten(1)
        return self.flow(h if context is None else torch.cat((h, context), dim=-1))


def backbone():
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU())


def nsf(context=0):
    return zuko.flows.NSF(D, context=context, transforms=2, hidden_features=(16,))


ENCODERS = {
    "shipped": lambda: encoders.Conv(SHAPE, D),
    "sequential": lambda: nn.Sequential(backbone(), posteriors.DiagonalNormal(32, D)),
    "flow in a sequence": lambda: nn.Sequential(backbone(), nsf(context=32)),
    "flow": lambda: FlowEncoder(144),
}
PRIORS = {
    "shipped": lambda: priors.Laplace(D),
    "six lines": SixLinePrior,
    "flow": nsf,
}


def everything_works(model, x, context=None, objective=None):
    train = TrainStep(model, objective or objectives.ELBO())
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
    for step in range(2):
        losses = train(x, context, step=torch.tensor(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    gradients = [p.grad for p in train.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    for part in (model.encoder, model.decoder, model.prior):
        owned = list(part.parameters())
        assert not owned or any((p.grad != 0).any() for p in owned)
    codes, _ = evaluation.encode(model, x, context=context)
    again, _ = evaluation.encode(model, x, context=context)
    assert codes.shape == (len(x), D)
    assert (codes == again).all()
    bound = evaluation.elbo(model, x, samples=50, context=context).mean()
    tighter = evaluation.log_likelihood(model, x, samples=50, context=context).mean()
    assert bound < tighter + 0.5
    found = evaluation.summary(model, x, context=context)
    assert sorted(found.order) == list(range(D))
    assert ("not defined" in str(found)) == (found.kl_per_dimension is None)
    one = None if context is None else context[:1]
    images = traversals.traverse(model, x[:1], steps=3, context=one)
    assert images.shape == (D, 3, *SHAPE)
    assert not torch.equal(images[0, 0], images[0, 2])
    four = None if context is None else context[:4]
    assert model.sample(4, context=four).shape == (4, *SHAPE)
    assert torch.equal(model.reconstruct(x, context), model.reconstruct(x, context))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("prior", PRIORS)
def test_train_evaluate_sample_traverse(encoder, prior):
    model = VAE(ENCODERS[encoder](), decoders.MLP(D, SHAPE), prior=PRIORS[prior]())
    everything_works(model, torch.rand(16, *SHAPE))


def test_with_a_context_in_every_part():
    model = VAE(
        encoders.MLP(SHAPE, D, context_dim=CONTEXT),
        decoders.Conv(D, SHAPE, context_dim=CONTEXT),
        prior=priors.Normal(D, context_dim=CONTEXT),
    )
    everything_works(model, torch.rand(16, *SHAPE), torch.eye(CONTEXT).repeat(4, 1))


def test_flows_with_a_context_as_posterior_and_prior():
    model = VAE(
        FlowEncoder(144 + CONTEXT),
        decoders.MLP(D, SHAPE, context_dim=CONTEXT),
        prior=nsf(context=CONTEXT),
    )
    everything_works(model, torch.rand(16, *SHAPE), torch.eye(CONTEXT).repeat(4, 1))


def test_parts_without_a_context_are_wrapped():
    model = VAE(
        disvae.nn.Unconditional(ENCODERS["sequential"]()),
        decoders.MLP(D, SHAPE, context_dim=CONTEXT),
        prior=disvae.nn.Unconditional(nsf()),
    )
    everything_works(model, torch.rand(16, *SHAPE), torch.eye(CONTEXT).repeat(4, 1))


def test_head_as_a_learnt_conditional_prior():
    model = VAE(
        encoders.MLP(SHAPE, D, context_dim=CONTEXT),
        decoders.MLP(D, SHAPE, context_dim=CONTEXT),
        prior=posteriors.DiagonalNormal(CONTEXT, D),
    )
    everything_works(model, torch.rand(16, *SHAPE), torch.eye(CONTEXT).repeat(4, 1))


def test_total_correlation_of_a_flow_says_what_is_missing():
    model = VAE(ENCODERS["flow"](), decoders.MLP(D, SHAPE), prior=priors.Normal(D))
    train = TrainStep(model, objectives.BetaTCVAE(dataset_size=100, beta=2.0))
    with pytest.raises(ValueError, match="per-dimension marginals"):
        train(torch.rand(8, *SHAPE))


def test_dimensionwise_kl_of_an_unfactorised_prior_says_so():
    model = VAE(ENCODERS["shipped"](), decoders.MLP(D, SHAPE), prior=nsf())
    train = TrainStep(model, objectives.BetaTCVAE(dataset_size=100, beta=2.0))
    with pytest.raises(ValueError, match="does not factorise"):
        train(torch.rand(8, *SHAPE))
