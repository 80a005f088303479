"""Checks of arguments, with errors of one form: what was expected, what came, how to mend it."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor

_ONE_HOT = "class labels go through torch.nn.functional.one_hot(labels, classes).float()"


def check_int(value: SupportsIndex, name: str, *, minimum: int = 1) -> int:
    """``value`` as an int, if it is an integer of at least ``minimum``.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is too small.

    Example:
        >>> check_int(10, "latent_dim")
        10
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(
            f"Expected {name} to be an integer of at least {minimum}, but got "
            f"{type(value).__name__}; pass a plain int."
        )
    if number < minimum:
        raise ValueError(
            f"Expected {name} to be an integer of at least {minimum}, but got {number}; "
            f"pass a larger number."
        )
    return number


def check_widths(widths: Sequence[SupportsIndex], name: str) -> tuple[int, ...]:
    """The widths of some layers as a tuple.

    Raises:
        TypeError: If it is no sequence of integers.
        ValueError: If a width is below 1.

    Example:
        >>> check_widths([512, 256], "hidden")
        (512, 256)
    """
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        raise TypeError(
            f"Expected {name} to be a sequence of widths, one for each layer, but got "
            f"{type(widths).__name__}; write e.g. {name}=(512, 256)."
        )
    return tuple(check_int(width, f"each width in {name}") for width in widths)


def as_shape(data_shape: SupportsIndex | Sequence[SupportsIndex]) -> tuple[int, ...]:
    """The shape of one datum as a tuple; an integer means a vector of that length.

    Raises:
        TypeError: If it is neither an integer nor a sequence of integers.
        ValueError: If it is empty or a size is below 1.

    Example:
        >>> as_shape(784), as_shape((1, 28, 28))
        ((784,), (1, 28, 28))
    """
    if not isinstance(data_shape, Sequence) or isinstance(data_shape, str):
        return (check_int(data_shape, "data_shape"),)
    if not data_shape:
        raise ValueError(
            "Expected data_shape to have at least one axis, but got (); "
            "pass an integer for vectors or (channels, height, width) for images."
        )
    return tuple(check_int(size, "each size in data_shape") for size in data_shape)


def check_groups(
    groups: Sequence[Sequence[SupportsIndex]], name: str
) -> tuple[tuple[int, ...], ...]:
    """Groups of latent dimensions as tuples, if they hold each dimension from 0 up exactly once.

    Raises:
        TypeError: If it is no sequence of sequences of integers.
        ValueError: If a group is empty, or a dimension is missing or named twice.

    Example:
        >>> check_groups([[0, 2], [1]], "groups")
        ((0, 2), (1,))
    """
    if not isinstance(groups, Sequence) or not all(
        isinstance(group, Sequence) and not isinstance(group, str) for group in groups
    ):
        raise TypeError(
            f"Expected {name} to be a sequence of groups of dimensions, but got "
            f"{type(groups).__name__}; "
            f"write e.g. {name}=[(0, 1), (2, 3, 4)]."
        )
    found = tuple(tuple(check_int(d, f"each of {name}", minimum=0) for d in g) for g in groups)
    dims = sorted(d for group in found for d in group)
    if not dims or not all(found) or dims != list(range(len(dims))):
        raise ValueError(
            f"Expected {name} to hold each dimension from 0 up exactly once, and no group empty, "
            f"but got {found!s:.100}; write e.g. {name}=[(0, 1), (2, 3, 4)]."
        )
    return found


def check_float(x: Tensor, name: str) -> None:
    """Refuse what is no floating-point tensor.

    Raises:
        TypeError: If ``x`` is not a tensor, or holds integers or booleans.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"Expected {name} to be a torch.Tensor, but got {type(x).__name__}; "
            f"convert it with torch.as_tensor({name}, dtype=torch.float32)."
        )
    if not x.is_floating_point():
        mend = (
            f"divide 8-bit images by 255, as in {name}.float() / 255"
            if x.dtype == torch.uint8
            else f"convert it with {name}.float()"
        )
        raise TypeError(f"Expected {name} to be floating point, but got {x.dtype}; {mend}.")


def check_finite(x: Tensor, name: str) -> None:
    """Refuse what is no floating-point tensor of finite numbers.

    Raises:
        TypeError: If ``x`` is not a tensor, or holds integers or booleans.
        ValueError: If a value is NaN or infinite.
    """
    check_float(x, name)
    if not torch.isfinite(x).all():
        raise ValueError(
            f"Expected {name} to be finite, but got NaN or infinity; remove or replace them first."
        )


def check_shape(x: Tensor, shape: Sequence[int], name: str, *, mend: str, lead: str = "B") -> None:
    """Refuse a tensor whose last axes are not ``shape``, or that has no or too many leading axes.

    Args:
        x: The tensor.
        shape: The shape of one datum.
        name: What to call the tensor in the error.
        mend: How to mend it, the last clause of the error.
        lead: ``"B"`` for exactly one leading axis, ``"..., B"`` for one or more.

    Raises:
        TypeError: If ``x`` is no floating-point tensor.
        ValueError: If the shape is another.
    """
    shape = tuple(shape)
    # the way of every training step: short, because rarely run code is slow to fetch
    if isinstance(x, Tensor) and x.dtype.is_floating_point:
        extra = x.ndim - len(shape)
        if (extra == 1 or (extra > 1 and lead != "B")) and x.shape[extra:] == shape:
            return
    check_float(x, name)
    expected = f"({lead}, {', '.join(map(str, shape))})"
    raise ValueError(f"Expected {name} to have shape {expected}, but got {tuple(x.shape)}; {mend}.")


def autocasts(x: Tensor) -> bool:
    """Whether operations on ``x`` are cast automatically; on some devices they never are.

    Example:
        >>> import torch
        >>> autocasts(torch.ones(2)), autocasts(torch.ones(2, device="meta"))
        (False, False)
    """
    if x.device.type in ("cpu", "cuda"):
        return torch.is_autocast_enabled(x.device.type)
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def as_constant(value: Tensor) -> Tensor:
    """A copy of a given constant, like the values that a new module starts from.

    It has the default dtype, whatever the dtype in which it was computed, so that a prior made of
    numpy's float64 numbers goes with float32 networks; ``module.to(torch.float64)`` promotes it.

    Example:
        >>> import torch
        >>> as_constant(torch.ones(2, dtype=torch.float64)).dtype
        torch.float32
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    return value.detach().to(device, dtype, copy=True)


def match_dtype(x: Tensor, weight: Tensor, name: str) -> Tensor:
    """A tensor that the weight can be applied to: float32 goes down to half-precision weights.

    Raises:
        TypeError: If the dtypes differ in another way (autocast mends all but float64).
    """
    if x.dtype == weight.dtype:
        return x
    if x.dtype == torch.float32 and weight.dtype in (torch.bfloat16, torch.float16):
        return x.to(weight.dtype)
    if x.dtype != torch.float64 and autocasts(x):
        return x
    raise TypeError(
        f"Expected {name} to have the dtype of the weights, {weight.dtype}, but got {x.dtype}; "
        f"convert the data with .to({weight.dtype}), or the model with .to({x.dtype})."
    )


def check_context(context: Tensor | None, context_dim: int, batch: int) -> Tensor:
    """The context, if it is a float tensor of shape ``(batch, context_dim)``.

    Raises:
        TypeError: If it holds no floating-point numbers.
        ValueError: If it is missing or of another shape.
    """
    if context is None:
        raise ValueError(
            f"Expected a context of shape (B, {context_dim}), but got none; pass context=, "
            f"or build the part with context_dim=0."
        )
    check_context_type(context)
    if tuple(context.shape) != (batch, context_dim):
        raise ValueError(
            f"Expected context to have shape ({batch}, {context_dim}), but got "
            f"{tuple(context.shape)}; {_ONE_HOT}."
        )
    return context


def check_context_type(context: Tensor) -> None:
    """Refuse a context that is no floating-point tensor.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(context, Tensor) or not context.is_floating_point():
        kind = context.dtype if isinstance(context, Tensor) else type(context).__name__
        raise TypeError(
            f"Expected context to be a floating-point tensor, but got {kind}; {_ONE_HOT}."
        )
