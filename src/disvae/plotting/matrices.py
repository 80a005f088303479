"""Matrices of codes and factors."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disvae._extras import require
from disvae.plotting.arrays import as_array, as_numbers, check_positive, names_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from disvae.metrics import DCI, MIR, InfoMEC, MEDScore
    from disvae.metrics.information import InformationScore

# Heat maps of more cells, or of narrower ones (inches), carry no numbers.
_ANNOTATED_CELLS = 120
_ANNOTATED_WIDTH = 0.38
# From this part of the scale on white reads better than black.
_DARK = 0.72


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
    array = as_array(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"Expected {name} of shape (codes, factors), or a score that carries it, but got "
            f"{type(values).__name__} of shape {array.shape}; pass for instance score.{name}."
        )
    array = as_numbers(array, name)
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
    names = names_of(names, [f"factor {k}" for k in range(K)], "factor")
    check_positive(cell, "cell", "a width in inches", 0.45)
    if vmax is not None:
        check_positive(vmax, "vmax", "a number")
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
