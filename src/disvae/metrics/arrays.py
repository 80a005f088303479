"""What every metric asks of its input, checked once and in one place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Discrete = bool | Sequence[bool] | NDArray[np.bool_] | None
"""Which factors are classes: one flag for all, one per column, or None to infer them."""

Rng = int | np.random.Generator
"""A seed or a generator."""

# A code whose whole range is within this many units in the last place of its largest value holds
# rounding noise and nothing else. The scale of the other codes does not matter.
_CONSTANT_ULPS = 4

# A column of fractional numbers is taken for classes where its values repeat this often.
_REPEATS_OF_A_CLASS = 5


@dataclass(frozen=True)
class Arrays:
    """Checked codes and factors of the same rows.

    Attributes:
        codes: Finite, float64, shape (N, D).
        factors: Shape (N, K), NaN where a value is missing.
        discrete: Which factors are classes, shape (K,).
        active: Which codes are not numerically constant, shape (D,).
    """

    codes: NDArray[np.float64]
    factors: NDArray[Any]
    discrete: NDArray[np.bool_]
    active: NDArray[np.bool_]


def check_arrays(codes: ArrayLike, factors: ArrayLike, discrete: Discrete = None) -> Arrays:
    """Checks and converts the input of a metric; nothing that was passed is changed.

    A factor is inferred to be discrete if its numbers are all whole (whatever their dtype), or
    if its values repeat: five rows or more per distinct value on average.

    Args:
        codes: Numbers of shape (N, D), finite. Whatever :func:`numpy.asarray` reads.
        factors: Numbers of shape (N, K), NaN where a value is missing.
        discrete: Flags that override the inference.

    Returns:
        The arrays, the flags, and which codes are not constant.

    Raises:
        TypeError: If an array or the flags do not hold what they must.
        ValueError: If a shape, a length or a value does not fit.
    """
    checked_codes, active = check_codes(codes)
    checked_factors = _matrix(factors, "factors", "K")
    if len(checked_codes) != len(checked_factors):
        raise ValueError(
            "Expected codes and factors to have the same number of rows, but got "
            f"{len(checked_codes)} and {len(checked_factors)}; pass one row per data point in both."
        )
    if np.isinf(checked_factors).any():
        row, column = np.argwhere(np.isinf(checked_factors))[0]
        raise ValueError(
            f"Expected factors to be finite, or NaN where missing, but got infinity at row {row}, "
            f"column {column}; replace it by a number or by NaN."
        )
    flags = _discrete_flags(checked_factors, discrete)
    return Arrays(checked_codes, checked_factors, flags, active)


def check_codes(codes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Checks codes alone.

    Args:
        codes: Numbers of shape (N, D), finite.

    Returns:
        The codes in float64, and which of them are not numerically constant, shape (D,).

    Raises:
        TypeError: If they are not an array of numbers.
        ValueError: If they are not two-dimensional, empty, or not finite.
    """
    array = _matrix(codes, "codes", "D")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"Expected codes to be finite, but got {np.count_nonzero(~finite)} NaN or infinite "
            f"values, the first at row {row}, column {column}; leave such rows out, or mend the "
            "encoder."
        )
    # What counts as rounding noise depends on the precision the codes were computed in.
    resolution = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
    converted = array.astype(np.float64)
    low, high = converted.min(axis=0), converted.max(axis=0)
    with np.errstate(over="ignore"):
        width = high - low
    if not np.isfinite(width).all():
        raise ValueError(
            "Expected codes whose range fits a float64, but got column "
            f"{int(np.argmin(np.isfinite(width)))} from {converted.min():.3g} to "
            f"{converted.max():.3g}; rescale the codes."
        )
    largest = np.maximum(np.abs(low), np.abs(high))
    return converted, width > _CONSTANT_ULPS * resolution * largest


def resolve_rng(rng: Rng) -> tuple[np.random.Generator, int | None]:
    """Turns ``rng`` into a generator, and the seed to put on record (None for a generator)."""
    if isinstance(rng, np.random.Generator):
        return rng, None
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(
            "Expected rng to be an int or a numpy.random.Generator, but got "
            f"{type(rng).__name__}; pass a seed such as rng=0."
        )
    check_count("rng", rng, minimum=0)
    return np.random.default_rng(int(rng)), int(rng)


def check_count(name: str, value: object, minimum: int) -> None:
    """Raises unless ``value`` is a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(
            f"Expected {name} to be an int, but got {type(value).__name__}; "
            f"pass a whole number of at least {minimum}."
        )
    if value < minimum:
        raise ValueError(
            f"Expected {name} to be at least {minimum}, but got {value}; pass a larger number."
        )


def check_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The names of ``count`` factors: those passed, or ``factor 0``, ``factor 1``, ..."""
    if names is None:
        return tuple(f"factor {k}" for k in range(count))
    if (
        isinstance(names, str)
        or not isinstance(names, Iterable)
        or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            f"Expected names to be a sequence of {count} strings, but got {names!r:.80}; "
            "pass one name per factor."
        )
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"Expected {count} different names, one per factor, but got {len(names)} of which "
            f"{len(set(names))} differ; pass one name per column of factors."
        )
    return tuple(names)


def _matrix(values: ArrayLike, name: str, letter: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"Expected {name} to be an array of numbers, but numpy cannot read this "
            f"{type(values).__name__}; pass rows of equal length, and a tensor as "
            "tensor.detach().cpu().float().numpy()."
        ) from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"Expected {name} to hold numbers, but got dtype {array.dtype}; "
            "turn classes into integers, for instance with numpy.unique(..., return_inverse=True)."
        )
    if array.ndim == 1:
        raise ValueError(
            f"Expected {name} to have shape (N, {letter}), but got the one-dimensional "
            f"{array.shape}; pass {name}.reshape(-1, 1) if it is one column."
        )
    if array.ndim != 2:
        raise ValueError(
            f"Expected {name} to have shape (N, {letter}), but got {array.shape}; "
            "flatten each data point to one row."
        )
    if array.size == 0:
        raise ValueError(
            f"Expected {name} to have at least one row and one column, but got {array.shape}; "
            "check the selection that made them."
        )
    return array


def _discrete_flags(factors: NDArray[Any], discrete: Discrete) -> NDArray[np.bool_]:
    columns = factors.shape[1]
    if discrete is None:
        return np.array([_looks_discrete(column) for column in factors.T])
    flags = np.asarray(discrete)
    if flags.dtype != np.bool_:
        raise TypeError(
            "Expected discrete to be None, a bool, or one bool per factor, but got "
            f"{discrete!r:.80}; pass for instance [True] * {columns}."
        )
    if flags.shape not in ((), (columns,)):
        raise ValueError(
            f"Expected discrete to have one flag for each of the {columns} factors, but got shape "
            f"{flags.shape}; pass one bool per column of factors."
        )
    return np.broadcast_to(flags, (columns,)).copy()


def _looks_discrete(column: NDArray[Any]) -> bool:
    if column.dtype.kind != "f":
        return True
    observed = column[~np.isnan(column)]
    if np.array_equal(observed, np.floor(observed)):
        return True
    return _REPEATS_OF_A_CLASS * len(np.unique(observed)) <= len(observed)
