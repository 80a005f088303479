"""Mutual information against enumerated tables, scikit-learn and numpy's own histogram."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from disvae.metrics import carried_factors, mig
from disvae.metrics.arrays import check_arrays
from disvae.metrics.discretise import equal_width
from disvae.metrics.information import Discretised


def rows_of(table):
    """The rows (code, factor) whose contingency table this is."""
    code, factor = np.indices(table.shape)
    pairs = np.stack([code.reshape(-1), factor.reshape(-1)], axis=1)
    return np.repeat(pairs, table.reshape(-1), axis=0)


def exact_information(table):
    """The definition, term by term."""
    p = table / table.sum()
    total = 0.0
    for b, v in zip(*np.nonzero(p), strict=True):
        total += p[b, v] * np.log(p[b, v] / (p[b].sum() * p[:, v].sum()))
    return total


@pytest.mark.parametrize(
    "table",
    [
        np.array([[10, 0], [0, 10]]),
        np.array([[3, 3], [6, 6]]),
        np.array([[5, 1, 2], [0, 4, 4]]),
        np.array([[1, 7], [2, 0], [3, 3]]),
    ],
)
def test_enumerated_tables(table):
    pairs = rows_of(table)
    score = mig(pairs[:, :1], pairs[:, 1:])
    classes = table.sum(axis=0) / table.sum()
    assert score.information[0, 0] == pytest.approx(exact_information(table), abs=1e-12)
    assert score.entropy[0] == pytest.approx(-(classes * np.log(classes)).sum(), abs=1e-12)
    # One code: the second information is nought.
    assert score == pytest.approx(score.information[0, 0] / score.entropy[0], abs=1e-12)


def test_binary_symmetric_channel():
    """A code that is a fair bit flipped with probability 1/4 knows ln 2 − H(1/4) nats."""
    pairs = rows_of(np.array([[300, 100], [100, 300]]))
    expected = np.log(2) + 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    assert mig(pairs[:, :1], pairs[:, 1:]).information[0, 0] == pytest.approx(expected, abs=1e-12)


def test_matrix_equals_scikit_learn(noisy):
    codes, factors = noisy
    score = mig(codes, factors)
    binned = [np.digitize(c, np.histogram(c, 20)[1][:-1]) for c in codes.T]
    expected = [[mutual_info_score(c, f) for f in factors.T] for c in binned]
    np.testing.assert_allclose(score.information, expected, atol=1e-12)
    np.testing.assert_allclose(
        score.entropy, [mutual_info_score(f, f) for f in factors.T], atol=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bins_are_those_of_the_histogram_even_on_edges(seed, dtype):
    """A grid with many values on bin edges, at scales where the edges are not exact."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(2, 60, size=8)
    scale = 10.0 ** rng.uniform(-4, 4, size=8)
    codes = (rng.integers(steps, size=(400, 8)) / (steps - 1) * 2 - 1) * scale + rng.normal(size=8)
    codes = codes.astype(dtype).astype(np.float64)
    expected = [np.digitize(c, np.histogram_bin_edges(c, 20)[:-1]) - 1 for c in codes.T]
    np.testing.assert_array_equal(equal_width(codes.T, 20), expected)


def test_code_information_equals_the_reference(reference):
    """Mean information between codes: it sees where values on bin edges fall, unlike MIG."""
    for entry in reference.entries("mutual_info_score"):
        codes = reference.case(entry["case"])["codes"].astype(np.float64)
        arrays = check_arrays(codes, np.arange(len(codes)).reshape(-1, 1) % 2)
        D = codes.shape[1]
        binned = np.zeros((D, len(codes)), dtype=int)
        binned[arrays.active] = Discretised.of(arrays, 20, 10).codes
        pairs = [
            mutual_info_score(binned[i], binned[j]) for i in range(D) for j in range(D) if i != j
        ]
        assert np.mean(pairs) == pytest.approx(entry["value"], abs=1e-6), entry["case"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.floats(-308, 307),
    bins=st.integers(2, 40),
)
@example(seed=0, exponent=-308.0, bins=20)  # here bins / width is infinite
def test_bins_stay_in_range_at_any_scale(seed, exponent, bins):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, 50)) * 10.0**exponent
    binned = equal_width(values, bins)
    assert binned.min() == 0
    assert binned.max() == bins - 1
    # Bins keep the order of the values.
    order = np.argsort(values[0])
    assert (np.diff(binned[0, order]) >= 0).all()


def test_independent_codes_rarely_stand_above_chance():
    """The family-wise rate is 1/51, so 60 draws hold more than 6 with probability 1e-4."""
    named = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        factors = rng.integers(6, size=(200, 4))
        codes = np.column_stack([rng.normal(size=(200, 5)), rng.integers(3, size=200)])
        named += any(carried_factors(codes, factors, rng=seed))
    assert named <= 6


def test_permuted_share_is_the_bias_of_independent_pairs():
    """Independent counts: E[I] is (B − 1)(V − 1)/(2N) to first order."""
    rng = np.random.default_rng(0)
    codes, factors = rng.integers(10, size=(4000, 6)), rng.integers(5, size=(4000, 2))
    chance = Discretised.of(check_arrays(codes, factors), 20, 10).chance(rng)
    np.testing.assert_allclose(chance.share * np.log(5), 9 * 4 / (2 * 4000), rtol=0.1)


def test_carried_factors_names_the_factor(noisy):
    codes, factors = noisy
    named = carried_factors(codes[:, [2, 0, 3, 1]], factors, ["a", "b", "c"])
    assert named == ["c", "a", None, "b"]


def test_carried_factors_weighs_by_entropy():
    """A code with more nats of a large factor, but all of a small one, carries the small one."""
    rng = np.random.default_rng(0)
    small, large = rng.integers(2, size=3000), rng.integers(32, size=3000)
    code = 2 * (large // 8) + small
    score = mig(code.reshape(-1, 1), np.column_stack([small, large]))
    assert score.information[0, 1] > score.information[0, 0]
    names = carried_factors(code.reshape(-1, 1), np.column_stack([small, large]), ["s", "l"])
    assert names == ["s"]


def test_carried_factors_of_constant_codes():
    assert carried_factors(np.ones((20, 2)), np.arange(20).reshape(-1, 1) % 4) == [None, None]
