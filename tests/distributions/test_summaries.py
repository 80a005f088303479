"""point, quantile and marginals, on distributions with and without closed forms."""

import numpy as np
import pytest
import scipy.stats
import torch
import zuko
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    RelaxedOneHotCategorical,
    StudentT,
)

from disvae import distributions as dist


def student(df):
    return Independent(StudentT(torch.tensor(df), torch.tensor([1.0, -1.0]), 2.0), 1)


def mixture():
    """Two components, in 2 dimensions, with unequal weights."""
    loc = torch.tensor([[-2.0, 0.0], [1.0, 3.0]])
    component = Independent(dist.Normal(loc, torch.tensor([[0.5, 1.0], [1.0, 0.2]])), 1)
    return MixtureSameFamily(Categorical(probs=torch.tensor([0.3, 0.7])), component)


def flow():
    return zuko.flows.NSF(features=2, transforms=1, hidden_features=(8,))()


def relaxed():
    return RelaxedOneHotCategorical(torch.tensor(0.5), probs=torch.tensor([0.2, 0.3, 0.5]))


EVERYTHING = {
    "normal": lambda: Independent(dist.Normal(torch.zeros(2), torch.ones(2)), 1),
    "student": lambda: student(3.0),
    "mixture": mixture,
    "flow": flow,
    "relaxed": relaxed,
    "multivariate": lambda: MultivariateNormal(torch.zeros(2), torch.eye(2)),
    "categorical": lambda: Categorical(probs=torch.tensor([0.2, 0.5, 0.3])),
}


class TestPoint:
    def test_is_the_mean_where_there_is_one(self):
        torch.testing.assert_close(dist.point(student(3.0)), torch.tensor([1.0, -1.0]))
        torch.testing.assert_close(dist.point(mixture()), torch.tensor([0.3 * -2 + 0.7, 0.7 * 3.0]))

    def test_is_the_mode_of_a_categorical(self):
        assert dist.point(Categorical(logits=torch.tensor([[0.0, 3.0], [1.0, 0.0]]))).tolist() == [
            1,
            0,
        ]

    def test_is_estimated_for_a_flow_and_a_relaxed_categorical(self):
        for d in (flow(), relaxed()):
            samples = d.sample((20_000,))
            error = samples.std(0) / 256**0.5
            assert ((dist.point(d) - samples.mean(0)).abs() < 5 * error).all()

    def test_only_undefined_means_are_estimated(self):
        """A Student-t with df ≤ 1 has no mean; its neighbour with df 5 keeps the exact one."""
        d = Independent(StudentT(torch.tensor([0.9, 5.0]), torch.tensor([0.0, 2.0]), 1.0), 1)
        estimate = dist.point(d)
        assert torch.isfinite(estimate).all()
        assert estimate[1] == 2.0

    def test_gradient_reaches_the_parameters_of_a_flow(self):
        net = zuko.flows.MAF(features=2, transforms=1, hidden_features=(8,))
        dist.point(net()).sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())

    @pytest.mark.parametrize("name", EVERYTHING)
    def test_is_deterministic_and_leaves_the_generator_alone(self, name):
        d = EVERYTHING[name]()
        state = torch.get_rng_state()
        first = dist.point(d)
        assert torch.equal(state, torch.get_rng_state())
        torch.rand(7)
        assert torch.equal(first, dist.point(d))


class TestQuantile:
    u = torch.tensor([0.01, 0.3, 0.5, 0.99])

    @pytest.mark.parametrize(
        ("family", "law"), [(dist.Normal, scipy.stats.norm), (dist.Laplace, scipy.stats.laplace)]
    )
    def test_closed_form_is_scipys(self, family, law):
        loc, scale = torch.tensor([0.0, 2.0]).double(), torch.tensor([1.0, 0.3]).double()
        found = dist.quantile(Independent(family(loc, scale), 1), self.u.double())
        expected = law.ppf(self.u.double()[:, None], loc, scale)
        np.testing.assert_allclose(found, expected, rtol=1e-10)

    def test_multivariate_normal_uses_its_marginals(self):
        covariance = torch.tensor([[4.0, 0.6], [0.6, 0.25]])
        found = dist.quantile(MultivariateNormal(torch.zeros(2), covariance), 0.975)
        torch.testing.assert_close(found, torch.tensor([2.0, 0.5]) * 1.959964)

    def test_student_t_is_near_scipys(self):
        found = dist.quantile(student(3.0), [0.1, 0.5, 0.9])
        expected = scipy.stats.t.ppf(np.array([[0.1], [0.5], [0.9]]), 3, [1, -1], 2)
        np.testing.assert_allclose(found, expected, atol=0.2)

    def test_mixture_is_near_the_inverse_of_its_cdf(self):
        found = dist.quantile(mixture(), [0.1, 0.9])
        back = dist.marginals(mixture()).cdf(found)
        torch.testing.assert_close(back, torch.tensor([[0.1] * 2, [0.9] * 2]), atol=0.02, rtol=0)

    @pytest.mark.parametrize("name", ["flow", "relaxed"])
    def test_sampled_quantiles_leave_the_right_fraction_below(self, name):
        d = EVERYTHING[name]()
        below = (d.sample((20_000,)) < dist.quantile(d, 0.25)).double().mean(0)
        torch.testing.assert_close(below, torch.full_like(below, 0.25), atol=0.02, rtol=0)

    def test_leads_with_the_shape_of_the_probabilities(self):
        d = Independent(dist.Normal(torch.zeros(5, 2), torch.ones(5, 2)), 1)
        assert dist.quantile(d, torch.full((3, 4), 0.5)).shape == (3, 4, 5, 2)
        assert dist.quantile(d, 0.5).shape == (5, 2)
        assert dist.quantile(flow(), torch.full((3, 4), 0.5)).shape == (3, 4, 2)

    @pytest.mark.parametrize("u", [0.0, 1.0, -0.1, float("nan"), []])
    def test_refuses_what_is_no_probability(self, u):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            dist.quantile(dist.Normal(0.0, 1.0), u)

    @pytest.mark.parametrize("name", ["student", "flow"])
    def test_is_deterministic_and_leaves_the_generator_alone(self, name):
        d = EVERYTHING[name]()
        state = torch.get_rng_state()
        assert torch.equal(dist.quantile(d, 0.1), dist.quantile(d, 0.1))
        assert torch.equal(state, torch.get_rng_state())


class TestMarginals:
    def test_of_a_factorised_distribution_sum_to_the_joint(self):
        d, z = student(3.0), torch.randn(7, 2)
        torch.testing.assert_close(dist.marginals(d).log_prob(z).sum(-1), d.log_prob(z))
        assert dist.is_factorised(d)

    def test_of_a_multivariate_normal(self):
        covariance = torch.tensor([[4.0, 0.6], [0.6, 0.25]])
        d = dist.marginals(MultivariateNormal(torch.tensor([1.0, 2.0]), covariance))
        torch.testing.assert_close(d.stddev, torch.tensor([2.0, 0.5]))
        assert not dist.is_factorised(MultivariateNormal(torch.zeros(2), covariance))

    def test_of_a_mixture_is_the_joint_integrated_over_the_other_dimension(self):
        other = torch.linspace(-8, 8, 4001).double()
        z = torch.tensor([-1.5, 0.5, 2.5])
        found = dist.marginals(mixture()).log_prob(z[:, None])
        for d in range(2):
            points = torch.empty(3, len(other), 2).double()
            points[..., d], points[..., 1 - d] = z[:, None].double(), other
            density = torch.trapezoid(mixture().log_prob(points.float()).double().exp(), other)
            torch.testing.assert_close(found[:, d].double(), density.log(), atol=1e-4, rtol=1e-4)

    def test_of_a_batch_of_mixtures(self):
        component = Independent(dist.Laplace(torch.randn(6, 4, 3), torch.rand(6, 4, 3) + 0.1), 1)
        d = MixtureSameFamily(Categorical(logits=torch.randn(6, 4)), component)
        found = dist.marginals(d)
        assert found.batch_shape == (6, 3)
        torch.testing.assert_close(found.mean, d.mean)
        torch.testing.assert_close(found.variance, d.variance)

    @pytest.mark.parametrize("name", ["flow", "relaxed"])
    def test_says_so_where_there_are_none(self, name):
        with pytest.raises(ValueError, match="has none in closed form"):
            dist.marginals(EVERYTHING[name]())
