"""One batch over several processes: what batch statistics need to be those of the whole."""

import copy
import dataclasses
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributions import Distribution

from disvae.output import VAEOutput


def process_count() -> int:
    """How many processes share a batch; 1 without ``torch.distributed``."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size()


def gather(x: Tensor, dim: int = 0) -> Tensor:
    r"""The rows of all processes, in the order of their ranks, with a gradient.

    Every process computes the whole statistic from them. The backward pass adds up the gradients of
    all processes, and ``DistributedDataParallel`` averages those of the parameters, so that both
    together give the gradient of one process with the whole batch.

    Args:
        x: The rows of this process; all have the same shape.
        dim: The axis of the rows.

    Example:
        >>> import torch
        >>> gather(torch.arange(3))  # one process
        tensor([0, 1, 2])
    """
    if process_count() == 1:
        return x
    return _Gather.apply(x.movedim(dim, 0).contiguous()).movedim(0, dim)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(process_count())]
        distributed.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(process_count())[distributed.get_rank()]


def whole_batch(out: VAEOutput) -> VAEOutput:
    r"""The pass over the batches of all processes; the pass itself where there is only one.

    Its likelihood and data are those of this process: batch statistics are about latents. It is
    made once for each pass, so terms share what they compute of it.

    Raises:
        TypeError: If posterior or prior hold something that cannot be gathered (flows).
    """
    if process_count() == 1:
        return out
    return out.shared("whole batch", lambda: _gathered(out))


def _gathered(out: VAEOutput) -> VAEOutput:
    return dataclasses.replace(
        out,
        z=gather(out.z, dim=-2),
        posterior=gather_distribution(out.posterior),
        prior=out.prior if not out.prior.batch_shape else gather_distribution(out.prior),
        context=None if out.context is None else gather(out.context),
    )


def gather_distribution(d: Distribution) -> Distribution:
    """A distribution of batch shape ``(B, ...)`` with the rows of all processes.

    Raises:
        TypeError: If it holds something else than tensors and distributions.
    """
    whole: Any = copy.copy(d)
    for name, value in vars(d).items():
        if isinstance(value, Tensor):
            if value.shape[:1] == d.batch_shape[:1]:
                setattr(whole, name, gather(value))
        elif isinstance(value, Distribution):
            setattr(whole, name, gather_distribution(value))
        elif name == "blocks":
            whole.blocks = tuple(gather_distribution(block) for block in value)
        elif name == "_batch_shape":
            whole._batch_shape = torch.Size((value[0] * process_count(), *value[1:]))
        elif not isinstance(value, int | float | bool | str | tuple | None | torch.Size):
            raise TypeError(
                f"Expected a distribution made of tensors, to gather it over processes, but "
                f"{type(d).__name__} holds a {type(value).__name__}; use another posterior, or one "
                f"process."
            )
    return whole
