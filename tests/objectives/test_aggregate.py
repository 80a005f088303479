"""Weights and bias of each estimator of the aggregate posterior, and gradients beside them."""

import itertools
import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal

from disvae import VAEOutput
from disvae import distributions as dist
from disvae.objectives import aggregate, terms

ESTIMATORS = ("weighted", "stratified", "batch", "leave-one-out")
N, B, D = 6, 3, 2


def published(estimator, batch, size):
    """The weights of a sample's own posterior and of each other one in its batch."""
    return {
        "weighted": (1 / (size * batch), 1 / (size * batch)),
        "stratified": (1 / size, (size - 1) / (size * (batch - 1))),
        "batch": (1 / batch, 1 / batch),
        "leave-one-out": (0.0, 1 / (batch - 1)),
    }[estimator]


def normal(loc, scale):
    return Independent(dist.Normal(loc, scale), 1)


def full(loc, scale):
    return MultivariateNormal(loc, scale_tril=scale.diag_embed())


def pass_of(posterior, z):
    dim = z.shape[-1]
    prior = normal(z.new_zeros(dim), z.new_ones(dim))
    likelihood = normal(z.new_zeros(*z.shape[:-1], 1), z.new_ones(1))
    return VAEOutput(z.new_zeros(z.shape[-2], 1), z, posterior, prior, likelihood)


@pytest.mark.parametrize("family", [normal, full])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_estimator_has_its_published_weights(family, estimator):
    """In several libraries 1/N stands in a column, and not on the diagonal: all batches tell."""
    loc, scale = torch.randn(N, D).double(), 0.5 + torch.rand(N, D).double()
    datum = 2
    z = (loc + 0.7 * scale)[datum]
    density = normal(loc, scale).log_prob(z).exp()
    of_columns = dist.Normal(loc, scale).log_prob(z).exp()
    own, other = published(estimator, B, N)
    found, found_each = [], []
    for rest in itertools.combinations([n for n in range(N) if n != datum], B - 1):
        for place in range(B):  # wherever in the batch the datum stands
            rows = [*rest[:place], datum, *rest[place:]]
            posterior = family(loc[rows], scale[rows])
            samples = loc[rows].clone()
            samples[place] = z
            # several samples of each datum, which differ
            out = pass_of(posterior, torch.stack((samples + 1.0, samples)))
            joint, each = aggregate.aggregate_log_density(out, N, estimator)
            exact = own * density[datum] + other * density[list(rest)].sum()
            torch.testing.assert_close(joint[1, place].exp(), exact)
            exact = own * of_columns[datum] + other * of_columns[list(rest)].sum(0)
            torch.testing.assert_close(each[1, place].exp(), exact)
            found.append(joint[1, place].exp())
            found_each.append(each[1, place].exp())
    if estimator == "stratified":  # the density has no bias
        torch.testing.assert_close(torch.stack(found).mean(), density.mean())
        torch.testing.assert_close(torch.stack(found_each).mean(0), of_columns.mean(0))


@pytest.mark.parametrize("family", [normal, full])
@pytest.mark.parametrize("estimator", ESTIMATORS[:3])
def test_the_bias_is_the_predicted_one_at_both_extremes(family, estimator):
    """Posteriors apart: I is log N. Posteriors that coincide: it is 0; TC is 0 in both."""
    batch, size, dim = 8, 100, 3
    own, other = published(estimator, batch, size)
    apart = 1e3 * torch.arange(batch).double().unsqueeze(-1).expand(batch, dim)
    cases = {"apart": (apart, 1e-4, own), "equal": (0 * apart, 1.0, own + (batch - 1) * other)}
    for loc, width, weight in cases.values():
        posterior = family(loc, torch.full_like(loc, width))
        out = pass_of(posterior, posterior.sample())
        information = terms.MutualInformation(size, estimator)(out)
        torch.testing.assert_close(information, torch.full_like(information, -math.log(weight)))
        correlation = terms.TotalCorrelation(size, estimator)(out)
        expected = torch.full_like(correlation, (1 - dim) * math.log(weight))
        torch.testing.assert_close(correlation, expected, rtol=1e-6, atol=1e-6)


def test_the_weighted_total_correlation_is_too_high_by_what_is_stated():
    """By (D - 1) log B to D log N - log B, near (D - 1) log N; the stratified one is nearest."""
    size, batch, dim = 512, 32, 4
    loc = torch.randn(size, dim).double()
    whole = normal(loc, torch.full_like(loc, 0.3))
    z = whole.sample()

    def mean(estimator, rows):
        values = [
            terms.TotalCorrelation(size, estimator)(
                pass_of(normal(loc[part], torch.full_like(loc[part], 0.3)), z[part])
            )
            for part in torch.arange(size).split(rows)
        ]
        return torch.cat(values).mean().item()

    exact = mean("batch", size)
    error = {estimator: mean(estimator, batch) - exact for estimator in ESTIMATORS}
    lowest, highest = (dim - 1) * math.log(batch), dim * math.log(size) - math.log(batch)
    assert lowest < error["weighted"] < highest
    assert error["weighted"] == pytest.approx((dim - 1) * math.log(size), rel=0.15)
    constant = (dim - 1) * math.log(size)
    assert error["weighted"] - error["batch"] == pytest.approx(constant, abs=1e-9)
    assert mean("stratified", size) == pytest.approx(exact, abs=1e-9)
    assert abs(error["stratified"]) < min(abs(error["weighted"]), abs(error["leave-one-out"]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 0.3, 1e4])
@pytest.mark.parametrize("estimator", ESTIMATORS[:3])
def test_the_parts_add_up_to_the_sampled_kl_with_every_estimator(estimator, scale, dtype):
    loc = torch.randn(16, 10, dtype=dtype)
    posterior = normal(loc, torch.full_like(loc, scale))
    out = pass_of(posterior, posterior.sample((3,)))
    parts = (terms.MutualInformation, terms.TotalCorrelation, terms.DimensionwiseKL)
    total = sum(term(1000, estimator)(out) for term in parts)
    torch.testing.assert_close(total, terms.KL(analytic=False)(out), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [(), ((0, 2), (1,), (3,))])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_are_those_of_the_plain_sum_by_autograd(estimator, groups):
    batch, dim, size = 7, 4, 40
    loc, z = torch.randn(2, batch, dim).double()
    scale = 0.3 + torch.rand(batch, dim).double()
    inputs = [v.requires_grad_() for v in (z.expand(2, -1, -1) + loc, loc, scale)]
    inputs[0] = (inputs[0].detach() + 0.3 * torch.randn(2, batch, dim)).requires_grad_()
    z, loc, scale = inputs
    own, other = published(estimator, batch, size)
    weight = torch.full((batch, batch), other).double()
    weight.fill_diagonal_(own)
    each = dist.Normal(loc, scale).log_prob(z.unsqueeze(-2)).exp()
    products = [each.prod(-1)] + [each[..., list(g)].prod(-1) for g in groups]
    expected = [(weight * p).sum(-1).log() for p in products]
    expected.append((weight.unsqueeze(-1) * each).sum(-2).log())
    out = pass_of(normal(loc, scale), z)
    joint, of_dims, of_groups = aggregate.grouped_log_density(out, groups, size, estimator)
    found = [joint, *of_groups.unbind(-1), of_dims]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
        pull = torch.randn_like(a)
        torch.testing.assert_close(
            torch.autograd.grad((a * pull).sum(), inputs, retain_graph=True),
            torch.autograd.grad((b * pull).sum(), inputs, retain_graph=True),
        )


def test_a_learnt_prior_gets_the_gradient_of_the_closed_inclusive_divergence():
    """Without the gradient of log p(z) the prior's entropy would count for nothing."""
    loc = torch.tensor([0.6, -0.4], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.5, 1.7], dtype=torch.float64, requires_grad=True)
    posterior = normal(torch.zeros(4, 2).double(), torch.ones(4, 2).double())
    z = posterior.sample((20_000,))
    out = VAEOutput(torch.zeros(4, 1), z, posterior, normal(loc, scale), normal(z, z.new_ones(2)))
    value = terms.InclusiveKL()(out)
    closed = (0.5 * (loc**2 + scale**2 - 1) - scale.log()).sum()
    assert value.item() == pytest.approx(closed.item(), abs=0.03)
    for found, exact in zip(
        torch.autograd.grad(value, (loc, scale)),
        torch.autograd.grad(closed, (loc, scale)),
        strict=True,
    ):
        torch.testing.assert_close(found, exact, rtol=0, atol=0.03)
