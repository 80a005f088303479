"""The β-VAE score against stored values, a plain loop, and its known limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from disvae.metrics import NotDefinedError, beta_vae_score

FEW = {"train_votes": 300, "eval_votes": 200, "batch_size": 8}


def plain_loop(codes, factors, votes, rng, batch_size=64):
    """The published procedure, a vote and a pair at a time."""
    points, fixed = [], []
    for _ in range(votes):
        k = rng.integers(factors.shape[1])
        differences = []
        for _ in range(batch_size):
            first = rng.integers(len(factors))
            alike = np.flatnonzero(factors[:, k] == factors[first, k])
            second = rng.choice(alike[alike != first])
            differences.append(np.abs(codes[first] - codes[second]))
        points.append(np.mean(differences, axis=0))
        fixed.append(k)
    return np.array(points), np.array(fixed)


def test_reference_values(reference):
    entries = reference.entries("beta_vae_eval")
    assert len(entries) == 6
    for entry in entries:
        case = reference.case(entry["case"])
        for standardise in (False, True):
            score = beta_vae_score(case["codes"], case["factors"], standardise=standardise)
            assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_equals_a_plain_loop(noisy):
    """On codes that tell the factors apart in part, with few and unequal classes."""
    codes, factors = noisy
    codes, factors = codes[:250], factors[:250].copy()
    codes = codes + 1.5 * np.roll(codes, 1, axis=1)
    rng = np.random.default_rng(2)
    points, fixed = plain_loop(codes, factors, 1500, rng, batch_size=4)
    classifier = LogisticRegression(tol=1e-8, max_iter=10_000).fit(points[:1000], fixed[:1000])
    expected = classifier.score(points[1000:], fixed[1000:])
    scores = [
        beta_vae_score(
            codes, factors, train_votes=1000, eval_votes=500, batch_size=4, rng=seed
        ).score
        for seed in range(8)
    ]
    assert 0.45 < expected < 0.9  # not a trivial comparison
    # Standard errors of a share of 500, and of a mean of 8 such.
    assert np.mean(scores) == pytest.approx(expected, abs=3 * np.sqrt(0.25 / 500 * (1 + 1 / 8)))


def test_weights_are_those_of_scikit_learn_on_fresh_votes(noisy):
    codes, factors = noisy
    codes = codes + 1.2 * np.roll(codes, 1, axis=1)
    score = beta_vae_score(codes, factors, batch_size=16)
    points, fixed = plain_loop(codes[:500], factors[:500], 1500, np.random.default_rng(0), 16)
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000).fit(points, fixed).coef_.T
    assert np.corrcoef(score.weights.ravel(), theirs.ravel())[0, 1] > 0.95
    # The code along a factor differs least while that factor is fixed.
    assert (score.weights[:3].argmin(axis=1) == theirs[:3].argmin(axis=1)).all()


def test_pairs_share_the_factor_and_not_the_others():
    """Where the code is the factor, no pair that fixes it differs; others differ as at random."""
    factors = np.random.default_rng(0).integers(8, size=(4000, 2))
    score = beta_vae_score(factors, factors)
    assert score == 1.0
    assert (np.diag(score.weights) < -1).all()
    assert score.confusion.sum() == 2500
    assert np.trace(score.confusion) == 2500


def test_differences_are_absolute_not_squared():
    """Fixing either factor leaves a mean difference of 0.18, of squares of 0.06 or 0.18."""
    rng = np.random.default_rng(0)
    often, seldom = rng.random(20_000) < 0.5, rng.random(20_000) < 0.1
    codes = (0.36 * often + 1.0 * seldom).reshape(-1, 1)
    score = beta_vae_score(codes, np.column_stack([often, seldom]), standardise=True)
    assert score == pytest.approx(0.5, abs=0.1)


def test_the_second_row_is_another_row():
    """Groups of two and three rows, all with different codes: paired with itself a row has 0."""
    place = np.tile([0, 1, 0, 1, 2], 100)
    factors = np.column_stack([np.cumsum(place == 0), place])
    codes = np.column_stack([place, np.random.default_rng(0).normal(size=500)])
    # With one pair a vote, the first code differs by 1 or 2 while factor 0 is fixed, else by 0.
    assert beta_vae_score(codes, factors, batch_size=1) == 1.0


def test_noise_scores_one_in_k():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(5000, 4))
    scores = [beta_vae_score(rng.normal(size=(5000, 6)), factors, rng=s) for s in range(3)]
    assert np.mean(scores) == pytest.approx(0.25, abs=0.03)


def test_two_of_three_codes_rotated(grid):
    """Fixing either of two factors leaves the same differences in both of their codes."""
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    assert beta_vae_score(rotated, grid) == pytest.approx(2 / 3, abs=0.04)


@pytest.mark.parametrize("constant", [0.0, 0.7, 1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(noisy, constant):
    codes, factors = noisy
    codes = (codes + np.roll(codes, 1, axis=1)).astype(np.float32)
    dead = np.full((len(codes), 1), constant, dtype=np.float32)
    padded = beta_vae_score(np.hstack([dead, codes, dead]), factors, **FEW)
    assert padded == beta_vae_score(codes, factors, **FEW)
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]
    np.testing.assert_array_equal(padded.weights[[0, -1]], 0.0)


def test_all_codes_constant_is_a_guess(noisy):
    _, factors = noisy
    score = beta_vae_score(np.ones((len(factors), 2)), factors)
    assert score == pytest.approx(1 / 3, abs=0.04)
    assert (score.confusion.sum(axis=0) > 0).sum() == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_and_sign_of_codes(noisy, data):
    codes, factors = noisy
    codes = codes + 1.2 * np.roll(codes, 1, axis=1)
    D = codes.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    shift = data.draw(st.floats(-1e3, 1e3))
    score = beta_vae_score(codes, factors, **FEW)
    changed = beta_vae_score((codes * signs + shift)[:, order], factors, **FEW)
    assert 0.4 < score < 0.95
    assert changed == score


@settings(max_examples=15, deadline=None, derandomize=True)
@given(exponents=st.lists(st.integers(-500, 500), min_size=4, max_size=4))
def test_standardised_codes_have_no_scale(noisy, exponents):
    codes, factors = noisy
    codes = codes + 1.2 * np.roll(codes, 1, axis=1)
    score = beta_vae_score(codes, factors, standardise=True, **FEW)
    scaled = codes * 2.0 ** np.array(exponents)
    assert beta_vae_score(scaled, factors, standardise=True, **FEW) == score


def test_scale_matters_unless_standardised(grid):
    """The penalty silences small codes, as it does in the published implementation."""
    codes = (grid - grid.mean(axis=0)) / grid.std(axis=0)
    assert beta_vae_score(codes, grid) == 1.0
    assert beta_vae_score(codes * [1.0, 1e-4, 1e-4], grid) < 0.75
    assert beta_vae_score(codes * 1e-4, grid) < 0.5
    assert beta_vae_score(codes * [1.0, 1e-4, 1e-4], grid, standardise=True) == 1.0


@pytest.mark.parametrize("scale", [1e-300, 1e-5, 1e5, 1e300])
def test_any_scale_gives_a_number(noisy, scale):
    codes, factors = noisy
    score = beta_vae_score(codes / np.abs(codes).max() * scale, factors, **FEW)
    assert score > 0.9 if scale > 1 else score < 0.5


def test_copies_of_codes_change_little(noisy):
    codes, factors = noisy
    codes = codes + 1.2 * np.roll(codes, 1, axis=1)
    score = beta_vae_score(codes, factors)
    assert beta_vae_score(np.hstack([codes, codes]), factors) == pytest.approx(score, abs=0.01)


def test_deterministic_for_a_seed_and_not_otherwise(grid):
    codes = np.random.default_rng(0).normal(size=grid.shape)
    score = beta_vae_score(codes, grid, rng=3, **FEW)
    assert beta_vae_score(codes, grid, rng=3, **FEW) == score
    assert beta_vae_score(codes, grid, rng=4, **FEW).confusion.tolist() != score.confusion.tolist()
    generator = np.random.default_rng(3)
    again = beta_vae_score(codes, grid, rng=generator, **FEW)
    assert again == score
    assert again.provenance["seed"] is None


def test_memory_chunks_do_not_show():
    factors = np.arange(400).reshape(-1, 1) // np.array([[20, 1]]) % 20
    score = beta_vae_score(factors, factors, train_votes=60, eval_votes=40, batch_size=20_000)
    assert score == 1.0
    assert score.confusion.sum() == 40


def test_missing_values_are_not_drawn():
    """Where the factor is missing the codes are wild: drawn, they would undo the code."""
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(3000, 2)).astype(float)
    codes = factors.copy()
    codes[:1500] = rng.normal(size=(1500, 2)) * 100
    factors[:1500] = np.nan
    assert beta_vae_score(codes, factors) == 1.0


def test_values_of_a_single_row_are_not_drawn():
    factors = np.column_stack([np.r_[np.arange(100) % 2, np.arange(2, 102)], np.arange(200) // 4])
    # A row paired with itself would differ in no code.
    score = beta_vae_score(np.random.default_rng(0).normal(size=(200, 1)), factors, batch_size=1)
    assert np.isfinite(score.weights).all()
    assert beta_vae_score(factors[:, ::-1], factors) == 1.0


def test_continuous_factors_are_binned():
    v = np.random.default_rng(0).uniform(size=(3000, 3))
    assert beta_vae_score(v[:, [1, 2, 0]], v) == 1.0


def test_one_training_vote_is_what_is_always_given(grid):
    score = beta_vae_score(grid, grid, train_votes=1, eval_votes=300)
    assert score == pytest.approx(1 / 3, abs=0.1)
    assert score.train_score == 1.0


def test_one_factor_is_not_defined(grid):
    with pytest.raises(NotDefinedError, match="at least two factors") as caught:
        beta_vae_score(grid, grid[:, :1])
    assert caught.value.reason == "one factor"


def test_factor_without_repeated_values_is_not_defined(grid):
    factors = np.column_stack([grid, np.arange(len(grid))])
    with pytest.raises(NotDefinedError, match=r"factor column 3.*discrete=False"):
        beta_vae_score(grid, factors)


@pytest.mark.parametrize(
    "settings_",
    [
        {"train_votes": 0},
        {"eval_votes": -1},
        {"batch_size": 0},
        {"batch_size": 64.0},
        {"factor_bins": 1},
    ],
)
def test_settings_out_of_range(noisy, settings_):
    with pytest.raises((TypeError, ValueError), match=r"Expected .* but got .*; pass"):
        beta_vae_score(*noisy, **settings_)
