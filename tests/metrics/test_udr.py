"""UDR against the published procedure as a plain loop, and against closed forms."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso

from disvae.metrics import NotDefinedError, udr


@pytest.fixture(scope="module")
def three_models():
    """Codes that carry the same factors in part, each with an order and scales of its own."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=(400, 4))
    mixing = [np.eye(4), np.eye(4)[[2, 0, 3, 1]], rng.normal(size=(4, 4))]
    return [(v @ m + 0.4 * rng.normal(size=v.shape)) * [1.0, -5.0, 0.1, 3.0] + 2.0 for m in mixing]


def plain_loop(models, masks, relevance):
    """The published procedure: uninformative dimensions silenced, then left out."""
    M = len(models)
    models = [
        (z - z.mean(axis=0)) / z.std(axis=0) * mask for z, mask in zip(models, masks, strict=True)
    ]
    pairwise = np.zeros((M, M))
    for i in range(M):
        for j in range(M):
            if i == j:
                continue
            if relevance == "lasso":
                matrix = np.abs(Lasso(alpha=0.1, tol=1e-8).fit(models[i], models[j]).coef_.T)
            else:
                matrix = np.array(
                    [
                        [
                            abs(spearmanr(a, b)[0]) if a.std() > 0 and b.std() > 0 else 0.0
                            for b in models[j].T
                        ]
                        for a in models[i].T
                    ]
                )
            matrix = matrix[masks[i]][:, masks[j]]
            means = []
            for axis in (0, 1):
                total = matrix.sum(axis=axis)
                top = matrix.max(axis=axis) ** 2
                means.append(
                    np.mean([t / s if s > 0 else 0.0 for t, s in zip(top, total, strict=True)])
                )
            pairwise[i, j] = np.mean(means)
    scores = [np.median([pairwise[i, j] for i in range(M) if i != j]) for j in range(M)]
    return np.array(scores), pairwise


# older versions of scikit-learn complain of the loop's silenced targets
@pytest.mark.filterwarnings("ignore:Objective did not converge")
@pytest.mark.parametrize("relevance", ["lasso", "spearman"])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_a_plain_loop(three_models, relevance, masked):
    masks = [np.ones(4, dtype=bool)] * 3
    if masked:
        masks = [np.array([1, 1, 0, 1], dtype=bool), masks[1], np.array([0, 1, 1, 0], dtype=bool)]
    found = udr(three_models, informative=masks, relevance=relevance)
    scores, pairwise = plain_loop(three_models, masks, relevance)
    np.testing.assert_allclose(found.pairwise, pairwise, atol=1e-6)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert found.provenance["informative"] == [int(mask.sum()) for mask in masks]
    assert 0.2 < pairwise[0, 1] < 0.95  # not a trivial comparison


def test_relevance_matrices(three_models):
    masks = [np.array([1, 0, 1, 1], dtype=bool)] * 3
    found = udr(three_models, informative=masks, relevance="spearman")
    matrix = found.relevance[0][2]
    assert matrix[0, 2] == pytest.approx(
        abs(spearmanr(three_models[0][:, 0], three_models[2][:, 2])[0]), abs=1e-12
    )
    np.testing.assert_array_equal(matrix[1], 0.0)
    np.testing.assert_array_equal(matrix[:, 1], 0.0)
    np.testing.assert_array_equal(found.relevance[1][1], 0.0)
    np.testing.assert_array_equal(found.relevance[2][0], matrix.T)


def test_weights_go_from_rows_to_columns():
    """Model 0 predicts model 1 of half its dimensions, and not the other way round."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2000, 2))
    b = np.column_stack([a[:, 0] + a[:, 1]])
    found = udr([a, b])
    np.testing.assert_allclose(found.relevance[0][1], np.sqrt(0.5) - 0.1, atol=0.04)
    np.testing.assert_allclose(found.relevance[1][0], np.sqrt(0.5) - 0.1, atol=0.04)
    assert found.relevance[0][1].shape == (2, 1)
    three = udr([a, b, a])
    # A model's score is the median over those that predict it: its column.
    np.testing.assert_allclose(three.scores[1], np.median(three.pairwise[[0, 2], 1]))


def test_models_that_agree():
    v = np.random.default_rng(0).normal(size=(5000, 3))
    v -= v.mean(axis=0)
    v = v @ np.linalg.inv(np.linalg.cholesky(np.cov(v, rowvar=False)).T)  # uncorrelated
    models = [v, -3.0 * v[:, [2, 0, 1]], v[:, ::-1] + 7.0]
    np.testing.assert_allclose(udr(models).scores, 0.9, atol=1e-9)
    np.testing.assert_allclose(udr(models, alpha=0.25).scores, 0.75, atol=1e-9)
    np.testing.assert_allclose(udr(models, relevance="spearman").scores, 1.0, atol=0.1)
    cubed = [models[0], models[1] ** 3, np.exp(models[2])]
    np.testing.assert_allclose(
        udr(cubed, relevance="spearman").pairwise,
        udr(models, relevance="spearman").pairwise,
        atol=1e-12,
    )


def test_an_entangled_model_ranks_last():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(2000, 3))
    entangled, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    models = [v + 0.1 * rng.normal(size=v.shape) for _ in range(3)] + [v @ entangled]
    for relevance in ("lasso", "spearman"):
        scores = udr(models, relevance=relevance).scores
        assert scores.argmin() == 3
        assert scores[3] < scores[:3].min() - 0.1


@pytest.mark.parametrize("relevance", ["lasso", "spearman"])
def test_order_sign_scale_and_dead_codes_change_nothing(three_models, relevance):
    changed = [
        three_models[0][:, [3, 1, 0, 2]] * [-1, 1e-9, 1e9, -7],
        np.insert(three_models[1], [0, 4], 0.3, axis=1),
        three_models[2] + 1e3,
    ]
    before = udr(three_models, relevance=relevance)
    after = udr(changed, relevance=relevance)
    np.testing.assert_allclose(after.pairwise, before.pairwise, atol=1e-7)


def test_models_of_unequal_size_and_without_anything_informative(three_models):
    models = [three_models[0][:, :2], three_models[1], np.ones((400, 3))]
    for relevance in ("lasso", "spearman"):
        found = udr(models, relevance=relevance)
        assert found.pairwise[0, 1] > 0
        np.testing.assert_array_equal(found.pairwise[2], 0.0)
        np.testing.assert_array_equal(found.pairwise[:, 2], 0.0)
        assert found.relevance[0][2].shape == (2, 3)


def test_copies_of_dimensions_converge(three_models):
    doubled = [np.hstack([z, z]) for z in three_models]
    found = udr(doubled)
    assert np.isfinite(found.scores).all()


def test_result_is_read_only(three_models):
    found = udr(three_models)
    for array in (found.scores, found.pairwise, found.relevance[0][1]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


@pytest.mark.parametrize("models", [[], [np.random.default_rng(0).normal(size=(9, 2))]])
def test_one_model_is_not_defined(models):
    with pytest.raises(NotDefinedError, match="two models or more"):
        udr(models)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"relevance": "pearson"}, "'lasso', 'spearman'"),
        ({"alpha": 0}, "alpha"),
        ({"alpha": "0.1"}, "alpha"),
        ({"informative": [np.ones(4, dtype=bool)]}, "3 models"),
        ({"informative": [np.ones(4)] * 3}, "dtype float64"),
        ({"informative": [np.ones(3, dtype=bool)] * 3}, r"shape \(3,\)"),
    ],
)
def test_settings_out_of_range(three_models, settings, words):
    with pytest.raises(ValueError, match=words) as caught:
        udr(three_models, **settings)
    assert str(caught.value).startswith("Expected ")


def test_rows_must_be_the_same(three_models):
    with pytest.raises(ValueError, match="399 and 400"):
        udr([three_models[0], three_models[1][1:]])
    with pytest.raises(ValueError, match="finite"):
        udr([three_models[0], np.full((400, 1), np.nan)])
