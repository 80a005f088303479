"""Pictures show the right image, and the right number, in the right place."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from disvae import metrics, plotting


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=float) / 255


def canvas(figure):
    return figure.axes[0].images[0].get_array()


def test_every_image_is_in_its_row_and_column():
    images = torch.zeros(2, 3, 1, 8, 8)
    values = torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 0.9]])
    images += values[..., None, None, None]
    found = canvas(plotting.grid(images))
    assert found.shape == (2 * 8 + 1, 3 * 8 + 2, 3)
    for r in range(2):
        for c in range(3):
            block = found[r * 9 : r * 9 + 8, c * 9 : c * 9 + 8]
            np.testing.assert_allclose(block, values[r, c], rtol=1e-6)
    assert (found[8] == 1).all()
    assert (found[:, 8] == 1).all()


def test_pixels_keep_their_order():
    image = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    found = canvas(plotting.grid(image))
    np.testing.assert_allclose(found[..., 0], image[0, 0], rtol=1e-6)


def test_colour_channels_keep_their_order():
    images = torch.zeros(1, 1, 3, 8, 8)
    images[:, :, 0] = 1.0
    np.testing.assert_array_equal(canvas(plotting.grid(images))[0, 0], [1, 0, 0])


def test_values_outside_are_clipped_and_the_input_is_not_changed():
    images = torch.tensor([-1.0, 2.0])[:, None, None, None].expand(2, 1, 8, 8)
    found = canvas(plotting.grid(images))
    assert found[0, 0, 0] == 0
    assert found[0, -1, 0] == 1
    assert images.min() == -1


def test_labels_are_drawn_beside_their_rows():
    images = torch.zeros(3, 4, 1, 8, 8)
    figure = plotting.grid(
        images, row_labels=["shape", "x", "y"], column_labels=list("abcd"), title="all"
    )
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["shape", "x", "y"]
    assert [t.get_text() for t in axes.get_xticklabels()] == list("abcd")
    np.testing.assert_allclose(axes.get_yticks(), [4, 13, 22])
    image = pixels(figure)
    bounds = axes.get_window_extent()
    left_margin = image[:, : int(bounds.x0) - 2]
    assert left_margin.min() < 0.5  # ink: the labels are inside the figure


def test_a_gif_plays_the_frames_in_order(tmp_path):
    frames = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 1, 8, 8)
    path = tmp_path / "walk.gif"
    plotting.save_gif(frames, path, fps=10, scale=3)
    with Image.open(path) as gif:
        assert gif.n_frames == 5
        assert gif.size == (24, 24)
        assert gif.info["loop"] == 0
        for i in range(5):
            gif.seek(i)
            assert gif.info["duration"] == 100
            grey = np.asarray(gif.convert("L"), dtype=float)
            np.testing.assert_allclose(grey, 255 * i / 4, atol=2)


def test_rows_of_unequal_length_end_in_blank_images():
    images = torch.zeros(2, 3, 1, 8, 8)
    images[1, 2] = torch.nan
    canvas = plotting.grid(images).axes[0].get_images()[0].get_array()
    black = [canvas[: canvas.shape[0] // 2, -8:].min(), canvas[-8:, -8:].min()]
    assert black == [0.0, 1.0]
    images[1, 1:] = torch.nan
    assert plotting.grid(images).axes[0].get_images()[0].get_array()[-8:, 9:].min() == 1.0


def test_labels_may_be_arrays_and_have_several_lines():
    images = torch.zeros(2, 3, 1, 8, 8)
    figure = plotting.grid(images, row_labels=np.array(["a", "b"]), column_labels=range(3))
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1", "2"]
    lines = plotting.grid(images, row_labels=["some words", "some words\nand more"])
    one = plotting.grid(images, row_labels=["some words", "and more"])
    assert lines.get_figwidth() == one.get_figwidth()


@pytest.mark.parametrize("labels", ["ab", 5])
def test_labels_that_are_no_sequence_get_one_sentence(labels, is_clear):
    with pytest.raises(TypeError, match="row_labels") as caught:
        plotting.grid(torch.zeros(2, 3, 1, 8, 8), row_labels=labels)
    is_clear(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: plotting.grid(torch.zeros(2, 784)),
        lambda: plotting.grid(torch.zeros(2, 3, 2, 8, 8)),
        lambda: plotting.grid(torch.zeros(0, 3, 1, 8, 8)),
        lambda: plotting.grid(torch.zeros(2, 3, 1, 8, 8), row_labels=["one"]),
        lambda: plotting.grid(torch.zeros(2, 3, 1, 8, 8), column_labels=["one"]),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.png"),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.gif", fps=0),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.gif", scale=0),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.gif", scale=1.5),
        lambda: plotting.save_gif(torch.zeros(2, 3, 1, 8, 8), "walk.gif"),
        lambda: plotting.grid(torch.full((3, 1, 8, 8), torch.nan)),
        lambda: plotting.grid(torch.zeros(3, 1, 8, 8), cell=0),
        lambda: plotting.grid(np.full((3, 1, 8, 8), 255, dtype=np.uint8)),
        lambda: plotting.grid(np.full((3, 1, 8, 8), [[[[0.0]]], [[[np.nan]]], [[[0.0]]]])),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.gif", scale=float("nan")),
        lambda: plotting.save_gif(torch.zeros(3, 1, 8, 8), "walk.gif", fps="10"),
    ],
)
def test_bad_input_gets_one_sentence_of_our_own(call, is_clear):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    is_clear(caught.value)


MATRIX = np.array([[0.0, 0.36], [1.44, 0.09], [0.25, 0.0]])  # three codes, two factors


def texts(axes):
    return {tuple(text.get_position()): text.get_text() for text in axes.texts}


def labels(axes):
    return (
        [text.get_text() for text in axes.get_yticklabels()],
        [text.get_text() for text in axes.get_xticklabels()],
    )


@pytest.mark.parametrize("draw", [plotting.information_matrix, plotting.importance_matrix])
def test_a_heat_map_has_factors_in_rows_and_codes_in_columns(draw):
    figure = draw(MATRIX, ["size", "hue"], title="all of it")
    axes, bar = figure.axes
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array(), MATRIX.T)
    assert image.get_clim() == (0.0, 1.44)
    assert labels(axes) == (["size", "hue"], ["0", "1", "2"])
    assert figure.get_suptitle() == "all of it"
    assert texts(axes) == {
        (d, k): f"{MATRIX[d, k]:.2f}" for d in range(3) for k in range(2)
    }  # x is the code, y the factor, as in the image
    assert bar.get_ylim() == (0.0, 1.44)
    left_margin = pixels(figure)[:, : int(axes.get_window_extent().x0) - 2]
    assert left_margin.min() < 0.5  # ink: the names are inside the figure


def test_numbers_stand_out_from_their_cells():
    axes = plotting.information_matrix(np.linspace(0, 1, 101)[:, None]).axes[0]
    (image,) = axes.get_images()
    for text in axes.texts:
        d, k = text.get_position()
        cell = image.cmap(image.norm(image.get_array()[k, d]))[:3]
        ink = {"white": 1.0, "black": 0.0}[text.get_color()]
        # contrast of relative luminances, as the accessibility guidelines count it
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in cell]
        ground = np.dot(linear, [0.2126, 0.7152, 0.0722])
        bright, dark = max(ink, ground), min(ink, ground)
        assert (bright + 0.05) / (dark + 0.05) > 4.5


@pytest.mark.parametrize("vmax", [None, 2.88, 0.36])
def test_areas_of_hinton_squares_are_proportional_to_the_values(vmax):
    axes = plotting.importance_matrix(MATRIX, hinton=True, vmax=vmax).axes[0]
    (squares,) = axes.collections
    top = vmax or 1.44
    found = np.zeros_like(MATRIX)
    for path in squares.get_paths():
        (x0, y0), (x1, y1) = path.get_extents().min, path.get_extents().max
        assert x1 - x0 == pytest.approx(y1 - y0)
        centre = (x0 + x1) / 2, (y0 + y1) / 2
        np.testing.assert_allclose(centre, np.rint(centre), atol=1e-12)
        d, k = np.rint(centre).astype(int)
        found[d, k] += (x1 - x0) * (y1 - y0)
    np.testing.assert_allclose(found, 0.92**2 * np.minimum(MATRIX / top, 1), atol=1e-12)
    np.testing.assert_array_equal(squares.get_array(), MATRIX.T.ravel())
    assert squares.get_clim() == (0.0, top)
    assert labels(axes) == (["factor 0", "factor 1"], ["0", "1", "2"])
    assert axes.yaxis_inverted()  # the first factor on top, as in the heat map
    assert not axes.texts


def test_the_smallest_hinton_squares_are_not_white():
    figure = plotting.information_matrix([[1.0, 0.02]], hinton=True)
    colour = figure.axes[0].collections[0].to_rgba([0.02])[0]
    assert colour[0] < 0.8


def test_scores_bring_their_matrix_and_its_unit():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(600, 2))
    codes = np.column_stack([factors, rng.normal(size=600)])
    dci, mir = metrics.dci(codes, factors), metrics.mir(codes, factors)
    mig, med = metrics.mig(codes, factors), metrics.med(codes, factors)
    for figure, matrix, unit in (
        (plotting.information_matrix(mig), mig.information, "nats"),
        (plotting.information_matrix(med), med.information, "nats"),
        (plotting.information_matrix(mir), mir.share, "share"),
        (plotting.information_matrix(mig.information, unit="bits"), mig.information, "bits"),
        (plotting.importance_matrix(dci), dci.importance, "importance"),
        (plotting.importance_matrix(med), med.importance, "importance"),
        (plotting.importance_matrix(torch.tensor(dci.importance)), dci.importance, "importance"),
    ):
        np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), matrix.T)
        assert figure.axes[1].get_title(loc="left") == unit


def test_larger_matrices_carry_no_numbers_and_fewer_labels():
    assert len(plotting.information_matrix(np.ones((24, 5))).axes[0].texts) == 120
    assert not plotting.information_matrix(np.ones((11, 11))).axes[0].texts
    narrow = plotting.information_matrix(np.ones((10, 2)), cell=0.1).axes[0]
    assert not narrow.texts
    assert labels(narrow)[1] == ["0", "3", "6", "9"]
    assert list(narrow.get_xticks()) == [0, 3, 6, 9]


def test_values_of_zero_and_above_the_scale_are_drawn():
    image = plotting.information_matrix(np.zeros((2, 2))).axes[0].images[0]
    assert image.get_clim() == (0.0, 1.0)
    figure = plotting.information_matrix(MATRIX, vmax=0.5)
    assert figure.axes[0].images[0].get_clim() == (0.0, 0.5)
    assert figure.axes[0].images[0].colorbar.extend == "max"


@pytest.mark.parametrize("draw", [plotting.information_matrix, plotting.importance_matrix])
@pytest.mark.parametrize(
    ("values", "settings", "error"),
    [
        (np.ones(3), {}, ValueError),
        (np.ones((0, 3)), {}, ValueError),
        (0.5, {}, ValueError),
        (np.array([["a", "b"]]), {}, TypeError),
        ([[1.0, np.nan]], {}, ValueError),
        ([[1.0, np.inf]], {}, ValueError),
        ([[1.0, -0.1]], {}, ValueError),
        (MATRIX, {"names": ["a", "b", "c"]}, ValueError),
        (MATRIX, {"names": "ab"}, TypeError),
        (MATRIX, {"names": [1, 2]}, TypeError),
        (MATRIX, {"names": 2}, TypeError),
        (MATRIX, {"cell": 0}, ValueError),
        (MATRIX, {"vmax": 0}, ValueError),
        (MATRIX, {"vmax": float("nan")}, ValueError),
    ],
)
def test_bad_matrices_get_one_sentence_of_our_own(draw, values, settings, error, is_clear):
    with pytest.raises(error) as caught:
        draw(values, **settings)
    is_clear(caught.value)


def test_the_error_for_a_negative_value_says_where_it_stands():
    values = MATRIX.copy()
    values[2, 1] = -0.25
    with pytest.raises(ValueError, match=r"-0\.25 for code 2 and factor 1"):
        plotting.importance_matrix(values)
