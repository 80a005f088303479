"""What a trained model does to data: codes, bounds, likelihoods, and which latents it uses."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from disvae.distributions import is_factorised, kl, log_ratio, marginals, point
from disvae.model import VAE, evaluating
from disvae.nn import as_pair, check_float, check_int, full_precision
from disvae.output import VAEOutput

Data = Tensor | Dataset | Iterable[Any]
Context = Tensor | Callable[[Any], Tensor] | None


def encode(
    model: VAE, data: Data, *, context: Context = None, batch_size: int = 512
) -> tuple[np.ndarray, np.ndarray | None]:
    r"""The codes of all data, and their factors where the data have any.

    A code is the point estimate of :math:`q(z|x)`: the same at every call. The model is put in
    evaluation mode meanwhile, and its data go to its device.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        context: What the model is conditioned on: a tensor with one row for each datum (for tensors
            and data sets), or a function from y to the context of a batch.
        batch_size: How many data are encoded at once (a loader brings its own).

    Returns:
        Codes ``(N, D)``, and the second items y as factors ``(N, K)``; class labels make one
        column. None where there is no second item.

    Raises:
        ValueError: If the data are empty, or do not fit the model.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> codes, factors = evaluation.encode(model, torch.rand(100, 8))
        >>> codes.shape, factors
        ((100, 2), None)
    """
    codes, factors = [], []
    with evaluating(model):
        for x, y, c in _batches(model, data, context, batch_size):
            codes.append(full_precision(point(model.encode(x, c))).cpu())
            if y is not None:
                factors.append(_rows(y, len(x)))
    if not factors:
        return torch.cat(codes).numpy(), None
    return torch.cat(codes).numpy(), torch.cat(factors).numpy()


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
        for x, _, c in _batches(model, data, context, batch_size):
            total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
            for out in _chunks(model, x, c, samples, batch_size):
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
        for x, _, c in _batches(model, data, context, batch_size):
            total = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
            for out in _chunks(model, x, c, samples, batch_size):
                log_weight = out.likelihood.log_prob(x)
                log_weight = log_weight - log_ratio(out.posterior, out.prior, out.z)
                total = torch.logaddexp(total, log_weight.logsumexp(0))
            found.append((total - np.log(samples)).cpu())
    return torch.cat(found)


@dataclasses.dataclass(frozen=True, eq=False)
class ActiveUnits:
    """Which latent dimensions carry information about the data.

    Attributes:
        count: How many are active.
        mask: For each dimension whether it is, ``(D,)``.
        variance: The variance of each dimension's posterior mean over the data, ``(D,)``.
    """

    count: int
    mask: Tensor
    variance: Tensor


def active_units(
    model: VAE,
    data: Data,
    *,
    threshold: float = 0.01,
    context: Context = None,
    batch_size: int = 512,
) -> ActiveUnits:
    r"""The latent dimensions whose posterior mean varies over the data.

    .. math::

        d \text{ is active if } \operatorname{Var}_x\big(E_{q(z_d|x)}[z_d]\big) > \text{threshold}

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        threshold: The variance above which a dimension is active.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> evaluation.active_units(model, torch.rand(100, 8), threshold=1e9).count
        0

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, https://arxiv.org/abs/1509.00519,
        section 5.2.
    """
    codes, _ = encode(model, data, context=context, batch_size=batch_size)
    return _active_units(torch.from_numpy(codes), threshold)


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    r"""What :func:`summary` finds; it prints as a table.

    Attributes:
        elbo: The mean evidence lower bound, in nats per datum.
        reconstruction: The mean distortion :math:`-E_q[\log p(x|z)]`, in nats per datum.
        kl: The mean rate :math:`KL(q(z|x) \| p(z))`, in nats per datum.
        kl_per_dimension: The mean rate of each dimension, ``(D,)``, or None where posterior or
            prior do not factorise.
        active: The active units.
        order: The latent dimensions by falling KL (or variance of the codes where it is None).
    """

    elbo: float
    reconstruction: float
    kl: float
    kl_per_dimension: Tensor | None
    active: ActiveUnits
    order: list[int]

    def __str__(self) -> str:
        """A table for the terminal."""
        if self.kl_per_dimension is None:
            each = "not defined (posterior or prior does not factorise)"
        else:
            values = self.kl_per_dimension.tolist()
            each = "  ".join(f"z{d} {values[d]:.2f}" for d in self.order)
        rows = [
            ("ELBO", f"{self.elbo:.2f} nats"),
            ("reconstruction", f"{self.reconstruction:.2f} nats"),
            ("KL", f"{self.kl:.2f} nats"),
            ("KL per dimension", each),
            ("active units", f"{self.active.count} of {len(self.order)}"),
        ]
        return "\n".join(f"{name:<18}{value}" for name, value in rows)


def summary(model: VAE, data: Data, *, context: Context = None, batch_size: int = 512) -> Summary:
    r"""Bound, distortion, rate, rate of each latent dimension, and active units, over all data.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        context: As in :func:`encode`.
        batch_size: How many data are taken at once.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> found = evaluation.summary(model, torch.rand(100, 8))
        >>> abs(found.elbo + found.reconstruction + found.kl) < 1e-4
        True
    """
    distortion, rate, each, codes = [], [], [], []
    with evaluating(model):
        for x, _, c in _batches(model, data, context, batch_size):
            out = model(x, c)
            distortion.append(-out.likelihood.log_prob(x).cpu())
            rate.append(kl(out.posterior, out.prior, out.z).cpu())
            each.append(_kl_per_dimension(out))
            codes.append(point(out.posterior).cpu())
    found = _active_units(torch.cat(codes), threshold=0.01)
    defined = [values.cpu() for values in each if values is not None]
    per_dimension = torch.cat(defined).mean(0) if defined else None
    ranking = found.variance if per_dimension is None else per_dimension
    reconstruction, divergence = torch.cat(distortion).mean().item(), torch.cat(rate).mean().item()
    return Summary(
        elbo=-reconstruction - divergence,
        reconstruction=reconstruction,
        kl=divergence,
        kl_per_dimension=per_dimension,
        active=found,
        order=ranking.argsort(descending=True).tolist(),
    )


def _kl_per_dimension(out: VAEOutput) -> Tensor | None:
    if not (is_factorised(out.posterior) and is_factorised(out.prior)):
        return None
    return kl(marginals(out.posterior), marginals(out.prior), out.z)


def _rows(y: Any, count: int) -> Tensor:
    """The second items of a batch as a table ``(count, K)``."""
    if not isinstance(y, Tensor) or y.shape[:1] != (count,):
        kind = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(
            f"Expected the second item of each batch to be a tensor of {count} rows, but got "
            f"{kind}; let the data set return numbers, several of them as one tensor."
        )
    return y.detach().cpu().reshape(count, -1)


def _active_units(codes: Tensor, threshold: float) -> ActiveUnits:
    variance = codes.var(0, correction=0)
    active = variance > threshold
    return ActiveUnits(int(active.sum()), active, variance)


def _chunks(
    model: VAE, x: Tensor, context: Tensor | None, samples: int, rows: int
) -> Iterator[VAEOutput]:
    """Passes that together draw ``samples`` samples for each datum, about ``rows`` at once."""
    chunk = max(1, rows // len(x))
    out = model(x, context, (min(chunk, samples),))
    yield out
    for start in range(chunk, samples, chunk):
        z = out.posterior.sample(torch.Size((min(chunk, samples - start),)))
        yield dataclasses.replace(out, z=z, likelihood=model.decode(z, context))


def _batches(
    model: VAE, data: Data, context: Context, batch_size: int
) -> Iterator[tuple[Tensor, Any, Tensor | None]]:
    """Batches (x, y, context) of any form of data, on the model's device; y is None if absent."""
    check_int(batch_size, "batch_size")
    if context is not None and not isinstance(context, Tensor) and not callable(context):
        raise TypeError(
            f"Expected context to be a tensor or a function, but got {type(context).__name__}; "
            f"pass one row for each datum, or a function from labels to context."
        )
    loader: Iterable[Any]
    if isinstance(data, Tensor):
        if data.ndim == 0:
            raise ValueError("Expected data of shape (N, ...), but got (); pass a batch of data.")
        loader = data.split(batch_size)
    elif isinstance(data, Dataset):
        loader = DataLoader(data, batch_size=batch_size)
    elif isinstance(data, tuple | dict | str) or not isinstance(data, Iterable):
        raise TypeError(
            f"Expected data to be a tensor, a data set or a loader, but got "
            f"{type(data).__name__}; put arrays into torch.utils.data.TensorDataset(x, y)."
        )
    else:
        loader = data
        if isinstance(context, Tensor):
            raise TypeError(
                "Expected a function as context for a loader, which may shuffle, but got a tensor; "
                "pass a function from the batch's second item to its context, or a data set."
            )
    device = next((p.device for p in model.parameters()), None)
    start = 0
    for batch in loader:
        x, y = as_pair(batch)
        check_float(x, "x")
        if isinstance(context, Tensor):
            c: Tensor | None = context[start : start + len(x)]
        else:
            c = None if context is None else context(y)
        yield x.to(device), y, None if c is None else c.to(device)
        start += len(x)
    if start == 0:
        raise ValueError(
            "Expected data with at least one datum, but got none; check the data set or its filter."
        )
    if isinstance(context, Tensor) and len(context) != start:
        raise ValueError(
            f"Expected one row of context for each of the {start} data, but got {len(context)}; "
            f"pass a tensor of shape ({start}, C)."
        )
