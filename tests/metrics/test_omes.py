"""OMES against the authors' procedure written as a plain loop, and against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import NotDefinedError, omes


@pytest.fixture(scope="module")
def small_grid():
    """Every combination of three factors once, and codes that mix them."""
    axes = np.meshgrid(range(4), range(5), range(3), indexing="ij")
    factors = np.stack(axes, axis=-1).reshape(-1, 3)
    rng = np.random.default_rng(0)
    factors = rng.permutation(factors)
    codes = factors @ rng.normal(size=(3, 4)) + 0.3 * rng.normal(size=(len(factors), 4))
    return codes, factors


def all_pairs(codes, factors):
    """The association over every pair of rows, looked at one by one."""
    D, K = codes.shape[1], factors.shape[1]
    association = np.empty((D, K))
    for k in range(K):
        first, second = [], []
        for i in range(len(factors)):
            for j in range(len(factors)):
                differs = factors[i] != factors[j]
                if differs[k] and differs.sum() == 1:
                    first.append(codes[i])
                    second.append(codes[j])
        for d in range(D):
            correlation = np.corrcoef(np.array(first)[:, d], np.array(second)[:, d])[0, 1]
            association[d, k] = 1 - abs(correlation)
    return association


def authors_pairs(codes, factors, rng, rounds):
    """The authors' draw: the rows of a group in random order, its halves against each other."""
    K = factors.shape[1]
    association = np.empty((codes.shape[1], K))
    for k in range(K):
        first, second = [], []
        for row in range(len(factors)):
            others = np.delete(factors, k, axis=1)
            alike = np.flatnonzero((others == others[row]).all(axis=1))
            for _ in range(rounds):
                shuffled = rng.permutation(alike)
                half = len(shuffled) // 2
                first.append(shuffled[:half])
                second.append(shuffled[half : 2 * half])
        x, y = codes[np.concatenate(first)], codes[np.concatenate(second)]
        for d in range(codes.shape[1]):
            association[d, k] = 1 - abs(np.corrcoef(x[:, d], y[:, d])[0, 1])
    return association


def plain_score(association, alpha, pooling):
    """The two scores of each factor, entry by entry."""
    D, K = association.shape
    per_factor = []
    for k in range(K):
        overlaps, encodings = [], []
        for d in range(D):
            row = np.zeros(K)
            row[k] = 1
            overlaps.append((1 - np.abs(row - association[d]).mean()) * association[d, k])
            column = np.zeros(D)
            column[d] = 1
            encodings.append((1 - np.abs(column - association[:, k]).mean()) * association[d, k])
        if pooling == "max":
            overlap, encoding = max(overlaps), max(encodings)
        else:
            overlap = np.average(overlaps, weights=association[:, k])
            encoding = np.average(encodings, weights=association[:, k])
        per_factor.append(alpha * overlap + (1 - alpha) * encoding)
    return np.array(per_factor)


def test_association_counts_every_pair(small_grid):
    score = omes(*small_grid)
    np.testing.assert_allclose(score.association, all_pairs(*small_grid), atol=1e-12)


def test_association_counts_every_pair_of_uneven_rows():
    """Rows repeated and missing from the grid, classes of unequal size."""
    rng = np.random.default_rng(1)
    factors = rng.integers([2, 3, 5], size=(90, 3))
    codes = rng.normal(size=(90, 3)) + factors + 50.0
    np.testing.assert_allclose(
        omes(codes, factors).association, all_pairs(codes, factors), atol=1e-11
    )


def test_association_is_what_the_authors_draw(small_grid):
    drawn = authors_pairs(*small_grid, np.random.default_rng(0), rounds=60)
    np.testing.assert_allclose(omes(*small_grid).association, drawn, atol=0.03)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_score_of_the_association(small_grid, alpha, pooling):
    score = omes(*small_grid, alpha=alpha, pooling=pooling)
    expected = plain_score(score.association, alpha, pooling)
    np.testing.assert_allclose(score.per_factor, expected, atol=1e-12)
    np.testing.assert_allclose(
        score.per_factor, alpha * score.overlap + (1 - alpha) * score.multiple_encoding
    )
    assert score == pytest.approx(expected.mean(), abs=1e-12)
    assert 0.1 < score < 0.9  # not a trivial comparison


def test_aligned_codes_have_the_association_of_distinct_values(small_grid):
    """Two different values of V are correlated by -1/(V - 1)."""
    _, factors = small_grid
    score = omes(0.5 * factors, factors)
    np.testing.assert_allclose(score.association, np.diag(1 - 1 / (np.array([4, 5, 3]) - 1)))
    one_sided = omes(-2.0 * factors + 3.0, factors, one_sided=True)
    assert one_sided == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(one_sided.association, np.eye(3), atol=1e-12)


def test_factor_of_two_values_is_not_seen_two_sidedly():
    factors = np.stack(np.meshgrid(range(2), range(6)), axis=-1).reshape(-1, 2)
    score = omes(factors, factors)
    np.testing.assert_allclose(score.per_factor[0], 0.0, atol=1e-12)
    assert omes(factors, factors, one_sided=True) == pytest.approx(1.0, abs=1e-12)


def test_noise_scores_its_closed_form(grid):
    """All associations are 1: each distance is 1 less the one place where it should be."""
    noise = np.random.default_rng(0).normal(size=(len(grid), 6))
    score = omes(noise, grid)
    np.testing.assert_allclose(score.association, 1.0, atol=0.07)
    assert score == pytest.approx((1 / 3 + 1 / 6) / 2, abs=0.02)


def test_what_overlap_and_multiple_encoding_see(grid):
    """A code of two factors costs overlap; a copy of a code costs multiple encoding only."""
    aligned = omes(grid, grid, one_sided=True)
    merged = omes(grid[:, :1] + grid[:, 1:2], grid[:, :2], one_sided=True)
    copied = omes(np.hstack([grid, grid]), grid, one_sided=True)
    assert (merged.overlap < 0.5).all()
    np.testing.assert_allclose(copied.overlap, aligned.overlap, atol=1e-12)
    assert (copied.multiple_encoding < 0.9).all()


def test_rotation_lowers_it(grid):
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    score, aligned = omes(rotated, grid), omes(grid, grid)
    assert (score.per_factor[:2] < 0.5).all()
    assert score.per_factor[2] == pytest.approx(aligned.per_factor[2], abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.7, -1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(small_grid, constant):
    codes, factors = small_grid
    codes = codes.astype(np.float32)
    dead = np.full((len(codes), 1), constant, dtype=np.float32)
    padded = omes(np.hstack([dead, codes, dead]), factors)
    assert padded == omes(codes, factors)
    np.testing.assert_array_equal(padded.association[[0, -1]], 0.0)


def test_all_codes_constant_scores_nought(small_grid):
    for pooling in ("avg", "max"):
        assert omes(np.ones((60, 3)), small_grid[1], pooling=pooling).score == 0.0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_scale_and_order_of_factors(small_grid, data):
    codes, factors = small_grid
    D, K = codes.shape[1], factors.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-400, 400), min_size=D, max_size=D))
    columns = data.draw(st.permutations(range(K)))
    rows = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(codes))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    score = omes(changed[rows], factors[rows][:, columns])
    assert score == pytest.approx(omes(codes, factors).score, abs=1e-11)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_always_between_nought_and_one(seed, D, K, one_sided):
    rng = np.random.default_rng(seed)
    factors = np.vstack([np.zeros((1, K)), np.eye(K), rng.integers(3, size=(12, K))]).astype(int)
    score = omes(rng.integers(4, size=(len(factors), D)) / 7, factors, one_sided=one_sided)
    assert 0 <= score <= 1
    assert ((score.association >= 0) & (score.association <= 1)).all()


def test_code_that_is_constant_where_it_is_looked_at():
    """It varies only in rows that are in no pair of the factor: not moved by it."""
    base = np.stack(np.meshgrid(range(3), range(3)), axis=-1).reshape(-1, 2)
    factors = np.vstack([base, [[8, 9]]])
    codes = np.r_[np.full(9, 0.3), 5.0].reshape(-1, 1)
    score = omes(np.column_stack([codes, factors]), factors)
    np.testing.assert_array_equal(score.association[0], 0.0)


def test_published_pruning_goes_by_scale(small_grid):
    codes, factors = small_grid
    small = codes / codes.std(axis=0) * [0.04, 1.0, 1.0, 0.06]
    assert omes(small, factors, min_std=0.05).provenance["dropped"] == [0]
    assert omes(small, factors, min_std=0.05) == pytest.approx(
        omes(codes[:, 1:], factors).score, abs=1e-12
    )


def test_rows_with_a_missing_value_are_in_no_pair(small_grid):
    codes, factors = small_grid
    holed, wild = factors.astype(float), codes.copy()
    wild[:8] = 1e3
    holed[:8, 0], holed[3:6, 2] = np.nan, np.nan
    score = omes(np.vstack([wild[:8], codes[8:]]), holed)
    np.testing.assert_allclose(
        score.association, omes(codes[8:], factors[8:]).association, atol=1e-9
    )


def test_not_defined():
    diagonal = np.repeat(np.arange(5), 4)[:, None] * np.array([[1, 2]])
    with pytest.raises(NotDefinedError, match="differ in factor column 0 and agree"):
        omes(np.random.default_rng(0).normal(size=(20, 2)), diagonal)


@pytest.mark.parametrize(
    "settings_",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"alpha": "0.5"},
        {"alpha": float("nan")},
        {"pooling": "mean"},
        {"pooling": None},
        {"min_std": -1},
        {"factor_bins": 1},
    ],
)
def test_settings_out_of_range(small_grid, settings_):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* but got .*; pass"):
        omes(*small_grid, **settings_)
