"""One batch over several processes: what batch statistics need to be those of the whole."""

import copy
import dataclasses
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor
from torch.distributions import Distribution

from disvae.distributions import LinearMap
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

    All processes take part, in training and evaluation alike, each with as many rows. That is
    checked on the CPU; elsewhere it would cost a wait for the device.

    Args:
        x: The rows of this process; all have the same shape.
        dim: The axis of the rows.

    Raises:
        ValueError: If the processes have different numbers of rows.

    Example:
        >>> import torch
        >>> gather(torch.arange(3))  # one process
        tensor([0, 1, 2])
    """
    if process_count() == 1:
        return x
    if x.device.type == "cpu":
        _check_even(x.shape[dim])
    return _Gather.apply(x.movedim(dim, 0).contiguous()).movedim(0, dim)


def gathered_mean(x: Tensor, rows: int) -> Tensor:
    """The mean over all processes of a tensor that each has, such as its batch's mean.

    Args:
        x: The tensor of this process.
        rows: The number of data behind it, which is to be the same on every process.

    Raises:
        ValueError: If the processes have different numbers of data.

    Example:
        >>> import torch
        >>> gathered_mean(torch.tensor([1.0, 3.0]), 16)  # one process
        tensor([1., 3.])
    """
    if process_count() == 1:
        return x
    if x.device.type == "cpu":
        _check_even(rows)
    return gather(x.unsqueeze(0)).mean(0)


def mean_of_known(total: Tensor, count: Tensor) -> Tensor:
    """A total over the labels that are known, by their number, on all processes; 0 without any."""
    both = torch.stack((total, count.to(total.dtype)))
    total, count = gather(both.unsqueeze(0)).sum(0)
    return total / count.clamp(min=1.0)


def own_rows(x: Tensor, dim: int = 0) -> Tensor:
    """Of something with a row for each datum of all processes, the rows of this process.

    Args:
        x: The rows of all processes, in the order of their ranks.
        dim: The axis of the rows.

    Example:
        >>> import torch
        >>> own_rows(torch.arange(3))  # one process
        tensor([0, 1, 2])
    """
    if process_count() == 1:
        return x
    return x.chunk(process_count(), dim)[distributed.get_rank()]


def _check_even(rows: int) -> None:
    counts = [torch.zeros(1, dtype=torch.long) for _ in range(process_count())]
    distributed.all_gather(counts, torch.tensor([rows]))
    numbers = [int(count) for count in counts]
    if len(set(numbers)) > 1:
        raise ValueError(
            f"Expected as many data on every process, because batch statistics need the whole "
            f"batch, but got {', '.join(map(str, numbers))}; load data with a DistributedSampler, "
            f"which shares them out evenly."
        )


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
        return own_rows(gradient)


def whole_batch(out: VAEOutput) -> VAEOutput:
    r"""The pass over the batches of all processes; the pass itself where there is only one.

    Its likelihood, data and labels are those of this process: batch statistics are about latents.
    It is made once for each pass, so terms share what they compute of it. What needs samples alone
    takes ``gather(out.z, dim=-2)``, which also does for flows.

    Raises:
        TypeError: If posterior or prior hold something that cannot be gathered (flows).
        ValueError: If the processes have different numbers of data.
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

    Parameters that all rows share, as a mixture's weights may be, are left as they are.

    Raises:
        TypeError: If it holds something else than tensors and distributions.
        ValueError: If the processes have different numbers of rows.
    """
    whole: Any = copy.copy(d)
    if not d.batch_shape:
        return whole
    for name, value in vars(d).items():
        if isinstance(value, Tensor):
            if _has_rows(d, name, value):
                setattr(whole, name, gather(value))
        elif isinstance(value, Distribution):
            setattr(whole, name, gather_distribution(value))
        elif name == "_last":  # the sample that it remembers is that of this process
            whole._last = None
        elif name == "blocks":
            whole.blocks = tuple(gather_distribution(block) for block in value)
        elif name == "_batch_shape" and value:  # of flows it may be a property
            whole._batch_shape = torch.Size((value[0] * process_count(), *value[1:]))
        elif not _is_plain(value):
            raise TypeError(
                f"Expected a distribution made of tensors, to gather it over processes, but "
                f"{type(d).__name__} holds a {type(value).__name__}; use a posterior that is no "
                f"flow or transformed distribution, or one process."
            )
    return whole


# parameters under other names than those in ``arg_constraints``, and the axes of their events
_EVENT_AXES = {
    "_unbroadcasted_scale_tril": 2,
    "_unbroadcasted_cov_factor": 2,
    "_unbroadcasted_cov_diag": 1,
    "_capacitance_tril": 2,
}


def _has_rows(d: Distribution, name: str, value: Tensor) -> bool:
    """Whether a tensor of a distribution has one row for each datum, and not one for all."""
    constraint = d.arg_constraints.get(name)
    axes = _EVENT_AXES.get(name) if constraint is None else constraint.event_dim
    if axes is not None and value.ndim < len(d.batch_shape) + axes:
        return False
    return value.shape[:1] == d.batch_shape[:1]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    plain = int | float | bool | str | None | torch.dtype | torch.device | LinearMap
    return isinstance(value, plain)
