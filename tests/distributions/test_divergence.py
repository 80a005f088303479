"""Closed forms agree with Monte Carlo, and the choice between the two never changes."""

import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import (
    Distribution,
    Independent,
    LogNormal,
    MultivariateNormal,
    StudentT,
    kl_divergence,
    register_kl,
)

from disvae import distributions as dist

FAMILIES = [dist.Normal, dist.Laplace]
locs = st.floats(-3, 3)
scales = st.floats(0.1, 3)


@pytest.mark.parametrize("q_family", FAMILIES)
@pytest.mark.parametrize("p_family", FAMILIES)
@given(locs, scales, locs, scales)
def test_closed_form_equals_monte_carlo(q_family, p_family, q_loc, q_scale, p_loc, p_scale):
    parameter = lambda v: torch.full((2,), v, dtype=torch.float64)  # noqa: E731
    q = Independent(q_family(parameter(q_loc), parameter(q_scale)), 1)
    p = Independent(p_family(parameter(p_loc), parameter(p_scale)), 1)
    assert dist.has_closed_form(q, p)
    z = q.sample((4000,))
    integrand = q.log_prob(z) - p.log_prob(z)
    error = integrand.std() / 4000**0.5
    assert (dist.kl(q, p) - integrand.mean()).abs() < 5 * error + 1e-9


def test_without_a_closed_form_it_is_the_integrand():
    q = Independent(dist.Normal(torch.zeros(4, 3), torch.ones(4, 3)), 1)
    p = Independent(StudentT(torch.tensor(4.0).expand(3)), 1)
    assert not dist.has_closed_form(q, p)
    z = q.rsample((5,))
    assert torch.equal(dist.kl(q, p, z), q.log_prob(z) - p.log_prob(z))
    assert dist.kl(q, p, z).shape == (5, 4)


def test_a_pair_that_is_closed_for_some_values_only_is_always_sampled():
    """torch registers transformed pairs, and raises when their transforms differ."""
    q, p = LogNormal(0.0, 1.0), LogNormal(1.0, 1.0)
    assert not dist.has_closed_form(q, p)
    z = q.sample((100_000,))
    torch.testing.assert_close(dist.kl(q, p, z).mean(), kl_divergence(q, p), atol=0.02, rtol=0)


def test_multivariate_posterior_against_a_factorised_prior():
    q = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    p = Independent(dist.Normal(torch.zeros(2), torch.ones(2)), 1)
    z = q.sample((100_000,))
    exact = -0.5 * torch.log(torch.tensor(0.75))
    torch.testing.assert_close(dist.kl(q, p, z).mean(), exact, atol=0.01, rtol=0)


def test_a_closed_form_of_ones_own_is_found():
    class Mine(Distribution):
        arg_constraints = {}  # noqa: RUF012

    @register_kl(Mine, Mine)
    def _closed(q, p):
        return torch.tensor(7.0)

    assert dist.kl(Mine(validate_args=False), Mine(validate_args=False)) == 7.0


def test_samples_are_asked_for():
    with pytest.raises(ValueError, match=r"pass z=q\.rsample"):
        dist.kl(dist.Normal(0.0, 1.0), StudentT(3.0))


def test_event_shapes_must_agree():
    one, two = (Independent(dist.Normal(torch.zeros(d), 1.0), 1) for d in (1, 2))
    with pytest.raises(ValueError, match="event shape"):
        dist.kl(one, two)


COLD_START = """
import torch
from torch.distributions import Independent, StudentT
from disvae import distributions as dist

def value(loc, z):
    q = Independent(dist.{q}(loc, torch.ones(4, 3), validate_args=False), 1, validate_args=False)
    p = Independent({p}(torch.full((3,), 2.0), torch.ones(3), validate_args=False), 1,
                    validate_args=False)
    return dist.kl(q, p, z)

loc, z = torch.randn(4, 3), torch.randn(5, 4, 3)
compiled = torch.compile(value, backend="eager", fullgraph=True)(loc, z)
assert compiled.shape == {shape}, compiled.shape
torch.testing.assert_close(compiled, value(loc, z))
"""


@pytest.mark.parametrize(
    ("q", "p", "shape"),
    [
        ("Normal", "dist.Normal", (4,)),
        ("Normal", "dist.Laplace", (4,)),
        ("Laplace", "dist.Normal", (4,)),
        ("Normal", "StudentT", (5, 4)),
    ],
)
def test_tracing_from_a_cold_start_takes_the_same_estimator(q, p, shape):
    script = textwrap.dedent(COLD_START.format(q=q, p=p, shape=shape))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
