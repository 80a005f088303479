r"""The aggregate posterior :math:`q(z) = \frac1N \sum_n q(z|x_n)`, estimated from one batch.

All estimators weigh the posteriors of the batch, and share one computation:

.. math::

    \log q(z_i) \approx \log \sum_{j=1}^B W_{ij}\, q(z_i|x_j), \qquad
    \log q(z_{i,d}) \approx \log \sum_{j=1}^B W_{ij}\, q(z_{i,d}|x_j)

=================  =========================  =======================  ===========================
estimator          :math:`W_{ii}`             :math:`W_{ij}`           published as
=================  =========================  =======================  ===========================
``weighted``       :math:`1/(NB)`             :math:`1/(NB)`           minibatch-weighted sampling
``stratified``     :math:`1/N`                :math:`(N-1)/(N(B-1))`   minibatch-stratified
``batch``          :math:`1/B`                :math:`1/B`              the batch as the data set
``leave-one-out``  0                          :math:`1/(B-1)`          without one's own posterior
=================  =========================  =======================  ===========================

**Bias** of the log densities, for a batch of B out of N data:

* weighted: too low by :math:`\log B` where posteriors do not overlap, by :math:`\log N` where they
  coincide. The total correlation, with one joint density and D marginals, is therefore too high by
  :math:`(D - 1)\log B` to :math:`D\log N - \log B`, about :math:`(D - 1)\log N` in practice.
* stratified: the density itself is unbiased, for rows sum to 1 and the others of a batch are
  drawn alike; its logarithm is low where few posteriors overlap, and exact when the batch is the
  data set. (The published form gives one of the others, chosen at random, another weight; this is
  its mean over that choice, which has the same expectation and a lower variance.)
* batch: too high, by up to :math:`\log(N/B)` where posteriors do not overlap.
* leave-one-out: too low without bound where posteriors do not overlap; :math:`I_q(x; z)` is an
  upper bound, where "batch" gives a lower one.

In the sum of mutual information, total correlation and dimension-wise KL the estimates cancel.

References:
    Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
    https://arxiv.org/abs/1802.04942, section 4.1 and appendix C. Poole et al., On Variational
    Bounds of Mutual Information, 2019, https://arxiv.org/abs/1905.06922, for leave-one-out.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, Normal

from disvae.distributions import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    base_of,
    is_factorised,
    is_normal,
    marginals,
)
from disvae.distributions.multivariate import DEPENDENT_NORMALS, Root
from disvae.output import VAEOutput

Estimator = Literal["weighted", "stratified", "batch", "leave-one-out"]
Groups = tuple[tuple[int, ...], ...]
_ESTIMATORS = ("weighted", "stratified", "batch", "leave-one-out")


def check_estimator(estimator: Estimator) -> Estimator:
    """The name of an estimator, if there is one of that name.

    Raises:
        ValueError: If there is none.
    """
    if not isinstance(estimator, str) or estimator not in _ESTIMATORS:
        raise ValueError(
            f"Expected estimator to be one of {', '.join(map(repr, _ESTIMATORS))}, but got "
            f"{estimator!r:.60}; the first is the choice of the β-TCVAE paper."
        )
    return estimator


def aggregate_log_density(
    out: VAEOutput, dataset_size: int, estimator: Estimator = "weighted"
) -> tuple[Tensor, Tensor]:
    r"""Log densities of the aggregate posterior at the samples, joint and for each dimension.

    What several terms need is computed once for each pass.

    Args:
        out: One forward pass. The posterior must have marginals in closed form.
        dataset_size: The number N of data points in the whole data set.
        estimator: How the posteriors of the batch are weighed, see the table of this module.

    Shape:
        ``sample_shape + (B,)`` and ``sample_shape + (B, D)``, in nats.

    Raises:
        ValueError: If the batch is larger than the data set, the posterior has no marginals, or
            the estimator needs two data and the batch has one.
    """
    own, other = _checked_weights(out, dataset_size, estimator)
    key = ("log sums", own - other)
    joint, each, _ = out.shared(key, lambda: log_sums(out.posterior, out.z, own_weight=own - other))
    return joint + other, each + other


def grouped_log_density(
    out: VAEOutput,
    groups: Groups,
    dataset_size: int,
    estimator: Estimator = "weighted",
) -> tuple[Tensor, Tensor, Tensor]:
    r"""As :func:`aggregate_log_density`, and those of groups of dimensions, in one computation.

    Args:
        out: One forward pass. The posterior must factorise, or be normal.
        groups: The dimensions of each of G groups; each dimension is in one of them.
        dataset_size: The number N of data points in the whole data set.
        estimator: How the posteriors of the batch are weighed, see the table of this module.

    Shape:
        ``sample_shape + (B,)``, ``sample_shape + (B, D)`` and ``sample_shape + (B, G)``, in nats.

    Raises:
        ValueError: If the batch is larger than the data set, the posterior has no marginals of
            groups, or the estimator needs two data and the batch has one.
    """
    own, other = _checked_weights(out, dataset_size, estimator)
    key = ("log sums", own - other, groups)
    joint, each, of_groups = out.shared(
        key, lambda: log_sums(out.posterior, out.z, groups, own_weight=own - other)
    )
    return joint + other, each + other, of_groups + other


def _checked_weights(
    out: VAEOutput, dataset_size: int, estimator: Estimator
) -> tuple[float, float]:
    batch = out.z.shape[-2]
    if batch > dataset_size:
        raise ValueError(
            f"Expected dataset_size to be the size of the whole training set, but got "
            f"{dataset_size} for a batch of {batch}; pass e.g. dataset_size=len(dataset)."
        )
    return _log_weights(estimator, batch, dataset_size)


def _log_weights(estimator: Estimator, batch: int, dataset_size: int) -> tuple[float, float]:
    """The logarithms of the weights of a sample's own posterior, and of each other one."""
    if estimator == "weighted":
        return -math.log(batch * dataset_size), -math.log(batch * dataset_size)
    if estimator == "batch":
        return -math.log(batch), -math.log(batch)
    if batch < 2:
        raise ValueError(
            f"Expected a batch of at least two data for the {estimator} estimator, but got one; "
            f"drop the last batch, or take estimator='weighted'."
        )
    if estimator == "leave-one-out":
        return -math.inf, -math.log(batch - 1)
    other = math.log((dataset_size - 1) / dataset_size / (batch - 1))
    return -math.log(dataset_size), other


def log_sums(
    q: Distribution, z: Tensor, groups: Groups = (), *, own_weight: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Log sums of the densities of all posteriors, at any points.

    .. math::

        \log \sum_{j=1}^B q(z_i|x_j), \qquad \log \sum_{j=1}^B q(z_{i,d}|x_j)

    Args:
        q: B posteriors, of batch shape ``(B,)``. They must have marginals in closed form.
        z: The points, ``(..., M, D)``.
        groups: The dimensions of each of G groups; each dimension is in one of them.
        own_weight: A logarithm that is added to the density of each point's own posterior, where
            the points are one sample of each, or several.

    Shape:
        ``(..., M)``, ``(..., M, D)`` and ``(..., M, G)``, in nats.

    Raises:
        ValueError: If the posteriors have no marginals.
    """
    base = base_of(q)
    if is_normal(base) and not is_transformed():
        return _normal_log_sums(z, base, own_weight, groups)
    z = z.unsqueeze(-2)
    each = marginals(q).log_prob(z)
    joint = each.sum(-1) if is_factorised(q) else q.log_prob(z)
    of_groups = _of_groups(q, z, each, groups)
    if own_weight:
        diagonal = torch.eye(z.shape[-3], dtype=torch.bool, device=z.device)
        weight = torch.zeros_like(joint[..., :, :]).masked_fill(diagonal, own_weight)
        joint, weight = joint + weight, weight.unsqueeze(-1)
        each, of_groups = each + weight, of_groups + weight
    return joint.logsumexp(-1), each.logsumexp(-2), of_groups.logsumexp(-2)


def _normal_log_sums(
    z: Tensor, base: Normal, extra: float, groups: Groups
) -> tuple[Tensor, Tensor, Tensor]:
    flat, loc, scale = z.reshape(-1, z.shape[-1]), base.loc, base.scale
    order = [d for group in groups for d in group]
    moved = order != sorted(order)
    if moved:  # so that the dimensions of a group are neighbours
        index = torch.tensor(order, device=z.device)
        flat, loc, scale = (v.index_select(1, index) for v in (flat, loc, scale))
    sizes = tuple(len(group) for group in groups)
    joint, each, of_groups = NormalLogSums.apply(flat, loc, scale, extra, sizes)
    if moved:
        each = each.index_select(1, index.argsort())
    lead = z.shape[:-1]
    return joint.reshape(lead), each.reshape(z.shape), of_groups.reshape(*lead, len(groups))


def _of_groups(q: Distribution, z: Tensor, each: Tensor, groups: Groups) -> Tensor:
    """Log densities of groups of dimensions under every posterior, ``(..., B, B, G)``."""
    if not groups:
        return each[..., :0]
    if is_factorised(q):
        return torch.stack([each[..., list(group)].sum(-1) for group in groups], -1)
    if isinstance(q, DEPENDENT_NORMALS):
        found = [_normal_of(q, list(group)).log_prob(z[..., list(group)]) for group in groups]
        return torch.stack(found, -1)
    raise ValueError(
        f"Expected a posterior whose groups of dimensions have a density, but "
        f"{type(q).__name__} has none in closed form; use a factorised or a normal one."
    )


def _normal_of(q: Any, dims: list[int]) -> Distribution:
    """The marginal of some dimensions of a normal distribution."""
    if isinstance(q, LowRankMultivariateNormal):  # has the same form, without a factorisation
        return LowRankMultivariateNormal(
            q.loc[..., dims], q.cov_factor[..., dims, :], q.cov_diag[..., dims]
        )
    # the root of a sub-covariance by QR: made and factorised, it would lose half of the digits
    upper = torch.linalg.qr(Root.of(q).factor[..., dims, :].mT).R
    tril = upper.mT * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return MultivariateNormal(q.loc[..., dims], scale_tril=tril, validate_args=False)


def is_transformed() -> bool:
    """Whether a compiler, which fuses the plain form by itself, or ``torch.func`` is at work."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


class NormalLogSums(torch.autograd.Function):
    r""":math:`\log\sum_j w_{ij} \prod_d N(z_{id}; \mu_{jd}, \sigma_{jd})`, and of each dimension.

    The product is over all dimensions, over one, or over those of a group of neighbours.

    The plain form makes many tensors of N·B·D numbers and keeps them for the backward pass. Here a
    few rows are worked on at a time, in two buffers that stay in the cache, and the backward pass
    computes them anew. The densities are taken as squares of :math:`(z - \mu)/\sigma`, so nothing
    cancels for sharp posteriors.
    """

    @staticmethod
    def forward(
        z: Tensor, loc: Tensor, scale: Tensor, extra: float, sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The log sums of samples ``(N, D)`` under posteriors ``(B, D)``.

        They are ``(N,)``, ``(N, D)``, and ``(N, G)`` for G groups of some sizes, which may be none.
        """
        joints, eaches, groups = [], [], []
        for _, _, joint, each, of_groups in _chunks(z, loc, scale, extra, sizes):
            joints.append(log_sum_exp_(joint))
            eaches.append(log_sum_exp_(each).T)
            if of_groups is not None:
                groups.append(log_sum_exp_(of_groups).T)
        return (
            torch.cat(joints),
            torch.cat(eaches),
            torch.cat(groups) if sizes else z.new_empty(len(z), 0),
        )

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        """Keep the inputs and the sums."""
        z, loc, scale, ctx.extra, ctx.sizes = inputs
        ctx.save_for_backward(z, loc, scale, *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """The gradients by samples, means and scales."""
        z, loc, scale, log_joint, log_each, log_groups = ctx.saved_tensors
        of_joint, of_each, of_groups = (g.contiguous() for g in gradients)
        inverse = scale.T.reciprocal().unsqueeze(1)  # (D, 1, B)
        to_z = []
        to_loc, to_scale = torch.zeros_like(loc.T), torch.zeros_like(loc.T)
        for part, t, joint, each, groups in _chunks(z, loc, scale, ctx.extra, ctx.sizes):
            # the weight of each posterior in each sum, times the sum's gradient
            weight = _exp_(each.sub_(log_each[part].T.unsqueeze(-1)))
            weight.mul_(of_each[part].T.unsqueeze(-1))
            joint = _exp_(joint.sub_(log_joint[part, None]))
            weight.add_(joint.mul_(of_joint[part, None]))
            if groups is not None:
                groups = _exp_(groups.sub_(log_groups[part].T.unsqueeze(-1)))
                groups.mul_(of_groups[part].T.unsqueeze(-1))
                for of_dims, of_group in zip(weight.split(ctx.sizes), groups, strict=True):
                    of_dims.add_(of_group)
            to_scale.sub_(weight.sum(1))
            weight.mul_(t)
            to_z.append((weight @ inverse.mT).squeeze(-1).T.neg())
            to_loc.add_(weight.sum(1))
            to_scale.add_(t.mul_(weight).sum(1))
        inverse = inverse.squeeze(1)
        return torch.cat(to_z), (to_loc * inverse).T, (to_scale * inverse).T, None, None


# how many numbers are worked on at once
_CHUNK = 2**19


def _chunks(
    z: Tensor, loc: Tensor, scale: Tensor, extra: float, sizes: tuple[int, ...]
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor | None]]:
    """For some rows at a time standardised differences, and log densities, joint, each, groups.

    They are ``(D, n, B)``, ``(n, B)``, ``(D, n, B)`` and ``(G, n, B)`` or None; the next step
    overwrites the buffers.
    """
    batch, dim = loc.shape
    rows = min(len(z), max(1, _CHUNK // loc.numel()))
    buffers = z.new_empty(2, dim, rows, batch)
    columns, means = z.T.unsqueeze(-1), loc.T.unsqueeze(1)
    inverse = scale.T.reciprocal().unsqueeze(1)
    constant = (inverse.log() - 0.5 * math.log(2 * math.pi)).contiguous()
    for start in range(0, len(z), rows):
        part = slice(start, min(start + rows, len(z)))
        t, each = buffers[:, :, : part.stop - start]
        torch.sub(columns[:, part], means, out=t).mul_(inverse)
        torch.addcmul(constant, t, t, value=-0.5, out=each)
        groups = torch.stack([g.sum(0) for g in each.split(sizes)]) if sizes else None
        joint = each.sum(0) if groups is None else groups.sum(0)
        if extra:
            number = torch.arange(start, part.stop, device=z.device)
            row, own = number - start, number % batch
            joint[row, own] += extra
            for several in (each,) if groups is None else (each, groups):
                several[:, row, own] += extra
        yield part, t, joint, each, groups


def log_sum_exp_(x: Tensor) -> Tensor:
    """The log of the sum of exponentials over the last axis, overwriting its argument."""
    largest = x.amax(-1, keepdim=True)
    return _exp_(x.sub_(largest)).sum(-1).log_() + largest.squeeze(-1)


def _exp_(x: Tensor) -> Tensor:
    # exponentials that underflow take ten times as long, and count for nothing beside the largest
    return x.clamp_(min=-80.0).exp_()
