"""A data set of anyone's images and factors."""

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from disvae.data.base import BatchedDataset, Item, describe, named_sizes
from disvae.data.pixels import Pixels, as_tensor


class FactorArrays(BatchedDataset):
    """Images with a row of known factors for each.

    Nothing is copied where the dtype allows it: 8-bit and binary images stay so in memory and are
    converted as they are read.

    Args:
        images: Array or tensor of shape (N, C, H, W), (N, H, W), which gets a channel axis, or
            (N, D) for vectors. uint8 is scaled by 255, bool is 0 and 1, floats are taken as they
            are and lie in [0, 1] (vectors may have any finite values). Or `pixels.Pixels`.
        factors: Numeric array or tensor of shape (N, K); (N,) is one factor.
        names: K names of the factors; `factor_0`, `factor_1`, … if left out.

    Attributes:
        factors: Tensor (N, K): int64 for integers and booleans, else the floats as given.
        factor_names: The K names.
        factor_sizes: How many different values each factor takes in `factors`; a continuous one
            takes about N.
        image_shape: Shape of one image, (C, H, W).

    Shape:
        An item is `(image, factors)` with shapes (C, H, W) and (K,), both float32; a batch of a
        `DataLoader` is (B, C, H, W) and (B, K).

    Raises:
        TypeError: Images or factors are not numbers, images are integers other than uint8, or a
            name is not a string.
        ValueError: Images and factors differ in length, are empty, hold NaN or infinity or values
            outside [0, 1], or the number of names is not K.

    Example:
        >>> import numpy as np
        >>> images = np.full((100, 32, 32), 51, dtype=np.uint8)
        >>> data = FactorArrays(images, np.arange(100) % 4, names=["size"])
        >>> data
        FactorArrays(100 images of 1×32×32; size 4)
        >>> image, factors = data[3]
        >>> image.shape, image.max(), factors
        (torch.Size([1, 32, 32]), tensor(0.2000), tensor([3.]))
    """

    factors: Tensor
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]

    def __init__(
        self,
        images: ArrayLike | Tensor | Pixels,
        factors: ArrayLike | Tensor,
        names: Sequence[str] | None = None,
    ) -> None:
        self._pixels = images if isinstance(images, Pixels) else Pixels.of(images)
        self.factors = _checked_factors(factors)
        if len(self._pixels) != len(self.factors):
            raise ValueError(
                f"Expected images and factors to have the same number of rows, but got "
                f"{len(self._pixels)} and {len(self.factors)}; pass one row per data point in both."
            )
        self.factor_names = _checked_names(names, self.factors.shape[1])
        self.factor_sizes = tuple(len(column.unique()) for column in self.factors.unbind(1))

    @property
    def images(self) -> Tensor:
        """All images, float32 (N, C, H, W); 8-bit and binary ones are converted at each access."""
        return self._pixels.read()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, without converting any."""
        return tuple(self._pixels.stored.shape[1:])

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, rows: Tensor) -> Item:
        """Images and factors (float32) of some rows."""
        return self._pixels.read(rows), self.factors[rows].to(torch.float32)

    def __repr__(self) -> str:
        details = named_sizes(self.factor_names, self.factor_sizes)
        return describe(self, len(self), self.image_shape, details)


def _checked_factors(values: ArrayLike | Tensor) -> Tensor:
    factors = as_tensor(values, "factors")
    if factors.ndim == 1:
        factors = factors.unsqueeze(1)
    if factors.ndim != 2 or factors.numel() == 0:
        raise ValueError(
            f"Expected factors of shape (N, K) with at least one row and one column, but got "
            f"{tuple(factors.shape)}; pass one row per image and one column per factor."
        )
    if not factors.is_floating_point():
        return factors.to(torch.int64)
    if not factors.isfinite().all():
        raise ValueError(
            "Expected factors to be finite, but got NaN or infinite values; "
            "leave out the images whose factors are unknown."
        )
    return factors


def _checked_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"factor_{k}" for k in range(count))
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"Expected names to be a sequence of {count} strings, but got {names!r:.100}; "
            f"pass one name per factor, e.g. names=['shape', 'scale']."
        )
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"Expected {count} different names, one per factor, but got {len(names)}, "
            f"{len(set(names))} of them different; name each column of factors once."
        )
    return tuple(names)
