"""What a loader yields, taken apart."""

from typing import Any

from torch import Tensor


def as_pair(batch: Any) -> tuple[Tensor, Any]:
    """Data and what stands beside them, None where nothing does.

    Args:
        batch: A tensor, or a tuple or list whose first two items count.

    Example:
        >>> import torch
        >>> as_pair([torch.zeros(2), torch.ones(2)])
        (tensor([0., 0.]), tensor([1., 1.]))
        >>> as_pair((torch.zeros(2),))
        (tensor([0., 0.]), None)
    """
    if not isinstance(batch, tuple | list):
        return batch, None
    return batch[0], batch[1] if len(batch) > 1 else None
