"""What the shipped decoders have in common: dense layers, a context beside z, and a head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.nn import check_context, check_int, check_shape, match_dtype, mlp
from disvae.nn.networks import Activation, first_layer

LikelihoodFactory = Callable[[tuple[int, ...]], nn.Module]


class FeedForward(nn.Module):
    """Dense layers that also see the context, a trunk that gives the shape, and a head.

    Between the dense layers and the trunk a linear layer gives ``trunk_features``; with None there
    is no such layer.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        head: nn.Module,
        trunk: nn.Module,
        trunk_features: int | None,
        *,
        hidden: Sequence[int],
        activation: Activation,
        context_dim: int,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.data_shape = data_shape
        self.context_dim = check_int(context_dim, "context_dim", minimum=0)
        self.dense, features = mlp(self.latent_dim + self.context_dim, hidden, activation)
        self.project = (
            nn.Identity() if trunk_features is None else nn.Linear(features, trunk_features)
        )
        self.trunk = trunk
        self.head = head
        self._first_layer = first_layer(self)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        """The likelihood of latents ``sample_shape + (B, D)``, one for each of them."""
        check_shape(
            z, (self.latent_dim,), "z", lead="..., B", mend="build the decoder for its latent_dim"
        )
        if self._first_layer:
            z = match_dtype(z, self._first_layer[0].weight, "z")
        lead = z.shape[:-1]
        if self.context_dim:
            c = check_context(context, self.context_dim, lead[-1]).to(z.dtype)
            z = torch.cat((z, c.expand(*lead, self.context_dim)), dim=-1)
        # convolutions take one batch axis
        parameters = self.trunk(self.project(self.dense(z.flatten(0, -2))))
        return self.head(parameters.unflatten(0, lead))


def head_channels(head: nn.Module, data_shape: tuple[int, ...]) -> int:
    """How many channels a likelihood head wants; one of the user's need not say."""
    return getattr(head, "channels", data_shape[0])
