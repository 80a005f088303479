"""Priors against scipy, with fixed, learnt and conditional scales."""

import numpy as np
import pytest
import scipy.stats
import torch

from disvae import priors

FAMILIES = {priors.Normal: scipy.stats.norm, priors.Laplace: scipy.stats.laplace}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [0.5, torch.tensor([0.1, 1.0, 7.0])])
@pytest.mark.parametrize("learn", [False, True])
def test_density_is_scipys_summed_over_dimensions(family, scale, learn):
    z = torch.randn(5, 3)
    expected = FAMILIES[family].logpdf(z.numpy(), 0, np.asarray(scale)).sum(-1)
    found = family(3, scale=scale, learn_scale=learn)().log_prob(z)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_learnt_scale_finds_the_maximum_of_the_likelihood(family):
    """The best scale is the root mean square for a normal, the mean magnitude for a Laplace."""
    prior = family(2, scale=torch.ones(2), learn_scale=True)
    z = prior().sample((2000,)) * torch.tensor([0.2, 3.0])
    optimizer = torch.optim.LBFGS(prior.parameters(), max_iter=100)

    def loss():
        optimizer.zero_grad()
        value = -prior().log_prob(z).mean()
        value.backward()
        return value

    optimizer.step(loss)
    best = z.square().mean(0).sqrt() if family is priors.Normal else z.abs().mean(0)
    torch.testing.assert_close(prior.scale(), best, rtol=1e-2, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_number_gives_one_learnt_parameter_and_a_tensor_one_each(family):
    count = lambda prior: sum(p.numel() for p in prior.parameters())  # noqa: E731
    assert count(family(5)) == 0
    assert count(family(5, learn_scale=True)) == 1
    assert count(family(5, scale=torch.ones(5), learn_scale=True)) == 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conditional_prior_starts_unconditional_and_learns_from_its_context(family):
    prior, c = family(2, scale=0.5, context_dim=3), torch.eye(3)
    start = prior(c)
    assert start.batch_shape == (3,)
    z = torch.randn(3, 2)
    torch.testing.assert_close(start.log_prob(z), family(2, scale=0.5)().log_prob(z))
    (-start.log_prob(z + 1).sum()).backward()
    assert (prior.affine.weight.grad != 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_without_context_dim_a_context_is_ignored(family):
    assert family(2)(torch.rand(7, 3)).batch_shape == ()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"learn_scale": True}, {"context_dim": 3}])
def test_state_dict_round_trip_and_dtype(family, options):
    prior = family(2, scale=torch.tensor([0.3, 2.0]), **options)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter)
    other = family(2, scale=torch.ones(2), **options)
    other.load_state_dict(prior.state_dict())
    context = (torch.rand(4, 3),) if "context_dim" in options else ()
    z = torch.randn(4, 2)
    assert torch.equal(prior(*context).log_prob(z), other(*context).log_prob(z))
    assert prior.double()(*(c.double() for c in context)).sample().dtype == torch.float64
