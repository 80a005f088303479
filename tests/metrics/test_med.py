"""MED against a plain loop of its definition."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from disvae.metrics import Neighbours, med


def plain_loop(codes, factors, top_k=None, bins=20):
    """The published procedure, a pair at a time."""
    D, K = codes.shape[1], factors.shape[1]
    importance = np.zeros((D, K))
    for d in range(D):
        edges = np.histogram_bin_edges(codes[:, d], bins)[:-1]
        for k in range(K):
            importance[d, k] = mutual_info_score(factors[:, k], np.digitize(codes[:, d], edges))
    importance /= importance.sum(axis=0)
    shares = importance / importance.sum(axis=1, keepdims=True)
    entropies = np.array([-sum(p * np.log(p) for p in row if p > 0) for row in shares])
    per_code = 1 - entropies / np.log(K)
    kept = list(range(D))
    if top_k is not None:
        kept = []
        for k in range(K):
            own = [d for d in range(D) if importance[d].argmax() == k]
            kept += sorted(own, key=lambda d: -per_code[d])[:top_k]
    weights = importance[kept].sum(axis=1)
    return float(weights @ per_code[kept] / weights.sum()), sorted(kept)


@pytest.fixture(scope="module")
def many():
    """Nine codes, several of them for the same factor."""
    rng = np.random.default_rng(5)
    factors = rng.integers([3, 5, 7], size=(1000, 3))
    codes = factors @ rng.normal(size=(3, 9)) ** 3 + rng.normal(size=(1000, 9))
    return codes, factors


@pytest.mark.parametrize("top_k", [None, 1, 2, 100])
def test_equals_a_plain_loop(many, top_k):
    score = med(*many, top_k=top_k)
    expected, kept = plain_loop(*many, top_k)
    assert score == pytest.approx(expected, abs=1e-9)
    assert np.flatnonzero(score.selected).tolist() == kept
    assert score.importance.sum(axis=0) == pytest.approx(1.0)


def test_top_k_finds_the_disentangled_part(many):
    """A code per factor among mixed ones."""
    codes, factors = many
    mixed = np.hstack([codes, factors])
    assert med(mixed, factors) < 0.7
    best = med(mixed, factors, top_k=1)
    assert best > 0.9  # bins of noise know a little of everything
    assert np.flatnonzero(best.selected).tolist() == [9, 10, 11]


def test_aligned_chance_and_rotated(grid):
    rng = np.random.default_rng(0)
    assert med(-2.0 * grid, grid) == pytest.approx(1.0)
    c = np.sqrt(0.5)
    rotated = med(grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]]), grid)
    assert 0.4 < rotated < 0.7
    assert med(rng.normal(size=(2048, 4)), grid) < 0.05


@pytest.mark.parametrize("top_k", [None, 1])
def test_what_changes_nothing(many, top_k):
    codes, factors = many
    alone = med(codes, factors, top_k=top_k)
    order = np.random.default_rng(0).permutation(9)
    scaled = codes[:, order] * 2.0 ** np.arange(-4, 5)
    changed = med(scaled, factors[:, ::-1], top_k=top_k)
    assert changed == pytest.approx(alone, abs=1e-12)
    dead = np.full((1000, 1), 0.7)
    padded = med(np.hstack([dead, codes, dead]), factors, top_k=top_k)
    assert padded == pytest.approx(alone, abs=1e-12)
    assert not padded.selected[[0, -1]].any()
    twice = med(np.repeat(codes, 2, axis=1), factors, top_k=None if top_k is None else 2)
    assert twice == pytest.approx(alone, abs=1e-9)


def test_nothing_known_and_one_factor(many):
    codes, factors = many
    assert med(np.ones((1000, 2)), factors) == 0.0
    assert med(codes, factors[:, :1]) == 1.0


def test_another_estimator(many):
    codes, factors = many
    found = med(codes[:300], factors[:300], estimator=Neighbours(k=3), top_k=2)
    assert found.provenance["estimator"] == "k nearest neighbours"
    assert found.provenance["top_k"] == 2
    assert found != med(codes[:300], factors[:300], top_k=2)


def test_refusals(many):
    with pytest.raises(ValueError, match="Expected top_k to be at least 1, but got 0"):
        med(*many, top_k=0)
