"""Information from neighbours against scikit-learn, brute force and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from disvae.metrics import Neighbours, NotDefinedError, mig, mutual_information
from disvae.metrics.neighbours import Ranked


def draw(seed, N, sizes):
    """Three codes, one of them noise, and one factor of each size; no two values nearly alike."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(size, size=N) for size in sizes], axis=1)
    codes = rng.normal(size=(N, 3))
    codes[:, 0] += factors[:, 0]
    codes[:, 1] = 40 - 5 * codes[:, 1] * (1 + factors[:, -1])
    return codes, factors


def by_definition(code, factor, k):
    """Ross's estimate, row by row, on a code without ties."""
    code = (code - code.mean()) / code.std()
    kept = np.isin(factor, [c for c in np.unique(factor) if (factor == c).sum() > 1])
    code, factor = code[kept], factor[kept]
    terms = []
    for i, (x, c) in enumerate(zip(code, factor, strict=True)):
        own = np.sort(np.abs(np.delete(code, i)[np.delete(factor, i) == c] - x))
        neighbours = min(k, len(own))
        nearer = (np.abs(code - x) < own[neighbours - 1]).sum()
        terms.append(digamma(neighbours) - digamma(len(own) + 1) - digamma(nearer))
    return max(0.0, digamma(len(code)) + np.mean(terms))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_classes_equal_scikit_learn(k):
    codes, factors = draw(0, 600, (2, 3, 12))
    found = mutual_information(codes, factors, estimator=Neighbours(k), rng=5)
    expected = [
        mutual_info_classif(codes, f, discrete_features=False, n_neighbors=k, random_state=0)
        for f in factors.T
    ]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-6)
    assert found.max() > 0.1


@pytest.mark.parametrize("k", [1, 3, 10])
def test_small_classes_equal_the_definition(k):
    """Classes of one row, of fewer than k, and of up to 2k.

    There scikit-learn goes by squared distances, whose rounding decides on the k-th neighbour.
    """
    for seed, N, sizes in [(1, 120, (5, 30)), (2, 61, (4, 40))]:
        codes, factors = draw(seed, N, sizes)
        found = mutual_information(codes, factors, estimator=Neighbours(k))
        expected = [[by_definition(c, f, k) for f in factors.T] for c in codes.T]
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_continuous_factors_equal_scikit_learn(k):
    codes, _ = draw(3, 500, (3,))
    factors = np.stack([codes[:, 0] ** 3 + codes[:, 2], np.sin(codes[:, 1])], axis=1)
    found = mutual_information(
        codes, factors, discrete=False, factor_bins=None, estimator=Neighbours(k)
    )
    expected = [
        mutual_info_regression(codes, f, discrete_features=False, n_neighbors=k, random_state=0)
        for f in factors.T
    ]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-6)
    assert found.max() > 0.5


def test_mixed_factors_take_the_estimate_of_their_kind():
    codes, classes = draw(4, 300, (3, 5))
    mixed = np.column_stack([classes[:, 0], codes[:, 2] + 0.3 * classes[:, 1]])
    found = mutual_information(
        codes, mixed, discrete=[True, False], factor_bins=None, estimator=Neighbours()
    )
    expected = np.transpose(
        [
            mutual_info_classif(codes, classes[:, 0], random_state=0),
            mutual_info_regression(codes, mixed[:, 1], random_state=0),
        ]
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_binned_continuous_factors_are_classes():
    codes, _ = draw(5, 300, (3,))
    factor = codes[:, 2:] + 0.5 * np.tanh(codes[:, :1])
    edges = np.histogram_bin_edges(factor, 3)
    expected = mutual_info_classif(codes, np.digitize(factor[:, 0], edges[:-1]), random_state=0)
    found = mutual_information(codes, factor, discrete=False, factor_bins=3, estimator=Neighbours())
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("discrete", [True, False])
def test_missing_values_leave_out_their_rows(discrete):
    codes, factors = draw(6, 400, (5,))
    factor = factors[:, 0] + (0.0 if discrete else codes[:, 2])
    holed = factor.copy()
    holed[::3] = np.nan
    kept = ~np.isnan(holed)
    sklearn = mutual_info_classif if discrete else mutual_info_regression
    found = mutual_information(
        codes,
        np.column_stack([holed, factor]),
        discrete=discrete,
        factor_bins=None,
        estimator=Neighbours(),
    )
    np.testing.assert_allclose(
        found,
        np.transpose(
            [
                sklearn(codes[kept], factor[kept], random_state=0),
                sklearn(codes, factor, random_state=0),
            ]
        ),
        atol=1e-6,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_nearer_is_decided_by_the_difference(data):
    """Values a few units in the last place apart, with copies, at magnitudes that round."""
    N = data.draw(st.integers(2, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    start = data.draw(st.sampled_from([0.0, 1.0, -3.0, 0.1]))
    step = data.draw(st.sampled_from([2.0**-52, 2.0**-50, 0.1, 1e-10]))
    values = start + step * rng.integers(-20, 20, size=N)
    # Limits that are themselves differences, and the numbers just below and above these.
    limit = np.abs(values - rng.permutation(values))
    limit = np.nextafter(limit, rng.choice([0.0, np.inf, np.nan], size=N))
    limit = np.where(np.isnan(limit), np.abs(values - values[0]), limit)
    expected = (np.abs(values[:, None] - values) <= limit[:, None]).sum(axis=1)
    ranked = Ranked.of(values)
    np.testing.assert_array_equal(ranked.nearer(limit), expected[ranked.order])


def test_overlapping_uniforms():
    """Two classes, uniform on [0, 1) and [1/2, 3/2): half of the rows tell, so I = ln(2)/2."""
    rng = np.random.default_rng(0)
    factor = rng.integers(2, size=(4000, 1))
    code = rng.uniform(size=(4000, 1)) + 0.5 * factor
    found = mutual_information(code, factor, estimator=Neighbours())
    assert found[0, 0] == pytest.approx(np.log(2) / 2, abs=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.6, -0.95])
def test_bivariate_normal(correlation):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4000))
    y = correlation * x + np.sqrt(1 - correlation**2) * y
    found = mutual_information(x[:, None], y[:, None], factor_bins=None, estimator=Neighbours())
    assert found[0, 0] == pytest.approx(-0.5 * np.log(1 - correlation**2), abs=0.03)


def test_tied_codes_agree_with_scikit_learn_over_the_noise():
    """The noise is drawn otherwise, so only its distribution is the same."""
    rng = np.random.default_rng(0)
    factor = rng.integers(4, size=(300, 1))
    code = np.where(rng.uniform(size=(300, 1)) < 0.8, factor, rng.integers(4, size=(300, 1)))
    ours = [mutual_information(code, factor, estimator=Neighbours(), rng=s) for s in range(30)]
    theirs = [mutual_info_classif(code, factor[:, 0], random_state=s) for s in range(30)]
    spread = np.std(ours) + np.std(theirs)
    assert np.std(ours) > 0
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=spread / np.sqrt(30) * 3)


def test_without_ties_the_seed_does_not_matter():
    codes, factors = draw(7, 200, (3,))
    first, second = (mig(codes, factors, estimator=Neighbours(), rng=seed) for seed in (0, 1))
    np.testing.assert_allclose(first.information, second.information, atol=1e-12)
    assert (first.provenance["seed"], second.provenance["seed"]) == (0, 1)


def test_ties_are_broken_alike_for_every_order_and_beside_dead_codes():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(200, 2))
    codes = (factors[:, [0, 1, 0]] + rng.integers(2, size=(200, 3))).astype(float)
    dead = np.full((200, 1), 0.7)
    plain = mutual_information(codes, factors, estimator=Neighbours())
    moved = mutual_information(
        np.hstack([dead, codes[:, ::-1], dead]), factors[:, ::-1], estimator=Neighbours()
    )
    np.testing.assert_array_equal(moved[1:-1], plain[::-1, ::-1])
    np.testing.assert_array_equal(moved[[0, -1]], 0.0)


def test_an_aligned_code_knows_the_entropy_and_no_share_exceeds_one():
    factors = np.repeat(np.arange(20), 10).reshape(-1, 1)
    score = mig(factors, factors, estimator=Neighbours())
    assert score.information[0, 0] >= score.entropy[0]
    assert score == 1.0


def test_a_code_that_is_constant_where_the_factor_is_known():
    rng = np.random.default_rng(0)
    code = rng.normal(size=(100, 1))
    code[:60] = 0.3
    for discrete in (True, False):
        factor = rng.integers(3, size=(100, 1)) + (0.0 if discrete else rng.normal(size=(100, 1)))
        factor[60:] = np.nan
        found = mutual_information(
            code, factor, discrete=discrete, factor_bins=None, estimator=Neighbours()
        )
        assert 0 <= found[0, 0] < 0.2


def test_two_rows():
    codes = np.array([[0.0], [1.0]])
    assert mutual_information(
        codes, codes, discrete=False, factor_bins=None, estimator=Neighbours()
    )[0, 0] == pytest.approx(0.0)
    with pytest.raises(NotDefinedError, match="at least two rows share") as caught:
        mutual_information(codes, codes, estimator=Neighbours())
    assert caught.value.reason == "factor column 0 has no two rows alike"
    assert 25 <= len(str(caught.value)) <= 400


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales(scale):
    codes, factors = draw(8, 200, (4,))
    codes -= codes.mean(axis=0)
    expected = mutual_information(codes, factors, estimator=Neighbours())
    found = mutual_information(codes * scale, factors, estimator=Neighbours())
    np.testing.assert_allclose(found, expected, atol=1e-9)
