"""Calls of parts and factories that others wrote, checked where they fail."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.nn.wrappers import Unconditional


def call_part(
    part: nn.Module, name: str, *arguments: Tensor, context: Tensor | None = None
) -> Distribution:
    """The distribution that a part returns: called with the context where there is one, else not.

    Args:
        part: The part; one inside ``Unconditional`` is called without a context.
        name: What to call it in errors.
        arguments: What comes before the context.
        context: The context, or None.

    Raises:
        TypeError: If it takes no context and is given one, needs one and is given none, or returns
            no distribution.

    Example:
        >>> from disvae import priors
        >>> call_part(priors.Normal(2), "prior").event_shape
        torch.Size([2])
    """
    if isinstance(part, Unconditional):
        part, context = part.part, None
    given = arguments if context is None else (*arguments, context)
    if torch.compiler.is_compiling():
        return _distribution(part(*given), name)
    try:
        found = part(*given)
    except TypeError:
        _check_signature(part, name, given, context)
        raise
    return _distribution(found, name)


def check_vector(d: Distribution, name: str, size: int | None = None) -> None:
    """Refuse a distribution that is not over vectors, of ``size`` numbers where that is known.

    Raises:
        ValueError: If its event shape is another.
    """
    if len(d.event_shape) != 1 or size not in (None, d.event_shape[0]):
        expected = f"({'D' if size is None else size},)"
        raise ValueError(
            f"Expected the {name} to return a distribution of event shape {expected}, but got "
            f"{tuple(d.event_shape)}; build it with that latent_dim, or wrap it in "
            f"torch.distributions.Independent(..., 1)."
        )


def make_module(factory: Callable[..., nn.Module], name: str, *arguments: Any) -> nn.Module:
    """What ``factory`` makes of the arguments, if that is a module.

    Raises:
        TypeError: If ``factory`` is an instance or cannot be called with the arguments, or makes
            something else.
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise TypeError(
            f"Expected {name} to be a class or a function that makes a module, but got an instance "
            f"of {type(factory).__name__}; pass the class, or functools.partial(...)."
        )
    try:
        module = factory(*arguments)
    except TypeError:
        reason = mismatch(factory, arguments)
        if reason is None:
            raise
        raise TypeError(
            f"Expected {name} to make a module of {len(arguments)} positional arguments, but "
            f"{_called(factory):.60} does not take them: {reason:.120}; pass a module class, or "
            f"functools.partial(...) with what is missing."
        ) from None
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"Expected {name} to make an nn.Module, but got {type(module).__name__}; "
            f"pass a class of modules."
        )
    return module


def mismatch(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str | None:
    """Why a function cannot be called with these arguments; None if it can."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        return str(error)
    except ValueError:
        return "it tells no signature"  # as most functions written in C
    return None


def _called(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _check_signature(
    part: nn.Module, name: str, given: tuple[Tensor, ...], context: Tensor | None
) -> None:
    if mismatch(part.forward, given) is None:
        return
    kind = f"{type(part).__name__}.forward"
    raise TypeError(
        f"Expected the {name} to take a context, but {kind} accepts none; "
        f"wrap it in disvae.nn.Unconditional."
        if context is not None
        else f"Expected the {name} to need no context, but {kind} cannot be called without "
        f"one; pass context=."
    ) from None


def _distribution(value: Any, name: str) -> Distribution:
    if not isinstance(value, Distribution):
        raise TypeError(
            f"Expected the {name} to return a torch.distributions.Distribution, but got "
            f"{type(value).__name__}; end it with a head of disvae.posteriors or "
            f"disvae.likelihoods."
        )
    return value
