"""The published dSprites images, whole or in one of two subsets."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disvae.data import files
from disvae.data.arrays import FactorArrays
from disvae.data.pixels import Pixels

_SIDE = 64
_NAMES = ("shape", "scale", "orientation", "posX", "posY")
_SUBSETS_URL = "https://raw.githubusercontent.com/colleenjg/neuromatch_ssl_tutorial"


class Source(NamedTuple):
    """A published file: its name, address and MD5."""

    name: str
    url: str
    md5: str


class DSprites(FactorArrays):
    """dSprites: white squares, ellipses and hearts on black, 64×64, with their true factors.

    Reads a file in the folder `dsprites/`. The factors are shape, scale (6 values from 0.5 to 1),
    orientation (40 from 0 to 2π, both of which give the same picture), posX (32, to the right) and
    posY (32, downwards); the constant colour is left out.

    Args:
        root: The folder that holds `dsprites/`. None is the environment variable DISVAE_DATA, or
            where that is unset, the user's cache.
        subset: `"downsampled"`: 46,080 images, the grid of every fourth orientation and every
            second posX and posY. `"random"`: 20,000 images drawn from the whole grid. `"whole"`:
            all 737,280, which take 3 GB of memory at 64×64.
        size: Side of the images; for 32, 16 and 8 a pixel stands for a block of 2×2, 4×4 or 8×8.
        binary: Whether such a pixel is 1 where the sprite covers half of its block or more, and 0
            elsewhere, so that the images stay binary and a Bernoulli likelihood is a probability
            mass; else it is the part of the block that is covered.
        download: Whether to fetch the file if it is missing; it is compared with the published
            checksum.

    Attributes:
        factors: Classes, int64 (N, 5), counted from 0 within the grid that the subset comes from.
        factor_values: What the classes stand for, float64 (N, 5): shape is 1 square, 2 ellipse,
            3 heart; orientation is in radians, anticlockwise.
        factor_names: shape, scale, orientation, posX, posY.
        factor_sizes: How many different values each factor takes.
        image_shape: (1, size, size).

    Shape:
        An item is `(image, factors)` with shapes (1, size, size) and (5,), both float32.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: The file is damaged, or subset or size is none of those above.
        ConnectionError: A download failed.
        ImportError: A download needs pooch, which is not installed.

    References:
        dSprites: Disentanglement testing Sprites dataset, Matthey, Higgins, Hassabis and
        Lerchner, 2017, https://github.com/google-deepmind/dsprites-dataset

    Example:
        >>> sprites = DSprites(size=32)  # doctest: +SKIP
        >>> sprites                      # doctest: +SKIP
        DSprites(46,080 images of 1×32×32; shape 3, scale 6, orientation 10, posX 16, posY 16)
    """

    sources: ClassVar[dict[str, Source]] = {
        "downsampled": Source(
            "dsprites_downsampled.npz",
            f"{_SUBSETS_URL}/d2ed4d26eff61bd6126772a94f8d1d91032fe6bd/dsprites/dsprites_downsampled.npz",
            "6201c648b5cbdc67573cca0f25894413",
        ),
        "random": Source(
            "dsprites_subset.npz",
            f"{_SUBSETS_URL}/985c0ffb002e9c12c4c61533b4af6adfaa64c8bf/dsprites/dsprites_subset.npz",
            "bbc77fb34afc89a384056b53f474ccdd",
        ),
        "whole": Source(
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            "https://github.com/google-deepmind/dsprites-dataset/raw/master/"
            "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            "7da33b31b13a06f4b04a70402ce90c2e",
        ),
    }

    factor_values: Tensor

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        subset: str = "downsampled",
        size: int = _SIDE,
        binary: bool = False,
        download: bool = False,
    ) -> None:
        if subset not in self.sources:
            raise ValueError(
                f"Expected subset to be one of {', '.join(map(repr, self.sources))}, but got "
                f"{subset!r:.100}; choose one of them."
            )
        sizes = [_SIDE // k for k in (1, 2, 4, 8)]
        if isinstance(size, bool) or size not in sizes:
            raise ValueError(
                f"Expected size to be one of {', '.join(map(str, sizes))}, but got {size!r:.100}; "
                f"choose one of them, or draw disvae.data.Sprites at any size."
            )
        images, classes, values = _load(_find(self.sources[subset], root, download=download))
        super().__init__(_shrunk(images, _SIDE // size, binary), classes, _NAMES)
        self.factor_values = torch.from_numpy(values)


def _find(source: Source, root: str | os.PathLike[str] | None, *, download: bool) -> Path:
    relative = f"dsprites/{source.name}"
    folder = files.data_folder(root)
    if download and (folder is None or not (folder / relative).is_file()):
        remedy = f"what came from {source.url} was thrown away: try again later."
        files.fetch(
            source.url, relative, root, lambda part: files.check_md5(part, source.md5, remedy)
        )
    return files.locate(relative, root)


def _load(
    path: Path,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Images (N, 64, 64) of 0 and 1, classes (N, 5) and values (N, 5)."""
    try:
        # The pickled metadata in the file are not touched.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images = archive["imgs"]
            classes, values = archive["latents_classes"], archive["latents_values"]
    except (
        ValueError,
        KeyError,
        TypeError,  # a bare array instead of an archive of several
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"Expected {path} to be a whole npz file of dSprites, but got a truncated or damaged "
            f"one; delete it and fetch it anew with download=True."
        ) from error
    count = len(images)
    if (
        images.shape != (count, _SIDE, _SIDE)
        or images.dtype != np.uint8
        or classes.shape not in {(count, 5), (count, 6)}
        or values.shape != classes.shape
    ):
        raise ValueError(
            f"Expected {path} to hold N images of 64×64 bytes and N rows of 5 or 6 latents, but "
            f"got {images.dtype} {images.shape}, {classes.shape} and {values.shape}; "
            f"replace it by the published file."
        )
    # The whole set has the constant colour as its first column.
    columns = slice(-5, None)
    return images, classes[:, columns].astype(np.int64), values[:, columns].astype(np.float64)


def _shrunk(images: NDArray[np.uint8], block: int, binary: bool) -> Pixels:
    """One pixel for each block: whether half of it is white, or the number of its white pixels."""
    if block == 1:
        return Pixels(torch.from_numpy(images.view(np.bool_)).unsqueeze(1))
    sums = np.zeros((len(images), _SIDE // block, _SIDE // block), dtype=np.uint8)
    for row in range(block):
        for column in range(block):
            sums += images[:, row::block, column::block]
    if binary:
        return Pixels(torch.from_numpy(2 * sums >= block**2).unsqueeze(1))
    return Pixels(torch.from_numpy(sums).unsqueeze(1), white=block**2)
