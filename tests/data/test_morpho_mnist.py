"""MNIST joined with measured attributes, from small files of that form and from the real ones."""

import gzip
import hashlib
import struct
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import disvae
from disvae import decoders, encoders, evaluation, metrics, priors
from disvae.data import MNIST, MorphoMNIST, morphology

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(7, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], dtype=np.uint8)
ATTRIBUTES = RNG.normal(size=(7, 6))
NAMES = ("area", "length", "thickness", "slant", "width", "height")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def table(values):
    lines = [",".join(["index", *NAMES])]
    lines += [",".join([str(k), *map(repr, row)]) for k, row in enumerate(values.tolist())]
    return ("\n".join(lines) + "\n").encode()


CONTENT = {
    "mnist/t10k-images-idx3-ubyte.gz": idx(IMAGES),
    "mnist/t10k-labels-idx1-ubyte.gz": idx(LABELS),
    "morpho-mnist/t10k-morpho.csv.gz": table(ATTRIBUTES),
}


def md5_of(folder):
    return {
        name.removeprefix(folder): hashlib.md5(content).hexdigest()
        for name, content in CONTENT.items()
        if name.startswith(folder)
    }


class SmallMorphoMNIST(MorphoMNIST):
    """Seven images of noise with attributes of noise."""

    md5: ClassVar = md5_of("mnist/")
    attributes_md5: ClassVar = md5_of("morpho-mnist/")


@pytest.fixture
def root(tmp_path):
    for name, content in CONTENT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content))
    return tmp_path


def test_attributes_are_read_to_the_last_bit_and_joined_in_order(root):
    data = SmallMorphoMNIST(root, train=False)
    assert data.factor_names == NAMES
    assert data.factor_sizes == (7,) * 6
    assert data.factors.dtype == torch.float64
    np.testing.assert_array_equal(data.factors.numpy(), ATTRIBUTES)
    np.testing.assert_array_equal(data.labels.numpy(), LABELS)
    np.testing.assert_allclose(data.images[:, 0].numpy(), IMAGES / 255, rtol=1e-6)
    assert repr(data) == f"SmallMorphoMNIST(7 images of 1×28×28; test, {', '.join(NAMES)})"


@pytest.mark.parametrize("workers", [0, 2])
def test_attributes_stay_with_their_images_in_a_loader(root, workers):
    data = SmallMorphoMNIST(root, train=False)
    order = [5, 0, 3, 6]
    images, factors = (
        torch.cat(column)
        for column in zip(*DataLoader(data, 3, sampler=order, num_workers=workers), strict=True)
    )
    assert torch.equal(images, data.images[order])
    assert torch.equal(factors, data.factors[order].float())
    assert torch.equal(data[-1][1], data.factors[6].float())


def test_measured_attributes_are_those_of_the_images(root):
    (root / "morpho-mnist/t10k-morpho.csv.gz").unlink()
    data = SmallMorphoMNIST(root, train=False, measure=True)
    np.testing.assert_array_equal(data.factors.numpy(), morphology(IMAGES).to_array())


@pytest.mark.parametrize("download", [False, True])
def test_a_missing_file_says_where_it_belongs_and_that_it_can_be_measured(root, is_clear, download):
    (root / "morpho-mnist/t10k-morpho.csv.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        SmallMorphoMNIST(root, train=False, download=download)
    is_clear(caught.value)
    assert "morpho-mnist/t10k-morpho.csv.gz" in str(caught.value)
    assert "measure=True" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("damage", ["other", "truncated"])
def test_a_file_with_another_content_is_refused(root, is_clear, damage):
    path = root / "morpho-mnist/t10k-morpho.csv.gz"
    if damage == "other":
        path.write_bytes(gzip.compress(table(ATTRIBUTES[::-1])))
    else:
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"t10k-morpho\.csv\.gz") as caught:
        SmallMorphoMNIST(root, train=False)
    is_clear(caught.value)
    assert "measure=True" in str(caught.value)


@pytest.mark.parametrize("train", ["test", None, 0])
def test_the_name_of_a_split_is_not_taken_for_the_training_images(root, is_clear, train):
    with pytest.raises(TypeError) as caught:
        SmallMorphoMNIST(root, train=train)
    is_clear(caught.value)
    assert "False for the test images" in str(caught.value)


@pytest.mark.real_data
@pytest.mark.parametrize("train", [True, False])
def test_real_attributes_belong_to_their_digits(train):
    data = MorphoMNIST(train=train)
    assert data.factors.shape == (len(MNIST(train=train)), 6)
    assert data.factors.isfinite().all()
    # Ink and the brightness of the picture go together in the right order only.
    ink = data.images.sum((1, 2, 3)).double()
    assert np.corrcoef(ink, data.factors[:, 0])[0, 1] > 0.95
    # A one is narrow, and a zero is wide.
    width = data.factors[:, 4]
    assert width[data.labels == 1].median() < 6 < 12 < width[data.labels == 0].median()


@pytest.mark.real_data
def test_codes_are_reported_against_the_attributes():
    data = MorphoMNIST(train=False)
    model = disvae.VAE(
        encoders.MLP((1, 28, 28), 3), decoders.MLP(3, (1, 28, 28)), prior=priors.Normal(3)
    )
    codes, factors = evaluation.encode(model, data)
    np.testing.assert_array_equal(factors, data.factors.float().numpy())
    # The slant itself as a code is found, and no attribute is taken for a class.
    codes = np.column_stack([codes, factors[:, 3]])[:2000]
    found = metrics.report(
        codes, factors[:2000], data.factor_names, metrics=["mig"], intervals=False
    )
    line = next(line for line in str(found).splitlines() if line.startswith("slant"))
    assert "code 3" in line
    assert not metrics.arrays.check_arrays(codes, factors[:2000]).discrete.any()
