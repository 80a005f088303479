"""Trees and boosting against brute force and against scikit-learn's."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from disvae.metrics import boosting, trees
from disvae.metrics.binned import BinnedCodes, Column
from disvae.metrics.boosting import Binomial, Multinomial, Squares, boost
from disvae.metrics.trees import LEAVES, grow, tag


def explained(residuals):
    return residuals.sum() ** 2 / len(residuals) if len(residuals) else 0.0


def best_split(codes, residuals):
    """The gain of every code's best cut, over every cut between its values."""
    gains = np.zeros(codes.shape[1])
    for d, code in enumerate(codes.T):
        for value in np.unique(code)[:-1]:
            left = code <= value
            gain = explained(residuals[left]) + explained(residuals[~left]) - explained(residuals)
            gains[d] = max(gains[d], gain)
    return gains


def check_tree(codes, residuals, tree, leaf):
    """Every split of a tree is the best there is in its node; returns the gain per code."""
    brought = np.zeros(codes.shape[1])
    for level in range(3):
        for j in range(2**level):
            in_node = leaf >> (3 - level) == j
            right = (leaf >> (2 - level)) & 1 == 1
            if not in_node.any():
                continue
            r = residuals[in_node]
            gains = best_split(codes[in_node], r)
            gain = explained(residuals[in_node & right]) + explained(residuals[in_node & ~right])
            assert gain - explained(r) == pytest.approx(gains.max(), abs=1e-9)
            top = gains >= gains.max() - 1e-9
            brought += top * gains.max() / top.sum()
    return brought


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(2, 40),
    values=st.integers(2, 30),
)
def test_a_tree_splits_where_brute_force_does(seed, rows, values):
    """Codes with ties, several targets at once, and as many bins as values."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(values, size=(rows, 3)).astype(float)
    residuals = rng.uniform(-1, 1, size=(2, rows))
    binned = BinnedCodes.of(codes, rows)
    grown, leaf, gain = grow(binned, *tag(residuals))
    expected = sum(check_tree(codes, residuals[t], grown, leaf[t].astype(int)) for t in range(2))
    assert gain[np.argsort(binned.source)] == pytest.approx(expected, abs=1e-8)
    np.testing.assert_array_equal(grown.leaves(binned.locate(codes)), leaf)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), values=st.integers(5, 60))
def test_gains_are_those_of_the_leaves(seed, values):
    """Also where bins are opened and equal values lie inside: a cut between them is none."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(values, size=(80, 3)).astype(float)
    residuals = rng.uniform(-1, 1, size=(1, 80))
    _, leaf, gain = grow(BinnedCodes.of(codes, 4), *tag(residuals))
    r = residuals[0]
    by_leaf = sum(explained(r[leaf[0] == number]) for number in range(LEAVES))
    assert gain.sum() == pytest.approx(by_leaf - explained(r), abs=1e-9)


@pytest.mark.parametrize("bins", [4, 16])
def test_cuts_inside_bins_are_found(bins):
    """A step inside a bin: bins alone miss it, and with it the node that it cuts off."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 3))
    inside = np.sort(codes[:, 1])[137]
    residuals = np.where(codes[:, 1] <= inside, 0.5, -0.25)[None]
    _, leaf, gain = grow(BinnedCodes.of(codes, bins), *tag(residuals))
    assert gain.sum() == pytest.approx(residuals.var() * 400)
    assert len(np.unique(residuals[0][leaf[0] < LEAVES // 2])) == 1


def test_a_code_is_not_put_at_a_disadvantage_by_its_ancestors(monkeypatch):
    """Below a cut, the rows lie in few bins of that code, and in all bins of the others."""
    rng = np.random.default_rng(2)
    codes = rng.uniform(size=(1500, 2))
    # A band of one code, one row in seven of which stands out: any code can single such rows out.
    band = np.abs(codes[:, 0] - 0.5) < 0.04
    residuals = np.where(band, 0.4 + 0.5 * (rng.random(1500) < 1 / 7), 0.0)[None]
    exact = grow(BinnedCodes.of(codes, 1500), *tag(residuals))[2]
    near = grow(BinnedCodes.of(codes, 32), *tag(residuals))[2]
    assert near == pytest.approx(exact, rel=0.02)
    monkeypatch.setattr(trees, "_NARROW", 0)
    assert grow(BinnedCodes.of(codes, 32), *tag(residuals))[2] != pytest.approx(exact, rel=0.02)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 3000) | st.sampled_from([4, 64, 4096]))
def test_tagged_sums_are_exact_and_count(seed, rows):
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1, 0, 1])  # all of one sign, or mixed
    residuals = rng.uniform(1, 2, size=(1, rows)) * (sign or rng.choice([-1, 1], size=rows))
    tagged, unit = tag(residuals)
    exact = sum((Fraction(float(value)) for value in tagged[0]), Fraction(0))
    assert Fraction(float(tagged[0].cumsum()[-1])) == exact
    assert round(exact / Fraction(unit)) == rows
    rounding = rows * 2.0 ** (2 * np.ceil(np.log2(rows)) - 51)
    assert float(exact - rows * Fraction(unit)) == pytest.approx(residuals.sum(), abs=rounding)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(st.sampled_from([-2.5, -1.0, 0.0, 0.3, 1e-200, 4.0, 1e30]), min_size=1),
    bins=st.integers(1, 8),
)
def test_a_column_is_the_same_mirrored_and_bins_are_even(values, bins):
    values = np.array(values)
    column, mirrored = Column.of(values, bins), Column.of(-values, bins)
    np.testing.assert_array_equal(column.rank, mirrored.rank)
    np.testing.assert_array_equal(column.bins, mirrored.bins)
    np.testing.assert_array_equal(column.locate(values), column.rank)
    np.testing.assert_array_equal(mirrored.locate(-values), column.rank)
    assert len(np.unique(column.bins)) <= bins or len(column.bins) <= bins
    sizes = np.bincount(column.bins[column.rank])
    single = np.bincount(column.bins) == 1
    assert (sizes[~single] < 2 * len(values) / bins).all()


def test_adjacent_floats_are_told_apart():
    """The middle of two neighbouring floats rounds to one of them."""
    low = 1 + np.finfo(float).eps
    values = np.array([low, np.nextafter(low, 2)])
    assert len(set(Column.of(values, 8).locate(values))) == 2


@pytest.fixture(scope="module")
def wide():
    """Noisy data: the rows of a node rarely split equally well along two codes."""
    rng = np.random.default_rng(4)
    codes = rng.normal(size=(600, 4))
    return codes, codes @ np.array([1.0, -0.5, 0.2, 0.0]) + rng.normal(size=600)


def test_two_classes_equal_scikit_learn(wide, monkeypatch):
    monkeypatch.setattr(boosting, "ROUNDS", 5)
    codes, score = wide
    classes = (score > 0.8).astype(int)
    theirs = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(codes, classes)
    ours = boost(codes, Binomial(classes))
    assert ours.importance == pytest.approx(theirs.feature_importances_, abs=1e-6)
    assert ours.scores(codes)[0] == pytest.approx(theirs.decision_function(codes), abs=1e-6)


@pytest.mark.parametrize("one_code", [True, False])
def test_several_classes_equal_scikit_learn(wide, monkeypatch, one_code):
    """Of one code, where no ties are to be broken at random; nearly of four."""
    monkeypatch.setattr(boosting, "ROUNDS", 5)
    monkeypatch.setattr(boosting, "_BINS", 600)
    monkeypatch.setattr(boosting, "_SUMS", 1)  # two trees at a time
    codes, score = wide
    codes = codes[:, :1] if one_code else codes
    classes = np.digitize(score, [-1.0, 0.2, 1.0])
    theirs = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(codes, classes)
    ours = boost(codes, Multinomial(classes))
    scores, their_scores = ours.scores(codes), theirs.decision_function(codes).T
    # Theirs come but for a constant.
    difference = np.abs((scores - scores[0]) - (their_scores - their_scores[0])).max(axis=0)
    assert (difference < 1e-6).mean() > (0.999 if one_code else 0.95)
    assert ours.importance == pytest.approx(theirs.feature_importances_, abs=0.003)


def test_values_equal_scikit_learn(wide, monkeypatch):
    monkeypatch.setattr(boosting, "ROUNDS", 10)
    codes, score = wide
    score = (score - score.mean()) / np.abs(score - score.mean()).max()
    theirs = GradientBoostingRegressor(n_estimators=10, random_state=0).fit(codes, score)
    ours = boost(codes, Squares(score))
    assert ours.importance == pytest.approx(theirs.feature_importances_, abs=1e-6)
    assert ours.scores(codes)[0] == pytest.approx(theirs.predict(codes), abs=1e-6)


def test_many_rounds_on_few_bins_are_near(wide):
    """A hundred rounds and bins of several rows: no longer equal, but as in the requirement."""
    codes, score = wide
    classes = np.digitize(score, [-1.5, -0.5, 0.5, 1.5])
    theirs = GradientBoostingClassifier(random_state=0).fit(codes, classes)
    ours = boost(codes, Multinomial(classes))
    assert len(np.unique(Column.of(codes[:, 0], boosting._BINS).bins)) < 100
    assert ours.importance == pytest.approx(theirs.feature_importances_, abs=0.02)


def test_copies_share_and_order_does_not_matter(wide, monkeypatch):
    monkeypatch.setattr(boosting, "ROUNDS", 8)
    codes, score = wide
    train, other = codes[:400], codes[400:]
    classes = np.digitize(score[:400], [-0.5, 0.5])
    alone = boost(train, Multinomial(classes))
    # The copy is scaled, mirrored and bent, which leaves the order of its values.
    copied = np.column_stack([-np.exp(3 * train[:, 1]), train])
    twice = boost(copied, Multinomial(classes))
    assert twice.importance[0] == twice.importance[2]
    assert twice.importance[0] == pytest.approx(alone.importance[1] / 2, abs=0.002)
    order = [2, 0, 3, 1]
    changed = boost(-(2.0**-30) * train[:, order], Multinomial(classes))
    np.testing.assert_array_equal(changed.importance, alone.importance[order])
    mirrored = -(2.0**-30) * other[:, order]
    np.testing.assert_array_equal(changed.scores(mirrored), alone.scores(other))


def test_a_heavy_value_is_not_spread_over_memory():
    """Half of the rows at one value make one huge bin, which is never opened."""
    rng = np.random.default_rng(0)
    codes = np.maximum(rng.normal(size=(4000, 2)), 0)
    binned = BinnedCodes.of(codes, 96)
    assert np.diff(binned.start[0]).max() > 1900
    assert binned.width < 200
