"""MNIST and Fashion-MNIST, read from the published IDX files."""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disvae.data import files
from disvae.data.base import BatchedDataset, Item, describe
from disvae.data.pixels import Pixels

_UNSIGNED_BYTES = 0x08


class IDXDataset(BatchedDataset):
    """Labelled grey images in four gzip files of the IDX format, as MNIST and its relatives have.

    A subclass says where they are and what is in them. Another set in the same format is four
    lines: `folder`, `url`, `md5` and `class_names`.

    Args:
        root: The folder that holds the folder of the data set. None is the environment variable
            DISVAE_DATA, or where that is unset, the user's cache.
        train: The training images, or else the test images.
        download: Whether to fetch files that are missing or damaged.

    Attributes:
        labels: int64 (N,).
        class_names: What the labels stand for.
        image_shape: (1, 28, 28).

    Shape:
        An item is `(image, label)`: float32 (1, 28, 28) in [0, 1], and an int64 scalar.

    Raises:
        TypeError: `root` is no path, or `train` no bool.
        FileNotFoundError: A file is not there.
        ValueError: A file is damaged, or its content is not the published one.
        ConnectionError: A download failed.
        ImportError: A download needs pooch, which is not installed.
    """

    folder: ClassVar[str]
    url: ClassVar[str]
    """Where the four files are published."""
    md5: ClassVar[Mapping[str, str]]
    """MD5 of the uncompressed content of each file."""
    class_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        train: bool = True,
        download: bool = False,
    ) -> None:
        # the name of a split would be true, whichever it is
        if not isinstance(train, bool | np.bool_):
            raise TypeError(
                f"Expected train to be a bool, but got {type(train).__name__}; pass True for the "
                f"training images, or False for the test images."
            )
        self.train = bool(train)
        split = "train" if train else "t10k"
        images = self._read_file(f"{split}-images-idx3-ubyte.gz", root, download=download)
        labels = self._read_file(f"{split}-labels-idx1-ubyte.gz", root, download=download)
        if len(images) != len(labels):
            raise ValueError(
                f"Expected as many labels as images in {self.folder}/, but got {len(labels)} and "
                f"{len(images)}; replace the files by the published ones."
            )
        self._pixels = Pixels(torch.from_numpy(images).unsqueeze(1), white=255)
        self.labels = torch.from_numpy(labels.astype(np.int64))

    @property
    def images(self) -> Tensor:
        """All images, float32 (N, 1, 28, 28), converted from 8 bits at each access."""
        return self._pixels.read()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, without converting any."""
        return tuple(self._pixels.stored.shape[1:])

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Tensor) -> Item:
        """Images and labels of some rows."""
        return self._pixels.read(rows), self.labels[rows]

    def __repr__(self) -> str:
        details = f"{'train' if self.train else 'test'}, {len(self.class_names)} classes"
        return describe(self, len(self), self.image_shape, details)

    def _read_file(
        self, name: str, root: str | os.PathLike[str] | None, *, download: bool
    ) -> NDArray[np.uint8]:
        relative, md5 = f"{self.folder}/{name}", self.md5[name]
        if download:
            return parse_idx(self._fetched(relative, md5, root), name)
        path = files.locate(relative, root)
        remedy = "delete it and fetch it anew with download=True."
        return parse_idx(files.read_gzip(path, md5, remedy), name)

    def _fetched(self, relative: str, md5: str, root: str | os.PathLike[str] | None) -> bytes:
        """The content of a file, which is downloaded if what is there is not the published one."""
        url = self.url + Path(relative).name
        remedy = f"what came from {url} was thrown away: try again later."
        try:
            return files.read_gzip(files.locate(relative, root), md5, remedy)
        except (FileNotFoundError, ValueError):
            files.fetch(url, relative, root, lambda part: files.read_gzip(part, md5, remedy))
        return files.read_gzip(files.locate(relative, root), md5, remedy)


class MNIST(IDXDataset):
    """The MNIST handwritten digits, 28×28 in grey: 60,000 for training and 10,000 for tests.

    Reads `mnist/train-images-idx3-ubyte.gz` and its three companions.

    Args:
        root: The folder that holds `mnist/`. None is the environment variable DISVAE_DATA, or where
            that is unset, the user's cache.
        train: The training images, or else the test images.
        download: Whether to fetch files that are missing or damaged. They are compared with the
            published checksums.

    Attributes:
        labels: The digits, int64 (N,).
        class_names: What the labels stand for.
        image_shape: (1, 28, 28).

    Shape:
        An item is `(image, label)`: float32 (1, 28, 28) in [0, 1], and an int64 scalar.

    Raises:
        TypeError: `root` is no path, or `train` no bool.
        FileNotFoundError: A file is not there.
        ValueError: A file is damaged, or its content is not the published one.
        ConnectionError: A download failed.
        ImportError: A download needs pooch, which is not installed.

    References:
        Gradient-based learning applied to document recognition, LeCun, Bottou, Bengio and Haffner,
        1998, https://doi.org/10.1109/5.726791

    Example:
        >>> from torch.utils.data import DataLoader
        >>> digits = MNIST(train=False, download=True)          # doctest: +SKIP
        >>> images, labels = next(iter(DataLoader(digits, 64)))  # doctest: +SKIP
    """

    folder = "mnist"
    url = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    md5: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    }
    class_names = tuple("0123456789")


class FashionMNIST(IDXDataset):
    """Fashion-MNIST, 28×28 in grey: articles of clothing, 60,000 for training and 10,000 for tests.

    Reads `fashion-mnist/train-images-idx3-ubyte.gz` and its three companions.

    Args:
        root: The folder that holds `fashion-mnist/`. None is the environment variable DISVAE_DATA,
            or where that is unset, the user's cache.
        train: The training images, or else the test images.
        download: Whether to fetch files that are missing or damaged. They are compared with the
            published checksums.

    Attributes:
        labels: int64 (N,).
        class_names: What the labels stand for.
        image_shape: (1, 28, 28).

    Shape:
        An item is `(image, label)`: float32 (1, 28, 28) in [0, 1], and an int64 scalar.

    Raises:
        TypeError: `root` is no path, or `train` no bool.
        FileNotFoundError: A file is not there.
        ValueError: A file is damaged, or its content is not the published one.
        ConnectionError: A download failed.
        ImportError: A download needs pooch, which is not installed.

    References:
        Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, Xiao,
        Rasul and Vollgraf, 2017, https://arxiv.org/abs/1708.07747

    Example:
        >>> clothes = FashionMNIST(train=False, download=True)  # doctest: +SKIP
        >>> clothes.class_names[9]                              # doctest: +SKIP
        'ankle boot'
    """

    folder = "fashion-mnist"
    url = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    md5: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )


def parse_idx(content: bytes, name: str) -> NDArray[np.uint8]:
    """Reads an array of unsigned bytes in the IDX format.

    Two zero bytes, the code 8 of unsigned bytes, the number of axes; then a big-endian 32-bit
    length for each axis; then the values, row by row.

    Args:
        content: The whole file, uncompressed.
        name: Its name, for the error.

    Raises:
        ValueError: The header or the length is not as described.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), "labels")
        array([7, 2, 1], dtype=uint8)
    """
    axes = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * axes
    if axes == 0 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or len(content) < start:
        raise ValueError(
            f"Expected {name} to begin with an IDX header of unsigned bytes, but got "
            f"0x{content[:4].hex()}; replace it by the published file."
        )
    lengths = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(lengths):
        raise ValueError(
            f"Expected {name} to hold {math.prod(lengths)} values for its shape {lengths}, but got "
            f"{len(content) - start}; replace it by the published file."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(lengths).copy()
