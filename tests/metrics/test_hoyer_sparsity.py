"""Hoyer sparsity against its definition, and the value of normal codes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import NotDefinedError, hoyer_sparsity


def plain_loop(codes):
    D = codes.shape[1]
    values = []
    for row in codes / codes.std(axis=0):
        ratio = np.abs(row).sum() / np.sqrt((row**2).sum())
        values.append((np.sqrt(D) - ratio) / (np.sqrt(D) - 1))
    return np.array(values)


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(200, 5)) * [1e-3, 1.0, 7.0, 0.1, 50.0] + [0, 1, 0, 0.3, 0]
    score = hoyer_sparsity(codes)
    np.testing.assert_allclose(score.per_row, plain_loop(codes), atol=1e-12)
    assert score == pytest.approx(plain_loop(codes).mean(), abs=1e-12)


def test_one_code_a_row_is_sparse_and_equal_codes_are_not():
    one_hot = np.eye(4)[np.arange(40) % 4] * np.where(np.arange(40) % 8 < 4, 1, -1)[:, None]
    assert hoyer_sparsity(one_hot) == pytest.approx(1.0, abs=1e-12)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(400, 6))
    # Each row is a vector of signs over standard deviations near 1.
    assert hoyer_sparsity(signs) == pytest.approx(0.0, abs=1e-3)


def test_gaussian_baseline_of_many_codes():
    codes = np.random.default_rng(0).normal(size=(3, 4000))
    expected = (1 - np.sqrt(2 / np.pi)) * np.sqrt(4000) / (np.sqrt(4000) - 1)
    assert hoyer_sparsity(codes).gaussian == pytest.approx(expected, abs=1e-4)


def test_a_collapsed_code_does_not_pass_for_sparsity():
    codes = np.random.default_rng(0).normal(size=(500, 6))
    squeezed = codes * [1, 1e-8, 1e-8, 1, 1e-8, 1e-8]
    assert hoyer_sparsity(squeezed) == pytest.approx(hoyer_sparsity(codes).score, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.7, -1e30])
def test_dead_codes_at_either_end_change_nothing(constant):
    codes = np.random.default_rng(0).normal(size=(300, 4))
    dead = np.full((300, 1), constant)
    padded, score = hoyer_sparsity(np.hstack([dead, codes, dead])), hoyer_sparsity(codes)
    assert padded == score
    assert padded.gaussian == score.gaussian
    assert padded.provenance["dropped"] == [0, 5]


def test_rows_of_zeros_are_left_out():
    codes = np.random.default_rng(0).normal(size=(100, 3))
    codes[::4] = 0.0
    score = hoyer_sparsity(codes)
    assert np.isnan(score.per_row[::4]).all()
    assert score == pytest.approx(np.nanmean(score.per_row))
    assert score.provenance["zero_rows"] == 25


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes(data):
    codes = np.random.default_rng(3).normal(size=(50, 4)) ** 3
    order = data.draw(st.permutations(range(4)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4))
    exponents = data.draw(st.lists(st.integers(-900, 900), min_size=4, max_size=4))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    assert hoyer_sparsity(changed) == pytest.approx(hoyer_sparsity(codes).score, abs=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 30))
def test_always_between_nought_and_one(seed, D, N):
    codes = np.random.default_rng(seed).integers(-2, 3, size=(N, D)).astype(float)
    codes[:2] = [[0.0], [1.0]]
    assert 0 <= hoyer_sparsity(codes) <= 1


@pytest.mark.parametrize("codes", [np.ones((5, 3)), [[1.0], [2.0]], [[1.0, 3.0], [2.0, 3.0]]])
def test_fewer_than_two_codes_are_not_defined(codes):
    with pytest.raises(NotDefinedError, match="at least two codes that vary"):
        hoyer_sparsity(codes)
