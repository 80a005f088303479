r"""The mass that distributions over two dimensions put in the cells of a grid.

A mass is the integral of a density over a cell, not its value at the cell's centre: posteriors may
be a hundred times narrower than a cell, and would fall between the centres. For a normal
distribution it is a difference of cdfs, so that the masses of all cells add up to the mass in the
whole grid.
"""

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

# how many numbers are worked on at once
_CHUNK = 2**20
# nodes and weights on (0, 1), for cells that hold at least so much of a distribution
_RULES = [
    (least, 0.5 + nodes / 2, weights / 2)
    for least, (nodes, weights) in (
        (0.02, np.polynomial.legendre.leggauss(6)),
        (1e-12, np.polynomial.legendre.leggauss(1)),
    )
]
# how many standard deviations around the mean are shown
_REACH = 3.0


class Part(Protocol):
    """K distributions over two dimensions, each with a weight."""

    weight: Floats
    exact: bool  # or counts of samples

    def ends(self) -> tuple[Floats, Floats]:
        """The values between which nearly all mass of each lies: low and high, ``(K, 2)``."""

    def masses(self, x: Floats, y: Floats) -> Floats:
        """Their weighted masses between R + 1 edges x and as many y, summed: ``(R, R)``."""


class Normals:
    """Normal distributions over two independent dimensions.

    Args:
        loc: The means, ``(K, 2)``.
        scale: The standard deviations, ``(K, 2)``.
        weight: The weights, ``(K,)``.
    """

    exact = True

    def __init__(self, loc: Floats, scale: Floats, weight: Floats) -> None:
        self.loc, self.scale, self.weight = loc, scale, weight

    def ends(self) -> tuple[Floats, Floats]:
        """Three standard deviations to either side of the means."""
        return self.loc - _REACH * self.scale, self.loc + _REACH * self.scale

    def masses(self, x: Floats, y: Floats) -> Floats:
        """A product of two matrices, of masses in one dimension each."""
        total = np.zeros((len(y) - 1, len(x) - 1))
        for k in chunks(len(self.loc), max(len(x), len(y))):
            in_x = _between(x, self.loc[k, 0], self.scale[k, 0])
            in_y = _between(y, self.loc[k, 1], self.scale[k, 1])
            total += (in_y * self.weight[k]) @ in_x.T
        return total


class DependentNormals(Normals):
    r"""Normal distributions over two dependent dimensions.

    The narrower dimension is conditioned on the wider one, across which quadrature keeps up with
    the density. Where that is the first, the mass in a cell is

    .. math::

        \int_{\Phi(x_i)}^{\Phi(x_{i+1})}
        \Phi\Big(\frac{y_{j+1} - \rho\,t}{\sqrt{1 - \rho^2}}\Big) -
        \Phi\Big(\frac{y_j - \rho\,t}{\sqrt{1 - \rho^2}}\Big)\,du,
        \qquad t = \Phi^{-1}(u),

    in units of the standard deviations, by Gauss quadrature over u.

    Args:
        loc: The means, ``(K, 2)``.
        scale: The standard deviations, ``(K, 2)``.
        correlation: The correlations, ``(K,)``.
        weight: The weights, ``(K,)``.
    """

    def __init__(self, loc: Floats, scale: Floats, correlation: Floats, weight: Floats) -> None:
        super().__init__(loc, scale, weight)
        # so that a singular covariance is a thin one
        self.correlation = correlation.clip(-1 + 1e-12, 1 - 1e-12)

    def masses(self, x: Floats, y: Floats) -> Floats:
        """Those of the distributions that are wider in the first dimension, and of the others."""
        upright = self.scale[:, 1] > self.scale[:, 0]
        total = self._by_column(np.flatnonzero(~upright), (0, 1), x, y)
        return total + self._by_column(np.flatnonzero(upright), (1, 0), y, x).T

    def _by_column(
        self, chosen: NDArray[np.intp], dims: tuple[int, int], x: Floats, y: Floats
    ) -> Floats:
        """Column by column of the table, from the distributions that have mass there."""
        total = np.zeros((len(y) - 1, len(x) - 1))
        for k in (chosen[part] for part in chunks(len(chosen), len(y))):
            loc, scale = self.loc[k][:, dims], self.scale[k][:, dims]
            rho = self.correlation[k]
            below = _below(x, loc[:, 0], scale[:, 0])
            for i, share in enumerate(np.diff(below, axis=0)):
                most = np.inf
                for least, nodes, weights in _RULES:
                    some = (share >= least) & (share < most)
                    most = least
                    spread = scale[some, 1] * np.sqrt(1 - rho[some] ** 2)
                    for node, part in zip(nodes, weights, strict=True):
                        t = ndtri(below[i, some] + node * share[some])
                        centre = loc[some, 1] + scale[some, 1] * rho[some] * t
                        weight = part * share[some] * self.weight[k][some]
                        total[:, i] += _between(y, centre, spread) @ weight
        return total


class Points:
    """Points, such as samples: their masses are counts.

    Args:
        points: The points, ``(K, 2)``.
        weight: The weights, ``(K,)``.
    """

    exact = False

    def __init__(self, points: Floats, weight: Floats) -> None:
        self.points, self.weight = points, weight

    def ends(self) -> tuple[Floats, Floats]:
        """The points themselves."""
        return self.points, self.points

    def masses(self, x: Floats, y: Floats) -> Floats:
        """A histogram."""
        rows, columns = self.points[:, 1], self.points[:, 0]
        return np.histogram2d(rows, columns, bins=[y, x], weights=self.weight)[0]


def chunks(count: int, each: int) -> Iterator[slice]:
    """Slices of a number of things, so that few numbers are worked on at once."""
    step = max(1, _CHUNK // each)
    return (slice(start, start + step) for start in range(0, count, step))


def _between(edges: Floats, loc: Floats, scale: Floats) -> Floats:
    """The masses of normal distributions ``(K,)`` between edges, ``(len(edges) - 1, K)``."""
    return np.diff(_below(edges, loc, scale), axis=0)


def _below(edges: Floats, loc: Floats, scale: Floats) -> Floats:
    """The masses of normal distributions ``(K,)`` below edges, ``(len(edges), K)``."""
    t = torch.from_numpy((edges[:, None] - loc) / (scale * math.sqrt(2)))
    return 0.5 + 0.5 * t.erf_().numpy()  # four times as fast as scipy's
