"""What an alignment found: one row for each attribute, as a table."""

import dataclasses
import math
from typing import Any, Self

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from disvae.alignment.attributes import Floats, Gauge
from disvae.evaluation.findings import Finding
from disvae.metrics.table import Table

_NORMAL_975 = 1.96
_HEADER = (
    "attribute",
    "dimension",
    "gap",
    "95 %",
    "rank corr.",
    "partial",
    "slope",
    "monotonic",
    "cross-talk",
    "codes agree",
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Resampled(float):
    r"""A figure with its 95 % interval: a float, of which arithmetic gives plain floats.

    The interval is 1.96 standard deviations of resamples to either side, cut to the figure's
    bounds. NaN stands for ends that are not known.

    Attributes:
        value: The figure.
        low: The interval's lower end.
        high: Its upper end.

    Example:
        >>> figure = Resampled(0.5, 0.4, 0.6)
        >>> print(figure, figure + 1)
        0.500 [0.400, 0.600] 1.5
    """

    value: float
    low: float
    high: float

    def __new__(cls, value: float, *_: object, **__: object) -> Self:
        """Makes the float; the fields are set by the initialiser."""
        return super().__new__(cls, value)

    @classmethod
    def of(cls, value: float, drawn: Floats, bounds: tuple[float, float]) -> Self:
        """The figure of all data, with the interval that its resamples (R,) give."""
        value, drawn = float(value), drawn[~np.isnan(drawn)]
        if math.isnan(value) or len(drawn) < 2:
            return cls(value, math.nan, math.nan)
        reach = _NORMAL_975 * float(drawn.std(ddof=1))
        return cls(value, max(bounds[0], value - reach), min(bounds[1], value + reach))

    def __repr__(self) -> str:
        return f"Resampled({self.value!r}, {self.low!r}, {self.high!r})"

    def __str__(self) -> str:
        """The figure and its interval."""
        return f"{self.value:z.3f} {self.interval()}".rstrip()

    def interval(self) -> str:
        """The interval in brackets, or nothing where it is not known."""
        return "" if math.isnan(self.low) else f"[{self.low:z.3f}, {self.high:z.3f}]"


@dataclasses.dataclass(frozen=True, eq=False)
class Carrier:
    r"""One attribute and the dimension that carries it; see :func:`align` for the definitions.

    Attributes:
        attribute: Its name.
        dimension: The dimension whose traversal changes it most.
        from_codes: The dimension whose codes know most of it.
        gap: The part of the attribute's entropy that the best code knows, less that of the second.
        correlation: The rank correlation of attribute and dimension over the data.
        partial: That given all other attributes; NaN where these determine it, or there is none.
        slope: Standard deviations of the attribute for each of the dimension's code.
        monotonicity: The mean size of the rank correlation along single traversals.
        cross_talk: How far the other attributes move, relative to this one; NaN without others.
        unmeasured: The part of the dimension's frames in which the attribute could not be measured.
        low: The attribute's 1 % quantile over the data.
        high: Its 99 % quantile.
    """

    attribute: str
    dimension: int
    from_codes: int
    gap: Resampled
    correlation: Resampled
    partial: Resampled
    slope: Resampled
    monotonicity: Resampled
    cross_talk: Resampled
    unmeasured: float
    low: float
    high: float

    @property
    def agree(self) -> bool:
        """Whether codes and traversals name the same dimension."""
        return self.dimension == self.from_codes


@dataclasses.dataclass(frozen=True, eq=False)
class Curves(Finding):
    """Measured attributes along traversals, of A dimensions, T steps and K attributes.

    Attributes:
        values: The codes of each dimension, ascending, (A, T).
        mean: The mean over base data, in the attribute's own unit, (A, T, K).
        low: The 10 % quantile over base data, (A, T, K).
        high: The 90 % quantile, (A, T, K).
    """

    values: Tensor
    mean: Tensor
    low: Tensor
    high: Tensor


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Alignment(Finding):
    r"""What :func:`align` finds; it prints as a table, one row for each attribute.

    Matrices have a row for each of the A dimensions in ``dimensions`` and a column for each of the
    K attributes in ``names``; all figures are defined in :func:`align`.

    Attributes:
        data: The number of data whose codes were compared.
        left_out: The number of data left out, because an attribute was missing.
        source: Where the attributes are from: ``"passed"``, ``"second items"`` or ``"measured"``.
        samples: The number S of data that traversals start from.
        score: The mean gap.
        carriers: A row for each attribute.
        latent_dim: The number D of latent dimensions.
        dimensions: Those that carry a signal and can be moved.
        share: The part of each attribute's entropy that each code knows, ``(A, K)``.
        correlation: Rank correlations of codes and attributes, ``(A, K)``.
        partial: Those given the other attributes, ``(A, K)``.
        slope: Slopes of traversals, ``(A, K)``.
        monotonicity: Their mean rank correlation, ``(A, K)``.
        cross_talk: Their cross-talk, ``(A, K)``.
        unmeasured: The part of each dimension's frames without a figure for an attribute,
            ``(A, K)``.
        curves: The attributes along the traversals.
        gauge: What measures the attributes.
        base: The codes that the traversals start from, ``(S, D)``.
        context: What each of them is conditioned on, ``(S, C)``, or None.
        centre: The mean code, ``(D,)``. Categories and spheres, where a mean has no mass, are
            those of the nearest datum.
        code_scale: The standard deviation of each dimension's codes, ``(A,)``.
        code_ends: Their smallest and largest value, ``(A, 2)``.
        attribute_scale: The standard deviation of each attribute, ``(K,)``.
    """

    data: int
    left_out: int
    source: str
    samples: int
    score: Resampled
    carriers: tuple[Carrier, ...]
    latent_dim: int
    dimensions: tuple[int, ...]
    share: Tensor
    correlation: Tensor
    partial: Tensor
    slope: Tensor
    monotonicity: Tensor
    cross_talk: Tensor
    unmeasured: Tensor
    curves: Curves
    gauge: Gauge
    base: Tensor
    context: Tensor | None
    centre: Tensor
    code_scale: Tensor
    code_ends: Tensor
    attribute_scale: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes."""
        return tuple(carrier.attribute for carrier in self.carriers)

    @property
    def assignment(self) -> dict[str, int]:
        """A dimension of its own for each attribute, so that the sum of the slopes is largest.

        Where there are more attributes than dimensions, some have none.
        """
        sizes = torch.nan_to_num(self.slope.abs()).numpy()
        rows, columns = linear_sum_assignment(sizes, maximize=True)
        chosen = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        return {self.names[k]: self.dimensions[chosen[k]] for k in sorted(chosen)}

    def carrier(self, attribute: str) -> Carrier:
        """The row of an attribute.

        Raises:
            ValueError: If there is none of that name.
        """
        if attribute not in self.names:
            raise ValueError(
                f"Expected one of the attributes {', '.join(self.names)!s:.200}, but got "
                f"{attribute!r:.60}; align it too."
            )
        return self.carriers[self.names.index(attribute)]

    def __repr__(self) -> str:
        found = ", ".join(f"{c.attribute} z{c.dimension}" for c in self.carriers)
        return f"Alignment(score {self.score:.3f}; {found})"

    def __str__(self) -> str:
        """A table for the terminal."""
        return "\n".join([*self._title(), self._table().text()])

    def _repr_html_(self) -> str:
        title = "".join(f"<p>{line}</p>" for line in self._title())
        return f"<div>{title}{self._table().html()}</div>"

    def to_markdown(self) -> str:
        """The same table in Markdown."""
        return "\n\n".join([*self._title(), self._table().markdown()])

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain numbers, strings, lists, dicts and None, which JSON can hold.

        A figure with an interval is a dict of its value and of the interval's low and high end;
        NaN is None.
        """
        found = super().to_dict()
        for machinery in ("gauge", "base", "context", "centre"):
            del found[machinery]
        for row, carrier in zip(found["carriers"], self.carriers, strict=True):
            row["agree"] = carrier.agree
        return {"names": list(self.names), "assignment": self.assignment, **found}

    def _title(self) -> list[str]:
        left = f" ({self.left_out:,} left out)" if self.left_out else ""
        count = len(self.dimensions)
        return [
            f"{self.data:,} data{left}, attributes {self.source}; {count} of {self.latent_dim} "
            f"dimensions, {self.samples} traversals of {self.curves.values.shape[1]} steps each",
            f"score (mean gap) {self.score}",
        ]

    def _table(self) -> Table:
        return Table(_HEADER, tuple(_row(carrier) for carrier in self.carriers))


def _row(carrier: Carrier) -> tuple[str, ...]:
    return (
        carrier.attribute,
        f"z{carrier.dimension}",
        f"{carrier.gap:.3f}",
        carrier.gap.interval() or "-",
        *(_signed(value) for value in (carrier.correlation, carrier.partial, carrier.slope)),
        _number(carrier.monotonicity),
        _number(carrier.cross_talk),
        "yes" if carrier.agree else f"no, z{carrier.from_codes}",
    )


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+z.2f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
