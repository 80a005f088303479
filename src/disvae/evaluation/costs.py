"""Rate and distortion of all data, from one pass over them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from disvae.distributions import kl, point
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.bounds import chunks
from disvae.evaluation.feeding import Context, Data, batches
from disvae.evaluation.findings import Estimate, mean_of
from disvae.evaluation.points import Encoded, missing, whole_prior
from disvae.evaluation.summaries import ActiveUnits, kl_per_dimension, units_of
from disvae.model import VAE
from disvae.output import VAEOutput


class Costs(NamedTuple):
    """What one pass over all data gives.

    Attributes:
        encoded: The posteriors and the prior.
        distortion: The mean of minus log p(x|z).
        rate: The mean KL, or None where it is not defined.
        elbo: Minus the sum of both, or None.
        kl_per_dimension: The mean rate of each dimension, ``(D,)``, or None.
        active: The active units.
    """

    encoded: Encoded
    distortion: Estimate
    rate: Estimate | None
    elbo: Estimate | None
    kl_per_dimension: Tensor | None
    active: ActiveUnits


class _Batch(NamedTuple):
    """What is kept of one batch: S samples of each of B data, in float64.

    Attributes:
        q: The posterior.
        p: The prior.
        distortion: ``(S, B)``.
        rate: ``(S, B)``, or None.
        each: The rate of each dimension, ``(S, B, D)`` summed to ``(B, D)``, or None.
        exact: Whether the rate is a closed form, the same for all samples.
    """

    q: Distribution
    p: Distribution
    distortion: Tensor
    rate: Tensor | None
    each: Tensor | None
    exact: bool


def costs_of(model: VAE, data: Data, samples: int, context: Context, batch_size: int) -> Costs:
    """Take all data through the model, with so many samples of each."""
    found: list[_Batch] = []
    why: str | None = None
    for x, _, c in batches(model, data, context, batch_size):
        passes: list[_Batch] = []
        for out in chunks(model, x, c, samples, batch_size):
            if not found and not passes:
                why = missing(out.posterior, out.prior).rate
            passes.append(_of_pass(out, defined=why is None))
        found.append(_joined(passes, samples))
    q = Aggregate([batch.q for batch in found])
    distortion = torch.cat([batch.distortion for batch in found], 1)
    rates = [batch.rate for batch in found if batch.rate is not None]
    each = [batch.each for batch in found if batch.each is not None]
    rate = torch.cat(rates, 1) if rates else None
    return Costs(
        encoded=Encoded(q, whole_prior([batch.p for batch in found]), ()),
        distortion=mean_of(distortion, q.size),
        rate=None if rate is None else mean_of(rate, q.size, sampled=not found[0].exact),
        elbo=None if rate is None else mean_of(-distortion - rate, q.size),
        kl_per_dimension=torch.cat(each).mean(0) if each else None,
        active=units_of(torch.cat([point(part).cpu() for part in q.parts])),
    )


def _of_pass(out: VAEOutput, *, defined: bool) -> _Batch:
    distortion = -out.likelihood.log_prob(out.x).double().cpu()
    rate = single = None
    if defined:
        rate = kl(out.posterior, out.prior, out.z).double().cpu()
        single = kl_per_dimension(out)
    return _Batch(
        out.posterior,
        out.prior,
        distortion,
        None if rate is None else rate.expand(distortion.shape),
        None if single is None else single.double().cpu().expand(out.z.shape).sum(0),
        rate is not None and rate.ndim == 1,
    )


def _joined(passes: list[_Batch], samples: int) -> _Batch:
    """The passes of one batch of data, with different samples each."""
    rates = [part.rate for part in passes if part.rate is not None]
    each = [part.each for part in passes if part.each is not None]
    return passes[0]._replace(
        distortion=torch.cat([part.distortion for part in passes]),
        rate=torch.cat(rates) if rates else None,
        each=torch.stack(each).sum(0) / samples if each else None,
    )
