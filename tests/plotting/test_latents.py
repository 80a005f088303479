"""Bars are as high as the magnitudes; rows of traversals are those that the model uses."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent

import disvae
from disvae import decoders, evaluation, plotting, priors, traversals
from disvae import distributions as dist

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(200, 6)) * [1, 2, 0.1, 5, 0, 1]
KINDS = RNG.choice(["boot", "bag", "coat"], size=200)
MAGNITUDES = {kind: np.abs(CODES[kind == KINDS]).mean(0) for kind in ("bag", "boot", "coat")}


def heights(axes):
    """The heights of bars by where they stand."""
    bars = sorted(axes.patches, key=lambda bar: bar.get_x())
    centres = [bar.get_x() + bar.get_width() / 2 for bar in bars]
    np.testing.assert_allclose(centres, range(len(bars)))
    assert all(bar.get_y() == 0 for bar in bars)
    return [bar.get_height() for bar in bars]


def test_bars_are_the_mean_magnitudes_of_each_class(is_tidy):
    figure = plotting.latent_magnitudes(CODES, KINDS, title="codes")
    assert [axes.get_ylabel() for axes in figure.axes] == ["bag", "boot", "coat"]
    for axes, magnitudes in zip(figure.axes, MAGNITUDES.values(), strict=True):
        np.testing.assert_allclose(heights(axes), magnitudes)
        assert axes.get_ylim() == (0, max(map(max, MAGNITUDES.values())))
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops == sorted(tops, reverse=True)
    last = figure.axes[-1]
    assert [text.get_text() for text in last.get_xticklabels()] == list("012345")
    assert last.get_xlabel() == "latent dimension"
    assert figure.axes[0].get_title(loc="right") == "mean |z|"
    is_tidy(figure)


def test_chosen_dimensions_stand_in_the_order_given(is_tidy):
    figure = plotting.latent_magnitudes(
        torch.tensor(CODES), KINDS, dims=[3, 0], names=["one", "two", "three"], vmax=8.0
    )
    for axes, magnitudes in zip(figure.axes, MAGNITUDES.values(), strict=True):
        np.testing.assert_allclose(heights(axes), magnitudes[[3, 0]])
        assert axes.get_ylim() == (0, 8)
    assert [axes.get_ylabel() for axes in figure.axes] == ["one", "two", "three"]
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["3", "0"]
    is_tidy(figure)


def test_magnitudes_and_codes_with_labels_give_one_picture():
    table = np.stack(list(MAGNITUDES.values()))
    ready = plotting.latent_magnitudes(table)
    numbered = np.unique(KINDS, return_inverse=True)[1]
    made = plotting.latent_magnitudes(CODES, numbered[:, None])
    for one, other in zip(ready.axes, made.axes, strict=True):
        np.testing.assert_allclose(heights(one), heights(other))
    assert [axes.get_ylabel() for axes in ready.axes] == ["class 0", "class 1", "class 2"]
    assert [axes.get_ylabel() for axes in made.axes] == ["0", "1", "2"]


@pytest.mark.parametrize(("D", "width"), [(50, 6.0), (50, 2.0), (200, 4.0), (1, 1.0)])
def test_labels_of_many_dimensions_do_not_run_into_each_other(D, width, is_tidy):
    table = RNG.uniform(size=(4, D))
    names = ["a class of a long name"] + ["short"] * 3
    is_tidy(plotting.latent_magnitudes(table, names=names, width=width))


def test_magnitudes_of_zero_are_drawn():
    axes = plotting.latent_magnitudes(np.zeros((2, 3))).axes[0]
    assert axes.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: plotting.latent_magnitudes(CODES), ValueError, "pass labels"),
        (lambda: plotting.latent_magnitudes(np.abs(CODES)), ValueError, "50 classes"),
        (lambda: plotting.latent_magnitudes(CODES, np.arange(200)), ValueError, "50 classes"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS[:9]), ValueError, "200"),
        (lambda: plotting.latent_magnitudes(CODES, np.ones((200, 2))), ValueError, "column"),
        (lambda: plotting.latent_magnitudes(CODES, [None] * 200), TypeError, "strings"),
        (lambda: plotting.latent_magnitudes(CODES, [np.nan] * 200), ValueError, "NaN"),
        (lambda: plotting.latent_magnitudes(CODES[0], KINDS), ValueError, r"\(6,\)"),
        (lambda: plotting.latent_magnitudes(np.ones((0, 2))), ValueError, r"\(0, 2\)"),
        (lambda: plotting.latent_magnitudes(CODES * np.nan, KINDS), ValueError, "finite"),
        (lambda: plotting.latent_magnitudes([["a"]]), TypeError, "numbers"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, dims=[6]), ValueError, "dims"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, dims=[-1]), ValueError, "dims"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, dims=[]), ValueError, "dims"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, dims=3), ValueError, "dims"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, names=["a"]), ValueError, "per class"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, names="abc"), TypeError, "per class"),
        (
            lambda: plotting.latent_magnitudes(CODES, KINDS, names=iter("abc")),
            TypeError,
            "per class",
        ),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, vmax=-1), ValueError, "vmax"),
        (lambda: plotting.latent_magnitudes(CODES, KINDS, width=0), ValueError, "width"),
    ],
)
def test_bad_magnitudes_get_one_sentence(call, error, word, is_clear):
    with pytest.raises(error, match=word) as caught:
        call()
    is_clear(caught.value)


class Codes(nn.Module):
    """An encoder that reads the codes off the first row of an image, scaled."""

    def __init__(self, scale):
        super().__init__()
        self.scale = torch.tensor(scale)

    def forward(self, x, context=None):
        loc = x[:, 0, 0, : len(self.scale)] * self.scale
        loc = loc if context is None else loc + context
        return Independent(dist.Normal(loc, torch.full_like(loc, 0.5)), 1)


class Shown(nn.Module):
    """A decoder that writes the latents into the first row of an image, in a range of [0, 1]."""

    def forward(self, z, context=None):
        image = torch.zeros(*z.shape[:-1], 1, 4, 8)
        image[..., 0, 0, : z.shape[-1]] = 0.5 + z / 20
        return Independent(dist.Normal(image, 1.0), 3)


def model_of(scale, prior):
    return disvae.VAE(Codes(scale), Shown(), prior=prior)


X = 2 * torch.rand(100, 1, 4, 8, generator=torch.Generator().manual_seed(0)) - 1


def row_labels(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def column_labels(figure):
    return [text.get_text() for text in figure.axes[0].get_xticklabels()]


def shown(figure, rows, columns):
    """The first rows of the images, as latents, from the picture: (rows, columns, 8)."""
    canvas = figure.axes[0].images[0].get_array()[..., 0]
    return 20 * np.stack(
        [[canvas[5 * r, 9 * c : 9 * c + 8] - 0.5 for c in range(columns)] for r in range(rows)]
    )


def test_rows_are_the_active_dimensions_by_falling_kl(is_tidy):
    model = model_of([1.0, 0.01, 3.0, 0.3], priors.Normal(4))
    found = evaluation.summary(model, X)
    figure = plotting.active_traversals(model, X[:1], X, steps=5, title="which")
    kl = found.kl_per_dimension
    # the second dimension costs some rate, and carries nothing
    assert kl[1] > kl[3] * 0.5
    assert row_labels(figure) == [
        f"z{d} {kl[d]:.{1 if kl[d] >= 1 else 2}f} nats" for d in (2, 0, 3)
    ]
    assert column_labels(figure) == ["−2.3", "−0.7", "0.0", "0.7", "2.3"]
    images = traversals.traverse(model, X[:1], [2, 0, 3], 5)
    np.testing.assert_allclose(
        shown(figure, 3, 5)[..., :4], 20 * (images[:, :, 0, 0, :4] - 0.5), atol=1e-5
    )
    np.testing.assert_allclose(
        shown(figure, 3, 5)[0, :, 2],
        priors.Normal(1)().base_dist.icdf(torch.linspace(0.01, 0.99, 5)),
        atol=1e-4,
    )
    is_tidy(figure)


def test_what_summary_found_can_be_passed_and_few_rows_be_asked_for():
    model = model_of([1.0, 2.0, 3.0], priors.Normal(3))
    found = evaluation.summary(model, X)
    figure = plotting.active_traversals(model, X[:1], found, top=2, span=(-1.0, 2.0), steps=4)
    assert [label.split()[0] for label in row_labels(figure)] == ["z2", "z1"]
    assert column_labels(figure) == ["−1.0", "0.0", "1.0", "2.0"]
    np.testing.assert_allclose(shown(figure, 2, 4)[0, :, 2], [-1, 0, 1, 2], atol=1e-5)
    np.testing.assert_allclose(shown(figure, 2, 4)[1, :, 1], [-1, 0, 1, 2], atol=1e-5)
    close = plotting.active_traversals(model, X[:1], found, span=0.02, steps=3)
    assert column_labels(close) == ["−0.020", "0.000", "0.020"]
    around = plotting.active_traversals(model, X[:1], found, span=(-3.0, 2.99), steps=3)
    assert column_labels(around) == ["−3.0", "0.0", "3.0"]
    alone = plotting.active_traversals(model, X[:1], found, steps=1)
    assert column_labels(alone) == ["0.0"]


def test_rows_of_different_values_have_quantiles_above(is_tidy):
    prior = priors.Laplace(2, scale=torch.tensor([1.0, 0.2]))
    model = model_of([1.0, 2.0], prior)
    figure = plotting.active_traversals(model, X[:1], X, steps=3)
    assert column_labels(figure) == ["1 %", "50 %", "99 %"]
    is_tidy(figure)


def test_rows_without_a_kl_of_their_own_have_the_variance_of_their_codes():
    model = model_of([1.0, 3.0], priors.FullNormal(2))
    found = evaluation.summary(model, X)
    assert found.kl_per_dimension is None
    figure = plotting.active_traversals(model, X[:1], found, steps=3)
    variance = X[:, 0, 0, :2].var(0, correction=0) * torch.tensor([1.0, 9.0])
    assert row_labels(figure) == [f"z{d} var {variance[d]:.2g}" for d in (1, 0)]


class WithCategory(nn.Module):
    """An encoder of one number and a category of four."""

    def forward(self, x, context=None):
        loc = 2 * x[:, 0, 0, :1]
        number = Independent(dist.Normal(loc, torch.full_like(loc, 0.5)), 1)
        return dist.Joint([number, dist.RelaxedCategorical(5 * x[:, 0, 0, 1:5], torch.tensor(0.5))])


def test_a_category_is_one_row_with_a_frame_for_each_value():
    prior = priors.Joint([priors.Normal(1), priors.Categorical(4)])
    model = disvae.VAE(WithCategory(), Shown(), prior=prior)
    found = evaluation.summary(model, X)
    figure = plotting.active_traversals(model, X[:1], found, steps=3)
    labels = row_labels(figure)
    assert sorted(label.split()[0] for label in labels) == ["z0", "z1–z4"]
    assert column_labels(figure) == ["−2.3", "0.0", "2.3", ""]
    row = labels.index("z1–z4 category")
    np.testing.assert_allclose(shown(figure, 2, 4)[row, :, 1:5], np.eye(4), atol=1e-5)
    only = plotting.active_traversals(model, X[:1], found, steps=3, top=1)
    assert len(row_labels(only)) == 1


class Classes(nn.Module):
    def forward(self, context=None):
        return Independent(dist.Normal(context, 1.0), 1)


def test_a_model_with_a_context_takes_what_summary_found():
    model = model_of([1.0, 2.0], Classes())
    context = torch.ones(100, 2)
    found = evaluation.summary(model, X, context=context)
    figure = plotting.active_traversals(model, X[:1], found, context=torch.ones(1, 2), steps=3)
    assert column_labels(figure) == ["−1.3", "1.0", "3.3"]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda m: plotting.active_traversals(m, X[:2], X), ValueError, "one datum"),
        (lambda m: plotting.active_traversals(m, X[:1], X, top=0), ValueError, "top"),
        (lambda m: plotting.active_traversals(m, X[:1], X, top=1.5), ValueError, "top"),
        (lambda m: plotting.active_traversals(m, X[:1], X, steps=0), ValueError, "steps"),
        (lambda m: plotting.active_traversals(m, X[:1], X, span=(1.0, 0.0)), ValueError, "span"),
        (lambda m: plotting.active_traversals(m, X[:1], "X"), TypeError, "data"),
        (lambda m: plotting.active_traversals(m, X[:1], X, cell=0), ValueError, "cell"),
        (lambda m: plotting.active_traversals(m.decoder, X[:1], X), TypeError, "VAE"),
        (lambda m: plotting.active_traversals(m, X[:1], X[:1]), ValueError, "collapsed"),
    ],
)
def test_bad_input_to_active_traversals_gets_one_sentence(call, error, word, is_clear):
    with pytest.raises(error, match=word) as caught:
        call(model_of([1.0, 2.0], priors.Normal(2)))
    is_clear(caught.value)


def test_vectors_are_refused_in_one_sentence(is_clear):
    model = disvae.VAE(
        nn.Sequential(nn.Linear(8, 2), disvae.posteriors.DiagonalNormal(2, 2)),
        decoders.MLP(2, 8),
        prior=priors.Normal(2),
    )
    x = 5 * torch.rand(20, 8)
    with pytest.raises(ValueError, match="images") as caught:
        plotting.active_traversals(model, x[:1] / 5, evaluation.summary(model, x / 5))
    is_clear(caught.value)
