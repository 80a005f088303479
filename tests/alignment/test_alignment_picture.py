"""Below the images of a traversal stands what they are measured as."""

import numpy as np
import pytest
import torch

from disvae import VAE, alignment, decoders, encoders, plotting, priors


def measure(x):
    """Brightness, and where it is."""
    ink = x.sum((1, 2, 3))
    return {"ink": ink, "place": (x.sum((1, 2)) * torch.arange(8)).sum(1) / ink}


def paint(z, c=None):
    """Images (1, 8, 8) or, of a context, (3, 8, 8)."""
    ink, place = z[..., :1].sigmoid(), z[..., 1:2]
    column = ink * (0.1 + 0.9 * torch.exp(-0.5 * (torch.arange(8) - 3.5 - place).square()))
    image = column[..., None, None, :].expand(*z.shape[:-1], 1, 8, 8)
    return image if c is None else image * c[..., :, None, None]


@pytest.fixture(scope="module")
def painted(known):
    """A model of grey images, and its alignment."""
    z = torch.randn(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table = paint(z)
    model = known(lambda z: paint(z).flatten(-2), lambda x: z[_rows(x, table)], dim=2)
    # an event of three axes
    model.decoder.function = lambda z: torch.distributions.Independent(
        torch.distributions.Normal(paint(z), torch.ones((), dtype=z.dtype)), 3
    )
    found = alignment.align(model, table, measure=measure, samples=6, steps=5, replicates=10)
    return model, table, found


def _rows(x, table):
    return torch.cdist(x.flatten(1), table.flatten(1)).argmin(1)


def test_rows_show_the_dimension_and_the_curve_of_each_attribute(painted, is_tidy):
    model, _, found = painted
    units = {"ink": "pixels"}
    figure = plotting.alignment(model, found, datum=2, units=units, title="paint")
    strips, curves = figure.axes[::2], figure.axes[1::2]
    assert len(curves) == 2
    for k, (strip, curve, row) in enumerate(zip(strips, curves, found.carriers, strict=True)):
        d = row.dimension
        place = found.dimensions.index(d)
        assert strip.get_title(loc="left").startswith(f"{row.attribute}: z{d}, gap {row.gap:.3f} [")
        assert curve.get_xlabel() == f"z{d}"
        mean, dots = curve.lines
        codes = found.curves.values[place].numpy()
        np.testing.assert_allclose(mean.get_xdata(), codes)
        np.testing.assert_allclose(mean.get_ydata(), found.curves.mean[place, :, k])
        band = curve.collections[0].get_paths()[0].vertices
        for edge in (found.curves.low, found.curves.high):
            for point in zip(codes, edge[place, :, k].tolist(), strict=True):
                assert np.isclose(band, point).all(1).any()
        # the images are those of the datum, and the dots what they are measured as
        z = found.base[2].repeat(5, 1)
        z[:, d] = found.curves.values[place]
        x = paint(z)
        np.testing.assert_allclose(dots.get_ydata(), list(measure(x).values())[k])
        shown = strip.images[0].get_array()
        expected = np.concatenate(list(x[:, 0].numpy()), axis=1)
        np.testing.assert_allclose(shown[..., 0], expected, atol=1e-9)
        # each step stands below its image
        left, right = curve.get_xlim()
        np.testing.assert_allclose((codes - left) / (right - left), [0.1, 0.3, 0.5, 0.7, 0.9])
        assert strip.get_position().x0 == pytest.approx(curve.get_position().x0)
        assert strip.get_position().x1 == pytest.approx(curve.get_position().x1)
        assert strip.get_position().y0 > curve.get_position().y1
    assert [axes.get_ylabel() for axes in curves] == ["ink\n(pixels)", "place"]
    is_tidy(figure)


@pytest.mark.parametrize("cell", [0.4, 1.0])
def test_words_have_room(painted, cell, is_tidy):
    model, _, found = painted
    is_tidy(plotting.alignment(model, found, cell=cell))
    is_tidy(plotting.alignment(model, found, cell=cell, names=["place"], title="one"))


def test_chosen_attributes_stand_in_the_order_given(painted):
    model, _, found = painted
    figure = plotting.alignment(model, found, names=["place", "ink"])
    assert [axes.get_ylabel() for axes in figure.axes[1::2]] == ["place", "ink"]
    assert len(plotting.alignment(model, found, names=["place"]).axes) == 2


def test_a_dimension_that_codes_do_not_confirm_is_said(painted):
    model, table, _ = painted
    columns = measure(table)
    attributes = {"ink": columns["place"], "place": columns["ink"]}
    found = alignment.align(
        model, table, attributes, measure=measure, samples=6, steps=5, replicates=10
    )
    row = next(row for row in found.carriers if not row.agree)
    figure = plotting.alignment(model, found, names=[row.attribute])
    assert figure.axes[0].get_title(loc="left").endswith(f"codes say z{row.from_codes}")


def test_colour_images_have_the_context_of_their_datum(known):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(60, 2, dtype=torch.float64, generator=generator)
    context = torch.rand(60, 3, dtype=torch.float64, generator=generator)
    table = paint(z, context)
    model = known(None, lambda x, c: z[_rows(x, table)], dim=2)
    model.decoder.function = lambda z, c: torch.distributions.Independent(
        torch.distributions.Normal(paint(z, c), torch.ones((), dtype=z.dtype)), 3
    )
    found = alignment.align(
        model,
        table,
        names=["ink"],
        measure=lambda x: {"ink": x.sum((1, 2, 3))},
        context=context,
        samples=6,
        steps=3,
        replicates=10,
    )
    figure = plotting.alignment(model, found, datum=4)
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (8, 24, 3)
    colour = found.context[4].numpy()
    np.testing.assert_allclose(shown[0, 0] / shown[0, 0, 0], colour / colour[0])


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"found": "table"}, TypeError, "alignment.align"),
        ({"names": ["hue"]}, ValueError, "'hue'"),
        ({"names": []}, ValueError, "at least one"),
        ({"names": "ink"}, TypeError, "sequence of attributes"),
        ({"names": 1}, TypeError, "sequence of attributes"),
        ({"datum": 6}, ValueError, "below 6"),
        ({"datum": -1}, ValueError, "datum"),
        ({"cell": 0}, ValueError, "cell"),
        ({"units": "pixels"}, TypeError, "units"),
        ({"units": {"inc": "pixels"}}, ValueError, "inc"),
        ({"model": "VAE"}, TypeError, "disvae.VAE"),
    ],
)
def test_bad_input_gets_one_clear_sentence(painted, given, error, words, is_clear):
    model, _, found = painted
    arguments = {"model": model, "found": found, **given}
    with pytest.raises(error) as caught:
        plotting.alignment(arguments.pop("model"), arguments.pop("found"), **arguments)
    is_clear(caught.value)
    assert words in str(caught.value)


def test_another_default_device_than_the_models_is_of_no_account():
    encoder, decoder = encoders.MLP((1, 8, 8), 2), decoders.MLP(2, (1, 8, 8))
    for parameter in encoder.parameters():
        parameter.data.mul_(3)
    model, x = VAE(encoder, decoder, prior=priors.Normal(2)), torch.rand(60, 1, 8, 8)

    def bright(x):
        return {"ink": x.sum((1, 2, 3))}

    with torch.device("meta"):  # which computes nothing: all must stay with the model and numpy
        found = alignment.align(model, x, measure=bright, samples=4, steps=3, replicates=5)
        knobs = alignment.Knobs(model, found, base=x[:1])
        assert knobs.measure(knobs.render(ink=[31.0, 32.0]))["ink"].device.type == "cpu"
        assert len(plotting.alignment(model, found).axes) == 2


def test_vectors_are_no_images(linear, is_clear):
    model, x = linear(np.eye(2), np.random.default_rng(0).normal(size=(50, 2)))
    found = alignment.align(model, x, measure=lambda x: x, samples=4, replicates=5)
    with pytest.raises(ValueError, match="images of shape") as caught:
        plotting.alignment(model, found)
    is_clear(caught.value)
