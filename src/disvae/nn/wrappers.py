"""Adapters for modules that were not written for disvae."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.func import functional_call


def frozen(module: nn.Module) -> Callable[..., Any]:
    r"""The module with detached parameters: gradients pass through to its inputs only.

    It is how a model is trained against an adversary in one backward pass:
    ``frozen(discriminator)(z)`` moves the model, ``discriminator(z.detach())`` the discriminator.

    Args:
        module: The module; it is not changed.

    Example:
        >>> import torch
        >>> layer, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
        >>> frozen(layer)(x).sum().backward()
        >>> x.grad is None, layer.weight.grad is None
        (False, True)
    """
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def call(*arguments: Any) -> Any:
        return functional_call(module, parameters, arguments)

    return call


class Unconditional(nn.Module):
    r"""A part that takes no context, inside a model that is given one.

    With a context, every part of a :class:`disvae.VAE` is called with it: ``encoder(x, context)``,
    ``decoder(z, context)``, ``prior(context)``. A module that takes none (``nn.Sequential``, an
    unconditional flow) is wrapped in this one: the model calls the part without a context.
    Called on its own, the wrapper hands on as many arguments as the part's ``forward`` requires.

    Args:
        part: The encoder, prior or decoder.

    Raises:
        TypeError: If ``part`` is no module.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, posteriors, priors
        >>> model = disvae.VAE(
        ...     Unconditional(nn.Sequential(posteriors.DiagonalNormal(6, 2))),
        ...     decoders.MLP(2, 6, context_dim=3),
        ...     prior=priors.Normal(2),
        ... )
        >>> model(torch.rand(4, 6), torch.rand(4, 3)).z.shape
        torch.Size([4, 2])
    """

    context_dim = 0

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        if not isinstance(part, nn.Module):
            raise TypeError(
                f"Expected part to be an nn.Module, but got {type(part).__name__}; "
                f"pass an instance, not a class or a function."
            )
        self.part = part
        self._required = sum(
            parameter.default is parameter.empty
            for parameter in inspect.signature(part.forward).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        )

    def forward(self, *arguments: Any) -> Any:
        """The part, called with the arguments that it requires."""
        return self.part(*arguments[: self._required])
