"""Densities of aggregate posteriors, one panel each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution

from disvae._extras import require
from disvae.evaluation import Context, Data
from disvae.model import VAE
from disvae.plotting.aggregates import Aggregate, Density, Span, ends_of, squared, union
from disvae.plotting.arrays import check_positive
from disvae.plotting.cells import Floats
from disvae.plotting.style import COLOURS, SMALL, Panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# the parts of the prior's mass that its contours enclose, and how these are drawn
_ENCLOSED = {0.5: "solid", 0.95: "dashed"}
# over blue, and over grey with dots of all colours
_CONTOURS = {"Blues": COLOURS[1], "Greys": "#000000"}
# of more data some are drawn
_DOTS = 2000


def aggregate_density(
    model: VAE,
    data: Data,
    *,
    dims: tuple[int, int] = (0, 1),
    labels: ArrayLike | None = None,
    prior: bool = True,
    span: Span | None = None,
    resolution: int = 128,
    samples: int = 32,
    context: Context = None,
    batch_size: int = 512,
    title: str | None = None,
    size: float = 3.0,
) -> "Figure":
    r"""The density of the aggregate posterior over two latent dimensions.

    .. math::

        q(z_a, z_b) = \frac1N \sum_{n=1}^N q(z_a, z_b|x_n)

    Contours enclose 50 % and 95 % of the prior's mass. The density is exact, or a histogram of
    samples, as :meth:`Aggregate.of_model` says. For several models side by side see
    :func:`densities`.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        dims: The two latent dimensions, the first to the right, the second upwards.
        labels: A label for each datum, ``(N,)``: posterior means become dots in its colour, 2,000
            of them where there are more.
        prior: Whether to draw the prior's contours.
        span: What is shown: a number s for (-s, s), a pair (low, high) for both dimensions, or a
            pair of such pairs. By default nearly all posteriors, to three standard deviations, and
            the prior.
        resolution: The number of cells along each side.
        samples: How many samples of each posterior make a histogram, where one is needed.
        context: As in :func:`disvae.evaluation.encode`.
        batch_size: How many data are encoded at once.
        title: A title above all.
        size: The width of the panel in inches.

    Raises:
        ValueError: If a dimension does not exist, or another argument does not fit.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> figure = aggregate_density(model, torch.rand(100, 8))
        >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
        ('z0', 'z1')

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833.
    """
    require("matplotlib.figure", "plot")
    aggregate = Aggregate.of_model(
        model,
        data,
        dims=dims,
        labels=labels,
        prior=prior,
        samples=samples,
        context=context,
        batch_size=batch_size,
    )
    return densities({title or "": aggregate}, span=span, resolution=resolution, size=size)


def densities(
    panels: Mapping[str, Aggregate | tuple[ArrayLike, ArrayLike]],
    *,
    prior: Distribution | None = None,
    span: Span | None = None,
    resolution: int = 128,
    columns: int = 4,
    vmax: float | None = None,
    title: str | None = None,
    size: float = 1.5,
) -> "Figure":
    r"""Densities of aggregate posteriors side by side, such as a grid over β and α.

    All panels show the same part of the latent space. Each has colours of its own, from 0 to its
    largest density, unless ``vmax`` is passed: where posteriors do not overlap, densities are
    higher by orders of magnitude.

    Args:
        panels: By title an :class:`Aggregate`, or a pair (means, scales) of arrays ``(N, 2)``, the
            parameters of factorised normal posteriors.
        prior: The prior of the panels that are such pairs, a distribution over vectors of two
            numbers; contours enclose 50 % and 95 % of its mass.
        span: As in :func:`aggregate_density`; by default what shows all panels.
        resolution: The number of cells along each side of a panel.
        columns: The number of panels side by side, at most.
        vmax: The density of the darkest colour in all panels; a colour bar shows the scale.
        title: A title above all.
        size: The width of a panel in inches.

    Raises:
        TypeError: If the panels are no mapping, or hold something else.
        ValueError: If there is no panel, or an argument does not fit.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from disvae import priors
        >>> means = np.random.default_rng(0).normal(size=(400, 2))
        >>> panels = {f"σ = {s}": (means, np.full((400, 2), s)) for s in (0.01, 0.1, 1.0)}
        >>> figure = densities(panels, prior=priors.Normal(2)(), span=4.0)
        >>> [axes.get_title() for axes in figure.axes]
        ['σ = 0.01', 'σ = 0.1', 'σ = 1.0']
    """
    check_positive(size, "size", "a width in inches", 1.5)
    if vmax is not None:
        check_positive(vmax, "vmax", "a density")
    shown = _aggregates(panels, prior)
    ends = squared(union([a.ends() for a in shown.values()])) if span is None else ends_of(span)
    found = [a.within(ends, resolution) for a in shown.values()]
    paints = _Paints([a.labels for a in shown.values() if a.labels is not None])
    has_prior = any(density.prior is not None for density in found)
    has_bar = len(found) == 1 or vmax is not None
    colours = "Greys" if paints else "Blues"
    sheet = Panels(
        list(shown),
        columns=columns,
        width=size,
        height=size,
        title=title,
        keys=[*(_prior_keys(colours) if has_prior else ()), *paints.keys()],
        aside=0.6 if has_bar else 0.0,
        own_scales=len({a.dims for a in shown.values()}) > 1,
        square=True,
    )
    for axes, aggregate, density in zip(sheet.axes, shown.values(), found, strict=True):
        _draw(axes, density, vmax, colours)
        paints.draw(axes, aggregate)
    sheet.label(*([f"z{a.dims[i]}" for a in shown.values()] for i in (0, 1)))
    if has_bar:
        clipped = vmax is not None and any(density.values.max() > vmax for density in found)
        extend = "max" if clipped else "neither"
        image = sheet.axes[0].images[0]
        bar = sheet.figure.colorbar(image, ax=sheet.axes, extend=extend, aspect=16, pad=0.02)
        bar.ax.tick_params(labelsize=SMALL, length=2)
        bar.ax.set_title("q(z)", fontsize=SMALL, loc="left")
    return sheet.figure


def _aggregates(panels: Any, prior: Distribution | None) -> dict[str, Aggregate]:
    if not isinstance(panels, Mapping) or not all(isinstance(name, str) for name in panels):
        raise TypeError(
            f"Expected panels to be a mapping from titles to aggregates, but got "
            f"{type(panels).__name__}; write e.g. {{'β = 1': (means, scales)}}."
        )
    if not panels:
        raise ValueError("Expected at least one panel, but got none; pass e.g. one for each run.")
    shown = {}
    for name, panel in panels.items():
        if isinstance(panel, Aggregate):
            shown[name] = panel
        elif isinstance(panel, tuple | list) and len(panel) == 2:
            shown[name] = Aggregate.of_normals(*panel, prior=prior)
        else:
            raise TypeError(
                f"Expected each panel to be an Aggregate or a pair (means, scales), but got "
                f"{type(panel).__name__} for {name!r:.60}; see plotting.Aggregate.of_model."
            )
    return shown


def _draw(axes: "Axes", density: Density, vmax: float | None, colours: str) -> None:
    extent = (density.x[0], density.x[-1], density.y[0], density.y[-1])
    axes.imshow(
        density.values,
        cmap=colours,
        vmin=0,
        vmax=vmax or density.values.max() or 1.0,
        origin="lower",
        extent=extent,
        interpolation="nearest",
        aspect="equal" if np.isclose(extent[1] - extent[0], extent[3] - extent[2]) else "auto",
    )
    axes.set_box_aspect(1)
    if density.prior is None:
        return
    area = (density.x[1] - density.x[0]) * (density.y[1] - density.y[0])
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in (density.x, density.y)]
    for share, style in _ENCLOSED.items():
        level = enclosing(density.prior * area, share)
        if level is not None:
            axes.contour(
                *centres,
                density.prior,
                levels=[level / area],
                colors=_CONTOURS[colours],
                linewidths=0.8,
                linestyles=style,
            )


def enclosing(masses: Floats, share: float) -> float | None:
    """The mass from which on cells enclose a share of 1, together, or None if they do not."""
    falling = np.sort(masses, axis=None)[::-1]
    number = int(np.searchsorted(falling.cumsum(), share))
    return float(falling[number]) if number < falling.size else None


def _prior_keys(colours: str) -> list[Any]:
    line = require("matplotlib.lines", "plot").Line2D
    return [
        line(
            [],
            [],
            color=_CONTOURS[colours],
            linewidth=0.8,
            linestyle=style,
            label=f"{100 * share:g} % of p(z)",
        )
        for share, style in _ENCLOSED.items()
    ]


class _Paints:
    """A colour for each value of the labels of all panels, by rank where there are many."""

    def __init__(self, labels: Sequence[NDArray[Any]]) -> None:
        self.values = np.unique(np.concatenate(labels)) if labels else np.empty(0)
        maps, count = require("matplotlib", "plot").colormaps, len(self.values)
        self.named: Sequence[int] = range(count)
        if count <= len(COLOURS):
            self.colours: Sequence[Any] = COLOURS
        elif count <= len(maps["tab10"].colors):
            self.colours = maps["tab10"].colors
        else:
            self.colours = maps["viridis"](np.linspace(0, 1, count))
            self.named = (0, (count - 1) // 2, count - 1)

    def __bool__(self) -> bool:
        """Whether there are labels."""
        return len(self.values) > 0

    def keys(self) -> list[Any]:
        """What the legend says: all values, or the least, a middle one and the largest."""
        line = require("matplotlib.lines", "plot").Line2D
        dot = {"marker": "o", "markersize": 4, "linestyle": "none", "markeredgewidth": 0}
        return [
            line([], [], color=self.colours[n], label=str(self.values[n]), **dot)
            for n in self.named
        ]

    def draw(self, axes: "Axes", aggregate: Aggregate) -> None:
        """The means as dots."""
        if aggregate.labels is None:
            return
        # a regular choice would hit some factors of a grid only
        order = np.random.default_rng(0).permutation(len(aggregate.means))[:_DOTS]
        labels = aggregate.labels[order].astype(self.values.dtype)
        numbers = np.searchsorted(self.values, labels)
        axes.scatter(
            aggregate.means[order, 0],
            aggregate.means[order, 1],
            c=[self.colours[n] for n in numbers],
            s=5,
            linewidths=0,
            zorder=3,
        )
