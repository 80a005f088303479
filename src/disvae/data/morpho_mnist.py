"""MNIST with six measured attributes of each digit."""

import io
import os
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from disvae.data import files
from disvae.data.base import Item, describe
from disvae.data.mnist import MNIST
from disvae.data.morphology import MorphologyTable, morphology


class MorphoMNIST(MNIST):
    """MNIST with the area, length, thickness, slant, width and height of each digit as factors.

    Reads the files of `MNIST`, and `morpho-mnist/train-morpho.csv.gz` or
    `morpho-mnist/t10k-morpho.csv.gz`: a line of names, then for each digit in the order of MNIST
    its index and six attributes. The file of the test digits is the published one; that of the
    training digits, whose published file was not to be had, was measured anew in the same way.
    Neither is downloaded: `measure=True` makes the same from the images, to within rounding.

    Args:
        root: The folder that holds `mnist/` and `morpho-mnist/`. None is the environment variable
            DISVAE_DATA, or where that is unset, the user's cache.
        train: The training images, or else the test images.
        download: Whether to fetch files of MNIST that are missing or damaged.
        measure: Whether to measure the images with `morphology` instead of reading the file, which
            takes about 20 s for 10,000 digits.

    Attributes:
        factors: The attributes, float64 (N, 6), in pixels and radians as in `morphology`.
        factor_names: area, length, thickness, slant, width, height.
        factor_sizes: How many different values each takes.
        labels: The digits, int64 (N,).
        class_names: What the labels stand for.
        image_shape: (1, 28, 28).

    Shape:
        An item is `(image, factors)` with shapes (1, 28, 28) and (6,), both float32; for the
        digits see `labels`.

    Raises:
        TypeError: `root` is no path, or `train` no bool.
        FileNotFoundError: A file is not there.
        ValueError: A file is damaged, or its content is not the expected one.
        ConnectionError: A download failed.
        ImportError: A download needs pooch, or a measurement scikit-image, which is not installed.

    References:
        Morpho-MNIST: Quantitative Assessment and Diagnostics for Representation Learning, Castro,
        Tan, Kainz, Konukoglu and Glocker, 2019, https://jmlr.org/papers/v20/19-033.html

    Example:
        >>> digits = MorphoMNIST(train=False)                     # doctest: +SKIP
        >>> codes, factors = evaluation.encode(model, digits)     # doctest: +SKIP
        >>> metrics.report(codes, factors, digits.factor_names)   # doctest: +SKIP
    """

    attributes_md5: ClassVar[dict[str, str]] = {
        "train-morpho.csv.gz": "f317c6ce8ebec904772c4554a7ec89f1",
        "t10k-morpho.csv.gz": "9e1bdd6a76481ef33ef6e6f59ccdc8af",
    }
    """MD5 of the uncompressed content of each file of attributes."""

    factor_names: tuple[str, ...] = MorphologyTable.names

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        train: bool = True,
        download: bool = False,
        measure: bool = False,
    ) -> None:
        super().__init__(root, train=train, download=download)
        if measure:
            self.factors = torch.from_numpy(morphology(self._pixels.stored).to_array())
        else:
            self.factors = self._read_attributes("train" if train else "t10k", root)
        self.factor_sizes = tuple(len(column.unique()) for column in self.factors.unbind(1))

    def read(self, rows: Tensor) -> Item:
        """Images and attributes (float32) of some rows."""
        return self._pixels.read(rows), self.factors[rows].to(torch.float32)

    def __repr__(self) -> str:
        details = f"{'train' if self.train else 'test'}, {', '.join(self.factor_names)}"
        return describe(self, len(self), self.image_shape, details)

    def _read_attributes(self, split: str, root: str | os.PathLike[str] | None) -> Tensor:
        name = f"{split}-morpho.csv.gz"
        remedy = "replace it by the file that was meant, or pass measure=True."
        try:
            path = files.locate(f"morpho-mnist/{name}", root)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"Expected to find morpho-mnist/{name} beside mnist/, but got no such file; put it "
                f"there, or pass measure=True to measure the images anew."
            ) from None
        content = files.read_gzip(path, self.attributes_md5[name], remedy)
        table = np.loadtxt(io.BytesIO(content), delimiter=",", skiprows=1)
        return torch.from_numpy(table[:, 1:].copy())
