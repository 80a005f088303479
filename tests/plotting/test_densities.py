"""The density of the aggregate posterior is right, and drawn where it lies."""

import functools
import io
import math

import matplotlib
import numpy as np
import pytest
import scipy.stats
import torch
import zuko
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, TransformedDistribution
from torch.utils.data import DataLoader, TensorDataset

import disvae
from disvae import decoders, encoders, evaluation, plotting, posteriors, priors
from disvae import distributions as dist
from disvae.plotting import cells

RNG = np.random.default_rng(0)
MEANS, SCALES = RNG.normal(size=(7, 2)), RNG.uniform(0.2, 1.5, size=(7, 2))


class Table(nn.Module):
    """An encoder whose posteriors are given: x is the number of the datum."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, x, context=None):
        return self.d(x[:, 0].long())


class Classes(nn.Module):
    """A prior that depends on the context: its mean."""

    def forward(self, context=None):
        return Independent(dist.Normal(context, 0.5), 1)


def model_of(posteriors_at, latent_dim=3, prior=None):
    """A model with given posteriors, and its data."""
    prior = priors.Normal(latent_dim) if prior is None else prior
    return disvae.VAE(Table(posteriors_at), decoders.MLP(latent_dim, 1, hidden=(2,)), prior=prior)


def data_of(count):
    return torch.arange(float(count))[:, None]


def normals(count=7, latent_dim=3):
    rng = np.random.default_rng(1)
    loc = torch.tensor(rng.normal(size=(count, latent_dim)))
    scale = torch.tensor(rng.uniform(0.2, 1.5, size=(count, latent_dim)))
    return loc, scale


def masses(density):
    return density.values * (density.x[1] - density.x[0]) * (density.y[1] - density.y[0])


def by_cdf(cdfs, x, y):
    """Masses in cells of mixtures with equal weights of independent dimensions: rows are y."""
    pairs = [np.outer(np.diff(below(y)), np.diff(left(x))) for left, below in cdfs]
    return np.mean(pairs, axis=0)


def test_masses_are_those_of_the_mixture_of_normals():
    density = plotting.Aggregate.of_normals(MEANS, SCALES).density((-4.0, 3.0), 40)
    cdfs = [
        [scipy.stats.norm(m, s).cdf for m, s in zip(mean, scale, strict=True)]
        for mean, scale in zip(MEANS, SCALES, strict=True)
    ]
    np.testing.assert_allclose(masses(density), by_cdf(cdfs, density.x, density.y), atol=1e-14)
    np.testing.assert_allclose(density.x, np.linspace(-4, 3, 41))
    assert density.prior is None


def test_values_are_the_density_at_the_centres_of_fine_cells():
    density = plotting.Aggregate.of_normals(MEANS, SCALES).density(resolution=256)
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (density.x, density.y))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    pdf = scipy.stats.norm.pdf(grid[:, :, None], MEANS, SCALES).prod(-1).mean(-1)
    np.testing.assert_allclose(density.values, pdf, atol=3e-3 * pdf.max())


@given(
    st.integers(1, 30),
    st.floats(-3, 1.5),
    st.floats(-1, 1),
    st.sampled_from([16, 64, 128]),
    st.integers(0, 10**6),
)
def test_the_usual_span_holds_nearly_all_mass(count, log_scale, offset, resolution, seed):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(count, 2)) * [1, 10] + 100 * offset
    scales = 10**log_scale * rng.uniform(0.5, 2, size=(count, 2))
    density = plotting.Aggregate.of_normals(means, scales).density(resolution=resolution)
    assert density.mass == pytest.approx(1, abs=1e-2)  # also where posteriors are far below a cell
    assert np.ptp(density.x) == pytest.approx(np.ptp(density.y))


def test_outliers_do_not_set_the_span():
    means = np.concatenate([RNG.normal(size=(5000, 2)), [[1000.0, 0.0], [-1000.0, 0.0]]])
    density = plotting.Aggregate.of_normals(means, np.full_like(means, 0.1)).density()
    assert -10 < density.x[0] < density.x[-1] < 10
    assert density.mass > 0.99


@pytest.mark.parametrize("dims", [(0, 2), (2, 1)])
def test_two_dimensions_of_factorised_normal_posteriors(dims):
    loc, scale = normals()
    model = model_of(lambda n: Independent(dist.Normal(loc[n], scale[n]), 1)).double()
    found = plotting.Aggregate.of_model(model, data_of(7).double(), dims=dims)
    chosen = list(dims)
    expected = plotting.Aggregate.of_normals(loc[:, chosen], scale[:, chosen])
    assert found.exact
    assert found.dims == dims
    np.testing.assert_allclose(found.means, loc[:, chosen])
    np.testing.assert_allclose(found.density(5.0).values, expected.density(5.0).values, rtol=1e-10)
    from_arrays = plotting.Aggregate.of_normals(loc, scale, dims=dims)
    np.testing.assert_array_equal(from_arrays.density(5.0).values, expected.density(5.0).values)


def covariances(count, latent_dim=3):
    factor = torch.tensor(np.random.default_rng(2).normal(size=(count, latent_dim, latent_dim)))
    return factor @ factor.mT + 0.02 * torch.eye(latent_dim)


@pytest.mark.parametrize("family", ["full", "torch's own", "low rank", "rotated"])
def test_dependent_normal_posteriors(family):
    loc, scale = normals()
    covariance = covariances(7)
    turn = torch.linalg.qr(covariance[0]).Q
    W = covariance[:, :, :1]

    def posterior(n):
        if family == "full":
            return dist.MultivariateNormal(loc[n], covariance[n])
        if family == "torch's own":
            return torch.distributions.MultivariateNormal(loc[n], covariance[n])
        if family == "low rank":
            return dist.LowRankMultivariateNormal(loc[n], W[n], scale[n])
        return Independent(dist.Normal(loc[n], scale[n]), 1)

    mean = loc
    if family == "low rank":
        covariance = W @ W.mT + torch.diag_embed(scale)
    model = model_of(posterior).double()
    if family == "rotated":
        model = evaluation.rotate(model, turn)
        mean, covariance = loc @ turn.T, turn @ torch.diag_embed(scale**2) @ turn.T
    aggregate = plotting.Aggregate.of_model(model, data_of(7).double(), dims=(2, 0))
    density = aggregate.density(3.0, 12)
    pair = [2, 0]
    laws = [
        scipy.stats.multivariate_normal(m[pair], c[np.ix_(pair, pair)])
        for m, c in zip(mean.numpy(), covariance.numpy(), strict=True)
    ]
    x, y = density.x, density.y
    expected = [
        [
            np.mean([law.cdf([x[i + 1], y[j + 1]], lower_limit=[x[i], y[j]]) for law in laws])
            for i in range(12)
        ]
        for j in range(12)
    ]
    assert aggregate.exact
    np.testing.assert_allclose(masses(density), expected, atol=2e-4)
    assert density.mass == pytest.approx(np.sum(expected), abs=1e-4)


def test_dependent_normals_narrower_than_a_cell_keep_their_mass():
    covariance = 1e-6 * torch.tensor([[1.0, 0.999], [0.999, 1.0]])
    codes = torch.tensor([[0.2, 1.0], [-1.0, 0.2], [-1.0, 0.2]])
    model = model_of(lambda n: dist.MultivariateNormal(codes[n], covariance), 2)
    density = plotting.Aggregate.of_model(model, data_of(3)).density(2.0, 10)
    expected = np.zeros((10, 10))
    expected[7, 5], expected[5, 2] = 1 / 3, 2 / 3
    np.testing.assert_allclose(masses(density), expected, atol=1e-9)


@pytest.mark.parametrize("wide", [0, 1])
def test_dependent_normals_narrower_than_a_cell_in_one_dimension_keep_their_shape(wide):
    scale = torch.tensor([0.01, 0.01], dtype=torch.float64)
    scale[wide] = 1.0
    covariance = 0.999 * torch.outer(scale, scale) + 0.001 * torch.diag(scale**2)
    loc = torch.full((1, 2), 0.06, dtype=torch.float64)  # the centre of a cell
    model = model_of(lambda n: dist.MultivariateNormal(loc[n], covariance), 2).double()
    density = plotting.Aggregate.of_model(model, data_of(1).double()).density(3.0, 50)
    found = masses(density)
    # nearly all lies in one row or column of cells, with the mass of the wide dimension
    expected = np.diff(scipy.stats.norm(0.06, 1.0).cdf(density.x))
    np.testing.assert_allclose(found.sum(wide), expected, atol=1e-6)
    assert found.sum(1 - wide)[25] > 0.99


@pytest.mark.parametrize(
    ("family", "law"),
    [
        (dist.Laplace, scipy.stats.laplace),
        (lambda loc, scale: dist.StudentT(4.0, loc, scale), functools.partial(scipy.stats.t, 4)),
    ],
    ids=["Laplace", "Student-t"],
)
def test_other_factorised_posteriors_are_exact(family, law):
    loc, scale = normals()
    model = model_of(lambda n: Independent(family(loc[n], scale[n]), 1)).double()
    aggregate = plotting.Aggregate.of_model(model, data_of(7).double(), dims=(1, 0))
    density = aggregate.density(((-3.0, 4.0), (-2.0, 3.0)), 20)
    cdfs = [[law(loc[n, d], scale[n, d]).cdf for d in (1, 0)] for n in range(7)]
    assert aggregate.exact
    np.testing.assert_allclose(masses(density), by_cdf(cdfs, density.x, density.y), atol=1e-10)
    assert aggregate.density().mass > 0.98


def test_mixture_posteriors_count_their_components_by_weight():
    loc, scale = normals(2, 2)
    logits = torch.tensor([math.log(0.8), math.log(0.2)], dtype=torch.float64)
    weights = Categorical(logits=logits.expand(3, 2))

    def fast(n):
        several = loc + n[:, None, None], scale.expand(len(n), 2, 2)
        return dist.GaussianMixture(logits.expand(len(n), 2), *several)

    def plain(n):
        components = Independent(dist.Normal(loc + n[:, None, None], scale.expand(len(n), 2, 2)), 1)
        return MixtureSameFamily(weights, components)

    def dependent(n):
        components = dist.MultivariateNormal(
            loc + n[:, None, None], torch.diag_embed(scale.square()).expand(len(n), 2, 2, 2)
        )
        return MixtureSameFamily(weights, components)

    def heavy(n):
        components = Independent(
            dist.StudentT(1e6, loc + n[:, None, None], scale.expand(len(n), 2, 2)), 1
        )
        return MixtureSameFamily(weights, components)

    moved = torch.cat([loc + n for n in range(3)]).numpy()
    cdfs = [
        [scipy.stats.norm(m, s).cdf for m, s in zip(mean, scale[k % 2].numpy(), strict=True)]
        for k, mean in enumerate(moved)
    ]
    for family in (fast, plain, dependent, heavy):
        aggregate = plotting.Aggregate.of_model(model_of(family, 2).double(), data_of(3).double())
        density = aggregate.density((-4.0, 5.0), 15)
        expected = np.mean(
            [
                share * 2 * by_cdf([pair], density.x, density.y)
                for share, pair in zip([0.8, 0.2] * 3, cdfs, strict=True)
            ],
            axis=0,
        )
        assert aggregate.exact
        np.testing.assert_allclose(masses(density), expected, atol=1e-5)


def test_a_block_of_a_joint_posterior_is_exact():
    loc, scale = normals(5, 3)

    def posterior(n):
        block = Independent(dist.Normal(loc[n], scale[n]), 1)
        category = dist.RelaxedCategorical(torch.zeros(len(n), 2).double(), torch.tensor(0.5))
        return dist.Joint([category, block], [(1, 3), (4, 0, 2)])

    model = model_of(posterior, 5).double()
    aggregate = plotting.Aggregate.of_model(model, data_of(5).double(), dims=(2, 4), prior=False)
    assert aggregate.exact
    expected = plotting.Aggregate.of_normals(loc[:, [2, 0]], scale[:, [2, 0]])
    np.testing.assert_allclose(
        aggregate.density(4.0).values, expected.density(4.0).values, rtol=1e-10
    )
    mixed = plotting.Aggregate.of_model(model, data_of(5).double(), dims=(2, 1), prior=False)
    assert not mixed.exact


class Opaque(TransformedDistribution):
    """Normal, but nobody can tell."""

    def __init__(self, base):
        super().__init__(base, [], validate_args=False)

    @property
    def mean(self):
        raise NotImplementedError


def test_posteriors_without_a_closed_form_are_histograms_of_samples():
    loc, scale = normals()
    exact = model_of(lambda n: Independent(dist.Normal(loc[n], scale[n]), 1))
    model = model_of(lambda n: Opaque(Independent(dist.Normal(loc[n], scale[n]), 1)))
    aggregate = plotting.Aggregate.of_model(model, data_of(7), dims=(2, 0), samples=20_000)
    assert not aggregate.exact
    found = masses(aggregate.density(4.0, 8))
    expected = masses(plotting.Aggregate.of_model(exact, data_of(7), dims=(2, 0)).density(4.0, 8))
    error = np.sqrt(expected / 140_000)
    np.testing.assert_array_less(np.abs(found - expected), 5 * error + 1e-5)
    assert aggregate.density().mass > 0.99


def test_deterministic_codes_count_once_each():
    codes = torch.tensor([[0.5, -1.5], [0.6, -1.4], [-1.5, 0.5]])
    model = model_of(lambda n: dist.Delta(codes[n]), 2)
    density = plotting.Aggregate.of_model(model, data_of(3)).density(2.0, 4)
    expected = np.zeros((4, 4))
    expected[0, 2], expected[2, 0] = 2 / 3, 1 / 3  # rows are the second dimension, upwards
    np.testing.assert_allclose(masses(density), expected)


def test_a_model_is_the_same_in_batches_of_any_size_and_left_as_it_was():
    torch.manual_seed(0)
    encoder = encoders.MLP(4, 3, hidden=(8,))
    model = disvae.VAE(encoder, decoders.MLP(3, 4), prior=priors.Normal(3)).train()
    x, y = torch.rand(50, 4), torch.arange(50) % 3
    whole = plotting.Aggregate.of_model(model, x).density(3.0).values
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    for data, size in ((x, 3), (TensorDataset(x, y), 10), (loader, 1)):
        parts = plotting.Aggregate.of_model(model, data, batch_size=size)
        np.testing.assert_allclose(parts.density(3.0).values, whole, rtol=1e-5, atol=1e-12)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_memory_is_bounded_without_a_change_of_values(monkeypatch):
    normal = plotting.Aggregate.of_normals(MEANS, SCALES)
    model = model_of(lambda n: dist.MultivariateNormal(torch.zeros(len(n), 2), torch.eye(2)), 2)
    dependent = plotting.Aggregate.of_model(model, data_of(5))
    before = [a.density(3.0, 16).values for a in (normal, dependent)]
    sizes = []
    below = cells._below

    def counted(edges, loc, scale):
        sizes.append(len(edges) * len(loc))
        return below(edges, loc, scale)

    monkeypatch.setattr(cells, "_below", counted)
    monkeypatch.setattr(cells, "_CHUNK", 40)
    after = [a.density(3.0, 16).values for a in (normal, dependent)]
    np.testing.assert_allclose(before, after, rtol=1e-12)
    assert max(sizes) <= 40


def test_a_turned_model_has_a_turned_density():
    loc, scale = normals(5, 2)
    model = model_of(lambda n: Independent(dist.Laplace(loc[n], scale[n]), 1), 2).double()
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)  # anticlockwise
    turned = evaluation.rotate(model, quarter)
    first, second = (
        plotting.Aggregate.of_model(m, data_of(5).double()).density(4.0) for m in (model, turned)
    )
    # the first row of the table is the lowest
    np.testing.assert_allclose(second.values[::-1], np.rot90(first.values[::-1]), rtol=1e-6)


# the prior


def contours(axes):
    """The lines of each contour: their vertices by style."""
    return {
        collection.get_linestyle()[0][1] is not None: np.concatenate(
            [path.vertices for path in collection.get_paths()]
        )
        for collection in axes.collections
        if isinstance(collection, matplotlib.contour.QuadContourSet)
    }


@pytest.mark.parametrize("prior", ["normal", "as a mixture", "flow"])
def test_contours_enclose_half_and_95_percent_of_the_prior(prior):
    if prior == "normal":
        p = priors.Normal(2)()
    elif prior == "as a mixture":
        p = priors.Mixture(2, means=torch.zeros(3, 2))()
    else:
        p = Opaque(priors.Normal(2)())
    aggregate = plotting.Aggregate.of_normals(MEANS, SCALES, prior=p)
    axes = plotting.densities({"": aggregate}, resolution=256).axes[0]
    found = contours(axes)
    for dashed, share in ((False, 0.5), (True, 0.95)):
        radius = np.linalg.norm(found[dashed], axis=1)
        expected = math.sqrt(-2 * math.log(1 - share))  # of the disc with that mass
        tolerance = 0.02 if prior != "flow" else 0.25
        np.testing.assert_allclose(radius, expected, rtol=tolerance)


def test_the_prior_has_the_same_two_dimensions():
    scale = torch.tensor([0.3, 2.0, 1.0])
    loc, spread = normals()
    model = model_of(
        lambda n: Independent(dist.Normal(loc[n], spread[n]), 1), 3, priors.Normal(3, scale=scale)
    )
    aggregate = plotting.Aggregate.of_model(model, data_of(7), dims=(1, 0))
    density = aggregate.density(6.0, 50)
    expected = plotting.Aggregate.of_normals([[0.0, 0.0]], [[2.0, 0.3]]).density(6.0, 50)
    np.testing.assert_allclose(density.prior, expected.values, atol=1e-7)
    without = plotting.Aggregate.of_model(model, data_of(7), dims=(1, 0), prior=False)
    assert without.density(6.0, 50).prior is None


def test_a_conditional_prior_is_averaged_over_the_data():
    loc, spread = normals(4, 2)
    context = torch.tensor([[-2.0, 0.0], [-2.0, 0.0], [-2.0, 0.0], [2.0, 1.0]])
    model = model_of(
        lambda n: Independent(dist.Normal(loc[n].float(), spread[n].float()), 1), 2, Classes()
    )
    expected = plotting.Aggregate.of_normals(context, np.full((4, 2), 0.5)).density(4.0, 32)
    for size in (1, 3, 4):
        found = plotting.Aggregate.of_model(model, data_of(4), context=context, batch_size=size)
        np.testing.assert_allclose(found.density(4.0, 32).prior, expected.values, atol=1e-7)


def test_the_usual_span_shows_the_prior_too():
    model = model_of(lambda n: Independent(dist.Normal(torch.zeros(len(n), 2), 0.01), 1), 2)
    figure = plotting.aggregate_density(model, data_of(3))
    assert set(contours(figure.axes[0])) == {False, True}
    left, right = figure.axes[0].get_xlim()
    assert -3.5 < left < -2.5
    assert 2.5 < right < 3.5


@pytest.mark.parametrize(
    "make",  # where torch's seed is set: some are random
    [
        functools.partial(priors.Sparse, 3),
        functools.partial(priors.StudentT, 3, 3.0),
        functools.partial(priors.FullNormal, 3),
        functools.partial(priors.Mixture, 3, 5),
        functools.partial(priors.HypersphericalUniform, 3),
        functools.partial(priors.Joint, [priors.Normal(1), priors.Categorical(2)]),
        functools.partial(zuko.flows.NSF, 3, transforms=1, hidden_features=(4,)),
    ],
    ids=lambda make: make.func.__name__,
)
def test_every_prior_is_drawn(make):
    prior = make()
    p = prior()
    model = model_of(lambda n: Independent(dist.Normal(torch.zeros(len(n), 3), 1.0), 1), 3, prior)
    aggregate = plotting.Aggregate.of_model(model, data_of(3), dims=(0, 1))
    density = aggregate.density((-6.0, 10.0), 40)
    area = (density.x[1] - density.x[0]) ** 2
    torch.manual_seed(1)
    z = p.sample((50_000,))[:, :2].detach().numpy()
    counts = np.histogram2d(z[:, 1], z[:, 0], bins=[density.y[::10], density.x[::10]])[0] / 50_000
    coarse = (density.prior * area).reshape(4, 10, 4, 10).sum((1, 3))
    np.testing.assert_allclose(coarse, counts, atol=0.03)
    assert (density.prior * area).sum() > 0.95


# what is drawn


def test_a_blob_is_drawn_to_the_right_and_below():
    figure = plotting.densities({"": ([[3.0, -1.0]], [[0.2, 0.2]])}, span=4.0)
    axes = figure.axes[0]
    (image,) = axes.get_images()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pixels = np.asarray(Image.open(buffer).convert("L"), dtype=float)
    box = axes.get_window_extent()
    height = len(pixels)
    inside = pixels[
        int(height - box.y1) + 3 : int(height - box.y0) - 3, int(box.x0) + 3 : int(box.x1) - 3
    ]
    row, column = np.argwhere(inside == inside.min()).mean(0)
    x = -4 + 8 * column / inside.shape[1]
    y = 4 - 8 * row / inside.shape[0]
    assert (x, y) == pytest.approx((3.0, -1.0), abs=0.15)
    np.testing.assert_allclose(image.get_extent(), [-4, 4, -4, 4])
    assert image.origin == "lower"


def test_a_span_of_its_own_for_each_dimension():
    figure = plotting.densities({"": ([[3.0, -1.0]], [[0.2, 0.2]])}, span=((0.0, 4.0), (-2.0, 0.0)))
    axes = figure.axes[0]
    assert axes.get_xlim() == (0, 4)
    assert axes.get_ylim() == (-2, 0)


def grid_of_panels(n=6, **settings):
    panels = {f"β = {b}": (MEANS * b, SCALES) for b in range(1, n + 1)}
    return plotting.densities(panels, **settings)


def test_panels_stand_in_rows_and_share_their_span(is_tidy):
    figure = grid_of_panels(6, columns=4, title="all", prior=priors.Normal(2)())
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == [f"β = {b}" for b in range(1, 7)]
    assert len({axes.get_xlim() for axes in panels}) == 1
    assert figure.get_suptitle() == "all"
    boxes = [axes.get_position() for axes in panels]
    assert len({round(box.y0, 3) for box in boxes}) == 2
    assert len({round(box.x0, 3) for box in boxes}) == 4
    for axes, b in zip(panels, range(1, 7), strict=True):
        ends = axes.get_xlim(), axes.get_ylim()
        expected = plotting.Aggregate.of_normals(MEANS * b, SCALES).density(ends)
        np.testing.assert_allclose(axes.images[0].get_array(), expected.values)
        assert axes.images[0].get_clim() == (0, expected.values.max())
    labelled = [(bool(axes.get_xlabel()), bool(axes.get_ylabel())) for axes in panels]
    below, left = zip(*labelled, strict=True)
    assert below == (False, False, True, True, True, True)  # the lowest of each column
    assert left == (True, False, False, False, True, False)
    is_tidy(figure)


def test_a_common_scale_of_colours_has_a_bar(is_tidy):
    figure = grid_of_panels(3, vmax=0.05)
    *panels, bar = figure.axes
    assert {axes.images[0].get_clim() for axes in panels} == {(0, 0.05)}
    assert panels[0].images[0].colorbar.extend == "max"
    assert bar.get_ylim() == (0, 0.05)
    is_tidy(figure)
    assert grid_of_panels(3, vmax=50.0).axes[0].images[0].colorbar.extend == "neither"


def test_labels_are_dots_of_one_colour_each_at_the_means(is_tidy):
    labels = np.array(["b", "a", "b", "c", "c", "a", "b"])
    aggregate = plotting.Aggregate.of_normals(MEANS, SCALES, labels=labels[:, None])
    other = plotting.Aggregate.of_normals(-MEANS, SCALES, labels=["c"] * 7)
    figure = plotting.densities({"one": aggregate, "other": other})
    colours = {}
    for axes, means, given_labels in zip(
        figure.axes, (MEANS, -MEANS), (labels, ["c"] * 7), strict=True
    ):
        (dots,) = axes.collections
        for (x, y), colour in zip(dots.get_offsets(), dots.get_facecolors(), strict=True):
            n = np.argmin(np.hypot(*(means - [x, y]).T))
            np.testing.assert_allclose([x, y], means[n])
            colours.setdefault(given_labels[n], set()).add(tuple(colour))
    assert all(len(each) == 1 for each in colours.values())
    assert len(set.union(*colours.values())) == 3
    (legend,) = figure.legends
    shown = {
        text.get_text(): matplotlib.colors.to_rgba(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert {name: {colour} for name, colour in shown.items()} == colours
    is_tidy(figure)


def test_labels_may_be_strings_in_one_panel_and_numbers_in_another():
    words = np.array(["a", "b", "2"] * 2 + ["a"], dtype=object)
    panels = {
        "words": plotting.Aggregate.of_normals(MEANS, SCALES, labels=words),
        "numbers": plotting.Aggregate.of_normals(MEANS, SCALES, labels=[1, 2, 2, 1, 1, 1, 1]),
    }
    figure = plotting.densities(panels)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["1", "2", "a", "b"]
    counts = [
        np.unique(np.round(axes.collections[0].get_facecolors(), 3), axis=0, return_counts=True)[1]
        for axes in figure.axes
    ]
    assert [sorted(each) for each in counts] == [[2, 2, 3], [2, 5]]


def test_of_many_data_some_become_dots_and_of_many_labels_some_are_named(is_tidy):
    means = RNG.normal(size=(5000, 2))
    labels = np.arange(5000) % 32
    aggregate = plotting.Aggregate.of_normals(means, np.ones_like(means), labels=labels)
    figure = plotting.densities({"": aggregate})
    (dots,) = figure.axes[0].collections
    assert len(dots.get_offsets()) == 2000
    near = {tuple(row) for row in means.round(9)}
    assert all(tuple(row) in near for row in np.asarray(dots.get_offsets()).round(9))
    assert len({tuple(colour) for colour in dots.get_facecolors()}) == 32
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "15", "31"]
    is_tidy(figure)


def test_aggregates_of_other_dimensions_have_labels_of_their_own(is_tidy):
    loc, scale = normals()
    panels = {
        str(dims): plotting.Aggregate.of_normals(loc, scale, dims=dims)
        for dims in ((0, 1), (2, 0), (1, 2))
    }
    figure = plotting.densities(panels)
    found = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert found == [("z0", "z1"), ("z2", "z0"), ("z1", "z2")]
    is_tidy(figure)


def test_the_whole_picture_of_a_model(is_tidy):
    torch.manual_seed(0)
    model = disvae.VAE(encoders.MLP(4, 3), decoders.MLP(3, 4), prior=priors.Laplace(3))
    x, y = torch.rand(30, 4), torch.arange(30) % 3
    figure = plotting.aggregate_density(
        model, x, dims=(2, 1), labels=y, span=3.0, resolution=20, title="three", size=2.0
    )
    panel, bar = figure.axes
    expected = plotting.Aggregate.of_model(model, x, dims=(2, 1)).density(3.0, 20)
    np.testing.assert_array_equal(panel.images[0].get_array(), expected.values)
    assert (panel.get_title(), panel.get_xlabel(), panel.get_ylabel()) == ("three", "z2", "z1")
    assert bar.get_title(loc="left") == "q(z)"
    assert len(figure.legends[0].get_texts()) == 5
    is_tidy(figure)


def spheres():
    head = posteriors.PowerSpherical(4, 3)
    encoder = nn.Sequential(nn.Linear(4, 4), head)
    return disvae.VAE(encoder, decoders.MLP(3, 4), prior=priors.HypersphericalUniform(3))


def test_posteriors_on_a_sphere_are_drawn_from_samples():
    aggregate = plotting.Aggregate.of_model(spheres(), torch.rand(20, 4))
    assert not aggregate.exact
    assert aggregate.density(1.01, 16).mass == pytest.approx(1)


PAIR = (np.zeros((3, 2)), np.ones((3, 2)))


def tiny():
    return model_of(lambda n: Independent(dist.Normal(torch.zeros(len(n), 3), 1.0), 1))


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: plotting.densities({}), ValueError, "at least one"),
        (lambda: plotting.densities([PAIR]), TypeError, "mapping"),
        (lambda: plotting.densities({1: PAIR}), TypeError, "titles"),
        (lambda: plotting.densities({"a": PAIR[0]}), TypeError, "ndarray"),
        (lambda: plotting.densities({"a": (PAIR[0], PAIR[1][:2])}), ValueError, r"\(2, 2\)"),
        (lambda: plotting.densities({"a": (np.zeros(3), np.ones(3))}), ValueError, "N, D"),
        (lambda: plotting.densities({"a": (np.zeros((3, 1)), np.ones((3, 1)))}), ValueError, "D"),
        (lambda: plotting.densities({"a": (PAIR[0], 0 * PAIR[1])}), ValueError, "above 0"),
        (lambda: plotting.densities({"a": (PAIR[0] * np.nan, PAIR[1])}), ValueError, "finite"),
        (lambda: plotting.densities({"a": (PAIR[0], [["a", "b"]] * 3)}), TypeError, "numbers"),
        (lambda: plotting.densities({"a": ([[0.0, 1.0], [2.0]], PAIR[1])}), ValueError, "length"),
        (lambda: plotting.densities({"a": PAIR}, span=-1.0), ValueError, "span"),
        (lambda: plotting.densities({"a": PAIR}, span=(1.0, 1.0)), ValueError, "span"),
        (lambda: plotting.densities({"a": PAIR}, span="wide"), ValueError, "span"),
        (lambda: plotting.densities({"a": PAIR}, span=np.inf), ValueError, "span"),
        (lambda: plotting.densities({"a": PAIR}, resolution=1), ValueError, "resolution"),
        (lambda: plotting.densities({"a": PAIR}, resolution=2.5), ValueError, "resolution"),
        (lambda: plotting.densities({"a": PAIR}, columns=0), ValueError, "columns"),
        (lambda: plotting.densities({"a": PAIR}, vmax=0), ValueError, "vmax"),
        (lambda: plotting.densities({"a": PAIR}, size=-1), ValueError, "size"),
        (lambda: plotting.densities({"a": PAIR}, prior=priors.Normal(2)), TypeError, r"\(\)"),
        (lambda: plotting.densities({"a": PAIR}, prior=priors.Normal(3)()), ValueError, "vectors"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, labels=[1, 2]), ValueError, "label"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, labels=np.ones((3, 2))), ValueError, "label"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, dims=(0, 2)), ValueError, "dims"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, dims=(0, 0)), ValueError, "dims"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, dims=0), ValueError, "dims"),
        (lambda: plotting.Aggregate.of_normals(*PAIR, dims=(0.0, 1.0)), ValueError, "dims"),
        (lambda: plotting.aggregate_density(tiny(), data_of(3), dims=(0, 3)), ValueError, "dims"),
        (lambda: plotting.aggregate_density(tiny(), data_of(3), dims=(-1, 0)), ValueError, "dims"),
        (lambda: plotting.aggregate_density(tiny(), data_of(3), labels=[1]), ValueError, "label"),
        (
            lambda: plotting.aggregate_density(tiny(), data_of(3), prior=priors.Normal(3)()),
            TypeError,
            "True",
        ),
        (lambda: plotting.aggregate_density(tiny(), data_of(3), samples=0), ValueError, "samples"),
        (lambda: plotting.aggregate_density(tiny().encoder, data_of(3)), TypeError, "VAE"),
        (lambda: plotting.aggregate_density(tiny(), data_of(0)), ValueError, "datum"),
    ],
)
def test_bad_input_to_densities_gets_one_sentence(call, error, word, is_clear):
    with pytest.raises(error, match=word) as caught:
        call()
    is_clear(caught.value)
