"""Pictures: the only module that draws. It needs the extra ``plot``."""

import math
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae._extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from disvae.metrics import DCI, MIR, InfoMEC, MEDScore
    from disvae.metrics.information import InformationScore

# Heat maps of more cells, or of narrower ones (inches), carry no numbers.
_ANNOTATED_CELLS = 120
_ANNOTATED_WIDTH = 0.38
# From this part of the scale on white reads better than black.
_DARK = 0.72


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
        row_labels: A label to the left of each row.
        column_labels: A label above each column.
        title: A title above all.
        cell: The width of one image in inches.

    Raises:
        ValueError: If the shape is another, or there is not one label for each row or column.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> figure = grid(np.random.default_rng(0).random((2, 5, 1, 8, 8)), row_labels=["z0", "z1"])
        >>> len(figure.axes)
        1
    """
    figure_module = require("matplotlib.figure", "plot")
    if not cell > 0:
        raise ValueError(f"Expected cell to be a width in inches above 0, but got {cell}; try 0.6.")
    rows = _as_rows(images)
    n_rows, n_columns, _, height, width = rows.shape
    for labels, count, name in (
        (row_labels, n_rows, "row_labels"),
        (column_labels, n_columns, "column_labels"),
    ):
        if labels is not None and len(labels) != count:
            raise ValueError(
                f"Expected {count} {name} for images of shape {rows.shape}, but got {len(labels)}; "
                f"pass one for each."
            )
    gap = max(1, width // 16)
    step_y, step_x = height + gap, width + gap
    canvas = np.ones((n_rows * step_y - gap, n_columns * step_x - gap, 3))
    for r in range(n_rows):
        for c in range(n_columns):
            pixels = np.moveaxis(rows[r, c], 0, -1)
            canvas[r * step_y :, c * step_x :][:height, :width] = pixels
    left = 0.1 + (0.09 * max(map(len, row_labels)) if row_labels else 0.0)
    top = 0.1 + (0.25 if column_labels else 0.0) + (0.35 if title else 0.0)
    inner = (n_columns * cell, n_rows * cell * step_y / step_x)
    size = (inner[0] + left + 0.1, inner[1] + top + 0.1)
    figure = figure_module.Figure(figsize=size, dpi=150)
    axes = figure.add_axes((left / size[0], 0.1 / size[1], inner[0] / size[0], inner[1] / size[1]))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.tick_params(length=0, labelsize=8, top=False, labeltop=True, labelbottom=False)
    axes.set_frame_on(False)
    axes.set_yticks([r * step_y + height / 2 for r in range(n_rows)] if row_labels else [])
    axes.set_xticks([c * step_x + width / 2 for c in range(n_columns)] if column_labels else [])
    if row_labels:
        axes.set_yticklabels(row_labels)
    if column_labels:
        axes.set_xticklabels(column_labels)
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
    if not 0 < fps <= 50 or scale < 1 or scale != int(scale):
        raise ValueError(
            f"Expected fps in (0, 50] and a whole scale of at least 1, but got fps={fps} and "
            f"scale={scale}; viewers show no more than 50 frames a second."
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


def information_matrix(
    information: "ArrayLike | InformationScore | MIR | InfoMEC",
    names: Sequence[str] | None = None,
    *,
    unit: str | None = None,
    hinton: bool = False,
    vmax: float | None = None,
    title: str | None = None,
    cell: float = 0.45,
) -> "Figure":
    r"""What each code knows of each factor: one row per factor, one column per code.

    Args:
        information: Values at least 0 of shape ``(D, K)``, or a score that carries them:
            ``information`` (:func:`disvae.metrics.mig` and its kin) in nats, or ``share``
            (:func:`disvae.metrics.mir`, :func:`disvae.metrics.infomec`) of the factor's entropy.
        names: One name per factor; by default ``factor 0``, ``factor 1``, ...
        unit: What the colour bar is titled; by default ``nats``, or ``share`` for shares.
        hinton: Squares whose areas are proportional to the values, instead of a heat map. Cells
            of a heat map carry their values where there are no more than 120.
        vmax: The value of the darkest colour and the full square; larger ones look like it. By
            default the largest value. Pass the same to compare pictures.
        title: A title above all.
        cell: The width of a cell in inches.

    Raises:
        TypeError: If the names are not strings, or the values not numbers.
        ValueError: If the shape is another, a value is negative or not finite, or there is not
            one name per factor.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from disvae import metrics
        >>> factors = np.random.default_rng(0).integers(5, size=(500, 2))
        >>> figure = information_matrix(metrics.mig(factors, factors), ["size", "angle"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['size', 'angle']
    """
    carried, usual = getattr(information, "information", None), "nats"
    if carried is None and hasattr(information, "share"):
        carried, usual = information.share, "share"
    values = _as_matrix(information if carried is None else carried, "information")
    return _matrix(values, names, unit or usual, hinton, vmax, title, cell)


def importance_matrix(
    importance: "ArrayLike | DCI | MEDScore",
    names: Sequence[str] | None = None,
    *,
    unit: str = "importance",
    hinton: bool = False,
    vmax: float | None = None,
    title: str | None = None,
    cell: float = 0.45,
) -> "Figure":
    r"""How much each code matters to each factor: one row per factor, one column per code.

    Args:
        importance: Values at least 0 of shape ``(D, K)``, or what :func:`disvae.metrics.dci` or
            :func:`disvae.metrics.med` returns.
        names: One name per factor; by default ``factor 0``, ``factor 1``, ...
        unit: What the colour bar is titled.
        hinton: As in :func:`information_matrix`, and so are the other arguments and the errors.
        vmax: See there.
        title: See there.
        cell: See there.

    Example:
        >>> import numpy as np
        >>> figure = importance_matrix(np.eye(3, 2), hinton=True, title="two codes of three")
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0', '1', '2']
    """
    values = _as_matrix(getattr(importance, "importance", importance), "importance")
    return _matrix(values, names, unit, hinton, vmax, title, cell)


def _as_matrix(values: Any, name: str) -> NDArray[np.float64]:
    """Values of each code and each factor, (D, K)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"Expected {name} of shape (codes, factors), or a score that carries it, but got "
            f"{type(values).__name__} of shape {array.shape}; pass for instance score.{name}."
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"Expected {name} to hold numbers, but got dtype {array.dtype}; convert it with "
            "numpy.asarray(values, dtype=float)."
        )
    array = array.astype(np.float64)
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        d, k = np.argwhere(wrong)[0]
        raise ValueError(
            f"Expected {name} to be finite and at least 0, but got {array[d, k]} for code {d} and "
            f"factor {k}; take absolute values of weights, and leave out what is not defined."
        )
    return array


def _matrix(
    values: NDArray[np.float64],
    names: Sequence[str] | None,
    unit: str,
    hinton: bool,
    vmax: float | None,
    title: str | None,
    cell: float,
) -> "Figure":
    figure_module = require("matplotlib.figure", "plot")
    colours = require("matplotlib", "plot").colormaps["Blues"]
    D, K = values.shape
    names = _factor_names(names, K)
    if not cell > 0:
        raise ValueError(
            f"Expected cell to be a width in inches above 0, but got {cell}; try 0.45."
        )
    if vmax is not None and not 0 < vmax < np.inf:
        raise ValueError(f"Expected vmax to be a number above 0, but got {vmax}; leave it out.")
    top = float(vmax or values.max() or 1.0)
    left, right, below = 0.15 + 0.08 * max(map(len, names)), 0.95, 0.45
    above = 0.3 + (0.3 if title else 0.0)
    size = (left + D * cell + right, below + K * cell + above)
    figure = figure_module.Figure(figsize=size, dpi=150)

    def place(x: float, width: float) -> Any:
        return figure.add_axes((x / size[0], below / size[1], width / size[0], K * cell / size[1]))

    axes = place(left, D * cell)
    if hinton:
        shown = _draw_squares(axes, values.T, top)
    else:
        shown = axes.imshow(values.T, cmap=colours, vmin=0, vmax=top, aspect="auto")
        if D * K <= _ANNOTATED_CELLS and cell >= _ANNOTATED_WIDTH:
            for (d, k), value in np.ndenumerate(values):
                ink = "white" if value > _DARK * top else "black"
                text = f"{value:.2f}"
                axes.text(d, k, text, ha="center", va="center", fontsize=7, color=ink)
    step = math.ceil(0.22 / cell)  # narrower labels would run into each other
    axes.set_xticks(range(0, D, step), labels=[str(d) for d in range(0, D, step)])
    axes.set_yticks(range(K), labels=names)
    axes.set_xlabel("code", fontsize=8)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_color("0.8")
    scale = place(left + D * cell + 0.15, 0.12)
    figure.colorbar(shown, cax=scale, extend="max" if values.max() > top else "neither")
    scale.locator_params(axis="y", nbins=min(max(2, int(K * cell / 0.3)), 6))
    scale.tick_params(labelsize=7)
    scale.set_title(unit, fontsize=8, loc="left", pad=8)
    if title:
        figure.suptitle(title, fontsize=9, y=1 - 0.1 / size[1], va="top")
    return figure


def _draw_squares(axes: Any, values: NDArray[np.float64], top: float) -> Any:
    """Squares centred on whole numbers, of areas proportional to the values: (rows, columns)."""
    patches = require("matplotlib.patches", "plot")
    colors = require("matplotlib.colors", "plot")
    colours = require("matplotlib", "plot").colormaps["Blues"]
    rows, columns = values.shape
    squares = []
    for (r, c), value in np.ndenumerate(values):
        side = 0.92 * math.sqrt(min(value / top, 1.0))
        squares.append(patches.Rectangle((c - side / 2, r - side / 2), side, side))
    # the palest colours are left out: a small square must show
    dark = colors.ListedColormap(colours(np.linspace(0.35, 1.0, 256)))
    collection = require("matplotlib.collections", "plot").PatchCollection(squares, cmap=dark)
    collection.set_array(values.ravel())
    collection.set_clim(0, top)
    axes.add_collection(collection)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    return collection


def _factor_names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"factor {k}" for k in range(count)]
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"Expected names to be a sequence of {count} strings, but got {names!r:.80}; "
            "pass one name per factor."
        )
    if len(names) != count:
        raise ValueError(
            f"Expected {count} names, one per factor, but got {len(names)}; the values must be of "
            "shape (codes, factors)."
        )
    return list(names)


def _as_rows(images: ArrayLike) -> np.ndarray:
    """Images as ``(rows, columns, 3, H, W)`` in [0, 1]; those of NaN at a row's end are white."""
    if hasattr(images, "detach"):  # a tensor, perhaps with a gradient or on a GPU
        images = images.detach().cpu().float().numpy()
    array = np.asarray(images, dtype=float)
    array = array[None] if array.ndim == 4 else array
    if array.ndim != 5 or array.shape[2] not in (1, 3) or array.size == 0:
        raise ValueError(
            f"Expected images of shape (rows, columns, C, H, W) or (columns, C, H, W), with C = 1 "
            f"or 3, but got {array.shape}; reshape vectors to images first."
        )
    # rows of unequal length end in NaN; one that begins so is no row
    blank = np.isnan(array).all(axis=(2, 3, 4), keepdims=True)
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
