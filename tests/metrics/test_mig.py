"""MIG against the stored values of others, and against what its definition makes hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import mig


def test_reference_values(reference):
    entries = reference.entries("mig")
    assert len(entries) == 7
    for entry in entries:
        case = reference.case(entry["case"])
        for factors in (case["factors"], case.get("factors_disc", case["factors"])):
            assert mig(case["codes"], factors) == pytest.approx(entry["value"], abs=entry["tol"])
            wide = mig(case["codes"].astype(np.float64), factors.astype(np.float64))
            assert wide == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_aligned_codes_score_one(grid):
    assert mig(-3.0 * grid[:, ::-1] + 7.0, grid) == pytest.approx(1.0, abs=1e-12)


def test_rotation_lowers_it(grid):
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    score = mig(rotated, grid)
    np.testing.assert_allclose(score.per_factor, [0, 0, 1], atol=0.01)


def test_duplicated_codes_have_no_gap(grid):
    assert mig(np.hstack([grid, 2.0 * grid]), grid) == pytest.approx(0.0, abs=1e-12)


def test_one_code_has_its_gap_to_nought():
    factors = np.arange(40).reshape(-1, 1) % 4
    assert mig(factors, factors) == pytest.approx(1.0)
    assert mig(factors, factors).information.shape == (1, 1)


def test_normalised_by_the_entropy_of_the_factor():
    """A code finer than its factor knows all of it; one that merges classes, half of it."""
    fine = np.arange(64)
    factors = (fine % 4).reshape(-1, 1)
    assert mig((fine % 8).reshape(-1, 1), factors) == pytest.approx(1.0)
    assert mig((fine % 2).reshape(-1, 1), factors) == pytest.approx(0.5)


@pytest.mark.parametrize("constant", [0.0, 0.7, -1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(noisy, constant):
    codes, factors = noisy
    dead = np.full((len(codes), 1), constant)
    padded = mig(np.hstack([dead, codes, dead]), factors)
    assert padded == mig(codes, factors)
    np.testing.assert_array_equal(padded.information[[0, -1]], 0.0)
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]


def test_code_constant_up_to_rounding_is_dead(noisy):
    codes, factors = noisy
    jitter = (0.7 + 1e-16 * codes[:, :1]).astype(np.float64)
    assert mig(np.hstack([jitter, codes]), factors).provenance["dropped"] == [0]


def test_all_codes_constant(noisy):
    _, factors = noisy
    assert mig(np.ones((len(factors), 3)), factors).score == 0.0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes_and_factors(noisy, data):
    codes, factors = noisy
    D, K = codes.shape[1], factors.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-60, 60), min_size=D, max_size=D))
    columns = data.draw(st.permutations(range(K)))
    rows = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(codes))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    score = mig(changed[rows], factors[rows][:, columns])
    assert score == pytest.approx(mig(codes, factors).score, abs=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.integers(2, 60))
def test_always_between_nought_and_one(seed, D, K, N):
    rng = np.random.default_rng(seed)
    factors = rng.integers(3, size=(N, K))
    factors[:2] = [[0], [1]]
    score = mig(rng.integers(6, size=(N, D)) / 7, factors)
    assert 0 <= score <= 1
    assert ((score.information <= score.entropy + 1e-12) & (score.information >= 0)).all()


def test_independent_codes_score_near_nought():
    rng = np.random.default_rng(0)
    assert mig(rng.normal(size=(5000, 6)), rng.integers(5, size=(5000, 3))) < 0.005


def test_missing_values_leave_out_their_rows_for_that_factor_only(noisy):
    codes, factors = noisy
    holed = factors.astype(float)
    holed[:300, 1] = np.nan
    score = mig(codes, holed)
    whole = mig(codes, factors)
    # The bins are those of all rows, so the first 300 keep the largest and the smallest codes out.
    extremes = np.unique([*codes.argmin(axis=0), *codes.argmax(axis=0)])
    rows = np.r_[extremes, np.setdiff1d(np.arange(300, len(codes)), extremes)]
    holed_again = factors.astype(float)
    holed_again[np.setdiff1d(np.arange(len(codes)), rows), 1] = np.nan
    np.testing.assert_allclose(score.per_factor[[0, 2]], whole.per_factor[[0, 2]], atol=1e-12)
    np.testing.assert_allclose(
        mig(codes, holed_again).information[:, 1],
        mig(codes[rows], factors[rows]).information[:, 1],
        atol=1e-12,
    )
    assert score.provenance["missing"] == [0, 300, 0]
    assert score.per_factor[1] != whole.per_factor[1]


def test_which_factors_are_discrete():
    rng = np.random.default_rng(0)
    angle = rng.uniform(size=1000)
    columns = {
        "whole": (rng.integers(50, size=1000), True),
        "whole floats": (rng.integers(50, size=1000).astype(float), True),
        "few floats": (rng.choice(np.linspace(0, 6.28, 40), size=1000), True),
        "continuous": (angle, False),
        "continuous with gaps": (np.where(angle < 0.5, np.nan, angle), False),
        "flags": (angle < 0.3, True),
    }
    for name, (column, expected) in columns.items():
        score = mig(rng.normal(size=(1000, 2)), column.reshape(-1, 1))
        assert score.provenance["discrete"] == [expected], name


def test_flags_override_what_is_inferred():
    """Forty whole values have entropy ln 40 as classes, at most ln 10 in ten bins."""
    factors = np.repeat(np.arange(40), 25).reshape(-1, 1)
    codes = factors + 0.25
    assert mig(codes, factors).entropy[0] == pytest.approx(np.log(40))
    for flags in (False, [False], np.array([False])):
        assert mig(codes, factors, discrete=flags).entropy[0] == pytest.approx(np.log(10))
    assert mig(codes, factors, discrete=False, factor_bins=5).entropy[0] == pytest.approx(np.log(5))


def test_continuous_factors_are_binned_not_taken_for_classes():
    """As classes, every value of its own would give each code all of the entropy: MIG 0."""
    v = np.random.default_rng(0).uniform(size=(3000, 2))
    score = mig(v, v)
    assert score > 0.9
    assert score.entropy.max() <= np.log(10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, bool, np.longdouble])
def test_any_numeric_dtype(dtype):
    factors = np.arange(60).reshape(-1, 1) % np.array([[2, 3]])
    codes = (factors > 0).astype(dtype)
    expected = mig(codes.astype(np.float64), factors)
    assert mig(codes, factors.astype(dtype if dtype is not bool else int)) == expected


def test_fewer_rows_than_bins():
    assert mig([[0.0], [1.0]], [[0], [1]]) == pytest.approx(1.0)


def test_arguments_are_left_alone(noisy):
    codes, factors = (array.copy() for array in noisy)
    codes.setflags(write=False)
    factors.setflags(write=False)
    mig(codes, factors)
    np.testing.assert_array_equal(codes, noisy[0])
