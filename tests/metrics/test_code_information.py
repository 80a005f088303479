"""The mutual information of codes among themselves."""

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics import mutual_info_score

from disvae.metrics import EqualFrequency, Neighbours, code_mutual_information


@pytest.fixture(scope="module")
def correlated():
    rng = np.random.default_rng(0)
    return rng.normal(size=(800, 4)) @ rng.normal(size=(4, 4))


def test_reference_values(reference):
    """It sees where values on bin edges fall, which most metrics do not."""
    entries = reference.entries("mutual_info_score")
    assert len(entries) == 7
    for entry in entries:
        found = code_mutual_information(reference.case(entry["case"])["codes"])
        # Met to 1e-6 also where the stored tolerance allows for edges.
        assert found == pytest.approx(entry["value"], abs=1e-6), entry["case"]


def test_pairs_by_loops(correlated):
    found = code_mutual_information(correlated, bins=12)
    binned = [np.digitize(c, np.histogram_bin_edges(c, 12)[1:-1]) for c in correlated.T]
    expected = np.array([[mutual_info_score(a, b) for b in binned] for a in binned])
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found.information, expected, atol=1e-12)
    assert found == pytest.approx(expected.sum() / 12)
    assert found.provenance["bins"] == 12


def test_neighbours_equal_scikit_learn(correlated):
    found = code_mutual_information(correlated, estimator=Neighbours(), rng=9)
    expected = [mutual_info_regression(correlated, c, random_state=0) for c in correlated.T]
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found.information[off], np.array(expected)[off], atol=1e-6)
    assert found.provenance["seed"] == 9
    assert found.provenance["k"] == 3


def test_normal_codes_in_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5000))
    codes = np.column_stack([x, 0.8 * x + 0.6 * y])
    exact = -np.log(0.6)
    assert code_mutual_information(codes, estimator=Neighbours()) == pytest.approx(exact, abs=0.03)
    # Bins lose some of it, and gain (B − 1)²/(2N).
    counted = code_mutual_information(codes, estimator=EqualFrequency())
    assert counted == pytest.approx(exact + 19**2 / 10_000, abs=0.05)


def test_copies_share_their_entropy():
    code = np.arange(400) % 5
    found = code_mutual_information(np.column_stack([code, -3 * code, code // 4]))
    half = 0.2 * np.log(5) + 0.8 * np.log(1.25)
    assert found == pytest.approx((np.log(5) + 2 * half) / 3)


@pytest.mark.parametrize("estimator", [None, Neighbours()])
def test_dead_codes_and_the_order_change_nothing(correlated, estimator):
    dead = np.full((800, 1), -4.2)
    plain = code_mutual_information(correlated, estimator=estimator)
    padded = code_mutual_information(
        np.hstack([dead, correlated[:, ::-1], dead]), estimator=estimator
    )
    assert padded == pytest.approx(plain.score, abs=1e-12)
    assert padded.provenance["dropped"] == [0, 5]
    np.testing.assert_allclose(
        padded.information[1:-1, 1:-1], plain.information[::-1, ::-1], atol=1e-12
    )


@pytest.mark.parametrize("codes", [np.ones((9, 3)), np.arange(9.0)[:, None], [[1.0, 2.0]]])
def test_a_single_code_shares_nothing(codes):
    assert code_mutual_information(codes).score == 0.0


def test_two_rows():
    assert code_mutual_information([[0, 1], [1, 5]]) == pytest.approx(np.log(2))
    assert code_mutual_information([[0, 1], [1, 5]], estimator=Neighbours()) == 0.0


def test_needs_codes_and_an_estimator(correlated):
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        code_mutual_information(correlated[0])
    with pytest.raises(TypeError, match="Expected estimator"):
        code_mutual_information(correlated, estimator="bins")
    with pytest.raises(ValueError, match="Expected bins"):
        code_mutual_information(correlated, bins=1)
