r"""Sprites drawn from their geometry: square, ellipse and heart.

A shape is described in its own frame, in pixels, by how far a point lies outside of each curve that
bounds it. A *fill* turns this distance $d$ into the part of a pixel that is covered: `smooth` is a
ramp one pixel wide, which is the exact cover of a pixel cut by a straight edge along the grid, and
on the smallest sprites keeps the area of any shape to 4 per cent, its centroid to 0.1 pixel; `hard`
asks whether the centre of the pixel lies inside. Only sums, products, quotients and roots are taken
per pixel, so a picture does not depend on the batch that it is drawn in.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Fill = Callable[[Tensor], Tensor]

# Sizes at scale 1, as parts of the picture's side; the areas are those of dSprites to 1 per cent.
SQUARE_SIDE = 0.3
ELLIPSE_MAJOR = SQUARE_SIDE / math.sqrt(2)  # semi-axes; the tips reach as far as a square's corners
ELLIPSE_MINOR = ELLIPSE_MAJOR / 2
HEART_SIDE = 0.175  # of the square on its tip that carries the two half discs

# Below this side a smooth ramp is no longer thin against the smallest sprite.
_FINE_SIZE = 32


class Poses(NamedTuple):
    """How N sprites lie in their pictures: four float64 tensors of shape (N,)."""

    scale: Tensor
    orientation: Tensor
    """Radians, anticlockwise as one looks at the picture."""
    x: Tensor
    """Centre, 0 to 1, to the right over the middle half of the picture."""
    y: Tensor
    """Centre, 0 to 1, downwards over the middle half of the picture."""


def smooth(distance: Tensor) -> Tensor:
    """The part of a pixel inside a straight edge that lies `distance` inwards of its centre."""
    return (0.5 - distance).clamp(0.0, 1.0)


def hard(distance: Tensor) -> Tensor:
    """1 where the centre of the pixel lies inside, else 0."""
    return (distance < 0.0).to(distance.dtype)


def square(u: Tensor, v: Tensor, side: Tensor, fill: Fill) -> Tensor:
    """A square of side 0.3 at scale 1."""
    half = 0.5 * SQUARE_SIDE * side
    # The product over the two axes makes the cover of an upright square exact in its corners too.
    return fill(u.abs() - half) * fill(v.abs() - half)


def ellipse(u: Tensor, v: Tensor, side: Tensor, fill: Fill) -> Tensor:
    """An ellipse with semi-axes 0.212 and 0.106 at scale 1, lying down at orientation 0."""
    a = ELLIPSE_MAJOR * side
    b = ELLIPSE_MINOR * side
    # The point lies on an ellipse `level` times as large. Deep inside only the sign counts: the
    # bound makes the distance -infinity at the centre, instead of 0/0.
    level = torch.sqrt((u / a).square() + (v / b).square()).clamp(min=0.5)
    slope = torch.sqrt((u / a.square()).square() + (v / b.square()).square())
    # The distance to the curve, to first order.
    return fill(level * (level - 1.0) / slope)


def heart(u: Tensor, v: Tensor, side: Tensor, fill: Fill) -> Tensor:
    """A square on its tip with half a disc on each of its upper edges; its centre is its centroid.

    With s the side of that square, the area is s²(1 + π/4).
    """
    s = HEART_SIDE * side
    # The half discs (area π/8 each, centroid (√2/4 + √2/(3π)) s above the square's centre) lift
    # the centroid of the whole.
    lift = (math.pi / 4) * math.sqrt(2) * (1 / 4 + 1 / (3 * math.pi)) / (1 + math.pi / 4)
    v = v + lift * s
    # Along the edges of the square, in its right half: p points to the upper right edge.
    p = (u.abs() + v) * math.sqrt(0.5)
    q = (u.abs() - v) * math.sqrt(0.5)
    half = 0.5 * s
    body = fill(p.abs() - half) * fill(q.abs() - half)
    lobe = fill(torch.sqrt((p - half).square() + q.square()) - half)
    return torch.maximum(body, lobe)


Shape = Callable[[Tensor, Tensor, Tensor, Fill], Tensor]


def draw(shape: Shape, poses: Poses, size: int, *, binary: bool = False) -> Tensor:
    """Draws one white shape on black in each picture.

    Args:
        shape: What to draw.
        poses: Where and how, N of them.
        size: Side of the pictures in pixels.
        binary: Whether pixels are 0 or 1 by their centre, instead of smooth at the edge. Then the
            pixel that holds the sprite's centre is always 1, so that no sprite vanishes between
            the pixels of a picture under 17 pixels.

    Returns:
        float32 (N, 1, size, size) in [0, 1].
    """
    # A picture of few pixels is the mean of a finer one.
    fineness = 1 if binary else -(-_FINE_SIZE // size)
    fine = size * fineness
    grid = torch.arange(fine, dtype=torch.float64) + 0.5
    # Right and up, in fine pixels from the sprite's centre.
    right = grid - fine * (0.25 + 0.5 * poses.x[:, None])
    up = fine * (0.25 + 0.5 * poses.y[:, None]) - grid
    cos, sin = poses.orientation.cos()[:, None], poses.orientation.sin()[:, None]
    # Rows and columns are turned apart, in float64: a pixel costs one sum in float32.
    u = _outer_sum(up * sin, right * cos)
    v = _outer_sum(up * cos, right * -sin)
    side = (fine * poses.scale).to(torch.float32)[:, None, None]
    if binary:
        pictures = shape(u, v, side, hard)
        centre = _holds_zero(up)[:, :, None] & _holds_zero(right)[:, None, :]
        return pictures.masked_fill(centre, 1.0).unsqueeze(1)
    pictures = shape(u, v, side, smooth).unsqueeze(1)
    return pictures if fineness == 1 else torch.nn.functional.avg_pool2d(pictures, fineness)


def _outer_sum(rows: Tensor, columns: Tensor) -> Tensor:
    return rows.to(torch.float32)[:, :, None] + columns.to(torch.float32)[:, None, :]


def _holds_zero(offset: Tensor) -> Tensor:
    return (offset >= -0.5) & (offset < 0.5)
