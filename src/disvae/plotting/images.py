"""Images in rows and columns, and as an animation."""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from disvae._extras import require
from disvae.plotting.arrays import as_array, as_numbers, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def grid(
    images: ArrayLike,
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    cell: float = 0.6,
) -> "Figure":
    r"""Images in rows and columns, as one matplotlib figure.

    Args:
        images: Values in [0, 1], ``(rows, columns, C, H, W)``, or ``(columns, C, H, W)`` for one
            row; C is 1 (grey) or 3 (colour). Tensors and arrays alike; values outside are clipped.
            Images of NaN at the end of a row are left blank.
        row_labels: A label to the left of each row.
        column_labels: A label above each column.
        title: A title above all.
        cell: The width of one image in inches.

    Raises:
        TypeError: If labels are no sequence.
        ValueError: If the shape is another, values are not finite, or whole numbers above 1, or
            there is not one label for each row or column.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> figure = grid(np.random.default_rng(0).random((2, 5, 1, 8, 8)), row_labels=["z0", "z1"])
        >>> len(figure.axes)
        1
    """
    figure_module = require("matplotlib.figure", "plot")
    check_positive(cell, "cell", "a width in inches", 0.6)
    rows = _as_rows(images)
    n_rows, n_columns, _, height, width = rows.shape
    beside = _labels(row_labels, n_rows, "row_labels")
    above = _labels(column_labels, n_columns, "column_labels")
    gap = max(1, width // 16)
    step_y, step_x = height + gap, width + gap
    canvas = np.ones((n_rows * step_y - gap, n_columns * step_x - gap, 3))
    for r in range(n_rows):
        for c in range(n_columns):
            pixels = np.moveaxis(rows[r, c], 0, -1)
            canvas[r * step_y :, c * step_x :][:height, :width] = pixels
    lines = [line for label in beside for line in label.split("\n")]
    left = 0.1 + 0.09 * max(map(len, lines), default=0)
    top = 0.1 + (0.25 if above else 0.0) + (0.35 if title else 0.0)
    inner = (n_columns * cell, n_rows * cell * step_y / step_x)
    size = (inner[0] + left + 0.1, inner[1] + top + 0.1)
    figure = figure_module.Figure(figsize=size, dpi=150)
    axes = figure.add_axes((left / size[0], 0.1 / size[1], inner[0] / size[0], inner[1] / size[1]))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.tick_params(length=0, labelsize=8, top=False, labeltop=True, labelbottom=False)
    axes.set_frame_on(False)
    axes.set_yticks([r * step_y + height / 2 for r in range(len(beside))], labels=beside)
    axes.set_xticks([c * step_x + width / 2 for c in range(len(above))], labels=above)
    if title:
        figure.suptitle(title, fontsize=9, y=1 - 0.1 / size[1], va="top")
    return figure


def save_gif(
    frames: ArrayLike, path: str | PathLike[str], *, fps: float = 10.0, scale: int = 1
) -> None:
    r"""Write images as an animation that repeats for ever.

    Args:
        frames: Values in [0, 1], ``(frames, C, H, W)``; C is 1 (grey) or 3 (colour).
        path: Where to write, ending in ``.gif``.
        fps: Frames a second, at most 50.
        scale: By how much each pixel is enlarged.

    Raises:
        ValueError: If the shape, the name's ending, ``fps`` or ``scale`` does not fit.
        ImportError: If Pillow, which comes with matplotlib, is not installed.

    Example:
        >>> import numpy as np, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "walk.gif")
        >>> save_gif(np.random.default_rng(0).random((8, 1, 16, 16)), path)
        >>> os.path.exists(path)
        True
    """
    image_module = require("PIL.Image", "plot")
    if not str(path).lower().endswith(".gif"):
        raise ValueError(f"Expected a path that ends in .gif, but got {path!s}; rename the file.")
    numbers = all(isinstance(value, int | float | np.number) for value in (fps, scale))
    if not (numbers and 0 < fps <= 50 and scale >= 1 and float(scale).is_integer()):
        raise ValueError(
            f"Expected fps in (0, 50] and a whole scale of at least 1, but got fps={fps!r:.60} and "
            f"scale={scale!r:.60}; viewers show no more than 50 frames a second."
        )
    rows = _as_rows(frames)
    if len(rows) != 1:
        raise ValueError(
            f"Expected frames of shape (frames, C, H, W), but got {len(rows)} rows of them; "
            f"pass one row, or join them with frames.flatten(0, 1)."
        )
    pixels = np.moveaxis(rows[0], 1, -1).repeat(int(scale), axis=1).repeat(int(scale), axis=2)
    pictures = [image_module.fromarray(np.uint8(np.rint(frame * 255))) for frame in pixels]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
    )


def _labels(labels: Sequence[str] | None, count: int, name: str) -> list[str]:
    """A label for each row or column, or none at all."""
    if labels is None:
        return []
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TypeError(
            f"Expected {name} to be a sequence of {count} strings, but got {labels!r:.60}; "
            f"pass one for each."
        )
    found = [str(label) for label in labels]
    if len(found) != count:
        raise ValueError(f"Expected {count} {name}, but got {len(found)}; pass one for each.")
    return found


def _as_rows(images: ArrayLike) -> np.ndarray:
    """Images as ``(rows, columns, 3, H, W)`` in [0, 1]; those of NaN at a row's end are white."""
    raw = as_array(images)
    if raw.dtype.kind in "iu" and raw.max(initial=0) > 1:
        raise ValueError(
            f"Expected images of values in [0, 1], but got whole numbers up to {raw.max()}, all of "
            f"which would be white; divide 8-bit images by 255."
        )
    array = as_numbers(images, "images")
    array = array[None] if array.ndim == 4 else array
    if array.ndim != 5 or array.shape[2] not in (1, 3) or array.size == 0:
        raise ValueError(
            f"Expected images of shape (rows, columns, C, H, W) or (columns, C, H, W), with C = 1 "
            f"or 3, but got {array.shape}; reshape vectors to images first."
        )
    # rows of unequal length end in NaN; one that begins so is no row
    blank = np.asarray(np.isnan(array).all(axis=(2, 3, 4), keepdims=True))
    blank = np.logical_and.accumulate(blank[:, ::-1], axis=1)[:, ::-1]
    blank[:, 0] = False
    array = np.where(blank, 1.0, array)
    if not np.isfinite(array).all():
        raise ValueError(
            "Expected images of finite values, but got NaN or infinity; "
            "the model that made them may have diverged."
        )
    if array.shape[2] == 1:
        array = array.repeat(3, axis=2)
    return array.clip(0.0, 1.0)
