"""Checks of arguments, with errors of one form: what was expected, what came, how to mend it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def positive_int(value: int, name: str) -> int:
    """``value`` itself, if it is an integer of at least 1.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below 1.

    Example:
        >>> positive_int(10, "latent_dim")
        10
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"Expected {name} to be an integer of at least 1, but got {value!r} of type "
            f"{type(value).__name__}; pass a plain int."
        )
    if value < 1:
        raise ValueError(
            f"Expected {name} to be an integer of at least 1, but got {value}; "
            f"pass a positive number."
        )
    return value


def as_shape(data_shape: int | Sequence[int]) -> tuple[int, ...]:
    """The shape of one datum as a tuple; an integer means a vector of that length.

    Raises:
        TypeError: If it is neither an integer nor a sequence of integers.
        ValueError: If it is empty or a size is below 1.

    Example:
        >>> as_shape(784), as_shape((1, 28, 28))
        ((784,), (1, 28, 28))
    """
    sizes = (data_shape,) if isinstance(data_shape, int) else tuple(data_shape)
    if not sizes:
        raise ValueError(
            "Expected data_shape to have at least one axis, but got (); "
            "pass an integer for vectors or (channels, height, width) for images."
        )
    return tuple(positive_int(size, "each size in data_shape") for size in sizes)


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
    check_float(x, name)
    shape = tuple(shape)
    extra = x.ndim - len(shape)
    if extra < 1 or (lead == "B" and extra > 1) or tuple(x.shape[extra:]) != shape:
        expected = f"({lead}, {', '.join(map(str, shape))})"
        raise ValueError(
            f"Expected {name} to have shape {expected}, but got {tuple(x.shape)}; {mend}."
        )


def check_dtype(x: Tensor, module: nn.Module, name: str) -> None:
    """Refuse a tensor that the weights of ``module`` cannot be applied to.

    Raises:
        TypeError: If the dtypes differ (autocast mends all but float64).
    """
    weight = next(module.parameters())
    if x.dtype == weight.dtype:
        return
    if x.dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        return
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
    one_hot = "class labels go through torch.nn.functional.one_hot(labels, classes).float()"
    if not isinstance(context, Tensor) or not context.is_floating_point():
        kind = context.dtype if isinstance(context, Tensor) else type(context).__name__
        raise TypeError(
            f"Expected context to be a floating-point tensor, but got {kind}; {one_hot}."
        )
    if tuple(context.shape) != (batch, context_dim):
        raise ValueError(
            f"Expected context to have shape ({batch}, {context_dim}), but got "
            f"{tuple(context.shape)}; {one_hot}."
        )
    return context
