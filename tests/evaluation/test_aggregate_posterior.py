"""The aggregate posterior as a distribution: density, draws, moments."""

import math

import pytest
import scipy.stats
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, StudentT

from disvae import distributions as dist
from disvae.evaluation import Aggregate, aggregate_posterior


def normals(size, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    loc, noise = torch.randn(2, size, dim, generator=generator, dtype=torch.float64)
    return loc, noise.abs() + 0.2


def parts(loc, scale, sizes, family=dist.Normal):
    return [
        Independent(family(m, s), 1)
        for m, s in zip(loc.split(sizes), scale.split(sizes), strict=True)
    ]


class TestDensity:
    @pytest.mark.parametrize("family", [dist.Normal, dist.Laplace])
    @pytest.mark.parametrize("sizes", [[9], [4, 5], [1] * 9])
    def test_is_that_of_the_mixture(self, family, sizes):
        loc, scale = normals(9, 3)
        exact = MixtureSameFamily(
            Categorical(torch.ones(9).double()), Independent(family(loc, scale), 1)
        )
        q = Aggregate(parts(loc, scale, sizes, family))
        z = 3 * torch.randn(7, 5, 3).double()
        torch.testing.assert_close(q.log_prob(z), exact.log_prob(z), rtol=0, atol=1e-10)
        assert (q.batch_shape, q.event_shape, q.size) == ((), (3,), 9)

        joint, each, groups = q.log_densities(z[0], ((2, 0), (1,)))
        torch.testing.assert_close(joint, exact.log_prob(z[0]), rtol=0, atol=1e-10)
        for found, dims in ((each, [[0], [1], [2]]), (groups, [[2, 0], [1]])):
            for column, some in zip(found.mT, dims, strict=True):
                alone = Aggregate(parts(loc[:, some], scale[:, some], sizes, family))
                expected = alone.log_prob(z[0][:, some])
                torch.testing.assert_close(column, expected, rtol=0, atol=1e-10)

    def test_of_dependent_normals(self):
        loc, _ = normals(6, 2)
        tril = torch.tensor([[1.0, 0.0], [-0.7, 0.5]]).double().expand(6, 2, 2)
        whole = dist.MultivariateNormal(loc, scale_tril=tril)
        q = Aggregate([dist.MultivariateNormal(loc[:4], scale_tril=tril[:4]),
                       dist.MultivariateNormal(loc[4:], scale_tril=tril[4:])])  # fmt: skip
        z = torch.randn(11, 2).double()
        expected = whole.log_prob(z[:, None]).logsumexp(1) - math.log(6)
        torch.testing.assert_close(q.log_prob(z), expected)
        torch.testing.assert_close(q.log_densities(z).joint, expected)

    @pytest.mark.parametrize("scale", [1e-4, 1e-7, 1e-12])
    def test_far_and_sharp(self, scale):
        """Against the squares of differences, where nothing cancels."""
        loc, _ = normals(300, 2)
        z = loc[:50] + scale * torch.randn(50, 2).double()
        z[-1] = 1e3
        q = Aggregate(parts(loc, torch.full_like(loc, scale), [300]))
        square = ((z[:, None] - loc) / scale).square().sum(-1)
        exact = (-0.5 * square).logsumexp(1) - math.log(300) - math.log(2 * math.pi * scale**2)
        torch.testing.assert_close(q.log_prob(z), exact, rtol=1e-9, atol=1e-5)
        torch.testing.assert_close(q.log_densities(z).joint, exact, rtol=1e-9, atol=1e-5)

    def test_many_points_go_in_pieces(self, monkeypatch):
        loc, scale = normals(9, 3)
        z = torch.randn(100, 3).double()
        for family in (dist.Normal, dist.Laplace):
            q = Aggregate(parts(loc, scale, [4, 5], family))
            whole = q.log_densities(z)
            with monkeypatch.context() as patch:
                patch.setattr("disvae.evaluation.aggregate._NUMBERS", 40)
                for one, two in zip(whole[:2], q.log_densities(z)[:2], strict=True):
                    torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
                torch.testing.assert_close(whole.joint, q.log_prob(z), rtol=0, atol=1e-10)


class TestDraws:
    def test_follow_the_mixture(self):
        loc, scale = torch.tensor([[-5.0], [0.0], [7.0]]), torch.tensor([[0.1], [1.0], [0.5]])
        q = Aggregate(parts(loc, scale, [1, 2]))
        z = q.sample((20_000,))
        assert z.shape == (20_000, 1)

        def cdf(t):
            each = (scipy.stats.norm(m, s).cdf(t) for m, s in zip(loc, scale, strict=True))
            return sum(each) / 3

        assert scipy.stats.kstest(z[:, 0].numpy(), cdf).pvalue > 1e-3

    @pytest.mark.parametrize("sizes", [[2], [1, 1]])
    def test_are_independent_of_one_another(self, sizes):
        """Neighbours come from different components, and one component gives different draws."""
        q = Aggregate(parts(torch.tensor([[-5.0], [5.0]]), torch.ones(2, 1), sizes))
        z = q.sample((20_000,))[:, 0]
        side = z.sign()
        assert abs((side[1:] * side[:-1]).mean()) < 4 / 20_000**0.5
        assert len(z.unique()) > 19_000

    def test_have_any_shape(self):
        q = Aggregate(parts(*normals(5, 3), [2, 3]))
        assert q.sample().shape == (3,)
        assert q.sample((4, 2)).shape == (4, 2, 3)


class TestMoments:
    def test_are_those_of_the_mixture(self):
        loc, scale = normals(9, 3)
        q = Aggregate(parts(loc, scale, [4, 5]))
        torch.testing.assert_close(q.mean, loc.mean(0))
        variance = scale.square().mean(0) + loc.var(0, correction=0)
        torch.testing.assert_close(q.variance, variance)

    def test_of_blocks_without_a_mean_are_sampled(self):
        logits = torch.tensor([[0.0, 5.0], [5.0, 0.0]])
        normal = Independent(dist.Normal(torch.tensor([[1.0], [2.0]]), 3.0), 1)
        q = Aggregate([dist.Joint([normal, dist.RelaxedCategorical(logits, 0.5)])])
        mean, variance = q.moments()
        assert mean[:, 0].tolist() == [1.0, 2.0]
        assert variance[:, 0].tolist() == [9.0, 9.0]
        exact = q.parts[0].blocks[1].sample((20_000,)).var(0)
        torch.testing.assert_close(variance[:, 1:], exact, rtol=0, atol=0.02)
        assert ((mean[:, 1:] - torch.tensor([[0.0, 1.0], [1.0, 0.0]])).abs() < 0.1).all()

    @pytest.mark.parametrize("dependent", [False, True])
    def test_a_moment_that_is_known_is_not_sampled(self, dependent):
        """Of a rotated mixture over vectors the variance alone has no closed form."""
        loc, scale = normals(9, 3)
        angle = torch.tensor([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]).double()
        base = Independent(dist.Laplace(loc, scale), 1)
        exact = 2 * scale.square() @ angle.square().T
        if dependent:
            base = dist.GaussianMixture(torch.zeros(9, 1), loc[:, None], scale[:, None])
            exact = exact / 2
        mean, variance = Aggregate([dist.pushforward(base, angle)]).moments()
        torch.testing.assert_close(mean, loc @ angle.T)
        torch.testing.assert_close(variance, exact, rtol=0.6 if dependent else 1e-12, atol=0)

    def test_of_shared_parameters(self):
        d = Independent(StudentT(5.0, torch.zeros(4, 2), 1.0), 1)
        assert Aggregate([d]).moments()[1].shape == (4, 2)


def test_of_a_model(random_table):
    table = random_table(11, 2, seed=1)
    q = aggregate_posterior(table.model, table.x, batch_size=4)
    z = torch.randn(5, 2).double()
    torch.testing.assert_close(q.log_prob(z), torch.from_numpy(table.log_aggregate(z.numpy())))


BAD = {
    "no parts": lambda q: Aggregate([]),
    "numbers": lambda q: Aggregate([dist.Normal(torch.zeros(3), 1.0)]),
    "no batch": lambda q: Aggregate([Independent(dist.Normal(torch.zeros(3), 1.0), 1)]),
    "two sizes": lambda q: Aggregate(parts(*normals(3, 2), [3]) + parts(*normals(3, 4), [3])),
    "points of another size": lambda q: q.log_prob(torch.zeros(5, 3)),
    "a number": lambda q: q.log_prob(torch.tensor(1.0)),
    "whole numbers": lambda q: q.log_prob(torch.zeros(5, 2).long()),
    "too many axes": lambda q: q.log_densities(torch.zeros(4, 5, 2)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_clear(name, is_clear):
    with pytest.raises((TypeError, ValueError)) as raised:
        BAD[name](Aggregate(parts(*normals(4, 2), [4])))
    is_clear(raised.value)
