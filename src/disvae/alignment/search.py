r"""Codes whose decoded data have chosen attributes: a damped Gauss-Newton search, row by row.

All is in standard deviations: u of a code over the data, a of an attribute. With the Jacobian J of
a by u at each row, measured by finite differences and then kept up by Broyden's updates of rank 1,

.. math::

    \Delta u = (J^\top J + \lambda I)^{-1} J^\top (t - a)

A step is kept if it comes closer to the targets t; if not, it has mended the Jacobian. No
derivative of the measure is needed, which for images of 8 bits has none.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disvae.alignment.attributes import Floats
from disvae.alignment.finding import Alignment
from disvae.alignment.sweeps import decoded
from disvae.model import VAE

_ITERATIONS = 12
_BATCH = 512
# of an attribute: closer is close enough
_CLOSE = 0.01
# of a code: what finite differences go through, which 8 bits must feel
_PROBE = 0.25
_DAMPING = 1e-3


class Search:
    """Codes of chosen attributes.

    Args:
        model: The model.
        found: What was found for it.
        names: The attributes, K of them.
        dims: A dimension for each.
        base: The code whose other dimensions stay, (D,).
        context: What each row is conditioned on, (B, C), or None.
    """

    def __init__(
        self,
        model: VAE,
        found: Alignment,
        names: Sequence[str],
        dims: Sequence[int],
        base: Tensor,
        context: Tensor | None,
    ) -> None:
        self._model, self._gauge, self._curves = model, found.gauge, found.curves
        self._base, self._context, self._dims = base, context, list(dims)
        self._rows = [found.dimensions.index(d) for d in dims]
        self._columns = [found.names.index(name) for name in names]
        self._slopes = found.slope.numpy()[np.ix_(self._rows, self._columns)].T
        self._code_scale = found.code_scale.numpy()[self._rows]
        self._attribute_scale = found.attribute_scale.numpy()[self._columns]
        self._ends = found.code_ends.numpy()[self._rows].T / self._code_scale

    def run(self, values: Floats) -> Tensor:
        """The closest data to values (B, K) of the attributes, (B, *event)."""
        target = values / self._attribute_scale
        rows = np.arange(len(target))
        best, a = self._search(self._start(values), target, rows)
        # a search may end in a hollow: one from the base itself may not
        rows = rows[_far(target - a)]
        if len(rows):
            own = self._base[self._dims].double().numpy() / self._code_scale
            x, there = self._search(np.tile(own, (len(rows), 1)), target[rows], rows)
            closer = _distance(target[rows] - there) < _distance(target[rows] - a[rows])
            best[torch.from_numpy(rows[closer])] = x[torch.from_numpy(closer)]
        return best

    def _search(self, u: Floats, target: Floats, rows: NDArray[np.intp]) -> tuple[Tensor, Floats]:
        """The closest data that a search from codes (R, K) finds, and their attributes."""
        u = np.clip(u, *self._ends)  # a base may lie outside
        best, a = self._decoded(u, rows)
        jacobian = self._jacobian(u, a, rows)
        for _ in range(_ITERATIONS):
            left = np.flatnonzero(_far(target - a))
            if not len(left):
                break
            step = _step(jacobian[left], (target - a)[left])
            tried = np.clip(u[left] + step, *self._ends)
            x, there = self._decoded(tried, rows[left])
            jacobian[left] = _updated(jacobian[left], tried - u[left], there - a[left])
            closer = _distance(target[left] - there) < _distance(target[left] - a[left])
            kept = left[closer]
            u[kept], a[kept] = tried[closer], there[closer]
            best[torch.from_numpy(kept)] = x[torch.from_numpy(closer)]
        return best, a

    def _start(self, values: Floats) -> Floats:
        """Where the mean curve of each attribute has the value, in standard deviations."""
        columns = []
        for n, (row, column) in enumerate(zip(self._rows, self._columns, strict=True)):
            wanted, curve = values[:, n], self._curves.mean[row, :, column].numpy()
            known = ~np.isnan(curve)
            if not known.any():
                columns.append(np.full(len(wanted), float(self._base[self._dims[n]])))
                continue
            sign = -1.0 if curve[known][-1] < curve[known][0] else 1.0
            rising = np.maximum.accumulate(sign * curve[known])
            codes = self._curves.values[row].numpy()[known]
            columns.append(np.interp(sign * wanted, rising, codes))
        return np.stack(columns, axis=1) / self._code_scale

    def _decoded(self, u: Floats, rows: NDArray[np.intp]) -> tuple[Tensor, Floats]:
        """The data of codes of some rows, and their attributes in standard deviations."""
        z = self._base.repeat(len(u), 1)
        z[:, self._dims] = torch.from_numpy(u * self._code_scale).to(z)
        context = None if self._context is None else self._context[torch.from_numpy(rows)]
        contexts = None if context is None else context.split(_BATCH)
        x = torch.cat(
            [
                decoded(self._model, part, None if contexts is None else contexts[number])
                for number, part in enumerate(z.split(_BATCH))
            ]
        )
        return x, self._gauge(x)[:, self._columns] / self._attribute_scale

    def _jacobian(self, u: Floats, a: Floats, rows: NDArray[np.intp]) -> Floats:
        """How the attributes change with the codes, (B, K, K), from finite differences."""
        count = len(self._dims)
        found = np.empty((len(u), count, count))
        for d in range(count):
            # towards the middle, where the model has seen data
            inwards = np.where(u[:, d] > self._ends[:, d].mean(), -_PROBE, _PROBE)
            probe = u.copy()
            probe[:, d] += inwards
            _, there = self._decoded(probe, rows)
            found[:, :, d] = (there - a) / inwards[:, None]
        # where nothing can be measured, the mean slopes are the best guess
        return np.where(np.isnan(found), np.nan_to_num(self._slopes), found)


def _step(jacobian: Floats, missing: Floats) -> Floats:
    """The damped Gauss-Newton steps; none where something could not be measured."""
    transposed = np.swapaxes(jacobian, 1, 2)
    normal = transposed @ jacobian + _DAMPING * np.eye(jacobian.shape[1])
    gradient = transposed @ np.nan_to_num(missing)[:, :, None]
    return np.asarray(np.linalg.solve(normal, gradient)[:, :, 0])


def _updated(jacobian: Floats, step: Floats, change: Floats) -> Floats:
    """Broyden's update: the least change of the Jacobian that explains the last step."""
    length = (step**2).sum(axis=1)
    known = (length > 0) & ~np.isnan(change).any(axis=1)
    surprise = change - (jacobian @ step[:, :, None])[:, :, 0]
    scaled = step / np.where(length > 0, length, 1.0)[:, None]
    update = surprise[:, :, None] * scaled[:, None, :]
    return np.where(known[:, None, None], jacobian + update, jacobian)


def _far(missing: Floats) -> NDArray[np.bool_]:
    """Which rows are not close to their targets; NaN is not."""
    return ~(np.abs(missing).max(axis=1) <= _CLOSE)


def _distance(missing: Floats) -> Floats:
    """The distance from the targets; infinite where something could not be measured."""
    return np.nan_to_num(np.linalg.norm(missing, axis=1), nan=np.inf)
