"""InfoMEC against the stored values, scikit-learn, closed forms and its own definition."""

import json

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score
from sklearn.preprocessing import StandardScaler

from disvae.metrics import (
    EqualWidth,
    Linear,
    Logistic,
    Neighbours,
    NotDefinedError,
    Predictor,
    infomec,
    mir,
)


@pytest.fixture(scope="module")
def mixture():
    """Five codes, one of them noise, and three factors of classes of unequal size."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.binomial(size - 1, 0.4, size=700) for size in (2, 3, 4)], axis=1)
    codes = factors @ rng.normal(size=(3, 4)) + rng.normal(size=(700, 4))
    return np.column_stack([codes, rng.normal(size=700)]), factors


def test_reference_values(reference):
    names = ("infom", "infoe", "infoc")
    entries = [entry for name in names for entry in reference.entries(name)]
    assert len(entries) == 6 + 7 + 7
    found = {}
    for name in {entry["case"] for entry in entries}:
        case = reference.case(name)
        found[name] = infomec(case["codes"], case["factors"])
    for entry in entries:
        value = getattr(found[entry["case"]], entry["metric"])
        assert value == pytest.approx(entry["value"], abs=entry["tol"]), entry


def test_reference_values_of_least_squares(reference):
    entries = reference.entries("explicitness_linear_r2")
    assert len(entries) == 7
    for entry in entries:
        case = reference.case(entry["case"])
        found = infomec(case["codes"], case["factors"], predictor=Linear()).infoe
        assert found == pytest.approx(entry["value"], abs=entry["tol"]), entry["case"]


def test_noise_has_a_value(reference):
    """The published code divides by the information of a code that has none."""
    case = reference.case("noise_only")
    found = infomec(case["codes"], case["factors"])
    assert 0 < found.infom < 1
    unknowing = found.share.sum(axis=1) == 0
    assert unknowing.any()
    counted = found.provenance["counted"]
    assert counted == np.flatnonzero(~unknowing).tolist()
    assert found.infom == pytest.approx(found.per_code[counted].mean())


def test_definition_by_loops(mixture):
    codes, factors = mixture
    found = infomec(codes, factors)
    kept = [d for d in range(5) if np.ptp(codes[:, d]) > np.ptp(codes, axis=0).max() / 20]
    nmi = np.array(
        [
            [
                mutual_info_classif(codes[:, [d]], v, n_neighbors=10, random_state=0)[0]
                / mutual_info_score(v, v)
                for v in factors.T
            ]
            for d in kept
        ]
    )
    informative = nmi[nmi.sum(axis=1) > 0]
    m = np.mean(informative.max(axis=1) / informative.sum(axis=1))
    c = np.mean(nmi.max(axis=0) / nmi.sum(axis=0))
    assert found.infom == pytest.approx((m - 1 / 3) / (2 / 3), abs=1e-6)
    assert found.infoc == pytest.approx((c - 1 / len(kept)) / (1 - 1 / len(kept)), abs=1e-6)


@pytest.mark.parametrize("balanced", [True, False])
def test_logistic_equals_scikit_learn_on_unequal_classes(mixture, balanced):
    codes, factors = mixture
    found = infomec(codes, factors, predictor=Logistic(max_iter=1000, balanced=balanced))
    x = StandardScaler().fit_transform(codes)
    for k, v in enumerate(factors.T):
        weight = "balanced" if balanced else None
        model = LogisticRegression(C=np.inf, class_weight=weight, tol=1e-8, max_iter=1000)
        loss = log_loss(v, model.fit(x, v).predict_proba(x))
        without = np.log(v.max() + 1) if balanced else mutual_info_score(v, v)
        assert found.explicitness[k] == pytest.approx(1 - loss / without, abs=1e-4)


def test_logistic_of_a_table_predicts_its_information():
    """A binary code leaves the fit no choice: the share is I(z; v) / H(v)."""
    table = np.array([[30, 10, 5], [5, 20, 30]])
    pairs = np.repeat(np.argwhere(table >= 0), table.reshape(-1), axis=0)
    code, factor = pairs[:, :1], pairs[:, 1]
    factors = np.column_stack([factor, np.arange(100) % 2])
    found = infomec(code, factors, predictor=Logistic(balanced=False))
    expected = mutual_info_score(code[:, 0], factor) / mutual_info_score(factor, factor)
    assert found.explicitness[0] == pytest.approx(expected, abs=1e-6)
    # All classes weighed alike: the same with the table's columns made equal, scored on the rows.
    p = table / table.sum(axis=0)
    posterior = p / p.sum(axis=1, keepdims=True)
    expected = 1 + (table * np.log(posterior)).sum() / 100 / np.log(3)
    balanced = infomec(code, factors)
    assert balanced.explicitness[0] == pytest.approx(expected, abs=1e-6)


def test_blocks_of_rows_do_not_matter(mixture, monkeypatch):
    codes, factors = mixture
    whole = infomec(codes, factors).explicitness
    monkeypatch.setattr("disvae.metrics.predictive._SCORES", 100)
    np.testing.assert_allclose(infomec(codes, factors).explicitness, whole, atol=1e-6)


def test_linear_equals_scikit_learn(mixture):
    codes, factors = mixture
    factors = factors * [1.0, -1e200, 1e-200] + [0, 0, 7e-200]
    found = infomec(codes, factors, discrete=True, predictor=Linear())
    for k in range(3):
        y = factors[:, k] / np.abs(factors[:, k]).max()
        expected = LinearRegression().fit(codes, y).score(codes, y)
        assert found.explicitness[k] == pytest.approx(expected, abs=1e-10)
    assert found.provenance["predictor"] == "least squares"


@pytest.mark.parametrize("predictor", [Logistic(), Linear()])
def test_explicitness_is_blind_to_linear_maps_and_copies(mixture, predictor):
    codes, factors = mixture
    rng = np.random.default_rng(1)
    plain = infomec(codes, factors, predictor=predictor).explicitness
    turned = codes @ rng.normal(size=(5, 5)) * 10.0 ** rng.integers(-6, 6, size=5)
    for other in (turned, np.hstack([codes, 2 * codes]), np.hstack([codes, np.ones((700, 2))])):
        found = infomec(other, factors, predictor=predictor).explicitness
        np.testing.assert_allclose(found, plain, atol=1e-4)


def test_pruning_is_by_range_and_so_by_scale(mixture):
    codes, factors = mixture
    codes = codes / np.ptp(codes, axis=0)
    small = codes * [1, 1, 1, 1, 1 / 19]
    smaller = codes * [1, 1, 1, 1, 1 / 21]
    assert infomec(small, factors).active.tolist() == [True] * 5
    pruned = infomec(smaller, factors)
    assert pruned.active.tolist() == [True] * 4 + [False]
    assert pruned.infoc != pytest.approx(infomec(small, factors).infoc, abs=1e-3)
    assert pruned.per_code[4] == 0
    # All codes predict, whatever their range.
    assert pruned.infoe == pytest.approx(infomec(small, factors).infoe, abs=1e-4)
    # Pruned is left out altogether.
    without = infomec(codes[:, :4], factors)
    assert pruned.infom == pytest.approx(without.infom, abs=1e-12)
    assert pruned.infoc == pytest.approx(without.infoc, abs=1e-12)
    for settings in ({"standardise": True}, {"min_range": 0}):
        free, other = (
            infomec(c, factors, **settings) for c in (smaller, codes * [1, -7, 1e5, 1, 1e-5])
        )
        assert free.active.all()
        np.testing.assert_allclose(free[:3], other[:3], atol=1e-4)


def test_a_common_scale_changes_nothing(mixture):
    codes, factors = mixture
    np.testing.assert_allclose(
        infomec(codes * 1e-3, factors)[:3], infomec(codes, factors)[:3], atol=1e-6
    )


def test_is_mir_by_neighbours_where_nothing_is_pruned(mixture):
    found, ratio = infomec(*mixture), mir(*mixture, estimator=Neighbours(10))
    assert found.infom == pytest.approx(ratio.modularity, abs=1e-12)
    assert found.infoc == pytest.approx(ratio.compactness, abs=1e-12)


def test_another_estimator(mixture):
    found, ratio = infomec(*mixture, estimator=EqualWidth(7)), mir(*mixture, bins=7)
    assert found.infom == pytest.approx(ratio.modularity, abs=1e-12)
    assert found.provenance["estimator"] == "plug-in, equal-width bins"


def test_dead_codes_at_either_end_change_nothing(mixture):
    codes, factors = mixture
    dead = np.full((700, 1), 3e5)
    plain, padded = infomec(codes, factors), infomec(np.hstack([dead, codes, dead]), factors)
    np.testing.assert_allclose(padded[:3], plain[:3], atol=1e-12)
    np.testing.assert_array_equal(padded.active, [False, *plain.active, False])
    np.testing.assert_array_equal(padded.per_code[1:-1], plain.per_code)


def test_order_of_codes_and_factors(mixture):
    codes, factors = mixture
    np.testing.assert_allclose(
        infomec(-codes[:, ::-1], factors[:, ::-1])[:3], infomec(codes, factors)[:3], atol=1e-4
    )


@pytest.mark.parametrize("predictor", [Logistic(), Linear()])
def test_missing_values(mixture, predictor):
    codes, factors = mixture
    holed = factors.astype(float)
    holed[::3, 1] = np.nan
    kept = ~np.isnan(holed[:, 1])
    found, whole, part = (
        infomec(c, f, predictor=predictor)
        for c, f in ((codes, holed), (codes, factors), (codes[kept], factors[kept]))
    )
    np.testing.assert_allclose(found.explicitness[[0, 2]], whole.explicitness[[0, 2]], atol=1e-12)
    assert found.explicitness[1] == pytest.approx(part.explicitness[1], abs=1e-4)
    np.testing.assert_allclose(found.share[:, 1], part.share[:, 1], atol=1e-9)


def test_a_code_that_is_constant_where_the_factor_is_known(mixture):
    codes, factors = mixture
    codes, holed = codes.copy(), factors.astype(float)
    codes[:350, 0], holed[350:, 1] = 1.0, np.nan
    found = infomec(codes, holed)
    part = infomec(codes[:350, 1:], factors[:350])
    assert found.explicitness[1] == pytest.approx(part.explicitness[1], abs=1e-4)


def test_degenerate_codes(mixture):
    codes, factors = mixture
    dead = infomec(np.ones((700, 2)), factors)
    assert dead[:3] == (0.0, 0.0, 0.0)
    assert not dead.active.any()
    one = infomec(factors[:, 1:2] + 0.01 * codes[:, :1], factors)
    assert one.infoc == pytest.approx((one.share[0] > 0).mean())
    assert 0 < one.infom <= 1


def test_degenerate_factors(mixture):
    codes, _ = mixture
    with pytest.raises(NotDefinedError, match="at least two factors"):
        infomec(codes, np.arange(700).reshape(-1, 1) % 3)
    with pytest.raises(NotDefinedError, match="at least two rows share"):
        infomec(codes[:2], [[0, 1], [1, 0]])


def test_aligned_and_rotated_codes(grid):
    codes = grid + 0.02 * np.random.default_rng(0).normal(size=grid.shape)
    straight = infomec(codes, grid)
    assert min(straight[:3]) > 0.98
    turned = infomec(codes @ np.array([[0.7, 0.7, 0], [-0.7, 0.7, 0], [0, 0, 1]]), grid)
    assert turned.infom < 0.7
    assert turned.infoc < 0.7
    assert turned.infoe == pytest.approx(straight.infoe, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"predictor": "linear"}, TypeError, r"metrics\.Predictor or None, but got 'linear'"),
        ({"min_range": -0.1}, ValueError, "min_range"),
        ({"min_range": 1}, ValueError, "min_range"),
        ({"min_range": np.nan}, ValueError, "min_range"),
        ({"min_range": "0"}, ValueError, "min_range"),
    ],
)
def test_bad_settings(mixture, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        infomec(*mixture, **settings)
    assert 25 <= len(str(caught.value)) <= 400


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"max_iter": 0}, ValueError), ({"max_iter": 5.0}, TypeError), ({"balanced": 1}, TypeError)],
)
def test_bad_logistic(settings, error):
    with pytest.raises(error, match=f"Expected {next(iter(settings))} to be"):
        Logistic(**settings)


def test_a_predictor_of_ones_own(mixture):
    class Guess(Predictor):
        def share(self, codes, classes, values):
            np.testing.assert_allclose(codes.T @ codes / len(codes), np.eye(5), atol=1e-9)
            np.testing.assert_array_equal(classes.classes, values)
            return 0.25

        def settings(self):
            return {"predictor": "guess"}

    found = infomec(*mixture, predictor=Guess())
    assert found.infoe == 0.25
    assert found.provenance["predictor"] == "guess"


def test_record_and_arrays(mixture):
    found = infomec(*mixture, rng=4)
    expected = {"metric": "infomec", "k": 10, "seed": 4, "min_range": 0.05, "max_iter": 100}
    assert expected.items() <= found.provenance.items()
    json.dumps(found.provenance)
    assert all(type(value) is float for value in found[:3])
    for array in found[3:8]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
