r"""Predictive information: what a family of predictors can make of codes.

The information that a family :math:`\mathcal V` can use is the cross-entropy that codes save its
best member, :math:`I_\mathcal V = H_\mathcal V(v) - H_\mathcal V(v \mid z)` with
:math:`H_\mathcal V(v \mid z) = \inf_{f \in \mathcal V} \mathbb E[-\ln f(v \mid z)]` (Xu et al.,
2020). Here it is measured on the rows that the predictor was fitted to, as a share of
:math:`H_\mathcal V(v)`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.arrays import check_count
from disvae.metrics.discretise import Labels
from disvae.metrics.draws import to_unit

# Scores in work at a time: bounds the memory, and stays in the cache.
_SCORES = 1 << 16


class Predictor(ABC):
    """A family of predictors of a factor from all codes; what one of your own has to bring."""

    @abstractmethod
    def share(
        self, codes: NDArray[np.float64], classes: Labels, values: NDArray[np.float64]
    ) -> float:
        """The part of a factor that it predicts.

        Args:
            codes: Uncorrelated, of mean 0 and variance 1, shape (n, R): a basis of all linear
                functions of the codes at the rows where the factor is known.
            classes: The factor as classes.
            values: The factor as numbers, shape (n,).
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it puts on record: plain Python values."""


@dataclass(frozen=True)
class Logistic(Predictor):
    r"""Multinomial logistic regression of a factor's classes, without a penalty.

    The share is :math:`(H - L)/H` for the cross-entropy L of the fit and that of no codes, H.

    Args:
        max_iter: Steps of the optimiser (L-BFGS), which codes that separate the classes use up.
        balanced: As the authors of InfoMEC have it, the fit weighs each class alike, H is
            :math:`\ln V` for V classes, and L is the plain mean over rows. On classes of unequal
            size this is not quite the definition, and can fall below 0 where codes know little;
            False is the definition, with H the entropy of the classes. For classes of equal size
            the two are the same.
    """

    max_iter: int = 100
    balanced: bool = True

    def __post_init__(self) -> None:
        check_count("max_iter", self.max_iter, minimum=1)
        if not isinstance(self.balanced, bool | np.bool_):
            raise TypeError(
                f"Expected balanced to be a bool, but got {type(self.balanced).__name__}; "
                "pass True or False."
            )

    def share(
        self, codes: NDArray[np.float64], classes: Labels, values: NDArray[np.float64]
    ) -> float:
        """See :class:`Predictor`."""
        n, V = len(classes.rows), len(classes.sizes)
        p = classes.sizes / n
        weight = 1 / (V * p) if self.balanced else np.ones(V)
        without = np.log(V) if self.balanced else float(-(p * np.log(p)).sum())
        design = np.column_stack([codes, np.ones(n)])
        fitted = _fit(design, classes.classes, weight, self.max_iter)
        loss, _ = _cross_entropy(design, classes.classes, np.ones(V), fitted)
        return float(1 - loss / without)

    def settings(self) -> dict[str, Any]:
        """See :class:`Predictor`."""
        return {
            "predictor": "logistic regression",
            "max_iter": int(self.max_iter),
            "balanced": bool(self.balanced),
        }


@dataclass(frozen=True)
class Linear(Predictor):
    r"""Least squares of a factor's values, in whatever numbers it comes.

    The share is the coefficient of determination :math:`R^2`. It suits factors whose numbers mean
    something, such as positions, and is not defined by the order in which classes are numbered.
    """

    def share(
        self, codes: NDArray[np.float64], classes: Labels, values: NDArray[np.float64]
    ) -> float:
        """See :class:`Predictor`."""
        # Into [0, 1] first, so that no square over- or underflows whatever the scale.
        unit = (values - values.min()) / np.ptp(values)
        unit -= unit.mean()
        explained = ((codes.T @ unit) ** 2).sum() / len(unit)
        return float(min(1.0, explained / (unit @ unit)))

    def settings(self) -> dict[str, Any]:
        """See :class:`Predictor`."""
        return {"predictor": "least squares"}


def basis(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Uncorrelated codes of variance 1 that span the same linear functions as codes (A, n).

    A fit to them does not depend on the scale, the rotation or the copies of the codes, and takes
    fewer steps. Returns shape (n, rank).
    """
    unit, _ = to_unit(codes[np.ptp(codes, axis=1) > 0].T)
    unit -= unit.mean(axis=0)
    unit /= unit.std(axis=0)
    directions, strength, _ = np.linalg.svd(unit, full_matrices=False)
    resolved = strength > strength.max(initial=0.0) * max(unit.shape) * np.finfo(np.float64).eps
    return np.asarray(directions[:, resolved] * np.sqrt(codes.shape[1]))


def _fit(
    design: NDArray[np.float64],
    classes: NDArray[np.intp],
    weight: NDArray[np.float64],
    max_iter: int,
) -> NDArray[np.float64]:
    """The weights (V, R) of least weighted cross-entropy."""
    from scipy.optimize import minimize

    shape = len(weight), design.shape[1]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss, gradient = _cross_entropy(design, classes, weight, flat.reshape(shape))
        return loss, gradient.reshape(-1)

    found = minimize(
        objective,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps},
    )
    return np.asarray(found.x.reshape(shape))


def _cross_entropy(
    design: NDArray[np.float64],
    classes: NDArray[np.intp],
    weight: NDArray[np.float64],
    parameters: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Mean over rows of their class's weight times the cross-entropy, and its gradient."""
    n = len(design)
    loss, gradient = 0.0, np.zeros_like(parameters)
    rows = max(1, _SCORES // len(weight))
    for start in range(0, n, rows):
        x, y = design[start : start + rows], classes[start : start + rows]
        w, own = weight[y], (np.arange(len(y)), y)
        scores = x @ parameters.T
        scores -= scores.max(axis=1, keepdims=True)
        score = scores[own]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1)
        loss += float(w @ (np.log(total) - score))
        scores *= (w / total)[:, None]
        scores[own] -= w
        gradient += scores.T @ x
    return loss / n, gradient / n
