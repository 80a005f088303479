"""Explicitness and size of DCI-ES against scikit-learn's forests and curves by hand."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from disvae.metrics import NotDefinedError, dci_es
from disvae.metrics.dci_es import _predict_by_depth
from disvae.metrics.probes import to_single

DEPTHS = (1, 2, 4, 8)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(3)
    factors = rng.integers([3, 4], size=(300, 2))
    return factors + 0.3 * rng.normal(size=(300, 2)), factors


def test_cut_off_forests_are_forests_of_that_depth():
    """Equal to the forest itself at full depth; at others, as accurate as one grown to it."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(500, 4))
    classes = np.digitize(codes[:, 0] + codes[:, 1], [-1.0, 0.0, 1.0])
    train, test = to_single(codes[:300], codes[300:])
    forest = RandomForestClassifier(max_depth=6, random_state=0).fit(train, classes[:300])
    votes = _predict_by_depth(forest, test, np.array([1, 3, 6]))
    assert votes[-1] == pytest.approx(forest.predict_proba(test))
    for depth, vote in zip((1, 3), votes, strict=False):
        own = RandomForestClassifier(max_depth=depth, random_state=1).fit(train, classes[:300])
        accuracy = np.mean(vote.argmax(axis=1) == classes[300:])
        assert accuracy == pytest.approx(own.score(test, classes[300:]), abs=0.08)
        assert vote == pytest.approx(own.predict_proba(test), abs=0.15)
    regressor = RandomForestRegressor(max_depth=5, random_state=0).fit(train, codes[:300, 2])
    means = _predict_by_depth(regressor, test, np.array([2, 5]))
    assert means[-1, :, 0] == pytest.approx(regressor.predict(test))


def test_the_curve_by_hand(small):
    found = dci_es(*small, depths=DEPTHS)
    assert found.baselines == pytest.approx([1 - 1 / 3, 1 - 1 / 4])
    assert (np.diff(found.losses, axis=0) <= 0).all()
    for k in range(2):
        curve, floor = found.losses[:, k], found.losses[-1, k]
        area = 0.0
        for i in range(3):
            area += (DEPTHS[i + 1] - DEPTHS[i]) * ((curve[i] + curve[i + 1]) / 2 - floor)
        expected = 1 - area / (0.5 * 7 * found.baselines[k])
        assert found.factor_explicitness[k] == pytest.approx(expected)
    assert found.explicitness == pytest.approx(found.factor_explicitness.mean())
    assert found.size == 1.0


def test_what_is_easier_to_use_is_more_explicit():
    """A class per interval takes one cut; the parity of a coarse code takes many."""
    rng = np.random.default_rng(0)
    code = rng.uniform(0, 16, size=(1500, 1))
    halves, parity = np.digitize(code, [8]), np.floor(code).astype(int) % 2
    easy, hard = dci_es(code, halves), dci_es(code, parity)
    assert easy.explicitness > 0.99
    assert hard.explicitness < 0.9
    assert hard.losses[-1] < 0.1  # both are known in the end


def test_noise_is_explicit_in_this_sense():
    """Stated: no capacity helps, so none is needed."""
    rng = np.random.default_rng(0)
    found = dci_es(rng.normal(size=(600, 3)), rng.integers(4, size=(600, 1)), depths=DEPTHS)
    assert found.explicitness > 0.9
    assert found.losses[-1, 0] > 0.65
    assert found.size == pytest.approx(1 / 3)


def test_values_use_explained_variance():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 2))
    factors = np.column_stack([1e200 * codes[:, 0], rng.normal(size=400)])
    found = dci_es(codes, factors, discrete=False, depths=DEPTHS)
    assert found.baselines.tolist() == [1.0, 1.0]
    assert found.losses[-1, 0] < 0.02
    assert found.losses[-1, 1] > 0.9


def test_dead_codes_at_either_end_change_nothing(small):
    codes, factors = small
    dead = np.full((300, 1), 0.7)
    alone = dci_es(codes, factors, depths=DEPTHS)
    padded = dci_es(np.hstack([dead, codes, dead]), factors, depths=DEPTHS)
    assert padded[:2] == pytest.approx(alone[:2], abs=1e-12)
    with pytest.raises(NotDefinedError, match="all 1 are constant"):
        dci_es(dead, factors)


def test_one_code_many_classes_and_missing_values(small):
    codes, factors = small
    known = np.where(np.arange(300) % 3 == 0, np.nan, factors[:, 0])[:, None]
    found = dci_es(codes[:, :1], known, depths=(1, 4))
    assert found.provenance["train_rows"] == [120]
    assert found.size == 1.0
    # More classes than half the rows: scikit-learn would warn.
    assert dci_es(codes, np.arange(300)[:, None], depths=(1, 2)).losses == pytest.approx(1.0)


def test_deterministic(small):
    found, again = dci_es(*small, depths=(1, 2)), dci_es(*small, depths=(1, 2))
    np.testing.assert_array_equal(found.losses, again.losses)
    other = dci_es(*small, depths=(1, 2), rng=1)
    assert not np.array_equal(found.losses, other.losses)
    assert not found.losses.flags.writeable


@pytest.mark.parametrize(
    ("depths", "error", "sentence"),
    [
        ((1,), ValueError, "at least two ascending numbers"),
        ((4, 2), ValueError, "at least two ascending numbers"),
        ((0, 2), ValueError, "each of depths to be at least 1"),
        ((1.0, 2), TypeError, "each of depths to be an int"),
    ],
)
def test_refusals(small, depths, error, sentence):
    with pytest.raises(error, match=sentence):
        dci_es(*small, depths=depths)
