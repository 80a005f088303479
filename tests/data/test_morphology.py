"""Measured strokes: against the published table, drawn strokes of known size, and plain loops."""

import csv
import gzip
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage.morphology import medial_axis
from skimage.transform import warp

from disvae.data import MNIST, MorphologyTable, morphology, strokes

NAMES = ("area", "length", "thickness", "slant", "width", "height")
RNG = np.random.default_rng(0)


def published(split):
    path = Path(os.environ["DISVAE_DATA"]) / "morpho-mnist" / f"{split}-morpho.csv.gz"
    with gzip.open(path, "rt") as file:
        return np.array([[float(row[name]) for name in NAMES] for row in csv.DictReader(file)])


def draw(corners, thickness, size=28, shear=0.0):
    """A stroke of known thickness along a polyline, whose points shear about the middle row."""
    y, x = np.mgrid[:size, :size] + 0.5
    ends = np.array(corners, dtype=float)
    ends[:, 0] -= shear * (ends[:, 1] - size / 2)
    distance = np.full((size, size), np.inf)
    for (x0, y0), (x1, y1) in itertools.pairwise(ends):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2), 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - along * dx, y - y0 - along * dy))
    return np.clip(thickness / 2 - distance + 0.5, 0, 1)


BAR = [(14, 6), (14, 22)]
HOOK = [(9, 7), (18, 8), (12, 15), (17, 21)]
SEVEN = [(8, 8), (19, 8), (13, 21)]
FIGURES = [BAR, HOOK, SEVEN]


def measure(*pictures, **options):
    return morphology(np.stack(pictures), **options)


def blobs(count, size, rng=RNG):
    """Pictures of smooth noise, many of which reach the border."""
    noise = ndimage.gaussian_filter(rng.normal(size=(count, size, size)), (0, 1.5, 1.5))
    return np.clip(0.5 + 2.5 * noise, 0, 1)


# Real digits.


def check_agreement(found, expected):
    for k, name in enumerate(NAMES):
        ours, theirs = found[:, k], expected[:, k]
        assert stats.spearmanr(ours, theirs).statistic >= 0.99, name
        error = np.abs(ours - theirs)
        if name == "slant":
            assert np.median(error) <= 0.02
        else:
            assert np.median(error / theirs) <= (0.05 if name == "length" else 0.02), name
        # To the last digits; a machine that rounds otherwise may move a few pixels over the edge.
        assert np.mean(error < 1e-12) >= 0.99, name


@pytest.mark.real_data
def test_digits_have_the_published_attributes():
    images = MNIST(train=False).images[:1000]
    check_agreement(morphology(images).to_array(), published("t10k")[:1000])


@pytest.mark.real_data
@pytest.mark.slow
def test_all_test_digits_have_the_published_attributes():
    check_agreement(morphology(MNIST(train=False).images).to_array(), published("t10k"))


@pytest.mark.real_data
def test_training_digits_have_the_tabled_attributes():
    images = MNIST().read(torch.arange(0, 60_000, 300))[0]
    check_agreement(morphology(images).to_array(), published("train")[::300])


@pytest.mark.real_data
def test_the_first_training_digit_has_the_attributes_that_its_authors_give():
    table = morphology(MNIST().read(torch.tensor([0]))[0])
    area, length, thickness = 107.3125, 50.26650429449552, 2.4606583773939543
    slant, width, height = 0.23107446620980754, 14.539571782767355, 19.849053691610763
    expected = [[area, length, thickness, slant, width, height]]
    np.testing.assert_allclose(table.to_array(), expected, rtol=1e-13)


# Drawn strokes.


@pytest.mark.parametrize("thickness", [2.0, 3.0, 4.0, 5.0])
def test_an_upright_bar_has_its_measures(thickness):
    """A bar of length 16 between the centres of its round ends."""
    table = measure(draw(BAR, thickness))
    length = 16 + thickness
    assert table.slant[0] == pytest.approx(0, abs=1e-12)
    assert table.thickness[0] == pytest.approx(thickness, abs=0.25)
    assert table.area[0] == pytest.approx(16 * thickness + math.pi * thickness**2 / 4, rel=0.04)
    # The skeleton ends before the bar or after a fork, and has a spur here and there.
    assert 15.9 < table.length[0] < 20
    # 2 % of the mass lie beyond the two ends.
    assert table.height[0] == pytest.approx(0.98 * length, abs=0.25)
    # A pixel that is half covered counts whole, and the edges are smoothed.
    assert thickness < table.width[0] < thickness + 1.6


def test_a_lying_bar_is_as_wide_as_an_upright_one_is_high():
    upright, lying = measure(draw(BAR, 3), draw(BAR, 3).T).to_array()
    assert lying[0] == upright[0]
    assert lying[1:3] == pytest.approx(upright[1:3], rel=0.02)
    # Half a pixel of the enlarged picture lies between the two counts.
    assert lying[4] == pytest.approx(upright[5], abs=0.02)
    assert lying[5] == pytest.approx(upright[4], abs=0.02)


def test_bound_fraction_is_the_mass_left_out_on_both_sides_together():
    bar = np.zeros((28, 28))
    bar[4:24, 6:22] = 1
    for fraction in (0.2, 0.5, 0.8):
        table = measure(bar, bound_fraction=fraction)
        assert table.height[0] == pytest.approx((1 - fraction) * 20, abs=0.02)
        assert table.width[0] == pytest.approx((1 - fraction) * 16, abs=0.02)
    whole = measure(bar, bound_fraction=0.0)
    assert whole.height[0] > 20
    assert whole.width[0] > 16


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("shear", [-0.5, -0.2, 0.3, 0.6])
def test_a_shear_adds_to_the_tangent_of_the_slant(figure, shear):
    before, after = np.tan(measure(draw(figure, 1.5), draw(figure, 1.5, shear=shear)).slant)
    assert after - before == pytest.approx(shear, abs=0.03)


def test_a_stroke_that_leans_to_the_right_has_a_positive_slant_and_stays_narrow():
    upright, leaning = draw(BAR, 3), draw(BAR, 3, shear=0.5)
    assert leaning[8].argmax() > leaning[20].argmax() + 4
    table = measure(upright, leaning)
    assert table.slant[1] == pytest.approx(math.atan(0.5), abs=0.02)
    # An upright box about it would be 11 wide; the horizontal section of the stroke is 3.4.
    assert 3.4 < table.width[1] < 5
    assert table.length[1] == pytest.approx(16 * math.hypot(1, 0.5), rel=0.06)


@pytest.mark.parametrize("figure", FIGURES)
def test_thicker_strokes_are_thicker_by_as_much(figure):
    found = measure(*(draw(figure, thickness) for thickness in (2.0, 2.5, 3.0, 3.5, 4.0)))
    np.testing.assert_allclose(np.diff(found.thickness), 0.5, atol=0.11)
    assert np.all(np.diff(found.area) > 5)


@pytest.mark.parametrize("figure", FIGURES)
def test_twice_as_large_pictures_have_twice_the_lengths(figure):
    small = measure(draw(figure, 4))
    large = measure(draw(2 * np.array(figure), 8, size=56))
    for name in ("length", "thickness", "height"):
        assert getattr(large, name)[0] == pytest.approx(2 * getattr(small, name)[0], rel=0.05)
    # Edges are smoothed over as many pixels in both.
    assert large.width[0] == pytest.approx(2 * small.width[0], abs=1.2)
    assert large.area[0] == pytest.approx(4 * small.area[0], rel=0.02)
    assert large.slant[0] == pytest.approx(small.slant[0], abs=0.01)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_stroke_may_lie_anywhere(figure):
    picture = draw(figure, 2.5)
    moved = [np.roll(picture, shift, axis=(0, 1)) for shift in [(0, 0), (1, 0), (-1, 2), (1, -3)]]
    rows = measure(*moved).to_array()
    np.testing.assert_allclose(rows, np.tile(rows[0], (4, 1)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("figure", FIGURES)
def test_a_mirrored_stroke_leans_to_the_other_side(figure):
    picture = draw(figure, 2.5)
    there, back = measure(picture, picture[:, ::-1]).to_array()
    assert back[3] == pytest.approx(-there[3], abs=1e-12)
    assert back[[0, 5]] == pytest.approx(there[[0, 5]], rel=1e-12)
    assert back[[1, 2, 4]] == pytest.approx(there[[1, 2, 4]], rel=0.03)


# By hand, on pictures as they are.


def picture_of(*rows):
    return np.array([[cell == "#" for cell in row] for row in rows])


def test_steps_are_one_along_an_axis_and_the_root_of_two_on_a_diagonal():
    straight = picture_of(".....", "..#..", "..#..", "..#..", ".....")
    diagonal = picture_of(".....", ".#...", "..#..", "...#.", ".....")
    rising = picture_of(".....", "...#.", "..#..", ".#...", ".....")
    bent = picture_of(".....", ".#...", "..##.", ".....", ".....")
    dot = picture_of(".....", ".....", "..#..", ".....", ".....")
    table = measure(straight, diagonal, rising, bent, dot, scale=1)
    root = math.sqrt(2)
    assert table.length == pytest.approx([2, 2 * root, 2 * root, 1 + root, 0])
    assert table.area.tolist() == [3, 3, 3, 3, 1]
    assert table.thickness.tolist() == [2.0] * 5
    assert table.slant == pytest.approx([0, -math.pi / 4, math.pi / 4, table.slant[3], 0])


def test_what_is_one_pixel_high_has_no_slant():
    line = picture_of(".....", ".###.", ".....")
    table = measure(line, scale=1)
    assert table.slant[0] == 0
    assert np.isfinite(table.to_array()).all()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 1.0])
def test_ink_is_what_reaches_the_threshold_of_the_range(threshold):
    levels = RNG.integers(40, 200, size=(20, 9, 9)).astype(np.uint8)
    table = morphology(levels, threshold=threshold, scale=1)
    for area, picture in zip(table.area, levels.astype(float), strict=True):
        edge = picture.min() + threshold * (picture.max() - picture.min())
        assert area == (picture >= edge).sum()


# Plain loops.


@pytest.mark.parametrize("scale", [2, 3, 4, 7])
def test_pictures_are_enlarged_as_by_scikit_image(scale):
    noise, binary = RNG.integers(0, 256, (6, 12, 9)), 255 * RNG.integers(0, 2, (4, 12, 9))
    pictures = np.concatenate([noise, binary]).astype(np.uint8)
    offset = 0.5 / scale - 0.5
    matrix = np.array([[1 / scale, 0, offset], [0, 1 / scale, offset], [0, 0, 1]])
    for found, picture in zip(strokes.enlarge(pictures, scale), pictures, strict=True):
        shape = tuple(scale * n for n in picture.shape)
        large = warp(picture / 255, matrix, output_shape=shape, order=3, mode="reflect")
        smooth = ndimage.gaussian_filter(large, scale / 3)
        expected = (255 * smooth).astype(int)
        # The places of the pixels are exact in binary for some scales only.
        assert np.abs(found - expected).max() <= (0 if scale in (2, 4) else 1)


class PublishedOrder(np.random.Generator):
    def permutation(self, x, axis=0):
        return np.random.RandomState(0).permutation(x)


def test_the_skeletons_of_many_pictures_are_those_of_each():
    ink = blobs(12, 30) > 0.7
    upright, clear = ink.copy(), ink.copy()
    upright[:, [0, -1]] = False
    clear[:, [0, -1]] = clear[:, :, [0, -1]] = False
    ink = np.concatenate([ink, upright, clear])
    ridge = strokes.medial_axes(ink)
    for skeleton, distance, picture in zip(*ridge, ink, strict=True):
        order = PublishedOrder(np.random.PCG64(0))
        expected = medial_axis(picture, return_distance=True, rng=order)
        np.testing.assert_array_equal(skeleton, expected[0])
        np.testing.assert_array_equal(distance, expected[1])


def bounds_of(picture, slope, middle, fraction):
    """Width and height by counting the mass beyond every line, one pixel at a time."""
    height, width = picture.shape
    left, above = np.zeros(width), np.zeros(height)
    for t in range(width):
        for y in range(height):
            for x in range(width):
                if x + 0.5 < t + slope * (y - middle):
                    left[t] += picture[y, x]
    for t in range(height):
        above[t] = picture[:t].sum()
    tails = [fraction / 2, 1 - fraction / 2]
    spans = [np.interp(tails, mass / picture.sum(), range(len(mass))) for mass in (left, above)]
    return [end - start for start, end in spans]


def test_moments_and_bounds_are_those_of_plain_sums():
    pictures = (255 * blobs(5, 16)).round()
    pictures[:, :, :6] = 0
    found = morphology(pictures / 255, scale=1, bound_fraction=0.1)
    for k, picture in enumerate(pictures):
        y, x = np.mgrid[:16, :16]
        covariance = np.cov([x.ravel(), y.ravel()], aweights=picture.ravel())
        slope = covariance[0, 1] / covariance[1, 1]
        assert found.slant[k] == pytest.approx(math.atan(-slope), abs=1e-12)
        middle = (y * picture).sum() / picture.sum()
        expected = bounds_of(picture, slope, middle, 0.1)
        assert [found.width[k], found.height[k]] == pytest.approx(expected, abs=1e-9)


# Forms of input, and of the result.


def test_all_forms_of_the_same_picture_have_the_same_attributes():
    levels = (255 * np.stack([draw(figure, 2.5) for figure in FIGURES])).round().astype(np.uint8)
    before = levels.copy()
    expected = morphology(levels).to_array()
    single = levels.astype(np.float32) / np.float32(255)
    for images in (
        levels / 255,
        single,
        single.astype(np.float16),
        torch.from_numpy(levels)[:, None],
        torch.from_numpy(single)[:, None].requires_grad_(),
        (levels / 255).tolist(),
    ):
        np.testing.assert_array_equal(morphology(images).to_array(), expected)
    np.testing.assert_array_equal(levels, before)
    binary = levels > 127
    np.testing.assert_array_equal(
        morphology(binary).to_array(), morphology(binary.astype(float)).to_array()
    )


def test_a_row_does_not_depend_on_its_batch(monkeypatch):
    pictures = blobs(15, 14)
    expected = morphology(pictures).to_array()
    order = RNG.permutation(15)
    np.testing.assert_array_equal(morphology(pictures[order]).to_array(), expected[order])
    module = sys.modules[MorphologyTable.__module__]  # the name in the package is the function
    for pixels in (1, 14 * 14 * 16 * 4):
        monkeypatch.setattr(module, "_PIXELS_AT_ONCE", pixels)
        np.testing.assert_array_equal(morphology(pictures).to_array(), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2), (3, 5), (40, 17)])
@pytest.mark.parametrize("scale", [1, 4])
def test_pictures_of_any_size_are_measured(shape, scale):
    pictures = RNG.random((5, *shape))
    table = morphology(pictures, scale=scale)
    assert table.empty.all() == (shape == (1, 1))
    assert np.isfinite(table.to_array()[~table.empty]).all()


def test_pictures_without_a_stroke_are_nan_and_counted():
    grey = np.arange(256) / 255
    constant = np.broadcast_to(grey[:, None, None], (256, 9, 9))
    assert morphology(constant).empty.all()
    speck = np.zeros((28, 28))
    speck[14, 14] = 1 / 255  # what is left of it after smoothing is less than one level
    table = measure(draw(HOOK, 2), np.zeros((28, 28)), speck, draw(SEVEN, 3))
    assert table.empty.tolist() == [False, True, True, False]
    rows = table.to_array()
    assert np.isnan(rows[1:3]).all()
    np.testing.assert_array_equal(rows[[0, 3]], measure(draw(HOOK, 2), draw(SEVEN, 3)).to_array())
    assert repr(table) == "MorphologyTable(4 images, 2 of them empty)"


def test_a_table_gives_its_columns_in_the_order_of_the_names():
    table = measure(draw(HOOK, 2), np.zeros((28, 28)), draw(SEVEN, 3))
    assert table.names == NAMES
    assert len(table) == 3
    for k, name in enumerate(NAMES):
        assert getattr(table, name).dtype == np.float64
        np.testing.assert_array_equal(table.to_array()[:, k], getattr(table, name))
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert list(plain) == list(NAMES)
    assert plain["length"] == [table.length[0], None, table.length[2]]


def test_a_table_prints_the_quantiles_of_the_pictures_with_ink():
    columns = [np.append(np.arange(101.0), np.nan) * factor for factor in (1, 2, 3, -1, 4, 5)]
    table = MorphologyTable(*columns)
    head, shares, area, *_ = str(table).splitlines()
    assert head == "MorphologyTable(102 images, 1 of them empty)"
    assert shares.split() == ["min", "5", "%", "median", "95", "%", "max"]
    assert area.split() == ["area", "0.00", "5.00", "50.00", "95.00", "100.00"]
    assert "slant      -100.00   -95.00   -50.00    -5.00     0.00" in str(table)
    empty = MorphologyTable(*np.full((6, 3), np.nan))
    assert str(empty) == "MorphologyTable(3 images, 3 of them empty)"


# Bad input.


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (np.zeros((5, 3, 28, 28)), {}, "grey images"),
        (np.zeros((5, 28, 28, 1)), {}, "channels last"),
        (np.zeros((28, 28)), {}, "one row an image"),
        (np.zeros((28, 28, 3)), {}, "one colour image"),
        (np.zeros((32, 28, 4), dtype=np.uint8), {}, "got (32, 28, 4)"),
        (np.zeros((5, 784)), {}, "grey images"),
        (np.zeros(28), {}, "images of shape"),
        (np.zeros((2, 1, 1, 28, 28)), {}, "grey images"),
        (np.zeros((0, 28, 28)), {}, "at least one row"),
        (np.zeros((3, 0, 28)), {}, "at least one row"),
        (np.full((2, 8, 8), 255.0), {}, "[0, 1]"),
        (np.full((2, 8, 8), -0.1), {}, "[0, 1]"),
        (np.full((2, 8, 8), np.nan), {}, "finite"),
        (np.full((2, 8, 8), np.inf), {}, "finite"),
        (np.eye(8, dtype=np.uint8)[None], {}, "astype(bool)"),
        (np.full((2, 8, 8), 255), {}, "int64"),
        (np.full((2, 8, 8), "ink"), {}, "real numbers"),
        (np.eye(8)[None], {"threshold": 0.0}, "threshold"),
        (np.eye(8)[None], {"threshold": 1.1}, "threshold"),
        (np.eye(8)[None], {"threshold": math.nan}, "threshold"),
        (np.eye(8)[None], {"threshold": "half"}, "threshold"),
        (np.eye(8)[None], {"scale": 0}, "scale"),
        (np.eye(8)[None], {"scale": 2.0}, "scale"),
        (np.eye(8)[None], {"scale": True}, "scale"),
        (np.eye(8)[None], {"bound_fraction": 1.0}, "bound_fraction"),
        (np.eye(8)[None], {"bound_fraction": -0.1}, "bound_fraction"),
        (np.eye(8)[None], {"bound_fraction": None}, "bound_fraction"),
    ],
)
def test_bad_input_gets_one_clear_sentence(images, options, words, is_clear):
    with pytest.raises((TypeError, ValueError)) as caught:
        morphology(images, **options)
    is_clear(caught.value)
    assert words in str(caught.value)


def test_a_missing_scikit_image_says_how_to_install_it():
    code = """
import sys, numpy, disvae.data
assert not {"scipy", "skimage"} & set(sys.modules)
sys.modules["skimage"] = None  # as if it were not installed
try:
    disvae.data.morphology(numpy.eye(8)[None])
except ImportError as error:
    assert "disvae[images]" in str(error), error
    print("said")
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["said"]
