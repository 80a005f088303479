r"""Information from the distances to k-th nearest neighbours.

A continuous x and classes c, by Ross (2014): with :math:`r_i` the distance from :math:`x_i` to its
k-th neighbour among the rows of its own class, and :math:`m_i` the number of rows of any class
(itself included) that are nearer than :math:`r_i`,

.. math::
    I = \psi(N) + \langle \psi(k) \rangle - \langle \psi(N_{c_i}) \rangle
    - \langle \psi(m_i) \rangle.

Two continuous variables, by Kraskov et al. (2004): with :math:`r_i` the distance to the k-th
neighbour in the plane under the maximum norm, and the rows nearer than that in x and in y counted
apart,

.. math::
    I = \psi(N) + \psi(k) - \langle \psi(m^x_i) \rangle - \langle \psi(m^y_i) \rangle.

*Nearer* is decided by the difference of two values as it comes out in float64. To search for
:math:`x_i - r_i` instead would let rounding decide whether the k-th neighbour itself is counted,
and the information would come out 0.05 too low.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.discretise import Labels

_JITTER = 1e-10
# Beyond any difference of standardised values.
_FAR = 1e300


@dataclass(frozen=True)
class Ranked:
    """One variable and its order.

    Attributes:
        values: Shape (N,).
        order: The rows in ascending order of their values, shape (N,).
    """

    values: NDArray[np.float64]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Ranked":
        """Sorts the values."""
        return cls(values, np.argsort(values))

    def nearer(self, limit: NDArray[np.float64]) -> NDArray[np.intp]:
        """How many values lie within each value's own limit, itself included: ascending, (N,)."""
        ascending, limit = self.values[self.order], limit[self.order]
        return _within(ascending, limit)


@dataclass(frozen=True)
class Classes:
    """The classes of one factor laid out for the search of neighbours.

    Attributes:
        member: Class of each of the N rows, C where it is unknown or of a class of one, (N,).
        sizes: Rows of each class, at least two, shape (C,).
        padded: A line with room for each class in turn and k places on either side, which hold
            values out of reach.
        place: Where on that line the rows go when they are sorted by class, shape (n,).
    """

    member: NDArray[np.unsignedinteger]
    sizes: NDArray[np.intp]
    padded: NDArray[np.float64]
    place: NDArray[np.intp]

    @classmethod
    def of(cls, factor: Labels, rows: int, k: int) -> "Classes":
        """Lays out the classes that two rows or more have."""
        shared = factor.sizes >= 2
        sizes = factor.sizes[shared]
        C = len(sizes)
        number = np.where(shared, np.cumsum(shared) - 1, C)
        # The smallest dtype, which numpy sorts by counting.
        member = np.full(rows, C, dtype=np.min_scalar_type(C))
        member[factor.rows] = number[factor.classes]
        line = np.arange(C).repeat(sizes)
        place = np.arange(len(line)) + k * (2 * line + 1)
        padded = np.full(len(line) + 2 * k * C, _FAR)
        ends = np.cumsum(sizes + 2 * k)
        padded[(ends - sizes - 2 * k)[:, None] + np.arange(k)] = -_FAR
        return cls(member, sizes, padded, place)


def digammas(n: int) -> NDArray[np.float64]:
    """The digamma function of 1, 2, ..., n at these places; place 0 holds nothing of use."""
    return np.concatenate([[0.0, 0.0], np.cumsum(1 / np.arange(1, n))]) - np.euler_gamma


def standardised(values: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row (C, N) to mean 0 and standard deviation 1, plus noise 1e-10 that breaks ties."""
    # Into [0, 1] first, so that no square over- or underflows whatever the scale.
    low = values.min(axis=1, keepdims=True)
    width = values.max(axis=1, keepdims=True) - low
    scaled = (values - low) / np.where(width > 0, width, 1.0)
    scaled -= scaled.mean(axis=1, keepdims=True)
    deviation = scaled.std(axis=1, keepdims=True)
    scaled /= np.where(deviation > 0, deviation, 1.0)
    scaled += _JITTER * noise
    return scaled


def class_information(code: Ranked, factor: Classes, k: int, psi: NDArray[np.float64]) -> float:
    """Information of a continuous code and classes, in nats, at least 0.

    Args:
        code: The code.
        factor: The classes, laid out for the same k.
        k: The number of neighbours; a smaller class takes all of its own.
        psi: What :func:`digammas` gives for N.
    """
    member = factor.member[code.order]
    ascending = code.values[code.order]
    kept = member < len(factor.sizes)
    if not kept.all():
        member, ascending = member[kept], ascending[kept]
    by_class = np.argsort(member, kind="stable")
    limit = np.empty(len(ascending))
    limit[by_class] = np.nextafter(_radius(ascending[by_class], factor, k), 0.0)
    near = psi[_within(ascending, limit)].mean()
    sizes, n = factor.sizes, len(ascending)
    own = sizes @ (psi[np.minimum(k, sizes - 1)] - psi[sizes]) / n
    return max(0.0, float(psi[n] + own - near))


def plane_information(x: Ranked, y: Ranked, k: int, psi: NDArray[np.float64]) -> float:
    """Information of two continuous variables of the same rows, in nats, at least 0.

    Args:
        x: The one, on the scale of the other.
        y: The other.
        k: The number of neighbours; with fewer rows, all there are.
        psi: What :func:`digammas` gives for N.
    """
    from scipy.spatial import cKDTree

    n = len(x.values)
    k = min(k, n - 1)
    # In the order of x, so that points asked for in turn are close in memory too.
    points = np.stack([x.values, y.values], axis=1)[x.order]
    # The nearest of all is the point itself.
    distance, _ = cKDTree(points, leafsize=10).query(points, k=[k + 1], p=np.inf)
    limit = np.empty(n)
    limit[x.order] = np.nextafter(distance[:, 0], 0.0)
    near = psi[x.nearer(limit)].mean() + psi[y.nearer(limit)].mean()
    return max(0.0, float(psi[n] + psi[k] - near))


def _radius(values: NDArray[np.float64], factor: Classes, k: int) -> NDArray[np.float64]:
    """Distance to the k-th neighbour of the same class; values ascend within each class."""
    line = factor.padded.copy()
    line[factor.place] = values
    end = len(line) - k
    middle = line[k:end]
    # The k nearest of a value are a stretch of the sorted line that holds it: j to its left, and
    # k - j to its right.
    radius = np.full(len(middle), _FAR)
    for j in range(k + 1):
        left = middle - line[k - j : end - j]
        right = line[2 * k - j : end + k - j] - middle
        np.minimum(radius, np.maximum(left, right, out=left), out=radius)
    radius = radius[factor.place - k]
    few = factor.sizes <= k
    if few.any():
        ends = np.cumsum(factor.sizes)
        reach = np.maximum(
            values - values[ends - factor.sizes].repeat(factor.sizes),
            values[ends - 1].repeat(factor.sizes) - values,
        )
        radius = np.where(few.repeat(factor.sizes), reach, radius)
    return radius


def _within(ascending: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.intp]:
    """How many values differ from each value by at most its limit, itself included."""
    below = np.arange(len(ascending)) - _first(ascending, limit)
    above = np.arange(len(ascending)) - _first(-ascending[::-1], limit[::-1])
    return below + above[::-1] + 1


def _first(ascending: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.intp]:
    """The first value that is below each value by at most its limit."""
    first = ascending.searchsorted(ascending - limit)
    # The search went by a rounded difference; step to where the difference itself puts it.
    while (far := ascending - ascending[first] > limit).any():
        first += far
    while (near := (first > 0) & (ascending - ascending[first - 1] <= limit)).any():
        first -= near
    return first
