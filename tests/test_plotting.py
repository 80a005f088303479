"""Pictures show the right image in the right place."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from disvae import plotting


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
    ],
)
def test_bad_input_gets_one_sentence_of_our_own(call):
    with pytest.raises(ValueError, match=r"^Expected .{20,380}\.$") as caught:
        call()
    assert caught.traceback[-1].path.name == "plotting.py"
