import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from disvae.data import MNIST, DSprites, FashionMNIST, shapes

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def sprites():
    return DSprites()


# 7 has no factor in common with the lengths of the grid: every value of every factor is among them.
SOME = torch.arange(0, 46_080, 7)


def test_mnist_is_whole_and_in_order():
    train, test = MNIST(), MNIST(train=False)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(train.labels).tolist() == counts
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (len(train), len(test)) == (60_000, 10_000)
    # The mean and deviation that are commonly quoted for these images.
    images = train.images
    assert images.shape == (60_000, 1, 28, 28)
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert images.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert images.std().item() == pytest.approx(0.3081, abs=5e-5)


def test_fashion_mnist_is_whole_and_in_order():
    train, test = FashionMNIST(), FashionMNIST(train=False)
    assert torch.bincount(train.labels).tolist() == [6000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert train.class_names[train.labels[0]] == "ankle boot"
    assert train.images.mean().item() == pytest.approx(0.2860, abs=5e-5)
    assert train.images.std().item() == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_labels_stay_with_their_digits_in_a_loader(workers):
    data = MNIST(train=False)
    loader = DataLoader(data, 512, sampler=range(0, 10_000, 3), num_workers=workers)
    images, labels = (torch.cat(column) for column in zip(*loader, strict=True))
    assert torch.equal(images, data.images[::3])
    assert torch.equal(labels, data.labels[::3])


def test_downsampled_dsprites_are_a_grid_in_order(sprites):
    assert sprites.factor_sizes == (3, 6, 10, 16, 16)
    rows = torch.cartesian_prod(*map(torch.arange, sprites.factor_sizes))
    assert torch.equal(sprites.factors, rows)


def test_dsprites_area_grows_with_scale_squared(sprites):
    area = sprites.read(SOME)[0].sum((1, 2, 3))
    shape, scale = sprites.factors[SOME, 0], sprites.factor_values[SOME, 1]
    for number, expected in enumerate((369, 289, 225)):
        found = area[shape == number] / scale[shape == number] ** 2
        assert found.mean().item() == pytest.approx(expected, rel=0.02)


def test_dsprites_move_right_with_x_and_down_with_y(sprites):
    images = sprites.read(SOME)[0][:, 0]
    places = torch.arange(64.0) + 0.5
    area = images.sum((1, 2))
    for axis, column in ((1, 3), (2, 4)):
        centroid = (images.sum(axis) @ places) / area
        slope, start = np.polyfit(sprites.factor_values[SOME, column], centroid, 1)
        assert slope == pytest.approx(32, rel=0.01)
        assert start == pytest.approx(16, abs=0.6)


@pytest.mark.parametrize("size", [32, 16, 8])
def test_small_binary_sprites_are_white_where_half_of_the_block_is(sprites, size):
    small, grey = DSprites(size=size, binary=True), DSprites(size=size)
    assert torch.equal(small.read(SOME)[0], (grey.read(SOME)[0] >= 0.5).float())


def test_halving_keeps_the_mean_of_the_picture(sprites):
    half = DSprites(size=32)
    assert half.image_shape == (1, 32, 32)
    images, whole = half.read(SOME)[0], sprites.read(SOME)[0]
    assert set(images.unique().tolist()) == {0.0, 0.25, 0.5, 0.75, 1.0}
    torch.testing.assert_close(images.mean((1, 2, 3)), whole.mean((1, 2, 3)))
    assert torch.equal(half.factors, sprites.factors)


def test_random_dsprites_agree_with_the_grid_where_they_meet(sprites):
    part = DSprites(subset="random")
    assert len(part) == 20_000
    assert part.factor_sizes == (3, 6, 40, 32, 32)
    strides = torch.tensor([1, 1, 4, 2, 2])
    shared = torch.nonzero((part.factors % strides == 0).all(1)).squeeze(1)
    assert len(shared) == 1246
    place = np.ravel_multi_index((part.factors[shared] // strides).T.numpy(), sprites.factor_sizes)
    torch.testing.assert_close(part.factor_values[shared], sprites.factor_values[place])
    assert torch.equal(part.read(shared)[0], sprites.read(torch.from_numpy(place))[0])


@pytest.mark.parametrize(("number", "overlap"), [(0, 0.85), (1, 0.9), (2, 0.65)])
def test_procedural_sprites_lie_on_those_of_dsprites(sprites, number, overlap):
    rows = torch.nonzero(sprites.factors[:, 0] == number).squeeze(1)[::97]
    poses = shapes.Poses(*sprites.factor_values[rows, 1:].unbind(1))
    theirs = sprites.read(rows)[0].bool()

    def agreement(poses):
        draw = (shapes.square, shapes.ellipse, shapes.heart)[number]
        ours = shapes.draw(draw, poses, 64, binary=True).bool()
        both, either = (ours & theirs).sum((1, 2, 3)), (ours | theirs).sum((1, 2, 3))
        return (both / either).mean().item()

    assert agreement(poses) > overlap
    # The other way round they fit worse: the sense of the rotation is that of dSprites.
    assert agreement(poses._replace(orientation=-poses.orientation)) < agreement(poses) - 0.02
