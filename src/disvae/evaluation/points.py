"""Points of the aggregate posterior: samples of the posteriors of all data, or of some."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from disvae.distributions import base_of, is_factorised, is_normal, marginals, noise
from disvae.distributions.supports import check_supports
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.feeding import Context, Data, batches
from disvae.evaluation.findings import Estimate, mean_of
from disvae.model import VAE, evaluating
from disvae.nn import check_int

# how many densities of one dimension are evaluated by default: about ten seconds of one core
_OF_NORMALS = 2**31
_OF_OTHERS = 2**29
# so many of the data give points even if that takes longer
_LEAST = 100


class Encoded(NamedTuple):
    """The posteriors of all data, and the prior.

    Attributes:
        q: The aggregate posterior.
        p: The prior, or the aggregate of the priors of all data where it depends on a context.
        y: The second item of each batch, None where there is none.
    """

    q: Aggregate
    p: Distribution
    y: tuple[Any, ...]


def encoded(model: VAE, data: Data, context: Context, batch_size: int) -> Encoded:
    """Encode all data in one pass, without decoding anything."""
    posteriors, priors, second = [], [], []
    with evaluating(model):
        for x, y, c in batches(model, data, context, batch_size):
            q, p = model.encode(x, c), model.latent_prior(c)
            if q.event_shape != p.event_shape:
                raise ValueError(
                    f"Expected encoder and prior to have the same latent_dim, but got event shapes "
                    f"{tuple(q.event_shape)} and {tuple(p.event_shape)}; build both with one "
                    f"latent_dim."
                )
            posteriors.append(q)
            priors.append(p)
            second.append(y)
    return Encoded(Aggregate(posteriors), whole_prior(priors), tuple(second))


def whole_prior(priors: Sequence[Distribution]) -> Distribution:
    """The prior of all data from those of their batches."""
    return Aggregate(priors) if priors[0].batch_shape else priors[0]


class Missing(NamedTuple):
    """Why quantities are not defined for a model, None for those that are.

    Attributes:
        density: Of those that need the posterior's density.
        marginals: Of those that need its marginals too.
        rate: Of those that compare it with the prior.
        inclusive: Of those that compare the prior with it.
        dimensions: Of those that compare single dimensions.
    """

    density: str | None
    marginals: str | None
    rate: str | None
    inclusive: str | None
    dimensions: str | None


def missing(q: Distribution, p: Distribution) -> Missing:
    """What is not defined, for posteriors and priors of one batch, or their aggregates."""
    conditional = isinstance(p, Aggregate)
    q, p = (d.parts[0] if isinstance(d, Aggregate) else d for d in (q, p))
    density = None if has_density(q) else "the posterior has no density"
    prior = density or (None if has_density(p) else "the prior has no density")
    each = density or _raised(marginals, q, "the posterior has no marginals in closed form")
    apart = "posterior and prior live on different sets"
    rate = prior or _raised(check_supports, q, p, apart)
    factors: str | None
    if conditional:
        factors = "the prior depends on a context, so that its mixture does not factorise"
    else:
        factors = None if is_factorised(p) else "the prior does not factorise"
    return Missing(
        density=density,
        marginals=each,
        rate=rate,
        inclusive=prior or _raised(check_supports, p, q, apart),
        dimensions=rate or each or factors,
    )


def has_density(d: Distribution) -> bool:
    """Whether a distribution has a log density."""
    if not getattr(d, "has_density", True):
        return False
    try:
        d.log_prob(d.sample())
    except NotImplementedError:
        return False
    return True


def _raised(check: Callable[..., object], *given: Any) -> str | None:
    """The last argument, if a check of the others raises."""
    try:
        check(*given[:-1])
    except ValueError:
        return str(given[-1])
    return None


class Points(NamedTuple):
    r"""Samples of some posteriors, S of each of n, and their own densities.

    Attributes:
        z: The samples, ``(S, n, D)``.
        population: The number N of all data.
        log_posterior: :math:`\log q(z|x)`, ``(S, n)``, or None where not defined.
        log_each: :math:`\log q(z_d|x)`, ``(S, n, D)``, or None where not defined.
        log_prior: :math:`\log p(z)`, or that given the datum's context, or None where not defined.
    """

    z: Tensor
    population: int
    log_posterior: Tensor | None
    log_each: Tensor | None
    log_prior: Tensor | None

    @property
    def flat(self) -> Tensor:
        """All samples, ``(M, D)`` with M = S·n."""
        return self.z.flatten(0, 1)

    def mean(self, values: Tensor) -> Estimate:
        """The mean of a value for each sample, ``(M,)`` or ``(S, n)``."""
        return mean_of(values.reshape(self.z.shape[:2]), self.population)


@torch.no_grad()
def draw(found: Encoded, why: Missing, samples: int, points: int | None) -> Points:
    """Samples of the posteriors of some data, by default as many as the budget allows.

    Raises:
        ValueError: If there are fewer data than ``points``.
    """
    q, p = found.q, found.p
    samples, count = _numbers(q, samples, points)
    kept = torch.zeros(q.size, dtype=torch.bool)
    kept[pick(q.size, count)] = True
    priors = p.parts if isinstance(p, Aggregate) else [p] * len(q.parts)
    z, of_posterior, of_each, of_prior = zip(
        *(
            _of_part(posterior, prior, rows, why, samples)
            for posterior, prior, rows in zip(q.parts, priors, kept.split(q.sizes), strict=True)
            if rows.any()
        ),
        strict=True,
    )
    return Points(
        torch.cat(z, 1),
        q.size,
        None if why.density else torch.cat(of_posterior, 1),
        None if why.marginals else torch.cat(of_each, 1),
        None if why.rate else torch.cat(of_prior, 1),
    )


def _of_part(
    q: Distribution, p: Distribution, rows: Tensor, why: Missing, samples: int
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Samples of the posteriors of some rows of one batch, and their log densities."""
    z = q.sample(Size((samples,)))
    mask = rows.to(z.device)
    return (
        z[:, mask],
        None if why.density else q.log_prob(z)[:, mask].double(),
        None if why.marginals else marginals(q).log_prob(z)[:, mask].double(),
        None if why.rate else p.log_prob(z)[:, mask].double(),
    )


def pick(size: int, count: int) -> Tensor:
    """The numbers of some data, drawn without repetition."""
    # by sorting noise: torch.randperm takes a number where samplers take a shape
    u = noise(torch.rand, (size,), dtype=torch.float64, device=torch.device("cpu"))
    return u.argsort()[:count]


def _numbers(q: Aggregate, samples: int, points: int | None) -> tuple[int, int]:
    """How many samples of how many data."""
    samples = check_int(samples, "samples")
    if points is not None:
        if check_int(points, "points") > q.size:
            raise ValueError(
                f"Expected points to be at most the number of data, {q.size}, but got {points}; "
                f"several samples of each datum are samples=."
            )
        return samples, points
    budget = _OF_NORMALS if is_normal(base_of(q.parts[0])) else _OF_OTHERS
    most = max(budget // (q.size * q.event_shape[0]), min(q.size, _LEAST))
    return (1, most) if most < q.size else (min(samples, most // q.size), q.size)
