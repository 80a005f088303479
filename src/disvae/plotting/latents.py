"""What latent dimensions do: how large they are in each class, and what they change."""

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from disvae._extras import require
from disvae.distributions.supports import CATEGORIES, Block, blocks
from disvae.evaluation import Data, Summary, summary
from disvae.model import VAE
from disvae.plotting.arrays import as_numbers, check_positive, check_whole, labels_of, names_of
from disvae.plotting.cells import Floats
from disvae.plotting.images import grid
from disvae.plotting.style import COLOURS, LARGE, NORMAL, SMALL
from disvae.traversals import CENTRAL_MASS, traverse, traversed_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# more rows than these are no classes
_CLASSES = 50


def latent_magnitudes(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    names: Sequence[str] | None = None,
    dims: Sequence[int] | None = None,
    vmax: float | None = None,
    title: str | None = None,
    width: float | None = None,
) -> "Figure":
    r"""How large each latent dimension is in each class: one row of bars for each class.

    .. math::

        m_{cd} = \frac{1}{N_c} \sum_{n:\,y_n = c} |z_{nd}|

    All rows have one scale. Where codes are sparse, a class has a few high bars, and different
    classes have different ones.

    Args:
        codes: The codes, ``(N, D)``, as :func:`disvae.evaluation.encode` gives them. Without
            labels the magnitudes themselves, ``(classes, D)``.
        labels: A class for each code, ``(N,)`` or ``(N, 1)``.
        names: A name for each class, in the order of the sorted labels; by default the labels, or
            ``class 0``, ``class 1``, ...
        dims: The latent dimensions to show, in this order; by default all.
        vmax: The end of the scale; by default the largest magnitude.
        title: A title above all.
        width: The width of each row of bars in inches; by default 0.2 for each dimension, and from
            2 to 6 in all.

    Raises:
        TypeError: If the codes are not numbers, or the names not strings.
        ValueError: If a shape, a dimension or the number of names does not fit, a code is not
            finite, or a magnitude is negative.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> codes = np.array([[1.0, 0.0], [-3.0, 0.0], [0.5, 4.0]])
        >>> figure = latent_magnitudes(codes, [0, 0, 1], names=["shirt", "boot"])
        >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
        [2.0, 0.0]

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833.
    """
    table, defaults = _magnitudes(codes, labels)
    names = names_of(names, defaults, "class")
    shown = _chosen(dims, table.shape[1])
    width = min(max(2.0, 0.2 * len(shown)), 6.0) if width is None else width
    check_positive(width, "width", "a width in inches", 6.0)
    if vmax is not None:
        check_positive(vmax, "vmax", "a magnitude")
    table = table[:, shown]
    top = vmax or float(table.max()) or 1.0

    left = 0.2 + 0.06 * max(map(len, names))
    size = (left + width + 0.5, 0.7 + 0.3 * len(table) + (0.2 if title else 0.0))
    figure = require("matplotlib.figure", "plot").Figure(
        figsize=size, dpi=150, layout="constrained"
    )
    figure.get_layout_engine().set(h_pad=0.03, hspace=0)
    rows = figure.subplots(len(table), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, name, magnitudes in zip(rows, names, table, strict=True):
        axes.bar(range(len(shown)), magnitudes, width=0.75, color=COLOURS[0])
        axes.spines[["top", "left"]].set_visible(False)
        axes.spines[["bottom", "right"]].set_color("0.7")
        axes.set_ylabel(name, fontsize=NORMAL, rotation=0, ha="right", va="center")
        axes.yaxis.tick_right()
        axes.tick_params(labelsize=SMALL, length=2, color="0.7", labelright=False, bottom=False)
    axes.tick_params(bottom=True)
    axes.set(xlim=(-0.6, len(shown) - 0.4), ylim=(0, top))
    # narrower labels would run into each other
    step = math.ceil(0.07 * (1 + len(str(max(shown)))) * len(shown) / width)
    ticks = range(0, len(shown), step)
    axes.set_xticks(ticks, labels=[str(shown[i]) for i in ticks])
    axes.set_xlabel("latent dimension", fontsize=NORMAL)
    # one scale for all
    axes.set_yticks([0, top], labels=["0", f"{top:.3g}"])
    rows[0].tick_params(labelright=True)
    rows[0].set_title("mean |z|", fontsize=SMALL, loc="right", pad=3)
    if title:
        figure.suptitle(title, fontsize=LARGE)
    return figure


def active_traversals(
    model: VAE,
    x: Tensor,
    data: Data | Summary,
    *,
    top: int | None = None,
    steps: int = 9,
    span: float | tuple[float, float] | None = None,
    context: Tensor | None = None,
    title: str | None = None,
    cell: float = 0.6,
) -> "Figure":
    r"""Traversals of the latent dimensions that a model uses, those of the largest KL first.

    The rows are those of :func:`disvae.traversals.traverse`, for the active dimensions
    (:func:`disvae.evaluation.active_units`). Each is labelled with its mean KL in nats,
    :math:`E_x\,KL(q(z_d|x) \| p(z_d))`; where posterior or prior do not factorise, with the
    variance of its codes instead, by which the rows are then ordered. Columns are labelled with the
    values of z where all rows take the same ones, else with the quantiles of the prior. A category
    is one row, with one frame for each of its values.

    Args:
        model: The model, of images.
        x: One datum, ``(1, C, H, W)``, whose code the traversals start from.
        data: Data that say which dimensions are active, as for :func:`disvae.evaluation.summary`;
            or what that function has found, which a model with a context needs.
        top: How many dimensions to show, at most; by default all that are active.
        steps: How many values each takes.
        span: Values to move through instead of the prior's quantiles: a pair (low, high), or a
            number s for (-s, s).
        context: What the model is conditioned on, ``(1, C)``.
        title: A title above all.
        cell: The width of one image in inches.

    Raises:
        ValueError: If no dimension is active, or an argument does not fit.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> _ = torch.manual_seed(0)
        >>> shape = (1, 16, 16)
        >>> encoder, decoder = encoders.Conv(shape, 3), decoders.Conv(3, shape)
        >>> model = disvae.VAE(encoder, decoder, prior=priors.Normal(3))
        >>> for parameter in encoder.parameters():  # so that the codes of this sketch vary
        ...     _ = parameter.data.mul_(3)
        >>> images = torch.rand(50, *shape)
        >>> figure = active_traversals(model, images[:1], images, top=2)
        >>> len(figure.axes[0].get_yticklabels())
        2
    """
    require("matplotlib.figure", "plot")
    found = data if isinstance(data, Summary) else summary(model, data)
    active = [d for d in found.order if found.active.mask[d]]
    if not active:
        raise ValueError(
            f"Expected at least one active dimension, but all {len(found.order)} have collapsed to "
            f"the prior; name some for traversals.traverse(model, x, dims=...), and draw its grid."
        )
    rows = _rows(active, blocks(model.latent_prior(context)))
    rows = rows if top is None else rows[: check_whole(top, "top")]
    images = traverse(model, x, [row[0] for row in rows], steps, span, context=context)
    moved = [row[0] for row in rows if len(row) == 1]
    values = traversed_values(model, steps, span, context=context)[:, moved].cpu().numpy()
    columns = _column_labels(values) + [""] * (images.shape[1] - steps)
    return grid(
        images,
        row_labels=[_row_label(row, found) for row in rows],
        column_labels=columns if moved else None,
        title=title,
        cell=cell,
    )


def _rows(dims: Sequence[int], of_prior: Sequence[Block]) -> list[tuple[int, ...]]:
    """The dimensions of each row of a traversal: one, or all those of a category."""
    owner = {d: block.dims for block in of_prior if block.kind in CATEGORIES for d in block.dims}
    return list(dict.fromkeys(owner.get(d, (d,)) for d in dims))


def _row_label(row: tuple[int, ...], found: Summary) -> str:
    d = row[0]
    if len(row) > 1:
        return f"z{d}–z{row[-1]} category"
    if found.kl_per_dimension is None:
        return f"z{d} var {found.active.variance[d]:.2g}"
    kl = float(found.kl_per_dimension[d])
    return f"z{d} {kl:.{1 if kl >= 1 else 2}f} nats"


def _column_labels(values: Floats) -> list[str]:
    """The values (steps, rows), if those of all rows are the same; else quantiles."""
    if not np.allclose(values, values[:, :1], atol=1e-6):
        tail = (1 - CENTRAL_MASS) / 2
        parts = np.linspace(tail, 1 - tail, len(values)) if len(values) > 1 else [0.5]
        return [f"{100 * part:.0f} %" for part in parts]
    largest = np.abs(values[:, 0]).max()
    decimals = 1 if largest >= 1 or largest == 0 else 1 - math.floor(math.log10(largest))
    # adding 0 makes -0 a plain one
    return [f"{round(v, decimals) + 0.0:.{decimals}f}".replace("-", "−") for v in values[:, 0]]


def _magnitudes(codes: ArrayLike, labels: ArrayLike | None) -> tuple[Floats, list[str]]:
    """Mean magnitudes of each class, and usual names of the classes."""
    values = as_numbers(codes, "codes")
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"Expected codes of shape (N, D), or magnitudes (classes, D), but got {values.shape}; "
            "pass one row for each datum or class."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "Expected codes to be finite, but got NaN or infinity; leave out what has diverged."
        )
    if labels is not None:
        kinds = labels_of(labels, len(values))
        classes = np.unique(kinds)
        table = np.stack([np.abs(values[kinds == kind]).mean(axis=0) for kind in classes])
        defaults = [str(kind) for kind in classes]
    else:
        table, defaults = values, [f"class {c}" for c in range(len(values))]
        if (table < 0).any():
            raise ValueError(
                "Expected magnitudes of at least 0, but got negative ones; pass labels with codes, "
                "as in latent_magnitudes(codes, labels)."
            )
    if len(table) > _CLASSES:
        raise ValueError(
            f"Expected at most {_CLASSES} classes, but got {len(table)}; pass labels of few "
            "classes with the codes, or magnitudes of shape (classes, D)."
        )
    return table, defaults


def _chosen(dims: Sequence[int] | None, latent_dim: int) -> list[int]:
    if dims is None:
        return list(range(latent_dim))
    try:
        chosen = [operator.index(d) for d in dims]
    except TypeError:
        chosen = []
    if not chosen or not all(0 <= d < latent_dim for d in chosen):
        raise ValueError(
            f"Expected dims to be latent dimensions between 0 and {latent_dim - 1}, but got "
            f"{dims!r:.60}; pass e.g. dims=[0], or leave it out."
        )
    return chosen
