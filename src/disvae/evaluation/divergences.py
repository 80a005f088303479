"""How far the aggregate posterior is from the prior, and what its latents carry."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from disvae.distributions import marginals
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.findings import Estimate, mean_of
from disvae.evaluation.points import Encoded, Missing, Points
from disvae.objectives.kernels import InverseMultiquadratic
from disvae.objectives.mmd import squared_mmd

_BLOCKS = 10
_PRIOR_SAMPLES = 10_000
_TAIL = 0.001


class Signal(NamedTuple):
    r"""What each latent carries, ``(D,)`` each.

    Attributes:
        scale: The mean standard deviation of the posteriors.
        spread: The standard deviation of their means over the data.
        signal: :math:`\mathrm{Var}_x(\mu) / (\mathrm{Var}_x(\mu) + E_x \sigma^2)`, 0 for 0 / 0.
    """

    scale: Tensor
    spread: Tensor
    signal: Tensor

    @staticmethod
    def of(q: Aggregate) -> "Signal":
        """Of all posteriors."""
        mean, variance = (v.double().cpu() for v in q.moments())
        between, within = mean.var(0, correction=0), variance.mean(0)
        signal = torch.where(between == 0, 0.0, between / (between + within))
        return Signal(variance.sqrt().mean(0), between.sqrt(), signal)


class Split(NamedTuple):
    """The rate and its parts at the points; None where not defined."""

    sampled_rate: Estimate | None = None
    mutual_information: Estimate | None = None
    information_per_dimension: tuple[Estimate, ...] | None = None
    total_correlation: Estimate | None = None
    dimensionwise_kl: Estimate | None = None
    dimensionwise_kl_per_dimension: tuple[Estimate, ...] | None = None
    aggregate_kl: Estimate | None = None
    prior_information: Estimate | None = None


def split_of(found: Encoded, at: Points, why: Missing) -> Split:
    """The rate and its parts, from one evaluation of the aggregate posterior at the points."""
    if at.log_posterior is None:
        return Split()
    z, own, values = at.flat, at.log_posterior.flatten(), {}
    if at.log_each is None:
        joint = found.q.log_joint(z)
    else:
        joint, each, _ = found.q.log_densities(z)
        values["information_per_dimension"] = at.log_each.flatten(0, 1) - each
        values["total_correlation"] = joint - each.sum(-1)
        if why.dimensions is None:
            single = each - marginals(found.p).log_prob(z)
            values["dimensionwise_kl_per_dimension"] = single
            values["dimensionwise_kl"] = single.sum(-1)
    values["mutual_information"] = own - joint
    if at.log_prior is not None:
        log_prior = given = at.log_prior.flatten()
        if isinstance(found.p, Aggregate):
            log_prior = found.p.log_joint(z)
            values["prior_information"] = given - log_prior
        values["sampled_rate"] = own - given
        values["aggregate_kl"] = joint - log_prior
    means: dict[str, Any] = {
        name: at.mean(value) if value.ndim == 1 else tuple(map(at.mean, value.mT))
        for name, value in values.items()
    }
    return Split(**means)


def inclusive_kl(q: Aggregate, p: Distribution, draws: int) -> Estimate:
    r"""The divergence :math:`KL(p(z) \| q(z))` from draws of the prior."""
    z = p.sample(torch.Size((draws,)))
    values = p.log_prob(z).double() - q.log_joint(z)
    return mean_of(values.unsqueeze(0), draws)


def mmd(q: Aggregate, p: Distribution, draws: int) -> Estimate:
    """The squared MMD of q from p, unbiased; its standard error by a jackknife of blocks."""
    shape = torch.Size((draws,))
    z = q.sample(shape)
    u = p.sample(shape).to(z.dtype)
    kernel = InverseMultiquadratic()
    block = torch.arange(draws, device=z.device) % _BLOCKS
    without = [squared_mmd(z[block != b], u[block != b], kernel) for b in range(_BLOCKS)]
    error = ((_BLOCKS - 1) * torch.stack(without).var(correction=0)).sqrt()
    return Estimate(squared_mmd(z, u, kernel).item(), error.item())


def outside(p: Distribution, z: Tensor) -> Tensor:
    """The part of points ``(M, D)`` outside the prior's central 99.8 %, ``(D,)``."""
    prior = p.sample(torch.Size((_PRIOR_SAMPLES,))).cpu().double().numpy()
    low, high = np.quantile(prior, [_TAIL, 1 - _TAIL], axis=0)
    points = z.cpu().double().numpy()
    return torch.from_numpy(((points < low) | (points > high)).mean(0))
