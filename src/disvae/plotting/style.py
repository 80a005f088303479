"""What pictures have in common: colours, sizes of type, and the panels of a figure."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from disvae._extras import require
from disvae.plotting.arrays import check_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which the colour-blind can tell apart, but for its yellow, which is
# pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# points
SMALL, NORMAL, LARGE = 7, 8, 9

# inches that a letter of the smallest size takes on average, and a line of a legend
LETTER, _LINE = 0.055, 0.17


class Panels:
    """A figure of panels in rows, with a legend below them.

    Args:
        titles: The titles of the panels.
        columns: How many stand side by side, at most.
        width: The width of a panel in inches.
        height: Its height.
        title: A title above all.
        keys: What the legend explains.
        aside: What is needed to the right of the panels, in inches.
        own_scales: Whether each panel has scales of its own.
        square: Whether panels are square.

    Attributes:
        figure: The figure.
        axes: The panels.
        width: The width of each in inches.
    """

    def __init__(
        self,
        titles: Sequence[str],
        *,
        columns: int,
        width: float,
        height: float,
        title: str | None,
        keys: Sequence[Any] = (),
        aside: float = 0.0,
        own_scales: bool = False,
        square: bool = False,
    ) -> None:
        count, self.width = len(titles), width
        self._own_scales, self._columns = own_scales, min(check_whole(columns, "columns"), count)
        rows = math.ceil(count / self._columns)
        across = self._columns * (width + (0.5 if own_scales else 0.1)) + 0.45
        down = rows * (height + (0.5 if own_scales else 0.1) + (0.2 if any(titles) else 0.0)) + 0.45
        letters = max((len(key.get_label()) for key in keys), default=0)
        keys_across = max(1, min(int(across / (0.4 + LETTER * letters)), len(keys)))
        down += math.ceil(len(keys) / keys_across) * _LINE + (0.25 if title else 0.0)
        self.figure: Figure = require("matplotlib.figure", "plot").Figure(
            figsize=(across + aside, down),
            dpi=150,
            layout="compressed" if square else "constrained",
        )
        grid = self.figure.subplots(rows, self._columns, squeeze=False)
        self.axes: list[Axes] = list(grid.flat[:count])
        for unused in grid.flat[count:]:
            unused.remove()
        for axes, name in zip(self.axes, titles, strict=True):
            axes.set_title(name, fontsize=NORMAL, pad=4)
            axes.tick_params(labelsize=SMALL, length=2)
        if title:
            self.figure.suptitle(title, fontsize=LARGE)
        if keys:
            self.figure.legend(
                handles=list(keys),
                loc="outside lower center",
                ncols=keys_across,
                frameon=False,
                fontsize=SMALL,
                handlelength=1.8,
                columnspacing=1.2,
                borderaxespad=0.2,
            )

    def label(self, xlabels: Sequence[str], ylabels: Sequence[str]) -> None:
        """Labels and numbers of the axes; where panels share scales, only below and to the left."""
        for n, axes in enumerate(self.axes):
            lowest, leftmost = n + self._columns >= len(self.axes), n % self._columns == 0
            axes.tick_params(
                labelbottom=lowest or self._own_scales, labelleft=leftmost or self._own_scales
            )
            if lowest or self._own_scales:
                axes.set_xlabel(xlabels[n], fontsize=NORMAL, labelpad=2)
            if leftmost or ylabels[n] != ylabels[n - 1]:
                axes.set_ylabel(ylabels[n], fontsize=NORMAL, labelpad=2)
