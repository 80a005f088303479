"""The rate of a model taken apart: overlap, dependence, and distance to the prior."""

import dataclasses
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from disvae.evaluation.costs import costs_of
from disvae.evaluation.divergences import (
    Signal,
    inclusive_kl,
    mmd,
    outside,
    split_of,
)
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Estimate, PartlyDefined, listing, names_of, per_dimension
from disvae.evaluation.points import Missing, draw, missing
from disvae.evaluation.summaries import ActiveUnits
from disvae.model import VAE, evaluating
from disvae.nn import check_int

# of the MMD, whose cost goes with the square
_LEAST_DRAWS, _MOST_DRAWS = 100, 2000
# where warnings begin: nats that a collapsed dimension carries, its signal, the part of log N, nats
# of holes for each dimension, and the part of q(z) outside the prior
_NO_INFORMATION, _NO_SIGNAL, _FULL, _HOLES, _FAR = 0.01, 0.02, 0.99, 1.0, 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Decomposition(PartlyDefined):
    r"""What :func:`decompose` finds; it prints as a table.

    All in nats per datum unless said otherwise. What is not defined for a model is None, with the
    reason in ``not_defined``.

    Attributes:
        data: The number N of data, all of them in the aggregate posterior.
        points: The number M of samples at which it was evaluated.
        elbo: The evidence lower bound.
        distortion: :math:`-E_q[\log p(x|z)]`.
        rate: The mean of :math:`KL(q(z|x) \| p(z))`, in closed form where there is one.
        sampled_rate: That of :math:`\log q(z|x) - \log p(z)` at the points: what the parts below
            add up to, on the same samples.
        kl_per_dimension: The rate of each dimension, ``(D,)``.
        mutual_information: :math:`I_q(x; z)`, between 0 and ``ceiling``.
        ceiling: :math:`\log N`.
        information_per_dimension: :math:`I_q(x; z_d)` of each of D dimensions on its own.
        total_correlation: :math:`KL(q(z) \| \prod_d q(z_d))`.
        dimensionwise_kl: :math:`\sum_d KL(q(z_d) \| p(z_d))`.
        dimensionwise_kl_per_dimension: Its D summands.
        aggregate_kl: :math:`KL(q(z) \| p(z))`, which penalises q outside the prior.
        prior_information: :math:`E[\log p(z|c) - \log p(z)]` under q, for a prior that depends on a
            context c: what it knows of the datum beforehand.
        inclusive_kl: :math:`KL(p(z) \| q(z))`, which penalises holes in q.
        mmd: The squared maximum mean discrepancy of q(z) from p(z), a number without unit, by
            the kernel ``InverseMultiquadratic()`` and the unbiased estimate (below 0 at times).
        mmd_samples: How many draws of each it compares: as many as points, 100 to 2,000.
        active: The active units.
        scale: The mean standard deviation of the posteriors, ``(D,)``.
        spread: The standard deviation of their means over the data, ``(D,)``.
        signal: The part of a latent's variance that lies between data, from 0 to 1, ``(D,)``.
        outside: The part of q(z) outside the prior's central 99.8 %, ``(D,)``.
        not_defined: Why fields are None, by the name of the field.
        warnings: What is wrong with the model, in words.
    """

    data: int
    points: int
    elbo: Estimate | None
    distortion: Estimate
    rate: Estimate | None
    sampled_rate: Estimate | None
    kl_per_dimension: Tensor | None
    mutual_information: Estimate | None
    ceiling: float
    information_per_dimension: tuple[Estimate, ...] | None
    total_correlation: Estimate | None
    dimensionwise_kl: Estimate | None
    dimensionwise_kl_per_dimension: tuple[Estimate, ...] | None
    aggregate_kl: Estimate | None
    prior_information: Estimate | None
    inclusive_kl: Estimate | None
    mmd: Estimate
    mmd_samples: int
    active: ActiveUnits
    scale: Tensor
    spread: Tensor
    signal: Tensor
    outside: Tensor
    not_defined: Mapping[str, str]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Tables for the terminal: of the whole, and of each dimension."""
        rows = [("data, points", f"{self.data:,}, {self.points:,}")]
        units = {"mutual_information": f" nats, at most {self.ceiling:.3f}"}
        rows += [
            (name, self.cell(field, units.get(field, " nats"))) for field, name in _ROWS.items()
        ]
        if self.prior_information is not None:
            rows.append(("known to the prior", self.cell("prior_information", " nats")))
        error = self.mmd.standard_error
        rows.append(("MMD²", f"{self.mmd:.5f} ± {error:.5f} ({self.mmd_samples:,} samples)"))
        rows.append(("active units", f"{self.active.count} of {len(self.scale)}"))
        ranking = self.signal if self.kl_per_dimension is None else self.kl_per_dimension
        columns = {
            "KL": self.kl_per_dimension,
            "I(x; z_d)": _column(self.information_per_dimension),
            "KL(q(z_d)‖p)": _column(self.dimensionwise_kl_per_dimension),
            "scale": self.scale,
            "spread": self.spread,
            "signal": self.signal,
            "outside": self.outside,
        }
        parts = [listing(rows), per_dimension(columns, ranking.argsort(descending=True).tolist())]
        return "\n".join(parts + [f"warning: {text}" for text in self.warnings])


def _column(values: tuple[Estimate, ...] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values)


_ROWS = {
    "elbo": "ELBO",
    "distortion": "distortion",
    "rate": "rate",
    "sampled_rate": "rate at the points",
    "mutual_information": "I(x; z)",
    "total_correlation": "total correlation",
    "dimensionwise_kl": "dimension-wise KL",
    "aggregate_kl": "KL(q(z)‖p(z))",
    "inclusive_kl": "KL(p(z)‖q(z))",
}


def decompose(
    model: VAE,
    data: Data,
    *,
    samples: int = 1,
    points: int | None = None,
    context: Context = None,
    batch_size: int = 512,
) -> Decomposition:
    r"""Rate and distortion, and the rate split into overlap, dependence and distance to the prior.

    .. math::

        E_x\,KL(q(z|x) \| p(z)) &= I_q(x; z) + KL(q(z) \| p(z)) \\
        &= I_q(x; z) + \underbrace{KL\Big(q(z) \Big\| \prod_d q(z_d)\Big)}_{TC}
        + \sum_d KL(q(z_d) \| p(z_d)), \qquad q(z) = \frac1N \sum_n q(z|x_n)

    the second line for priors that factorise. The aggregate posterior is that of all N data, exact
    at every point, so nothing is biased by a batch; what is sampled are the points at which it is
    averaged, and every such mean comes with its standard error. On the points the parts add up to
    ``sampled_rate`` exactly. :math:`I_q(x; z)` is that with the number of the datum: at its ceiling
    :math:`\log N`, posteriors of different data do not overlap.

    **Points.** By default every datum gives ``samples`` points, fewer where M·N·D would exceed
    2³¹ (2²⁹ for posteriors that are not factorised normals); from about 15,000 data on with ten
    dimensions, a random part of the data gives one each. At N = 46,080 and D = 10 this takes about
    ten seconds of one core. Standard errors are too large where ``samples`` is 1 and all data give
    points, as the differences between data are counted in; two samples tell them apart.

    **Memory.** There is one pass over the data, and the parameters of all posteriors are kept. A
    loader may shuffle, and its batches are those of the aggregate: one that drops the last batch
    leaves these data out.

    **Warnings** are given for collapsed dimensions (a signal below 0.02, and :math:`I_q(x; z_d)`
    below 0.01 nats where it is defined: for normal latents the two agree), for posteriors like a
    look-up table (I within 1 % of its ceiling), for holes (:math:`KL(p \| q)` above 1 nat a
    dimension), and for dimensions outside the prior's mass (more than 5 % of q(z) outside its
    central 99.8 %).

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        samples: How many samples of the posterior each datum gives.
        points: How many data give points, drawn at random; all of them are in the aggregate.
        context: As in :func:`encode`. Where the prior depends on it, p(z) is the equal mixture of
            the priors of all data, and the rate is
            :math:`I + KL(q(z) \| p(z)) - {}` ``prior_information``.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If the data are empty or do not fit the model, or ``points`` exceeds N.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> found = evaluation.decompose(model, torch.rand(100, 8))
        >>> split = found.mutual_information + found.total_correlation + found.dimensionwise_kl
        >>> abs(split - found.sampled_rate) < 1e-4
        True

    References:
        Hoffman and Johnson, ELBO surgery, 2016,
        http://approximateinference.org/accepted/HoffmanJohnson2016.pdf. Chen et al., Isolating
        Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 2. Mathieu et al., Disentangling Disentanglement
        in Variational Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    check_int(samples, "samples")
    with evaluating(model):
        costs = costs_of(model, data, samples, context, batch_size)
        q, p, _ = costs.encoded
        why = missing(q, p)
        at = draw(costs.encoded, why, samples, points)
        split = split_of(costs.encoded, at, why)
        inclusive = None if why.inclusive else inclusive_kl(q, p, len(at.flat))
        draws = min(max(len(at.flat), _LEAST_DRAWS), _MOST_DRAWS)
        discrepancy = mmd(q, p, draws)
        beyond, signal = outside(p, at.flat), Signal.of(q)
    found = Decomposition(
        data=q.size,
        points=len(at.flat),
        elbo=costs.elbo,
        distortion=costs.distortion,
        rate=costs.rate,
        kl_per_dimension=costs.kl_per_dimension,
        ceiling=math.log(q.size),
        inclusive_kl=inclusive,
        mmd=discrepancy,
        mmd_samples=draws,
        active=costs.active,
        outside=beyond,
        not_defined={},
        warnings=(),
        **split._asdict(),
        **signal._asdict(),
    )
    return dataclasses.replace(
        found, not_defined=_reasons(found, why), warnings=tuple(_warnings(found))
    )


def _reasons(found: Decomposition, why: Missing) -> dict[str, str]:
    """Why fields are None."""
    reasons = {
        "elbo": why.rate,
        "rate": why.rate,
        "sampled_rate": why.rate,
        "kl_per_dimension": why.rate or "posterior or prior does not factorise",
        "mutual_information": why.density,
        "information_per_dimension": why.marginals,
        "total_correlation": why.marginals,
        "dimensionwise_kl": why.dimensions,
        "dimensionwise_kl_per_dimension": why.dimensions,
        "aggregate_kl": why.rate,
        "prior_information": why.rate or "the prior depends on no context",
        "inclusive_kl": why.inclusive,
    }
    return {name: str(reason) for name, reason in reasons.items() if getattr(found, name) is None}


def _warnings(found: Decomposition) -> Iterator[str]:
    """What is wrong with a model, in words."""
    collapsed = found.signal < _NO_SIGNAL
    if found.information_per_dimension is not None:
        collapsed &= torch.tensor(found.information_per_dimension) < _NO_INFORMATION
    if found.data > 1 and collapsed.any():
        which = "all dimensions" if collapsed.all() else names_of(collapsed)
        yield f"posterior collapse of {which}: no information about the data"
    information = found.mutual_information
    if found.data > 1 and information is not None and information >= _FULL * found.ceiling:
        yield (
            "look-up table: I(x; z) is at its ceiling log N, so posteriors of different data do "
            "not overlap; a larger β makes them"
        )
    holes = found.inclusive_kl
    if holes is not None and holes > _HOLES * len(found.scale):
        yield (
            f"holes: KL(p(z)‖q(z)) is {holes:.1f} nats, so draws of the prior fall where no datum "
            f"is encoded; more of KL(q(z)‖p(z)) or of terms.InclusiveKL in the objective closes "
            f"them"
        )
    far = found.outside > _FAR
    if far.any():
        yield (
            f"outside the prior: up to {100 * found.outside.max():.0f} % of q(z) lies beyond the "
            f"prior's central 99.8 %, in {names_of(far)}"
        )
