r"""Plug-in information: counted from contingency tables.

With the counts :math:`n_{bv}` of the n rows in bin b and class v,

.. math::
    I = \ln n + \frac1n \Bigl(\sum_{bv} n_{bv} \ln n_{bv}
    - \sum_b n_b \ln n_b - \sum_v n_v \ln n_v\Bigr).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from disvae.metrics.discretise import Labels

# Nats; ln N times the resolution of float64 is smaller by far.
_ROUNDING = 1e-12


def counted_information(
    codes: NDArray[np.integer], factors: Sequence[Labels]
) -> NDArray[np.float64]:
    """Mutual information of binned codes, shape (A, N), and factors, in nats: (A, K)."""
    matrix = np.zeros((len(codes), len(factors)))
    for k, (factor, counts) in enumerate(zip(factors, _tables(codes, factors), strict=True)):
        n = len(factor.rows)
        nats = _n_log_n(counts).sum(axis=(1, 2)) - _n_log_n(counts.sum(axis=2)).sum(axis=1)
        nats -= _n_log_n(factor.sizes).sum()
        nats = nats / n + np.log(n)
        # What rounding leaves of nothing would pass for a preference of one factor, and a share
        # of 1 + 1e-16 would surprise.
        matrix[:, k] = np.where(nats < _ROUNDING, 0.0, np.minimum(nats, entropy(factor)))
    return matrix


def joint_entropy(codes: NDArray[np.integer], factors: Sequence[Labels]) -> NDArray[np.float64]:
    """Entropy of each pair of a binned code and a factor, in nats: (A, K)."""
    matrix = np.zeros((len(codes), len(factors)))
    for k, (factor, counts) in enumerate(zip(factors, _tables(codes, factors), strict=True)):
        n = len(factor.rows)
        matrix[:, k] = np.log(n) - _n_log_n(counts).sum(axis=(1, 2)) / n
    return matrix


def entropy(factor: Labels) -> float:
    """Entropy of the classes of one factor, in nats."""
    n = len(factor.rows)
    return float(np.log(n) - _n_log_n(factor.sizes).sum() / n)


def _tables(codes: NDArray[np.integer], factors: Sequence[Labels]) -> Iterator[NDArray[np.intp]]:
    """The contingency tables of all codes with one factor after the other, shape (A, B, V)."""
    A, N = codes.shape
    B = int(codes.max(initial=0)) + 1
    for factor in factors:
        V = len(factor.sizes)
        counts = np.empty((A, B * V), dtype=np.intp)
        cells = np.empty(len(factor.rows), dtype=np.intp)
        # Code by code: all of them at once would leave the cache, and take six times as long.
        for a, code in enumerate(codes):
            known = code if len(cells) == N else code[factor.rows]
            np.multiply(known, V, out=cells, dtype=np.intp)
            cells += factor.classes
            counts[a] = np.bincount(cells, minlength=B * V)
        yield counts.reshape(A, B, V)


def _n_log_n(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))
