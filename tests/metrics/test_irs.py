"""The interventional robustness score against stored values, a plain loop and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import irs


def plain_loop(codes, factors, quantile):
    """The published definition, a class at a time."""
    D, K = codes.shape[1], factors.shape[1]
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    robustness = np.empty((D, K))
    for k in range(K):
        strays = []
        for value in set(factors[:, k]):
            rows = codes[factors[:, k] == value]
            strays.append(np.quantile(np.abs(rows - rows.mean(axis=0)), quantile, axis=0))
        robustness[:, k] = 1 - np.mean(strays, axis=0) / largest
    return np.average(robustness.max(axis=1), weights=largest), robustness


def test_reference_values(reference):
    entries = reference.entries("irs")
    assert len(entries) == 14
    for entry in entries:
        case = reference.case(entry["case"])
        quantile = float(entry["variant"].split("q=")[1])
        for factors in (case["factors"], case.get("factors_disc", case["factors"])):
            score = irs(case["codes"], factors, quantile=quantile)
            assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry
        if quantile == 0.99:
            assert score == irs(case["codes"], factors)


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_plain_loop(quantile, seed):
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(V, size=150) for V in (2, 5, 40)], axis=1)
    codes = rng.normal(size=(150, 4)) * [0.1, 1.0, 5.0, 30.0] + factors[:, [0, 1, 2, 2]] + 7.0
    score = irs(codes, factors, quantile=quantile)
    expected, robustness = plain_loop(codes, factors, quantile)
    assert score == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(score.robustness, robustness, atol=1e-12)
    np.testing.assert_array_equal(score.per_code, score.robustness.max(axis=1))
    standard, _ = plain_loop(codes / codes.std(axis=0), factors, quantile)
    assert irs(codes, factors, quantile=quantile, standardise=True) == pytest.approx(
        standard, abs=1e-12
    )


def test_aligned_codes_score_one_to_the_last_bit(grid):
    for standardise in (False, True):
        assert irs(-3.3 * grid[:, ::-1] + 7.1, grid, standardise=standardise) == 1.0


def test_sum_of_two_uniform_factors():
    """z = u + v on a fine grid: with u fixed it strays by 1/2 of a largest deviation of 1."""
    u, v = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201))
    factors = np.column_stack([u.ravel(), v.ravel()])
    score = irs(factors.sum(axis=1, keepdims=True), factors, discrete=True, quantile=1.0)
    np.testing.assert_allclose(score.robustness, 0.5, atol=1e-12)
    # The 0.99 quantile of |v - 1/2| is 0.495.
    score = irs(factors.sum(axis=1, keepdims=True), factors, discrete=True)
    np.testing.assert_allclose(score.robustness, 1 - 0.495, atol=1e-3)


def test_rotation_lowers_it(grid):
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    assert irs(rotated, grid) < 0.7


def test_noise_is_not_near_nought():
    rng = np.random.default_rng(0)
    score = irs(rng.normal(size=(5760, 10)), rng.integers(6, size=(5760, 3)))
    assert score == pytest.approx(0.37, abs=0.03)


def test_weights_are_largest_deviations():
    """A wide code of noise outweighs a perfect one, unless codes are standardised."""
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(3000, 2))
    codes = np.column_stack([factors[:, 0], 100 * rng.normal(size=3000)])
    weighted, standard = irs(codes, factors), irs(codes, factors, standardise=True)
    assert weighted.weights[1] > 0.98
    assert weighted == pytest.approx(weighted.per_code[1], abs=0.02)
    assert 0.1 < standard.weights[0] < 0.5
    np.testing.assert_allclose(standard.weights.sum(), 1.0, atol=1e-12)
    np.testing.assert_array_equal(weighted.robustness, standard.robustness)


def test_can_be_negative():
    """Classes that stray further than the codes as a whole: each has one row at the far end."""
    codes = np.r_[np.zeros(9), 1.0, np.ones(9), 0.0].reshape(-1, 1)
    factors = np.repeat([0, 1], 10).reshape(-1, 1)
    score = irs(codes, factors, quantile=1.0)
    assert score == pytest.approx(1 - 0.9 / 0.5, abs=1e-12)
    assert score.bounds[0] < score


@pytest.mark.parametrize("constant", [0.0, 0.7, -1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(noisy, constant):
    codes, factors = noisy
    codes = codes.astype(np.float32)
    dead = np.full((len(codes), 1), constant, dtype=np.float32)
    padded = irs(np.hstack([dead, codes, dead]), factors)
    assert padded == pytest.approx(irs(codes, factors).score, abs=1e-12)
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]
    np.testing.assert_array_equal(padded.weights[[0, -1]], 0.0)


def test_all_codes_constant_scores_nought(noisy):
    score = irs(np.ones((len(noisy[1]), 3)), noisy[1])
    assert score.score == 0.0
    np.testing.assert_array_equal(score.weights, 0.0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_common_scale(noisy, data):
    codes, factors = noisy
    D, K = codes.shape[1], factors.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    columns = data.draw(st.permutations(range(K)))
    common = 2.0 ** data.draw(st.integers(-900, 900))
    changed = (codes * signs * common)[:, order]
    assert irs(changed, factors[:, columns]) == pytest.approx(irs(codes, factors).score, abs=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(exponents=st.lists(st.integers(-400, 400), min_size=4, max_size=4))
def test_standardised_codes_have_no_scale(noisy, exponents):
    codes, factors = noisy
    expected = irs(codes, factors, standardise=True).score
    scaled = codes * 2.0 ** np.array(exponents)
    assert irs(scaled, factors, standardise=True) == pytest.approx(expected, abs=1e-12)


def test_scale_of_one_code_matters_by_default(noisy):
    codes, factors = noisy
    assert abs(irs(codes * [1, 1, 1, 100], factors) - irs(codes, factors)) > 0.1


def test_missing_values_leave_out_their_rows_for_that_factor_only(noisy):
    codes, factors = noisy
    holed = factors.astype(float)
    holed[:300, 1] = np.nan
    score, whole = irs(codes, holed), irs(codes, factors)
    np.testing.assert_array_equal(score.robustness[:, [0, 2]], whole.robustness[:, [0, 2]])
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    strays = plain_loop(codes[300:], factors[300:], 0.99)[1][:, 1]
    part = np.abs(codes[300:] - codes[300:].mean(axis=0)).max(axis=0)
    np.testing.assert_allclose(
        1 - score.robustness[:, 1], (1 - strays) * part / largest, atol=1e-12
    )


def test_values_of_one_row_do_not_stray():
    """Two rows, or a factor whose values all differ: a documented 1."""
    assert irs([[0.0], [1.0]], [[0], [1]]) == 1.0
    rng = np.random.default_rng(0)
    assert irs(rng.normal(size=(50, 2)), np.arange(50).reshape(-1, 1)) == 1.0


@pytest.mark.parametrize("quantile", [-0.1, 1.1, float("nan"), "0.99", None])
def test_quantile_out_of_range(noisy, quantile):
    with pytest.raises(ValueError, match=r"Expected quantile .* but got .*; pass"):
        irs(*noisy, quantile=quantile)
