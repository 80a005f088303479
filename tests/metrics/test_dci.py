"""DCI against stored values, scikit-learn, and the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import Lasso

from disvae.metrics import NotDefinedError, boosting, dci
from disvae.metrics.importance import concentration, weighted_mean
from disvae.metrics.probes import PROBES, to_single
from disvae.metrics.sparse_linear import lasso_classes, lasso_values

ESTIMATORS = ["gbt", "gbt-exact", "lasso", "random-forest"]
VALUES = ("disentanglement", "completeness", "informativeness")


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(boosting, "ROUNDS", 5)


@pytest.fixture(scope="module")
def small():
    """Two factors, three codes: one for each, mixed a little, and noise."""
    rng = np.random.default_rng(3)
    factors = rng.integers([3, 4], size=(200, 2))
    codes = np.column_stack([factors @ [[1.0, 0.3], [0.0, 1.0]], rng.normal(size=200)])
    codes[:, :2] += 0.4 * rng.normal(size=(200, 2))
    return codes, factors


def wanted(reference):
    cases = {}
    for name in ("disentanglement", "completeness", "informativeness_test"):
        for entry in reference.entries(f"dci_gbt_{name}"):
            cases.setdefault(entry["case"], {})[name.removesuffix("_test")] = entry
    return cases


def check_reference(reference, case, expected, rows, **arguments):
    arrays = reference.case(case)
    factors = arrays.get("factors_disc", arrays["factors"])
    found = dci(arrays["codes"][:rows], factors[:rows], **arguments)
    for name, entry in expected.items():
        assert getattr(found, name) == pytest.approx(entry["value"], abs=entry["tol"]), (case, name)
    return found


def test_reference_values(reference):
    cases = wanted(reference)
    assert len(cases) == 7
    for case in cases.keys() - {"noise_only", "mixed_linear"}:  # these two take longest
        check_reference(reference, case, cases[case], None)


@pytest.mark.slow
def test_reference_values_by_other_rows_and_near_scikit_learn(reference):
    for case, expected in wanted(reference).items():
        check_reference(reference, case, expected, None)
        for seed in (1, 2):
            check_reference(reference, case, expected, 2500, rng=seed)
        near = check_reference(reference, case, expected, 2500)
        exact = check_reference(reference, case, expected, 2500, estimator="gbt-exact")
        if case != "duplicated":
            assert near[:2] == pytest.approx(exact[:2], abs=0.02), case


def plain_loop(importance):
    """D and C a row at a time, as they stand in the paper."""
    D, K = importance.shape
    d = c = 0.0
    for row in importance:
        p = row[row > 0] / row.sum()
        d += row.sum() / importance.sum() * (1 + (p * np.log(p)).sum() / np.log(K))
    for column in importance.T:
        p = column[column > 0] / column.sum()
        c += column.sum() / importance.sum() * (1 + (p * np.log(p)).sum() / np.log(D))
    return d, c


def test_entropies_equal_a_plain_loop():
    rng = np.random.default_rng(0)
    importance = rng.exponential(size=(6, 4)) * (rng.random((6, 4)) < 0.7)
    d = weighted_mean(concentration(importance, 4), importance)
    c = weighted_mean(concentration(importance.T, 6), importance.T)
    assert (d, c) == pytest.approx(plain_loop(importance))


@pytest.mark.parametrize(
    ("importance", "expected"),
    [
        (np.eye(3), 1.0),
        (np.ones((3, 3)), 0.0),
        (np.zeros((3, 3)), 0.0),
        (np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), 1 - np.log(2) / np.log(3)),
        (np.array([[2.0], [0.0]]), 1.0),
    ],
)
def test_entropies_of_known_matrices(importance, expected):
    rows = concentration(importance, importance.shape[1])
    assert weighted_mean(rows, importance) == pytest.approx(expected)


def test_definition_from_the_matrix(small):
    found = dci(*small)
    assert found[:2] == pytest.approx(plain_loop(found.importance))
    assert found.importance.sum(axis=0) == pytest.approx(1.0)
    assert found.informativeness == pytest.approx(found.factor_informativeness.mean())
    for k, entry in enumerate(found.predictions):
        np.testing.assert_array_equal(entry.truth, small[1][entry.rows, k])
        accuracy = np.mean(entry.predicted == entry.truth)
        assert found.factor_informativeness[k] == pytest.approx(accuracy)


def test_aligned_chance_and_rotated():
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(1000, 2))
    aligned, rotated = dci(factors, factors), dci(factors @ [[1.0, -1.0], [1.0, 1.0]], factors)
    noise = dci(rng.normal(size=(1000, 2)), factors)
    assert aligned[:3] == pytest.approx((1.0, 1.0, 1.0), abs=1e-9)
    assert rotated.disentanglement < 0.2
    assert rotated.completeness < 0.2
    assert noise.disentanglement < 0.02
    assert noise.informativeness == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_dead_codes_at_either_end_change_nothing(small, estimator):
    codes, factors = small[0][:60], small[1][:60]
    dead = np.full((len(codes), 1), 0.7)
    alone = dci(codes, factors, estimator=estimator, rng=4)
    padded = dci(np.hstack([dead, codes, dead]), factors, estimator=estimator, rng=4)
    assert padded[:3] == pytest.approx(alone[:3], abs=1e-12)
    assert padded.importance[1:-1] == pytest.approx(alone.importance, abs=1e-12)
    assert not padded.importance[[0, -1]].any()
    assert padded.code_disentanglement[[0, -1]].tolist() == [0.0, 0.0]
    assert padded.provenance["dropped"] == [0, 4]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes_and_order_of_factors(small, data):
    """Exactly, in the default estimator: ranks in an orientation and an order of their own."""
    codes, factors = small
    order = data.draw(st.permutations(range(3)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    exponents = data.draw(st.lists(st.integers(-300, 300), min_size=3, max_size=3))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "ROUNDS", 4)
        alone, other = dci(codes, factors), dci(changed, factors[:, ::-1])
    assert other[:3] == pytest.approx(alone[:3], abs=1e-12)
    np.testing.assert_array_equal(other.importance, alone.importance[order][:, ::-1])


@pytest.mark.parametrize("estimator", ["gbt-exact", "random-forest", "lasso"])
def test_scale_of_codes_in_other_estimators(small, estimator):
    """scikit-learn's trees take values within 1e-7 for equal, and overflow in single precision."""
    codes, factors = small[0][:60], small[1][:60]
    alone = dci(codes, factors, estimator=estimator)
    other = dci(codes * 2.0 ** np.array([-40, 500, 3]), factors, estimator=estimator)
    assert other[:3] == pytest.approx(alone[:3], abs=1e-9)
    far = dci(codes + 1e9, factors, estimator=estimator)
    assert far[:3] == pytest.approx(alone[:3], abs=0.15)


@pytest.mark.parametrize("estimator", ["gbt", "lasso"])
def test_copies_share_importance(small, estimator):
    codes, factors = small
    alone = dci(codes, factors, estimator=estimator)
    twice = dci(np.hstack([codes, -3 * codes]), factors, estimator=estimator)
    share = alone.importance / 2
    assert twice.importance == pytest.approx(np.vstack([share, share]), rel=1e-4, abs=1e-6)
    assert twice.disentanglement == pytest.approx(alone.disentanglement, abs=1e-4)
    assert twice.completeness < alone.completeness


def test_exact_is_scikit_learn(small):
    codes, factors = small
    train, test, target = codes[:60], codes[60:], factors[:60, 1]
    fitted = PROBES["gbt-exact"].classes(train, target, test, 5)
    theirs = GradientBoostingClassifier(random_state=5).fit(train, target)
    assert fitted.importance == pytest.approx(theirs.feature_importances_, abs=1e-12)
    np.testing.assert_array_equal(fitted.predicted, theirs.predict(test))


def test_powers_of_two_leave_digits():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(50, 3)) * [1e-30, 1.0, 1e30]
    train, test = to_single(codes[:30], codes[30:])
    ratio = np.vstack([train, test]) / codes
    assert (ratio == ratio[0]).all()
    assert (np.frexp(ratio[0])[0] == 0.5).all()
    assert 512 <= np.abs(train).max() <= 1024


def test_lasso_equals_scikit_learn():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    codes = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    values = codes @ [1.0, 0.0, -0.5, 0.1, 0.0] + rng.normal(size=300)
    values = (values - values.mean()) / values.std()
    theirs = Lasso(alpha=0.02, tol=1e-12, max_iter=100_000).fit(codes, values).coef_
    assert lasso_values(codes, values, 0.02)[:, 0] == pytest.approx(theirs, abs=1e-5)


def test_lasso_of_classes_is_optimal():
    """The gradient of a weight that is not 0 equals its penalty; that of others is below it."""
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(400, 6))
    codes = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    classes = np.digitize(codes[:, 0] + 0.5 * rng.normal(size=400), [-1, 0.5])
    weights = lasso_classes(codes, classes, 0.05)
    scores = codes @ weights[:-1] + weights[-1]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    target = np.eye(3)[classes]
    slope = codes.T @ (p - target) / 400
    penalty = 0.05 * target.std(axis=0)
    assert (p - target).mean(axis=0) == pytest.approx(0, abs=1e-5)
    nought = weights[:-1] == 0
    assert 3 < nought.sum() < 18
    assert (np.abs(slope) <= penalty + 1e-5).all()
    assert (slope + penalty * np.sign(weights[:-1]))[~nought] == pytest.approx(0, abs=1e-5)


def test_lasso_drops_what_is_less_correlated_than_alpha():
    codes = np.array([[-1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]]).T
    values = codes @ [0.9, 0.019]
    assert lasso_values(codes, values, 0.02)[:, 0] == pytest.approx([0.88, 0.0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_values_are_predicted_as_values(estimator, few_rounds):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(400, 2))
    codes = np.column_stack([np.exp(factors[:, 0]), -factors[:, 1], rng.normal(size=400)])
    found = dci(codes, 1e200 * factors, estimator=estimator, discrete=False)
    assert found.importance.argmax(axis=0).tolist() == [0, 1]
    assert not any(entry.discrete for entry in found.predictions)
    entry = found.predictions[1]
    explained = 1 - np.mean((entry.truth - entry.predicted) ** 2) / entry.truth.var()
    assert found.factor_informativeness[1] == pytest.approx(explained)
    assert found.disentanglement > 0.8
    assert dci(codes, factors, estimator=estimator)[:3] == pytest.approx(found[:3], abs=2e-3)


def test_noise_explains_no_value_and_not_less():
    rng = np.random.default_rng(0)
    found = dci(rng.normal(size=(60, 4)), rng.normal(size=(60, 1)))
    entry = found.predictions[0]
    assert ((entry.truth - entry.predicted) ** 2).mean() > entry.truth.var()
    assert found.informativeness == 0.0


def test_missing_values_leave_out_rows_of_that_factor_only(small, few_rounds):
    codes, factors = small
    third = np.where(np.arange(len(codes)) % 3 == 0, np.nan, factors[:, 1])
    alone, found = dci(codes, factors), dci(codes, np.column_stack([factors, third]))
    np.testing.assert_array_equal(found.importance[:, :2], alone.importance)
    rows = found.predictions[2].rows
    assert (rows % 3 != 0).all()
    assert 60 < rows.mean() < 140
    assert found.provenance["train_rows"] == [120, 120, 80]
    assert found.provenance["test_rows"] == [80, 80, 53]


def test_a_class_outside_the_training_rows_is_missed(few_rounds):
    factors = np.zeros((40, 1), dtype=int)
    factors[::2] = 1
    factors[3] = -9  # so that the numbers of the other classes move when it is not seen
    codes = factors + 0.0
    for seed in range(8):
        found = dci(codes, factors, rng=seed)
        entry = found.predictions[0]
        if 3 in entry.rows:
            assert found.informativeness == 15 / 16
            assert entry.predicted[entry.rows == 3] != entry.truth[entry.rows == 3]
            return
    pytest.fail("no seed tests on that row")


def test_constant_training_rows_predict_themselves(few_rounds):
    factors = np.zeros((30, 1), dtype=int)
    factors[7] = 1
    found = [dci(np.arange(30.0)[:, None], factors, rng=seed) for seed in range(5)]
    held_out = [7 in f.predictions[0].rows for f in found]
    assert any(held_out)
    for f, out in zip(found, held_out, strict=True):
        if out:
            assert f[:2] == (0.0, 0.0)
            assert f.informativeness == 11 / 12


def test_constant_codes_guess(small):
    _, factors = small
    found = dci(np.ones((200, 2)), factors)
    assert found[:2] == (0.0, 0.0)
    assert found.informativeness == pytest.approx(0.3, abs=0.1)
    assert not found.importance.any()


@pytest.mark.parametrize(
    ("rows", "train", "test", "expected"),
    [
        (200, None, None, (120, 80)),
        (5, None, None, (3, 2)),
        (2500, None, None, (1500, 1000)),
        (4000, None, None, (1500, 1000)),
        (2000, 1900, None, (1900, 100)),
        (2000, None, 800, (1200, 800)),
        (2000, 0.5, 0.5, (1000, 1000)),
        (2000, 0.9, None, (1800, 200)),
        (200, 30, 0.1, (30, 20)),
    ],
)
def test_rows(rows, train, test, expected):
    factors = np.arange(rows)[:, None] % 2
    codes = np.ones((rows, 1))
    found = dci(codes, factors, train_rows=train, test_rows=test).provenance
    assert (found["train_rows"], found["test_rows"]) == ([expected[0]], [expected[1]])


@pytest.mark.parametrize(
    ("rows", "arguments"),
    [(2, {}), (100, {"train_rows": 90, "test_rows": 20}), (100, {"train_rows": 100})],
)
def test_too_few_rows(rows, arguments):
    factors = np.arange(rows)[:, None] % 2
    with pytest.raises(NotDefinedError, match=r"Expected enough rows .* known at \d+; pass"):
        dci(factors + 0.0, factors, **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"estimator": "GBT"}, ValueError, "'gbt', 'gbt-exact', 'lasso', 'random-forest', but got"),
        ({"estimator": None}, ValueError, "Expected estimator to be one of"),
        ({"train_rows": 1.5}, ValueError, "between 0 and 1, but got 1.5"),
        ({"train_rows": 1}, ValueError, "at least 2, but got 1"),
        ({"test_rows": "all"}, TypeError, "Expected test_rows to be an int"),
        ({"rng": 0.5}, TypeError, "Expected rng"),
    ],
)
def test_refusals(small, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        dci(*small, **arguments)


def test_resampled_informativeness(small):
    codes, factors = small
    found = dci(codes, factors, train_rows=50, test_rows=150)
    drawn = found.resampled(0, 400)
    assert list(drawn) == ["informativeness"]
    values = drawn["informativeness"]
    assert values.mean() == pytest.approx(found.informativeness, abs=0.01)
    hits = np.mean([entry.predicted == entry.truth for entry in found.predictions], axis=0)
    assert values.std() == pytest.approx(hits.std() / np.sqrt(150), rel=0.15)
    np.testing.assert_array_equal(found.resampled(0, 400)["informativeness"], values)


def test_deterministic_and_read_only(small, few_rounds):
    found, again, other = dci(*small), dci(*small), dci(*small, rng=1)
    np.testing.assert_array_equal(found.importance, again.importance)
    assert not np.array_equal(found.importance, other.importance)
    assert not any(a.flags.writeable for a in found if isinstance(a, np.ndarray))
    assert found.provenance["variant"] == "gbt"
    assert found.provenance["seed"] == 0
    assert dci(*small, rng=np.random.default_rng(0)).provenance["seed"] is None
