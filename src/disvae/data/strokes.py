"""Strokes in grey pictures, measured as Morpho-MNIST measures them.

Arrays of many pictures in, one number for each picture out, in pixels of what is passed. The axes
are (N, H, W), x runs to the right and y downwards.

References:
    Morpho-MNIST: Quantitative Assessment and Diagnostics for Representation Learning, Castro, Tan,
    Kainz, Konukoglu and Glocker, 2019, https://jmlr.org/papers/v20/19-033.html

    Cubic convolution interpolation for digital image processing, Keys, 1981,
    https://doi.org/10.1109/TASSP.1981.1163711
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from disvae._extras import require

Pictures = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Ridge(NamedTuple):
    """The medial axes of strokes, and how far each pixel is from the background."""

    skeleton: Masks
    distance: Floats


def enlarge(pictures: Pictures, scale: int) -> Pictures:
    r"""Smooth pictures of 8 bits that are `scale` times as large on both axes.

    Pictures are interpolated by Catmull-Rom cubics, mirrored about their outermost pixels, kept
    within their range, smoothed by a Gaussian of :math:`\sigma = 2\,\mathrm{scale}/6`, and cut off
    to whole levels. A scale of 1 leaves them as they are.

    Shape:
        (N, H, W) gives (N, scale·H, scale·W).
    """
    if scale == 1:
        return pictures
    from scipy import ndimage

    # The levels that are cut off turn on the last bit: 1.0 is the published white, not 255.
    large = pictures / 255.0
    low, high = large.min((1, 2), keepdims=True), large.max((1, 2), keepdims=True)
    for axis in (2, 1):
        large = _interpolate(large, scale, axis)
    large = np.clip(large, low, high, out=large)
    sigma = 2 * scale / 6.0
    smooth = ndimage.gaussian_filter(large, (0, sigma, sigma), mode="reflect")
    return (255.0 * smooth).astype(np.uint8)


def medial_axes(ink: Masks) -> Ridge:
    """The medial axes of scikit-image, of many pictures in a few calls.

    Most of a call's time is spent on tables that do not depend on the picture. Pictures with a
    clear first and last row do not touch each other when stacked into one strip. The others are
    done one by one: their border is where the picture ends, and no background.
    """
    medial_axis = require("skimage.morphology", "images").medial_axis
    ridge = Ridge(np.zeros_like(ink), np.zeros(ink.shape))
    touching = ink[:, [0, -1]].any((1, 2))
    groups = [np.flatnonzero(~touching), *np.flatnonzero(touching)[:, None]]
    for rows in groups:
        if len(rows) == 0:
            continue
        strip = ink[rows].reshape(-1, ink.shape[2])
        ties = _PublishedTies(ink[rows].sum((1, 2)).tolist())
        skeleton, distance = medial_axis(strip, return_distance=True, rng=ties)
        ridge.skeleton[rows] = skeleton.reshape(-1, *ink.shape[1:])
        ridge.distance[rows] = distance.reshape(-1, *ink.shape[1:])
    return ridge


def lengths(skeleton: Masks) -> Floats:
    r"""Steps between neighbouring pixels: 1 along an axis, :math:`\sqrt 2` on a diagonal. (N,)."""
    up, down = skeleton[:, :-1], skeleton[:, 1:]
    left, right = skeleton[:, :, :-1], skeleton[:, :, 1:]
    straight = (up & down).sum((1, 2)) + (left & right).sum((1, 2))
    falling = (up[:, :, :-1] & down[:, :, 1:]).sum((1, 2))
    rising = (up[:, :, 1:] & down[:, :, :-1]).sum((1, 2))
    return straight + math.sqrt(2) * (falling + rising)


def thicknesses(ridge: Ridge) -> Floats:
    """Twice the mean distance from the background along the skeleton. (N,)."""
    along = np.where(ridge.skeleton, ridge.distance, 0.0)
    return 2.0 * along.sum((1, 2)) / ridge.skeleton.sum((1, 2))


def shears(pictures: Floats) -> tuple[Floats, Floats]:
    r"""How far x moves for each pixel down, :math:`\mu_{11}/\mu_{02}`, and the mean y. (N,) both.

    The shear of what is one pixel high is 0.
    """
    x, y = (np.arange(float(n)) for n in (pictures.shape[2], pictures.shape[1]))
    rows, moments = pictures.sum(2), pictures @ x
    mass = rows.sum(1)
    mean_x, mean_y = moments.sum(1) / mass, rows @ y / mass
    mu_11 = moments @ y / mass - mean_x * mean_y
    mu_02 = rows @ y**2 / mass - mean_y**2
    return np.divide(mu_11, mu_02, out=np.zeros_like(mu_11), where=mu_02 > 0), mean_y


def widths(pictures: Floats, shear: Floats, mean_y: Floats, bound_fraction: float) -> Floats:
    """Distance between two lines of the given shear with all but that fraction between. (N,)."""
    count, height, width = pictures.shape
    shift = shear[:, None] * (np.arange(height) - mean_y[:, None])
    place = np.arange(width) + 0.5 - shift[:, :, None]
    # A pixel is left of the line that meets the mean y at t if its place is less than t.
    first = np.clip(np.floor(place) + 1, 0, width).astype(np.intp)
    slots = first + (width + 1) * np.arange(count)[:, None, None]
    masses = np.bincount(slots.ravel(), pictures.ravel(), count * (width + 1))
    before = masses.reshape(count, -1).cumsum(1)
    return _spreads(before[:, :-1], before[:, -1], bound_fraction)


def heights(pictures: Floats, bound_fraction: float) -> Floats:
    """Distance between two horizontal lines, all but that fraction of the mass between. (N,)."""
    before = np.pad(pictures.sum(2).cumsum(1), [(0, 0), (1, 0)])
    return _spreads(before[:, :-1], before[:, -1], bound_fraction)


class _PublishedTies(np.random.Generator):
    """Puts pixels of equal rank into the order of the published measurements.

    `skimage.morphology.medial_axis` takes pixels of the same distance and shape in random order, on
    which some lengths depend by up to a few pixels. Before version 0.19 that was the permutation
    of `numpy.random.RandomState(0)`, anew for each picture, so that is what it draws here.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self._counts = counts

    def permutation(self, x: Any, axis: int = 0) -> NDArray[np.int64]:
        """The order of the pixels of the pictures of a strip."""
        starts = np.cumsum([0, *self._counts[:-1]])
        orders = [np.random.RandomState(0).permutation(count) for count in self._counts]
        return np.concatenate([s + order for s, order in zip(starts, orders, strict=True)])


def _interpolate(values: Floats, scale: int, axis: int) -> Floats:
    """Catmull-Rom interpolation along an axis, in the order of operations of scikit-image's warp.

    Not a matrix product, which would leave the plateau of a stroke a bit below its level.
    """
    values = np.moveaxis(values, axis, -1)
    size = values.shape[-1]
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(2, 2)], mode="reflect")
    # Four neighbours of each of the size + 1 intervals that begin at -1, 0, …, size - 1.
    a, b, c, d = (padded[..., k : k + size + 1] for k in range(4))
    linear = c - a
    square = 2.0 * a - 5.0 * b + 4.0 * c - d
    cubic = 3.0 * (b - c) + d - a
    large = np.empty((*values.shape[:-1], size * scale))
    for phase in range(scale):
        place = (phase + 0.5) / scale - 0.5
        begin = math.floor(place)
        t = place - begin
        s = np.s_[..., begin + 1 : begin + 1 + size]
        large[..., phase::scale] = b[s] + 0.5 * t * (linear[s] + t * (square[s] + t * cubic[s]))
    return np.moveaxis(large, -1, axis)


def _spreads(before: Floats, mass: Floats, bound_fraction: float) -> Floats:
    """Distance between the places where half of the fraction lies before, and behind. (N,).

    Args:
        before: Mass before each of the places 0, 1, …, shape (N, places).
        mass: The whole mass, (N,).
        bound_fraction: The fraction of the mass on both sides together.
    """
    tails = (bound_fraction / 2, 1 - bound_fraction / 2)
    places = np.arange(before.shape[1])
    ends = [np.interp(tails, shares, places) for shares in before / mass[:, None]]
    return np.diff(ends, axis=1)[:, 0]
