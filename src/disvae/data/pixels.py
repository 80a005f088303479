"""Images kept small in memory and turned into floats in [0, 1] where they are read."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

_NATIVE_FLOATS = (np.float32, np.float64)
_FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Pixels:
    r"""Stored images and the stored value that stands for 1.

    An 8-bit image takes a quarter of the memory of its floats, and a data set of such images is
    converted batch by batch: $x = \mathrm{stored} / \mathrm{white}$.

    Args:
        stored: The images, shape (N, C, H, W), or any other shape with N rows; bool, uint8 or
            float32.
        white: The stored value that is read as 1.0; 255 for 8-bit images.

    Example:
        >>> import torch
        >>> Pixels(torch.tensor([[0, 51, 255]], dtype=torch.uint8), white=255).read()
        tensor([[0.0000, 0.2000, 1.0000]])
    """

    stored: Tensor
    white: int = 1

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, rows: Tensor | None = None) -> Tensor:
        """The images of some rows (None: of all) in float32.

        Floats are stored as they are read: all rows of them come without a copy.
        """
        stored = self.stored if rows is None else self.stored[rows]
        images = stored.to(torch.float32)
        return images if self.white == 1 else images / self.white

    @classmethod
    def of(cls, images: ArrayLike | Tensor) -> "Pixels":
        """Chooses the storage for images in an array, and checks their values.

        Args:
            images: Shape (N, D) for vectors, (N, H, W) for grey images, which get a channel axis,
                (N, C, H, W) or more axes for anything else. uint8 is scaled by 255; bool is 0
                and 1; floats are taken as they are, in float32, and lie in [0, 1] unless they are
                vectors.

        Raises:
            TypeError: The values are not numbers, or are integers other than uint8.
            ValueError: The array is empty, has fewer than two axes or its channels last, or holds
                NaN, infinity or values outside the range of images.
        """
        tensor = as_tensor(images, "images")
        _check_shape(tensor)
        if tensor.ndim == 3:
            tensor = tensor.unsqueeze(1)
        if tensor.dtype == torch.bool:
            return cls(tensor)
        if tensor.dtype == torch.uint8:
            # Stored 0 and 1 (as in the published dSprites) would be read as almost black.
            if tensor.max() == 1:
                raise ValueError(
                    "Expected uint8 images to span 0 to 255, but got no value above 1; "
                    "pass images.astype(bool) for binary images."
                )
            return cls(tensor, white=255)
        if tensor.dtype not in _FLOAT_DTYPES:
            raise TypeError(
                f"Expected images to be bool, uint8 (0 to 255) or floats in [0, 1], but got "
                f"{tensor.dtype}; convert them, e.g. images.astype(numpy.uint8)."
            )
        tensor = tensor.to(torch.float32)
        _check_values(tensor)
        return cls(tensor)


def as_tensor(values: ArrayLike | Tensor, name: str) -> Tensor:
    """A tensor of numbers that shares the memory of `values` where that is possible.

    Args:
        values: A tensor, an array, or anything that NumPy makes into one.
        name: What the values are, for the error.

    Raises:
        TypeError: The values are not real numbers.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(_not_numeric(name, str(values.dtype)))
        return values.detach()
    try:
        array = np.asarray(values)
    except ValueError:
        got = f"{type(values).__name__} with rows of unequal length"
        raise TypeError(_not_numeric(name, got)) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(_not_numeric(name, f"the dtype {array.dtype}"))
    # Torch reads neither foreign byte orders nor long doubles, and few unsigned types.
    if array.dtype.kind == "f" and array.dtype not in _NATIVE_FLOATS:
        array = array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64)
    elif array.dtype.kind in "iu" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    # A tensor may be written to: memory that must not be is copied.
    if not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(np.ascontiguousarray(array))


def _not_numeric(name: str, got: str) -> str:
    return (
        f"Expected {name} to be an array or tensor of real numbers, but got {got}; "
        f"convert {name} to a numeric dtype."
    )


def _check_shape(images: Tensor) -> None:
    shape = tuple(images.shape)
    if images.numel() == 0:
        raise ValueError(
            f"Expected images to have at least one row and one pixel, but got the shape {shape}; "
            f"pass a non-empty array."
        )
    if images.ndim < 2:
        raise ValueError(
            f"Expected images of shape (N, C, H, W), (N, H, W) or (N, D), but got {shape}; "
            f"give each data point its own row, e.g. images[:, None]."
        )
    # No picture is 1 or 3 pixels wide and has more than 4 channels.
    if images.ndim == 4 and shape[3] in (1, 3) and shape[1] > 4 and shape[2] > 4:
        raise ValueError(
            f"Expected images of shape (N, C, H, W), but got {shape}, with the channels last; "
            f"move them, e.g. numpy.moveaxis(images, -1, 1)."
        )


def _check_values(images: Tensor) -> None:
    low, high = (bound.item() for bound in torch.aminmax(images))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            "Expected images to be finite, but got NaN or infinite values; "
            "remove or replace those rows."
        )
    if images.ndim > 2 and not 0 <= low <= high <= 1:
        raise ValueError(
            f"Expected float images to lie in [0, 1], but got values from {low:g} to {high:.8g}; "
            f"rescale them, or pass vectors of shape (N, D) for data of any range."
        )
