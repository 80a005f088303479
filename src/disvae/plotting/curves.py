"""Curves with intervals: one score against another, or a value against a setting."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from disvae._extras import require
from disvae.plotting.arrays import check_positive
from disvae.plotting.cells import Floats
from disvae.plotting.estimates import Curve, Points, panels_of
from disvae.plotting.placing import place_labels
from disvae.plotting.style import COLOURS, LETTER, MARKERS, SMALL, Panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Curve | tuple[Any, ...]]

# where so few values of a setting are compared, each gets a tick
_TICKS = 12
# of one panel, and of several, in inches
_WIDTHS = (3.4, 2.2)
# around the points of a panel, a part of their extent
_MARGIN = 0.12


def tradeoff(
    curves: Curves | Mapping[str, Curves],
    *,
    xlabel: str,
    ylabel: str,
    columns: int = 3,
    title: str | None = None,
    size: float | None = None,
) -> "Figure":
    r"""One quantity against another, such as a score against reconstruction: one curve per prior.

    Each curve joins its points in their order. Bars are intervals, in both directions; of seeds
    they are 95 % intervals of the mean by Student's t, which are wide for three seeds.

    Args:
        curves: By its name a :class:`Curve`, or (x, y) or (x, y, labels). For several panels side
            by side a mapping from their titles to such mappings; a curve looks the same in all.
        xlabel: What x is, with its unit.
        ylabel: What y is, with its unit; of several panels, what the titles leave to say.
        columns: The number of panels side by side, at most.
        title: A title above all.
        size: The width of a panel in inches; by default 3.4 for one and 2.2 for several.

    Raises:
        TypeError: If something is no mapping, no curve, or does not hold numbers.
        ValueError: If there are no curves, or what belongs to one has different lengths.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> reconstruction = np.array([[20.0, 24.0, 30.0], [21.0, 25.0, 32.0]])  # seeds, points
        >>> score = np.array([[0.50, 0.70, 0.60], [0.54, 0.66, 0.62]])
        >>> curves = {"Laplace": (reconstruction, score, ["β = 1", "4", "8"])}
        >>> figure = tradeoff(curves, xlabel="reconstruction in nats", ylabel="FactorVAE score")
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['β = 1', '4', '8']
    """
    panels = panels_of(curves)
    looks = _looks(panels)
    sheet = _sheet(panels, looks, columns, title, size, xlabel, ylabel)
    for axes, panel in zip(sheet.axes, panels.values(), strict=True):
        for name, points in panel.items():
            colour, marker = looks[name]
            axes.errorbar(
                points.x,
                points.y,
                xerr=_bars(points.x_half),
                yerr=_bars(points.y_half),
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.0,
                elinewidth=0.6,
            )
    for axes, panel in zip(sheet.axes, panels.values(), strict=True):
        shown = [(points, looks[name][0]) for name, points in panel.items()]
        place_labels(sheet.figure, axes, shown)
    return sheet.figure


def bands(
    curves: Curves | Mapping[str, Curves],
    *,
    xlabel: str,
    ylabel: str,
    log: bool = False,
    columns: int = 3,
    title: str | None = None,
    size: float | None = None,
) -> "Figure":
    r"""A quantity against a setting, such as sparsity against α: one line per curve, with a band.

    Bands are intervals; of seeds they are 95 % intervals of the mean by Student's t, which are wide
    for three seeds. Where neither neighbour has one, it is drawn as a bar.

    Args:
        curves: By its name a :class:`Curve`, or (x, y), with x an array ``(P,)`` of settings, in
            any order. For several panels side by side a mapping from their titles to such mappings;
            a curve looks the same in all.
        xlabel: What x is, with its unit.
        ylabel: What y is, with its unit; of several panels, what the titles leave to say.
        log: Whether the settings are drawn on a logarithmic axis. It is linear between 0 and the
            smallest of the others where one is 0.
        columns: The number of panels side by side, at most.
        title: A title above all.
        size: The width of a panel in inches; by default 3.4 for one and 2.2 for several.

    Raises:
        TypeError: If something is no mapping, no curve, or does not hold numbers.
        ValueError: If there are no curves, what belongs to one has different lengths, a setting has
            an interval, or is negative on a logarithmic axis.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> alpha = np.array([0.0, 10.0, 100.0])
        >>> sparsity = np.array([[0.2, 0.3, 0.5], [0.2, 0.4, 0.6]])  # seeds, points
        >>> figure = bands({"γ = 0.8": (alpha, sparsity)}, xlabel="α", ylabel="sparsity", log=True)
        >>> figure.axes[0].get_xscale()
        'symlog'
    """
    panels = panels_of(curves)
    looks = _looks(panels)
    every = [points for panel in panels.values() for points in panel.values()]
    settings = np.unique(np.concatenate([points.x for points in every]))
    if any(np.isfinite(points.x_half).any() for points in every):
        raise ValueError(
            "Expected settings x without intervals, but got seeds of them, or an Interval; pass "
            "one array (points,), or draw them with plotting.tradeoff."
        )
    if log and settings[0] < 0:
        raise ValueError(
            f"Expected settings of at least 0 on a logarithmic axis, but got {settings[0]:g}; "
            "leave log out."
        )
    sheet = _sheet(panels, looks, columns, title, size, xlabel, ylabel)
    for axes, panel in zip(sheet.axes, panels.values(), strict=True):
        for name, points in panel.items():
            colour, marker = looks[name]
            order = points.x.argsort(kind="stable")
            x, y, half = points.x[order], points.y[order], points.y_half[order]
            axes.fill_between(x, y - half, y + half, color=colour, alpha=0.2, linewidth=0)
            axes.errorbar(
                x,
                y,
                yerr=_bars(np.where(_alone(half), half, np.nan)),
                color=colour,
                marker=marker,
                markersize=3.5,
                linewidth=1.2,
                elinewidth=0.6,
            )
        _scale(axes, settings, log, sheet.width)
    return sheet.figure


def _sheet(
    panels: Mapping[str, Mapping[str, Points]],
    looks: Mapping[str, tuple[str, str]],
    columns: int,
    title: str | None,
    size: float | None,
    xlabel: str,
    ylabel: str,
) -> Panels:
    width = _WIDTHS[len(panels) > 1] if size is None else size
    check_positive(width, "size", "a width in inches", 2.8)
    line = require("matplotlib.lines", "plot").Line2D
    keys = [
        line([], [], color=colour, marker=marker, markersize=4, linewidth=1.0, label=name)
        for name, (colour, marker) in looks.items()
        if name
    ]
    sheet = Panels(
        list(panels),
        columns=columns,
        width=width,
        height=0.8 * width,
        title=title,
        keys=keys,
        own_scales=True,
    )
    for axes in sheet.axes:
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(_MARGIN)
        axes.spines[["top", "right"]].set_visible(False)
    count = len(panels)
    sheet.label([xlabel] * count, [ylabel] * count)
    return sheet


def _looks(panels: Mapping[str, Mapping[str, Points]]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, the same in all panels."""
    names = dict.fromkeys(name for panel in panels.values() for name in panel)
    return {
        name: (COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, name in enumerate(names)
    }


def _bars(half: Sequence[float] | Any) -> Any:
    """Half widths, with 0 where there is no interval; None where there are none at all."""
    return np.nan_to_num(half) if np.isfinite(half).any() else None


def _alone(half: Floats) -> NDArray[np.bool_]:
    """Which intervals have none beside them, so that a band would have no width there."""
    there = np.isfinite(half)
    beside = np.zeros(len(half), dtype=bool)
    beside[1:] |= there[:-1]
    beside[:-1] |= there[1:]
    return there & ~beside


def _scale(axes: "Axes", settings: Any, log: bool, width: float) -> None:
    """The horizontal axis, of some inches: its scale, and ticks at settings where they are few."""
    if log and settings[0] > 0:
        axes.set_xscale("log")
    elif log and settings[-1] > 0:
        axes.set_xscale("symlog", linthresh=settings[settings > 0][0])
    if log and len(settings) <= _TICKS:
        places = axes.xaxis.get_transform().transform(settings)
        inches = width / (1 + 2 * _MARGIN) * (places - places[0]) / (np.ptp(places) or 1.0)
        axes.set_xticks(settings, labels=_apart([f"{value:g}" for value in settings], inches))
        axes.set_xticks([], minor=True)
    axes.tick_params(labelsize=SMALL)


def _apart(labels: Sequence[str], inches: Floats) -> list[str]:
    """The labels of ticks, but for those that would run into the one before."""
    found, end = [], -np.inf
    for label, place in zip(labels, inches, strict=True):
        half = LETTER * (1 + len(label)) / 2
        free = place - half >= end
        found.append(label if free else "")
        end = place + half if free else end
    return found
