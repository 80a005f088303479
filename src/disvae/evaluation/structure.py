"""The structure of the aggregate posterior: dependence between dimensions, and between groups."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from disvae.distributions import base_of, is_factorised, marginals
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Estimate, Finding, listing
from disvae.evaluation.points import Points, draw, encoded, missing, pick
from disvae.metrics import gaussian_total_correlation
from disvae.model import VAE, evaluating
from disvae.nn import check_groups, check_int

# how many densities of one dimension the pairs may take: about five seconds of one core
_PAIRS = 2**28
_LEAST = 100
# how many at once
_NUMBERS = 2**19
# how many pairs are printed
_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Independence(Finding):
    r"""What :func:`independence` finds; it prints as a table.

    Attributes:
        data: The number N of data.
        points: The number of samples at which the total correlation was averaged.
        total_correlation: :math:`KL(q(z) \| \prod_d q(z_d))`, in nats.
        gaussian: That of a normal distribution with the covariance of the same samples; infinite
            where one dimension is a linear combination of others.
        pairs: The mutual information :math:`I(z_i; z_j)` under q(z) of each pair of dimensions, in
            nats, ``(D, D)`` with zeros on the diagonal, or None where the posterior does not
            factorise.
        pair_errors: Their standard errors, ``(D, D)``, NaN for one point, or None.
    """

    data: int
    points: int
    total_correlation: Estimate
    gaussian: float
    pairs: Tensor | None
    pair_errors: Tensor | None

    def __str__(self) -> str:
        """A table for the terminal."""
        rows = [
            ("data, points", f"{self.data:,}, {self.points:,}"),
            ("total correlation", f"{self.total_correlation} nats"),
            ("  as if Gaussian", f"{self.gaussian:.3f} nats"),
        ]
        if self.pairs is None or self.pair_errors is None:
            rows.append(("I(z_i; z_j)", "not defined (the posterior does not factorise)"))
        else:
            above = self.pairs.triu(diagonal=1)
            for number in above.flatten().argsort(descending=True)[:_SHOWN].tolist():
                i, j = divmod(number, len(above))
                if i < j:
                    value = Estimate(float(self.pairs[i, j]), float(self.pair_errors[i, j]))
                    rows.append((f"I(z{i}; z{j})", f"{value} nats"))
        return listing(rows)


def independence(
    model: VAE,
    data: Data,
    *,
    samples: int = 1,
    points: int | None = None,
    context: Context = None,
    batch_size: int = 512,
) -> Independence:
    r"""How independent the latent dimensions are: the structure of a prior that factorises.

    .. math::

        TC = KL\Big(q(z) \Big\| \prod_d q(z_d)\Big), \qquad
        I(z_i; z_j) = KL(q(z_i, z_j) \| q(z_i)\,q(z_j))

    under the aggregate posterior of all N data, exact at every point (see :func:`decompose`). The
    Gaussian total correlation, from the covariance of the same samples, sees linear dependence
    alone, and is below the exact one where there is more (and may be above it where samples are not
    normal). Posteriors that do not overlap have a total correlation of their own: N separate
    points in D dimensions never look independent, so compare it at equal N and with
    :func:`overlap` at hand.

    Args:
        model: The model; its posterior needs marginals in closed form.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        samples: How many samples of the posterior each datum gives.
        points: How many data give points; by default as in :func:`decompose`. Pairs are averaged at
            582 random points of them for N = 46,080 and D = 10, and at more where N·D is less.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If the posterior has no marginals, the data are empty or do not fit the model,
            or ``points`` exceeds N.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> found = evaluation.independence(model, torch.rand(100, 8))
        >>> found.total_correlation < 0.1  # an untrained encoder knows nothing that could depend
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833. Chen et al., Isolating Sources of Disentanglement in
        Variational Autoencoders, 2018, https://arxiv.org/abs/1802.04942.
    """
    with evaluating(model):
        q, at = _points(model, data, samples, points, context, batch_size)
        joint, each, _ = q.log_densities(at.flat)
        pairs = errors = None
        if is_factorised(q.parts[0]):
            pairs, errors = _pairs(q, at.flat, each)
    return Independence(
        data=q.size,
        points=len(at.flat),
        total_correlation=at.mean(joint - each.sum(-1)),
        gaussian=float(gaussian_total_correlation(at.flat.cpu().numpy())),
        pairs=pairs,
        pair_errors=errors,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Subspaces(Finding):
    r"""What :func:`subspaces` finds; it prints as a table.

    Attributes:
        data: The number N of data.
        points: The number of samples at which the divergences were averaged.
        groups: The dimensions of each group.
        total_correlation: :math:`KL(q(z) \| \prod_d q(z_d))`, the sum of the two below; in nats.
        between: :math:`KL(q(z) \| \prod_g q(z_g))`, the dependence between groups.
        within: :math:`\sum_g KL(q(z_g) \| \prod_{d \in g} q(z_d))`, that inside of them.
        within_each: Its summands.
    """

    data: int
    points: int
    groups: tuple[tuple[int, ...], ...]
    total_correlation: Estimate
    between: Estimate
    within: Estimate
    within_each: tuple[Estimate, ...]

    def __str__(self) -> str:
        """A table for the terminal."""
        rows = [
            ("data, points", f"{self.data:,}, {self.points:,}"),
            ("total correlation", f"{self.total_correlation} nats"),
            ("between groups", f"{self.between} nats"),
            ("within groups", f"{self.within} nats"),
        ]
        for dims, value in zip(self.groups, self.within_each, strict=True):
            rows.append((f"  {', '.join(f'z{d}' for d in dims)}", f"{value} nats"))
        return listing(rows)


def subspaces(
    model: VAE,
    data: Data,
    groups: Sequence[Sequence[int]],
    *,
    samples: int = 1,
    points: int | None = None,
    context: Context = None,
    batch_size: int = 512,
) -> Subspaces:
    r"""How independent groups of dimensions are: the structure of a prior of subspaces.

    .. math::

        \underbrace{KL\Big(q(z) \Big\| \prod_d q(z_d)\Big)}_{TC} =
        \underbrace{KL\Big(q(z) \Big\| \prod_g q(z_g)\Big)}_{\text{between}} + \sum_g
        \underbrace{KL\Big(q(z_g) \Big\| \prod_{d \in g} q(z_d)\Big)}_{\text{within}}

    under the aggregate posterior of all N data, exact at every point (see :func:`decompose`); on
    the same points the two add up exactly. Independent subspaces have all dependence within.

    Args:
        model: The model; its posterior must factorise or be normal.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        groups: The dimensions of each group, such as ``[(0, 1), (2, 3, 4)]``; together all of them.
        samples: How many samples of the posterior each datum gives.
        points: How many data give points; by default as in :func:`decompose`.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If the groups do not take every dimension once, the posterior's groups have no
            density, the data are empty or do not fit the model, or ``points`` exceeds N.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 3), decoders.MLP(3, 8), prior=priors.Normal(3))
        >>> found = evaluation.subspaces(model, torch.rand(100, 8), [(0, 2), (1,)])
        >>> abs(found.between + found.within - found.total_correlation) < 1e-6
        True

    References:
        Esmaeili et al., Structured Disentangled Representations, 2019,
        https://arxiv.org/abs/1804.02086. Mathieu et al., Disentangling Disentanglement in
        Variational Autoencoders, 2019, https://arxiv.org/abs/1812.02833, section 3.
    """
    checked = check_groups(groups, "groups")
    with evaluating(model):
        q, at = _points(model, data, samples, points, context, batch_size)
        dim = sum(map(len, checked))
        if dim != q.event_shape[0]:
            raise ValueError(
                f"Expected groups of all {q.event_shape[0]} latent dimensions, but they have "
                f"{dim} in all; put dimensions left over into groups of their own."
            )
        joint, each, of_groups = q.log_densities(at.flat, checked)
    alone = torch.stack([each[:, list(dims)].sum(-1) for dims in checked], -1)
    return Subspaces(
        data=q.size,
        points=len(at.flat),
        groups=checked,
        total_correlation=at.mean(joint - each.sum(-1)),
        between=at.mean(joint - of_groups.sum(-1)),
        within=at.mean((of_groups - alone).sum(-1)),
        within_each=tuple(map(at.mean, (of_groups - alone).mT)),
    )


def _points(
    model: VAE, data: Data, samples: int, points: int | None, context: Context, batch_size: int
) -> tuple[Aggregate, Points]:
    """The aggregate posterior and samples of it, if it has the densities of dimensions.

    Raises:
        ValueError: If it has none.
    """
    check_int(samples, "samples")
    found = encoded(model, data, context, batch_size)
    why = missing(found.q, found.p)
    if why.marginals is not None:
        raise ValueError(
            f"Expected posteriors whose dimensions have densities of their own, but "
            f"{type(base_of(found.q.parts[0])).__name__} has none in closed form; dependence is "
            f"measured for factorised and for normal ones, such as posteriors.DiagonalNormal."
        )
    return found.q, draw(found, why, samples, points)


def _pairs(q: Aggregate, z: Tensor, each: Tensor) -> tuple[Tensor, Tensor]:
    r"""The mutual information of all pairs of dimensions, and its standard errors, ``(D, D)``.

    With :math:`r_{nd} = q(z_d|x_n) / q(z_d)` the integrand is
    :math:`\log \frac1N \sum_n r_{ni} r_{nj}`: one matrix product for each point.
    """
    dim = z.shape[-1]
    count = min(len(z), max(_PAIRS // (q.size * dim), _LEAST))
    chosen = pick(len(z), count).to(z.device)
    z, each = z[chosen], each[chosen]
    total = torch.zeros(count, dim, dim, dtype=each.dtype, device=z.device)
    for part, size in zip(q.parts, q.sizes, strict=True):
        own = marginals(part)
        for rows in torch.arange(count, device=z.device).split(max(1, _NUMBERS // (size * dim))):
            log_ratio = own.log_prob(z[rows].unsqueeze(1)).double() - each[rows].unsqueeze(1)
            # exponentials that underflow take ten times as long
            ratio = log_ratio.clamp_(min=-80.0).exp_()
            total[rows] += ratio.mT @ ratio
    values = total.div_(q.size).log_()
    values.diagonal(dim1=1, dim2=2).zero_()
    spread = values.std(0) if count > 1 else torch.full_like(values[0], torch.nan)
    return values.mean(0).cpu(), (spread / count**0.5).cpu()
