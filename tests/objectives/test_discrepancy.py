"""Discrepancies between samples, against closed forms and plain computations."""

import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal

from disvae import VAE, VAEOutput, decoders, encoders, priors
from disvae import distributions as dist
from disvae.objectives import WeightedSum, kernels, terms
from disvae.objectives.mmd import squared_mmd

KERNELS = [
    kernels.RBF(),
    kernels.RBF((0.3, 1.0, 1.7, 3.4)),
    kernels.InverseMultiquadratic(),
    kernels.InverseMultiquadratic(0.4),
]


def normal(loc, scale):
    return Independent(dist.Normal(loc, scale), 1)


def standard(dim):
    return normal(torch.zeros(dim).double(), torch.ones(dim).double())


def pass_of(posterior, z, prior):
    """A pass in which only posterior, samples and prior matter."""
    likelihood = normal(z.new_zeros(*z.shape[:-1], 2), z.new_ones(2))
    return VAEOutput(z.new_zeros(z.shape[-2], 2), z, posterior, prior, likelihood)


def pass_with(z, prior):
    return pass_of(dist.Delta(z if z.ndim == 2 else z[0]), z, prior)


def plain(x, y, kernel, unbiased=True, data=None, paired=False):
    """The textbook sums over pairs, from differences, without the pairs of one datum."""
    dim, rows = x.shape[-1], len(x)
    k_xx, k_yy, k_xy = (
        kernel((a.unsqueeze(1) - b).square().sum(-1), dim) for a, b in ((x, x), (y, y), (x, y))
    )
    if not unbiased:
        return k_xx.mean() + k_yy.mean() - 2 * k_xy.mean()
    datum = torch.arange(rows) % (data or rows)
    other = (datum.unsqueeze(1) != datum).to(x.dtype)
    mean = (lambda k: (k * other).sum() / other.sum()) if paired else torch.mean
    return ((k_xx + k_yy) * other).sum() / other.sum() - 2 * mean(k_xy)


class TestSquaredMMD:
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("dim", [1, 3])
    @pytest.mark.parametrize(
        ("rows", "data", "paired"), [(400, 400, False), (400, 400, True), (40, 10, True), (9, 3, 0)]
    )
    def test_equals_the_plain_form_with_its_gradients(self, kernel, dim, rows, data, paired):
        """400 rows are several blocks; every pair, weight and sign is in this."""
        x = torch.randn(rows, dim).double().requires_grad_()
        y = (1.2 * torch.randn(rows, dim) + 0.3).double().requires_grad_()
        for unbiased in (True, False):
            expected = plain(x, y, kernel, unbiased, data, paired)
            of_x, of_y = torch.autograd.grad(expected, (x, y))
            keywords = {"unbiased": unbiased, "batch": data, "paired": bool(paired)}
            value = squared_mmd(x, y, kernel, **keywords)
            exactly = {"rtol": 1e-12, "atol": 1e-13}
            torch.testing.assert_close(value, expected, **exactly)
            both = torch.autograd.grad(value, (x, y))
            torch.testing.assert_close(both, (of_x, of_y), **exactly)
            alone = squared_mmd(x, y.detach(), kernel, **keywords)
            torch.testing.assert_close(torch.autograd.grad(alone, x)[0], of_x, **exactly)
            alone = squared_mmd(x.detach(), y, kernel, **keywords)
            torch.testing.assert_close(torch.autograd.grad(alone, y)[0], of_y, **exactly)
            # a kernel of one's own goes another way
            own = squared_mmd(x, y, lambda s, d: kernel(s, d), **keywords)
            torch.testing.assert_close(own, expected, **exactly)
            torch.testing.assert_close(torch.autograd.grad(own, (x, y)), (of_x, of_y), **exactly)

    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("dim", [1, 3])
    def test_gradients_pass_the_numerical_check(self, kernel, dim):
        x, y = torch.randn(2, 5, dim).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, y: squared_mmd(x, y, kernel), (x, y))

    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("dim", [1, 2, 10])
    @pytest.mark.parametrize("spread", [1.0, 300.0])
    def test_float32_is_as_good_as_its_input_far_from_the_origin(self, kernel, dim, spread):
        """Expanded squares in float32 would be wrong by 0.1 between two clusters far apart."""
        centre = spread * torch.randint(-1, 2, (2, 150, 1)) + 3.0
        x, y = (torch.randn(2, 150, dim) + centre).requires_grad_()
        exact = plain(x.double(), y.double(), kernel)
        value = squared_mmd(x, y, kernel)
        torch.testing.assert_close(value.double(), exact, rtol=0, atol=1e-6)
        of_x = torch.autograd.grad(value, x)[0]
        expected = torch.autograd.grad(exact, x)[0]
        error = (of_x - expected).abs().max() / expected.abs().max()
        assert error < (2e-5 if spread == 1 else 1e-3)

    @pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, 64.0), (0.1, 0.4, 1.6, 6.4, 25.6)])
    def test_repeated_squares_are_as_good_as_exponentials(self, scales):
        """Squared twelve times, the exponential would be wrong by 1e-4."""
        kernel = kernels.RBF(scales)
        x, y = 0.3 * torch.randn(2, 8, 1)
        value, exact = squared_mmd(x, y, kernel), plain(x.double(), y.double(), kernel)
        torch.testing.assert_close(value.double(), exact, rtol=0, atol=2e-6)

    @pytest.mark.parametrize("dim", [1, 2])
    def test_rbf_has_the_closed_form_of_two_gaussians_as_its_mean(self, dim):
        kernel = kernels.RBF((0.5, 1.0, 3.0))
        shift, scale = 0.4, 1.3
        x = torch.randn(1500, 12, dim).double()
        y = (scale * torch.randn(1500, 12, dim) + shift).double()
        values = torch.stack([squared_mmd(a, b, kernel) for a, b in zip(x, y, strict=True)])

        def mean_kernel(variance, distance=0.0):
            """E exp(-|u|²/(2σ²)) for u ~ N(distance, variance)."""
            return sum(
                (s**2 / (s**2 + variance) * math.exp(-(distance**2) / (s**2 + variance)))
                ** (dim / 2)
                for s in kernel.scales
            )

        exact = mean_kernel(2) + mean_kernel(2 * scale**2) - 2 * mean_kernel(1 + scale**2, shift)
        assert (values.mean() - exact).abs() < 4 * values.std() / 1500**0.5
        assert exact > 8 * values.std() / 1500**0.5  # the test can tell it from 0

    def test_inverse_multiquadratic_has_the_integral_as_its_mean(self):
        scales = (0.2, 1.0, 4.0)
        x, y = torch.randn(2, 1500, 12, 1).double()
        y = 0.5 * y + 0.6
        kernel = kernels.InverseMultiquadratic(scales)
        values = torch.stack([squared_mmd(a, b, kernel) for a, b in zip(x, y, strict=True)])

        def mean_kernel(loc, variance):
            density = scipy.stats.norm(loc, variance**0.5)
            return sum(density.expect(lambda u, c=c: c / (c + u**2)) for c in scales)

        exact = mean_kernel(0, 2) + mean_kernel(0, 0.5) - 2 * mean_kernel(0.6, 1.25)
        assert (values.mean() - exact).abs() < 4 * values.std() / 1500**0.5
        assert exact > 8 * values.std() / 1500**0.5

    @pytest.mark.parametrize("kernel", KERNELS[::2], ids=repr)
    def test_unbiased_has_mean_zero_where_distributions_agree_and_biased_is_positive(self, kernel):
        x, y = torch.randn(2, 800, 8, 2).double()
        unbiased = torch.stack([squared_mmd(a, b, kernel) for a, b in zip(x, y, strict=True)])
        assert unbiased.mean().abs() < 4 * unbiased.std() / 800**0.5
        assert unbiased.min() < 0
        biased = [squared_mmd(a, b, kernel, unbiased=False) for a, b in zip(x, y, strict=True)]
        assert min(biased) > 0

    def test_published_scales_are_the_defaults(self):
        zero, far = torch.tensor([0.0, 20.0]).double()
        imq, rbf = kernels.InverseMultiquadratic(), kernels.RBF()
        assert imq(zero, 10) == rbf(zero, 10) == 7
        # WAE: C = 2 D {0.1, ..., 10}
        squares = [2.0, 4.0, 10.0, 20.0, 40.0, 100.0, 200.0]
        assert imq(far, 10) == pytest.approx(sum(c / (c + 20) for c in squares))
        rates = [2.0**-k / 20 for k in range(-3, 4)]
        assert rbf(far, 10) == pytest.approx(sum(math.exp(-20 * r) for r in rates))

    @pytest.mark.parametrize("batch", [2, 16])
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
    def test_extreme_scales_stay_finite(self, kernel, scale, batch):
        for dim in (1, 3):
            x = (scale * torch.randn(batch, dim)).requires_grad_()
            value = squared_mmd(x, torch.randn(batch, dim), kernel)
            assert torch.isfinite(value)
            assert torch.isfinite(torch.autograd.grad(value, x)[0]).all()

    def test_a_kernel_without_a_derivative_at_zero_has_finite_gradients(self):
        x = torch.randn(6, 2).double().requires_grad_()
        value = squared_mmd(x, x.detach() + 1, lambda s, d: (-s.sqrt()).exp())
        assert torch.isfinite(torch.autograd.grad(value, x)[0]).all()

    def test_bad_arguments_are_refused(self):
        x = torch.randn(4, 2)
        with pytest.raises(ValueError, match="at least two data"):
            squared_mmd(x[:1], x[:1], KERNELS[0])
        with pytest.raises(ValueError, match="at least two data"):
            squared_mmd(x, x, KERNELS[0], batch=1)
        with pytest.raises(ValueError, match="same shape"):
            squared_mmd(x, x[:3], KERNELS[0])
        with pytest.raises(ValueError, match="sum over scales"):
            squared_mmd(x, x, lambda s, d: s.unsqueeze(-1))
        for scales in ((), (1.0, -1.0), (math.nan,), 0.0):
            with pytest.raises(ValueError, match="positive numbers"):
                kernels.RBF(scales)
        with pytest.raises(TypeError, match="kernel to be a function"):
            terms.MMD(kernels.RBF)

    def test_transforms_and_compilers_see_the_same_value(self):
        x, y = torch.randn(2, 7, 3).double()
        for kernel in KERNELS[::2]:
            expected = squared_mmd(x.requires_grad_(), y, kernel)
            of_x = torch.autograd.grad(expected, x)[0]
            value = lambda x, kernel=kernel: squared_mmd(x, y, kernel)  # noqa: E731
            torch.testing.assert_close(torch.func.grad(value)(x), of_x)
            batched = torch.func.vmap(value)(x.detach().expand(2, 7, 3))
            torch.testing.assert_close(batched, expected.detach().expand(2))
            compiled = torch.compile(value, fullgraph=True, backend="eager")(x)
            torch.testing.assert_close(compiled, expected)
            torch.testing.assert_close(torch.autograd.grad(compiled, x)[0], of_x)


class TestTerms:
    def test_mmd_draws_as_many_from_the_prior_and_keeps_gradients_of_both(self):
        z = torch.randn(3, 8, 2).double().requires_grad_()
        scale = torch.ones(2).double().requires_grad_()
        prior = normal(torch.zeros(2).double(), scale)
        torch.manual_seed(1)
        value = terms.MMD(KERNELS[0])(pass_with(z, prior))
        torch.manual_seed(1)
        draws = prior.rsample((3, 8)).reshape(24, 2)
        expected = plain(z.reshape(24, 2), draws, KERNELS[0], True, 8)
        torch.testing.assert_close(value, expected)
        wanted = torch.autograd.grad(expected, (z, scale))
        torch.testing.assert_close(torch.autograd.grad(value, (z, scale)), wanted)

    def test_mmd_of_a_conditional_prior_is_zero_on_average_where_both_agree(self):
        """With the pair of one context counted in, the mean would be far below 0."""
        term = terms.MMD(kernels.RBF((1.0,)))
        values = []
        for _ in range(600):
            loc = 3 * torch.randn(6, 2).double()
            each = normal(loc, torch.full_like(loc, 0.3))
            values.append(term(pass_of(each, each.sample((2,)), each)))
        values = torch.stack(values)
        assert values.mean().abs() < 4 * values.std() / 600**0.5
        counted = [plain(*normal_pair, kernels.RBF((1.0,))) for normal_pair in _contexts(200)]
        assert torch.stack(counted).mean() < -0.1

    def test_per_dimension_mmd_is_the_sum_of_those_of_columns(self):
        x, u = torch.randn(2, 12, 3).double()
        x = x + 0.5
        out = pass_with(x.requires_grad_(), standard(3))
        source = lambda *a, **k: u  # noqa: E731
        kernel = kernels.InverseMultiquadratic((0.2, 0.4, 1.0, 2.0, 4.0, 10.0))
        expected = sum(plain(x[:, [d]], u[:, [d]], kernel) for d in range(3))
        with dist.replace_noise(source):
            value = terms.PerDimensionMMD()(out)
            biased = terms.PerDimensionMMD(unbiased=False)(out)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(
            torch.autograd.grad(value, x), torch.autograd.grad(expected, x), atol=1e-14, rtol=1e-10
        )
        expected = sum(plain(x[:, [d]], u[:, [d]], kernel, False) for d in range(3))
        torch.testing.assert_close(biased, expected)

    def test_per_dimension_mmd_is_blind_to_dependence_where_mmd_sees_it(self):
        z = torch.randn(2000, 1).double().expand(-1, 2)
        out = pass_with(z.contiguous(), standard(2))
        assert terms.PerDimensionMMD()(out).abs() < 0.01
        assert terms.MMD(kernels.InverseMultiquadratic())(out) > 0.05

    def test_values_under_autocast_are_those_without(self):
        z, u = torch.randn(2, 32, 4)
        out = pass_with(z.requires_grad_(), normal(torch.zeros(4), torch.ones(4)))
        source = lambda sampler, shape, **k: u[: shape[0]]  # noqa: E731
        each = [
            terms.MMD(KERNELS[0]),
            terms.MMD(lambda s, d: (-s).exp()),
            terms.PerDimensionMMD(),
            terms.SlicedWasserstein(16),
        ]
        with dist.replace_noise(source):
            for term in each:
                expected = term(out)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    value = term(out)
                assert value.dtype == torch.float32
                torch.testing.assert_close(value, expected)
                gradients = (torch.autograd.grad(v, z)[0] for v in (value, expected))
                torch.testing.assert_close(*gradients)

    @pytest.mark.parametrize(
        "term",
        [
            terms.MMD(kernels.InverseMultiquadratic()),
            terms.PerDimensionMMD(),
            terms.SlicedWasserstein(20),
            terms.InclusiveKL(),
        ],
        ids=lambda term: type(term).__name__,
    )
    @pytest.mark.parametrize("prior", [priors.Normal(2, learn_scale=True), priors.Mixture(2, 3)])
    def test_trains_the_encoder_and_a_prior_that_has_rsample(self, term, prior):
        model = VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=prior)
        reconstruction = (1.0, terms.Reconstruction())
        objective = WeightedSum(reconstruction=reconstruction, divergence=(2.0, term))
        x = torch.rand(16, 6)
        torch.manual_seed(3)
        expected = objective(model, x).total
        expected.backward()
        assert all(p.grad is not None for p in model.encoder.parameters())
        got = [p.grad is not None and bool(p.grad.any()) for p in prior.parameters()]
        reparameterised = isinstance(prior, priors.Normal)
        assert all(got) if reparameterised else not any(got)
        if reparameterised:
            torch.manual_seed(3)
            compiled = torch.compile(objective, fullgraph=True, backend="eager")
            torch.testing.assert_close(compiled(model, x).total, expected, rtol=1e-4, atol=1e-5)


def _contexts(count):
    for _ in range(count):
        loc = 3 * torch.randn(6, 2).double()
        each = normal(loc, torch.full_like(loc, 0.3))
        yield each.sample(), each.sample()


class TestSlicedWasserstein:
    @pytest.mark.parametrize("power", [1, 2, 3])
    def test_is_exact_in_one_dimension(self, power):
        z, u = torch.randn(2, 40, 1).double()
        z = 2 * z + 0.5

        # the direction is ±1 whatever is drawn
        def source(sampler, shape, **keywords):
            return u if tuple(shape) == (40, 1) else torch.ones(shape).double()

        with dist.replace_noise(source):
            value = terms.SlicedWasserstein(1, power)(pass_with(z, standard(1)))
        if power == 1:
            expected = scipy.stats.wasserstein_distance(z.flatten().numpy(), u.flatten().numpy())
            assert value.item() == pytest.approx(expected)
        # the order is an optimal assignment for every convex cost
        cost = (z - u.mT).abs().pow(power).numpy()
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        assert value.item() == pytest.approx(cost[rows, columns].mean())

    @pytest.mark.parametrize("dim", [2, 5])
    def test_of_a_shift_is_its_square_over_the_dimension(self, dim):
        u = torch.randn(500, dim).double()
        shift = torch.arange(1.0, dim + 1).double()
        source = lambda sampler, shape, **k: (  # noqa: E731
            u if tuple(shape) == (500, dim) else torch.randn(shape).double()
        )
        with dist.replace_noise(source):
            value = terms.SlicedWasserstein(4000)(pass_with(u + shift, standard(dim)))
        assert value.item() == pytest.approx(shift.square().sum().item() / dim, rel=0.06)

    def test_is_small_only_where_distributions_agree(self):
        term = terms.SlicedWasserstein(200)
        near = term(pass_with(torch.randn(4000, 3).double(), standard(3)))
        # equal marginals, another dependence
        far = term(pass_with(torch.randn(4000, 1).double().expand(-1, 3), standard(3)))
        assert near < 0.01 < 0.1 < far

    def test_gradients_pass_the_numerical_check(self):
        u, directions = torch.randn(6, 2).double(), torch.randn(4, 2).double()
        source = lambda sampler, shape, **k: u if tuple(shape) == (6, 2) else directions  # noqa: E731
        z = torch.randn(6, 2).double().requires_grad_()
        for power in (2, 3):
            term = terms.SlicedWasserstein(4, power)
            with dist.replace_noise(source):
                value = lambda z, term=term: term(pass_with(z, standard(2)))  # noqa: E731
                assert torch.autograd.gradcheck(value, z)

    def test_bad_arguments_are_refused(self):
        with pytest.raises(ValueError, match="projections"):
            terms.SlicedWasserstein(0)
        with pytest.raises(ValueError, match="power"):
            terms.SlicedWasserstein(10, 0.5)


class TestInclusiveKL:
    def exact(self, posterior, dim):
        """The integral of p log(p/q) on a grid, p standard normal, and q the mixture."""
        axis = torch.linspace(-7, 7, 401).double()
        grid = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
        weights = Categorical(torch.ones(len(posterior.mean)).double())
        log_q = MixtureSameFamily(weights, posterior).log_prob(grid)
        log_p = standard(dim).log_prob(grid)
        return ((log_p - log_q) * log_p.exp()).sum() * (axis[1] - axis[0]) ** dim

    def posterior(self, kind, dim):
        loc = torch.randn(12, dim).double()
        if kind == "diagonal":
            return normal(loc, 0.4 + torch.rand(12, dim).double())
        factor = torch.tril(0.4 * torch.randn(12, dim, dim)).double() + torch.eye(dim)
        return MultivariateNormal(loc, scale_tril=factor)

    @pytest.mark.parametrize("dim", [1, 2])
    @pytest.mark.parametrize("kind", ["diagonal", "full"])
    def test_is_exact_on_a_whole_data_set(self, kind, dim):
        posterior = self.posterior(kind, dim)
        z = posterior.rsample((500,))
        term, out = terms.InclusiveKL(), pass_of(posterior, z, standard(dim))
        values = torch.stack([term(out) for _ in range(20)])
        exact = self.exact(posterior, dim)
        assert (values.mean() - exact).abs() < 4 * values.std() / 20**0.5
        assert values.std() / 20**0.5 < 0.1 * exact

    def test_is_too_high_for_a_smaller_batch(self):
        posterior = self.posterior("diagonal", 1)
        exact = self.exact(posterior, 1)
        values = []
        for _ in range(200):
            some = torch.randperm(12)[:4]
            base = posterior.base_dist
            part = normal(base.loc[some], base.scale[some])
            values.append(terms.InclusiveKL()(pass_of(part, part.rsample((100,)), standard(1))))
        values = torch.stack(values)
        assert values.mean() - exact > 4 * values.std() / 200**0.5

    def test_is_zero_where_a_conditional_prior_is_the_posterior(self):
        posterior = self.posterior("diagonal", 2)
        out = pass_of(posterior, posterior.rsample(), posterior)
        assert terms.InclusiveKL()(out).abs() < 1e-12

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    @pytest.mark.parametrize("batch", [1, 16])
    def test_extreme_posteriors_stay_finite_with_their_gradients(self, scale, batch):
        loc = torch.randn(batch, 3, requires_grad=True)
        width = torch.full((batch, 3), scale, requires_grad=True)
        posterior = normal(loc, width)
        out = pass_of(posterior, posterior.rsample(), normal(torch.zeros(3), torch.ones(3)))
        value = terms.InclusiveKL()(out)
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        for gradient in torch.autograd.grad(value, (loc, width)):
            assert torch.isfinite(gradient).all()

    def test_a_deterministic_posterior_is_refused(self):
        out = pass_with(torch.randn(4, 2).double(), standard(2))
        with pytest.raises(ValueError, match="Expected a posterior with a density"):
            terms.InclusiveKL()(out)


def test_a_kernel_that_is_a_module_is_part_of_the_term():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_rate = nn.Parameter(torch.zeros(()))

        def forward(self, squared_distance, latent_dim):
            return (-self.log_rate.exp() * squared_distance).exp()

    term = terms.MMD(Learnt())
    value = term(pass_with(torch.randn(8, 2), normal(torch.zeros(2), torch.ones(2))))
    assert torch.autograd.grad(value, list(term.parameters()))[0].abs() > 0
