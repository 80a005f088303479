"""Models whose posteriors are a fixed table, and the exact values of their aggregate."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
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


def unit_likelihood(z, context=None):
    return Independent(dist.Normal(z.sum(-1, keepdim=True), 1.0, validate_args=False), 1)


def model_of(posterior, prior):
    """A model whose datum x is the number of a row of a table of posteriors.

    Args:
        posterior: From numbers ``(B,)`` to the distribution of these rows.
        prior: A module, a distribution, or a function of the context.
    """
    if isinstance(prior, torch.distributions.Distribution):
        given = prior
        prior = Part(lambda *context: given)
    elif not isinstance(prior, nn.Module):
        prior = Part(prior)
    encoder = Part(lambda x, *context: posterior(x[:, 0].round().long()))
    return VAE(encoder, Part(unit_likelihood), prior=prior)


class Table:
    """N normal posteriors in D dimensions, the data that name them, and exact values."""

    def __init__(self, loc, scale, prior=None):
        self.loc = torch.as_tensor(loc, dtype=torch.float64)
        self.scale = torch.as_tensor(scale, dtype=torch.float64).expand(self.loc.shape)
        self.size, self.dim = self.loc.shape
        self.prior = priors.Normal(self.dim).double() if prior is None else prior
        self.x = torch.arange(self.size, dtype=torch.float64)[:, None]
        self.model = model_of(
            lambda i: Independent(dist.Normal(self.loc[i], self.scale[i]), 1), self.prior
        )

    def log_q(self, z, dims=None):
        """log q(z_dims | x_n) at points ``(..., dims)``: ``(..., N)``, in numpy."""
        dims = list(range(self.dim)) if dims is None else list(dims)
        loc, scale = self.loc[:, dims].numpy(), self.scale[:, dims].numpy()
        t = (z[..., None, :] - loc) / scale
        return (-0.5 * t**2 - np.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)

    def log_aggregate(self, z, dims=None):
        return logsumexp(self.log_q(z, dims), axis=-1) - math.log(self.size)

    def grid(self, dims, reach=9.0):
        """Points and the volume of a cell: sums over them are integrals, to many digits."""
        low = float((self.loc - reach * self.scale).min().clamp(max=-reach))
        high = float((self.loc + reach * self.scale).max().clamp(min=reach))
        step = float(self.scale.min().clamp(max=1.0)) / 2
        axis = np.arange(low, high, step)
        mesh = np.meshgrid(*[axis] * len(dims), indexing="ij")
        return np.stack(mesh, -1).reshape(-1, len(dims)), step ** len(dims)

    def divergence(self, dims, log_p):
        """KL(q(z_dims) ‖ p) by quadrature, of the log density at points ``(..., dims)``."""
        z, cell = self.grid(dims)
        log_q = self.log_aggregate(z, dims)
        return (np.exp(log_q) * (log_q - log_p(z))).sum() * cell

    def dependence(self, groups):
        """KL(q(z) ‖ Π_g q(z_g)) of groups of dimensions that are numbered by all of them."""
        dims = [d for group in groups for d in group]

        def product(z):
            ends = np.cumsum([len(group) for group in groups])
            parts = np.split(z, ends[:-1], axis=-1)
            return sum(self.log_aggregate(p, g) for p, g in zip(parts, groups, strict=True))

        return self.divergence(dims, product)

    def information(self):
        z, cell = self.grid(range(self.dim))
        log_q = self.log_q(z)
        mean = logsumexp(log_q, axis=-1, keepdims=True) - math.log(self.size)
        return (np.exp(log_q) * (log_q - mean)).sum() * cell / self.size


def numpy_log_prob(d):
    """The log density of a distribution as a function of arrays."""
    return lambda z: d.log_prob(torch.as_tensor(z)).detach().numpy()


@pytest.fixture(scope="session")
def tables():
    """Makes a table of posteriors."""
    return Table


@pytest.fixture(scope="session")
def table_model():
    """Makes a model from any posteriors of numbered data."""
    return model_of


@pytest.fixture(scope="session")
def log_prob_of():
    return numpy_log_prob


@pytest.fixture(scope="session")
def random_table():
    """Makes a table drawn with a seed."""

    def make(size, dim, seed=0, prior=None, spread=1.0):
        rng = np.random.default_rng(seed)
        loc = spread * rng.normal(size=(size, dim))
        return Table(loc, rng.uniform(0.3, 1.2, size=(size, dim)), prior)

    return make
