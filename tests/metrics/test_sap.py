"""SAP against stored values, enumeration, and its known limits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import NotDefinedError, sap
from disvae.metrics.thresholds import balanced_accuracies, label_bins


def test_reference_values(reference):
    entries = reference.entries("sap_r2")
    assert len(entries) == 7
    for entry in entries:
        case = reference.case(entry["case"])
        score = sap(case["codes"], case["factors"], discrete=False)
        assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_squared_correlation_equals_numpy(noisy):
    codes, factors = noisy
    factors = np.where(np.arange(len(codes))[:, None] % 4 == [0, 1, 2], np.nan, factors)
    score = sap(codes, factors, discrete=False)
    gaps = []
    for k, factor in enumerate(factors.T):
        known = ~np.isnan(factor)
        r = [np.corrcoef(code[known], factor[known])[0, 1] ** 2 for code in codes.T]
        assert score.predictability[:, k] == pytest.approx(r)
        gaps.append(np.sort(r)[-1] - np.sort(r)[-2])
    assert score.per_factor == pytest.approx(gaps)
    assert score == pytest.approx(np.mean(gaps))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), bins=st.integers(1, 6), classes=st.integers(2, 4))
def test_the_best_labels_are_those_of_enumeration(seed, bins, classes):
    shares = np.random.default_rng(seed).integers(0, 5, size=(2, bins, classes)) / 7.0
    labels = label_bins(shares)
    for code in range(2):
        best = max(
            sum(shares[code, b, v] for b, v in enumerate(choice))
            for choice in itertools.product(range(classes), repeat=bins)
            if sum(a != b for a, b in itertools.pairwise(choice)) < classes
        )
        found = labels[code]
        assert (np.diff(found) != 0).sum() < classes
        assert shares[code, np.arange(bins), found].sum() == pytest.approx(best)


def test_thresholds_of_known_codes():
    """In order, out of order, one class in the middle of the other, and two intervals a class."""
    classes = np.tile(np.arange(4), 50)
    two = np.tile([0, 1], 100)
    order = np.array([2.0, 0.0, 3.0, 1.0])[classes]
    middle = np.where(two == 1, 0.5, np.tile([0.0, 0.0, 1.0, 1.0], 50))
    rng = np.random.default_rng(0)
    codes = np.column_stack([classes, order, -1e-12 * order, rng.normal(size=200)])
    train, test = slice(0, 120), slice(120, 200)
    found = balanced_accuracies(codes[train], classes[train], codes[test], classes[test])
    assert found[:3] == pytest.approx(1.0)
    assert found[3] == pytest.approx(0.25, abs=0.1)
    # One threshold keeps the middle and one side: all of one class and half of the other.
    found = balanced_accuracies(middle[train, None], two[train], middle[test, None], two[test])
    assert found == pytest.approx(0.75)


def test_balance_counts_classes_and_not_rows():
    """A rare class weighs as much as the common one, which is worth cutting into."""
    classes = np.repeat([0, 0, 1], [900, 100, 50])
    code = np.repeat([0.0, 1.0, 1.0], [900, 100, 50])[:, None]
    found = balanced_accuracies(code, classes, code, classes)
    assert found == pytest.approx((900 / 1000 + 1) / 2)


def test_thresholds_lie_between_classes_however_small_the_gap():
    """Bins of equal size would mix classes where a pure region ends."""
    rng = np.random.default_rng(0)
    classes = rng.integers(7, size=3000)
    codes = (classes + rng.uniform(0, 0.999, size=3000))[:, None]
    found = balanced_accuracies(codes[:2000], classes[:2000], codes[2000:], classes[2000:])
    assert found > 0.995


def test_more_mixed_values_than_bins():
    """Two Gaussians, at the accuracy of the best threshold between them."""
    rng = np.random.default_rng(1)
    classes = rng.integers(2, size=20_000)
    codes = (2 * classes + rng.normal(size=20_000))[:, None]
    half = slice(0, 10_000), slice(10_000, None)
    found = balanced_accuracies(codes[half[0]], classes[half[0]], codes[half[1]], classes[half[1]])
    assert found == pytest.approx(0.8413, abs=0.012)


def test_aligned_chance_and_rotated(grid):
    rng = np.random.default_rng(0)
    assert sap(grid[:, ::-1], grid) == pytest.approx(1.0, abs=0.01)
    assert sap(rng.normal(size=(2048, 4)), grid) < 0.02
    c = np.sqrt(0.5)
    rotated = sap(grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]]), grid)
    assert rotated.per_factor[:2] == pytest.approx([0.0, 0.0], abs=0.06)
    assert rotated.per_factor[2] > 0.9


def test_below_chance_is_chance(grid):
    """Else a constant code beside it would predict more."""
    noise = np.random.default_rng(0).normal(size=(2048, 6))
    known = sap(noise, grid).predictability
    assert (known == 0).any()
    assert (known >= 0).all()


def test_unadjusted_is_the_published_accuracy(noisy):
    codes, factors = noisy
    adjusted, plain = sap(codes, factors), sap(codes, factors, adjusted=False)
    chance = 1 / np.array([3, 5, 7])
    assert plain.per_factor == pytest.approx(adjusted.per_factor * (1 - chance))
    expected = chance + (1 - chance) * adjusted.predictability
    assert plain.predictability == pytest.approx(expected)
    aligned = sap(factors, factors, adjusted=False)
    assert aligned == pytest.approx(np.mean(1 - chance), abs=0.01)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes(noisy, data):
    """Exactly: thresholds see ranks, in an orientation of their own."""
    codes, factors = noisy
    D = codes.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-500, 500), min_size=D, max_size=D))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    mixed = [True, False, True]
    alone, other = sap(codes, factors, discrete=mixed), sap(changed, factors, discrete=mixed)
    assert other == pytest.approx(alone, abs=1e-9)
    assert other.predictability == pytest.approx(alone.predictability[order], abs=1e-9)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("adjusted", [True, False])
def test_dead_codes_at_either_end_change_nothing(noisy, discrete, adjusted):
    codes, factors = noisy
    dead = np.full((len(codes), 1), 0.7)
    arguments = {"discrete": discrete, "adjusted": adjusted}
    for live in (codes, codes[:, :1]):
        alone = sap(live, factors, **arguments)
        padded = sap(np.hstack([dead, live, dead]), factors, **arguments)
        assert padded == pytest.approx(alone, abs=1e-12)
        assert padded.provenance["dropped"] == [0, live.shape[1] + 1]
    assert sap(dead, factors, **arguments) == 0.0


def test_copies_leave_no_gap(noisy):
    codes, factors = noisy
    for discrete in (True, False):
        twice = sap(np.hstack([codes, -codes]), factors, discrete=discrete)
        assert twice == pytest.approx(0.0, abs=1e-12)


def test_a_class_of_one_row_is_left_out(noisy):
    codes, factors = noisy
    rare = factors.astype(float)
    missing = rare.copy()
    rare[17, 1], missing[17, 1] = 99, np.nan
    found, expected = sap(codes, rare), sap(codes, missing)
    assert found == expected
    assert found.provenance["rows"] == [1500, 1499, 1500]
    with pytest.raises(NotDefinedError, match="two classes of two rows or more") as error:
        sap(codes, np.arange(1500)[:, None])
    assert error.value.reason == "factor column 0 has no two classes of two rows"


def test_classes_are_on_both_sides():
    """Classes of two rows each: one to fit on, one to test on, whatever the share."""
    classes = np.repeat(np.arange(30), 2)[:, None]
    for share in (0.01, 0.99):
        assert sap(classes, classes, test_share=share) == pytest.approx(1.0)


def test_deterministic(noisy):
    codes, factors = noisy
    assert sap(codes, factors) == sap(codes, factors)
    assert sap(codes, factors) != sap(codes, factors, rng=1)
    assert sap(codes, factors, rng=1).provenance["seed"] == 1
    continuous = sap(codes, factors, discrete=False, rng=1)
    assert continuous.provenance["seed"] is None
    assert continuous == sap(codes, factors, discrete=False)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"adjusted": 1}, TypeError, "Expected adjusted to be a bool, but got int"),
        ({"test_share": 0}, ValueError, "between 0 and 1, but got 0"),
        ({"test_share": "0.3"}, TypeError, "Expected test_share to be a number"),
    ],
)
def test_refusals(noisy, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        sap(*noisy, **arguments)
