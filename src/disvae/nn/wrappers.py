"""Adapters for modules that were not written for disvae."""

import inspect
from typing import Any

from torch import nn


class Unconditional(nn.Module):
    r"""A part that takes no context, inside a model that is given one.

    With a context, every part of a :class:`disvae.VAE` is called with it: ``encoder(x, context)``,
    ``decoder(z, context)``, ``prior(context)``. A module that takes none (``nn.Sequential``, an
    unconditional flow) is wrapped in this one, which drops the context: the part gets as many
    arguments as its ``forward`` requires, one for an encoder or a decoder, none for a prior.

    Args:
        part: The encoder, prior or decoder.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> x, context = torch.ones(4, 3), torch.ones(4, 10)
        >>> Unconditional(nn.Linear(3, 2))(x, context).shape
        torch.Size([4, 2])
    """

    context_dim = 0

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self._required = sum(
            parameter.default is parameter.empty
            for parameter in inspect.signature(part.forward).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        )

    def forward(self, *args: Any) -> Any:
        """The part, called with its own arguments alone."""
        return self.part(*args[: self._required])
