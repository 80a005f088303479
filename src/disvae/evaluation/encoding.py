"""The codes of data."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from disvae.distributions import point
from disvae.evaluation.feeding import Context, Data, batches
from disvae.model import VAE, evaluating
from disvae.nn import full_precision


def encode(
    model: VAE, data: Data, *, context: Context = None, batch_size: int = 512
) -> tuple[np.ndarray, np.ndarray | None]:
    r"""The codes of all data, and their factors where the data have any.

    A code is the point estimate of :math:`q(z|x)`: the same at every call. The model is put in
    evaluation mode meanwhile, and its data go to its device.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        context: What the model is conditioned on: a tensor with one row for each datum (for tensors
            and data sets), or a function from y to the context of a batch.
        batch_size: How many data are encoded at once (a loader brings its own).

    Returns:
        Codes ``(N, D)``, and the second items y as factors ``(N, K)``; class labels make one
        column. None where there is no second item.

    Raises:
        ValueError: If the data are empty, or do not fit the model.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> codes, factors = evaluation.encode(model, torch.rand(100, 8))
        >>> codes.shape, factors
        ((100, 2), None)
    """
    codes, factors = [], []
    with evaluating(model):
        for x, y, c in batches(model, data, context, batch_size):
            codes.append(full_precision(point(model.encode(x, c))).cpu())
            if y is not None:
                factors.append(_rows(y, len(x)))
    if not factors:
        return torch.cat(codes).numpy(), None
    return torch.cat(codes).numpy(), torch.cat(factors).numpy()


def _rows(y: Any, count: int) -> Tensor:
    """The second items of a batch as a table ``(count, K)``."""
    if not isinstance(y, Tensor) or y.shape[:1] != (count,):
        kind = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(
            f"Expected the second item of each batch to be a tensor of {count} rows, but got "
            f"{kind}; let the data set return numbers, several of them as one tensor."
        )
    return y.detach().cpu().reshape(count, -1)
