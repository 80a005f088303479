"""Disentanglement and completeness of a matrix that says which codes matter to which factors."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy


def concentration(importance: NDArray[np.float64], over: int) -> NDArray[np.float64]:
    r"""How much each row of importances lies with one column.

    It is :math:`1 + \sum_j p_j \log p_j / \log n` for the shares :math:`p_j` of a row among n
    columns: 1 if one column has all of it, 0 if it is spread evenly. A row of zeros counts as
    spread evenly, and with a single column one that is not zero counts as 1.

    Args:
        importance: Not negative, shape (rows, columns).
        over: The number n of columns that the row might be spread over.
    """
    total = importance.sum(axis=1)
    shares = importance / np.where(total > 0, total, 1.0)[:, None]
    nats = -xlogy(shares, shares).sum(axis=1)
    spread = nats / np.log(over) if over > 1 else np.zeros(len(nats))
    return np.where(total > 0, np.clip(1 - spread, 0.0, 1.0), 0.0)


def weighted_mean(values: NDArray[np.float64], importance: NDArray[np.float64]) -> float:
    """The mean of one value per row, each weighed by its row's importance; 0 without any."""
    weights = importance.sum(axis=1)
    total = weights.sum()
    return float(weights @ values / total) if total > 0 else 0.0
