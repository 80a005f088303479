"""Blocks side by side, relaxed categories, Lᵖ-spherical vectors, and points without a density."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, RelaxedOneHotCategorical

from disvae import distributions as dist


def normal(*loc):
    loc = torch.tensor(loc).double()
    return Independent(dist.Normal(loc, torch.ones_like(loc)), 1)


class TestJoint:
    def test_dimensions_go_where_they_are_told(self):
        d = dist.Joint([normal(0.0, 1.0), normal(10.0)], dims=[[2, 0], [1]])
        torch.testing.assert_close(d.mean, torch.tensor([1.0, 10.0, 0.0]).double())
        z = d.sample((50_000,))
        torch.testing.assert_close(z.mean(0), d.mean, atol=0.05, rtol=0)
        plain = normal(1.0, 10.0, 0.0)
        torch.testing.assert_close(d.log_prob(z), plain.log_prob(z))
        torch.testing.assert_close(dist.marginals(d).log_prob(z), plain.base_dist.log_prob(z))
        u = torch.tensor([0.1, 0.9]).double()
        torch.testing.assert_close(dist.quantile(d, u), dist.quantile(plain, u))
        torch.testing.assert_close(d.entropy(), plain.entropy())
        assert dist.is_factorised(d)

    def test_blocks_of_unequal_batch_shapes_broadcast(self):
        d = dist.Joint([normal(0.0), Independent(dist.Normal(torch.zeros(5, 2), 1.0), 1)])
        assert (d.batch_shape, d.event_shape) == ((5,), (3,))
        assert d.sample((2,)).shape == (2, 5, 3)
        assert d.log_prob(torch.zeros(3)).shape == (5,)

    def test_kl_is_the_sum_over_blocks_closed_where_one_is(self):
        q = dist.Joint([normal(1.0, 0.0), dist.RelaxedCategorical(torch.zeros(3).double(), 0.5)])
        p = dist.Joint([normal(0.0, 0.0), dist.RelaxedCategorical(torch.ones(3).double(), 1.0)])
        z = q.sample((5,))
        expected = 0.5 + q.blocks[1].log_prob(z[:, 2:]) - p.blocks[1].log_prob(z[:, 2:])
        torch.testing.assert_close(dist.kl(q, p, z), expected)
        assert not dist.has_closed_form(q, p)
        assert dist.has_closed_form(dist.Joint(q.blocks[:1]), dist.Joint(p.blocks[:1]))

    def test_kl_of_each_dimension_with_samples_where_a_block_needs_them(self):
        """The closed block has no sample axis, the other one has: both stand side by side."""
        heavy = Independent(dist.StudentT(torch.tensor([3.0]).double()), 1)
        q, p = dist.Joint([normal(1.0), normal(0.0)]), dist.Joint([normal(0.0), heavy])
        z = q.sample((5, 3))
        found = dist.kl(dist.marginals(q), dist.marginals(p), z)
        expected = q.blocks[1].log_prob(z[..., 1:]) - p.blocks[1].log_prob(z[..., 1:])
        torch.testing.assert_close(found[..., 0], torch.full((5, 3), 0.5).double())
        torch.testing.assert_close(found[..., 1], expected)

    def test_a_block_that_does_not_factorise_has_no_marginals(self):
        d = dist.Joint([normal(0.0), dist.RelaxedCategorical(torch.zeros(3).double(), 0.5)])
        assert not dist.is_factorised(d)
        with pytest.raises(ValueError, match="RelaxedCategorical has none"):
            dist.marginals(d)

    def test_point_is_taken_block_by_block(self):
        logits = torch.tensor([0.0, 3.0, 0.0]).double()
        d = dist.Joint([normal(7.0), dist.RelaxedCategorical(logits, 0.5)])
        assert dist.point(d).tolist() == [7.0, 0.0, 1.0, 0.0]


class TestRelaxedCategorical:
    @given(st.integers(2, 6), st.floats(0.3, 5), st.integers(0, 10**6))
    def test_density_is_torchs(self, categories, temperature, seed):
        g = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn(categories, generator=g, dtype=torch.float64)
        z = torch.randn(7, categories, generator=g, dtype=torch.float64).softmax(-1)
        theirs = RelaxedOneHotCategorical(torch.tensor(temperature).double(), logits=logits)
        torch.testing.assert_close(
            dist.RelaxedCategorical(logits, temperature).log_prob(z),
            theirs.log_prob(z),
            rtol=1e-6,
            atol=1e-6,
        )

    @pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
    def test_density_integrates_to_one_over_two_categories(self, temperature):
        # substituting the logit of z₁ makes the integrand smooth at the corners
        logit = torch.linspace(-80, 80, 400_001, dtype=torch.float64)
        z = torch.stack((logit.sigmoid(), (-logit).sigmoid()), dim=-1)
        d = dist.RelaxedCategorical(torch.tensor([0.3, -1.0]).double(), temperature)
        integrand = d.log_prob(z).exp() * z[:, 0] * z[:, 1]
        mass = torch.trapezoid(integrand, logit)
        torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-6, atol=0)

    @pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
    def test_the_largest_coordinate_is_the_category(self, temperature):
        probs = torch.tensor([0.5, 0.2, 0.3])
        z = dist.RelaxedCategorical(probs.log(), temperature).sample((50_000,))
        shares = torch.bincount(z.argmax(-1)) / 50_000
        torch.testing.assert_close(shares, probs, atol=0.01, rtol=0)
        torch.testing.assert_close(z.sum(-1), torch.ones(50_000))

    @pytest.mark.parametrize("temperature", [0.01, 0.5, 5.0])
    def test_one_hot_samples_keep_densities_and_gradients_finite(self, temperature):
        logits = torch.tensor([50.0, 0.0, -50.0], requires_grad=True)
        z = dist.RelaxedCategorical(logits, temperature).rsample((100,))
        value = dist.RelaxedCategorical(logits, temperature).log_prob(z)
        value = value - dist.RelaxedCategorical(torch.zeros(3), 1.0).log_prob(z)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()


class TestLpSpherical:
    @given(st.floats(0.6, 6), st.floats(0.2, 4), st.floats(0.2, 3))
    def test_one_dimension_is_a_generalised_normal_whatever_the_norm(self, p, q, scale):
        x = torch.linspace(-3, 3, 11).double()
        found = dist.LpSpherical(torch.tensor(scale, dtype=torch.float64), p, q, dim=1).log_prob(
            x[:, None]
        )
        np.testing.assert_allclose(found, scipy.stats.gennorm.logpdf(x, q, 0, scale), rtol=1e-7)

    def test_with_equal_powers_the_dimensions_are_independent(self):
        x = torch.randn(9, 4).double()
        found = dist.LpSpherical(torch.tensor(0.7).double(), 1.5, 1.5, dim=4).log_prob(x)
        each = dist.GeneralizedNormal(0 * x, 0.7, 1.5).log_prob(x)
        torch.testing.assert_close(found, each.sum(-1))

    @pytest.mark.parametrize(("p", "q"), [(1.0, 2.0), (2.0, 1.0), (3.0, 0.8), (2.2, 2.1)])
    def test_density_integrates_to_one_and_gives_the_variance(self, p, q):
        d = dist.LpSpherical(torch.tensor(0.8).double(), p, q, dim=2)
        # in polar coordinates, with the radius spaced by its logarithm
        log_r = torch.linspace(-14, 6, 2001, dtype=torch.float64)
        angle = torch.linspace(0, math.pi / 2, 1001, dtype=torch.float64)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        z = log_r.exp()[:, None, None] * direction
        weighted = d.log_prob(z).exp() * log_r.exp()[:, None] ** 2
        mass = 4 * torch.trapezoid(torch.trapezoid(weighted, angle, dim=1), log_r)
        torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-4, atol=0)
        square = weighted * z[..., 0].square()
        variance = 4 * torch.trapezoid(torch.trapezoid(square, angle, dim=1), log_r)
        torch.testing.assert_close(variance, d.variance[0], rtol=1e-3, atol=0)

    @pytest.mark.parametrize(("p", "q"), [(1.0, 2.0), (2.0, 1.0), (3.0, 4.0)])
    def test_samples_have_the_radius_and_direction(self, p, q):
        d = dist.LpSpherical(torch.tensor(0.8).double(), p, q, dim=3)
        z = d.sample((100_000,))
        torch.testing.assert_close(z.var(0), d.variance, rtol=0.03, atol=0)
        radius = torch.linalg.vector_norm(z / 0.8, p, dim=-1)
        law = scipy.stats.gamma(3 / q).cdf
        assert scipy.stats.kstest((radius**q)[:20_000].numpy(), law).pvalue > 1e-3
        # directions: equal to those of independent generalised normals
        g = dist.GeneralizedNormal(torch.zeros(20_000, 3).double(), 1.0, p).sample()
        expected = g[:, 0] / torch.linalg.vector_norm(g, p, dim=-1)
        found = (z[:, 0] / 0.8 / radius)[:20_000]
        assert scipy.stats.ks_2samp(found.numpy(), expected.numpy()).pvalue > 1e-3

    def test_the_density_at_the_origin_has_a_finite_gradient(self):
        scale = torch.tensor(1.0, requires_grad=True)
        z = torch.zeros(3, requires_grad=True)
        dist.LpSpherical(scale, 2.2, 0.9, dim=3).log_prob(z).backward()
        assert torch.isfinite(z.grad).all()
        assert torch.isfinite(scale.grad)


@pytest.mark.parametrize(("p", "q"), [(100.0, 2.0), (4.0, 1.0), (2.0, 1.0), (1.0, 0.5)])
@pytest.mark.parametrize("size", [1e-25, 1e-12, 1.0, 3.0, 1e10])
def test_lp_norms_neither_overflow_nor_lose_their_gradient(p, q, size):
    z = (torch.tensor([1.0, 0.5]) * size).requires_grad_()
    found = dist.LpSpherical(torch.tensor(1.0), p, q, dim=2).log_prob(z)
    exact = dist.LpSpherical(torch.tensor(1.0).double(), p, q, dim=2).log_prob(z.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    found.backward()
    assert torch.isfinite(z.grad).all()


def test_a_joint_hands_a_block_the_tensor_that_it_gave():
    """A flow knows the density of its last sample, and of no copy of it."""

    class Remembers(dist.Delta):
        def rsample(self, sample_shape=()):
            self.last = super().rsample(sample_shape)
            return self.last

        def log_prob(self, value):
            return (value is self.last) * torch.ones(4)

    d = dist.Joint([Remembers(torch.zeros(4, 2)), normal(0.0)])
    z = d.rsample()
    torch.testing.assert_close(d.blocks[0].log_prob(d.split(z)[0]), torch.ones(4))
    torch.testing.assert_close(d.blocks[0].log_prob(d.split(z.clone())[0]), torch.zeros(4))


class TestDelta:
    def test_samples_are_the_vector_with_its_gradient(self):
        value = torch.randn(4, 2, requires_grad=True)
        z = dist.Delta(value).rsample((3,))
        assert torch.equal(z, value.expand(3, 4, 2))
        z.sum().backward()
        assert (value.grad == 3).all()

    def test_there_is_no_density_and_no_kl(self):
        q = dist.Delta(torch.zeros(4, 2))
        p = Independent(dist.Normal(torch.zeros(2), torch.ones(2)), 1)
        for ask in (lambda: q.log_prob(q.mean), lambda: dist.kl(q, p, q.mean)):
            with pytest.raises(ValueError, match=r"objectives\.Autoencoder"):
                ask()


REAL, SPHERE = normal(0.0, 0.0), dist.HypersphericalUniform(2)
SIMPLEX = dist.RelaxedCategorical(torch.zeros(2).double(), 1.0)
BOX = Independent(torch.distributions.Uniform(-torch.ones(2), torch.ones(2)), 1)
HEAVY = Independent(dist.StudentT(torch.full((2,), 3.0)), 1)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (REAL, SPHERE),
        (REAL, SIMPLEX),
        (HEAVY, BOX),
        (SPHERE, REAL),
        (SIMPLEX, REAL),
        (SIMPLEX, SPHERE),
        (dist.Joint([REAL, SIMPLEX]), dist.Joint([SIMPLEX, REAL])),
        (dist.Joint([REAL, SIMPLEX]), normal(0.0, 0.0, 0.0, 0.0)),
        (dist.Joint([SIMPLEX, SIMPLEX]), dist.RelaxedCategorical(torch.zeros(4).double(), 1.0)),
    ],
)
def test_a_divergence_infinite_by_support_is_refused(q, p):
    z = q.sample()
    for analytic in (True, False):
        with pytest.raises(ValueError, match=r"is infinite, for .*objectives\.Autoencoder"):
            dist.kl(q, p, z, analytic=analytic)
    if p is BOX:  # its samples can be weighed all the same
        assert torch.isfinite(dist.log_ratio(q, p, 0 * z)).all()
        return
    with pytest.raises(ValueError, match="is infinite"):
        dist.log_ratio(q, p, z)


def test_equal_supports_in_other_blocks_are_not():
    q = dist.Joint([normal(0.0), normal(0.0), SIMPLEX])
    p = dist.Joint([REAL, SIMPLEX])
    z = q.sample()
    torch.testing.assert_close(dist.kl(q, p, z), q.log_prob(z) - p.log_prob(z))
