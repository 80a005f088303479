"""Explicitness against stored values and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from disvae.metrics import NotDefinedError, explicitness


@pytest.mark.parametrize("shuffle", [True, False])
def test_reference_values(reference, shuffle):
    entries = reference.entries("explicitness_auc_test")
    assert len(entries) == 6
    for entry in entries:
        case = reference.case(entry["case"])
        score = explicitness(case["codes"], case["factors"], shuffle=shuffle)
        assert score == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_dead_codes_where_others_fail(reference):
    case = reference.case("aligned_const_dims")
    assert explicitness(case["codes"], case["factors"]) == pytest.approx(1.0, abs=1e-3)


def test_equals_scikit_learn(noisy):
    """On the last rows, fitted to the first: with classes in turn that is the same division."""
    codes, _ = noisy
    factors = np.stack([np.arange(1500) % 2, np.arange(1500) % 5], axis=1)
    codes = codes[:, :3] + factors @ [[1.0, 0.0, 0.3], [0.0, 0.5, 0.2]]
    score = explicitness(codes, factors, shuffle=False)
    train, test = codes[:1050], codes[1050:]
    scaled = (test - train.mean(axis=0)) / train.std(axis=0)
    train = (train - train.mean(axis=0)) / train.std(axis=0)
    for k, column in enumerate(factors.T):
        model = LogisticRegression(max_iter=1000).fit(train, column[:1050])
        p = model.predict_proba(scaled)
        areas = [roc_auc_score(column[1050:] == v, p[:, v]) for v in range(p.shape[1])]
        assert score.areas[k] == pytest.approx(areas)
    assert score == pytest.approx(np.mean([area.mean() for area in score.areas]))


def test_aligned_chance_and_rotated(grid):
    rng = np.random.default_rng(0)
    c = np.sqrt(0.5)
    assert explicitness(grid, grid) > 0.985
    rotated = explicitness(grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]]), grid)
    assert rotated == pytest.approx(explicitness(grid, grid), abs=0.01)
    noise = rng.normal(size=(2048, 4))
    assert explicitness(noise, grid) == pytest.approx(0.5, abs=0.02)
    assert explicitness(noise, grid, normalise=True) < 0.03


def test_normalised(noisy):
    codes, factors = noisy
    plain, normalised = explicitness(*noisy), explicitness(codes, factors, normalise=True)
    assert normalised.per_factor == pytest.approx(2 * plain.per_factor - 1)


def test_order_sign_and_scale_of_codes(noisy):
    codes, factors = noisy
    changed = (codes * [1e-150, -1e150, 3.0, -1.0])[:, [2, 0, 3, 1]]
    assert explicitness(changed, factors[:, ::-1]) == pytest.approx(
        explicitness(codes, factors), abs=1e-4
    )


def test_dead_codes_at_either_end_change_nothing(noisy):
    codes, factors = noisy
    dead = np.full((len(codes), 1), 0.7)
    padded = explicitness(np.hstack([dead, codes, dead]), factors)
    assert padded == pytest.approx(explicitness(codes, factors), abs=1e-12)
    assert padded.provenance["dropped"] == [0, 5]
    assert explicitness(dead, factors) == 0.5
    assert explicitness(dead, factors, normalise=True) == 0.0


def test_rows_in_order_are_divided_at_random():
    """Sorted rows: the last of each class are unlike the first."""
    classes = np.tile(np.repeat([0, 1], 50), 4)
    drift = np.linspace(0, 4, 400)
    codes = np.where(drift < 2.8, classes, -classes)[:, None] + 0.0
    assert explicitness(codes, classes[:, None], shuffle=False) == 0.0
    assert explicitness(codes, classes[:, None]) > 0.4


def test_classes_of_one_row_are_left_out(noisy):
    codes, factors = noisy
    rare = factors.astype(float)
    missing = rare.copy()
    rare[17, 1], missing[17, 1] = 99, np.nan
    assert explicitness(codes, rare) == explicitness(codes, missing)
    with pytest.raises(NotDefinedError, match="two classes of two rows or more"):
        explicitness(codes, np.arange(1500)[:, None])


def test_continuous_factors_with_a_lonely_bin(noisy):
    """A normal factor in equal widths: the outermost bins may hold one row."""
    codes, _ = noisy
    normal = np.random.default_rng(1).normal(size=(1500, 1))
    normal[0] = 9.0
    found = explicitness(np.hstack([normal, codes]), normal)
    assert found.provenance["rows"] == [1499]
    assert len(found.areas[0]) < 10
    assert found > 0.9


def test_resampled_score(noisy):
    found = explicitness(*noisy)
    drawn = found.resampled(3, 60)["score"]
    assert drawn.mean() == pytest.approx(found.score, abs=0.005)
    assert 0.001 < drawn.std() < 0.02
    np.testing.assert_array_equal(found.resampled(3, 60)["score"], drawn)


def test_resamples_that_miss_a_class():
    classes = np.repeat(np.arange(6), 4)[:, None]
    codes = np.random.default_rng(0).normal(size=(24, 2))
    drawn = explicitness(codes, classes).resampled(0, 50)["score"]
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_deterministic(noisy):
    assert explicitness(*noisy) == explicitness(*noisy)
    assert explicitness(*noisy) != explicitness(*noisy, rng=1)
    assert explicitness(*noisy, shuffle=False, rng=1) == explicitness(*noisy, shuffle=False)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"normalise": 1}, TypeError, "Expected normalise to be a bool, but got int"),
        ({"shuffle": None}, TypeError, "Expected shuffle to be a bool"),
        ({"test_share": 1.0}, ValueError, "between 0 and 1, but got 1.0"),
    ],
)
def test_refusals(noisy, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        explicitness(*noisy, **arguments)
