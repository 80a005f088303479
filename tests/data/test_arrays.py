import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.utils.data import DataLoader, random_split

from disvae.data import FactorArrays

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, size=(6, 3, 4, 5), dtype=np.uint8)
CLASSES = np.stack([np.arange(6) % 3, np.arange(6) % 2], axis=1)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, (4, 2, 3), elements=st.integers(0, 255)))
def test_bytes_are_scaled_by_255_exactly(images):
    images[0, 0, 0] = 255
    data = FactorArrays(images, np.arange(4))
    expected = (images.astype(np.float64) / 255).astype(np.float32)[:, None]
    assert np.array_equal(data.images.numpy(), expected)
    assert np.array_equal(data[2][0].numpy(), expected[2])


def test_binary_images_are_zero_and_one():
    images = RNG.random((5, 4, 4)) < 0.5
    data = FactorArrays(images, np.arange(5))
    assert np.array_equal(data.images.numpy(), images[:, None].astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.longdouble])
def test_floats_are_taken_as_they_are(dtype):
    images = (GREY / 255).astype(dtype)
    data = FactorArrays(images, CLASSES)
    assert data.images.dtype == torch.float32
    assert np.array_equal(data.images.numpy(), images.astype(np.float32))


def test_vectors_may_have_any_finite_values():
    vectors = RNG.normal(size=(6, 7)).astype(np.float32) * 100
    data = FactorArrays(vectors, CLASSES)
    assert data.image_shape == (7,)
    assert np.array_equal(data[4][0].numpy(), vectors[4])


def test_bytes_and_floats_are_neither_copied_nor_changed():
    for images in (torch.from_numpy(GREY.copy()), torch.rand(6, 1, 4, 4)):
        before = images.clone()
        data = FactorArrays(images, CLASSES)
        data.images.add_(0.0)
        assert data._pixels.stored.data_ptr() == images.data_ptr()
        data[0][0].zero_()
        assert torch.equal(images, before)


def test_arrays_that_torch_cannot_share_are_accepted():
    frozen = GREY.copy()
    frozen.flags.writeable = False
    plain = FactorArrays(GREY, CLASSES).images
    assert torch.equal(FactorArrays(frozen, CLASSES).images, plain)
    assert torch.equal(FactorArrays(GREY[::-1], CLASSES).images, plain.flip(0))
    learnt = torch.rand(6, 4, requires_grad=True)
    assert not FactorArrays(learnt, CLASSES)[0][0].requires_grad


def test_factors_keep_their_kind_and_their_items_are_floats():
    counts = FactorArrays(GREY, CLASSES.astype(np.uint16), names=["a", "b"])
    assert counts.factors.dtype == torch.int64
    assert np.array_equal(counts.factors.numpy(), CLASSES)
    assert (counts.factor_names, counts.factor_sizes) == (("a", "b"), (3, 2))
    angles = RNG.random((6, 1))
    exact = FactorArrays(GREY, torch.from_numpy(angles))
    assert np.array_equal(exact.factors.numpy(), angles)
    assert exact.factor_sizes == (6,)
    for data in (counts, exact):
        assert data[5][1].dtype == torch.float32
        np.testing.assert_allclose(data[5][1], data.factors[5], rtol=1e-7)


def test_one_column_of_factors_is_one_factor():
    data = FactorArrays(GREY, [True, False] * 3)
    assert data.factors.tolist() == [[1], [0]] * 3
    assert data.factor_names == ("factor_0",)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_a_split_keeps_images_and_factors_together(workers):
    images = RNG.integers(0, 256, size=(40, 3, 3), dtype=np.uint8)
    data = FactorArrays(images, images.reshape(40, 9).astype(int))
    part, _ = random_split(data, [30, 10], generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(part, 7, shuffle=True, num_workers=workers, generator=generator)
    found, factors = (torch.cat(column) for column in zip(*loader, strict=True))
    assert found.shape == (30, 1, 3, 3)
    torch.testing.assert_close(found.flatten(1) * 255, factors)
    assert len(factors.unique(dim=0)) == 30


def test_negative_indices_count_from_the_end():
    data = FactorArrays(GREY, CLASSES)
    assert torch.equal(data[-1][0], data[5][0])
    assert torch.equal(data[np.int64(2)][0], data[torch.tensor(2)][0])
    with pytest.raises(IndexError, match="from -6 to 5, but got 6"):
        data[6]


FLOATS = np.full((6, 1, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("images", "factors", "names", "error", "words"),
    [
        (GREY, CLASSES[:5], None, ValueError, "got 6 and 5"),
        (GREY[:0], CLASSES[:0], None, ValueError, "at least one row"),
        (GREY, CLASSES[:, :0], None, ValueError, "one column"),
        (np.arange(6.0), CLASSES, None, ValueError, r"\(N, C, H, W\)"),
        (np.zeros((6, 8, 8, 3), np.uint8), CLASSES, None, ValueError, "channels last"),
        (GREY.astype(int), CLASSES, None, TypeError, "got torch.int64"),
        (GREY > 0, CLASSES[..., None], None, ValueError, r"\(N, K\)"),
        ((GREY > 99).astype(np.uint8), CLASSES, None, ValueError, "no value above 1"),
        (np.where(FLOATS > 0, np.nan, 0), CLASSES, None, ValueError, "NaN or infinite"),
        (FLOATS * np.inf, CLASSES, None, ValueError, "NaN or infinite"),
        (FLOATS.reshape(6, 16) * np.inf, CLASSES, None, ValueError, "NaN or infinite"),
        (FLOATS * 3, CLASSES, None, ValueError, "values from 1.5 to 1.5"),
        (-FLOATS, CLASSES, None, ValueError, "values from -0.5 to -0.5"),
        (FLOATS * 1j, CLASSES, None, TypeError, "real numbers, but got the dtype complex128"),
        (torch.zeros(6, 4) * 1j, CLASSES, None, TypeError, "real numbers"),
        (GREY, [["a"]] * 6, None, TypeError, "factors to be .* real numbers"),
        ([[1, 2], [3]], CLASSES, None, TypeError, "unequal length"),
        (GREY, np.full((6, 1), np.nan), None, ValueError, "factors to be finite"),
        (GREY, np.full((6, 1), -np.inf), None, ValueError, "factors to be finite"),
        (GREY, CLASSES, ["a"], ValueError, "2 different names"),
        (GREY, CLASSES, ["a", "a"], ValueError, "2 different names"),
        (GREY, CLASSES, "ab", TypeError, "2 strings"),
        (GREY, CLASSES, [1, 2], TypeError, "2 strings"),
    ],
)
def test_bad_input_gets_one_sentence(images, factors, names, error, words):
    with pytest.raises(error, match=words) as caught:
        FactorArrays(images, factors, names)
    message = str(caught.value)
    assert message.startswith("Expected")
    assert "\n" not in message
    assert 25 <= len(message) <= 400
