r"""Rotations and scalings of the latent space, on models drawn at random.

For p(z) = N(0, s² I) the objective is the same in every rotated latent space, for any weight of the
divergence and any posterior that is rotated with it; other priors break this, and so does the
search for the best posterior with independent dimensions. Scaling the latent space shows what β
does beside: for a normal prior it adds the posterior's entropy (corollary 1).

Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
https://arxiv.org/abs/1812.02833.
"""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Size, nn
from torch.distributions import Independent

from disvae import VAE, TrainStep, decoders, evaluation, likelihoods, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import kernels, terms

pytestmark = pytest.mark.usefixtures("float64")

FEATURES = 4
seeds = st.integers(0, 10**6)
dims = st.integers(2, 5)
betas = st.floats(-2.3, 4.0).map(math.exp)  # from 0.1 to 55
HEADS = [
    posteriors.DiagonalNormal,
    posteriors.FullNormal,
    functools.partial(posteriors.LowRankNormal, rank=1),
]
head_ids = ["diagonal", "full", "low rank"]


def drawn(seed, head, prior, dim):
    """A model with nonlinear networks and weights at random, and data."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(FEATURES, 6), nn.Tanh(), head(6, dim))
    normal = functools.partial(likelihoods.Normal, scale=0.8)
    decoder = decoders.MLP(dim, FEATURES, hidden=(6,), activation=nn.Tanh, likelihood=normal)
    model = VAE(encoder, decoder, prior=prior)
    with torch.no_grad():
        for part in (encoder, decoder):
            for parameter in part.parameters():
                parameter.copy_(torch.randn_like(parameter))
    return model, torch.randn(7, FEATURES)


def value(model, objective, x, **keywords):
    """The objective of one batch with the noise of one seed."""
    with dist.seeded(5):
        return objective(model, x, **keywords).total.detach()


def turn(dim, seed=1):
    return evaluation.random_rotation(dim, generator=torch.Generator().manual_seed(seed))


def plane(degrees):
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]])


def signed_permutation(dim, seed):
    g = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (dim, 1), generator=g) * 2.0 - 1
    return torch.eye(dim)[torch.randperm(dim, generator=g)] * signs


class TestInvariance:
    @pytest.mark.parametrize("head", HEADS, ids=head_ids)
    @given(seed=seeds, dim=dims, beta=betas, scale=st.floats(0.3, 3.0))
    def test_an_isotropic_normal_prior_knows_no_axes(self, head, seed, dim, beta, scale):
        model, x = drawn(seed, head, priors.Normal(dim, scale=scale), dim)
        rotated = evaluation.rotate(model, turn(dim, seed))
        moved = (rotated.encode(x).mean - model.encode(x).mean).abs().max()
        assert moved > 1e-3  # it is another posterior
        for objective in (objectives.ELBO(), objectives.BetaVAE(beta)):
            before, after = value(model, objective, x), value(rotated, objective, x)
            assert abs(after - before) <= 2e-14 * abs(before)

    @pytest.mark.parametrize(
        "objective", [objectives.IWAE(4), objectives.DReG(3), objectives.CIWAE(4, 0.5)]
    )
    @given(seed=seeds)
    def test_bounds_of_several_samples_know_none_either(self, objective, seed):
        model, x = drawn(seed, posteriors.FullNormal, priors.Normal(3), 3)
        rotated = evaluation.rotate(model, turn(3, seed))
        before, after = value(model, objective, x), value(rotated, objective, x)
        assert abs(after - before) <= 1e-13 * abs(before)

    @pytest.mark.parametrize("head", HEADS[:2], ids=head_ids[:2])
    @pytest.mark.parametrize(
        "divergence",
        [
            terms.InclusiveKL(),
            terms.MMD(kernels.InverseMultiquadratic()),
            terms.MMD(kernels.RBF(1.0), unbiased=False),
            terms.SlicedWasserstein(),
        ],
        ids=["inclusive KL", "MMD", "RBF", "sliced"],
    )
    @settings(max_examples=10)
    @given(seed=seeds, dim=dims)
    def test_nor_does_a_divergence_of_the_aggregate(self, divergence, head, seed, dim):
        """To rounding, once the prior's draws (and directions) are rotated too."""
        model, x = drawn(seed, head, priors.Normal(dim), dim)
        rotation = turn(dim, seed)
        objective = objectives.Decomposition(beta=0.5, alpha=10.0, divergence=divergence)

        def total(model, matrix):
            generator, calls = torch.Generator().manual_seed(seed), []

            def source(sampler, shape, *, dtype, device):
                calls.append(sampler)
                numbers = torch.randn(shape, generator=generator)
                return numbers if len(calls) == 1 else numbers @ matrix.T

            with dist.replace_noise(source):
                return objective(model, x).total

        before = total(model, torch.eye(dim))
        after = total(evaluation.rotate(model, rotation), rotation)
        assert abs(after - before) <= 1e-12 * abs(before)
        unmatched = total(evaluation.rotate(model, rotation), torch.eye(dim))
        assert abs(unmatched - before) > 1e-9 * abs(before)

    @given(seed=seeds, dim=dims)
    def test_what_a_model_decodes_is_as_before(self, seed, dim):
        model, x = drawn(seed, posteriors.DiagonalNormal, priors.Normal(dim), dim)
        rotated = evaluation.rotate(model, turn(dim, seed))
        torch.testing.assert_close(rotated.reconstruct(x), model.reconstruct(x))
        with dist.seeded(0):
            before = model(x, sample_shape=(3,))
        with dist.seeded(0):
            after = rotated(x, sample_shape=(3,))
        torch.testing.assert_close(after.z, before.z @ turn(dim, seed).T)
        torch.testing.assert_close(after.likelihood.log_prob(x), before.likelihood.log_prob(x))

    @given(seed=seeds, dim=dims, head=st.sampled_from(HEADS))
    def test_the_gap_of_random_rotations_is_nought(self, seed, dim, head):
        model, x = drawn(seed, head, priors.Normal(dim), dim)
        gap = evaluation.rotation_gap(model, objectives.BetaVAE(4.0), x, rotations=3, samples=1)
        assert gap.largest <= 1e-13 * abs(gap.objective)


def anisotropic(dim):
    return priors.Normal(dim, scale=torch.linspace(0.5, 2.0, dim))


def four_clusters(dim):
    means = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    return priors.Mixture(dim, means=means, scales=0.03**0.5)


# independent dimensions that are all alike
ALIKE = {
    "Student-t": functools.partial(priors.StudentT, df=3.0),
    "Laplace": priors.Laplace,
    "sparse": functools.partial(priors.Sparse, spike_scale=0.2),
    "generalised": functools.partial(priors.GeneralizedNormal, power=4.0),
}
BREAKING = {"anisotropic": anisotropic, "mixture": four_clusters, **ALIKE}


def loss_of_a_rotation(model, x, matrix):
    """E_x E_q[log p(z) - log p(Rz)] by quadrature over the plane."""
    q, p = model.encode(x), model.latent_prior()
    t = torch.linspace(-7, 7, 281)
    grid = torch.cartesian_prod(t, t)
    weight = torch.softmax(-0.5 * grid.square().sum(-1), 0).unsqueeze(-1)
    z = q.mean + q.stddev * grid.unsqueeze(-2)
    return (weight * (p.log_prob(z) - p.log_prob(z @ matrix.T))).sum(0).mean().item()


class TestCounterExamples:
    @pytest.mark.parametrize("name", BREAKING)
    @settings(max_examples=3)
    @given(seed=seeds, degrees=st.floats(20, 70))
    def test_other_priors_break_it_by_the_change_of_their_density(self, name, seed, degrees):
        model, x = drawn(seed, posteriors.DiagonalNormal, BREAKING[name](2), 2)
        matrix, beta = plane(degrees), 2.0
        gap = evaluation.rotation_gap(
            model,
            objectives.BetaVAE(beta),
            x[:3].repeat(700, 1),
            rotations=torch.stack([matrix, matrix, matrix]),
            samples=6,
        )
        expected = beta * loss_of_a_rotation(model, x[:3], matrix)
        if name == "anisotropic":  # closed on both sides: no noise
            assert gap.mean == pytest.approx(expected, rel=1e-6)
            assert gap.noise < 1e-10
        assert (gap.each - expected).abs().max() < 6 * gap.noise + 1e-6 * abs(expected)
        # all of it is in the divergence
        assert gap.terms["reconstruction"].largest < 1e-12
        assert gap.terms["kl"].mean * beta == pytest.approx(gap.mean, rel=1e-9)

    @pytest.mark.parametrize("name", BREAKING)
    def test_a_posterior_along_the_priors_axes_loses_by_rotation(self, name):
        """Codes that are draws of the prior itself: the loss is a divergence, so positive."""
        prior = BREAKING[name](2)
        torch.manual_seed(0)
        x = prior().sample((2000,))

        class Given(nn.Module):
            def forward(self, x):
                return Independent(dist.Normal(x, 0.05), 1)

        decoder = decoders.MLP(2, 2, likelihood=likelihoods.Normal)
        model = VAE(Given(), decoder, prior=prior)
        angles = torch.stack([plane(degrees) for degrees in (30.0, 45.0)])
        gap = evaluation.rotation_gap(model, objectives.ELBO(), x, rotations=angles, samples=3)
        assert (gap.each > 0.03).all()
        assert (gap.each > 20 * gap.noise).all()

    @pytest.mark.parametrize("head", [*HEADS[:2], posteriors.Laplace, posteriors.StudentT])
    @pytest.mark.parametrize("name", ALIKE)
    @settings(max_examples=10)
    @given(seed=seeds, dim=dims, beta=betas)
    def test_signed_permutations_keep_it(self, name, head, seed, dim, beta):
        model, x = drawn(seed, head, ALIKE[name](dim), dim)
        rotated = evaluation.rotate(model, signed_permutation(dim, seed))
        before, after = (dist.has_closed_form(m.encode(x), m.prior()) for m in (model, rotated))
        assert before == after
        many = [objectives.BetaVAE(beta)]
        if head is not posteriors.FullNormal:
            many.append(objectives.BetaTCVAE(dataset_size=100, beta=beta))
        for objective in many:
            before, after = value(model, objective, x), value(rotated, objective, x)
            assert abs(after - before) <= 1e-12 * (abs(before) + beta * dim)

    def test_clusters_keep_their_own_symmetry_and_no_other(self):
        model, x = drawn(3, posteriors.DiagonalNormal, four_clusters(2), 2)
        before = value(model, objectives.ELBO(), x)
        for degrees, same in ((90, True), (180, True), (45, False), (89, False)):
            after = value(evaluation.rotate(model, plane(degrees)), objectives.ELBO(), x)
            assert (abs(after - before) < 1e-10 * abs(before)) == same

    def test_unequal_scales_do_not_survive_a_permutation(self):
        model, x = drawn(4, posteriors.DiagonalNormal, anisotropic(3), 3)
        swapped = evaluation.rotate(model, torch.eye(3)[[1, 0, 2]])
        before, after = (value(m, objectives.ELBO(), x) for m in (model, swapped))
        p, q = model.prior(), model.encode(x)
        second = (q.mean.square() + q.variance).mean(0)
        change = 0.5 * ((second[[1, 0, 2]] - second) / p.variance).sum()
        torch.testing.assert_close(after - before, change.detach())

    def test_student_t_approaches_the_normal_prior(self):
        """The gap falls as 1/df, to nought."""
        model, x = drawn(5, posteriors.DiagonalNormal, priors.Normal(3), 3)
        sizes = []
        for df in (10.0, 1e2, 1e4, 1e5, 1e9):
            heavy = VAE(model.encoder, model.decoder, prior=priors.StudentT(3, df=df))
            gap = evaluation.rotation_gap(heavy, objectives.ELBO(), x, rotations=4)
            sizes.append(gap.largest)
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > 0.05
        assert sizes[2] / sizes[3] == pytest.approx(10, rel=0.02)
        assert sizes[-1] < 1e-6


class TestBestDiagonalPosterior:
    """The invariance ends where the posterior may only choose independent dimensions."""

    class Free(nn.Module):
        """A posterior for each datum, with parameters of its own."""

        def __init__(self, rows, dim, full):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(rows, dim))
            self.log_scale = nn.Parameter(torch.zeros(rows, dim))
            self.below = nn.Parameter(torch.zeros(rows, dim, dim)) if full else None

        def forward(self, x):
            if self.below is None:
                return Independent(dist.Normal(self.loc, self.log_scale.exp()), 1)
            tril = self.below.tril(-1) + torch.diag_embed(self.log_scale.exp())
            return dist.MultivariateNormal(self.loc, scale_tril=tril)

    def best(self, weight, bias, x, *, noise_scale, prior_scale, beta, full=False):
        """The objective's optimum by L-BFGS, over free posteriors of a VAE; and that VAE."""
        dim = weight.shape[1]
        normal = functools.partial(likelihoods.Normal, scale=noise_scale)
        decoder = decoders.MLP(dim, len(weight), hidden=(), likelihood=normal)
        (layer,) = [m for m in decoder.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        encoder = self.Free(len(x), dim, full)
        model = VAE(encoder, decoder, prior=priors.Normal(dim, scale=prior_scale))
        objective = objectives.BetaVAE(beta)
        # points with the mean and covariance of the noise: exact for a quadratic log likelihood
        points = math.sqrt(dim) * torch.cat((torch.eye(dim), -torch.eye(dim)))
        objective.sample_shape = Size((len(points),))
        source = lambda sampler, shape, **_: points.unsqueeze(1).expand(shape)  # noqa: E731
        optimizer = torch.optim.LBFGS(
            encoder.parameters(),
            max_iter=500,
            tolerance_grad=1e-10,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def loss():
            optimizer.zero_grad()
            with dist.replace_noise(source):
                total = TrainStep(model, objective)(x).total
            total.backward()
            return total

        optimizer.step(loss)
        return -loss().item(), model

    def problem(self, seed, dim):
        torch.manual_seed(seed)
        columns = torch.linalg.qr(torch.randn(6, dim)).Q * torch.linspace(0.5, 3.0, dim)
        return columns, torch.randn(6), 2 * torch.randn(4, 6)

    @settings(max_examples=6)
    @given(
        seed=seeds,
        dim=st.integers(2, 4),
        noise_scale=st.floats(0.3, 2.0),
        prior_scale=st.floats(0.5, 2.0),
        beta=st.floats(0.3, 8.0),
    )
    def test_the_closed_form_is_what_optimisation_finds(self, seed, dim, **setting):
        columns, bias, x = self.problem(seed, dim)
        keywords = {"bias": bias, **setting}
        aligned = evaluation.best_diagonal_gap(columns, x, **keywords)
        rotated = evaluation.best_diagonal_gap(columns @ turn(dim, seed).T, x, **keywords)
        assert aligned.gap < 1e-14
        assert rotated.gap > 1e-4
        assert rotated.optimum == pytest.approx(aligned.optimum, rel=1e-12)
        for weight, found in ((columns, aligned), (columns @ turn(dim, seed).T, rotated)):
            assert found.optimum - found.diagonal == pytest.approx(found.gap, abs=1e-11)
            diagonal, model = self.best(weight, bias, x, **setting)
            assert diagonal == pytest.approx(found.diagonal, abs=1e-9)
            scale = found.precision.diagonal().rsqrt().expand(4, -1)
            torch.testing.assert_close(model.encode(x).stddev, scale, rtol=1e-4, atol=0)
            full, _ = self.best(weight, bias, x, **setting, full=True)
            assert full == pytest.approx(found.optimum, abs=1e-9)

    def test_one_posterior_pushed_forward_loses_nothing(self):
        """The model rotates exactly; it is a new search that cannot follow."""
        columns, bias, x = self.problem(0, 3)
        setting = {"noise_scale": 0.7, "prior_scale": 1.0, "beta": 2.0}
        _, model = self.best(columns, bias, x, **setting)
        rotated = evaluation.rotate(model, turn(3))
        objective = objectives.BetaVAE(2.0)
        before, after = value(model, objective, x), value(rotated, objective, x)
        assert abs(after - before) < 1e-13 * abs(before)
        assert evaluation.best_diagonal_gap(columns @ turn(3).T, x, noise_scale=0.7).gap > 0.05

    @given(seed=seeds, dim=st.integers(2, 6))
    def test_signed_permutations_keep_the_gap_of_any_decoder(self, seed, dim):
        torch.manual_seed(seed)
        weight, x = torch.randn(5, dim), torch.randn(3, 5)
        found = evaluation.best_diagonal_gap(weight, x, noise_scale=0.5, beta=3.0)
        same = evaluation.best_diagonal_gap(
            weight @ signed_permutation(dim, seed).T, x, noise_scale=0.5, beta=3.0
        )
        assert same.gap == pytest.approx(found.gap, rel=1e-9)
        assert found.gap > 0
        # ½ β (Σ log Λ_dd - log|Λ|), and the variances are the best of all
        precision = torch.eye(dim) + weight.T @ weight / (3 * 0.25)
        torch.testing.assert_close(found.precision, precision)
        gap = 1.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        assert found.gap == pytest.approx(gap.item(), rel=1e-9)

    def test_the_optimum_is_log_p_of_x_at_beta_one(self):
        columns, bias, x = self.problem(1, 3)
        covariance = 4.0 * columns @ columns.T + 0.49 * torch.eye(6)
        exact = torch.distributions.MultivariateNormal(bias, covariance).log_prob(x).mean()
        found = evaluation.best_diagonal_gap(
            columns, x, bias=bias, noise_scale=0.7, prior_scale=2.0
        )
        assert found.optimum == pytest.approx(exact.item(), rel=1e-12)


class TestScaling:
    @pytest.mark.parametrize("head", HEADS, ids=head_ids)
    @pytest.mark.parametrize("kind", ["full", "diagonal"])
    @given(seed=seeds, dim=st.integers(1, 5), beta=betas)
    def test_beta_is_a_scaling_of_the_latent_space_and_an_entropy(
        self, kind, head, seed, dim, beta
    ):
        r"""Corollary 1: L_β = L'_1 + ½(β-1) log|V'| + ½D(β-1)(1 + log 2π/β) + log F_β."""
        torch.manual_seed(seed)
        root = torch.randn(dim, dim) + 2 * torch.eye(dim)
        if kind == "full":
            prior = priors.FullNormal(dim, root @ root.T)
        else:
            prior = priors.Normal(dim, scale=root.diagonal().abs() + 0.1)
        model, x = drawn(seed, head, prior, dim)
        scaled = evaluation.rescale(model, math.sqrt(beta))

        covariance = model.prior().covariance_matrix if kind == "full" else model.prior().variance
        log_det = torch.logdet(covariance) if kind == "full" else covariance.log().sum()
        log_f = 0.5 * (1 - beta) * (dim * math.log(2 * math.pi) + log_det)
        log_f = log_f - 0.5 * dim * math.log(beta)
        q = scaled.encode(x)
        if hasattr(q, "covariance_matrix"):
            log_v = torch.linalg.slogdet(q.covariance_matrix).logabsdet
        else:
            log_v = q.variance.log().sum(-1)
        rest = 0.5 * (beta - 1) * log_v.mean() + log_f
        rest = rest + 0.5 * dim * (beta - 1) * (1 + math.log(2 * math.pi / beta))

        bound = -value(model, objectives.BetaVAE(beta), x)
        found = -value(scaled, objectives.ELBO(), x) + rest
        size = abs(bound) + abs(rest)
        assert abs(found - bound) <= 1e-12 * size

    @given(seed=seeds, dim=dims)
    def test_the_scaled_posterior_has_the_covariance_of_the_corollary(self, seed, dim):
        model, x = drawn(seed, posteriors.FullNormal, priors.Normal(dim), dim)
        q, scaled = model.encode(x), evaluation.rescale(model, math.sqrt(3.0)).encode(x)
        torch.testing.assert_close(scaled.mean, math.sqrt(3.0) * q.mean)
        torch.testing.assert_close(scaled.covariance_matrix, 3.0 * q.covariance_matrix)

    @given(seed=seeds, dim=dims)
    def test_scalings_change_the_objective_by_the_second_moments(self, seed, dim):
        """KL(sq ‖ p) - KL(q ‖ p) = ½(s² - 1) E|z|² - D log s for a standard normal prior."""
        model, x = drawn(seed, posteriors.DiagonalNormal, priors.Normal(dim), dim)
        scale = torch.linspace(-2.0, 3.0, dim)
        q = model.encode(x)
        second = (q.mean.square() + q.variance).mean(0)
        change = (0.5 * (scale.square() - 1) * second - scale.abs().log()).sum()
        before = value(model, objectives.ELBO(), x)
        after = value(evaluation.rescale(model, scale), objectives.ELBO(), x)
        torch.testing.assert_close(after - before, change.detach(), rtol=1e-9, atol=1e-9)
