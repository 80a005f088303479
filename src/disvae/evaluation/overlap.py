"""How much the posteriors of different data overlap."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from disvae.distributions import base_of, is_normal
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.divergences import Signal
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Estimate, PartlyDefined, listing, mean_of, per_dimension
from disvae.evaluation.points import draw, encoded, missing, pick
from disvae.model import VAE, evaluating
from disvae.nn import check_int

# how many pairs of dimensions are compared by default: about three seconds of one core
_PAIRS = 2**28
_LEAST = 100
# how many at once
_NUMBERS = 2**18
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass(frozen=True, eq=False)
class Overlap(PartlyDefined):
    r"""What :func:`overlap` finds; it prints as a table.

    Attributes:
        data: The number N of data.
        points: The number of samples at which the mutual information was averaged.
        mutual_information: :math:`I_q(x; z)` in nats, or None where the posterior has no density.
        ceiling: :math:`\log N`, its value where no posteriors overlap.
        neighbours: For how many data the overlap with the nearest posterior was computed.
        bhattacharyya: The mean over them, from 0 (apart) to 1 (the same), or None where the
            posteriors are not factorised normals, or there is one datum.
        quantiles: Its 5, 25, 50, 75 and 95 % quantiles over the data, or None.
        scale: The mean standard deviation of the posteriors, ``(D,)``.
        spread: The standard deviation of their means over the data, ``(D,)``.
        signal: The part of a latent's variance that lies between data, from 0 to 1, ``(D,)``.
        not_defined: Why fields are None, by the name of the field.
    """

    data: int
    points: int
    mutual_information: Estimate | None
    ceiling: float
    neighbours: int
    bhattacharyya: Estimate | None
    quantiles: Mapping[str, float] | None
    scale: Tensor
    spread: Tensor
    signal: Tensor
    not_defined: Mapping[str, str]

    def __str__(self) -> str:
        """Tables for the terminal: of the whole, and of each dimension."""
        rows = [
            ("data, points", f"{self.data:,}, {self.points:,}"),
            ("I(x; z)", self.cell("mutual_information", f" nats, at most {self.ceiling:.3f}")),
            ("Bhattacharyya", self.cell("bhattacharyya", f" (nearest, {self.neighbours:,} data)")),
        ]
        if self.quantiles is not None:
            quantiles = (f"{name} {value:.3f}" for name, value in self.quantiles.items())
            rows.append(("  quantiles", "  ".join(quantiles)))
        columns: dict[str, Tensor | None] = {
            "scale": self.scale,
            "spread": self.spread,
            "signal": self.signal,
        }
        order = self.signal.argsort(descending=True).tolist()
        return f"{listing(rows)}\n{per_dimension(columns, order)}"


def overlap(
    model: VAE,
    data: Data,
    *,
    samples: int = 1,
    points: int | None = None,
    context: Context = None,
    batch_size: int = 512,
) -> Overlap:
    r"""How much the posteriors of different data overlap: the first half of decomposition.

    Three views of it: the mutual information, which is :math:`\log N` where posteriors do not
    overlap (a look-up table) and 0 where all are the same (a collapse); the Bhattacharyya
    coefficient of each posterior with the one that it overlaps most with,

    .. math::

        \max_{m \ne n} \int \sqrt{q(z|x_n)\,q(z|x_m)}\,dz, \qquad
        \int \sqrt{q\,q'} = \prod_d \sqrt{\frac{2 \sigma_d \sigma'_d}{\sigma_d^2 + \sigma_d'^2}}
        \exp\Big(-\frac{(\mu_d - \mu'_d)^2}{4 (\sigma_d^2 + \sigma_d'^2)}\Big)

    for factorised normals; and the scale of the posteriors against the spread of their means, with
    the signal :math:`\mathrm{Var}_x(\mu) / (\mathrm{Var}_x(\mu) + E_x \sigma^2)`. Mutual
    information, coefficient and signal do not change when the latent space is rescaled.

    The coefficient is computed of other posteriors neither: a largest value among N Monte Carlo
    estimates is biased upwards. Equal data in the set count as neighbours, with a coefficient of 1.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        samples: How many samples of the posterior each datum gives, for the mutual information.
        points: How many data give points, and are compared with all others, drawn at random. By
            default as many as take some ten seconds, see :func:`decompose`, and for the
            coefficient all up to about 5,000 (at ten dimensions).
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If the data are empty or do not fit the model, or ``points`` exceeds N.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> found = evaluation.overlap(model, torch.rand(100, 8))
        >>> found.bhattacharyya > 0.9  # an untrained encoder tells no data apart
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 3. Bhattacharyya, On a measure of divergence
        between two statistical populations, 1943, https://www.jstor.org/stable/25047882.
    """
    check_int(samples, "samples")
    with evaluating(model):
        found = encoded(model, data, context, batch_size)
        q = found.q
        why = missing(q, found.p)
        at = draw(found, why, samples, points)
        own = at.log_posterior
        information = None if own is None else at.mean(own.flatten() - q.log_joint(at.flat))
        signal = Signal.of(q)
        reason = _no_neighbours(q)
        nearest = torch.zeros(0) if reason else _nearest(q, _count(q, points))
    reasons = {"mutual_information": why.density, "bhattacharyya": reason, "quantiles": reason}
    return Overlap(
        data=q.size,
        points=len(at.flat),
        mutual_information=information,
        ceiling=math.log(q.size),
        neighbours=len(nearest),
        bhattacharyya=None if reason else mean_of(nearest[None], q.size, sampled=False),
        quantiles=None if reason else _quantiles(nearest),
        not_defined={name: text for name, text in reasons.items() if text},
        **signal._asdict(),
    )


def _quantiles(values: Tensor) -> dict[str, float]:
    found = np.quantile(values.numpy(), _LEVELS).tolist()
    return {f"{100 * level:.0f} %": value for level, value in zip(_LEVELS, found, strict=True)}


def _no_neighbours(q: Aggregate) -> str | None:
    """Why the posteriors have no coefficients of Bhattacharyya."""
    if not is_normal(base_of(q.parts[0])):
        return "the posterior is no factorised normal"
    return "there is one datum" if q.size == 1 else None


def _count(q: Aggregate, points: int | None) -> int:
    """How many data are compared with all others."""
    if points is not None:
        return points
    return min(q.size, max(_PAIRS // (q.size * q.event_shape[0]), _LEAST))


def _nearest(q: Aggregate, count: int) -> Tensor:
    """The largest coefficient of the posteriors of some data with any other one, ``(count,)``."""
    bases = [base_of(part) for part in q.parts]
    # in float64, where the square of a small scale is not 0
    locs = [base.mean.double() for base in bases]
    variances = [base.stddev.double().square() for base in bases]
    loc, variance = torch.cat(locs), torch.cat(variances)
    rows = max(1, _NUMBERS // max(part.numel() for part in locs))
    found = []
    for some in pick(q.size, count).to(loc.device).split(rows):
        best = torch.full((len(some),), -torch.inf, dtype=loc.dtype, device=loc.device)
        first = 0
        for other_loc, other_variance in zip(locs, variances, strict=True):
            value = _log_coefficients(loc[some], variance[some], other_loc, other_variance)
            own = torch.arange(first, first + len(other_loc), device=loc.device) == some[:, None]
            best = best.maximum(value.masked_fill_(own, -torch.inf).amax(-1))
            first += len(other_loc)
        found.append(best)
    return torch.cat(found).clamp(max=0.0).exp().cpu()


def _log_coefficients(loc: Tensor, variance: Tensor, loc2: Tensor, variance2: Tensor) -> Tensor:
    """Of all pairs of two batches of normals, ``(n, B)``."""
    both = variance.unsqueeze(1) + variance2
    distance = (loc.unsqueeze(1) - loc2).square_().div_(both).sum(-1)
    sizes = 0.5 * variance.log().sum(-1, keepdim=True) + 0.5 * variance2.log().sum(-1)
    return 0.5 * (sizes - both.div_(2).log_().sum(-1)) - 0.25 * distance
