"""The RF-VAE score against a plain loop, closed forms, and its known limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import NotDefinedError, rf_vae_score

FEW = {"train_votes": 300, "eval_votes": 200, "batch_size": 8}


@pytest.fixture(scope="module")
def partial_grid():
    """Rows of a small grid, repeated unevenly and with holes, and codes that mix its factors."""
    rng = np.random.default_rng(0)
    factors = rng.integers([3, 4, 5], size=(400, 3))
    codes = factors + 0.4 * rng.normal(size=factors.shape)
    return codes + 0.6 * np.roll(codes, 1, axis=1), factors


def plain_loop(codes, factors, votes, rng, batch_size=64):
    """The published procedure, a vote at a time."""
    K = factors.shape[1]
    spread = codes.var(axis=0)
    groups = []
    for k in range(K):
        others = np.delete(factors, k, axis=1)
        alike = [np.flatnonzero((others == row).all(axis=1)) for row in others]
        groups.append([rows for rows in alike if len(set(factors[rows, k])) > 1])
    cast = []
    for _ in range(votes):
        k = rng.integers(K)
        rows = groups[k][rng.integers(len(groups[k]))]
        batch = codes[rng.choice(rows, size=batch_size)]
        cast.append((np.argmax(batch.var(axis=0) / spread), k))
    return cast


def test_equals_a_plain_loop(partial_grid):
    """Shares of the votes in each cell, within 4 standard errors of the difference."""
    codes, factors = partial_grid
    votes, loops = 4000, 3000
    score = rf_vae_score(codes, factors, train_votes=votes, eval_votes=4000)
    counts = np.zeros(score.votes.shape)
    for vote in plain_loop(codes, factors, loops, np.random.default_rng(5)):
        counts[vote] += 1
    share, expected = score.votes / votes, counts / loops
    error = np.sqrt(expected * (1 - expected) * (1 / votes + 1 / loops)) + 1 / loops
    assert (np.abs(share - expected) < 4 * error).all()
    assert (score.votes.max(axis=0) < score.votes.sum(axis=0)).any()  # not a trivial comparison
    assert score == pytest.approx(counts.max(axis=1).sum() / loops, abs=0.04)


def test_aligned_codes_score_one(grid):
    score = rf_vae_score(-3.0 * grid[:, ::-1] + 7.0, grid)
    assert score == 1.0
    assert score.factor_of_code.tolist() == [2, 1, 0]


def test_two_of_three_codes_rotated_give_two_thirds(grid):
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    scores = [rf_vae_score(rotated, grid, rng=seed).score for seed in range(3)]
    assert np.mean(scores) == pytest.approx(0.67, abs=0.03)


def test_noise_scores_about_one_in_k(grid):
    rng = np.random.default_rng(0)
    scores = [rf_vae_score(rng.normal(size=(len(grid), 6)), grid, rng=s) for s in range(4)]
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.05)


def test_local_variance_is_over_global_variance(grid):
    """Undivided, the wide code would win every vote: 1/3."""
    assert rf_vae_score(grid * [1e3, 1.0, 1e-3] + grid[:, [1, 2, 0]] * 1e-4, grid) == 1.0


def test_a_code_of_several_factors_does_not_win_from_the_narrower_one():
    """Where all others are fixed nothing but the chosen factor moves any code."""
    factors = np.random.default_rng(0).integers(4, size=(3000, 2))
    codes = np.column_stack([factors[:, 0], factors[:, 0] + 10.0 * factors[:, 1]])
    score = rf_vae_score(codes, factors)
    assert score == 1.0
    assert score.factor_of_code.tolist() == [0, 1]


@pytest.mark.parametrize("constant", [0.0, 0.7, 1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(partial_grid, constant):
    codes, factors = partial_grid
    codes = codes.astype(np.float32)
    dead = np.full((len(codes), 1), constant, dtype=np.float32)
    padded = rf_vae_score(np.hstack([dead, codes, dead]), factors)
    assert padded == rf_vae_score(codes, factors)
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]
    assert padded.factor_of_code[[0, -1]].tolist() == [-1, -1]


def test_all_codes_constant_scores_nought(partial_grid):
    _, factors = partial_grid
    assert rf_vae_score(np.ones((len(factors), 3)), factors).score == 0.0


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes(partial_grid, data):
    codes, factors = partial_grid
    D = codes.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-500, 500), min_size=D, max_size=D))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    assert rf_vae_score(changed, factors, **FEW) == rf_vae_score(codes, factors, **FEW)


def test_published_pruning_goes_by_scale(grid):
    codes = grid * np.array([1e-9, -0.02, 1e6])
    assert rf_vae_score(codes, grid) == 1.0
    pruned = rf_vae_score(codes, grid, min_std=0.05)
    # The second code has a standard deviation of 0.09 and a variance of 0.008.
    assert pruned.provenance["dropped"] == [0]
    assert rf_vae_score(grid * 1e-300, grid, min_std=0.05).provenance["dropped"] == [0, 1, 2]
    assert rf_vae_score(grid * 1e300, grid, min_std=0.05) == 1.0


def test_rows_with_a_missing_value_are_not_drawn(grid):
    """Their codes are wild, whichever of the factors is missing."""
    factors, codes = grid.astype(float), grid.astype(float)
    codes[:900] = 100 * np.random.default_rng(0).normal(size=(900, 3))
    for k in range(3):
        factors[300 * k : 300 * (k + 1), k] = np.nan
    assert rf_vae_score(codes, factors) == 1.0


def test_groups_without_variation_are_not_drawn():
    """Copies of a row agree in all factors: a batch of them says nothing of any factor."""
    base = np.stack(np.meshgrid(range(3), range(3)), axis=-1).reshape(-1, 2)
    lonely = np.repeat([[7, 8]], 500, axis=0)
    factors = np.vstack([base, lonely])
    codes = np.vstack([base, np.random.default_rng(0).normal(size=(500, 2)) * 5]).astype(float)
    codes[9:, 0] *= 1e3
    assert rf_vae_score(codes, factors) == 1.0


def test_many_factors_of_many_values_do_not_overflow():
    """The product of their sizes is 10^24, beyond 64 bits."""
    rng = np.random.default_rng(0)
    base = rng.integers(1000, size=(300, 8))
    base[:1000] = base[:1000]
    factors = np.vstack([base, *(base + np.eye(8, dtype=int)[k] for k in range(8))])
    score = rf_vae_score(factors, factors)
    assert score == 1.0


def test_continuous_factors_are_binned():
    v = np.random.default_rng(0).uniform(size=(5000, 2))
    score = rf_vae_score(v[:, ::-1], v)
    assert score == 1.0
    assert score.factor_of_code.tolist() == [1, 0]


def test_deterministic_for_a_seed_and_not_otherwise(partial_grid):
    assert rf_vae_score(*partial_grid, rng=3) == rf_vae_score(*partial_grid, rng=3)
    assert rf_vae_score(*partial_grid, rng=3) != rf_vae_score(*partial_grid, rng=4)


def test_not_defined():
    rng = np.random.default_rng(0)
    with pytest.raises(NotDefinedError, match="at least two factors"):
        rf_vae_score(rng.normal(size=(9, 2)), rng.integers(2, size=(9, 1)) + np.arange(9)[:, None])
    diagonal = np.repeat(np.arange(5), 4)[:, None] * np.array([[1, 2]])
    with pytest.raises(NotDefinedError, match="differ in factor column 0 and agree") as caught:
        rf_vae_score(rng.normal(size=(20, 2)), diagonal)
    assert caught.value.reason == "no rows differ in factor column 0 alone"
    apart = np.array([[0, np.nan], [1, np.nan], [np.nan, 0], [np.nan, 1]])
    with pytest.raises(NotDefinedError, match="none of 0 do"):
        rf_vae_score(rng.normal(size=(4, 2)), apart)


@pytest.mark.parametrize(
    "settings_",
    [
        {"train_votes": 0},
        {"eval_votes": -1},
        {"batch_size": 1},
        {"batch_size": 64.0},
        {"min_std": -0.1},
        {"min_std": float("nan")},
        {"factor_bins": 1},
    ],
)
def test_settings_out_of_range(partial_grid, settings_):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* but got .*; pass"):
        rf_vae_score(*partial_grid, **settings_)
