"""The clauses on densities: finite, normalised, that of the sampler, with the moments it states."""

import math

import torch
from scipy.special import ndtri
from torch import Tensor
from torch.distributions import Distribution, constraints

from disvae.testing.integration import dimensions, integral, samples_needed, support_of
from disvae.testing.part import Part, draw, has_density, is_discrete

_INTEGRAL_TOLERANCE = 0.01
_SAMPLES = 100_000
_VALUES = 4_000_000
# the largest share that one sample may have in a sum of squares for its error to be trusted
_WILD = 0.05


def check_density(part: Part) -> None:
    """Finite on own samples, normalised in up to 2 dimensions, and the density of the samples."""
    part, module = part.precise()
    d = part.distribution(module)
    if not has_density(d):
        return
    name = type(d).__name__
    z = draw(d, (min(1000, _count(d)),))
    with part.running("density", f"{name}.log_prob at its own samples", "mend its density"):
        log_p = d.log_prob(z).detach()
        if part.data is not None:
            log_p = torch.cat((log_p.flatten(), d.log_prob(part.data).detach().flatten()))
    if not torch.isfinite(log_p).all():
        bad = log_p[~torch.isfinite(log_p)]
        raise part.broken(
            "density",
            f"a finite {name}.log_prob at its own samples{'' if part.data is None else ' and x'}",
            f"{bad[0].item():g} at {len(bad)} of {log_p.numel()}",
            "check its support, and compute in logarithms",
        )
    if is_discrete(d):
        if (log_p > 1e-6).any():
            raise part.broken(
                "density",
                f"log masses of {name} of at most 0",
                f"{log_p.max().item():.4g}",
                "check the normaliser",
            )
        return
    if len(d.event_shape) == 1:
        _check_integral(part, d)
    _check_sampler(part, d)


def check_moments(part: Part) -> None:
    """Mean, variance and standard deviation are those of the samples, where they are defined."""
    part, module = part.precise()
    d = part.distribution(module)
    name = type(d).__name__
    mean, variance = _stated(d, "mean"), _stated(d, "variance")
    if mean is None and variance is None:
        return
    z = draw(d, (_count(d),)).to(torch.float64)
    spread = z.std(0)
    for moment, stated in (("mean", mean), ("variance", variance)):
        if stated is None:
            continue
        if stated.shape != z.shape[1:]:
            raise part.broken(
                "moments",
                f"{name}.{moment} of shape {tuple(z.shape[1:])}",
                f"{tuple(stated.shape)}",
                "give one value for each dimension of each row",
            )
        if moment == "mean":
            values, slack = z, 0.005 * spread
        else:
            values = (z - z.mean(0)).square()
            slack = 0.01 * stated
        _check_average(part, values, stated, slack, "moments", f"{name}.{moment}")
    stddev = _stated(d, "stddev")
    if stddev is not None and variance is not None and variance.shape == stddev.shape:
        known = torch.isfinite(variance)
        if not torch.allclose(stddev.square()[known], variance[known], rtol=1e-3, atol=1e-12):
            raise part.broken(
                "moments",
                f"{name}.stddev to be the root of its variance",
                f"{stddev[known].flatten()[0].item():.4g} for a variance of "
                f"{variance[known].flatten()[0].item():.4g}",
                "delete the override",
            )


def _check_integral(part: Part, d: Distribution) -> None:
    dims, support = dimensions(d), support_of(d)
    if support is None or dims not in (1, 2):
        return
    samples = draw(d, (samples_needed(dims),))
    rows = sorted({0, d.batch_shape[0] - 1}) if d.batch_shape else [None]
    for row in rows:
        own = samples if row is None else samples[:, row]
        one = support if row is None else _row(support, row)
        if one is None:
            return

        def log_density(z: Tensor, row: int | None = row) -> Tensor:
            with torch.no_grad():
                if row is None:
                    return d.log_prob(z)
                return d.log_prob(z.unsqueeze(1).expand(-1, *d.batch_shape, -1))[:, row]

        with part.running("density", "log_prob on all of its support", "mend it, or its support"):
            total, error = integral(log_density, own, one, _INTEGRAL_TOLERANCE)
        if math.isnan(total):
            raise part.broken(
                "density",
                f"the density of {type(d).__name__} to be defined on all of its support",
                "NaN at some points",
                "compute it in logarithms (logsumexp, log1p, softplus)",
            )
        if not abs(total - 1) <= _INTEGRAL_TOLERANCE + 3 * error:
            raise part.broken(
                "density",
                f"the density of {type(d).__name__} to integrate to 1 over its support",
                f"{total:.4g} ± {2 * error:.1g}" + ("" if row is None else f" at row {row}"),
                "check the normaliser, each log-determinant, and the sum over the event",
            )


def _check_sampler(part: Part, d: Distribution) -> None:
    r"""Stein's identities, which hold for smooth densities in any dimension.

    .. math::

        E[\partial_d \log p(z)] = 0, \quad E[(z_d - m_d)\, \partial_d \log p(z)] = -1

    They need no normaliser and no finite moments, so they also hold samplers of heavy tails and
    of flows to their densities.
    """
    if support_of(d) is not constraints.real:
        return
    z = draw(d, (min(20_000, _count(d)),)).requires_grad_()
    log_p = d.log_prob(z)
    if not log_p.requires_grad:
        return
    (score,) = torch.autograd.grad(log_p.sum(), z)
    z = z.detach()
    what = f"samples of {type(d).__name__} to follow its log_prob: E[{{}}]"
    zero, one = torch.zeros_like(z[0]), torch.ones_like(z[0])
    score = score.detach()
    centred = z - z.median(0).values
    _check_average(
        part, -centred * score, one, 0.01 * one, "density", what.format("-(z - m) ∂log p(z)")
    )
    slack = 0.01 * score.std(0)
    _check_average(part, score, zero, slack, "density", what.format("∂log p(z)"))


def _check_average(
    part: Part, values: Tensor, expected: Tensor, slack: Tensor, clause: str, what: str
) -> None:
    """Averages over samples against what is stated, wherever their error can be trusted."""
    n = len(values)
    average = values.mean(0)
    squares = (values - average).square()
    sum_of_squares = squares.sum(0)
    trusted = squares.amax(0) <= _WILD * sum_of_squares
    known = torch.isfinite(expected) & (trusted | (sum_of_squares == 0))
    # about 5 standard errors for one value, more for many
    sigmas = -ndtri(3e-7 / max(expected.numel(), 1))
    allowed = slack + sigmas * sum_of_squares.sqrt() / n + 1e-9 * (1 + expected.abs())
    excess = torch.where(known, (average - expected).abs() - allowed, -torch.inf)
    if (excess > 0).any():
        worst = int((excess / allowed).argmax())
        raise part.broken(
            clause,
            f"{what} = {expected.flatten()[worst].item():.4g}",
            f"{average.flatten()[worst].item():.4g} in {n} samples",
            "check the sampler against the density" + (" and the moment" * (clause == "moments")),
        )


def _stated(d: Distribution, moment: str) -> Tensor | None:
    """A moment that the distribution defines, in float64."""
    try:
        value = getattr(d, moment)
    except (NotImplementedError, AttributeError):
        return None
    return value.detach().to(torch.float64)


def _count(d: Distribution) -> int:
    """How many samples fit, at most 100,000."""
    size = math.prod(d.batch_shape + d.event_shape)
    return max(min(_SAMPLES, _VALUES // max(size, 1)), 500)


def _row(support: constraints.Constraint, row: int) -> constraints.Constraint | None:
    """The support of one row, where its bounds differ between rows."""
    bounds = {k: v for k, v in vars(support).items() if isinstance(v, Tensor) and v.ndim > 1}
    if not bounds:
        return support
    if not isinstance(support, constraints.interval):
        return None
    return constraints.interval(support.lower_bound[row], support.upper_bound[row])
