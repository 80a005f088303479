"""Normals with dependent dimensions: the noise they draw, and every closed KL there is."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent

from disvae import distributions as dist

D = 3
SAMPLES = 10_000


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(g, *shape):
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def full(g, batch=()):
    tril = draw(g, *batch, D, D).tril(-1) + torch.diag_embed(draw(g, *batch, D).exp())
    return dist.MultivariateNormal(draw(g, *batch, D), scale_tril=tril)


def low_rank(g, batch=()):
    return dist.LowRankMultivariateNormal(
        draw(g, *batch, D), draw(g, *batch, D, 2), draw(g, *batch, D).exp()
    )


def factorised(family):
    def make(g, batch=()):
        return Independent(family(draw(g, *batch, D), draw(g, *batch, D).exp()), 1)

    return make


normal, laplace = factorised(dist.Normal), factorised(dist.Laplace)
student_t = factorised(lambda loc, scale: dist.StudentT(4.5 + scale, loc, scale))
generalised = factorised(lambda loc, scale: dist.GeneralizedNormal(loc, scale, 0.7 + loc.abs()))


def spherical(g, batch=()):
    return dist.PowerSpherical(F.normalize(draw(g, *batch, D), dim=-1), draw(g, *batch).exp())


def uniform(g, batch=()):
    return dist.HypersphericalUniform(D, batch, torch.float64)


def joint(g, batch=()):
    return dist.Joint([full(g, batch), laplace(g, batch)], dims=[[4, 0, 2], [1, 3, 5]])


CLOSED = [
    (normal, normal),
    (normal, laplace),
    (laplace, normal),
    (laplace, laplace),
    (full, full),
    (full, normal),
    (normal, full),
    (full, low_rank),
    (low_rank, full),
    (low_rank, low_rank),
    (low_rank, normal),
    (normal, low_rank),
    (student_t, normal),
    (generalised, normal),
    (spherical, uniform),
    (joint, joint),
]


@pytest.mark.parametrize("pair", CLOSED, ids=lambda f: f"{f[0].__qualname__} {f[1].__qualname__}")
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), batched=st.booleans())
def test_every_closed_kl_equals_monte_carlo_within_four_standard_errors(pair, seed, batched):
    g = generator(seed)
    q, p = pair[0](g, (2,)), pair[1](g, (2,) if batched else ())
    assert dist.has_closed_form(q, p)
    torch.manual_seed(seed)
    z = q.sample((SAMPLES,))
    integrand = q.log_prob(z) - p.log_prob(z)
    found = dist.kl(q, p)
    assert found.shape == (2,)
    error = integrand.std(0) / SAMPLES**0.5
    assert ((found - integrand.mean(0)).abs() < 4 * error + 1e-9).all()


@pytest.mark.parametrize("make", [normal, full, low_rank])
def test_a_distribution_is_at_distance_zero_from_itself(make):
    q = make(generator(0), (4,))
    torch.testing.assert_close(dist.kl(q, q), torch.zeros(4).double(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("p", [full, low_rank])
def test_dependent_and_factorised_forms_of_one_normal_agree(p):
    """The closed form of factorised normals, reached through both dependent ones."""
    g = generator(1)
    q, reference = normal(g, (4,)), normal(g)
    scale = reference.base_dist.scale
    same = {
        full: dist.MultivariateNormal(reference.mean, scale_tril=torch.diag(scale)),
        low_rank: dist.LowRankMultivariateNormal(
            reference.mean, torch.zeros(D, 1).double(), scale.square()
        ),
    }[p]
    torch.testing.assert_close(dist.kl(q, same), dist.kl(q, reference))
    torch.testing.assert_close(dist.kl(same, q), dist.kl(reference.expand((4,)), q))


@pytest.mark.parametrize("sigma", [1.0, 1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("rank", [1, 3, 12])
def test_low_rank_densities_keep_their_digits_in_float32(sigma, rank):
    """Woodbury's formula, that of torch, is off by ten nats at 1e-3, or fails to factorise."""
    g = generator(4)
    loc, factor = draw(g, 5, 10), draw(g, 5, 10, rank)
    scale = sigma * (0.5 + draw(g, 5, 10).sigmoid())
    single = dist.LowRankMultivariateNormal(*(v.float() for v in (loc, factor, scale.square())))
    z = single.sample((20,))
    exact = torch.distributions.MultivariateNormal(
        single.loc.double(),
        single.cov_factor.double() @ single.cov_factor.double().mT
        + torch.diag_embed(single.cov_diag.double()),
    )
    expected = exact.log_prob(z.double())
    # what the rounding of z itself makes of it: one part in 10⁷ of the distance in scales
    allowed = 1e-3 + 3e-6 / sigma
    assert ((single.log_prob(z) - expected).abs() < allowed).all()
    torch.testing.assert_close(single.entropy().double(), exact.entropy(), rtol=1e-5, atol=1e-4)


def test_densities_with_dependent_dimensions_are_torchs():
    g = generator(5)
    q = low_rank(g, (4,))
    theirs = torch.distributions.LowRankMultivariateNormal(q.loc, q.cov_factor, q.cov_diag)
    z = draw(g, 6, 4, D)
    torch.testing.assert_close(q.log_prob(z), theirs.log_prob(z))
    torch.testing.assert_close(q.entropy(), theirs.entropy())
    torch.testing.assert_close(q.variance, theirs.variance)
    # and they are taken where they are given
    p = normal(g)
    torch.testing.assert_close(dist.kl(theirs, p), dist.kl(q, p))
    torch.testing.assert_close(dist.kl(p.expand((4,)), theirs), dist.kl(p.expand((4,)), q))
    torch.testing.assert_close(dist.kl(theirs, full(generator(6))), dist.kl(q, full(generator(6))))


@pytest.mark.parametrize("make", [full, low_rank])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_samples_have_the_covariance(make, batch):
    d = make(generator(2), batch)
    z = d.rsample((100_000,))
    centred = z - d.mean
    covariance = torch.einsum("s...i,s...j->...ij", centred, centred) / len(z)
    torch.testing.assert_close(covariance, d.covariance_matrix, rtol=0.05, atol=0.05)
    torch.testing.assert_close(z.mean(0), d.mean, rtol=0, atol=0.05)


@pytest.mark.parametrize("make", [full, low_rank])
def test_noise_can_be_replaced_and_no_gradient_is_kept_by_sample(make):
    d = make(generator(3), (2,))
    d.loc.requires_grad_()
    zero = lambda sampler, shape, *, dtype, device: torch.zeros(shape, dtype=dtype)  # noqa: E731
    with dist.replace_noise(zero):
        torch.testing.assert_close(d.rsample((4,)), d.loc.expand(4, 2, D))
    assert d.rsample().requires_grad
    assert not d.sample().requires_grad


def test_student_t_without_a_variance_is_infinitely_far_from_a_normal():
    q = Independent(dist.StudentT(torch.tensor([2.0, 0.5]), 0.0, 1.0), 0)
    assert (dist.kl(q, Independent(dist.Normal(torch.zeros(2), 1.0), 0)) == torch.inf).all()
