"""Traversals move one latent at a time, through the values that the prior says."""

import pytest
import scipy.stats
import torch
import zuko
from torch import nn
from torch.distributions import Independent

from disvae import VAE, priors, traversals
from disvae import distributions as dist

D = 3


class Identity(nn.Module):
    """A decoder whose data are its latents, so that a traversal shows its own values."""

    def forward(self, z, context=None):
        z = z if context is None else z + context
        return Independent(dist.Normal(z, 1.0), 1)


class Encoder(nn.Module):
    def forward(self, x, context=None):
        return Independent(dist.Normal(x, 0.1), 1)


def model(prior):
    return VAE(Encoder(), Identity(), prior=prior)


X = torch.tensor([[10.0, 20.0, 30.0]])
U = torch.linspace(0.01, 0.99, 5)


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (priors.Normal(D, scale=torch.tensor([1.0, 0.1, 5.0])), scipy.stats.norm),
        (priors.Laplace(D, scale=torch.tensor([1.0, 0.1, 5.0])), scipy.stats.laplace),
    ],
    ids=["normal", "laplace"],
)
def test_each_row_moves_its_own_dimension_through_the_quantiles_of_the_prior(prior, law):
    found = traversals.traverse(model(prior), X, steps=5)
    assert found.shape == (D, 5, D)
    for d in range(D):
        expected = X.expand(5, D).clone()
        scale = prior.scale()[d].item()
        expected[:, d] = torch.from_numpy(law.ppf(U, 0, scale)).float()
        torch.testing.assert_close(found[d], expected, rtol=1e-4, atol=1e-4)
    some = traversals.traverse(model(prior), X, dims=[2, 0], steps=5)
    assert torch.equal(some, found[[2, 0]])


def test_a_flow_without_an_inverse_cdf_stays_where_it_has_mass():
    flow = zuko.flows.NSF(D, transforms=1, hidden_features=(8,))
    found = traversals.traverse(model(flow), X, steps=5)
    samples = flow().sample((4000,))
    for d in range(D):
        values = found[d, :, d]
        assert (values.diff() > 0).all()
        below = (samples[:, d, None] < values).double().mean(0)
        torch.testing.assert_close(below, U.double(), rtol=0, atol=0.03)


def test_a_span_replaces_the_quantiles():
    for span, values in (((-5.0, 5.0), [-5.0, 0.0, 5.0]), (2.0, [-2.0, 0.0, 2.0])):
        found = traversals.traverse(model(priors.Normal(D)), X, dims=[2, 0], steps=3, span=span)
        assert found.shape == (2, 3, D)
        assert found[0, :, 2].tolist() == values
        assert found[1, :, 0].tolist() == values
        assert (found[:, :, 1] == 20.0).all()


def test_one_step_is_the_median():
    found = traversals.traverse(model(priors.Normal(D)), X, dims=[1], steps=1)
    torch.testing.assert_close(found[0, 0], torch.tensor([10.0, 0.0, 30.0]))


def test_a_context_reaches_every_image():
    context = torch.tensor([[1.0, 2.0, 3.0]])
    plain = traversals.traverse(model(priors.Normal(D)), X, steps=3)
    found = traversals.traverse(model(priors.Normal(D)), X, steps=3, context=context)
    torch.testing.assert_close(found, plain + context[0])


def test_interpolation_is_the_straight_line_of_codes():
    start, end = torch.zeros(2, D), torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    found = traversals.interpolate(model(priors.Normal(D)), start, end, steps=5)
    t = torch.linspace(0, 1, 5)[:, None]
    torch.testing.assert_close(found, torch.stack([t * end[0], t * end[1]]))
    context = torch.tensor([[1.0] * D, [2.0] * D])
    shifted = traversals.interpolate(model(priors.Normal(D)), start, end, steps=5, context=context)
    torch.testing.assert_close(shifted, found + context[:, None])


def test_no_gradient_is_kept():
    encoder = nn.Sequential(nn.Linear(D, D), Encoder())
    found = traversals.traverse(VAE(encoder, Identity(), prior=priors.Normal(D)), X)
    assert not found.requires_grad
