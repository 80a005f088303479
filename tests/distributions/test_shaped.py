"""Student-t and generalised normal against scipy, their samples, their gradients, their limits."""

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from disvae import distributions as dist
from disvae.distributions.shaped import log_gamma_ratio

shapes = st.floats(0.3, 60)
locs, scales = st.floats(-3, 3), st.floats(0.05, 5)
X = np.linspace(-9, 9, 41)


def double(*values):
    return [torch.tensor(v, dtype=torch.float64) for v in values]


FAMILIES = {
    "student-t": (
        lambda shape, loc, scale: dist.StudentT(*double(shape, loc, scale)),
        lambda shape, loc, scale: scipy.stats.t(shape, loc, scale),
    ),
    "generalised normal": (
        lambda shape, loc, scale: dist.GeneralizedNormal(*double(loc, scale, shape)),
        lambda shape, loc, scale: scipy.stats.gennorm(shape, loc, scale),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@given(shapes, locs, scales)
def test_density_cdf_and_quantiles_are_scipys(family, shape, loc, scale):
    ours, theirs = (make(shape, loc, scale) for make in FAMILIES[family])
    x, u = torch.from_numpy(X), np.linspace(0.01, 0.99, 21)
    np.testing.assert_allclose(ours.log_prob(x), theirs.logpdf(X), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(ours.cdf(x), theirs.cdf(X), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.icdf(torch.from_numpy(u)), theirs.ppf(u), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.floats(2.5, 60), locs, scales)
def test_moments_and_entropy_are_scipys(family, shape, loc, scale):
    ours, theirs = (make(shape, loc, scale) for make in FAMILIES[family])
    np.testing.assert_allclose(ours.mean, theirs.mean(), atol=1e-9)
    np.testing.assert_allclose(ours.variance, theirs.var(), rtol=1e-8)
    np.testing.assert_allclose(ours.entropy(), theirs.entropy(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 8.0, 50.0])
def test_samples_follow_the_distribution(family, shape):
    ours, theirs = (make(shape, 1.0, 0.5) for make in FAMILIES[family])
    z = ours.sample((20_000,)).numpy()
    assert scipy.stats.kstest(z, theirs.cdf).pvalue > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("parameter", [0, 1, 2])
def test_reparameterised_gradients_are_those_of_the_expectation(family, parameter):
    """Of E[cos z], against finite differences of the integral."""
    values = [5.0, 0.4, 0.8]
    law = FAMILIES[family][1]

    def expectation(shift):
        moved = list(values)
        moved[parameter] += shift
        grid = np.linspace(-60, 60, 240_001)
        return np.trapezoid(np.cos(grid) * law(*moved).pdf(grid), grid)

    exact = (expectation(1e-3) - expectation(-1e-3)) / 2e-3
    tensors = [v.expand(400_000).clone().requires_grad_() for v in double(*values)]
    d = (
        dist.StudentT(tensors[0], tensors[1], tensors[2])
        if family == "student-t"
        else dist.GeneralizedNormal(tensors[1], tensors[2], tensors[0])
    )
    (each,) = torch.autograd.grad(d.rsample().cos().sum(), tensors[parameter])
    error = each.std() / len(each) ** 0.5
    assert abs(each.mean() - exact) < 4 * error
    assert error < 0.02


def test_the_ratio_of_gamma_functions_is_exact_at_any_size():
    """Both sides of the switch to the series, and where a difference of log gammas is noise."""
    mpmath.mp.dps = 40
    a = torch.logspace(-3, 12, 61, dtype=torch.float64)
    a = torch.cat((a, torch.tensor([49.9, 50.0, 50.1]).double()))
    exact = [
        float(mpmath.loggamma(v + 0.5) - mpmath.loggamma(v)) for v in map(mpmath.mpf, a.tolist())
    ]
    np.testing.assert_allclose(log_gamma_ratio(a), exact, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("df", [1e4, 1e6, 1e10])
def test_student_t_becomes_normal_as_its_degrees_of_freedom_grow(dtype, df):
    z = torch.linspace(-4, 4, 17, dtype=dtype)
    found = dist.StudentT(torch.tensor(df, dtype=dtype)).log_prob(z)
    torch.testing.assert_close(
        found, dist.Normal(0 * z, 1.0).log_prob(z), rtol=0, atol=100 / df + 1e-5
    )


@pytest.mark.parametrize(("power", "law"), [(1.0, dist.Laplace), (2.0, dist.Normal)])
def test_generalised_normal_holds_laplace_and_normal(power, law):
    z = torch.linspace(-4, 4, 17).double()
    scale = 0.7 if power == 1 else 0.7 / 2**0.5
    found = dist.GeneralizedNormal(0 * z, 0.7, power).log_prob(z)
    torch.testing.assert_close(found, law(0 * z, scale).log_prob(z))


def test_generalised_normal_of_a_large_power_is_a_box():
    d = dist.GeneralizedNormal(0.0, 1.0, 2000.0)
    torch.testing.assert_close(
        d.log_prob(torch.tensor([0.0, 0.9])), torch.full((2,), 0.5).log(), atol=1e-2, rtol=0
    )
    assert d.log_prob(torch.tensor(1.1)) < -1000
    box = scipy.stats.uniform(-1, 2)
    assert scipy.stats.kstest(d.sample((20_000,)).numpy(), box.cdf).pvalue > 1e-3
    x = torch.tensor([-0.9, -0.1, 0.3])
    np.testing.assert_allclose(d.cdf(x), box.cdf(x), atol=1e-3)
    np.testing.assert_allclose(d.icdf(d.cdf(x)), x, atol=1e-5)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0, 30.0])
def test_the_density_at_the_mode_has_finite_gradients(power):
    loc, scale, rho = (torch.tensor(v, requires_grad=True) for v in (0.0, 1.0, power))
    z = torch.zeros(3, requires_grad=True)
    dist.GeneralizedNormal(loc, scale, rho).log_prob(z).sum().backward()
    assert all(torch.isfinite(v.grad).all() for v in (z, loc, scale, rho))


@pytest.mark.parametrize(
    "make",
    [
        lambda s: dist.StudentT(3 * s, 0 * s, s),
        lambda s: dist.GeneralizedNormal(0 * s, s, 1.5),
        lambda s: dist.LpSpherical(s, 1.5, 2.5, dim=3),
        lambda s: dist.PowerSpherical(torch.nn.functional.normalize(torch.ones(3), dim=0), s),
    ],
)
def test_gamma_noise_is_drawn_under_vmap_and_can_be_replaced(make):
    members = torch.rand(4) + 0.5
    run = torch.vmap(lambda s: make(s).rsample((5,)), randomness="different")
    assert run(members).std(0).min() > 0
    with dist.replace_noise(
        lambda sampler, shape, *, dtype, device: torch.full(shape, 0.75, dtype=dtype)
    ):
        stacked = run(members)
        for i, s in enumerate(members):
            torch.testing.assert_close(stacked[i], make(s).rsample((5,)))
