"""What every data set of disvae has in common: items that are read a batch at a time."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import torch
from torch import Tensor
from torch.utils.data import Dataset

Item = tuple[Tensor, Tensor]


class BatchedDataset(Dataset[Item], ABC):
    """A map-style data set that reads many items in one vectorised step.

    A subclass says how many items there are (`__len__`) and how to read some of them (`read`). The
    method `__getitems__`, which `torch.utils.data.DataLoader` calls with the indices of a batch,
    makes one call of `read` for the whole batch.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, rows: Tensor) -> Item:
        """Reads many items at once.

        Args:
            rows: The row numbers, an int64 tensor of shape (B,), each in [0, len(self)).

        Returns:
            Two tensors with B rows each: the images, and their factors or labels.
        """

    def __getitem__(self, index: SupportsIndex) -> Item:
        try:
            row = operator.index(index)
        except TypeError:
            raise TypeError(
                f"Expected the index of an item to be an integer, but got "
                f"{type(index).__name__}; slice the tensor attributes (images, …) instead."
            ) from None
        images, targets = self.read(self._checked([row]))
        return images[0], targets[0]

    def __getitems__(self, indices: Iterable[SupportsIndex]) -> Sequence[Item]:
        images, targets = self.read(self._checked([operator.index(index) for index in indices]))
        return list(zip(images.unbind(), targets.unbind(), strict=True))

    def _checked(self, indices: list[int]) -> Tensor:
        count = len(self)
        for index in indices:
            if not -count <= index < count:
                raise IndexError(
                    f"Expected an index from {-count} to {count - 1}, but got {index}; "
                    f"the data set has {count} items."
                )
        return torch.tensor(indices, dtype=torch.int64) % count


def describe(dataset: Dataset, count: int, shape: Sequence[int], details: str) -> str:
    """The one-line representation that all data sets share."""
    size = "×".join(map(str, shape))
    return f"{type(dataset).__name__}({count:,} images of {size}; {details})"


def named_sizes(names: Sequence[str], sizes: Sequence[int]) -> str:
    """Factor names with their number of values: `shape 3, scale 6`."""
    return ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True))
