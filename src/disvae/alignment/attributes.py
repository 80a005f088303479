"""Attributes of data: tables of numbers with names, and what measures them in decoded data."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from disvae.data import MorphologyTable
from disvae.nn import full_precision

Floats = NDArray[np.float64]
Attributes = ArrayLike | Tensor | Mapping[str, Any] | MorphologyTable
Measure = Callable[[Tensor], Any]


class Table(NamedTuple):
    """Attributes of some data.

    Attributes:
        names: Their names, or None where they have none.
        values: Shape (N, K), NaN where an attribute could not be measured.
    """

    names: tuple[str, ...] | None
    values: Floats

    @classmethod
    def of(cls, given: Any, what: str) -> Self:
        """A table of whatever form.

        Args:
            given: A `MorphologyTable`, a mapping from names to columns (N,), numbers (N,) or
                (N, K), or a data frame, whose columns go by their names.
            what: What it is, for errors.

        Raises:
            TypeError: If it holds no numbers.
            ValueError: If it has another shape, or a value is infinite.
        """
        if isinstance(given, MorphologyTable):
            return cls(given.names, given.to_array())
        labels = getattr(given, "columns", ())
        if len(labels) and all(isinstance(name, str) for name in labels):
            given = {name: given[name] for name in labels}
        if isinstance(given, Mapping):
            return cls(*_columns(given, what))
        values = _numbers(given, what)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] == 0:
            raise ValueError(
                f"Expected {what} to have shape (N,) or (N, K), but got {values.shape}; pass one "
                f"row for each datum."
            )
        return cls(None, values)

    def pick(
        self, names: Sequence[str] | None, what: str
    ) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The columns of some attributes, and their names: by default all of them.

        Args:
            names: Which attributes, in this order; of a table without names, the names of all.
            what: What the table is, for errors.

        Raises:
            TypeError: If the names are not strings.
            ValueError: If an attribute does not exist or is named twice.
        """
        count = self.values.shape[1]
        if names is None:
            own = self.names or tuple(f"attribute {k}" for k in range(count))
            return tuple(range(count)), own
        wanted = _checked(names)
        if self.names is None:
            if len(wanted) != count:
                raise ValueError(
                    f"Expected {count} names, one for each column of {what}, but got "
                    f"{len(wanted)}; name them all, or pass a mapping from names to columns."
                )
            return tuple(range(count)), wanted
        for name in wanted:
            if name not in self.names:
                raise ValueError(
                    f"Expected names of {what}, which are {', '.join(self.names)!s:.160}, but got "
                    f"{name!r:.60}; leave it out, or measure it too."
                )
        return tuple(self.names.index(name) for name in wanted), wanted


@dataclasses.dataclass(frozen=True, eq=False)
class Gauge:
    """What measures the attributes of data.

    Attributes:
        measure: From a tensor (N, *event) on the CPU to a table of attributes.
        names: The attributes, in order.
        columns: Where they stand in the table.
        clip: Whether data are cut to [0, 1] before they are measured.
    """

    measure: Measure
    names: tuple[str, ...]
    columns: tuple[int, ...]
    clip: bool = False

    def __call__(self, x: Tensor) -> Floats:
        """The attributes of data (N, *event), (N, K); NaN where one could not be measured.

        Raises:
            ValueError: If `measure` does not return a row for each datum.
        """
        x = full_precision(x.detach()).cpu()
        x = x.clamp(0.0, 1.0) if self.clip else x
        table = measured(self.measure, x)
        if table.values.shape[1] <= max(self.columns):
            raise ValueError(
                f"Expected measure to return the same attributes at every call, but got "
                f"{table.values.shape[1]} columns after {max(self.columns) + 1} or more; fill what "
                f"cannot be measured with NaN."
            )
        return table.values[:, list(self.columns)]


def measured(measure: Measure, x: Tensor) -> Table:
    """The table that a function makes of data (N, *event), which must have N rows."""
    table = Table.of(measure(x), "what measure returns")
    if len(table.values) != len(x):
        raise ValueError(
            f"Expected measure to return a row for each of {len(x)} data, but got "
            f"{len(table.values)}; fill the rows of what cannot be measured with NaN."
        )
    return table


def _columns(given: Mapping[str, Any], what: str) -> tuple[tuple[str, ...], Floats]:
    names = _checked(list(given))
    columns = [_numbers(column, what) for column in given.values()]
    if not names or any(column.ndim != 1 for column in columns):
        raise ValueError(
            f"Expected {what} to map names to columns of shape (N,), but got shapes "
            f"{[column.shape for column in columns]!s:.120}; pass one number for each datum."
        )
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            f"Expected all columns of {what} to have one length, but got "
            f"{[len(column) for column in columns]!s:.120}; pass one number for each datum."
        )
    return names, np.stack(columns, axis=1)


def _checked(names: Any) -> tuple[str, ...]:
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            f"Expected names to be a sequence of strings, but got {names!r:.80}; write e.g. "
            f"names=('thickness', 'slant')."
        )
    if len(set(names)) != len(names) or not names:
        raise ValueError(
            f"Expected at least one name, and each only once, but got {list(names)!s:.120}; name "
            f"each attribute once."
        )
    return tuple(names)


def as_array(given: Any) -> NDArray[Any]:
    """What numpy reads of tensors, numbers and sequences; an object where it reads nothing."""
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = given.double() if given.is_floating_point() else given  # numpy has no bfloat16
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError):  # the last of tensors with a gradient in a list
        return np.asarray(None)


def _numbers(given: Any, what: str) -> Floats:
    """An array of finite numbers, or NaN."""
    array = as_array(given)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"Expected {what} to be numbers, but got {type(given).__name__} of dtype "
            f"{array.dtype}; pass an array (N, K), a MorphologyTable, or a mapping from names to "
            f"columns."
        )
    numbers = array.astype(np.float64)
    if np.isinf(numbers).any():
        raise ValueError(
            f"Expected {what} to be finite, or NaN where not measured, but got infinity; replace "
            f"it by NaN."
        )
    return numbers
