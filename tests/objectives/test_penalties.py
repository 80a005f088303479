"""Penalties, capacities and supervised terms against exact values."""

import itertools
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Independent, MultivariateNormal

from disvae import VAE, TrainStep, VAEOutput, decoders, encoders, likelihoods, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import BetaVAE, CapacityVAE, WeightedSum, schedules, terms

B, D = 10, 3


def normal(loc, scale):
    return Independent(dist.Normal(loc, scale), 1)


def pass_of(posterior, z=None, prior=None, likelihood=None, x=None, labels=None):
    """A pass in which only what is given matters."""
    z = posterior.rsample() if z is None else z
    prior = prior or normal(torch.zeros(D).double(), torch.ones(D).double())
    if likelihood is None:
        likelihood = normal(torch.zeros(*z.shape[:-1], 2).double(), torch.tensor(1.0))
    x = torch.zeros(z.shape[-2], 2).double() if x is None else x
    return VAEOutput(x, z, posterior, prior, likelihood, labels=labels)


def diagonal(batch=B, scale=None):
    loc = torch.randn(batch, D).double().requires_grad_()
    scale = torch.rand(batch, D).double() + 0.2 if scale is None else torch.full_like(loc, scale)
    return normal(loc, scale)


def full(batch=B):
    factor = torch.tril(torch.randn(batch, D, D)).double()
    covariance = factor @ factor.mT + 0.2 * torch.eye(D)
    return MultivariateNormal(torch.randn(batch, D).double(), covariance)


class TestOptimalSigma:
    def reconstruction(self, error=0.3, shape=(4, B, 5)):
        x = torch.randn(shape[-2:]).double()
        mean = (x + error * torch.randn(shape)).double().requires_grad_()
        likelihood = normal(mean, torch.tensor(7.0).double())  # whose scale is not used
        return pass_of(diagonal(shape[-2]), likelihood=likelihood, x=x), mean

    def test_it_is_the_least_negative_log_likelihood_of_any_scale(self):
        out, mean = self.reconstruction()
        value = terms.OptimalSigmaReconstruction()(out)
        best = (out.x - mean).square().mean().sqrt()

        def at(scale):
            return -normal(mean, scale).log_prob(out.x).mean()

        torch.testing.assert_close(value, at(best), rtol=1e-12, atol=0)
        assert all(at(best * factor) > value for factor in (0.5, 0.99, 1.01, 2.0))

    def test_its_gradient_is_that_at_the_best_scale_held_fixed(self):
        out, mean = self.reconstruction()
        best = (out.x - mean).square().mean().sqrt().detach()
        expected = torch.autograd.grad(-normal(mean, best).log_prob(out.x).mean(), mean)[0]
        found = torch.autograd.grad(terms.OptimalSigmaReconstruction()(out), mean)[0]
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)

    @pytest.mark.parametrize("error", [0.0, 1e-6])
    def test_below_the_smallest_scale_it_is_finite_and_still_lowers_the_error(self, error):
        out, mean = self.reconstruction(error)
        value = terms.OptimalSigmaReconstruction()(out)
        expected = -normal(mean, torch.tensor(1e-4, dtype=torch.float64)).log_prob(out.x).mean()
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        gradient = torch.autograd.grad(value, mean)[0]
        direction = torch.autograd.grad(expected, mean)[0]
        torch.testing.assert_close(gradient, direction)

    def test_a_likelihood_without_a_mean_is_refused(self):
        likelihood = dist.Categorical(logits=torch.zeros(B, 4))
        with pytest.raises(ValueError, match="Expected a likelihood with a mean"):
            terms.OptimalSigmaReconstruction()(pass_of(diagonal(), likelihood=likelihood))

    @pytest.mark.parametrize("minimum", [0.0, -1.0, math.inf, "small"])
    def test_a_minimum_that_is_no_scale_is_refused(self, minimum):
        with pytest.raises(ValueError, match="Expected minimum to be a positive"):
            terms.OptimalSigmaReconstruction(minimum=minimum)


def kl_of_each(q):
    """KL(q(z_d|x) ‖ N(0, 1)) written out."""
    mean, scale = q.base_dist.loc, q.base_dist.scale
    return 0.5 * (mean**2 + scale**2 - 1) - scale.log()


class TestFreeBits:
    def test_the_mean_comes_before_the_maximum_and_the_sum_after(self):
        q = diagonal()
        each = kl_of_each(q).mean(0)
        threshold = each.sort().values[1].item() + 1e-3  # two dimensions below, one above
        found = terms.FreeBits(threshold)(pass_of(q))
        torch.testing.assert_close(found, 2 * threshold + each.max())
        assert found < kl_of_each(q).clamp(min=threshold).mean(0).sum() - 1e-3

    def test_only_dimensions_above_the_threshold_get_a_gradient(self):
        q = diagonal()
        each = kl_of_each(q).mean(0)
        value = terms.FreeBits(each.sort().values[1].item() + 1e-3)(pass_of(q))
        moved = (torch.autograd.grad(value, q.base_dist.loc)[0] != 0).any(0)
        assert moved.tolist() == (each == each.max()).tolist()

    def test_without_threshold_it_is_the_kl(self):
        q = diagonal()
        torch.testing.assert_close(terms.FreeBits(0.0)(pass_of(q)), terms.KL()(pass_of(q)).mean())

    def test_a_group_shares_a_threshold(self):
        loc = torch.tensor([0.1, 1.0, 2.0]).double().expand(B, D)
        q = normal(loc, torch.ones(B, D).double())  # 0.005, 0.5 and 2 nats
        found = terms.FreeBits(0.1, groups=[(2, 1), (0,)])(pass_of(q))
        assert found.item() == pytest.approx(2.5 + 0.1)

    @pytest.mark.parametrize("make", [diagonal, full])
    @pytest.mark.parametrize("threshold", [0.1, 100.0])
    def test_joint_clips_the_whole_kl_of_any_posterior(self, make, threshold):
        q = make()
        out = pass_of(q, prior=normal(torch.zeros(D).double(), torch.ones(D).double()))
        expected = max(threshold, terms.KL()(out).mean().item())
        assert terms.FreeBits(threshold, joint=True)(out).item() == pytest.approx(expected)

    def test_pairs_without_a_closed_form_use_the_samples(self):
        q = diagonal()
        p = Independent(dist.StudentT(torch.full((D,), 5.0).double()), 1)
        z = q.rsample((6,))
        each = dist.marginals(q).log_prob(z) - dist.marginals(p).log_prob(z)
        found = terms.FreeBits(0.3)(pass_of(q, z, prior=p))
        torch.testing.assert_close(found, each.mean((0, 1)).clamp(min=0.3).sum())

    def test_the_threshold_may_follow_a_schedule(self):
        term = terms.FreeBits(schedules.Linear(0.0, 50.0, steps=10))
        out = pass_of(diagonal())
        assert term(out, 10).item() == pytest.approx(150.0)
        assert term(out, torch.tensor(5)).item() == pytest.approx(75.0)
        assert term(out).item() == pytest.approx(150.0)

    def test_dependent_dimensions_are_refused_in_one_sentence(self):
        with pytest.raises(ValueError, match=r"posterior with independent dimensions.*joint=True"):
            terms.FreeBits(0.1)(pass_of(full()))
        mixture = dist.GaussianMixture(
            torch.zeros(2).double(), torch.randn(2, D).double(), torch.ones(2, D).double()
        )
        with pytest.raises(ValueError, match=r"prior with independent dimensions.*joint=True"):
            terms.FreeBits(0.1)(pass_of(diagonal(), prior=mixture))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"threshold": -1.0}, "Expected threshold to be finite and at least 0"),
            ({"threshold": schedules.Linear}, "Expected threshold to be a number or a schedule"),
            ({"threshold": 1.0, "groups": [(0,)], "joint": True}, "but got both"),
            (
                {"threshold": 1.0, "groups": [(0, 1), (1,)]},
                "from 0 up exactly once",
            ),
            ({"threshold": 1.0, "groups": [(0, 2)]}, "from 0 up exactly once"),
            (
                {"threshold": 1.0, "groups": [(0,), ()]},
                "from 0 up exactly once",
            ),
        ],
    )
    def test_bad_arguments_are_refused(self, arguments, message):
        with pytest.raises((ValueError, TypeError), match=message):
            terms.FreeBits(**arguments)

    def test_groups_of_other_dimensions_are_refused(self):
        with pytest.raises(ValueError, match="groups that cover the 3 latent dimensions"):
            terms.FreeBits(1.0, groups=[(0, 1)])(pass_of(diagonal()))


def joint_pass(batch=B, sample_shape=()):
    logits = torch.randn(batch, 4).double()
    q = dist.Joint([diagonal(batch), dist.RelaxedCategorical(logits, 0.5)])
    p = dist.Joint(
        [
            normal(torch.zeros(D).double(), torch.ones(D).double()),
            dist.RelaxedCategorical(torch.zeros(4).double(), 0.5),
        ]
    )
    return pass_of(q, q.rsample(sample_shape), prior=p)


class TestCapacity:
    def test_the_mean_is_inside_the_absolute_value(self):
        q = diagonal()
        each = kl_of_each(q).sum(-1)
        target = each.mean().item()
        assert terms.Capacity(target)(pass_of(q)).item() == pytest.approx(0.0, abs=1e-12)
        assert (each - target).abs().mean() > 0.1
        assert terms.Capacity(target + 2)(pass_of(q)).item() == pytest.approx(2.0)

    @pytest.mark.parametrize(("target", "sign"), [(0.0, 1), (1000.0, -1)])
    def test_the_kl_is_pushed_to_the_target_from_both_sides(self, target, sign):
        q = diagonal()
        of_kl = torch.autograd.grad(kl_of_each(q).sum(-1).mean(), q.base_dist.loc)[0]
        found = torch.autograd.grad(terms.Capacity(target)(pass_of(q)), q.base_dist.loc)[0]
        torch.testing.assert_close(found, sign * of_kl)

    def test_the_target_follows_a_schedule(self):
        q = diagonal()
        term, kl = terms.Capacity(schedules.Linear(0.0, 80.0, 10)), kl_of_each(q).sum(-1).mean()
        for step, target in ((0, 0.0), (torch.tensor(5), 40.0), (None, 80.0)):
            torch.testing.assert_close(term(pass_of(q), step), (kl - target).abs())

    def test_blocks_count_alone_and_together(self):
        out = joint_pass()
        first = terms.KL()(pass_of(out.posterior.blocks[0])).mean()
        of_blocks = [terms.Capacity(0.0, blocks=b)(out) for b in ([0], [1], [0, 1])]
        torch.testing.assert_close(of_blocks[0], first)
        torch.testing.assert_close(of_blocks[2], terms.KL()(out).mean())
        torch.testing.assert_close(of_blocks[0] + of_blocks[1], of_blocks[2])

    def test_categories_are_compared_in_closed_form(self):
        out = joint_pass()
        probs = out.posterior.blocks[1].probs
        expected = (probs * (probs * 4).log()).sum(-1).mean()
        found = terms.Capacity(0.0, blocks=[1], categories=True)(out)
        torch.testing.assert_close(found, expected)
        whole = terms.Capacity(0.0, categories=True)(out)
        torch.testing.assert_close(whole, expected + terms.Capacity(0.0, blocks=[0])(out))
        # a lower bound of the relaxed densities' divergence, by the data processing inequality
        many = joint_pass(sample_shape=(4000,))
        relaxed = terms.Capacity(0.0, blocks=[1])(many)
        assert relaxed > terms.Capacity(0.0, blocks=[1], categories=True)(many)

    def test_bad_blocks_are_refused(self):
        with pytest.raises(ValueError, match="joint distributions of the same blocks"):
            terms.Capacity(1.0, blocks=[0])(pass_of(diagonal()))
        with pytest.raises(ValueError, match="numbers of blocks below 2"):
            terms.Capacity(1.0, blocks=[2])(joint_pass())
        with pytest.raises(ValueError, match="each once"):
            terms.Capacity(1.0, blocks=[0, 0])
        with pytest.raises(ValueError, match="each once"):
            terms.Capacity(1.0, blocks=[])
        with pytest.raises(ValueError, match="target to be finite"):
            terms.Capacity(math.nan)


def with_mean_covariance(covariance, batch=B):
    """Means whose covariance over the batch (divided by B) is exactly the one given."""
    raw = torch.randn(batch, D).double()
    raw = raw - raw.mean(0)
    whitened = raw @ torch.linalg.inv(torch.linalg.cholesky(raw.T @ raw / batch)).T
    return whitened @ torch.linalg.cholesky(covariance).T + torch.randn(D).double()


class TestCovariancePenalty:
    def test_an_aggregate_of_unit_covariance_costs_nothing(self):
        """torch.diag of a (B, D) matrix takes the wrong entries: 1.5 where the truth is 0."""
        mean_scale = torch.rand(B, D).double()
        mean_scale = mean_scale / mean_scale.square().mean(0).sqrt() * 0.8
        loc = with_mean_covariance(0.36 * torch.eye(D).double())
        assert terms.CovariancePenalty("II")(pass_of(normal(loc, mean_scale))) < 1e-24
        assert terms.CovariancePenalty("I")(pass_of(normal(loc, mean_scale))) > 1.0
        loc = with_mean_covariance(torch.eye(D).double())
        assert terms.CovariancePenalty("I")(pass_of(normal(loc, mean_scale))) < 1e-24

    def test_a_known_covariance_costs_its_squares(self):
        covariance = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.25]]).double()
        q = normal(with_mean_covariance(covariance), torch.full((B, D), 0.5).double())
        found = terms.CovariancePenalty("I", off_diagonal=3.0, diagonal=5.0)(pass_of(q))
        expected = 3 * 2 * (0.25 + 0.09) + 5 * (1 + 0 + 0.5625)
        assert found.item() == pytest.approx(expected)
        found = terms.CovariancePenalty("II", off_diagonal=3.0, diagonal=5.0)(pass_of(q))
        expected = 3 * 2 * (0.25 + 0.09) + 5 * (1.25**2 + 0.25**2 + 0.5**2)
        assert found.item() == pytest.approx(expected)

    @pytest.mark.parametrize(
        "make",
        [
            full,
            lambda: dist.Joint(
                [normal(torch.randn(B, 1).double(), torch.ones(B, 1).double()), full()],
                dims=[(1,), (3, 0, 2)],
            ),
            lambda: Independent(
                dist.Laplace(torch.randn(B, D).double(), torch.ones(B, D).double()), 1
            ),
        ],
        ids=["full", "joint", "laplace"],
    )
    def test_variant_two_is_the_covariance_of_samples_of_any_posterior(self, make):
        q = make()
        samples = q.sample((100_000,)).flatten(0, 1)
        error = torch.cov(samples.T, correction=0) - torch.eye(samples.shape[-1]).double()
        expected = {"diagonal": error.diagonal().square().sum()}
        expected["off_diagonal"] = error.square().sum() - expected["diagonal"]
        for part, other in (("diagonal", "off_diagonal"), ("off_diagonal", "diagonal")):
            found = terms.CovariancePenalty("II", **{other: 0.0})(pass_of(q))
            torch.testing.assert_close(found, expected[part], rtol=0.02, atol=0.02)

    def test_the_stated_bias(self):
        batch, penalty = 128, terms.CovariancePenalty("I")
        found = torch.stack(
            [
                penalty(pass_of(normal(torch.randn(batch, D), torch.ones(batch, D))))
                for _ in range(400)
            ]
        )
        expected = (D * (D - 1) + 2 * D) / batch
        assert (found.mean() - expected).abs() < 4 * found.std() / 20 + 0.05 * expected

    def test_autocast_does_not_round_it(self):
        q = normal(torch.randn(B, D), torch.ones(B, D))
        exact = terms.CovariancePenalty("II")(pass_of(q))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(terms.CovariancePenalty("II")(pass_of(q)), exact)

    def test_what_has_no_covariance_is_refused(self):
        with pytest.raises(ValueError, match="at least two data"):
            terms.CovariancePenalty("II")(pass_of(diagonal(1)))
        flow = dist.RelaxedCategorical(torch.zeros(B, D).double(), 0.5)
        with pytest.raises(ValueError, match="posterior with a mean in closed form"):
            terms.CovariancePenalty("I")(pass_of(flow))
        with pytest.raises(ValueError, match="'I' or 'II'"):
            terms.CovariancePenalty("III")
        with pytest.raises(ValueError, match="diagonal to be finite"):
            terms.CovariancePenalty("I", diagonal=-1.0)


class TestSparsity:
    def test_measures_on_known_codes(self):
        codes = torch.tensor([[3.0, 4.0, 0.0, 0.0], [2.0, -2.0, 2.0, 2.0], [0.0, 0.0, -9.0, 0.0]])
        torch.testing.assert_close(terms.l1(codes), torch.tensor([7.0, 8.0, 9.0]))
        # one minus (√D - |z|₁/|z|₂)/(√D - 1)
        torch.testing.assert_close(terms.hoyer(codes), torch.tensor([0.4, 1.0, 0.0]))

    @pytest.mark.parametrize(("dim", "known"), [(10, 0.26610), (50, 0.23075)])
    def test_hoyer_of_gaussian_codes_is_the_known_expectation(self, dim, known):
        codes = torch.randn(200_000, dim).double()
        assert 1 - terms.hoyer(codes).mean().item() == pytest.approx(known, abs=1e-3)

    @pytest.mark.parametrize("scale", [1e-30, 1e-4, 1.0, 1e30])
    def test_hoyer_does_not_depend_on_the_length(self, scale):
        codes = torch.tensor([3.0, 4.0, 0.0, 0.0]) * scale
        assert terms.hoyer(codes).item() == pytest.approx(0.4, rel=1e-5)

    def test_a_code_of_zeros_has_a_finite_gradient(self):
        codes = torch.zeros(2, 4, requires_grad=True)
        value = terms.hoyer(codes).sum()
        assert value == 0
        assert torch.autograd.grad(value, codes)[0].eq(0).all()

    def test_the_gradient_of_hoyer(self):
        codes = torch.randn(5, 4).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda z: terms.hoyer(z) + 0 * z.sum(-1), codes)

    def test_every_sample_has_its_value(self):
        q = diagonal()
        z = q.rsample((2, 3))
        torch.testing.assert_close(terms.Sparsity()(pass_of(q, z)), z.abs().sum(-1))
        assert terms.Sparsity(terms.hoyer)(pass_of(q, z)).shape == (2, 3, B)

    def test_bad_measures_are_refused(self):
        with pytest.raises(TypeError, match="Expected measure to be a function"):
            terms.Sparsity("hoyer")
        with pytest.raises(ValueError, match="at least two dimensions"):
            terms.hoyer(torch.zeros(4, 1))


class Linear(nn.Module):
    """A decoder with the Jacobian matrix given."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, z):
        mean = z @ self.matrix.T
        return normal(mean, torch.ones_like(mean))


class Curved(Linear):
    def forward(self, z):
        mean = (z @ self.matrix.T).sin() + (z**2) @ self.matrix.T
        return normal(mean, torch.ones_like(mean))


def expectation(term, out):
    """The mean of the estimate over all pairs of signs that its two probes may take."""
    signs = list(itertools.product((0.0, 1.0), repeat=D))
    values = []
    for pair in itertools.product(signs, repeat=2):
        u = torch.tensor(pair).double()
        source = lambda s, shape, *, dtype, device, u=u: u[:, None].expand(shape)  # noqa: E731
        with dist.replace_noise(source):
            values.append(term(out))
    return torch.stack(values).mean(0)


def energy(matrix):
    gram = matrix.mT @ matrix
    return gram.square().sum((-2, -1)) - gram.diagonal(dim1=-2, dim2=-1).square().sum(-1)


class TestJacobianOrthogonality:
    def test_orthogonal_columns_cost_nothing_whatever_the_signs(self):
        columns = torch.linalg.qr(torch.randn(5, D).double()).Q * torch.tensor([1.0, 3.0, 0.2])
        term = terms.JacobianOrthogonality(Linear(columns))
        assert all(term(pass_of(diagonal())).abs().max() < 1e-24 for _ in range(5))

    @pytest.mark.parametrize("decoder", [Linear, Curved])
    def test_it_is_the_off_diagonal_energy_in_expectation(self, decoder):
        columns = torch.linalg.qr(torch.randn(5, D).double()).Q * torch.tensor([1.0, 3.0, 0.2])
        rotation = torch.linalg.qr(torch.randn(D, D).double()).Q
        decoder = decoder(columns @ rotation)
        out = pass_of(diagonal(2))
        jacobian = torch.stack(
            [
                torch.autograd.functional.jacobian(
                    lambda z: decoder(z).mean, z.detach(), create_graph=True
                )
                for z in out.z
            ]
        )
        expected = energy(jacobian)
        found = expectation(terms.JacobianOrthogonality(decoder), out)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        assert expected.min() > 1e-3
        # so is the gradient
        a, b = (torch.autograd.grad(v.sum(), decoder.matrix)[0] for v in (found, expected))
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)

    def test_more_probes_have_the_same_mean_and_less_variance(self):
        matrix = torch.randn(5, D).double()
        out = pass_of(diagonal(2000))
        few = terms.JacobianOrthogonality(Linear(matrix))(out)
        many = terms.JacobianOrthogonality(Linear(matrix), probes=16)(out)
        for values in (few, many):
            assert (values.mean() - energy(matrix)).abs() < 4 * values.std() / len(values) ** 0.5
        assert many.std() < 0.5 * few.std()

    def test_the_encoder_is_not_moved_and_samples_lead(self):
        q = diagonal()
        term = terms.JacobianOrthogonality(Linear(torch.randn(5, D).double()))
        value = term(pass_of(q, q.rsample((4,))))
        assert value.shape == (4, B)
        assert torch.autograd.grad(value.sum(), q.base_dist.loc, allow_unused=True)[0] is None

    def test_images_and_contexts(self):
        decoder = decoders.Conv(2, (1, 8, 8), channels=(4, 4), context_dim=3)
        encoder = encoders.MLP((1, 8, 8), 2, context_dim=3)
        model = VAE(encoder, decoder, prior=priors.Normal(2, context_dim=3))
        out = model(torch.rand(4, 1, 8, 8), torch.rand(4, 3))
        value = terms.JacobianOrthogonality(decoder)(out)
        assert value.shape == (4,)
        value.sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())

    def test_bad_arguments_are_refused(self):
        with pytest.raises(TypeError, match=r"Expected decoder to be an nn.Module"):
            terms.JacobianOrthogonality(lambda z: z)
        with pytest.raises(ValueError, match="probes to be an integer of at least 2"):
            terms.JacobianOrthogonality(nn.Identity(), probes=1)


class TestClassification:
    @pytest.mark.parametrize("sample_shape", [(), (5,)])
    def test_missing_labels_are_left_out_of_the_mean(self, sample_shape):
        q, head = diagonal(), nn.Linear(D, 4).double()
        labels = torch.tensor([0, 3, -1, 2, 1, -1, -1, 0, 0, 2])
        z = q.rsample(sample_shape)
        found = terms.Classification(head)(pass_of(q, z, labels=labels))
        known = labels >= 0
        logits = head(z)[..., known, :].flatten(0, -2)
        target = labels[known].expand(*sample_shape, -1).flatten()
        torch.testing.assert_close(found, F.cross_entropy(logits, target))

    def test_without_any_label_it_is_zero_with_a_gradient_of_zero(self):
        q, head = diagonal(), nn.Linear(D, 4).double()
        found = terms.Classification(head)(pass_of(q, labels=torch.full((B,), -1)))
        assert found == 0
        assert torch.autograd.grad(found, head.weight)[0].eq(0).all()

    def test_several_factors_of_equally_many_classes(self):
        q, labels = diagonal(), torch.randint(-1, 4, (B, 2))
        head = nn.Sequential(nn.Linear(D, 8), nn.Unflatten(-1, (2, 4))).double()
        out = pass_of(q, labels=labels)
        expected = F.cross_entropy(head(out.z).flatten(0, 1), labels.flatten(), ignore_index=-1)
        torch.testing.assert_close(terms.Classification(head)(out), expected)

    def test_continuous_factors_by_a_distribution(self):
        q, labels = diagonal(), torch.randn(B, 2).double()
        labels[[1, 4], 0] = math.nan
        labels[4, 1] = math.nan
        head = nn.Sequential(nn.Linear(D, 2), likelihoods.Normal(2, scale=0.5)).double()
        out = pass_of(q, labels=labels)
        known = torch.tensor([n not in (1, 4) for n in range(B)])
        expected = -head(out.z[known]).log_prob(labels[known]).mean()
        found = terms.Classification(head)(out)
        torch.testing.assert_close(found, expected)
        gradient = torch.autograd.grad(found, list(head.parameters()))
        assert all(torch.isfinite(g).all() for g in gradient)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (None, "Expected labels to compare with, but got none"),
            (torch.zeros(B), "Expected class numbers as integers"),
            (torch.zeros(B, 2).long(), r"labels of shape \(10,\)"),
            (torch.full((B,), 4), "Expected class numbers from 0 to 3"),
            (torch.full((B,), -2), "Expected class numbers from 0 to 3"),
        ],
    )
    def test_labels_that_do_not_fit_are_refused(self, labels, message):
        with pytest.raises((ValueError, TypeError), match=message):
            terms.Classification(nn.Linear(D, 4).double())(pass_of(diagonal(), labels=labels))

    def test_values_that_do_not_fit_are_refused(self):
        head = nn.Sequential(nn.Linear(D, 2), likelihoods.Normal(2)).double()
        with pytest.raises(TypeError, match="labels as floating-point numbers"):
            terms.Classification(head)(pass_of(diagonal(), labels=torch.zeros(B, 2).long()))
        with pytest.raises(ValueError, match=r"labels of shape \(B, \*event\)"):
            terms.Classification(head)(pass_of(diagonal(), labels=torch.zeros(B)))
        with pytest.raises(TypeError, match=r"Expected head to be an nn.Module"):
            terms.Classification(nn.Linear)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("batch", [2, 16])
def test_extreme_posteriors_stay_finite_with_their_gradients(scale, batch):
    loc = torch.randn(batch, D, requires_grad=True)
    q = normal(loc, torch.full((batch, D), scale))
    prior = normal(torch.zeros(D), torch.ones(D))
    out = pass_of(q, prior=prior, labels=torch.zeros(batch).long())
    for term in (
        terms.FreeBits(0.5),
        terms.Capacity(5.0),
        terms.CovariancePenalty("I"),
        terms.CovariancePenalty("II"),
        terms.Sparsity(terms.l1),
        terms.Sparsity(terms.hoyer),
        terms.Classification(nn.Linear(D, 2)),
    ):
        value = term(out).mean()
        assert torch.isfinite(value), term
        gradient = torch.autograd.grad(value, loc, retain_graph=True)[0]
        assert torch.isfinite(gradient).all(), term


def train(objective, steps=250):
    """What the terms of the divergence are after training on three independent factors."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 3, generator=generator) @ torch.diag(torch.tensor([3.0, 1.0, 0.2]))
    linear = partial(encoders.MLP, hidden=(16,))
    model = VAE(
        linear(3, 3),
        decoders.MLP(3, 3, hidden=(16,), likelihood=partial(likelihoods.Normal, scale=0.5)),
        prior=priors.Normal(3),
    )
    step_module = TrainStep(model, objective)
    optimizer = torch.optim.Adam(step_module.parameters(), lr=1e-2)
    for step in range(steps):
        losses = step_module(x, step=torch.tensor(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    posterior = model.encode(x)
    prior = dist.marginals(model.latent_prior())
    return dist.kl(dist.marginals(posterior), prior).mean(0).detach()


def test_a_capacity_is_reached():
    assert train(CapacityVAE(50.0, capacity=2.0)).sum().item() == pytest.approx(2.0, abs=0.2)


def test_free_bits_keep_every_dimension_in_use():
    free = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()), free_bits=(4.0, terms.FreeBits(0.5))
    )
    assert train(BetaVAE(4.0)).min() < 0.1
    assert train(free).min() > 0.35


def test_a_relaxed_joint_posterior_trains_with_capacities():
    head = partial(
        posteriors.Joint,
        heads=[(2, posteriors.DiagonalNormal), (3, posteriors.RelaxedCategorical)],
    )
    prior = priors.Joint([priors.Normal(2), priors.Categorical(3)])
    model = VAE(encoders.MLP(6, 5, posterior=head), decoders.MLP(5, 6), prior=prior)
    out = model(torch.rand(8, 6))
    for term in (
        terms.Capacity(1.0, blocks=[0]),
        terms.Capacity(1.0, blocks=[1], categories=True),
    ):
        value = term(out)
        gradients = torch.autograd.grad(
            value, list(model.encoder.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().sum() > 0 for g in gradients)
