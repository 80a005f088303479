"""What the shipped encoders have in common: features, a context joined to them, and a head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.nn import check_context, check_int, check_shape, make_module, match_dtype, mlp
from disvae.nn.networks import Activation, first_layer

PosteriorFactory = Callable[[int, int], nn.Module]


class FeedForward(nn.Module):
    """A trunk that gives features, dense layers that also see the context, and a head."""

    def __init__(
        self,
        data_shape: tuple[int, ...],
        latent_dim: int,
        trunk: nn.Module,
        trunk_features: int,
        *,
        hidden: Sequence[int],
        activation: Activation,
        posterior: PosteriorFactory,
        context_dim: int,
    ) -> None:
        super().__init__()
        self.data_shape = data_shape
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.context_dim = check_int(context_dim, "context_dim", minimum=0)
        self.trunk = trunk
        self.dense, features = mlp(trunk_features + self.context_dim, hidden, activation)
        self.head = make_module(posterior, "posterior", features, self.latent_dim)
        self._first_layer = first_layer(self)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        """The posterior :math:`q(z|x)` of data ``(B, *data_shape)``, batch shape ``(B,)``."""
        check_shape(x, self.data_shape, "x", mend="reshape it, or build the encoder for its shape")
        if self._first_layer:
            x = match_dtype(x, self._first_layer[0].weight, "x")
        h = self.trunk(x).flatten(1)
        if self.context_dim:
            h = torch.cat((h, check_context(context, self.context_dim, len(x)).to(h.dtype)), dim=-1)
        return self.head(self.dense(h))
