"""Multinomial logistic regression by Newton's method, to the optimum whatever the scales."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp, softmax

# Nats, summed over the points, by which the last full step may still have mattered.
_TOLERANCE = 1e-6
_STEPS = 200
_DAMPING = 1e-10


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of several classes.

    Attributes:
        weights: Shape (classes, features).
        bias: Shape (classes,); minus infinity for a class without a training point.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def predict(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """The most probable class of each point."""
        return (points @ self.weights.T + self.bias).argmax(axis=1)


def fit_classifier(
    points: NDArray[np.float64],
    labels: NDArray[np.intp],
    classes: int,
    penalty: NDArray[np.float64],
) -> Classifier:
    r"""Minimises :math:`-\sum_i \log p(y_i | x_i) + \frac12 \sum_{cj} \lambda_j w_{cj}^2`.

    The bias is not penalised. Of two classes :math:`w_1 - w_0` is penalised in place of both.
    With all :math:`\lambda_j = 1` this is what scikit-learn's LogisticRegression minimises by
    default. Its own solver stops after a hundred steps, with a warning and up to 0.01 of accuracy
    away from the optimum where scales differ; Newton's method does not see scales.

    Args:
        points: Shape (n, features), best of about unit variance.
        labels: Their classes, shape (n,).
        classes: How many classes there are.
        penalty: The weight :math:`\lambda_j` of each feature, shape (features,).
    """
    seen, targets = np.unique(labels, return_inverse=True)
    weights, bias = np.zeros((classes, points.shape[1])), np.full(classes, -np.inf)
    # At the optimum of two classes w₀ = -w₁: the squares of both are half that of the difference.
    share = 2.0 if len(seen) == 2 else 1.0
    found = _newton(points, targets.reshape(-1), len(seen), share * penalty)
    weights[seen], bias[seen] = found[:, :-1], found[:, -1]
    return Classifier(weights, bias)


def _newton(
    points: NDArray[np.float64],
    targets: NDArray[np.intp],
    C: int,
    penalty: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The minimum, weights and bias side by side, shape (C, features + 1)."""
    n = len(points)
    design = np.column_stack([points, np.ones(n)])
    ridge = np.append(penalty, 0.0)
    rows = np.arange(n)

    def loss(w: NDArray[np.float64]) -> float:
        scores = design @ w.T
        nats = (logsumexp(scores, axis=1) - scores[rows, targets]).sum()
        return float(nats + 0.5 * (ridge * w**2).sum())

    w = np.zeros((C, design.shape[1]))
    current = loss(w)
    for _ in range(_STEPS):
        probability = softmax(design @ w.T, axis=1)
        residual = probability.copy()
        residual[rows, targets] -= 1
        gradient = residual.T @ design + ridge * w
        step = _solve(_curvature(design, probability, ridge), gradient)
        gain = float((step * gradient).sum())
        length = 1.0
        while (proposed := loss(w - length * step)) > current - 1e-4 * length * gain:
            length /= 2
            if length < _DAMPING:
                return w  # rounding hides any further gain
        w, current = w - length * step, proposed
        if gain < _TOLERANCE:
            break
    return w


def _curvature(
    design: NDArray[np.float64], probability: NDArray[np.float64], ridge: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The Hessian, shape (C, features + 1, C, features + 1)."""
    C, width = probability.shape[1], design.shape[1]
    hessian = np.empty((C, width, C, width))
    for c in range(C):
        for other in range(c + 1):
            weight = probability[:, c] * ((c == other) - probability[:, other])
            block = design.T @ (weight[:, None] * design)
            hessian[c, :, other] = hessian[other, :, c] = block
        hessian[c, :, c] += np.diag(ridge)
    for j in range(width):
        # What all classes have in common changes no probability, and no step changes it: this
        # fills the gap without moving the step.
        hessian[:, j, :, j] += 1
    return hessian


def _solve(hessian: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    size = gradient.size
    matrix = hessian.reshape(size, size)
    # Directions without curvature (duplicated features, certain predictions) have no gradient
    # either; the damping keeps the factorisation from failing there.
    matrix[np.diag_indices(size)] *= 1 + _DAMPING
    return cho_solve(cho_factor(matrix), gradient.reshape(-1)).reshape(gradient.shape)
