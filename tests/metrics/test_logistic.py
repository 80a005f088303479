"""The logistic regression behind the β-VAE score, against scikit-learn's at its optimum."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from disvae.metrics.logistic import fit_classifier


def problem(classes, features=4, n=600, separation=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    centres = separation * rng.normal(size=(classes, features))
    return centres[labels] + rng.normal(size=(n, features)), labels


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("separation", [0.0, 1.0, 4.0])
def test_optimum_is_that_of_scikit_learn(classes, separation):
    points, labels = problem(classes, separation=separation)
    found = fit_classifier(points, labels, classes, np.ones(points.shape[1]))
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(points, labels)
    weights, bias = found.weights, found.bias - found.bias.mean()
    if classes == 2:  # one vector there: that of the second class against the first
        weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
    theirs_bias = theirs.intercept_ - (theirs.intercept_.mean() if classes > 2 else 0)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(bias, theirs_bias, atol=1e-4)
    assert (found.predict(points) == theirs.predict(points)).mean() > 0.998


def test_penalty_of_a_feature_is_a_change_of_its_unit():
    """Weights on x with penalty 1 are weights on c·x with penalty 1/c², divided by c."""
    points, labels = problem(4)
    unit = np.array([1e-3, 1.0, 8.0, 50.0])
    found = fit_classifier(points, labels, 4, 1 / unit**2)
    theirs = LogisticRegression(tol=1e-12, max_iter=10_000, solver="newton-cg")
    expected = theirs.fit(points * unit, labels).coef_
    np.testing.assert_allclose(found.weights / unit, expected, rtol=1e-3, atol=1e-6)
    assert np.abs(found.weights[:, 0]).max() < 1e-3 < np.abs(found.weights[:, 1]).max()


def gradient(points, labels, penalty, found):
    scores = points @ found.weights.T + found.bias
    probability = np.exp(scores - scores.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    probability[np.arange(len(labels)), labels] -= 1
    return np.column_stack(
        [probability.T @ points + penalty * found.weights, probability.sum(axis=0)]
    )


def test_gradient_vanishes_at_the_result():
    points, labels = problem(5, separation=0.7, seed=3)
    penalty = np.array([0.0, 0.1, 1.0, 30.0])
    found = fit_classifier(points, labels, 5, penalty)
    np.testing.assert_allclose(gradient(points, labels, penalty, found), 0, atol=1e-5)


def test_full_steps_that_overshoot_are_shortened():
    """Few heavy-tailed points of rare classes; undamped steps make the loss rise on some."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(12, 40))
        points = rng.normal(size=(n, 2)) * np.exp(2.5 * rng.normal(size=(n, 1)))
        labels = rng.integers(4, size=n) * (rng.random(n) < 0.2)
        labels[:4] = range(4)
        found = fit_classifier(points, labels, 4, np.full(2, 1e-3))
        left = gradient(points, labels, 1e-3, found) / np.append(np.abs(points).max(axis=0), 1)
        np.testing.assert_allclose(left, 0, atol=1e-3)


@pytest.mark.parametrize("penalty", [1e-200, 1e-12, 1.0, 1e200])
def test_separable_points_and_extreme_penalties_end(penalty):
    points, labels = problem(3, separation=50.0)
    found = fit_classifier(points, labels, 3, np.full(4, penalty))
    assert np.isfinite(found.weights).all()
    right = (found.predict(points) == labels).mean()
    assert right == 1.0 if penalty <= 1 else right < 0.5


@pytest.mark.parametrize("penalty", [1e-200, 1e-9])
def test_copies_of_a_feature_share_its_weight(penalty):
    points, labels = problem(3)
    doubled = fit_classifier(np.hstack([points, points]), labels, 3, np.full(8, penalty))
    np.testing.assert_allclose(doubled.weights[:, :4], doubled.weights[:, 4:], rtol=1e-4)


def test_class_without_a_point_is_never_given():
    points, labels = problem(3)
    found = fit_classifier(points, 2 * labels, 6, np.ones(4))
    assert set(found.predict(10 * points)) <= {0, 2, 4}


def test_one_class_and_no_features():
    always = fit_classifier(np.zeros((5, 0)), np.array([2, 2, 1, 2, 0]), 4, np.zeros(0))
    assert always.predict(np.zeros((3, 0))).tolist() == [2, 2, 2]
    only = fit_classifier(np.ones((4, 2)), np.ones(4, dtype=int), 3, np.ones(2))
    assert only.predict(-np.ones((2, 2))).tolist() == [1, 1]
