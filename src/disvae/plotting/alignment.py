"""What latent dimensions do to measured attributes: images, and a curve below them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from disvae._extras import require
from disvae.alignment import Alignment, Carrier
from disvae.alignment.sweeps import decoded, moved
from disvae.model import VAE
from disvae.plotting.arrays import as_numbers, check_positive, check_whole
from disvae.plotting.cells import Floats
from disvae.plotting.style import COLOURS, LARGE, NORMAL, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# in inches: a curve, what stands above and below a row, and to the left of it
_CURVE, _ROOM, _LEFT = 0.75, 0.55, 0.6


def alignment(
    model: VAE,
    found: Alignment,
    *,
    names: Sequence[str] | None = None,
    datum: int = 0,
    units: Mapping[str, str] | None = None,
    title: str | None = None,
    cell: float = 0.6,
) -> "Figure":
    r"""One row an attribute: a traversal of the dimension that carries it, and the measured curve.

    The images are decoded from the code of one of the data that the alignment's traversals start
    from. Below them stands the attribute against the dimension's code: the mean over these data and
    a band from the 10 % to the 90 % quantile, and as dots the attribute of the images shown. The
    row's title names the dimension and the gap with its 95 % interval.

    Args:
        model: The model, of images.
        found: What :func:`disvae.alignment.align` found for it.
        names: The attributes to show, in this order; by default all.
        datum: Which of the data that traversals start from is shown.
        units: By attribute the unit of its axis.
        title: A title above all.
        cell: The width of one image in inches.

    Raises:
        TypeError: If ``found`` is no alignment, ``names`` no sequence, or ``units`` no mapping.
        ValueError: If the model's data are no images, or an attribute or a datum does not exist.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> from disvae.alignment import align
        >>> _ = torch.manual_seed(0)
        >>> shape = (1, 16, 16)
        >>> encoder, decoder = encoders.Conv(shape, 3), decoders.Conv(3, shape)
        >>> for parameter in encoder.parameters():  # so that the codes of this sketch vary
        ...     _ = parameter.data.mul_(3)
        >>> model = disvae.VAE(encoder, decoder, prior=priors.Normal(3))
        >>> x = torch.rand(50, *shape)
        >>> found = align(model, x, measure=lambda x: {"ink": x.sum((1, 2, 3))}, replicates=20)
        >>> figure = alignment(model, found, units={"ink": "pixels"})
        >>> figure.axes[1].get_ylabel()
        'ink\n(pixels)'
    """
    figure_module = require("matplotlib.figure", "plot")
    if not isinstance(found, Alignment):
        raise TypeError(
            f"Expected found to be an Alignment, but got {type(found).__name__}; pass what "
            f"alignment.align(model, data) returns."
        )
    if isinstance(names, str) or not isinstance(names, Sequence | None):
        raise TypeError(
            f"Expected names to be a sequence of attributes, but got {names!r:.60}; write e.g. "
            f"names=('thickness', 'slant')."
        )
    if units is not None and not isinstance(units, Mapping):
        raise TypeError(
            f"Expected units to be a mapping from attributes to units, but got "
            f"{type(units).__name__}; write e.g. {{'ink': 'pixels'}}."
        )
    for name in units or ():
        found.carrier(name)
    check_positive(cell, "cell", "a width in inches", 0.6)
    rows = [found.carrier(name) for name in (found.names if names is None else names)]
    if not rows:
        raise ValueError("Expected at least one attribute to show, but got none; leave names out.")
    if check_whole(datum, "datum", 0) >= found.samples:
        raise ValueError(
            f"Expected datum to be below {found.samples}, the number of data that traversals start "
            f"from, but got {datum}; pass a smaller one."
        )
    places = [found.dimensions.index(row.dimension) for row in rows]
    frames, measured = _frames(model, found, rows, places, datum)
    steps, height, width = frames.shape[1], frames.shape[3], frames.shape[4]

    strip = cell * height / width
    across = _LEFT + cell * steps + 0.1
    down = len(rows) * (strip + _CURVE + _ROOM) + 0.1 + (0.25 if title else 0.0)
    figure: Figure = figure_module.Figure(figsize=(across, down), dpi=150)
    top = down - 0.05 - (0.25 if title else 0.0)
    for row, place, images, values in zip(rows, places, frames, measured, strict=True):
        top -= 0.2
        box = (_LEFT / across, (top - strip) / down, cell * steps / across, strip / down)
        _images(figure.add_axes(box), images, row)
        top -= strip + 0.03
        box = (box[0], (top - _CURVE) / down, box[2], _CURVE / down)
        unit = (units or {}).get(row.attribute)
        _curve(figure.add_axes(box), found, row, place, values, unit)
        top -= _CURVE + _ROOM - 0.23
    if title:
        figure.suptitle(title, fontsize=LARGE, y=1 - 0.05 / down, va="top")
    return figure


def _frames(
    model: VAE, found: Alignment, rows: Sequence[Carrier], places: Sequence[int], datum: int
) -> tuple[Floats, list[Floats]]:
    """The images of each row, (rows, T, C, H, W), and the row's attribute in them, (T,) each."""
    values = found.curves.values[list(places)]
    z = moved(found.base[datum : datum + 1], [row.dimension for row in rows], values)[0]
    context = found.context
    if context is not None:
        context = context[datum].expand(z.shape[0] * z.shape[1], -1)
    x = decoded(model, z.flatten(0, 1), context)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(
            f"Expected a model of images of shape (C, H, W), with C = 1 or 3, but it decodes to "
            f"{tuple(x.shape[1:])}; draw found.curves with plotting.bands."
        )
    table = found.gauge(x).reshape(*z.shape[:2], -1)
    columns = [found.names.index(row.attribute) for row in rows]
    measured = [table[r, :, column] for r, column in enumerate(columns)]
    return as_numbers(x.unflatten(0, z.shape[:2]), "images"), measured


def _images(axes: "Axes", images: Floats, row: Carrier) -> None:
    """The images (T, C, H, W) side by side."""
    pixels = np.concatenate(list(np.moveaxis(images, 1, -1)), axis=1).clip(0.0, 1.0)
    axes.imshow(pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels, aspect="auto")
    for edge in range(1, len(images)):
        axes.axvline(edge * images.shape[-1] - 0.5, color="white", linewidth=1.0)
    axes.set_axis_off()
    interval = f" {row.gap.interval()}" if row.gap.interval() else ""
    words = f"{row.attribute}: z{row.dimension}, gap {row.gap:.3f}{interval}"
    if not row.agree:
        words += f"; codes say z{row.from_codes}"
    axes.set_title(words, fontsize=NORMAL, loc="left", pad=3)


def _curve(
    axes: "Axes", found: Alignment, row: Carrier, place: int, shown: Floats, unit: str | None
) -> None:
    """The attribute against the code, each step below its image."""
    column = found.names.index(row.attribute)
    curves = found.curves
    codes = curves.values[place].numpy()
    mean, low, high = (
        values[place, :, column].numpy() for values in (curves.mean, curves.low, curves.high)
    )
    axes.fill_between(codes, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    axes.plot(codes, mean, color=COLOURS[0], linewidth=1.2)
    axes.plot(codes, shown, "o", color=COLOURS[1], markersize=2.5)
    half = (codes[1] - codes[0]) / 2
    axes.set_xlim(codes[0] - half, codes[-1] + half)
    axes.margins(y=0.12)
    axes.tick_params(labelsize=SMALL, length=2, pad=1)
    axes.locator_params(axis="y", nbins=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"z{row.dimension}", fontsize=SMALL, labelpad=0)
    label = row.attribute if unit is None else f"{row.attribute}\n({unit})"
    axes.set_ylabel(label, fontsize=SMALL, labelpad=2)
