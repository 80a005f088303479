"""Distributions on the sphere, by integration over it."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from disvae import distributions as dist

kappas = st.floats(0.01, 300)


def power(dim, kappa, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    loc = F.normalize(torch.randn(dim, generator=g, dtype=torch.float64), dim=0)
    return dist.PowerSpherical(loc.to(dtype), torch.tensor(kappa, dtype=dtype))


@given(kappas)
def test_density_integrates_to_one_over_the_circle(kappa):
    angle = torch.linspace(0, 2 * math.pi, 200_001, dtype=torch.float64)[:-1]
    points = torch.stack((angle.cos(), angle.sin()), dim=-1)
    mass = power(2, kappa).log_prob(points).exp().mean() * 2 * math.pi
    # the density at small concentrations has a root at the antipode: no smooth integrand
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dim", [2, 3, 8, 50])
@given(kappas)
def test_density_is_a_beta_distribution_of_the_cosine(dim, kappa):
    """Slices of the sphere: p(t) = p(z)·|S^{D-2}|·(1 - t²)^((D-3)/2) for t = μᵀz."""
    d = power(dim, kappa)
    other = F.normalize(torch.ones(dim).double() - (d.loc.sum() * d.loc), dim=0)
    t = torch.linspace(-0.9, 0.999, 30).double()
    z = t[:, None] * d.loc + (1 - t.square()).sqrt()[:, None] * other
    slice_area = math.log(2) + (dim - 1) / 2 * math.log(math.pi) - math.lgamma((dim - 1) / 2)
    found = d.log_prob(z) + slice_area + (dim - 3) / 2 * torch.log1p(-t.square())
    b = (dim - 1) / 2
    expected = scipy.stats.beta.logpdf((t + 1) / 2, b + kappa, b) - math.log(2)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 10])
@pytest.mark.parametrize("kappa", [0.1, 5.0, 1e3])
def test_samples_lie_on_the_sphere_and_have_the_moments(dim, kappa):
    d = power(dim, kappa)
    z = d.sample((100_000,))
    torch.testing.assert_close(torch.linalg.vector_norm(z, dim=-1), torch.ones(100_000).double())
    torch.testing.assert_close(z.mean(0), d.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(z.var(0), d.variance, atol=0.01, rtol=0.05)
    b = (dim - 1) / 2
    t = ((z @ d.loc + 1) / 2)[:20_000].numpy()
    assert scipy.stats.kstest(t, scipy.stats.beta(b + kappa, b).cdf).pvalue > 1e-3
    entropy = -d.log_prob(z)
    assert (entropy.mean() - d.entropy()).abs() < 4 * entropy.std() / 100_000**0.5


def test_the_mode_may_be_the_first_axis_itself():
    loc = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    z = dist.PowerSpherical(loc, torch.tensor(50.0)).rsample((1000,))
    torch.testing.assert_close(z.mean(0), loc.detach(), atol=0.1, rtol=0)
    z.sum().backward()
    assert torch.isfinite(loc.grad).all()


@pytest.mark.parametrize("kappa", [1e2, 1e4, 1e6])
def test_float32_keeps_the_digits_of_sharp_posteriors(kappa):
    exact, single = power(5, kappa), power(5, kappa, dtype=torch.float32)
    z = single.sample((100,))
    error = single.log_prob(z).double() - dist.PowerSpherical(
        single.loc.double(), exact.concentration
    ).log_prob(z.double())
    assert error.abs().max() < 1e-3
    torch.testing.assert_close(single.entropy().double(), exact.entropy(), rtol=1e-5, atol=1e-5)


def test_opposite_to_the_mode_density_and_gradient_are_finite():
    d = power(3, 1e3, dtype=torch.float32)
    z = (-d.loc).clone().requires_grad_()
    value = d.log_prob(z)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_uniform_has_the_area_of_the_sphere_and_even_moments(dim):
    d = dist.HypersphericalUniform(dim, dtype=torch.float64)
    z = d.sample((100_000,))
    area = {2: 2 * math.pi, 3: 4 * math.pi, 7: 16 * math.pi**3 / 15}[dim]
    torch.testing.assert_close(d.log_prob(z).exp(), torch.full((100_000,), 1 / area).double())
    torch.testing.assert_close(z.mean(0), d.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(z.var(0), d.variance, atol=0.01, rtol=0)
    u = torch.tensor([0.05, 0.5, 0.8]).double()
    torch.testing.assert_close(z.quantile(u, dim=0), dist.quantile(d, u), atol=0.02, rtol=0)


def test_uniform_has_no_mass_off_the_sphere():
    d = dist.HypersphericalUniform(3)
    assert d.log_prob(torch.tensor([0.5, 0.5, 0.5])) == -torch.inf


def test_point_is_the_mode_which_lies_on_the_sphere():
    d = power(4, 0.5)
    assert torch.equal(dist.point(d), d.loc)
