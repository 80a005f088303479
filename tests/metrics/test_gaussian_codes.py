"""The two distances of normal codes from independent ones, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from disvae.metrics import gaussian_total_correlation, gaussian_wasserstein


def with_covariance(covariance, n=500, seed=0):
    """Codes whose sample covariance is exactly this one (up to rounding)."""
    white = np.random.default_rng(seed).normal(size=(n, len(covariance)))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False)).T)
    return white @ np.linalg.cholesky(covariance).T


def random_covariance(D, seed):
    root = np.random.default_rng(seed).normal(size=(D, D))
    return root @ root.T + 0.1 * np.eye(D)


def test_reference_values(reference):
    for metric, name in (
        (gaussian_total_correlation, "gaussian_total_correlation"),
        (gaussian_wasserstein, "gaussian_wasserstein_correlation"),
    ):
        entries = reference.entries(name)
        assert len(entries) >= 5
        for entry in entries:
            score = metric(reference.case(entry["case"])["codes"])
            assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.9, 0.999999])
def test_two_codes(rho):
    codes = with_covariance(np.array([[4.0, 2 * rho], [2 * rho, 1.0]]))
    total = gaussian_total_correlation(codes)
    assert total == pytest.approx(-0.5 * np.log1p(-(rho**2)), rel=1e-6, abs=1e-12)
    assert total.correlation[0, 1] == pytest.approx(rho, abs=1e-9)
    # The root of a 2 by 2 matrix has trace √(trace + 2 √determinant), here of [[16, 4ρ], [4ρ, 1]].
    expected = 2 * 5 - 2 * np.sqrt(17 + 2 * np.sqrt(16 - 16 * rho**2))
    distance = gaussian_wasserstein(codes)
    assert distance == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(distance.covariance, [[4, 2 * rho], [2 * rho, 1]], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_any_covariance(seed):
    """Against the divergence and the distance of the two normal distributions."""
    covariance = random_covariance(5, seed)
    codes = with_covariance(covariance) + 30.0
    marginals = np.diag(np.diag(covariance))
    kl = 0.5 * (
        np.trace(np.linalg.solve(marginals, covariance))
        - 5
        + np.log(np.linalg.det(marginals) / np.linalg.det(covariance))
    )
    assert gaussian_total_correlation(codes) == pytest.approx(kl, rel=1e-8)
    root = sqrtm(marginals)
    w2 = np.trace(covariance + marginals - 2 * sqrtm(root @ covariance @ root)).real
    distance = gaussian_wasserstein(codes)
    assert distance == pytest.approx(w2, rel=1e-6)
    assert distance.normalised == pytest.approx(w2 / np.trace(covariance), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_copies_of_a_code(dtype):
    codes = (1000 * np.random.default_rng(0).normal(size=(400, 3))).astype(dtype)
    for copy in (codes[:, 0] * 2, -codes[:, 1], (codes[:, 0] + codes[:, 1]).astype(dtype)):
        doubled = np.column_stack([codes, copy])
        assert gaussian_total_correlation(doubled).score == np.inf
        assert np.isfinite(gaussian_wasserstein(doubled))
    # Of two copies of unit variance: 4 - 2 √2.
    unit = (codes[:, :1] / codes[:, :1].std(ddof=1)).astype(np.float64)
    assert gaussian_wasserstein(np.hstack([unit, unit])) == pytest.approx(4 - 2 * np.sqrt(2))


def test_near_copies_are_not_copies():
    """The correlation differs from 1 by 5e-17: lost to rounding, unlike the codes."""
    x, noise = with_covariance(np.eye(2)).T
    codes = np.column_stack([x, x + 1e-8 * noise])
    assert gaussian_total_correlation(codes) == pytest.approx(-np.log(1e-8), abs=1e-5)


def test_no_more_rows_than_codes_are_dependent():
    rng = np.random.default_rng(0)
    assert gaussian_total_correlation(rng.normal(size=(4, 4))).score == np.inf
    assert gaussian_total_correlation(rng.normal(size=(3, 8))).score == np.inf
    assert np.isfinite(gaussian_total_correlation(rng.normal(size=(6, 4))))
    assert np.isfinite(gaussian_wasserstein(rng.normal(size=(3, 8))))


def test_bias_of_few_rows():
    rng = np.random.default_rng(0)
    values = [gaussian_total_correlation(rng.normal(size=(200, 6))).score for _ in range(200)]
    assert np.mean(values) == pytest.approx(6 * 5 / (4 * 200), rel=0.05)


@pytest.mark.parametrize("metric", [gaussian_total_correlation, gaussian_wasserstein])
@pytest.mark.parametrize("constant", [0.0, 0.7, -1e30])
def test_dead_codes_at_either_end_change_nothing(metric, constant):
    codes = with_covariance(random_covariance(4, 0))
    dead = np.full((len(codes), 1), constant)
    padded = metric(np.hstack([dead, codes, dead]))
    assert padded == pytest.approx(metric(codes).score, abs=1e-12)
    assert padded.provenance["dropped"] == [0, 5]


@pytest.mark.parametrize("metric", [gaussian_total_correlation, gaussian_wasserstein])
@pytest.mark.parametrize("codes", [np.ones((5, 3)), [[1.0, 2.0]], [[1.0], [2.0], [4.0]]])
def test_fewer_than_two_codes_have_no_dependence(metric, codes):
    assert metric(codes).score == 0.0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_invariances(data):
    D = 4
    codes = with_covariance(random_covariance(D, 1), n=60)
    order = data.draw(st.permutations(range(D)))
    signs = np.array(data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D)))
    scales = 2.0 ** np.array(data.draw(st.lists(st.integers(-300, 300), min_size=D, max_size=D)))
    common = 2.0 ** data.draw(st.integers(-300, 300))
    shift = data.draw(st.floats(-100, 100))
    total = gaussian_total_correlation(codes).score
    changed = gaussian_total_correlation((codes * signs * scales)[:, order])
    assert changed == pytest.approx(total, abs=1e-10)
    assert gaussian_total_correlation(codes + shift) == pytest.approx(total, abs=1e-10)
    distance = gaussian_wasserstein(codes)
    changed = gaussian_wasserstein((codes * signs * common + shift * common)[:, order])
    assert changed == pytest.approx(distance.score * common**2, rel=1e-9)
    assert changed.normalised == pytest.approx(distance.normalised, rel=1e-9)


def test_distance_beyond_the_range_of_a_float():
    codes = with_covariance(random_covariance(3, 0))
    huge = gaussian_wasserstein(codes * 1e200)
    assert huge.score == np.inf
    assert huge.normalised == pytest.approx(gaussian_wasserstein(codes).normalised)
    assert not np.isnan(huge.covariance).any()


def test_what_a_label_free_score_carries():
    score = gaussian_total_correlation(with_covariance(np.eye(3)))
    assert repr(score) == "Gaussian total correlation 0.0000 (N=500, D=3)"
    assert {"metric", "n", "codes", "dropped", "seed", "versions"} <= score.provenance.keys()
    assert "factors" not in score.provenance
    assert score.correlation.flags.writeable is False
