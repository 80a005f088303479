"""Points, bars, bands and words are where the numbers say."""

import itertools

import matplotlib.colors
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from disvae import plotting
from disvae.plotting.estimates import mean_and_half_width
from disvae.plotting.style import COLOURS

RNG = np.random.default_rng(0)
SEEDS = 5
X = np.array([20.0, 24.0, 33.0]) + RNG.normal(size=(SEEDS, 3))
Y = np.array([0.5, 0.7, 0.6]) + 0.02 * RNG.normal(size=(SEEDS, 3))
LABELS = {"xlabel": "reconstruction in nats", "ylabel": "FactorVAE score"}


def interval(values):
    """Half the width of the 95 % interval of the mean, by scipy."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values, axis=0)
    return np.mean(values, axis=0), half


def bars(container):
    """The half widths of horizontal and vertical bars, checked to be centred on their points."""
    line, _, collections = container.lines
    centre = np.stack(line.get_data(), 1)
    halves = []
    for collection in collections:
        ends = np.array(collection.get_segments())
        np.testing.assert_allclose(ends.mean(1), centre)
        halves.append(np.ptp(ends, axis=1) / 2)
    return centre, halves


def test_points_are_means_and_bars_are_intervals_of_seeds():
    figure = plotting.tradeoff({"Laplace": (X, Y)}, **LABELS)
    (axes,) = figure.axes
    (container,) = axes.containers
    centre, (across, up) = bars(container)
    (x, x_half), (y, y_half) = interval(X), interval(Y)
    np.testing.assert_allclose(centre, np.stack([x, y], 1))
    np.testing.assert_allclose(across, np.stack([x_half, 0 * x], 1), atol=1e-12)
    np.testing.assert_allclose(up, np.stack([0 * y, y_half], 1), atol=1e-12)
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(LABELS.values())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Laplace"]


def test_given_intervals_are_drawn_as_they_are():
    given_x = plotting.Interval([1.0, 2.0], [0.1, 0.2])
    given_y = plotting.Interval([5.0, 4.0], [0.5, np.nan])
    figure = plotting.tradeoff({"a": plotting.Curve(given_x, given_y)}, **LABELS)
    centre, (across, up) = bars(figure.axes[0].containers[0])
    np.testing.assert_allclose(centre, [[1, 5], [2, 4]])
    np.testing.assert_allclose(across, [[0.1, 0], [0.2, 0]], atol=1e-12)
    np.testing.assert_allclose(up, [[0, 0.5], [0, 0]], atol=1e-12)


def test_values_without_seeds_have_no_bars():
    figure = plotting.tradeoff({"a": ([1, 2], [3, 4])}, **LABELS)
    _, halves = bars(figure.axes[0].containers[0])
    assert not halves


def test_points_are_joined_in_their_order():
    figure = plotting.tradeoff({"a": ([3, 1, 2], [1, 2, 3])}, **LABELS)
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [3, 1, 2])
    assert line.get_linestyle() == "-"


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_missing_runs_are_left_out_of_means_and_intervals(seeds, points, seed):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((seeds, points)) < 0.3, np.nan, rng.normal(size=(seeds, points)))
    mean, half = mean_and_half_width(values)
    for p in range(points):
        there = values[:, p][~np.isnan(values[:, p])]
        if len(there) == 0:
            assert np.isnan(mean[p])
        else:
            assert mean[p] == pytest.approx(there.mean())
        if len(there) > 1:
            assert half[p] == pytest.approx(interval(there)[1])
        else:
            assert np.isnan(half[p])


def test_points_without_any_run_are_left_out_with_their_labels():
    y = [[1.0, None, 3.0], [2.0, None, np.nan]]  # as JSON has them
    figure = plotting.tradeoff({"a": ([10.0, 20.0, 30.0], y, ["x", "y", "z"])}, **LABELS)
    line = figure.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(line.get_data(), [[10, 30], [1.5, 3]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["x", "z"]
    assert [text.xy for text in figure.axes[0].texts] == [(10, 1.5), (30, 3)]


NAMES = ["isotropic", "PCA", "PCA learnt", "Student-t", "Laplace"]


def several(panels=1, points=5):
    made = {
        f"score {p}": {
            name: (
                np.linspace(20, 60, points) + shift + RNG.normal(size=(3, points)),
                0.5 + 0.1 * np.sin(np.arange(points)) + 0.02 * RNG.normal(size=(3, points)),
                [f"β = {b}" for b in 2 ** np.arange(points)],
            )
            for shift, name in enumerate(NAMES)
        }
        for p in range(panels)
    }
    return made if panels > 1 else made["score 0"]


@pytest.mark.parametrize(("panels", "size"), [(1, None), (3, None), (2, 4.0)])
def test_words_do_not_hide_each_other(panels, size, is_tidy):
    is_tidy(plotting.tradeoff(several(panels), **LABELS, size=size, title="all of it"))


def test_words_stand_near_their_points_in_dark_shades_of_the_curves(words):
    curves = several(points=3)
    figure = plotting.tradeoff(curves, **LABELS)
    (axes,) = figure.axes
    places = [box for text, box in words(figure) if text.startswith("β")]
    assert len(places) == len(axes.texts) == 15
    lines = [container.lines[0] for container in axes.containers]
    for n, (text, box) in enumerate(zip(axes.texts, places, strict=True)):
        line = lines[n // 3]
        np.testing.assert_allclose(text.xy, np.stack(line.get_data(), 1)[n % 3])
        at = axes.transData.transform(text.xy)
        # from the point to the nearest edge of the box
        gap = np.maximum(np.maximum([box.x0, box.y0] - at, at - [box.x1, box.y1]), 0)
        assert np.hypot(*gap) < 28 * figure.dpi / 72
        ink, colour = (
            np.array(matplotlib.colors.to_rgb(c)) for c in (text.get_color(), line.get_color())
        )
        np.testing.assert_allclose(ink, 0.65 * colour)
        linear = np.where(ink <= 0.04045, ink / 12.92, ((ink + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) > 4.5  # as guidelines ask


def test_a_word_keeps_off_lines_where_there_is_room():
    figure = plotting.tradeoff(
        {"a": ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], ["", "here", ""])}, **LABELS
    )
    (axes,) = figure.axes
    (text,) = axes.texts
    figure.canvas.draw()
    box = text.get_window_extent()
    line = axes.transData.transform(np.linspace([0, 0], [2, 2], 400))
    inside = (line > [box.x0, box.y0]).all(1) & (line < [box.x1, box.y1]).all(1)
    assert not inside.any()


def test_a_curve_looks_the_same_in_all_panels():
    panels = {
        "MIG": {"a": ([1], [2]), "b": ([1], [3])},
        "DCI": {"c": ([1], [2]), "b": ([1], [3])},
    }
    figure = plotting.tradeoff(panels, **LABELS)
    assert [axes.get_title() for axes in figure.axes] == ["MIG", "DCI"]
    looks = [
        [(c.lines[0].get_color(), c.lines[0].get_marker()) for c in axes.containers]
        for axes in figure.axes
    ]
    assert looks[0][1] == looks[1][1]
    assert len({*looks[0], *looks[1]}) == 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["a", "b", "c"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["FactorVAE score", ""]
    assert figure.axes[1].yaxis.get_tick_params()["labelleft"]  # a scale of its own


def test_many_curves_have_looks_of_their_own():
    figure = plotting.tradeoff({str(n): ([n], [n]) for n in range(20)}, **LABELS)
    looks = {(c.lines[0].get_color(), c.lines[0].get_marker()) for c in figure.axes[0].containers}
    assert len(looks) == 20


# Viénot, Brettel and Mollon 1999, as matrices of linear RGB
DICHROMATS = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


@pytest.mark.parametrize("kind", DICHROMATS)
def test_the_colour_blind_can_tell_the_colours(kind):
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS[:6]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(DICHROMATS[kind]), 0, 1)
    xyz = seen @ np.transpose(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    lab = np.stack([116 * f[:, 1], 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    for a, b in itertools.combinations(lab, 2):
        assert np.linalg.norm(a - b) > 12  # 2.3 is a just noticeable difference


# bands

ALPHA = np.array([0.0, 10.0, 100.0, 1000.0])
SPARSITY = np.array([0.2, 0.3, 0.5, 0.6]) + 0.02 * RNG.normal(size=(3, 4))


def edges(axes, n=0):
    """The lower and the upper edge of a band, by x."""
    vertices = axes.collections[n].get_paths()[0].vertices
    low, high = {}, {}
    for x, y in vertices:
        low[x], high[x] = min(y, low.get(x, y)), max(y, high.get(x, y))
    return low, high


def test_bands_are_intervals_of_seeds_around_the_means(is_tidy):
    figure = plotting.bands({"γ = 0.8": (ALPHA, SPARSITY)}, xlabel="α", ylabel="sparsity", log=True)
    (axes,) = figure.axes
    mean, half = interval(SPARSITY)
    np.testing.assert_allclose(axes.lines[0].get_data(), [ALPHA, mean])
    low, high = edges(axes)
    np.testing.assert_allclose([low[a] for a in ALPHA], mean - half)
    np.testing.assert_allclose([high[a] for a in ALPHA], mean + half)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("α", "sparsity")
    is_tidy(figure)


def test_given_bands_are_drawn_as_they_are():
    y = plotting.Interval([1.0, 2.0], [0.25, 0.5])
    axes = plotting.bands({"a": ([1, 2], y)}, xlabel="α", ylabel="y").axes[0]
    assert edges(axes) == ({1: 0.75, 2: 1.5}, {1: 1.25, 2: 2.5})
    assert axes.get_xscale() == "linear"


def test_a_logarithmic_axis_shows_zero_and_every_setting():
    axes = plotting.bands({"a": (ALPHA, SPARSITY)}, xlabel="α", ylabel="y", log=True).axes[0]
    assert axes.get_xscale() == "symlog"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "10", "100", "1000"]
    np.testing.assert_array_equal(axes.get_xticks(), ALPHA)
    pixels = axes.transData.transform(np.stack([ALPHA, 0 * ALPHA], 1))[:, 0]
    steps = np.diff(pixels)
    np.testing.assert_allclose(steps[1:], steps[1])  # decades of one width
    assert steps[0] == pytest.approx(steps[1], rel=0.3)
    positive = plotting.bands({"a": (ALPHA[1:], SPARSITY[:, 1:])}, xlabel="α", ylabel="y", log=True)
    assert positive.axes[0].get_xscale() == "log"
    assert len(positive.axes[0].get_xticks()) == 3
    many = {"a": (np.arange(30.0), np.arange(30.0))}
    assert len(plotting.bands(many, xlabel="α", ylabel="y", log=True).axes[0].get_xticks()) < 30


def test_a_single_setting_has_a_bar_instead_of_a_band():
    axes = plotting.bands({"a": ([1.0], SPARSITY[:, :1])}, xlabel="α", ylabel="y").axes[0]
    centre, (up,) = bars(axes.containers[0])
    mean, half = interval(SPARSITY[:, :1])
    np.testing.assert_allclose(centre, [[1, mean[0]]])
    np.testing.assert_allclose(up, [[0, half[0]]], atol=1e-12)


def test_settings_are_joined_from_small_to_large():
    order = [2, 0, 3, 1]
    sorted_, mixed = (
        plotting.bands({"a": (x, y)}, xlabel="α", ylabel="y").axes[0]
        for x, y in ((ALPHA, SPARSITY), (ALPHA[order], SPARSITY[:, order]))
    )
    np.testing.assert_array_equal(sorted_.lines[0].get_data(), mixed.lines[0].get_data())
    assert edges(sorted_) == edges(mixed)


def test_intervals_without_neighbours_are_bars():
    half = [np.nan, 0.2, np.nan, 0.3, 0.4, np.nan, 0.5]
    y = plotting.Interval(np.ones(7), half)
    axes = plotting.bands({"a": (np.arange(7.0), y)}, xlabel="α", ylabel="y").axes[0]
    _, (up,) = bars(axes.containers[0])
    np.testing.assert_allclose(up[:, 1], [0, 0.2, 0, 0, 0, 0, 0.5], atol=1e-12)
    band = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    for corner in ((3, 0.7), (4, 0.6), (3, 1.3), (4, 1.4)):
        assert np.isclose(band, corner).all(1).any()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ([0.01, 0.5, 1, 1.2, 2, 5], ["0.01", "0.5", "1", "", "2", "5"]),
        ([0, 10, 50, 100, 200, 500, 800, 1000], ["0", "10", "50", "100", "200", "500", "", "1000"]),
    ],
)
@pytest.mark.parametrize("panels", [1, 3])
def test_labels_of_close_settings_do_not_run_into_each_other(settings, shown, panels, is_tidy):
    curves = {f"panel {p}": {"a": (settings, settings)} for p in range(panels)}
    figure = plotting.bands(curves, xlabel="α", ylabel="y", log=True)
    found = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert len(found) == len(settings)  # each has a tick
    assert found[0] == shown[0]
    if panels == 1:
        assert found == shown
    is_tidy(figure)


def test_panels_of_bands_have_scales_of_their_own(is_tidy):
    panels = {
        "Hoyer sparsity": {"γ = 0": (ALPHA, SPARSITY), "γ = 0.8": (ALPHA, SPARSITY + 0.1)},
        "log p(x) in nats": {"γ = 0": (ALPHA, -200 - 10 * SPARSITY)},
        "divergence": {"γ = 0.8": (ALPHA, 1e-3 * SPARSITY)},
        "more": {"γ = 0.8": (ALPHA, SPARSITY)},
    }
    figure = plotting.bands(panels, xlabel="α", ylabel="", log=True, columns=2, title="all")
    limits = [axes.get_ylim() for axes in figure.axes]
    assert len(set(limits)) == 4
    assert [axes.get_title() for axes in figure.axes] == list(panels)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    is_tidy(figure)


@pytest.mark.parametrize("draw", [plotting.tradeoff, plotting.bands])
@pytest.mark.parametrize(
    ("curves", "error", "word"),
    [
        ({}, ValueError, "at least one"),
        ({"panel": {}}, ValueError, "panel"),
        ([([1], [2])], TypeError, "mapping"),
        ({1: ([1], [2])}, TypeError, "mapping"),
        ({"a": ([1], [2]), "panel": {"a": ([1], [2])}}, TypeError, "both"),
        ({"a": [1, 2, 3, 4]}, TypeError, "Curve"),
        ({"a": np.ones((2, 3))}, TypeError, "Curve"),
        ({"a": ([1, 2], [1])}, ValueError, "as many"),
        ({"a": ([1, 2], [1, 2], ["x"])}, ValueError, "labels"),
        ({"a": ([1, 2], [1, 2], "ab")}, TypeError, "labels"),
        ({"a": ([1, 2], [1, 2], 5)}, TypeError, "labels"),
        ({"a": ([1, 2], [1, 2], [[1], [2, 3]])}, ValueError, "one length"),
        ({"a": ([1, 2], [np.nan, np.nan])}, ValueError, "at least one point"),
        ({"a": ([1, 2], [1, np.inf])}, ValueError, "infinity"),
        ({"a": ([1, 2], ["low", "high"])}, TypeError, "numbers"),
        ({"a": ([1, 2], np.ones((2, 2, 2)))}, ValueError, "seeds"),
        ({"a": ([1, 2], [[1, 2], [3]])}, ValueError, "one length"),
        ({"a": ([], [])}, ValueError, "shape"),
        ({"a": ([1, 2], ([1, 2], [0.1, 0.2]))}, TypeError, "Interval"),
        ({"a": ([1, 2], plotting.Interval([1, 2], [0.1]))}, ValueError, "half"),
        ({"a": ([1, 2], plotting.Interval([1, 2], [0.1, -0.1]))}, ValueError, "half"),
        ({"a": ([1, 2], plotting.Interval([1, np.inf], [0.1, 0.1]))}, ValueError, "infinity"),
    ],
)
def test_bad_curves_get_one_sentence(draw, curves, error, word, is_clear):
    with pytest.raises(error, match=word) as caught:
        draw(curves, xlabel="x", ylabel="y")
    is_clear(caught.value)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda c: plotting.tradeoff(c, **LABELS, size=0), "size"),
        (lambda c: plotting.tradeoff(c, **LABELS, columns=0), "columns"),
        (lambda c: plotting.bands(c, **LABELS, size=float("nan")), "size"),
        (lambda c: plotting.bands({"a": ([-1, 2], [1, 2])}, **LABELS, log=True), "-1"),
        (lambda c: plotting.bands({"a": (X, Y)}, **LABELS), "without intervals"),
    ],
)
def test_bad_settings_of_curves_get_one_sentence(call, word, is_clear):
    with pytest.raises(ValueError, match=word) as caught:
        call({"a": ([1, 2], [1, 2])})
    is_clear(caught.value)
