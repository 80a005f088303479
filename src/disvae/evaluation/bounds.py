"""Bounds on the log likelihood of data."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from disvae.distributions import kl, log_ratio
from disvae.evaluation.feeding import Context, Data, batches
from disvae.model import VAE, evaluating
from disvae.nn import check_int
from disvae.output import VAEOutput


def elbo(
    model: VAE, data: Data, *, samples: int = 1, context: Context = None, batch_size: int = 512
) -> Tensor:
    r"""The evidence lower bound of each datum, with β = 1.

    .. math::

        \mathrm{ELBO}(x) = E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z)) \le \log p(x)

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        samples: How many samples of the posterior the expectation is averaged over.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once.

    Shape:
        ``(N,)``, in nats.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> evaluation.elbo(model, torch.rand(100, 8)).shape
        torch.Size([100])
    """
    check_int(samples, "samples")
    found = []
    with evaluating(model):
        for x, _, c in batches(model, data, context, batch_size):
            total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
            for out in chunks(model, x, c, samples, batch_size):
                bound = out.likelihood.log_prob(x) - kl(out.posterior, out.prior, out.z)
                total = total + bound.sum(0)
            found.append((total / samples).cpu())
    return torch.cat(found)


def log_likelihood(
    model: VAE, data: Data, *, samples: int = 100, context: Context = None, batch_size: int = 512
) -> Tensor:
    r"""The importance-weighted bound on the log likelihood of each datum.

    .. math::

        \log \hat p(x) = \log \frac1K \sum_{k=1}^K \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}
        \le \log p(x) \text{ in expectation}, \quad z_k \sim q(z|x)

    It rises with K, is exact for any K where q is the true posterior, and tends to
    :math:`\log p(x)`. Samples are drawn in chunks, so memory does not grow with K.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        samples: The number K of samples for each datum.
        context: As in :func:`encode`.
        batch_size: How many pairs of datum and sample are decoded at once.

    Shape:
        ``(N,)``, in nats.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> evaluation.log_likelihood(model, torch.rand(100, 8), samples=10).shape
        torch.Size([100])

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, https://arxiv.org/abs/1509.00519,
        equation 8.
    """
    check_int(samples, "samples")
    found = []
    with evaluating(model):
        for x, _, c in batches(model, data, context, batch_size):
            total = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
            for out in chunks(model, x, c, samples, batch_size):
                log_weight = out.likelihood.log_prob(x)
                log_weight = log_weight - log_ratio(out.posterior, out.prior, out.z)
                total = torch.logaddexp(total, log_weight.logsumexp(0))
            found.append((total - np.log(samples)).cpu())
    return torch.cat(found)


def chunks(
    model: VAE, x: Tensor, context: Tensor | None, samples: int, rows: int
) -> Iterator[VAEOutput]:
    """Passes that together draw ``samples`` samples for each datum, about ``rows`` at once."""
    chunk = max(1, rows // max(1, len(x)))  # the model refuses an empty batch
    out = model(x, context, (min(chunk, samples),))
    yield out
    for start in range(chunk, samples, chunk):
        z = out.posterior.sample(torch.Size((min(chunk, samples - start),)))
        yield dataclasses.replace(out, z=z, likelihood=model.decode(z, context))
