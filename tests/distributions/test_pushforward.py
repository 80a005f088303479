"""Linear maps of distributions: samples, densities and closed forms, against independent ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Distribution, Gumbel, Independent, register_kl

from disvae import distributions as dist
from disvae.objectives import batches
from disvae.objectives.aggregate import log_sums

D, B = 3, 4
F64 = torch.float64


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(g, *shape):
    return torch.randn(*shape, generator=g, dtype=F64)


def rotation(g, dim=D):
    return torch.linalg.qr(draw(g, dim, dim)).Q


def dense(g, dim=D):
    return draw(g, dim, dim) + 2 * torch.eye(dim).double()


def diagonal(g, dim=D):
    return draw(g, dim).exp().diag()


def monomial(g, dim=D):
    """A permutation of the axes, with factors of both signs."""
    factors = draw(g, dim).exp() * torch.where(torch.arange(dim) % 2 == 0, 1.0, -1.0)
    return torch.eye(dim).double()[torch.randperm(dim, generator=g)] * factors.unsqueeze(-1)


def signs(g, dim=D):
    return monomial(g, dim).sign()


MAPS = [rotation, dense, diagonal, monomial, signs]
STRUCTURED = [diagonal, monomial, signs]
ORTHOGONAL = [rotation, signs]


def normal(g, batch=(B,)):
    return Independent(dist.Normal(draw(g, *batch, D), draw(g, *batch, D).exp()), 1)


def torchs_normal(g, batch=(B,)):
    return Independent(torch.distributions.Normal(draw(g, *batch, D), draw(g, *batch, D).exp()), 1)


def tril(g, batch):
    return draw(g, *batch, D, D).tril(-1) + torch.diag_embed(draw(g, *batch, D).exp())


def full(g, batch=(B,)):
    return dist.MultivariateNormal(draw(g, *batch, D), scale_tril=tril(g, batch))


def torchs_full(g, batch=(B,)):
    return torch.distributions.MultivariateNormal(draw(g, *batch, D), scale_tril=tril(g, batch))


def low_rank(g, batch=(B,)):
    return dist.LowRankMultivariateNormal(
        draw(g, *batch, D), draw(g, *batch, D, 2), draw(g, *batch, D).exp()
    )


def torchs_low_rank(g, batch=(B,)):
    q = low_rank(g, batch)
    return torch.distributions.LowRankMultivariateNormal(q.loc, q.cov_factor, q.cov_diag)


def pushed(g, batch=(B,)):
    return dist.pushforward(full(g, batch), dense(g))


def laplace(g, batch=(B,)):
    return Independent(dist.Laplace(draw(g, *batch, D), draw(g, *batch, D).exp()), 1)


def student_t(g, batch=(B,)):
    loc, scale = draw(g, *batch, D), draw(g, *batch, D).exp()
    return Independent(dist.StudentT(3 + scale, loc, scale), 1)


def generalised(g, batch=(B,)):
    loc, scale = draw(g, *batch, D), draw(g, *batch, D).exp()
    return Independent(dist.GeneralizedNormal(loc, scale, 0.7 + loc.abs()), 1)


def gumbel(g, batch=(B,)):
    """It has no symmetry, so signs matter."""
    return Independent(Gumbel(draw(g, *batch, D), draw(g, *batch, D).exp()), 1)


def sparse(g, batch=(B,)):
    scale = draw(g, *batch, D, 2).exp()
    components = dist.Normal(draw(g, *batch, D, 2), scale)
    weights = Categorical(logits=draw(g, *batch, D, 2))
    return Independent(dist.Mixture(weights, components), 1)


def clusters(g, batch=(B,)):
    return dist.GaussianMixture(
        draw(g, *batch, 5), draw(g, *batch, 5, D), draw(g, *batch, 5, D).exp()
    )


def joint(g, batch=(B,)):
    one = Independent(dist.Normal(draw(g, *batch, 2), draw(g, *batch, 2).exp()), 1)
    other = Independent(dist.Laplace(draw(g, *batch, 1), draw(g, *batch, 1).exp()), 1)
    return dist.Joint([one, other], dims=[[2, 0], [1]])


def flow(g, batch=()):
    torch.manual_seed(g.initial_seed())
    return zuko.flows.NSF(D, transforms=1, hidden_features=(8,)).double()()


NORMALS = [normal, torchs_normal, full, torchs_full, low_rank, torchs_low_rank, pushed]
FACTORISED = [normal, torchs_normal, laplace, student_t, generalised, gumbel, sparse, joint]
REAL = [*NORMALS, laplace, student_t, gumbel, sparse, clusters, joint, flow]
by_name = {"ids": lambda f: f.__name__}


def as_normal(d):
    """Any normal distribution over vectors, as torch's own by its covariance."""
    covariance = (
        torch.diag_embed(d.variance)
        if isinstance(d, Independent)
        else getattr(d, "covariance_matrix", None)
    )
    return torch.distributions.MultivariateNormal(d.mean, covariance)


def exact(base, matrix):
    """The map of a normal distribution, by the textbook."""
    old = as_normal(base)
    covariance = matrix @ old.covariance_matrix @ matrix.T
    return torch.distributions.MultivariateNormal(
        (matrix @ old.mean.unsqueeze(-1)).squeeze(-1), (covariance + covariance.mT) / 2
    )


@pytest.mark.parametrize("make_map", MAPS, **by_name)
@pytest.mark.parametrize("make", REAL, **by_name)
def test_samples_are_maps_of_the_same_noise_and_densities_change_by_the_volume(make, make_map):
    g = generator(0)
    base, matrix = make(g), make_map(g)
    d = dist.pushforward(base, matrix)
    assert (d.batch_shape, d.event_shape) == (base.batch_shape, base.event_shape)
    assert d.has_rsample == base.has_rsample
    if make is not flow:  # which tells none
        assert d.support.event_dim == 1
        assert d.support.check(d.sample((2,))).shape == (2, *d.batch_shape)
    for method in ("sample", "rsample") if base.has_rsample else ("sample",):
        torch.manual_seed(1)
        z = getattr(base, method)((5,))
        torch.manual_seed(1)
        mapped = getattr(d, method)((5,))
        torch.testing.assert_close(mapped, z @ matrix.T, rtol=1e-14, atol=1e-13)
    volume = np.linalg.slogdet(matrix.numpy())[1]
    torch.testing.assert_close(d.log_prob(mapped), base.log_prob(z) - volume, rtol=0, atol=1e-10)
    if base.batch_shape:  # points that broadcast against the batch
        points = draw(g, 7, 1, D)
        before = torch.from_numpy(np.linalg.solve(matrix.numpy(), points.numpy()[..., None]))
        expected = base.log_prob(before.squeeze(-1).expand(7, B, D)) - volume
        torch.testing.assert_close(d.log_prob(points), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make_map", MAPS, **by_name)
@pytest.mark.parametrize("make", NORMALS, **by_name)
def test_normals_become_the_normals_of_the_textbook(make, make_map):
    g = generator(2)
    base, matrix = make(g), make_map(g)
    d, known = dist.pushforward(base, matrix), exact(base, matrix)
    close = {"rtol": 1e-10, "atol": 1e-10}
    z = draw(g, 6, B, D)
    torch.testing.assert_close(d.log_prob(z), known.log_prob(z), **close)
    torch.testing.assert_close(d.entropy(), known.entropy(), **close)
    torch.testing.assert_close(d.mean, known.mean, **close)
    torch.testing.assert_close(d.mode, known.mean, **close)
    torch.testing.assert_close(d.variance, known.variance, **close)
    torch.testing.assert_close(d.stddev, known.variance.sqrt(), **close)
    if not isinstance(d, Independent):
        torch.testing.assert_close(d.covariance_matrix, known.covariance_matrix, **close)
    each = dist.marginals(d)
    torch.testing.assert_close(each.loc, known.mean, **close)
    torch.testing.assert_close(each.scale, known.variance.sqrt(), **close)
    torch.testing.assert_close(dist.point(d), known.mean, **close)
    u = torch.tensor([0.1, 0.975])
    torch.testing.assert_close(dist.quantile(d, u), dist.quantile(known, u), **close)
    larger = d.expand((2, B))
    assert larger.batch_shape == (2, B)
    torch.testing.assert_close(larger.log_prob(z[0]), known.log_prob(z[0]).expand(2, B), **close)
    torch.manual_seed(0)
    assert larger.rsample((3,)).shape == (3, 2, B, D)


@pytest.mark.parametrize("make_map", MAPS, **by_name)
@pytest.mark.parametrize("other", [normal, full, low_rank, torchs_full, pushed], **by_name)
@pytest.mark.parametrize("make", NORMALS, **by_name)
def test_divergences_of_normals_stay_closed(make, other, make_map):
    g = generator(3)
    base, p, matrix = make(g), other(g, ()), make_map(g)
    q = dist.pushforward(base, matrix)
    for a, b, x, y in (
        (q, p, exact(base, matrix), as_normal(p)),
        (p.expand((B,)), q, as_normal(p), exact(base, matrix)),
    ):
        assert dist.has_closed_form(a, b)
        found = dist.kl(a, b)
        assert found.shape == (B,)
        expected = torch.distributions.kl_divergence(x, y)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make_map", STRUCTURED, **by_name)
def test_independent_normals_stay_independent_under_maps_of_single_axes(make_map):
    """So that every closed form of theirs is found, not only those between normals."""
    g = generator(4)
    base, matrix = normal(g), make_map(g)
    d, p = dist.pushforward(base, matrix), laplace(g, ())
    assert dist.is_factorised(d)
    assert dist.is_normal(dist.base_of(d))
    assert dist.has_closed_form(d, p)
    plain = Independent(dist.Normal(d.mean, d.stddev), 1)
    torch.testing.assert_close(dist.kl(d, p), dist.kl(plain, p))
    z = draw(g, D)
    found, expected = (dist.equal_mixture(q, d.mean).log_prob(z) for q in (d, plain))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("make_map", [rotation, dense], **by_name)
@pytest.mark.parametrize("make", FACTORISED, **by_name)
def test_mixed_dimensions_are_dependent(make, make_map):
    g = generator(5)
    base, p = make(g), laplace(g, ())
    d = dist.pushforward(base, make_map(g))
    assert not dist.is_factorised(d)
    assert not dist.has_closed_form(d, p)
    z = d.sample((3,))
    torch.testing.assert_close(dist.kl(d, p, z), d.log_prob(z) - p.log_prob(z))
    if make not in NORMALS:
        with pytest.raises(ValueError, match="Pushforward has none in closed form"):
            dist.marginals(d)


@pytest.mark.parametrize("make", FACTORISED, **by_name)
def test_the_variance_of_mixed_dimensions_is_that_of_a_weighted_sum(make):
    g = generator(26)
    base, one, two = make(g), dense(g), rotation(g)
    d = dist.pushforward(base, one)
    torch.testing.assert_close(d.variance, base.variance @ one.square().T)
    assert d.expand((2, B)).variance.shape == (2, B, D)
    # a second map mixes what is dependent by then
    for second in (two, monomial(g)):
        twice = dist.pushforward(d, second)
        torch.testing.assert_close(twice.variance, base.variance @ (second @ one).square().T)
        torch.testing.assert_close(twice.mean, base.mean @ (second @ one).T)


def test_the_variance_has_the_dtype_of_the_base_and_a_gradient():
    g = generator(29)
    matrix, scale = rotation(g), draw(g, B, D).exp().float().requires_grad_()
    base = Independent(dist.Laplace(torch.zeros(B, D), scale), 1)
    variance = dist.pushforward(base, matrix).variance
    expected = 2 * scale.square() @ matrix.float().square().T
    torch.testing.assert_close(variance, expected)
    gradients = (torch.autograd.grad(v.log().sum(), scale)[0] for v in (variance, expected))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("make", [clusters, flow], **by_name)
def test_dependent_dimensions_have_no_variance_once_mixed(make):
    """Variances do not tell it; a permutation asks for no more than they tell."""
    g = generator(27)
    base = make(g)
    for d in (dist.pushforward(base, rotation(g)), dist.Joint([base, normal(g, base.batch_shape)])):
        matrix = rotation(g, d.event_shape[0])
        with pytest.raises(NotImplementedError):
            _ = dist.pushforward(d, matrix).variance
    if make is clusters:
        matrix = monomial(g)
        expected = base.variance @ matrix.square().T
        torch.testing.assert_close(dist.pushforward(base, matrix).variance, expected)


def test_an_infinite_variance_is_only_where_it_counts():
    """Of a Student-t with a df for each dimension."""
    df = torch.tensor([1.5, 5.0, 6.0]).double()
    base = Independent(dist.StudentT(df, torch.zeros(D).double(), 1.0), 1)
    matrix = torch.eye(D).double()
    matrix[1:, 1:] = rotation(generator(28), 2)
    variance = dist.pushforward(base, matrix).variance
    assert variance[0] == torch.inf
    torch.testing.assert_close(variance[1:], matrix[1:, 1:].square() @ base.variance[1:])


def test_the_form_follows_from_the_zeros_of_the_matrix_not_from_how_small_an_entry_is():
    base = normal(generator(6))
    angle = 1e-30
    almost = torch.tensor([[math.cos(angle), -angle, 0], [angle, math.cos(angle), 0], [0, 0, 1]])
    assert not dist.is_factorised(dist.pushforward(base, almost.double()))
    assert dist.is_factorised(dist.pushforward(base, torch.eye(D)))
    like_any = dist.LinearMap(torch.eye(D), structured=False)
    d = dist.pushforward(base, like_any)
    assert isinstance(d, dist.PushedNormal)
    assert not dist.is_factorised(d)
    z = draw(generator(7), 5, B, D)
    assert torch.equal(d.log_prob(z), base.log_prob(z))
    assert torch.equal(like_any(z), z)
    assert not dist.is_factorised(dist.pushforward(laplace(generator(6)), like_any))


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_a_rotation_costs_no_digits(scale):
    """The Cholesky factor of the rotated covariance would lose half of them at scales of 1e-4."""
    g = generator(8)
    base = Independent(dist.Normal(draw(g, B, D), draw(g, B, D).sigmoid() * scale), 1)
    base.base_dist.scale[:, 0] = 1.0
    p = Independent(dist.Normal(torch.zeros(D).double(), torch.full((D,), 0.7).double()), 1)
    for matrix in (rotation(g), signs(g)):
        q = dist.pushforward(base, matrix)
        torch.testing.assert_close(dist.kl(q, p), dist.kl(base, p), rtol=2e-15, atol=0)
        torch.testing.assert_close(q.entropy(), base.entropy(), rtol=0, atol=0)
        z = base.sample((50,))
        torch.testing.assert_close(q.log_prob(z @ matrix.T), base.log_prob(z), rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [laplace, gumbel, sparse], **by_name)
def test_a_mapped_density_is_one(make):
    """It integrates to 1 over the plane, and its entropy is that of the samples."""
    g = generator(9)
    matrix = dense(g)
    d = dist.pushforward(make(g, ()), matrix)
    z = d.sample((40_000,))
    wide = torch.distributions.MultivariateNormal(z.mean(0), 2 * z.T.cov())
    points = wide.sample((40_000,))
    weight = (d.log_prob(points) - wide.log_prob(points)).exp()
    assert (weight.mean() - 1).abs() < 5 * weight.std() / 200 + 0.01
    if make is not sparse:
        value = -d.log_prob(z)
        assert (value.mean() - d.entropy()).abs() < 5 * value.std() / 200


@pytest.mark.parametrize("make_map", STRUCTURED, **by_name)
@pytest.mark.parametrize("make", FACTORISED, **by_name)
def test_permuted_and_scaled_axes_keep_their_marginals(make, make_map):
    g = generator(10)
    base, matrix = make(g), make_map(g)
    d = dist.pushforward(base, matrix)
    assert dist.is_factorised(d)
    each = dist.marginals(d)
    assert (each.batch_shape, each.event_shape) == ((B, D), ())
    z = d.sample((5,))
    torch.testing.assert_close(each.log_prob(z).sum(-1), d.log_prob(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(each.mean, d.mean)
    torch.testing.assert_close(each.variance, d.variance)
    # dimension by dimension: z'_i = a z_j
    old = dist.marginals(base)
    for i, row in enumerate(matrix):
        j, a = int(row.abs().argmax()), row[row != 0].item()
        before = torch.zeros(5, B, D).double()
        before[..., j] = z[..., i] / a
        expected = old.log_prob(before)[..., j] - math.log(abs(a))
        torch.testing.assert_close(each.log_prob(z)[..., i], expected, rtol=1e-12, atol=1e-12)
        below = old.cdf(before)[..., j]
        torch.testing.assert_close(each.cdf(z)[..., i], below if a > 0 else 1 - below)
    u = torch.tensor([0.05, 0.5, 0.9], dtype=F64)
    levels = u.reshape(3, 1, 1).expand(3, B, D)
    torch.testing.assert_close(each.cdf(dist.quantile(d, u)), levels, rtol=0, atol=1e-6)
    torch.manual_seed(3)
    error = (each.sample((20_000,)).mean(0) - d.mean) / d.stddev
    assert error.abs().max() < 6 / 20_000**0.5


@pytest.mark.parametrize("make_map", STRUCTURED, **by_name)
@pytest.mark.parametrize("make", [normal, laplace, student_t, generalised], **by_name)
def test_families_stay_of_their_kind_under_maps_of_single_axes(make, make_map):
    r"""KL(Aq ‖ p) is KL(q ‖ A⁻¹p), with another map of p done here by hand."""
    g = generator(25)
    base, p, matrix = make(g), normal(g, ()), make_map(g)
    d = dist.pushforward(base, matrix)
    assert issubclass(type(d.base_dist), type(base.base_dist))
    assert dist.has_closed_form(d, p)
    inverse = torch.linalg.inv(matrix)
    pulled = Independent(dist.Normal(inverse @ p.mean, inverse.abs() @ p.stddev), 1)
    torch.testing.assert_close(dist.kl(d, p), dist.kl(base, pulled), rtol=1e-10, atol=1e-10)
    twice = dist.pushforward(d, inverse)
    assert dist.has_closed_form(twice, p)
    z = twice.sample((3,))
    torch.testing.assert_close(twice.log_prob(z), base.log_prob(z), rtol=1e-10, atol=1e-10)
    assert d.expand((2, B)).base_dist.loc.shape == (2, B, D)
    torch.manual_seed(4)
    before = base.expand((2, B)).rsample((5,))
    torch.manual_seed(4)
    torch.testing.assert_close(d.expand((2, B)).rsample((5,)), before @ matrix.T)


def test_a_divergence_of_marginals_is_that_of_each_dimension():
    g = generator(11)
    base, p, matrix = sparse(g), laplace(g, ()), monomial(g)
    q = dist.pushforward(base, matrix)
    z = q.sample((20_000,))
    found = dist.kl(dist.marginals(q), dist.marginals(p), z)
    torch.testing.assert_close(found.sum(-1), dist.kl(q, p, z))
    with pytest.raises(ValueError, match="Expected samples z"):
        dist.kl(dist.marginals(q), dist.marginals(p))


def test_a_point_is_mapped_with_its_distribution():
    g = generator(12)
    matrix = rotation(g)
    direction = dist.PowerSpherical(F.normalize(draw(g, B, D), dim=-1), draw(g, B).exp())
    turned = dist.pushforward(direction, matrix)
    torch.testing.assert_close(dist.point(turned), direction.loc @ matrix.T)
    assert dist.point(turned).norm(dim=-1).sub(1).abs().max() < 1e-12
    wild = Independent(dist.StudentT(torch.full((B, D), 0.5).double(), 0.0, 1.0), 1)
    found = dist.point(dist.pushforward(wild, matrix))
    torch.testing.assert_close(found, dist.point(wild) @ matrix.T)


@pytest.mark.parametrize("make_map", ORTHOGONAL, **by_name)
def test_directions_rotate_on_their_sphere(make_map):
    g = generator(13)
    matrix = make_map(g)
    base = dist.PowerSpherical(F.normalize(draw(g, B, D), dim=-1), 10 * draw(g, B).exp())
    d = dist.pushforward(base, matrix)
    assert d.support is dist.constraints.sphere
    same = dist.PowerSpherical(base.loc @ matrix.T, base.concentration)
    z = same.sample((6,))
    torch.testing.assert_close(d.log_prob(z), same.log_prob(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(d.entropy(), same.entropy())
    uniform = dist.HypersphericalUniform(D, (), F64)
    torch.testing.assert_close(dist.kl(d, uniform, z), same.log_prob(z) - uniform.log_prob(z))
    with pytest.raises(ValueError, match="different supports"):
        dist.kl(d, normal(g, ()), z)
    pair = dist.pushforward(dist.Joint([base, normal(g)]), rotation(g, 2 * D))
    with pytest.raises(NotImplementedError):
        _ = pair.support  # a rotated pair of directions and numbers is neither


def test_what_has_no_density_still_has_none(is_clear):
    d = dist.pushforward(dist.Delta(draw(generator(14), B, D)), rotation(generator(14)))
    assert d.has_density is False
    with pytest.raises(ValueError, match="has none") as raised:
        d.log_prob(d.mean)
    is_clear(raised.value)
    assert torch.equal(d.rsample(), d.mean)


@pytest.mark.parametrize("groups", [(), ((0, 2), (1,)), ((2,), (0,), (1,))])
@pytest.mark.parametrize("make_map", [rotation, monomial], **by_name)
@pytest.mark.parametrize("make", [normal, full, low_rank], **by_name)
def test_the_aggregate_of_mapped_posteriors(make, make_map, groups):
    """Joint, of each dimension and of groups, by the textbook's normals, with gradient."""
    g = generator(15)
    base, matrix = make(g), make_map(g)
    q, known = dist.pushforward(base, matrix), exact(base, matrix)
    z = draw(g, 5, B, D).requires_grad_()
    joint_sum, each, of_groups = log_sums(q, z, groups)
    torch.testing.assert_close(joint_sum, known.log_prob(z.unsqueeze(-2)).logsumexp(-1))
    for dims, found in [([i], each[..., i]) for i in range(D)] + [
        (list(group), of_groups[..., i]) for i, group in enumerate(groups)
    ]:
        part = torch.distributions.MultivariateNormal(
            known.mean[..., dims], known.covariance_matrix[..., dims, :][..., dims]
        )
        expected = part.log_prob(z[..., dims].unsqueeze(-2)).logsumexp(-1)
        torch.testing.assert_close(found, expected)
    (slope,) = torch.autograd.grad((joint_sum + each.sum(-1)).sum(), z)
    assert slope.isfinite().all()


def test_equal_mixtures_of_mapped_posteriors():
    g = generator(16)
    base, matrix = full(g), rotation(g)
    z = draw(g, 6, D)
    found = dist.equal_mixture(dist.pushforward(base, matrix), z).log_prob(z @ matrix.T)
    torch.testing.assert_close(found, dist.equal_mixture(base, z).log_prob(z))


@pytest.mark.parametrize("make_map", MAPS, **by_name)
@pytest.mark.parametrize("make", [normal, full, low_rank, laplace], **by_name)
def test_gradients_are_those_of_the_formula(make, make_map):
    g = generator(17)
    matrix, z, seed = make_map(g), draw(g, B, D), 18

    def values(build):
        parameters = []

        def tracked(*shape):
            value = draw(state, *shape).requires_grad_()
            parameters.append(value)
            return value

        state = generator(seed)
        base = {
            normal: lambda: Independent(dist.Normal(tracked(B, D), tracked(B, D).exp()), 1),
            laplace: lambda: Independent(dist.Laplace(tracked(B, D), tracked(B, D).exp()), 1),
            full: lambda: dist.MultivariateNormal(
                tracked(B, D), scale_tril=tracked(B, D, D).tril(-1) + torch.eye(D).double()
            ),
            low_rank: lambda: dist.LowRankMultivariateNormal(
                tracked(B, D), tracked(B, D, 1), tracked(B, D).exp()
            ),
        }[make]()
        torch.manual_seed(0)
        total = build(base)
        return torch.autograd.grad(total, parameters)

    def ours(base):
        d = dist.pushforward(base, matrix)
        p = Independent(dist.Normal(torch.zeros(D).double(), 1.3), 1)
        sample = d.rsample()
        divergence = dist.kl(d, p, sample, analytic=make is not laplace).unsqueeze(-1)
        return (sample.sin() + divergence).sum() + d.log_prob(z).sum()

    def plain(base):
        p = Independent(dist.Normal(torch.zeros(D).double(), 1.3), 1)
        before = base.rsample()
        sample = before @ matrix.T
        volume = np.linalg.slogdet(matrix.numpy())[1]
        if make is laplace:
            divergence = base.log_prob(before) - volume - p.log_prob(sample)
        else:
            divergence = torch.distributions.kl_divergence(exact(base, matrix), as_normal(p))
        inverse = torch.linalg.inv(matrix)
        return (sample.sin() + divergence.unsqueeze(-1)).sum() + base.log_prob(z @ inverse.T).sum()

    for found, expected in zip(values(ours), values(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_a_matrix_is_a_constant():
    matrix = rotation(generator(19)).requires_grad_()
    d = dist.pushforward(normal(generator(19)), matrix)
    z = draw(generator(20), B, D)
    before = d.log_prob(z)
    assert not before.requires_grad
    with torch.no_grad():
        matrix.zero_()
    assert torch.equal(d.log_prob(z), before)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), dim=st.integers(1, 6), kind=st.sampled_from(MAPS))
def test_linear_maps_invert_and_know_their_volume(seed, dim, kind):
    g = generator(seed)
    matrix = kind(g, dim)
    linear_map, z = dist.LinearMap(matrix), draw(g, 4, dim)
    torch.testing.assert_close(linear_map(z), z @ matrix.T)
    torch.testing.assert_close(linear_map.inverse(linear_map(z)), z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(linear_map(linear_map.inverse(z)), z, rtol=1e-9, atol=1e-9)
    assert linear_map.log_abs_det == pytest.approx(np.linalg.slogdet(matrix.numpy())[1], abs=1e-12)
    if kind in ORTHOGONAL:
        assert linear_map.orthogonal
        assert linear_map.log_abs_det == 0
    if kind in STRUCTURED:
        assert linear_map.order == tuple(matrix.abs().argmax(1).tolist())
    elif dim > 1:
        assert linear_map.order is None
    assert dist.LinearMap(matrix, structured=False).order is None


def test_a_triangular_matrix_is_no_permutation():
    """It has one entry in its first row, and in its last column."""
    assert dist.LinearMap(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).order is None
    assert dist.LinearMap(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).order is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_is_that_of_the_samples_and_autocast_does_not_round_them(dtype):
    g = generator(20)
    matrix = rotation(g)
    linear_map, z = dist.LinearMap(matrix), draw(g, 50, D).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mapped = linear_map(z)
    assert mapped.dtype == dtype
    error = (mapped.double() - z.double() @ matrix.T).abs().max()
    assert error < {torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    single = Independent(dist.Normal(torch.zeros(B, D), torch.ones(B, D)), 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        d = dist.pushforward(single, matrix)
        x = d.rsample()
        torch.testing.assert_close(d.log_prob(x), single.log_prob(x), rtol=0, atol=1e-5)
    assert d.variance.dtype == d.mean.dtype == torch.float32


@pytest.mark.parametrize("make_map", [rotation, monomial], **by_name)
@pytest.mark.parametrize("make", [normal, full, laplace], **by_name)
def test_it_compiles_from_a_cold_start(make, make_map):
    g = generator(21)
    linear_map, p = dist.LinearMap(make_map(g)), normal(g, ())
    base, z = make(g), draw(g, 5, B, D)
    parameters = {n: getattr(dist.base_of(base), n) for n in dist.base_of(base).arg_constraints}
    family = type(dist.base_of(base))
    names = ("loc", "scale_tril") if make is full else ("loc", "scale")

    def value(*given):
        base = family(**dict(zip(names, given, strict=True)), validate_args=False)
        base = base if make is full else Independent(base, 1, validate_args=False)
        d = dist.pushforward(base, linear_map)
        return d.rsample().sum() + dist.kl(d, p, z).sum() + d.log_prob(z).sum()

    given = [parameters[name] for name in names]
    torch._dynamo.reset()
    torch.manual_seed(0)
    compiled = torch.compile(value, fullgraph=True, backend="eager")(*given)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled, value(*given))


@pytest.mark.parametrize("make_map", [rotation, monomial], **by_name)
@pytest.mark.parametrize("make", [normal, full, laplace], **by_name)
def test_rows_of_several_processes_are_gathered(make, make_map, monkeypatch):
    """As if two processes had the same rows."""
    g = generator(22)
    d = dist.pushforward(make(g), make_map(g))
    monkeypatch.setattr(batches, "process_count", lambda: 2)
    monkeypatch.setattr(batches, "gather", lambda x, dim=0: torch.cat((x, x), dim))
    whole = batches.gather_distribution(d)
    z = d.sample()
    assert whole.batch_shape == (2 * B,)
    found = whole.log_prob(torch.cat((z, z)))
    torch.testing.assert_close(found, d.log_prob(z).repeat(2))
    torch.testing.assert_close(whole.mean, d.mean.repeat(2, 1))


def test_a_users_own_closed_form_does_not_reach_through_a_map():
    """It was registered for the family, and a map of it is of another."""

    class Mine(dist.Laplace):
        pass

    @register_kl(Mine, Mine)
    def _closed(q, p):
        raise AssertionError

    base = Independent(Mine(torch.zeros(B, D), torch.ones(B, D)), 1)
    for matrix in (torch.eye(D), rotation(generator(23))):
        assert not dist.has_closed_form(dist.pushforward(base, matrix), base)


BAD = {
    "list": lambda: dist.LinearMap([[1.0]]),
    "integers": lambda: dist.LinearMap(torch.eye(2, dtype=torch.long)),
    "vector": lambda: dist.LinearMap(torch.ones(3)),
    "oblong": lambda: dist.LinearMap(torch.ones(3, 2)),
    "empty": lambda: dist.LinearMap(torch.ones(0, 0)),
    "several": lambda: dist.LinearMap(torch.eye(2).expand(3, 2, 2)),
    "nan": lambda: dist.LinearMap(torch.full((2, 2), torch.nan)),
    "singular": lambda: dist.LinearMap(torch.ones(2, 2)),
    "nearly singular": lambda: dist.LinearMap(torch.tensor([[1, 1], [1, 1 + 3e-16]], dtype=F64)),
    "zero": lambda: dist.LinearMap(torch.zeros(2, 2)),
    "one entry in each column": lambda: dist.LinearMap(torch.tensor([[1.0, 1.0], [0.0, 0.0]])),
    "one entry in each row": lambda: dist.LinearMap(torch.tensor([[1.0, 0.0], [1.0, 0.0]])),
    "wrong size": lambda: dist.pushforward(normal(generator(0)), torch.eye(2)),
    "numbers": lambda: dist.pushforward(dist.Normal(torch.zeros(D), 1.0), torch.eye(D)),
    "stretched sphere": lambda: dist.pushforward(dist.HypersphericalUniform(D), 2 * torch.eye(D)),
    "a sphere among others": lambda: dist.pushforward(
        dist.Joint([dist.HypersphericalUniform(2), dist.HypersphericalUniform(2)]),
        2 * torch.eye(4),
    ),
    "stretched simplex": lambda: dist.pushforward(
        dist.RelaxedCategorical(torch.zeros(D), 0.5), 2 * torch.eye(D)
    ),
    "vectors of another size": lambda: dist.LinearMap(torch.eye(2))(torch.zeros(4, 3)),
    "whole numbers": lambda: dist.LinearMap(torch.eye(2)).inverse(torch.zeros(4, 2).long()),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_clear(name, is_clear):
    with pytest.raises((TypeError, ValueError)) as raised:
        BAD[name]()
    is_clear(raised.value)


def test_supports_of_parts_of_the_line_are_not_told():
    """A rotated square is no square, so nothing is said about it."""
    square = Independent(torch.distributions.Uniform(torch.zeros(D), torch.ones(D)), 1)
    with pytest.raises(NotImplementedError):
        _ = dist.pushforward(square, rotation(generator(24))).support
    with pytest.raises(NotImplementedError):
        _ = dist.marginals(dist.pushforward(square, -torch.eye(D))).support
    assert isinstance(dist.pushforward(laplace(generator(24)), torch.eye(D)), Distribution)
