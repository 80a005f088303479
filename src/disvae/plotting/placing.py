"""Words beside points, where they hide as little as possible."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from disvae._extras import require
from disvae.plotting.cells import Floats
from disvae.plotting.estimates import Points
from disvae.plotting.style import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# where words may stand around their point, in points: the nearest first
_PLACES = [
    (distance * x, distance * y)
    for distance in (4.0, 8.0, 13.0, 19.0)
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
]
# colours of curves are too pale for words on white
_DARKER = 0.65


class _Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: "_Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(width, 0.0) * max(height, 0.0)

    def centre(self) -> Floats:
        """Its middle."""
        return np.array([(self.left + self.right) / 2, (self.low + self.high) / 2])

    def area(self) -> float:
        """Its area."""
        return (self.right - self.left) * (self.high - self.low)

    def count(self, pixels: Floats) -> int:
        """How many of the points ``(n, 2)`` lie inside."""
        x, y = pixels.T
        inside = (x > self.left) & (x < self.right) & (y > self.low) & (y < self.high)
        return int(inside.sum())


def place_labels(figure: "Figure", axes: "Axes", curves: Sequence[tuple[Points, str]]) -> None:
    """Write the labels of points, in the curves' colours, each where it hides the least.

    Args:
        figure: The figure, complete but for labels.
        axes: One of its panels.
        curves: What it shows: the points and the colour of each curve.
    """
    canvas = require("matplotlib.backends.backend_agg", "plot").FigureCanvasAgg(figure)
    to_rgb = require("matplotlib.colors", "plot").to_rgb
    figure.draw_without_rendering()  # from here on the layout is known
    renderer = canvas.get_renderer()
    frame = _Box(*axes.get_window_extent(renderer).extents)
    lines = np.concatenate([_pixels_of(axes, points) for points, _ in curves])
    words: list[_Box] = []
    for points, colour in curves:
        ink = [_DARKER * part for part in to_rgb(colour)]
        for x, y, label in zip(points.x, points.y, points.labels, strict=True):
            if not label:
                continue
            text = axes.annotate(
                label,
                (x, y),
                (0, 0),
                textcoords="offset points",
                fontsize=SMALL,
                color=ink,
                ha="center",
                va="center",
            )
            text.set_in_layout(False)  # or the panels would move
            bounds = text.get_window_extent(renderer)
            at, size = axes.transData.transform((x, y)), (bounds.width, bounds.height)
            boxes = [_beside(at, size, place, figure.dpi / 72) for place in _PLACES]
            costs = [
                n
                + 10 * box.count(lines)
                + 100 * sum(box.overlap(word) for word in words)
                + 100 * (box.area() - box.overlap(frame))
                for n, box in enumerate(boxes)
            ]
            box = boxes[int(np.argmin(costs))]
            words.append(box)
            text.set_position((box.centre() - at) * 72 / figure.dpi)


def _beside(at: Floats, size: tuple[float, float], place: tuple[float, float], dot: float) -> _Box:
    """Where words of some size stand; a point of type is ``dot`` pixels."""
    x, y = at + np.multiply(place, dot) + np.sign(place) * np.divide(size, 2)
    return _Box(x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)


def _pixels_of(axes: "Axes", points: Points) -> Floats:
    """Points on the lines, the bars and around the markers of a curve, two pixels apart or so."""
    x_half, y_half = np.nan_to_num(points.x_half), np.nan_to_num(points.y_half)
    ends = [
        (np.stack([points.x[:-1], points.y[:-1]], 1), np.stack([points.x[1:], points.y[1:]], 1)),
        (
            np.stack([points.x - x_half, points.y], 1),
            np.stack([points.x + x_half, points.y], 1),
        ),
        (
            np.stack([points.x, points.y - y_half], 1),
            np.stack([points.x, points.y + y_half], 1),
        ),
    ]
    found = []
    for start, end in ends:
        a, b = axes.transData.transform(start), axes.transData.transform(end)
        steps = int(np.ptp([a, b], axis=0).max(initial=0) / 2) + 2
        found.append(np.linspace(a, b, steps).reshape(-1, 2))
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = 3 * axes.figure.dpi / 72 * np.stack([np.cos(angle), np.sin(angle)], 1)
    centres = axes.transData.transform(np.stack([points.x, points.y], 1))
    found.append((centres[:, None] + ring).reshape(-1, 2))
    return np.concatenate(found)
