"""The FactorVAE score against stored values, a plain loop, and its known limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.metrics import NotDefinedError, factor_vae_score


def plain_loop(codes, factors, votes, rng, batch_size=64):
    """The published procedure, a vote at a time."""
    K = factors.shape[1]
    spread = codes.var(axis=0)
    cast = []
    for _ in range(votes):
        k = rng.integers(K)
        rows = np.flatnonzero(factors[:, k] == factors[rng.integers(len(factors)), k])
        batch = codes[rng.choice(rows, size=batch_size)]
        cast.append((np.argmin(batch.var(axis=0) / spread), k))
    return cast


def test_reference_values(reference):
    entries = reference.entries("factor_vae_eval")
    assert len(entries) == 6
    for entry in entries:
        case = reference.case(entry["case"])
        for min_std in (None, 0.05):
            score = factor_vae_score(case["codes"], case["factors"], min_std=min_std)
            assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_equals_a_plain_loop(noisy):
    """Shares of the votes in each cell, within 4 standard errors of the difference."""
    codes, factors = noisy
    codes = codes + 1.2 * np.roll(codes, 1, axis=1)
    votes, loops = 4000, 2000
    score = factor_vae_score(codes, factors, train_votes=votes, eval_votes=1)
    counts = np.zeros(score.votes.shape)
    for vote in plain_loop(codes, factors, loops, np.random.default_rng(5)):
        counts[vote] += 1
    share, expected = score.votes / votes, counts / loops
    error = np.sqrt(expected * (1 - expected) * (1 / votes + 1 / loops)) + 1 / loops
    assert (np.abs(share - expected) < 4 * error).all()
    assert (score.votes.max(axis=0) < score.votes.sum(axis=0)).any()  # not a trivial comparison


@pytest.mark.parametrize("constant", [0.0, 0.7, 1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(noisy, constant):
    codes, factors = noisy
    codes = codes.astype(np.float32)
    dead = np.full((len(codes), 1), constant, dtype=np.float32)
    padded = factor_vae_score(np.hstack([dead, codes, dead]), factors)
    assert padded == factor_vae_score(codes, factors)
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]
    assert padded.factor_of_code[[0, -1]].tolist() == [-1, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_code_constant_up_to_rounding_is_dropped(dtype):
    """Left in, its local over global variance is that of noise and takes votes."""
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(2000, 2))
    jitter = dtype(3.0) + dtype(2 * np.finfo(dtype).eps) * rng.integers(-1, 2, (2000, 1)).astype(
        dtype
    )
    codes = np.hstack([jitter, factors.astype(dtype)])
    assert len(np.unique(codes[:, 0])) > 1
    assert factor_vae_score(codes, factors).provenance["dropped"] == [0]


def test_all_codes_constant_scores_nought(noisy):
    _, factors = noisy
    score = factor_vae_score(np.ones((len(factors), 3)), factors)
    assert score.score == 0.0
    assert score.provenance["dropped"] == [0, 1, 2]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes(noisy, data):
    """Nothing that is drawn depends on the codes, so the score is the same to the last vote."""
    codes, factors = noisy
    D = codes.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-500, 500), min_size=D, max_size=D))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    few = {"train_votes": 300, "eval_votes": 200, "batch_size": 8}
    assert factor_vae_score(changed, factors, **few) == factor_vae_score(codes, factors, **few)


def test_small_scale_is_not_dropped_unless_asked(grid):
    """The trap of an absolute or relative guard: a perfect code of small scale."""
    codes = grid * np.array([1e-9, -0.02, 1e6])
    assert factor_vae_score(codes, grid) == 1.0
    pruned = factor_vae_score(codes, grid, min_std=0.05)
    # The second code has a standard deviation of 0.09 and a variance of 0.008.
    assert pruned.provenance["dropped"] == [0]
    assert pruned < 0.8


def test_offset_far_beyond_the_spread(grid):
    """Moments about the origin would cancel here."""
    rng = np.random.default_rng(0)
    codes = grid + 0.3 * rng.normal(size=grid.shape)
    assert factor_vae_score(codes + 1e9, grid) == factor_vae_score(codes, grid) == 1.0


def test_tiny_local_variances_are_told_apart():
    """Two codes nearly fixed by one factor, to 1e-9 and 1e-10: plain moments see rounding only."""
    rng = np.random.default_rng(0)
    factors = rng.integers(1, 6, size=(3000, 2))
    codes = factors[:, [0, 0, 1]] + rng.normal(size=(3000, 3)) * [1e-9, 1e-10, 0.1]
    score = factor_vae_score(codes, factors)
    assert score.votes[0].tolist() == [0, 0]
    assert score.factor_of_code.tolist() == [-1, 0, 1]


def test_local_variance_is_over_global_variance():
    """A wide and a narrow code, each halved in variance by its own factor.

    Divided by the standard deviation, the narrow code would get every vote: 0.5.
    """
    rng = np.random.default_rng(0)
    factors = rng.integers(2, size=(4000, 2))
    codes = np.column_stack([1e3 * factors[:, 0], 1e-3 * factors[:, 1]])
    codes += rng.normal(size=codes.shape) * codes.std(axis=0)
    score = factor_vae_score(codes, factors)
    assert score.factor_of_code.tolist() == [0, 1]
    assert score > 0.95


def test_deterministic_for_a_seed_and_not_otherwise(grid):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=grid.shape)
    assert factor_vae_score(codes, grid, rng=3) == factor_vae_score(codes, grid, rng=3)
    assert factor_vae_score(codes, grid, rng=3) != factor_vae_score(codes, grid, rng=4)
    generator = np.random.default_rng(3)
    assert factor_vae_score(codes, grid, rng=generator) == factor_vae_score(codes, grid, rng=3)
    assert factor_vae_score(codes, grid, rng=generator).provenance["seed"] is None


def test_memory_chunks_do_not_show():
    """More draws than one chunk holds: every vote is cast, and each for its own factor."""
    factors = np.arange(400).reshape(-1, 1) // np.array([[20, 1]]) % 20
    score = factor_vae_score(factors, factors, train_votes=4000, eval_votes=1000, batch_size=512)
    assert score == 1.0
    assert score.votes.sum() == 4000


def test_values_are_drawn_as_often_as_they_occur():
    """Nine rows in ten have a value that fixes the first code, the others one that fixes the next.

    Values drawn alike would share the votes evenly.
    """
    rng = np.random.default_rng(0)
    seldom = rng.random(4000) < 0.1
    codes = rng.normal(size=(4000, 2))
    codes[~seldom, 0], codes[seldom, 1] = 0.0, 0.0
    factors = np.column_stack([seldom, rng.integers(3, size=4000)])
    votes = factor_vae_score(codes, factors).votes[:, 0]
    assert votes[1] / votes.sum() == pytest.approx(0.1, abs=0.03)


def test_missing_values_are_not_drawn():
    """Where the factor is missing the codes are wild: drawn, they would undo the code."""
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(3000, 2)).astype(float)
    codes = factors.copy()
    codes[:1500, 0] = rng.normal(size=1500) * 10
    factors[:1500, 0] = np.nan
    assert factor_vae_score(codes, factors) == 1.0


def test_values_of_a_single_row_are_not_drawn():
    """A batch of one row repeated has no variance in any code and would vote for the first."""
    factors = np.column_stack([np.r_[np.arange(100) % 2, np.arange(2, 102)], np.arange(200) // 4])
    assert factor_vae_score(factors[:, ::-1], factors) == 1.0


def test_continuous_factors_are_binned():
    v = np.random.default_rng(0).uniform(size=(3000, 3))
    score = factor_vae_score(v[:, [1, 2, 0]], v)
    assert score == 1.0
    assert score.factor_of_code.tolist() == [1, 2, 0]


def test_one_code_gets_the_most_frequent_factor(grid):
    assert factor_vae_score(grid[:, :1], grid) == pytest.approx(1 / 3, abs=0.04)


def test_one_factor_is_not_defined(grid):
    with pytest.raises(NotDefinedError, match="at least two factors") as caught:
        factor_vae_score(grid, grid[:, :1])
    assert caught.value.reason == "one factor"


def test_factor_without_repeated_values_is_not_defined(grid):
    factors = np.column_stack([grid, np.arange(len(grid))])
    with pytest.raises(NotDefinedError, match=r"factor column 3.*discrete=False"):
        factor_vae_score(grid, factors)
    flags = [True, True, True, False]
    assert factor_vae_score(grid, factors, discrete=flags) > 0.7


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
def test_settings_out_of_range(noisy, settings_):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* but got .*; pass"):
        factor_vae_score(*noisy, **settings_)
