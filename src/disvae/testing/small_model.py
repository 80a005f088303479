"""A small model to try objectives on, and posteriors of extreme scale."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from disvae.distributions import Bernoulli, Normal, base_of
from disvae.model import VAE
from disvae.nn import full_precision, positive

DATA, _LATENT = 6, 3


def small_model() -> VAE:
    """A model of data ``(B, 6)`` with 3 latent dimensions, normal and Bernoulli."""
    return VAE(_Encoder(), _Decoder(), prior=_Prior())


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DATA, 2 * _LATENT)

    def forward(self, x: Tensor) -> Independent:
        loc, raw = full_precision(self.layer(x)).chunk(2, dim=-1)
        return Independent(Normal(loc, positive(raw)), 1)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(_LATENT, 8), nn.Tanh(), nn.Linear(8, DATA))

    def forward(self, z: Tensor) -> Independent:
        return Independent(Bernoulli(logits=full_precision(self.net(z))), 1)


class _Prior(nn.Module):
    def forward(self) -> Independent:
        return Independent(Normal(torch.zeros(_LATENT), torch.ones(_LATENT)), 1)


class Scaled(nn.Module):
    """An encoder whose normal posteriors have all one scale; other posteriors are left alone."""

    def __init__(self, encoder: nn.Module, scale: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.factor = scale

    def forward(self, *inputs: Any) -> Distribution:
        """The posterior."""
        q = self.encoder(*inputs)
        base = base_of(q)
        if not isinstance(base, torch.distributions.Normal):
            return q
        # the gradient at the scale is kept
        scale = self.factor * base.scale / base.scale.detach()
        return Independent(Normal(base.loc, scale), len(q.event_shape))
