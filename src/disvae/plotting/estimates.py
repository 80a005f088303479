"""Means with intervals, from runs with several seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from disvae.plotting.arrays import as_array, as_numbers
from disvae.plotting.cells import Floats


class Interval(NamedTuple):
    """Values with the half widths of their intervals.

    Attributes:
        mean: The values, ``(P,)``; NaN where one is missing.
        half_width: From there to either end of the interval, ``(P,)``; NaN where there is none.
    """

    mean: ArrayLike
    half_width: ArrayLike


class Curve(NamedTuple):
    """The points of one curve.

    Each coordinate is an array ``(P,)`` of values, an array ``(S, P)`` of the values of S seeds, of
    which the mean is drawn with its 95 % interval by Student's t, or an :class:`Interval` of your
    own. NaN, or None, marks a run that is missing; points without any run are left out.

    Attributes:
        x: The horizontal coordinates.
        y: The vertical ones.
        labels: What is written beside each point, such as its β.
    """

    x: ArrayLike | Interval
    y: ArrayLike | Interval
    labels: Sequence[Any] | None = None


class Points(NamedTuple):
    """The means of a curve, and half widths of intervals, NaN where there are none.

    Attributes:
        x: Horizontal means, ``(P,)``.
        x_half: Their half widths.
        y: Vertical means.
        y_half: Their half widths.
        labels: What is written beside each, nothing by default.
    """

    x: Floats
    x_half: Floats
    y: Floats
    y_half: Floats
    labels: list[str]


def panels_of(curves: Any) -> dict[str, dict[str, Points]]:
    """Curves by panel and name; those that are given without panels are in one without a title.

    Raises:
        TypeError: If something is no mapping, no curve, or does not hold numbers.
        ValueError: If there are no curves, or the lengths of one differ.
    """
    _check_mapping(curves, "curves")
    nested = [isinstance(each, Mapping) for each in curves.values()]
    if any(nested) and not all(nested):
        raise TypeError(
            "Expected either curves, or panels of curves, but got both in one mapping; give each "
            "panel a mapping of its own, as in {'MIG': {'Laplace': (x, y)}}."
        )
    panels = curves if all(nested) else {"": curves}
    for name, panel in panels.items():
        _check_mapping(panel, f"panel {name!r:.40}")
    return {
        title: {name: _points(name, curve) for name, curve in panel.items()}
        for title, panel in panels.items()
    }


def _check_mapping(value: Any, name: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(
            f"Expected {name} to be a mapping from names to curves, but got "
            f"{type(value).__name__}; write e.g. {{'Laplace': (x, y)}}."
        )
    if not value:
        raise ValueError(f"Expected {name} to hold at least one curve, but got none; add one.")


def _points(name: str, curve: Any) -> Points:
    if not isinstance(curve, tuple | list) or not 2 <= len(curve) <= 3:
        raise TypeError(
            f"Expected curve {name!r:.40} to be a plotting.Curve, or (x, y) or (x, y, labels), but "
            f"got {type(curve).__name__}; pass arrays of values, or of seeds and points."
        )
    x, y, labels = Curve(*curve)
    if labels is not None and (isinstance(labels, str) or as_array(labels).ndim != 1):
        raise TypeError(
            f"Expected the labels of curve {name!r:.40} to be a sequence of one for each point, "
            f"but got {labels!r:.60}; write e.g. labels=['β = 1', 'β = 4']."
        )
    x_mean, x_half = _estimate(x, f"x of curve {name!r:.40}")
    y_mean, y_half = _estimate(y, f"y of curve {name!r:.40}")
    count = len(x_mean)
    if len(y_mean) != count or (labels is not None and len(labels) != count):
        told = "none" if labels is None else len(labels)
        raise ValueError(
            f"Expected as many x, y and labels in curve {name!r:.40}, but got {count}, "
            f"{len(y_mean)} and {told}; pass one of each for every point."
        )
    texts = [""] * count if labels is None else [str(label) for label in labels]
    kept = np.isfinite(x_mean) & np.isfinite(y_mean)
    if not kept.any():
        raise ValueError(
            f"Expected curve {name!r:.40} to have at least one point, but got none without NaN; "
            "leave the curve out."
        )
    return Points(
        x_mean[kept],
        x_half[kept],
        y_mean[kept],
        y_half[kept],
        [text for text, keep in zip(texts, kept, strict=True) if keep],
    )


def _estimate(values: Any, name: str) -> tuple[Floats, Floats]:
    """Means and half widths."""
    if isinstance(values, Interval):
        mean, half = (as_numbers(each, name) for each in values)
        if mean.ndim != 1 or half.shape != mean.shape or (half < 0).any() or np.isinf(half).any():
            raise ValueError(
                f"Expected {name} to have means and half widths of one length, the latter finite "
                f"and at least 0, but got shapes {mean.shape} and {half.shape}; a half width is "
                "half of (high - low)."
            )
        return _without_infinity(mean, name), half
    if isinstance(values, tuple) and any(np.ndim(each) for each in values):
        raise TypeError(
            f"Expected {name} to be an array or a plotting.Interval, but got a tuple of arrays; "
            "write Interval(mean, half_width), or numpy.stack the values of the seeds."
        )
    array = _without_infinity(as_numbers(values, name), name)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(
            f"Expected {name} to have shape (points,) or (seeds, points), but got {array.shape}; "
            "pass one row for each seed."
        )
    if array.ndim == 1:
        return array, np.full(len(array), np.nan)
    return mean_and_half_width(array)


def _without_infinity(values: Floats, name: str) -> Floats:
    if np.isinf(values).any():
        raise ValueError(
            f"Expected {name} to be finite, or NaN where a run is missing, but got infinity; "
            "leave out what has diverged."
        )
    return values


def mean_and_half_width(seeds: Floats) -> tuple[Floats, Floats]:
    r"""The mean over seeds ``(S, P)``, and half its 95 % interval by Student's t.

    NaN marks missing ones. Where there are fewer than two, there is no interval.
    """
    there = ~np.isnan(seeds)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, seeds, 0.0).sum(axis=0) / count
        squares = np.where(there, (seeds - mean) ** 2, 0.0).sum(axis=0)
        variance = squares / (count - 1)
        half = stdtrit(count - 1, 0.975) * np.sqrt(variance / count)
    return mean, np.where(count > 1, half, np.nan)
