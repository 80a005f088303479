"""Models whose decoders do exactly what is known to attributes."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent

from disvae import VAE, priors
from disvae import distributions as dist


class Part(nn.Module):
    """A part that returns what a function makes of its arguments."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def normal(loc, scale):
    return Independent(dist.Normal(loc, torch.as_tensor(scale, dtype=loc.dtype)), 1)


def model_of(decode, encode, scale=0.1, prior=None, dim=None):
    """A model of vectors.

    Args:
        decode: From latents (and a context) to data.
        encode: From data (and a context) to codes.
        scale: The scale of the posteriors.
        prior: A module, else normal in ``dim`` dimensions.
    """
    return VAE(
        Part(lambda x, *c: normal(encode(x, *c), scale).expand(x.shape[:1])),
        Part(lambda z, *c: normal(decode(z, *c), 1.0)),
        prior=priors.Normal(dim).double() if prior is None else prior,
    )


@pytest.fixture(scope="session")
def known():
    """Makes a model from a decoder and its inverse."""
    return model_of


@pytest.fixture(scope="session")
def linear():
    """Makes the model x = A z of vectors x (K,), with its exact inverse, and data for codes z."""

    def make(matrix, z, scale=0.1):
        a = torch.as_tensor(matrix, dtype=torch.float64)
        inverse = torch.linalg.pinv(a)
        model = model_of(lambda z: z @ a.T, lambda x: x @ inverse.T, scale, dim=a.shape[1])
        return model, torch.as_tensor(z, dtype=torch.float64) @ a.T

    return make


class Bars:
    """Two parallel bars of 28 × 28 pixels: their thickness, slant and distance are the latents.

    The codes are in units of about one standard deviation; the encoder knows each image of a table.
    """

    low = torch.tensor([2.0, -0.4, 7.0], dtype=torch.float64)
    high = torch.tensor([4.0, 0.4, 13.0], dtype=torch.float64)

    def __init__(self, count=160, mix=None, seed=0):
        generator = torch.Generator().manual_seed(seed)
        u = torch.rand(count, 3, generator=generator, dtype=torch.float64)
        self.mix = torch.eye(3, dtype=torch.float64) if mix is None else torch.as_tensor(mix)
        self.truth = self.low + u * (self.high - self.low)
        self.images = self.draw(self.truth)
        self.codes = (3.4 * (u - 0.5)) @ torch.linalg.inv(self.mix).T
        self.model = VAE(Part(self._encode), Part(self._decode), prior=priors.Normal(3).double())

    @staticmethod
    def draw(attributes):
        thickness, slant, distance = attributes[:, :, None, None].unbind(1)
        line = torch.arange(28, dtype=torch.float64) - 13.5
        x = line + torch.tan(slant) * line[:, None]
        apart = (x.abs() - distance / 2).abs()
        ink = torch.sigmoid((thickness / 2 - apart) / 0.2)
        return (ink * torch.sigmoid((8 - line.abs()) / 0.2)[:, None])[:, None]

    def _encode(self, x):
        row = torch.cdist(x.flatten(1), self.images.flatten(1)).argmin(1)
        return normal(self.codes[row], 0.1)

    def _decode(self, z):
        u = (z @ self.mix.T) / 3.4 + 0.5
        x = self.draw(self.low + u * (self.high - self.low))
        return Independent(dist.Normal(x, 1.0), 3)


@pytest.fixture(scope="session")
def bars():
    """Makes bars."""
    return Bars
