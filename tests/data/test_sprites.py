import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from disvae.data import Sprites, shapes

SHAPES = (shapes.square, shapes.ellipse, shapes.heart)
SIZES = (8, 13, 32, 64)
# Areas at scale 1, as parts of the picture, from the geometry of each shape.
AREAS = (
    shapes.SQUARE_SIDE**2,
    math.pi * shapes.ELLIPSE_MAJOR * shapes.ELLIPSE_MINOR,
    shapes.HEART_SIDE**2 * (1 + math.pi / 4),
)


def random_poses(count, seed=0, **fixed):
    rng = np.random.default_rng(seed)
    poses = {
        "scale": rng.uniform(0.5, 1.0, count),
        "orientation": rng.uniform(0.0, 2 * math.pi, count),
        "x": rng.uniform(0.0, 1.0, count),
        "y": rng.uniform(0.0, 1.0, count),
    }
    poses |= {name: np.broadcast_to(value, count) for name, value in fixed.items()}
    return shapes.Poses(**{name: torch.from_numpy(value.copy()) for name, value in poses.items()})


def moments(pictures):
    """Area and centroid (x, y), in pixels from the top left corner."""
    pictures = pictures[:, 0].double()
    places = torch.arange(pictures.shape[-1], dtype=torch.float64) + 0.5
    area = pictures.sum((1, 2))
    return area, (pictures.sum(1) @ places) / area, (pictures.sum(2) @ places) / area


def points_inside(number, u, v):
    """Which points lie in a shape of scale 1 in a picture of side 1; by its textbook definition."""
    if number == 0:
        return np.maximum(np.abs(u), np.abs(v)) < 0.15
    if number == 1:
        return (u / 0.3) ** 2 + (v / 0.15) ** 2 < 0.5
    s = 0.175
    diamond = np.abs(u) + np.abs(v) < s / math.sqrt(2)
    middle = s / math.sqrt(8)
    discs = [np.hypot(u - x, v - middle) < s / 2 for x in (-middle, middle)]
    return diamond | discs[0] | discs[1]


def covered(number, poses, size, finer=16):
    """Pictures by brute force: the part of 16×16 points of each pixel that lie in the shape."""
    fine = np.linspace(-0.3, 0.3, 1201)
    grid_u, grid_v = np.meshgrid(fine, fine)
    # The heart turns about its centroid, found here by counting points.
    middle = grid_v[points_inside(number, grid_u, grid_v)].mean()
    ticks = (np.arange(size * finer) + 0.5) / (size * finer)
    pictures = []
    for scale, angle, x, y in zip(*(pose.numpy() for pose in poses), strict=True):
        right, up = np.meshgrid(ticks - 0.25 - 0.5 * x, 0.25 + 0.5 * y - ticks)
        u = (right * np.cos(angle) + up * np.sin(angle)) / scale
        v = (up * np.cos(angle) - right * np.sin(angle)) / scale + middle
        inside = points_inside(number, u, v)
        pictures.append(inside.reshape(size, finer, size, finer).mean((1, 3)))
    return np.stack(pictures)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("number", range(3))
def test_pictures_are_the_covered_parts_of_their_pixels(number, size):
    poses = random_poses(12, seed=number)
    drawn = shapes.draw(SHAPES[number], poses, size)[:, 0].numpy()
    expected = covered(number, poses, size)
    # A ramp along the distance errs by at most 0.12 on a straight edge, more in a corner.
    assert np.abs(drawn - expected).max() < 0.25
    edge = (expected > 0) & (expected < 1)
    assert np.abs(drawn - expected)[edge].mean() < 0.06
    assert np.abs(drawn - expected)[~edge].mean() < 1e-3


@pytest.mark.parametrize("number", range(3))
def test_pictures_of_few_pixels_are_the_covered_parts_too(number):
    poses = random_poses(12, seed=number)
    drawn = shapes.draw(SHAPES[number], poses, 8)[:, 0].numpy()
    np.testing.assert_allclose(drawn, covered(number, poses, 8, finer=32), atol=0.06)


def test_pictures_are_float32_whatever_the_default_is():
    sprites = Sprites(size=16, samples=4)
    expected = sprites.images
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(sprites.images, expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("number", range(3))
def test_binary_pixels_tell_whether_their_centre_is_inside(number):
    poses = random_poses(12, seed=number)
    drawn = shapes.draw(SHAPES[number], poses, 32, binary=True)[:, 0].numpy()
    # One point a pixel: its centre. The centroid of the reference is a count, hence a tolerance.
    assert (drawn != covered(number, poses, 32, finer=1)).mean() < 2e-4


@pytest.mark.parametrize("size", SIZES)
def test_an_upright_square_covers_each_pixel_exactly(size):
    poses = random_poses(50, orientation=0.0)
    half = 0.15 * size * poses.scale[:, None]
    left = torch.arange(size)

    def overlap(place):
        centre = size * (0.25 + 0.5 * place[:, None])
        ends = torch.minimum(left + 1.0, centre + half) - torch.maximum(left, centre - half)
        return ends.clamp(min=0.0)

    expected = overlap(poses.y)[:, None, :, None] * overlap(poses.x)[:, None, None, :]
    drawn = shapes.draw(shapes.square, poses, size)
    torch.testing.assert_close(drawn, expected.float(), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", range(3))
def test_area_grows_with_scale_squared_whatever_the_pose(number, size):
    poses = random_poses(200)
    area, _, _ = moments(shapes.draw(SHAPES[number], poses, size))
    ratio = area / (AREAS[number] * (size * poses.scale) ** 2)
    assert (ratio - 1).abs().max() < 0.04
    assert abs(ratio.mean() - 1) < 0.01


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", range(3))
def test_centroid_depends_on_x_and_y_alone_and_linearly(number, size):
    poses = random_poses(200)
    _, x, y = moments(shapes.draw(SHAPES[number], poses, size))
    assert (x - size * (0.25 + 0.5 * poses.x)).abs().max() < 0.1
    assert (y - size * (0.25 + 0.5 * poses.y)).abs().max() < 0.1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", range(3))
def test_no_sprite_is_cut_by_the_border(number, size):
    turns = torch.linspace(0, 2 * math.pi, 24)
    for x, y in itertools.product((0.0, 1.0), repeat=2):
        poses = random_poses(24, scale=1.0, orientation=turns, x=x, y=y)
        area, _, _ = moments(shapes.draw(SHAPES[number], poses, size))
        assert (area / (AREAS[number] * size**2) - 1).abs().max() < 0.04


@pytest.mark.parametrize("size", [9, 32])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("number", range(3))
def test_a_quarter_turn_of_the_sprite_turns_the_picture_anticlockwise(number, binary, size):
    sprites = Sprites(size, factor_sizes=(3, 2, 12, 1, 1), binary=binary)
    for scale, turn in itertools.product(range(2), range(9)):
        before, after = sprites.render([[number, scale, turn + k, 0, 0] for k in (0, 3)])
        torch.testing.assert_close(after, torch.rot90(before, 1, (1, 2)), atol=1e-5, rtol=0.0)


def test_an_upright_heart_is_symmetric_with_two_lobes_above_a_tip():
    heart = Sprites(64, factor_sizes=(3, 1, 1, 1, 1)).render([[2, 0, 0, 0, 0]])[0, 0]
    torch.testing.assert_close(heart, heart.flip(1), atol=1e-5, rtol=0.0)
    runs = ((heart > 0.5).int().diff(dim=1) == 1).sum(1)
    rows = torch.nonzero(runs).squeeze(1)
    assert runs[rows[0]] == 2
    assert runs[rows[-1]] == 1
    assert heart[rows[0]].sum() > heart[rows[-1]].sum()


def test_grid_is_in_the_order_of_its_factors_with_y_fastest():
    sizes = (2, 3, 4, 2, 3)
    sprites = Sprites(16, factor_sizes=sizes)
    expected = list(itertools.product(*map(range, sizes)))
    assert sprites.factors.tolist() == [list(row) for row in expected]
    assert sprites.factors.dtype == torch.int64
    assert len(sprites) == math.prod(sizes)


def test_factor_values_are_those_of_the_classes_without_a_second_full_turn():
    sprites = Sprites(16, factor_sizes=(3, 6, 8, 5, 1))
    columns = [column.unique() for column in sprites.factor_values.unbind(1)]
    expected = (
        np.arange(1, 4),
        np.linspace(0.5, 1, 6),
        np.arange(8) * math.pi / 4,
        np.linspace(0, 1, 5),
        [0.5],
    )
    for found, wanted in zip(columns, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-15)


def test_factors_with_one_value_stay_in_the_middle_at_full_scale():
    square = Sprites(40, factor_sizes=(1, 1, 1, 1, 1)).images
    expected = torch.zeros(1, 1, 40, 40)
    expected[..., 14:26, 14:26] = 1.0
    torch.testing.assert_close(square, expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("binary", [False, True])
def test_a_centre_on_the_centre_of_a_pixel_is_white(binary):
    sprites = Sprites(33, factor_sizes=(3, 2, 1, 1, 1), binary=binary)
    assert sprites.images[..., 16, 16].tolist() == [[1.0]] * 6


def test_pictures_follow_the_factors_of_their_row():
    sprites = Sprites(32, samples=200, rng=3)
    values = sprites.factor_values
    area, x, y = moments(sprites.images)
    expected = torch.tensor(AREAS)[sprites.factors[:, 0]] * (32 * values[:, 1]) ** 2
    torch.testing.assert_close(area, expected, rtol=0.04, atol=0.0)
    torch.testing.assert_close(x, 32 * (0.25 + 0.5 * values[:, 3]), rtol=0.0, atol=0.1)
    torch.testing.assert_close(y, 32 * (0.25 + 0.5 * values[:, 4]), rtol=0.0, atol=0.1)


def test_no_two_pictures_are_equal_with_an_odd_number_of_orientations():
    sprites = Sprites(32, factor_sizes=(3, 3, 9, 4, 4))
    rounded = (sprites.images * 1e3).round()
    assert len(rounded.flatten(1).unique(dim=0)) == len(sprites)


def test_samples_are_different_members_of_the_grid_fixed_by_the_seed():
    sizes = (3, 2, 3, 4, 4)
    whole = Sprites(8, factor_sizes=sizes)
    every = Sprites(8, factor_sizes=sizes, samples=len(whole), rng=1)
    assert sorted(every.factors.tolist()) == whole.factors.tolist()
    assert every.factors.tolist() != whole.factors.tolist()
    chosen, again, other, passed = (
        Sprites(8, factor_sizes=sizes, samples=50, rng=rng).factors
        for rng in (5, 5, 6, np.random.default_rng(5))
    )
    assert torch.equal(chosen, again)
    assert torch.equal(chosen, passed)
    assert not torch.equal(chosen, other)
    assert len(chosen.unique(dim=0)) == 50


def test_a_grid_of_any_length_is_not_made_up_front():
    sizes = (3, 1000, 1000, 1000, 1000)
    sprites = Sprites(8, factor_sizes=sizes)
    assert len(sprites) == 3 * 10**12
    assert sprites[-1][1].tolist() == [2, 999, 999, 999, 999]
    assert Sprites(8, factor_sizes=sizes, samples=10).images.shape == (10, 1, 8, 8)


@pytest.mark.parametrize("binary", [False, True])
def test_a_picture_is_the_same_to_the_last_bit_in_any_batch(binary):
    sprites = Sprites(17, samples=300, binary=binary)
    images = sprites.images
    rows = [7, 299, 0, -1]
    batch = sprites.__getitems__(rows)
    for row, (image, factors) in zip(rows, batch, strict=True):
        assert torch.equal(image, images[row])
        assert torch.equal(factors, sprites.factors[row].float())
        assert torch.equal(image, sprites[row][0])


def test_no_binary_sprite_vanishes_between_the_pixels():
    images = Sprites(8, factor_sizes=(3, 3, 9, 9, 9), binary=True).images
    assert set(images.unique().tolist()) == {0.0, 1.0}
    assert images.flatten(1).sum(1).min() >= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_loader_gives_every_combination_once(workers):
    sprites = Sprites(8, factor_sizes=(3, 2, 3, 2, 2))
    generator = torch.Generator().manual_seed(0)
    loader = DataLoader(sprites, 20, shuffle=True, num_workers=workers, generator=generator)
    images, factors = (torch.cat(part) for part in zip(*loader, strict=True))
    assert factors.dtype == torch.float32
    assert sorted(factors.tolist()) == sprites.factors.tolist()
    # Float rows out of a loader can be drawn again.
    assert torch.equal(images, sprites.render(factors))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"size": 7}, ValueError, "size to be at least 8, but got 7"),
        ({"size": 32.0}, TypeError, "size to be an integer"),
        ({"size": True}, TypeError, "size to be an integer"),
        ({"factor_sizes": (3, 4, 8)}, ValueError, "5 numbers"),
        ({"factor_sizes": 3}, ValueError, "5 numbers"),
        ({"factor_sizes": (4, 4, 8, 2, 2)}, ValueError, "at most 3 shapes"),
        ({"factor_sizes": (3, 4, 0, 2, 2)}, ValueError, "values of orientation"),
        ({"factor_sizes": (3, 4, 2.5, 2, 2)}, TypeError, "values of orientation"),
        ({"samples": 0}, ValueError, "samples to be at least 1"),
        ({"samples": 10**6}, ValueError, "15552 pictures"),
        ({"samples": 5, "rng": None}, TypeError, "rng"),
        ({"samples": 5, "rng": -1}, ValueError, "rng"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        Sprites(**arguments)
    assert_one_sentence(caught)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([[0, 0, 0, 0]], ValueError, r"shape \(B, 5\), but got \(1, 4\)"),
        ([0, 0, 0, 0, 0], ValueError, r"shape \(B, 5\), but got \(5,\)"),
        ([[0, 0, 0, 0, 0], [0, 0, 9, 0, 0]], ValueError, "orientation .* 0 to 8, but got 9 in row"),
        ([[0, -1, 0, 0, 0]], ValueError, "scale .* but got -1"),
        ([[0, 0.5, 0, 0, 0]], ValueError, "scale .* but got 0.5"),
        ([[0, math.nan, 0, 0, 0]], ValueError, "scale .* but got nan"),
        ([["heart", 0, 0, 0, 0]], TypeError, "real numbers"),
    ],
)
def test_wrong_factors_get_one_sentence(rows, error, words):
    with pytest.raises(error, match=words) as caught:
        Sprites(8).render(rows)
    assert_one_sentence(caught)


def test_an_index_outside_the_data_gets_one_sentence():
    sprites = Sprites(8, samples=5)
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"but got {index}") as caught:
            sprites[index]
        assert_one_sentence(caught)
    with pytest.raises(TypeError, match="but got slice") as caught:
        sprites[:2]
    assert_one_sentence(caught)


def assert_one_sentence(caught):
    message = str(caught.value)
    assert message.startswith("Expected")
    assert "\n" not in message
    assert 25 <= len(message) <= 400
