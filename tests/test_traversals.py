"""Traversals move one latent at a time, through the values that the prior says."""

import numpy as np
import pytest
import scipy.stats
import torch
import zuko
from torch import nn
from torch.distributions import Independent

from disvae import VAE, priors, traversals
from disvae import distributions as dist

D = 3


class Identity(nn.Module):
    """A decoder whose data are its latents, so that a traversal shows its own values."""

    def forward(self, z, context=None):
        z = z if context is None else z + context
        return Independent(dist.Normal(z, 1.0), 1)


class Encoder(nn.Module):
    def forward(self, x, context=None):
        return Independent(dist.Normal(x, 0.1), 1)


def model(prior):
    return VAE(Encoder(), Identity(), prior=prior)


X = torch.tensor([[10.0, 20.0, 30.0]])
U = torch.linspace(0.01, 0.99, 5)


@pytest.mark.parametrize(
    ("prior", "law"),
    [
        (priors.Normal(D, scale=torch.tensor([1.0, 0.1, 5.0])), scipy.stats.norm),
        (priors.Laplace(D, scale=torch.tensor([1.0, 0.1, 5.0])), scipy.stats.laplace),
        (priors.StudentT(D, 3.0, scale=torch.tensor([1.0, 0.1, 5.0])), scipy.stats.t(3.0)),
        (
            priors.GeneralizedNormal(D, 1.5, scale=torch.tensor([1.0, 0.1, 5.0])),
            scipy.stats.gennorm(1.5),
        ),
    ],
    ids=["normal", "laplace", "student-t", "generalised normal"],
)
def test_each_row_moves_its_own_dimension_through_the_quantiles_of_the_prior(prior, law):
    found = traversals.traverse(model(prior), X, steps=5)
    assert found.shape == (D, 5, D)
    for d in range(D):
        expected = X.expand(5, D).clone()
        scale = prior.scale()[d].item()
        expected[:, d] = scale * torch.from_numpy(law.ppf(U)).float()
        torch.testing.assert_close(found[d], expected, rtol=1e-4, atol=1e-4)
    some = traversals.traverse(model(prior), X, dims=[2, 0], steps=5)
    assert torch.equal(some, found[[2, 0]])
    for span in (None, (-1.0, 2.0)):
        moved = traversals.traverse(model(prior), X, steps=5, span=span)
        values = traversals.traversed_values(model(prior), steps=5, span=span)
        torch.testing.assert_close(values, moved.diagonal(dim1=0, dim2=2), rtol=0, atol=0)


def test_a_flow_without_an_inverse_cdf_stays_where_it_has_mass():
    flow = zuko.flows.NSF(D, transforms=1, hidden_features=(8,))
    found = traversals.traverse(model(flow), X, steps=5)
    samples = flow().sample((4000,))
    for d in range(D):
        values = found[d, :, d]
        assert (values.diff() > 0).all()
        below = (samples[:, d, None] < values).double().mean(0)
        torch.testing.assert_close(below, U.double(), rtol=0, atol=0.03)


def gauss(*scales):
    return [lambda u, s=s: scipy.stats.norm.ppf(u, 0, s) for s in scales]


COVARIANCE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.25]])
WEIGHTS = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("prior", "laws"),
    [
        (priors.FullNormal(D, COVARIANCE), gauss(2.0, 1.0, 0.5)),
        (
            priors.GaussianGraph([(), (0,), (1,)], weights=WEIGHTS),
            gauss(1.0, 5**0.5, 6**0.5),
        ),
        (priors.Mixture(D, means=torch.zeros(2, D), scales=2.0), gauss(2.0, 2.0, 2.0)),
        (priors.Sparse(D, spike_probability=0.0), gauss(1.0, 1.0, 1.0)),
        (
            priors.Subspaces([([2, 0], priors.Normal(2, 3.0)), ([1], priors.Laplace(1))]),
            [gauss(3.0)[0], scipy.stats.laplace.ppf, gauss(3.0)[0]],
        ),
        (
            priors.Joint([priors.Normal(1), priors.StudentT(2, 5.0)]),
            [gauss(1.0)[0], scipy.stats.t(5.0).ppf, scipy.stats.t(5.0).ppf],
        ),
    ],
    ids=["full", "graph", "mixture", "sparse", "subspaces", "joint"],
)
def test_the_marginals_of_structured_priors_give_the_values(prior, laws):
    found = traversals.traverse(model(prior), X, steps=5)
    for d, law in enumerate(laws):
        values = torch.from_numpy(law(U.double().numpy())).float()
        torch.testing.assert_close(found[d, :, d], values, rtol=1e-3, atol=1e-3)
        others = [i for i in range(D) if i != d]
        assert torch.equal(found[d][:, others], X[:, others].expand(5, 2))


def test_a_category_is_one_row_with_one_frame_each():
    prior = priors.Joint([priors.Normal(1), priors.Categorical(2)])
    found = traversals.traverse(model(prior), X, steps=4)
    assert found.shape == (2, 4, D)
    assert found[1, :2].tolist() == [[10.0, 1.0, 0.0], [10.0, 0.0, 1.0]]
    assert found[1, 2:].isnan().all()
    assert torch.equal(found[0, :, 1:], X[:, 1:].expand(4, 2))
    # any of its dimensions stands for the row, and few steps do not cut it
    for dims in ([2], [1], [2, 1]):
        alone = traversals.traverse(model(prior), X, dims=dims, steps=4)
        assert torch.equal(alone, found[1:, :2])
    both = traversals.traverse(model(prior), X, dims=[1, 0], steps=1)
    assert both.shape == (2, 2, D)
    assert both[1, 0].tolist() == [0.0, 20.0, 30.0]


def test_on_a_sphere_the_vector_keeps_its_length():
    x = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -2.0]]), dim=-1)
    prior = priors.HypersphericalUniform(D)
    for span in (None, 5.0):
        found = traversals.traverse(model(prior), x, steps=5, span=span)
        length = torch.linalg.vector_norm(found, dim=-1)
        torch.testing.assert_close(length, torch.ones(D, 5))
        values = traversals.traversed_values(model(prior), steps=5, span=span)
        torch.testing.assert_close(values, found.diagonal(dim1=0, dim2=2))
    found = traversals.traverse(model(prior), x, steps=5)
    # by Archimedes the coordinates of a sphere in three dimensions are uniform
    expected = torch.from_numpy(scipy.stats.uniform(-1, 2).ppf(U)).float()
    for d in range(D):
        torch.testing.assert_close(found[d, :, d], expected, rtol=1e-4, atol=1e-4)
    ratio = found[0, :, 1] / found[0, :, 2]
    torch.testing.assert_close(ratio, torch.full((5,), -1.0))
    pole = traversals.traverse(model(prior), torch.tensor([[1.0, 0.0, 0.0]]), dims=[0], steps=3)
    torch.testing.assert_close(torch.linalg.vector_norm(pole, dim=-1), torch.ones(1, 3))


def test_a_span_replaces_the_quantiles():
    for span, values in (
        ((-5.0, 5.0), [-5.0, 0.0, 5.0]),
        (2.0, [-2.0, 0.0, 2.0]),
        (np.float32(2.0), [-2.0, 0.0, 2.0]),
    ):
        found = traversals.traverse(model(priors.Normal(D)), X, dims=[2, 0], steps=3, span=span)
        assert found.shape == (2, 3, D)
        assert found[0, :, 2].tolist() == values
        assert found[1, :, 0].tolist() == values
        assert (found[:, :, 1] == 20.0).all()


def test_one_step_is_the_median():
    found = traversals.traverse(model(priors.Normal(D)), X, dims=[1], steps=1)
    torch.testing.assert_close(found[0, 0], torch.tensor([10.0, 0.0, 30.0]))


def test_a_context_reaches_every_image():
    context = torch.tensor([[1.0, 2.0, 3.0]])
    plain = traversals.traverse(model(priors.Normal(D)), X, steps=3)
    found = traversals.traverse(model(priors.Normal(D)), X, steps=3, context=context)
    torch.testing.assert_close(found, plain + context[0])


def test_values_of_several_contexts_are_refused(is_clear):
    class Classes(nn.Module):
        def forward(self, context=None):
            return Independent(dist.Normal(context, 1.0), 1)

    conditional = model(Classes())
    alone = traversals.traversed_values(conditional, steps=3, context=torch.ones(1, D))
    torch.testing.assert_close(alone[1], torch.ones(D))
    with pytest.raises(ValueError, match="one row of context") as caught:
        traversals.traversed_values(conditional, steps=3, context=torch.ones(2, D))
    is_clear(caught.value)


def test_interpolation_is_the_straight_line_of_codes():
    start, end = torch.zeros(2, D), torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    found = traversals.interpolate(model(priors.Normal(D)), start, end, steps=5)
    t = torch.linspace(0, 1, 5)[:, None]
    torch.testing.assert_close(found, torch.stack([t * end[0], t * end[1]]))
    context = torch.tensor([[1.0] * D, [2.0] * D])
    shifted = traversals.interpolate(model(priors.Normal(D)), start, end, steps=5, context=context)
    torch.testing.assert_close(shifted, found + context[:, None])


class TestInterpolationOnASphere:
    prior = priors.HypersphericalUniform(D)

    def test_it_goes_along_the_great_circle_at_constant_speed(self):
        start = torch.nn.functional.normalize(torch.randn(6, D), dim=-1)
        end = torch.nn.functional.normalize(torch.randn(6, D), dim=-1)
        found = traversals.interpolate(model(self.prior), start, end, steps=5)
        angle = torch.acos((start * end).sum(-1))
        for i, t in enumerate(torch.linspace(0, 1, 5)):
            a, b = torch.sin((1 - t) * angle), torch.sin(t * angle)
            expected = (a[:, None] * start + b[:, None] * end) / torch.sin(angle)[:, None]
            torch.testing.assert_close(found[:, i], expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-5, 1e-3])
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_ends_that_coincide_and_antipodes_have_a_path_too(self, gap, sign):
        start = torch.cat((torch.eye(D), torch.nn.functional.normalize(torch.ones(1, D), dim=-1)))
        end = torch.nn.functional.normalize(sign * start + gap * start.roll(1, -1), dim=-1)
        found = traversals.interpolate(model(self.prior), start, end, steps=9)
        length = torch.linalg.vector_norm(found, dim=-1)
        torch.testing.assert_close(length, torch.ones_like(length))
        torch.testing.assert_close(found[:, 0], start, atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, -1], end, atol=1e-5, rtol=0)
        step = torch.linalg.vector_norm(found.diff(dim=1), dim=-1)
        torch.testing.assert_close(step, step[:, :1].expand_as(step), atol=1e-5, rtol=0)

    def test_only_the_dimensions_on_the_sphere_are_bent(self):
        prior = priors.Subspaces(
            [([2, 0], priors.HypersphericalUniform(2)), ([1], priors.Normal(1))]
        )
        start, end = torch.tensor([[0.0, -4.0, 1.0]]), torch.tensor([[1.0, 4.0, 0.0]])
        found = traversals.interpolate(model(prior), start, end, steps=3)[0]
        root = 0.5**0.5
        expected = torch.tensor([[0.0, -4.0, 1.0], [root, 0.0, root], [1.0, 4.0, 0.0]])
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_no_gradient_is_kept():
    encoder = nn.Sequential(nn.Linear(D, D), Encoder())
    found = traversals.traverse(VAE(encoder, Identity(), prior=priors.Normal(D)), X)
    assert not found.requires_grad
