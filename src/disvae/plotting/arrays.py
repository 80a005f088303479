"""What the pictures are given, as arrays: tensors and lists alike."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(values: Any) -> NDArray[Any]:
    """An array of what was passed; tensors may have a gradient, or lie on a GPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        short = values.is_floating_point() and values.element_size() < 4
        values = values.float() if short else values  # numpy has no bfloat16
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(
            "Expected rows of one length, but got rows of several; mark what is missing with NaN."
        ) from None


def as_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """An array of float64; None, which JSON has for NaN, is NaN.

    Raises:
        TypeError: If they are not numbers.
    """
    array = as_array(values)
    if array.dtype == object and all(
        value is None or isinstance(value, int | float | np.number) for value in array.flat
    ):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"Expected {name} to hold numbers, but got dtype {array.dtype}; convert it with "
            "numpy.asarray(values, dtype=float)."
        )
    return array.astype(np.float64)


def names_of(names: Sequence[str] | None, defaults: Sequence[str], kind: str) -> list[str]:
    """One name for each of some things, by default the given ones.

    Args:
        names: The names, or None.
        defaults: The names where none are passed, which also say how many there are.
        kind: What is named.

    Raises:
        TypeError: If they are not strings.
        ValueError: If there are too many or too few.
    """
    if names is None:
        return list(defaults)
    several = isinstance(names, Sized) and not isinstance(names, str)
    if not several or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"Expected names to be a sequence of {len(defaults)} strings, but got {names!r:.80}; "
            f"pass one name per {kind}."
        )
    if len(names) != len(defaults):
        raise ValueError(
            f"Expected {len(defaults)} names, one per {kind}, but got {len(names)}; pass as many, "
            "in the order of the values, or leave names out."
        )
    return list(names)


def labels_of(labels: Any, count: int) -> NDArray[Any]:
    """One label for each of some data, ``(N,)``; those of shape ``(N, 1)`` are made so.

    Raises:
        TypeError: If they are neither numbers nor strings.
        ValueError: If there are more or fewer, or one is NaN.
    """
    array = as_array(labels)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.dtype == object and all(isinstance(label, str) for label in array.flat):
        array = array.astype(str)
    if array.dtype.kind not in "biufUT":
        raise TypeError(
            f"Expected labels to be all numbers or all strings, but got dtype {array.dtype}; "
            "convert them with numpy.asarray(labels, dtype=str)."
        )
    if array.shape != (count,):
        raise ValueError(
            f"Expected one label for each of the {count} data, but got shape {array.shape}; of "
            "several factors pass one column, as in factors[:, 0]."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            "Expected a label for every datum, but got NaN or infinity; leave out the data without."
        )
    return array


def check_positive(value: float, name: str, unit: str, usual: float | None = None) -> float:
    """A number, if it is finite and above 0.

    Raises:
        ValueError: If it is not.
    """
    if not (isinstance(value, int | float | np.number) and 0 < value < np.inf):
        mend = "leave it out" if usual is None else f"try {usual}"
        raise ValueError(f"Expected {name} to be {unit} above 0, but got {value!r:.60}; {mend}.")
    return float(value)


def check_whole(value: int, name: str, minimum: int = 1) -> int:
    """A whole number, if it is large enough.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(
            f"Expected {name} to be a whole number of at least {minimum}, but got {value!r:.60}; "
            "pass a larger one, or leave it out."
        )
    return int(value)
