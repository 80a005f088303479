"""The hierarchically factorised VAE against exact aggregate posteriors."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal

from disvae import VAE, VAEOutput, decoders, encoders, priors, testing
from disvae import distributions as dist
from disvae.objectives import HFVAE, BetaTCVAE, aggregate, groups, terms

N, D = 12, 4
GROUPS = ((2, 0), (3,), (1,))  # an order that is not its own inverse
ESTIMATORS = ["weighted", "stratified", "batch", "leave-one-out"]


def diagonal(scale=0.4):
    loc = torch.randn(N, D).double()
    return Independent(dist.Normal(loc, scale * (1 + torch.rand(N, D).double())), 1)


def laplace():
    loc = torch.randn(N, D).double()
    return Independent(dist.Laplace(loc, 0.4 * (1 + torch.rand(N, D).double())), 1)


def full():
    factor = torch.tril(torch.randn(N, D, D)).double()
    covariance = factor @ factor.mT + 0.2 * torch.eye(D)
    return MultivariateNormal(torch.randn(N, D).double(), covariance)


def pass_of(posterior, z):
    prior = Independent(dist.Normal(torch.zeros(D).double(), torch.ones(D).double()), 1)
    likelihood = Independent(dist.Normal(torch.zeros(*z.shape[:-1], 2).double(), 1.0), 1)
    return VAEOutput(torch.zeros(z.shape[-2], 2).double(), z, posterior, prior, likelihood)


def of_group(posterior, dims):
    """The posteriors of some dimensions only."""
    dims = list(dims)
    if isinstance(posterior, MultivariateNormal):
        covariance = posterior.covariance_matrix[:, dims][..., dims]
        return MultivariateNormal(posterior.loc[:, dims], covariance)
    base = posterior.base_dist
    return Independent(type(base)(base.loc[:, dims], base.scale[:, dims]), 1)


@pytest.mark.parametrize("family", [dist, torch.distributions])
def test_low_rank_posteriors_give_what_the_same_full_ones_give(family):
    """The class of the shipped head is no subclass of torch's."""
    loc, factor, diagonal = (torch.randn(*s).double() for s in ((N, D), (N, D, 2), (N, D)))
    posterior = family.LowRankMultivariateNormal(loc, factor, 0.1 + diagonal.square())
    whole = MultivariateNormal(loc, posterior.covariance_matrix)
    z = posterior.sample()
    a, b = (
        aggregate.grouped_log_density(pass_of(q, z), GROUPS, N, "batch") for q in (posterior, whole)
    )
    torch.testing.assert_close(a, b)


def sharp(ratio, turned):
    """Normals in float32 of scales down to a ratio in D oblique directions, and their exact twins.

    They are the map of independent dimensions, or given by a triangular root.
    """
    scale = torch.logspace(0, math.log10(ratio), D).expand(N, D)
    base, matrix = Independent(dist.Normal(torch.randn(N, D), scale), 1), torch.randn(D, D)
    if turned:
        pushed = dist.pushforward(base, matrix)
        root = matrix.double() * scale.double().unsqueeze(-2)
        return pushed, MultivariateNormal(base.mean.double() @ matrix.double().T, root @ root.mT)
    tril = torch.linalg.qr(torch.diag_embed(scale) @ matrix).R.mT.contiguous()
    tril = tril * tril.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    covariance = tril.double() @ tril.double().mT
    return dist.MultivariateNormal(base.mean, scale_tril=tril), MultivariateNormal(
        base.mean.double(), covariance
    )


@pytest.mark.parametrize("ratio", [3e-4, 1e-4])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("dims", [(0, 1, 2, 3), (3, 1, 2), (2, 0)])
def test_groups_of_sharp_normals_keep_their_digits(ratio, turned, dims):
    """In float32 the factor of a sub-covariance was wrong by 0.2 nats here, or did not exist."""
    posterior, exact = sharp(ratio, turned)
    z = posterior.sample()
    groups = (dims, tuple(set(range(D)) - set(dims)))[: 1 + (len(dims) < D)]
    found = aggregate.log_sums(posterior, z, groups)[2][:, 0]
    each = of_group(exact, dims).log_prob(z[:, None, dims].double())
    torch.testing.assert_close(found.double(), each.logsumexp(-1), rtol=0, atol=5e-3)


def test_gradients_of_groups_of_dependent_normals():
    """Those of the density with the sub-covariance itself."""
    loc, tril, z = torch.randn(N, D), full().scale_tril, torch.randn(N, D).double()
    matrix = torch.randn(D, D).double()
    gradients = []
    for exact in (False, True):
        given = [v.double().clone().requires_grad_() for v in (loc, tril, z)]
        base = dist.MultivariateNormal(given[0], scale_tril=given[1])
        posterior = dist.pushforward(base, matrix)
        if exact:
            known = MultivariateNormal(posterior.loc, posterior.covariance_matrix)
            each = [of_group(known, g).log_prob(given[2][:, None, list(g)]) for g in GROUPS]
            sums = torch.stack(each, -1).logsumexp(-2)
        else:
            sums = aggregate.log_sums(posterior, given[2], GROUPS)[2]
        weight = torch.linspace(-1, 2, sums.numel()).reshape(sums.shape)
        gradients.append(torch.autograd.grad((weight * sums).sum(), given))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [diagonal, laplace, full])
@pytest.mark.parametrize("sample_shape", [(), (4,)])
def test_on_a_whole_data_set_groups_are_exact(make, sample_shape):
    posterior = make()
    z = posterior.sample(sample_shape)
    out = pass_of(posterior, z)
    *others, found = aggregate.grouped_log_density(out, GROUPS, N, "batch")
    torch.testing.assert_close(tuple(others), aggregate.aggregate_log_density(out, N, "batch"))
    weights = Categorical(probs=torch.ones(N).double())
    for i, dims in enumerate(GROUPS):
        exact = MixtureSameFamily(weights, of_group(posterior, dims)).log_prob(z[..., list(dims)])
        torch.testing.assert_close(found[..., i], exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("make", [diagonal, laplace, full])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_terms_are_those_of_the_parts_of_the_code(make, estimator):
    """A group is a code of its own, whose total correlation there is a term for already."""
    posterior = make()
    z = posterior.rsample((2,))
    out = pass_of(posterior, z)
    within = sum(
        terms.TotalCorrelation(100, estimator=estimator)(
            dataclasses.replace(out, z=z[..., list(g)], posterior=of_group(posterior, g))
        )
        for g in GROUPS
    )
    found = groups._WithinGroups(GROUPS, 100, estimator)(out)
    torch.testing.assert_close(found, within, rtol=1e-9, atol=1e-9)
    whole = terms.TotalCorrelation(100, estimator=estimator)(out)
    between = groups._BetweenGroups(GROUPS, 100, estimator)(out)
    torch.testing.assert_close(between, whole - within, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_parts_add_up_to_the_sampled_kl(dtype):
    model = VAE(encoders.MLP(6, D), decoders.MLP(D, 6), prior=priors.Normal(D)).to(dtype)
    values = HFVAE(GROUPS, 1000, beta=1.0).loss(out := model(torch.rand(32, 6, dtype=dtype))).terms
    total = sum(v for name, v in values.items() if name != "reconstruction")
    expected = terms.KL(analytic=False)(out).mean().detach()
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "weights", "unused"),
    [
        ([(0,), (1,), (2,), (3,)], {"beta": 5.0}, {"gamma": 99.0}),
        ([(0, 1, 2, 3)], {"gamma": 5.0}, {"beta": 99.0}),
    ],
)
def test_groups_of_one_and_one_group_are_the_beta_tc_vae(given, weights, unused):
    model = VAE(encoders.MLP(6, D), decoders.MLP(D, 6), prior=priors.Normal(D)).double()
    out = model(torch.rand(16, 6).double())
    objective = HFVAE(given, 100, alpha=0.5, delta=2.0, **weights, **unused)
    found = objective.loss(out).total
    expected = BetaTCVAE(100, alpha=0.5, beta=5.0, gamma=2.0).loss(out).total
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    parameters = list(model.parameters())
    pairs = zip(
        torch.autograd.grad(found, parameters, retain_graph=True),
        torch.autograd.grad(expected, parameters),
        strict=True,
    )
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_dependence_is_found_where_it_is():
    """Codes with z₀ = z₂: inside of the group (0, 2), and between groups that part them."""
    loc = torch.randn(400, D).double()
    loc[:, 2] = loc[:, 0]
    posterior = Independent(dist.Normal(loc, 0.3), 1)
    out = pass_of(posterior, posterior.rsample())

    def values(given):
        kinds = (groups._BetweenGroups, groups._WithinGroups)
        return [kind(given, 400, "batch")(out).mean().item() for kind in kinds]

    correlation = 1 / (1 + 0.3**2)
    exact = -0.5 * math.log(1 - correlation**2)
    together, apart = values(((0, 2), (1,), (3,))), values(((0,), (1, 2), (3,)))
    assert together[1] == pytest.approx(exact, abs=0.15)
    assert apart[1] == pytest.approx(0.0, abs=0.15)
    assert apart[0] - together[0] == pytest.approx(exact, abs=0.25)


def test_sums_of_groups_are_computed_once(monkeypatch):
    posterior = diagonal()
    calls = []
    original = aggregate.log_sums
    monkeypatch.setattr(aggregate, "log_sums", lambda *a, **k: calls.append(a) or original(*a, **k))
    HFVAE(GROUPS, 100, beta=2.0).loss(pass_of(posterior, posterior.rsample()))
    assert len(calls) == 1


def test_the_contract_of_objectives_holds():
    testing.check_objective(HFVAE([(0, 2), (1,)], 1000, beta=4.0))


def test_prints_as_its_formula():
    objective = HFVAE(GROUPS, 100, alpha=0.5, beta=6.0, gamma=2.0)
    assert str(objective) == (
        "reconstruction + 0.5·mutual_information + 6·between_groups + 2·within_groups + "
        "dimensionwise_kl"
    )
    assert "https://" in objective.paper


@pytest.mark.parametrize(
    "given", [[], [()], [(0, 1), (1, 2)], [(0,), (2,)], [(0, 1), ()], [(-1, 0)], [(0, 0)]]
)
def test_groups_that_do_not_take_every_dimension_once_are_refused(given):
    with pytest.raises(ValueError, match=r"hold each dimension from 0|at least 0"):
        HFVAE(given, 100, beta=1.0)


def test_what_does_not_fit_is_refused():
    for given in (4, [0, 1], "01", [("0", "1")]):
        with pytest.raises(TypeError, match="Expected"):
            HFVAE(given, 100, beta=1.0)
    posterior = diagonal()
    with pytest.raises(ValueError, match="groups of all 4 latent dimensions"):
        HFVAE([(0, 1), (2,)], 100, beta=1.0).loss(pass_of(posterior, posterior.rsample()))
    mixture = MixtureSameFamily(
        Categorical(torch.ones(N, 2).double()),
        Independent(dist.Normal(torch.randn(N, 2, D).double(), 1.0), 1),
    )
    with pytest.raises(ValueError, match="use a factorised or a normal one"):
        aggregate.grouped_log_density(pass_of(mixture, mixture.sample()), GROUPS, 100)
