"""Data of any form as batches on the model's device."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from disvae.model import VAE, device_of
from disvae.nn import as_pair, check_float, check_int

Data = Tensor | Dataset | Iterable[Any]
Context = Tensor | Callable[[Any], Tensor] | None


def batches(
    model: VAE, data: Data, context: Context, batch_size: int
) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
    """Batches (x, y, context) of any form of data, on the model's device; y is None if absent."""
    check_int(batch_size, "batch_size")
    if context is not None and not isinstance(context, Tensor) and not callable(context):
        raise TypeError(
            f"Expected context to be a tensor or a function, but got {type(context).__name__}; "
            f"pass one row for each datum, or a function from labels to context."
        )
    loader: Iterable[Any]
    if isinstance(data, Tensor):
        if data.ndim == 0:
            raise ValueError("Expected data of shape (N, ...), but got (); pass a batch of data.")
        loader = data.split(batch_size)
    elif isinstance(data, Dataset):
        # a generator of its own, or else it draws a seed from everyone's
        loader = DataLoader(data, batch_size=batch_size, generator=torch.Generator())
    elif isinstance(data, tuple | dict | str) or not isinstance(data, Iterable):
        raise TypeError(
            f"Expected data to be a tensor, a data set or a loader, but got "
            f"{type(data).__name__}; put arrays into torch.utils.data.TensorDataset(x, y)."
        )
    else:
        loader = data
        if isinstance(context, Tensor):
            raise TypeError(
                "Expected a function as context for a loader, which may shuffle, but got a tensor; "
                "pass a function from the batch's second item to its context, or a data set."
            )
    device = device_of(model)
    start = 0
    for batch in loader:
        x, y = as_pair(batch)
        check_float(x, "x")
        if isinstance(context, Tensor):
            c: Tensor | None = context[start : start + len(x)]
        else:
            c = None if context is None else _context_of(y, context)
        yield x.to(device), y, None if c is None else c.to(device)
        start += len(x)
    if start == 0:
        raise ValueError(
            "Expected data with at least one datum, but got none; check the data set or its filter."
        )
    if isinstance(context, Tensor) and len(context) != start:
        raise ValueError(
            f"Expected one row of context for each of the {start} data, but got {len(context)}; "
            f"pass a tensor of shape ({start}, C)."
        )


def _context_of(y: Any, context: Callable[[Any], Tensor]) -> Tensor:
    """What a function makes of the second items of a batch."""
    if y is None:
        raise TypeError(
            "Expected pairs (x, y) as data, because context is a function of y, but got x alone; "
            "pass context as a tensor with one row for each datum."
        )
    found = context(y)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"Expected the context function to return a tensor, but got {type(found).__name__}; "
            f"return one row for each datum, e.g. torch.as_tensor(...)."
        )
    return found
