"""Matching the dimensions of two models, against all assignments tried one by one."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import match


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_finds_the_permutation_and_the_signs(data):
    D = data.draw(st.integers(1, 7))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    a = rng.normal(size=(80, D))
    order = np.array(data.draw(st.permutations(range(D))))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=D, max_size=D)))
    scales = 2.0 ** np.array(data.draw(st.lists(st.integers(-300, 300), min_size=D, max_size=D)))
    b = np.empty_like(a)
    b[:, order] = a * signs * scales + 0.01 * rng.normal(size=a.shape) * scales
    found = match(a, b)
    np.testing.assert_array_equal(found.permutation, order)
    np.testing.assert_array_equal(found.sign, signs)
    assert (found.correlation > 0.99).all()
    aligned = b[:, found.permutation] * found.sign / scales
    np.testing.assert_allclose(aligned, a, atol=0.1)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4), (4, 1)])
def test_is_the_best_of_all_assignments(shape):
    rng = np.random.default_rng(sum(shape))
    D_a, D_b = shape
    v = rng.normal(size=(60, 4))
    a, b = v @ rng.normal(size=(4, D_a)), v @ rng.normal(size=(4, D_b))
    table = np.abs(np.corrcoef(a, b, rowvar=False)[:D_a, D_a:])
    small = min(shape)
    if D_a <= D_b:
        best = max(table[range(small), p].sum() for p in permutations(range(D_b), small))
    else:
        best = max(table[p, range(small)].sum() for p in permutations(range(D_a), small))
    found = match(a, b)
    assert found.correlation.sum() == pytest.approx(best, abs=1e-12)
    matched = found.permutation >= 0
    assert matched.sum() == small
    assert len(set(found.permutation[matched])) == small
    np.testing.assert_allclose(
        found.correlation[matched], table[matched, found.permutation[matched]], atol=1e-12
    )
    assert (found.sign[~matched] == 0).all()
    assert (found.correlation[~matched] == 0).all()


def test_the_greedy_choice_is_not_taken():
    """The best single pair forces a useless second one."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5000))
    a = np.column_stack([x, x + 0.6 * y])
    b = np.column_stack([x + 0.3 * y, x + 2 * y])
    assert match(a, b).permutation.tolist() == [0, 1]
    assert match(a[:, ::-1], b).permutation.tolist() == [1, 0]


def test_ranks_see_monotone_functions():
    a = np.random.default_rng(0).normal(size=(500, 3))
    b = np.column_stack([np.exp(5 * a[:, 2]), a[:, 0] ** 9, -np.exp(8 * a[:, 1])])
    found = match(a, b, ranks=True)
    np.testing.assert_allclose(found.correlation, 1.0, atol=1e-12)
    assert found.permutation.tolist() == [1, 2, 0]
    assert found.sign.tolist() == [1, -1, 1]
    assert match(a, b).correlation.max() < 0.9


def test_constant_codes_are_matched_last():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200, 3))
    b = np.column_stack([np.ones(200), a[:, 2], np.full(200, 1e9), -a[:, 0]])
    a[:, 1] = 0.3
    found = match(a, b)
    assert found.permutation[[0, 2]].tolist() == [3, 1]
    assert found.permutation[1] in (0, 2)
    assert found.sign.tolist() == [-1, 0, 1]
    np.testing.assert_allclose(found.correlation, [1.0, 0.0, 1.0], atol=1e-12)


def test_result_is_read_only():
    a = np.random.default_rng(0).normal(size=(20, 2))
    for array in match(a, a):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_what_does_not_fit():
    a = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="20 and 19") as caught:
        match(a, a[1:])
    assert str(caught.value).startswith("Expected ")
    with pytest.raises(ValueError, match="finite"):
        match(a, np.full((20, 2), np.inf))
    with pytest.raises(ValueError, match="one-dimensional"):
        match(a[:, 0], a)
