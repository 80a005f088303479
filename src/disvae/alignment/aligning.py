"""Which latent dimension carries which attribute."""

from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from disvae.alignment.attributes import Attributes, Floats, Gauge, Measure
from disvae.alignment.codes import Codes, OfCodes
from disvae.alignment.finding import Alignment, Carrier, Resampled
from disvae.alignment.gathering import Gathered, gather
from disvae.alignment.sweeps import OfSweeps, Sweeps, curves_of, steps_through, sweep
from disvae.data import morphology
from disvae.evaluation.feeding import Context, Data
from disvae.metrics.arrays import Rng, resolve_rng
from disvae.model import VAE
from disvae.nn import check_int

_RANGE = (0.01, 0.99)


def align(
    model: VAE,
    data: Data,
    attributes: Attributes | None = None,
    *,
    names: Sequence[str] | None = None,
    measure: Measure = morphology,
    context: Context = None,
    samples: int = 64,
    steps: int = 9,
    central: float = 0.96,
    threshold: float = 0.01,
    replicates: int = 200,
    batch_size: int = 512,
    rng: Rng = 0,
) -> Alignment:
    r"""Finds the latent dimension that carries each attribute of the data, and says how well.

    Dimensions are compared in two ways: by what the *codes* of the data know of an attribute, and
    by what *decoding* does to it, in traversals that are measured. A dimension takes part if it
    carries a signal, a part :math:`\mathrm{Var}_x(\mu) / (\mathrm{Var}_x(\mu) + E_x \sigma^2)` of
    at least ``threshold``: the codes of a collapsed one are rounding noise. Dimensions of
    categories and spheres, which cannot be moved alone, take no part.

    From the codes :math:`z_d` (point estimates of :math:`q(z|x)`) and the attributes :math:`a_k`:

    - *gap*: :math:`(I(z_{d_k}; a_k) - \max_{d \ne d_k} I(z_d; a_k)) / H(a_k)` with
      :math:`d_k = \arg\max_d I(z_d; a_k)`, as in :func:`disvae.metrics.mig`, with codes in 20 and
      attributes in 10 bins of equally many data: between 0 and 1, unmoved by monotone maps of
      either. Their mean is the score. Information of bins is biased upwards, by about
      :math:`86/N` nats for N data where there is none: a gap of 1 comes out as
      :math:`1 - 37/N`, and gaps should be compared at equal N.
    - *correlation*: Spearman's rank correlation.
    - *partial*: the rank correlation given all other attributes in the table, from the inverse of
      the matrix of rank correlations: attributes go together (thick strokes have more area), and
      this is what a dimension knows of one beyond the rest. It depends on the choice of attributes:
      the area is nearly length times thickness, so among all six of
      :func:`disvae.data.morphology` little is left of any of the three. Name a few.

    From decoding: for ``samples`` data, each dimension goes through ``steps`` even steps from one
    end of the central part of its own codes to the other, while the others stay at the datum's
    code. The point estimates are measured; traversals with fewer than three frames that have the
    attribute do not count for it. With the standard deviations :math:`\sigma_d` of the codes and
    :math:`\sigma_k` of the attribute over the data,

    - *slope*: the mean over data of the least-squares slope of :math:`a_k / \sigma_k` against
      :math:`z_d / \sigma_d`;
    - *monotonicity*: the mean over data of the size of the rank correlation along the traversal.
      Noise has 0.29 at 9 steps;
    - *cross-talk*: :math:`\frac{1}{K-1} \sum_{j \ne k} m_{dj} / m_{dk}` with the movement
      :math:`m_{dk}`, the root of the mean variance of :math:`a_k / \sigma_k` along a traversal:
      0 where the dimension changes nothing but this attribute, 1 where it changes the others as
      much.

    *The rule*: an attribute is carried by the dimension with the largest size of the slope, what
    decoding does and a knob can use. The one whose codes know most of it stands beside it; where
    they differ, the table says so. Two attributes may have the same dimension, which is cross-talk
    in itself; ``assignment`` gives each its own.

    Intervals are 95 %, from resamples of the data for figures of codes and of the ``samples`` base
    data for those of traversals. They do not hold what another training run would give.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        attributes: The attributes of the data: a :class:`disvae.data.MorphologyTable`, a mapping
            from names to ``(N,)``, a data frame, or numbers ``(N, K)``. None takes the data's
            second items where these are attributes, as those of :class:`disvae.data.MorphoMNIST`:
            floats in rows, of names (``factor_names``) that ``measure`` gives too, or, where
            neither has names, of as many columns. Else it measures the data. Data with NaN in one
            of them are left out.
        names: Which attributes, in this order; for numbers without names, what to call them.
        measure: From a tensor ``(n, *event)`` on the CPU to the same attributes, in any of the
            forms above, matched by name or, without names, by column. Where all data lie in [0, 1],
            what is decoded is cut to it first.
        context: As in :func:`disvae.evaluation.encode`. A traversal keeps the context of its datum.
        samples: How many data traversals start from, at most.
        steps: How many values each dimension takes, at least 3.
        central: The part of the codes that a traversal covers: from 2 % to 98 % by default.
        threshold: The signal from which on a dimension takes part, from 0 to 1.
        replicates: How many resamples the intervals are from.
        batch_size: How many data are taken at once (a loader brings its own).
        rng: Seed or generator of the base data and of the resamples.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If attributes do not fit the data or vary in none of them, fewer than 20 data
            have all of them, no dimension carries a signal, or nothing decoded can be measured.

    Example:
        >>> import torch, disvae
        >>> from disvae import alignment, decoders, encoders, priors
        >>> _ = torch.manual_seed(0)
        >>> encoder, decoder = encoders.MLP(8, 2), decoders.MLP(2, 8)
        >>> for parameter in encoder.parameters():  # so that the codes of this sketch vary
        ...     _ = parameter.data.mul_(3)
        >>> model = disvae.VAE(encoder, decoder, prior=priors.Normal(2))
        >>> def measure(x):
        ...     return {"total": x.sum(1), "largest": x.amax(1)}
        >>> found = alignment.align(model, torch.rand(500, 8), measure=measure, replicates=20)
        >>> found.names, found.slope.shape
        (('total', 'largest'), torch.Size([2, 2]))

    References:
        Pastrana, Disentangling Variational Autoencoders, 2022, https://arxiv.org/abs/2211.07700.
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942. Castro et al., Morpho-MNIST: Quantitative Assessment and
        Diagnostics for Representation Learning, 2019, https://jmlr.org/papers/v20/19-033.html.
    """
    samples = check_int(samples, "samples")
    steps = check_int(steps, "steps", minimum=3)
    replicates = check_int(replicates, "replicates", minimum=2)
    _check_part(central, "central", "0.96 leaves out 2 % at each end", least=0.01)
    _check_part(threshold, "threshold", "0.01 leaves out collapsed dimensions")
    generator, _ = resolve_rng(rng)
    found = gather(model, data, attributes, names, measure, context, batch_size, threshold)
    dims = _dimensions(found)
    codes, a = found.codes, found.attributes
    z = codes[:, list(dims)].double().numpy()

    base = np.sort(generator.choice(len(z), size=min(samples, len(z)), replace=False))
    contexts = None if found.context is None else found.context[base]
    values = steps_through(z, steps, central)
    measured = sweep(
        model, found.gauge, codes[base], contexts, dims, torch.from_numpy(values), batch_size
    )
    scales = _Scales.of(z, a)
    of_sweeps = Sweeps(values / scales.code[:, None], measured / scales.attribute)
    _check_measured(of_sweeps.figures().slope, found.gauge.names)
    of_codes = Codes(z, a)
    figures = _Figures(
        of_codes.figures(),
        of_codes.resampled(generator, replicates),
        of_sweeps.figures(),
        of_sweeps.resampled(generator, replicates),
        np.isnan(measured).mean(axis=(0, 2)),
    )
    gap, drawn = figures.codes.gap, figures.drawn_codes.gap
    return Alignment(
        data=len(z),
        left_out=found.left_out,
        source=found.source,
        samples=len(base),
        score=Resampled.of(gap.mean(), drawn.mean(axis=1), (0.0, 1.0)),
        carriers=_carriers(found.gauge, dims, figures, np.quantile(a, _RANGE, axis=0)),
        latent_dim=found.codes.shape[1],
        dimensions=dims,
        share=torch.from_numpy(figures.codes.share),
        correlation=torch.from_numpy(figures.codes.correlation),
        partial=torch.from_numpy(figures.codes.partial),
        slope=torch.from_numpy(figures.sweeps.slope),
        monotonicity=torch.from_numpy(figures.sweeps.monotonicity),
        cross_talk=torch.from_numpy(figures.sweeps.cross_talk),
        unmeasured=torch.from_numpy(figures.unmeasured),
        curves=curves_of(values, measured),
        gauge=found.gauge,
        base=codes[base],
        context=contexts,
        centre=_centre(codes, found.fixed),
        code_scale=torch.from_numpy(scales.code),
        code_ends=torch.from_numpy(np.stack([z.min(axis=0), z.max(axis=0)], axis=1)),
        attribute_scale=torch.from_numpy(scales.attribute),
    )


class _Scales(NamedTuple):
    """Standard deviations over the data, of codes (A,) and of attributes (K,)."""

    code: Floats
    attribute: Floats

    @classmethod
    def of(cls, codes: Floats, attributes: Floats) -> "_Scales":
        return cls(codes.std(axis=0), attributes.std(axis=0))


class _Figures(NamedTuple):
    """All figures, and their resamples."""

    codes: OfCodes
    drawn_codes: OfCodes
    sweeps: OfSweeps
    drawn_sweeps: OfSweeps
    unmeasured: Floats


def _carriers(
    gauge: Gauge, dims: tuple[int, ...], figures: _Figures, ranges: Floats
) -> tuple[Carrier, ...]:
    """The row of each attribute."""
    codes, sweeps = figures.codes, figures.sweeps
    rows = []
    for k, name in enumerate(gauge.names):
        d = int(np.argmax(np.nan_to_num(np.abs(sweeps.slope[:, k]), nan=-1.0)))
        unit, signed, positive = (0.0, 1.0), (-1.0, 1.0), (0.0, np.inf)
        rows.append(
            Carrier(
                attribute=name,
                dimension=dims[d],
                from_codes=dims[int(np.argmax(codes.share[:, k]))],
                gap=Resampled.of(codes.gap[k], figures.drawn_codes.gap[:, k], unit),
                correlation=_at(codes, figures.drawn_codes, "correlation", d, k, signed),
                partial=_at(codes, figures.drawn_codes, "partial", d, k, signed),
                slope=_at(sweeps, figures.drawn_sweeps, "slope", d, k, (-np.inf, np.inf)),
                monotonicity=_at(sweeps, figures.drawn_sweeps, "monotonicity", d, k, unit),
                cross_talk=_at(sweeps, figures.drawn_sweeps, "cross_talk", d, k, positive),
                unmeasured=float(figures.unmeasured[d, k]),
                low=float(ranges[0, k]),
                high=float(ranges[1, k]),
            )
        )
    return tuple(rows)


def _at(
    figures: OfCodes | OfSweeps,
    drawn: OfCodes | OfSweeps,
    name: str,
    d: int,
    k: int,
    bounds: tuple[float, float],
) -> Resampled:
    return Resampled.of(getattr(figures, name)[d, k], getattr(drawn, name)[:, d, k], bounds)


def _dimensions(found: Gathered) -> tuple[int, ...]:
    dims = tuple(torch.nonzero(found.active).flatten().tolist())
    if not dims:
        raise ValueError(
            f"Expected at least one latent dimension that carries a signal and can be moved alone, "
            f"but none of {len(found.active)} does: they have collapsed to the prior, or are "
            f"categories or a sphere; train longer, or lower the threshold or the weight of the KL."
        )
    return dims


def _check_measured(slopes: Floats, names: tuple[str, ...]) -> None:
    """Raises where no traversal says anything about an attribute."""
    for name, column in zip(names, slopes.T, strict=True):
        if np.isnan(column).all():
            raise ValueError(
                f"Expected decoded data in which {name!r:.60} can be measured, but no traversal "
                f"has three frames where it is not NaN; look at the model's reconstructions."
            )


def _centre(codes: Tensor, fixed: Tensor) -> Tensor:
    """The mean code; dimensions that have no mean are those of the datum nearest to it."""
    centre = codes.mean(0)
    if fixed.any():
        nearest = codes[(codes - centre).square().sum(-1).argmin()]
        centre = torch.where(fixed, nearest, centre)
    return centre


def _check_part(value: float, name: str, hint: str, *, least: float = 0.0) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= 1:
        raise ValueError(
            f"Expected {name} to be a number from {least:g} to 1, but got {value!r:.60}; {hint}."
        )
