"""A generator with named controls, at attribute values as they are measured."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disvae.alignment.attributes import Floats, as_array
from disvae.alignment.finding import Alignment
from disvae.alignment.search import Search
from disvae.alignment.sweeps import decoded
from disvae.distributions import point
from disvae.model import VAE, device_of, evaluating
from disvae.nn import check_context_type, check_float, full_precision

_ROUNDING = 1e-6
Value = float | Sequence[float] | Tensor


class Knobs:
    r"""A generator of data at chosen values of attributes, as they are measured on what comes out.

    Each attribute turns the dimension that carries it; all other dimensions stay at a base code.
    The dimensions start where the mean curve of the alignment has the value. A damped Gauss-Newton
    search with a measured Jacobian then makes up for cross-talk, and for what is particular to the
    base and the context. It returns the closest data that it came across, with each attribute
    counted in its standard deviations, and leaves no dimension's range of codes. So a value that
    the base cannot reach is met as well as can be, without a word: :meth:`measure` tells what came
    out.

    How close that is depends on the model. For MNIST with the nets of Pastrana (2022), of values
    that the base can reach, for thickness, slant and width together, half came out within 0.013 and
    nine in ten within 0.08 standard deviations. From the mean code about half of
    each range could be reached by its own dimension. An image takes 20 to 50 ms, nearly all of it
    measuring.

    What is not named is free: its dimension stays at the base code, and its value may change with
    what is named. Nothing is drawn: the same call gives the same data. A batch of another size is
    decoded with other rounding, from which the search of a few rows may end elsewhere, as close.

    Args:
        model: The model.
        found: What :func:`align` found for it.
        base: The datum ``(1, *event)`` whose code is the base; by default the mean code.
        context: What the model is conditioned on, ``(C,)`` or ``(1, C)``, where :meth:`render` is
            not told; that of the base datum.
        dimensions: The dimension of each attribute, by default those of the table. Attributes that
            are left out have no knob. ``found.assignment`` gives each a dimension of its own.

    Attributes:
        dimensions: The dimension of each attribute.
        ranges: The 1 % and the 99 % quantile of each attribute over the data.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an attribute or a dimension does not exist, or the base is not one datum.

    Example:
        >>> import torch, disvae
        >>> from disvae import alignment, decoders, encoders, priors
        >>> _ = torch.manual_seed(0)
        >>> encoder, decoder = encoders.MLP(8, 2), decoders.MLP(2, 8)
        >>> for parameter in encoder.parameters():  # so that the codes of this sketch vary
        ...     _ = parameter.data.mul_(3)
        >>> model, x = disvae.VAE(encoder, decoder, prior=priors.Normal(2)), torch.rand(500, 8)
        >>> found = alignment.align(model, x, measure=lambda x: {"total": x.sum(1)}, replicates=20)
        >>> knobs = alignment.Knobs(model, found)
        >>> knobs.render(total=torch.tensor([3.9, 4.0, 4.1])).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        model: VAE,
        found: Alignment,
        *,
        base: Tensor | None = None,
        context: Tensor | None = None,
        dimensions: Mapping[str, int] | None = None,
    ) -> None:
        if not isinstance(found, Alignment):
            raise TypeError(
                f"Expected found to be an Alignment, but got {type(found).__name__}; pass what "
                f"alignment.align(model, data) returns."
            )
        self.dimensions = _dimensions(found, dimensions)
        carriers = [found.carrier(name) for name in self.dimensions]
        self.ranges = {row.attribute: (row.low, row.high) for row in carriers}
        self._model, self._found = model, found
        self._context = None if context is None else self._rows(context)
        if self._context is not None and len(self._context) > 1:
            raise ValueError(
                f"Expected a single context for Knobs, of shape (C,) or (1, C), but got "
                f"{tuple(self._context.shape)}; pass one for each datum to render."
            )
        with evaluating(model):
            if model.latent_dim not in (None, found.latent_dim):
                raise ValueError(
                    f"Expected the model that was aligned, with {found.latent_dim} latent "
                    f"dimensions, but got one with {model.latent_dim}; align this one."
                )
            self._base = found.centre if base is None else _code(model, base, self._context)

    def __repr__(self) -> str:
        knobs = ", ".join(
            f"{name} from {low:.3g} to {high:.3g} by z{self.dimensions[name]}"
            for name, (low, high) in self.ranges.items()
        )
        return f"Knobs({knobs})"

    def render(self, /, *, context: Tensor | None = None, **values: Value) -> Tensor:
        """Data at chosen values of some attributes.

        Args:
            context: What the model is conditioned on, ``(C,)``, ``(1, C)`` or ``(B, C)``.
            **values: By attribute a number, or ``(B,)`` of them; all are broadcast to one batch.
                What lies outside the attribute's range is moved to its end, with a warning.

        Shape:
            ``(B, *event)``, on the CPU.

        Raises:
            TypeError: If a value is no number.
            ValueError: If there is no such attribute, two have the same dimension, a value is not
                finite, or lengths do not fit.
        """
        dims = self._dims_of(values)
        rows = self._rows(context)
        columns = []
        for name, value in values.items():
            column, asked = self._within(name, _numbers(name, value))
            columns.append(column)
            if asked is not None:
                warnings.warn(asked, UserWarning, stacklevel=2)
        lengths = {len(column) for column in columns} | ({1} if rows is None else {len(rows)})
        count = max(lengths)
        if not lengths <= {1, count}:
            raise ValueError(
                f"Expected values and context of one length, or single ones, but got lengths "
                f"{sorted(lengths - {1})}; pass one value for each of {count} data, or one for all."
            )
        rows = None if rows is None else rows.expand(count, -1)
        if not columns:
            return decoded(self._model, self._base.repeat(count, 1), rows)
        target = np.stack([np.broadcast_to(column, count) for column in columns], axis=1)
        return Search(self._model, self._found, list(values), dims, self._base, rows).run(target)

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        """What the attributes of data ``(B, *event)`` are measured as, by name, ``(B,)`` each.

        Where the data that were aligned lie in [0, 1], these are first cut to it, as is what is
        decoded.
        """
        check_float(x, "x")
        table, names = torch.from_numpy(self._found.gauge(x)), self._found.names
        return {name: table[:, names.index(name)] for name in self.ranges}

    def _dims_of(self, values: Mapping[str, Any]) -> list[int]:
        """The dimensions of the named attributes, all different."""
        owner: dict[int, str] = {}
        for name in values:
            if name not in self.dimensions:
                raise ValueError(
                    f"Expected attributes among {', '.join(self.dimensions)!s:.160}, but got "
                    f"{name!r:.60}; name one of these."
                )
            d = self.dimensions[name]
            if d in owner:
                raise ValueError(
                    f"Expected attributes with dimensions of their own, but {owner[d]!s:.60} and "
                    f"{name!s:.60} both turn z{d} and cannot be set apart; name one of them, or "
                    f"build Knobs with dimensions=found.assignment."
                )
            owner[d] = name
        return list(owner)

    def _rows(self, context: Tensor | None) -> Tensor | None:
        """The context (1, C) or (B, C)."""
        rows = self._context if context is None else _rows_of(context)
        known = self._found.context
        if rows is None and known is not None:
            raise ValueError(
                f"Expected a context of {known.shape[-1]} numbers, because the model is "
                f"conditioned on one, but got none; pass context= to render or to Knobs."
            )
        if rows is not None and (known is None or rows.shape[-1] != known.shape[-1]):
            wanted = "no context" if known is None else f"a context of {known.shape[-1]} numbers"
            raise ValueError(
                f"Expected {wanted}, as the model was aligned with, but got shape "
                f"{tuple(rows.shape)}; pass what align was given."
            )
        return rows

    def _within(self, name: str, column: Floats) -> tuple[Floats, str | None]:
        """Values moved into the attribute's range, and what to say if any was outside."""
        low, high = self.ranges[name]
        kept = column.clip(low, high)
        # an end of the range in float32 may be beyond it
        if np.abs(kept - column).max() <= _ROUNDING * max(abs(low), abs(high)):
            return kept, None
        asked = " to ".join(dict.fromkeys(f"{end:.4g}" for end in (column.min(), column.max())))
        return kept, (
            f"Values of {name} were moved into the range of the data, {low:.4g} to {high:.4g}; "
            f"asked was {asked}."
        )


def _dimensions(found: Alignment, given: Mapping[str, int] | None) -> dict[str, int]:
    """The dimension of each attribute that has a knob."""
    if given is None:
        given = {row.attribute: row.dimension for row in found.carriers}
    if not isinstance(given, Mapping) or not given:
        raise TypeError(
            f"Expected dimensions to be a mapping from attributes to latent dimensions, but got "
            f"{given!r:.60}; pass e.g. found.assignment."
        )
    for name, d in given.items():
        found.carrier(name)
        if d not in found.dimensions:
            raise ValueError(
                f"Expected one of the dimensions {list(found.dimensions)!s:.120} for {name!r:.60}, "
                f"but got {d!r:.60}; the others carry no signal, or cannot be moved alone."
            )
    if "context" in given:
        raise ValueError(
            "Expected attributes of other names than 'context', which render takes for itself, but "
            "got one; align it under another name."
        )
    return {name: int(d) for name, d in given.items()}


def _code(model: VAE, base: Tensor, context: Tensor | None) -> Tensor:
    """The code of one datum, (D,)."""
    check_float(base, "base")
    if base.shape[:1] != (1,):
        raise ValueError(
            f"Expected one datum as base, of shape (1, ...), but got {tuple(base.shape)}; pass "
            f"x[:1]."
        )
    device = device_of(model)
    context = None if context is None else context.to(device)
    return full_precision(point(model.encode(base.to(device), context)))[0].cpu()


def _rows_of(context: Tensor) -> Tensor:
    """A context (C,) or (B, C) as rows."""
    check_context_type(context)
    rows = context[None] if context.ndim == 1 else context
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(
            f"Expected context of shape (C,) or (B, C), but got {tuple(context.shape)}; pass one "
            f"row for each datum, or one for all."
        )
    return rows


def _numbers(name: str, value: Value) -> Floats:
    """A value or several of one attribute, (1,) or (B,)."""
    column = np.atleast_1d(as_array(value))
    if column.dtype.kind not in "iuf":
        raise TypeError(
            f"Expected {name!s:.60} to be a number or several, but got {type(value).__name__}; "
            f"pass a float or a tensor (B,)."
        )
    if column.ndim != 1 or not len(column) or not np.isfinite(column).all():
        got = "NaN or infinity" if column.ndim == 1 and len(column) else f"shape {column.shape}"
        raise ValueError(
            f"Expected {name!s:.60} to be a finite number or (B,) of them, but got {got}; pass a "
            f"float or a tensor (B,)."
        )
    return column.astype(np.float64)
