"""Procedural sprites in the manner of dSprites: made in memory, without a download."""

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from disvae.data import shapes
from disvae.data.base import BatchedDataset, Item, describe, named_sizes
from disvae.data.pixels import as_tensor

_SHAPES: tuple[shapes.Shape, ...] = (shapes.square, shapes.ellipse, shapes.heart)
_SMALLEST = 8
# Pictures are drawn in pieces of this many pixels, which stay in the processor's cache.
_PIXELS_AT_ONCE = 2**17


class Sprites(BatchedDataset):
    r"""White shapes on black, one picture for each combination of five factors.

    The factors are those of dSprites, and so are the sizes and places of the shapes: shape (square,
    ellipse, heart), scale (0.5 to 1), orientation, x and y (the middle half of the picture). A
    sprite is inside the picture at every scale, orientation and place. Two things are better than
    in dSprites. The n orientations are :math:`2\pi k/n`, k < n: the full turn, which gives the same
    picture as 0, is left out. And a sprite turns about its centroid, so that its centre of mass
    depends on x and y alone. As in dSprites a square looks the same after a quarter of a turn, an
    ellipse after half of one; with an odd number of orientations no two pictures are equal.

    Pictures are drawn when they are read (about 30 µs for 32×32), so that a grid of any length
    takes no memory. To draw a small set once and for all, keep its arrays:
    `FactorArrays(sprites.images, sprites.factors, sprites.factor_names)`.

    Args:
        size: Side of the pictures in pixels, at least 8.
        factor_sizes: How many values each factor takes, in the order of `factor_names`; at most 3
            shapes. A factor with one value stays at scale 1, orientation 0 or the middle. dSprites
            itself has (3, 6, 40, 32, 32).
        samples: None for the whole grid, in the order of its factors, y fastest; or how many
            different pictures to take from it at random, in random order.
        binary: Whether pixels are 0 or 1, as in dSprites, instead of smooth along the edges.
        rng: Seed or generator that chooses the `samples`.

    Attributes:
        factor_names: shape, scale, orientation, x, y.
        factor_sizes: As passed, also where `samples` leave out some of the values.
        image_shape: (1, size, size).

    Shape:
        An item is `(image, factors)` with shapes (1, size, size) and (5,), both float32; the
        factors are the classes, counted from 0.

    Raises:
        TypeError: A size is not an integer, or `rng` neither an integer nor a generator.
        ValueError: A size is out of range, or there are fewer pictures than `samples`.

    References:
        dSprites: Disentanglement testing Sprites dataset, Matthey, Higgins, Hassabis and
        Lerchner, 2017, https://github.com/google-deepmind/dsprites-dataset

    Example:
        >>> sprites = Sprites(32, samples=1000, rng=0)
        >>> sprites
        Sprites(1,000 images of 1×32×32; shape 3, scale 4, orientation 9, x 12, y 12)
        >>> sprites.images.shape, sprites.factors.shape
        (torch.Size([1000, 1, 32, 32]), torch.Size([1000, 5]))
        >>> heart = sprites.render([[2, 3, 0, 6, 6]])
        >>> heart.shape
        torch.Size([1, 1, 32, 32])
    """

    factor_names: tuple[str, ...] = ("shape", "scale", "orientation", "x", "y")

    def __init__(
        self,
        size: int = 32,
        *,
        factor_sizes: Sequence[int] = (3, 4, 9, 12, 12),
        samples: int | None = None,
        binary: bool = False,
        rng: int | np.random.Generator = 0,
    ) -> None:
        self.size = _integer(size, "size", _SMALLEST)
        self.factor_sizes = _checked_sizes(factor_sizes)
        self.binary = bool(binary)
        self._grid = math.prod(self.factor_sizes)
        self._chosen: Tensor | None = None
        if samples is not None:
            self._chosen = _choose(self._grid, _integer(samples, "samples", 1), rng)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, without drawing any."""
        return (1, self.size, self.size)

    @cached_property
    def factors(self) -> Tensor:
        """Classes of the factors, int64 (N, 5), each counted from 0."""
        return self._classes(torch.arange(len(self)))

    @cached_property
    def factor_values(self) -> Tensor:
        """What the classes stand for, float64 (N, 5).

        Shape is 1 square, 2 ellipse, 3 heart; scale is from 0.5 to 1; orientation is an angle in
        radians, anticlockwise; x (to the right) and y (downwards) are from 0 to 1.
        """
        return self._values(self.factors)

    @property
    def images(self) -> Tensor:
        """All images, float32 (N, 1, size, size), drawn at each access."""
        return self.render(self.factors)

    def render(self, factors: ArrayLike | Tensor) -> Tensor:
        """Draws any combinations of the factors.

        Args:
            factors: Classes, shape (B, 5), whole numbers of any dtype.

        Returns:
            Images, float32 (B, 1, size, size).

        Raises:
            ValueError: The shape is not (B, 5), or a value is not one of its factor's classes.
        """
        classes = self._checked_classes(factors)
        values = self._values(classes)
        images = torch.empty(len(classes), *self.image_shape, dtype=torch.float32)
        step = max(1, _PIXELS_AT_ONCE // self.size**2)
        for number, shape in enumerate(_SHAPES):
            for rows in torch.nonzero(classes[:, 0] == number).squeeze(1).split(step):
                poses = shapes.Poses(*values[rows, 1:].unbind(1))
                images[rows] = shapes.draw(shape, poses, self.size, binary=self.binary)
        return images

    def __len__(self) -> int:
        return self._grid if self._chosen is None else len(self._chosen)

    def read(self, rows: Tensor) -> Item:
        """Draws the images of some rows, with their factors (float32)."""
        classes = self._classes(rows)
        return self.render(classes), classes.to(torch.float32)

    def __repr__(self) -> str:
        details = named_sizes(self.factor_names, self.factor_sizes)
        return describe(self, len(self), self.image_shape, details)

    def _classes(self, rows: Tensor) -> Tensor:
        in_grid = rows if self._chosen is None else self._chosen[rows]
        return torch.stack(torch.unravel_index(in_grid, self.factor_sizes), dim=1)

    def _values(self, classes: Tensor) -> Tensor:
        shape, scale, orientation, x, y = self.factor_sizes
        tables = (
            torch.arange(1, shape + 1, dtype=torch.float64),
            _steps(0.5, 1.0, scale, single=1.0),
            2.0 * math.pi * torch.arange(orientation, dtype=torch.float64) / orientation,
            _steps(0.0, 1.0, x, single=0.5),
            _steps(0.0, 1.0, y, single=0.5),
        )
        columns = zip(tables, classes.unbind(1), strict=True)
        return torch.stack([table[column] for table, column in columns], dim=1)

    def _checked_classes(self, factors: ArrayLike | Tensor) -> Tensor:
        given = as_tensor(factors, "factors")
        if given.ndim != 2 or given.shape[1] != len(self.factor_sizes):
            raise ValueError(
                f"Expected factors of shape (B, {len(self.factor_sizes)}), but got "
                f"{tuple(given.shape)}; pass one row per image with {', '.join(self.factor_names)}."
            )
        classes = given.to(torch.int64)
        sizes = torch.tensor(self.factor_sizes)
        wrong = (classes != given) | (classes < 0) | (classes >= sizes)
        if wrong.any():
            row, k = torch.nonzero(wrong)[0].tolist()
            raise ValueError(
                f"Expected {self.factor_names[k]} to be a class from 0 to "
                f"{self.factor_sizes[k] - 1}, but got {given[row, k].item():g} in row {row}; "
                f"pass class numbers as in `factors`, not `factor_values`."
            )
        return classes


def _steps(first: float, last: float, count: int, *, single: float) -> Tensor:
    if count == 1:
        return torch.tensor([single], dtype=torch.float64)
    return torch.linspace(first, last, count, dtype=torch.float64)


def _integer(value: int, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"Expected {name} to be an integer of at least {least}, but got {value!r:.100}; "
            f"pass a whole number."
        )
    if value < least:
        raise ValueError(
            f"Expected {name} to be at least {least}, but got {value}; pass a larger number."
        )
    return int(value)


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    names = Sprites.factor_names
    if not isinstance(sizes, Sequence) or len(sizes) != len(names):
        raise ValueError(
            f"Expected factor_sizes to have {len(names)} numbers ({', '.join(names)}), but got "
            f"{sizes!r:.100}; pass how many values each factor takes."
        )
    checked = tuple(
        _integer(size, f"the number of values of {name}", 1)
        for name, size in zip(names, sizes, strict=True)
    )
    if checked[0] > len(_SHAPES):
        raise ValueError(
            f"Expected at most {len(_SHAPES)} shapes (square, ellipse, heart), but got "
            f"{checked[0]}; lower the first of factor_sizes."
        )
    return checked


def _choose(grid: int, samples: int, rng: int | np.random.Generator) -> Tensor:
    if samples > grid:
        raise ValueError(
            f"Expected samples to be at most the {grid} pictures of the grid, but got {samples}; "
            f"pass fewer samples or larger factor_sizes."
        )
    if not isinstance(rng, np.random.Generator):
        rng = np.random.default_rng(_integer(rng, "rng", 0))
    return torch.from_numpy(rng.choice(grid, size=samples, replace=False))
