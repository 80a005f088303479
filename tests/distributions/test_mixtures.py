"""Mixtures: densities to the last digit at any scale, moments, marginals, samples."""

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily

from disvae import distributions as dist


def draw(batch=(), components=5, dim=3, seed=0, scale=None, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    loc = torch.randn(*batch, components, dim, generator=g, dtype=torch.float64)
    scales = torch.rand(*batch, components, dim, generator=g, dtype=torch.float64) + 0.1
    scales = scales if scale is None else torch.full_like(scales, scale)
    logits = torch.randn(*batch, components, generator=g, dtype=torch.float64)
    return [v.to(dtype).requires_grad_() for v in (logits, loc, scales)]


def reference(logits, loc, scale):
    components = Independent(torch.distributions.Normal(loc, scale), 1)
    return MixtureSameFamily(Categorical(logits=logits), components)


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 4))
def test_density_and_its_gradients_equal_the_plain_sum(seed, components, dim):
    ours, theirs = draw((), components, dim, seed), draw((), components, dim, seed)
    z = torch.randn(6, 2, dim, dtype=torch.float64)
    found = dist.GaussianMixture(*ours).log_prob(z)
    expected = reference(*theirs).log_prob(z)
    torch.testing.assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(found.sum(), ours),
        torch.autograd.grad(expected.sum(), theirs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01, 1e-3])
def test_small_components_are_right_in_float32(scale):
    """A product in float32 is off by 3e-4 at 0.1 and by whole nats at 1e-3."""
    parameters = draw((), 50, 10, scale=scale, dtype=torch.float32)
    loc = parameters[1].detach()
    near = loc[:20] + scale * torch.randn(20, 10)
    exact = reference(*(p.detach().double() for p in parameters)).log_prob(near.double())
    found = dist.GaussianMixture(*parameters).log_prob(near)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-4)
    far = dist.GaussianMixture(*parameters).log_prob(torch.full((1, 10), 1e4))
    assert torch.isfinite(far).all()
    gradients = torch.autograd.grad(found.sum() + far.sum(), parameters)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_batches_of_mixtures_are_rows_of_their_own():
    parameters = draw((4,))
    z = torch.randn(7, 4, 3, dtype=torch.float64)
    found = dist.GaussianMixture(*parameters)
    assert found.batch_shape == (4,)
    for i in range(4):
        alone = dist.GaussianMixture(*(p[i] for p in parameters))
        torch.testing.assert_close(found.log_prob(z)[:, i], alone.log_prob(z[:, i]))
        torch.testing.assert_close(found.mean[i], alone.mean)
        torch.testing.assert_close(found.variance[i], alone.variance)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_moments_are_those_of_samples(batch):
    """Mixing standard deviations in place of variances is the classic mistake."""
    d = dist.GaussianMixture(*draw(batch))
    z = d.sample((200_000,))
    torch.testing.assert_close(z.mean(0), d.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), d.variance, atol=0.03, rtol=0)
    # the shares of the components, at the nearest mean of well separated ones
    apart = dist.GaussianMixture(
        torch.tensor([0.2, 0.5, 0.3]).log(), 20 * torch.eye(3), torch.ones(3, 3)
    )
    shares = torch.bincount(apart.sample((50_000,)).argmax(-1)) / 50_000
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.5, 0.3]), atol=0.01, rtol=0)


def test_marginals_integrate_the_joint_density():
    logits, loc, scale = draw((), 4, 2)
    d = dist.GaussianMixture(logits, loc, scale)
    grid = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    points = torch.stack(
        torch.meshgrid(torch.tensor([-1.0, 0.3]).double(), grid, indexing="ij"), -1
    )
    integrated = torch.trapezoid(d.log_prob(points).exp(), grid, dim=-1)
    marginal = dist.marginals(d).log_prob(torch.tensor([[-1.0, 0.0], [0.3, 0.0]]).double())[:, 0]
    torch.testing.assert_close(marginal.exp(), integrated, rtol=1e-6, atol=0)


def test_quantiles_invert_the_cdf_of_the_marginals():
    logits, loc, scale = (p.detach() for p in draw((), 3, 2))
    # the outer ones lie beyond the samples that give the first bracket
    u = torch.tensor([1e-9, 0.01, 0.3, 0.99, 1 - 1e-9], dtype=torch.float64)
    found = dist.quantile(dist.GaussianMixture(logits, loc, scale), u)
    weights = logits.softmax(-1)
    for d in range(2):
        cdf = sum(
            w * scipy.stats.norm.cdf(found[:, d], m, s)
            for w, m, s in zip(weights, loc[:, d], scale[:, d], strict=True)
        )
        np.testing.assert_allclose(cdf, u, rtol=1e-6)


def test_quantiles_of_a_foreign_mixture_in_float32():
    foreign = MixtureSameFamily(
        Categorical(torch.tensor([0.8, 0.2])),
        torch.distributions.Normal(torch.zeros(2), torch.tensor([0.05, 1.0])),
    )
    found = dist.quantile(foreign, torch.tensor([0.1, 0.9, 0.999]))
    torch.testing.assert_close(
        foreign.cdf(found), torch.tensor([0.1, 0.9, 0.999]), atol=1e-5, rtol=0
    )


def test_a_mixture_of_any_family_samples_through_the_noise():
    weights = Categorical(torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    components = dist.Laplace(torch.tensor([[-9.0, 9.0], [-5.0, 5.0]]), torch.ones(2, 2))
    d = dist.Mixture(weights, components)
    z = d.sample((40_000,))
    assert z.shape == (40_000, 2)
    torch.testing.assert_close(z.mean(0), d.mean, atol=0.15, rtol=0)
    torch.testing.assert_close(
        (z > 0).float().mean(0), torch.tensor([0.75, 0.5]), atol=0.01, rtol=0
    )
    with dist.replace_noise(lambda sampler, shape, *, dtype, device: torch.full(shape, 0.3)):
        first = d.sample()
    # u = 0.3 chooses the second component of the first row, and the first of the second
    assert (first > 0).tolist() == [True, False]


def test_mixtures_of_vectors_gather_whole_vectors():
    components = dist.MultivariateNormal(
        torch.tensor([[-9.0, -9.0], [9.0, 9.0]]), scale_tril=torch.eye(2).expand(2, 2, 2)
    )
    d = dist.Mixture(Categorical(torch.tensor([0.5, 0.5])), components)
    z = d.sample((1000,))
    assert z.shape == (1000, 2)
    assert (z[:, 0].sign() == z[:, 1].sign()).all()
    expected = MixtureSameFamily(Categorical(torch.tensor([0.5, 0.5])), components).log_prob(z)
    torch.testing.assert_close(d.log_prob(z), expected)


def test_far_from_every_component_the_density_keeps_its_digits():
    logits, loc, scale = torch.zeros(2), torch.tensor([[0.0], [1e-3]]), torch.full((2, 1), 1e-3)
    z = torch.tensor([3.0])
    mpmath.mp.dps = 50
    mean, sigma = (mpmath.mpf(v.double().item()) for v in (loc[1, 0], scale[0, 0]))
    total = sum(mpmath.exp(-(((3 - m) / sigma) ** 2) / 2) for m in (mpmath.mpf(0), mean))
    exact = mpmath.log(total / 2 / sigma / mpmath.sqrt(2 * mpmath.pi))
    found = dist.GaussianMixture(logits, loc, scale).log_prob(z)
    assert abs(found.item() - float(exact)) < 1e-6 * abs(float(exact))
