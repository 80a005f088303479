r"""Linear fits with a penalty on the sum of absolute weights (the lasso), of values and classes.

Both minimise a mean loss plus a penalty by accelerated proximal gradient descent from zero, which
treats equal codes equally: copies of a code share its weight. On codes of mean 0 and variance 1,

.. math::
    \frac{1}{2n} \lVert y - Zw - b \rVert^2 + \alpha \lVert w \rVert_1, \qquad
    -\frac1n \sum_i \log p(y_i \mid z_i) + \alpha \sum_c \sigma_c \lVert w_c \rVert_1,

for values y of variance 1, and for classes c whose indicator has the standard deviation
:math:`\sigma_c`. In both a code gets a weight only if its correlation with the values, or with the
indicator of a class, exceeds α in size before there is any other weight.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

# Of the largest weight: what a step still changes when the descent ends.
_TOLERANCE = 1e-7
_STEPS = 20_000


def lasso_values(
    codes: NDArray[np.float64], values: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Weights of least squares, shape (D, 1); codes (n, D) and values (n,) of mean 0, variance 1.

    The intercept is 0.
    """
    n = len(codes)
    gram, moment = codes.T @ codes / n, codes.T @ values[:, None] / n
    steepest = np.linalg.eigvalsh(gram)[-1]
    return _descend(lambda w: gram @ w - moment, np.full((1, 1), alpha), steepest, moment.shape)


def lasso_classes(
    codes: NDArray[np.float64], classes: NDArray[np.intp], alpha: float
) -> NDArray[np.float64]:
    """Weights of logistic regression and, last, the intercepts: shape (D + 1, V).

    Args:
        codes: Of mean 0 and variance 1, shape (n, D).
        classes: Numbered from 0, all of which occur, shape (n,).
        alpha: The penalty.
    """
    n = len(codes)
    design = np.column_stack([codes, np.ones(n)])
    share = np.bincount(classes) / n
    target = np.zeros((n, len(share)))
    target[np.arange(n), classes] = 1
    penalty = np.repeat(alpha * np.sqrt(share * (1 - share))[None], design.shape[1], axis=0)
    penalty[-1] = 0

    def gradient(w: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(design.T @ (softmax(design @ w, axis=1) - target) / n)

    # The softmax has a curvature of at most a half.
    steepest = 0.5 * np.linalg.eigvalsh(design.T @ design / n)[-1]
    return _descend(gradient, penalty, steepest, penalty.shape)


def _descend(
    gradient: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    penalty: NDArray[np.float64],
    steepest: float,
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Minimises a smooth function plus a weighted sum of absolute weights, from zero."""
    weights = ahead = np.zeros(shape)
    momentum = 1.0
    for _ in range(_STEPS):
        moved = ahead - gradient(ahead) / steepest
        moved = np.sign(moved) * np.maximum(np.abs(moved) - penalty / steepest, 0)
        step = moved - weights
        # Momentum that points uphill is dropped (O'Donoghue & Candès, 2015).
        if ((ahead - moved) * step).sum() > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / following * step
        weights, momentum = moved, following
        if np.abs(step).max() <= _TOLERANCE * np.abs(weights).max(initial=1.0):
            break
    return weights
