"""Which latent dimensions a model uses, and what they cost."""

import dataclasses
import math
import numbers

import torch
from torch import Tensor

from disvae.distributions import is_factorised, kl, marginals, point
from disvae.evaluation.encoding import encode
from disvae.evaluation.feeding import Context, Data, batches
from disvae.evaluation.findings import listing
from disvae.model import VAE, evaluating
from disvae.output import VAEOutput


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

    Raises:
        ValueError: If ``threshold`` is no number, or the data are empty or do not fit the model.

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
    if not isinstance(threshold, numbers.Real) or math.isnan(threshold):
        raise ValueError(
            f"Expected threshold to be a number, but got {threshold!r:.60}; 0.01 is the variance "
            f"of posterior means that the paper takes."
        )
    codes, _ = encode(model, data, context=context, batch_size=batch_size)
    return units_of(torch.from_numpy(codes), threshold)


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
        return listing(rows)


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
        for x, _, c in batches(model, data, context, batch_size):
            out = model(x, c)
            distortion.append(-out.likelihood.log_prob(x).cpu())
            rate.append(kl(out.posterior, out.prior, out.z).cpu())
            each.append(kl_per_dimension(out))
            codes.append(point(out.posterior).cpu())
    found = units_of(torch.cat(codes))
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


def kl_per_dimension(out: VAEOutput) -> Tensor | None:
    """The rate of each dimension, ``(B, D)``, or None where posterior or prior do not factorise."""
    if not (is_factorised(out.posterior) and is_factorised(out.prior)):
        return None
    return kl(marginals(out.posterior), marginals(out.prior), out.z)


def units_of(codes: Tensor, threshold: float = 0.01) -> ActiveUnits:
    """The active units of codes ``(N, D)``."""
    variance = codes.var(0, correction=0)
    active = variance > threshold
    return ActiveUnits(int(active.sum()), active, variance)
