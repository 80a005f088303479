"""Samples follow the law, take their noise from one place, and carry the right gradient."""

import numpy as np
import pytest
import scipy.stats
import torch

from disvae import distributions as dist

LOC, SCALE = torch.tensor([0.5, -2.0]), torch.tensor([1.5, 0.1])
SCIPY = {dist.Normal: scipy.stats.norm, dist.Laplace: scipy.stats.laplace}


@pytest.mark.parametrize("family", SCIPY)
def test_samples_follow_the_law(family):
    samples = family(LOC, SCALE).rsample((20_000,)).numpy()
    for d in range(2):
        law = SCIPY[family](LOC[d].item(), SCALE[d].item())
        assert scipy.stats.kstest(samples[:, d], law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("family", SCIPY)
def test_sample_is_rsample_without_gradient(family):
    loc = LOC.clone().requires_grad_()
    torch.manual_seed(1)
    with_gradient = family(loc, SCALE).rsample((3,))
    torch.manual_seed(1)
    without = family(loc, SCALE).sample((3,))
    assert torch.equal(with_gradient, without)
    assert with_gradient.requires_grad
    assert not without.requires_grad


@pytest.mark.parametrize("family", SCIPY)
def test_pathwise_gradient_of_the_second_moment(family):
    """d E[z²]/d scale is 2 scale for a normal, 4 scale for a Laplace; d E[z²]/d loc is 2 loc."""
    loc, scale = LOC.double().requires_grad_(), SCALE.double().requires_grad_()
    family(loc, scale).rsample((200_000,)).square().mean(0).sum().backward()
    factor = 2 if family is dist.Normal else 4
    torch.testing.assert_close(loc.grad, 2 * loc.detach(), rtol=0.03, atol=0.02)
    torch.testing.assert_close(scale.grad, factor * scale.detach(), rtol=0.03, atol=0.06)


def test_laplace_stays_finite_at_the_end_of_the_uniform():
    zero = lambda sampler, shape, *, dtype, device: torch.zeros(shape, dtype=dtype)  # noqa: E731
    with dist.replace_noise(zero):
        assert torch.isfinite(dist.Laplace(torch.zeros(2), torch.ones(2)).rsample()).all()


def test_every_draw_takes_the_replaced_noise():
    asked = []

    def source(sampler, shape, *, dtype, device):
        asked.append(sampler)
        return torch.full(shape, 0.75, dtype=dtype)

    with dist.replace_noise(source):
        assert torch.equal(dist.Normal(LOC, SCALE).rsample(), LOC + 0.75 * SCALE)
        quarter = torch.distributions.Laplace(LOC, SCALE).icdf(torch.tensor(0.75))
        torch.testing.assert_close(dist.Laplace(LOC, SCALE).sample(), quarter)
        assert dist.Bernoulli(probs=torch.tensor([0.7, 0.8])).sample().tolist() == [0.0, 1.0]
    assert asked == [torch.randn, torch.rand, torch.rand]
    assert not torch.equal(dist.Normal(LOC, SCALE).rsample(), LOC + 0.75 * SCALE)


def test_noise_is_restored_after_an_error():
    before = dist.noise(torch.randn, (1,), dtype=torch.float32, device=torch.device("cpu"))
    with pytest.raises(RuntimeError, match="inside"), dist.replace_noise(lambda *a, **k: None):
        raise RuntimeError("inside")
    after = dist.noise(torch.randn, (1,), dtype=torch.float32, device=torch.device("cpu"))
    assert before.shape == after.shape


@pytest.mark.parametrize("family", [dist.Normal, dist.Laplace])
def test_ensembles_sample_under_vmap(family):
    """torch's own normal draws in place, which vmap refuses with different randomness."""
    draw = lambda loc: family(loc, torch.ones(3), validate_args=False).rsample((4,))  # noqa: E731
    samples = torch.vmap(draw, randomness="different")(torch.zeros(5, 3))
    assert samples.shape == (5, 4, 3)
    assert len(samples.unique()) == samples.numel()


def test_bernoulli_on_grey_values_is_the_cross_entropy():
    logits, x = torch.randn(100).double(), torch.rand(100).double()
    probs = torch.sigmoid(logits)
    expected = x * probs.log() + (1 - x) * (1 - probs).log()
    torch.testing.assert_close(dist.Bernoulli(logits=logits).log_prob(x), expected)
    assert dist.Bernoulli(logits=logits).support.check(x).all()


def test_bernoulli_samples_have_the_mean():
    d = dist.Bernoulli(probs=torch.tensor([0.1, 0.9]))
    np.testing.assert_allclose(d.sample((20_000,)).mean(0), [0.1, 0.9], atol=0.01)


def test_bernoulli_log_prob_broadcasts_over_samples():
    d = dist.Bernoulli(logits=torch.randn(3, 4, 5), validate_args=False)
    x = torch.rand(4, 5)
    torch.testing.assert_close(d.log_prob(x), d.log_prob(x.expand(3, 4, 5)))


@pytest.mark.parametrize("family", [dist.Normal, dist.Laplace])
def test_subclass_expands_to_itself(family):
    assert type(family(LOC, SCALE).expand((3, 2))) is family
