"""How much the latents may tell: divergences that are free up to a threshold, or held at one."""

import functools
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.distributions import (
    Joint,
    RelaxedCategorical,
    base_of,
    is_factorised,
    kl,
    marginals,
)
from disvae.nn import check_groups, check_int
from disvae.objectives.base import checked_weight
from disvae.objectives.batches import gathered_mean
from disvae.objectives.schedules import Schedule, StepNumber, value_at
from disvae.output import VAEOutput


class FreeBits(nn.Module):
    r"""The KL with λ nats free for each dimension: what is below them is not pressed further.

    .. math::

        \sum_g \max\Big(\lambda,\; \overline{\sum_{d \in g} KL(q(z_d|x) \| p(z_d))}\Big)

    The mean is over the batch, on all processes, and is taken before the maximum, as published: a
    group that carries λ nats on average is left alone, whichever data they are spent on. By default
    each dimension is a group. The value is at least the number of groups times λ, and no bound on
    the evidence.

    Closed forms are used where they exist, else the estimate at the posterior's samples, whose
    noise makes the maximum of a small batch too high.

    Args:
        threshold: λ in nats, a number or a schedule.
        groups: Dimensions that share one threshold, e.g. ``[(0, 1), (2, 3)]``; each dimension
            belongs to one group. By default each is a group of its own.
        joint: Whether all dimensions are one group. This needs no marginals, so it holds for
            posteriors and priors of dependent dimensions too.

    Shape:
        ``()``, in nats.

    Raises:
        ValueError: If the threshold is negative, NaN or infinite, both ``groups`` and ``joint`` are
            given, the groups do not cover the dimensions, or posterior or prior do not factorise
            where ``joint`` is false.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> FreeBits(100.0)(model(torch.rand(16, 8))).item()
        200.0

    References:
        Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016,
        https://arxiv.org/abs/1606.04934, appendix C.8.
    """

    _group: Tensor

    def __init__(
        self,
        threshold: float | Schedule,
        *,
        groups: Sequence[Sequence[SupportsIndex]] | None = None,
        joint: bool = False,
    ) -> None:
        super().__init__()
        self.threshold = checked_weight(threshold, "threshold")
        if joint and groups is not None:
            raise ValueError(
                "Expected groups or joint=True, but got both; a joint threshold has one group of "
                "all dimensions."
            )
        self.joint = joint
        self.groups = None if groups is None else check_groups(groups, "groups")
        number = None if self.groups is None else torch.tensor(_group_of_each(self.groups))
        self.register_buffer("_group", number, persistent=False)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        parts = [f"threshold={self.threshold}"]
        parts += [] if self.groups is None else [f"groups={self.groups}"]
        return ", ".join(parts + ["joint=True"] * self.joint)

    def forward(self, out: VAEOutput, step: StepNumber = None) -> Tensor:
        """The value of the batch at a step."""
        if self.joint:
            each = kl(out.posterior, out.prior, out.z).unsqueeze(-1)
        else:
            _check_factorised(out.posterior, "posterior")
            _check_factorised(out.prior, "prior")
            each = kl(marginals(out.posterior), marginals(out.prior), out.z)
        # a mean over the processes' means: gathering these few numbers is enough
        each = gathered_mean(each.flatten(0, -2).mean(0), len(out.x))
        if self.groups is not None:
            if len(each) != len(self._group):
                raise ValueError(
                    f"Expected groups that cover the {len(each)} latent dimensions, but got groups "
                    f"of {len(self._group)}; put every dimension into one group."
                )
            each = each.new_zeros(len(self.groups)).index_add(0, self._group, each)
        return each.clamp(min=value_at(self.threshold, step, "threshold")).sum()


class Capacity(nn.Module):
    r"""The distance of the KL from a capacity C, which usually grows while training.

    .. math::

        \Big|\, \overline{KL(q(z|x) \| p(z))} - C(t) \Big|

    The mean is over the batch, on all processes, and is taken inside the absolute value, as public
    implementations do: the data share the capacity.

    Args:
        target: C in nats, a number or a schedule, such as ``schedules.Linear(0.0, 25.0,
            steps=100_000)``.
        blocks: The numbers of the blocks whose KL counts, where posterior and prior are joint
            distributions of the same blocks; by default the whole KL.
        categories: Whether relaxed categorical blocks count with the KL of the categories that they
            stand for, :math:`\sum_k \pi_k \log(\pi_k / p_k)`, which is closed, at most log K for
            a uniform prior, and below that of the relaxed densities. By default they count with the
            latter, at the posterior's samples, as in :class:`KL`.

    Shape:
        ``()``, in nats.

    Raises:
        ValueError: If the target is negative, NaN or infinite, or the blocks are not there.

    Example:
        >>> from disvae.objectives import schedules
        >>> Capacity(schedules.Linear(0.0, 25.0, steps=100_000))
        Capacity(target=Linear(0.0 → 25.0, 100000 steps))

    References:
        Burgess et al., Understanding Disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, equation 8. Dupont, Learning Disentangled Joint Continuous
        and Discrete Representations, 2018, https://arxiv.org/abs/1804.00104, section 3, for blocks
        and categories.
    """

    def __init__(
        self,
        target: float | Schedule,
        *,
        blocks: Sequence[SupportsIndex] | None = None,
        categories: bool = False,
    ) -> None:
        super().__init__()
        self.target = checked_weight(target, "target")
        self.blocks = None if blocks is None else _checked_blocks(blocks)
        self.categories = categories

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        parts = [f"target={self.target}"]
        parts += [] if self.blocks is None else [f"blocks={self.blocks}"]
        return ", ".join(parts + ["categories=True"] * self.categories)

    def forward(self, out: VAEOutput, step: StepNumber = None) -> Tensor:
        """The value of the batch at a step."""
        mean = gathered_mean(self._divergence(out).mean(), len(out.x))
        return (mean - value_at(self.target, step, "target")).abs()

    def _divergence(self, out: VAEOutput) -> Tensor:
        q, p = out.posterior, out.prior
        if self.blocks is None and not self.categories:
            return kl(q, p, out.z)
        if not (isinstance(q, Joint) and isinstance(p, Joint) and q.dims == p.dims):
            if self.blocks is None:
                return self._of_block(q, p, out.z)
            raise ValueError(
                f"Expected posterior and prior to be joint distributions of the same blocks, but "
                f"got {type(q).__name__} and {type(p).__name__}; use posteriors.Joint and "
                f"priors.Joint, or leave blocks out."
            )
        parts = q.split(out.z)
        blocks = range(len(parts)) if self.blocks is None else self.blocks
        if max(blocks) >= len(parts):
            raise ValueError(
                f"Expected numbers of blocks below {len(parts)}, the number of blocks, but got "
                f"{max(blocks)}; count them from 0."
            )
        of_blocks = [self._of_block(q.blocks[i], p.blocks[i], parts[i]) for i in blocks]
        return functools.reduce(operator.add, of_blocks)

    def _of_block(self, q: Distribution, p: Distribution, z: Tensor) -> Tensor:
        if self.categories:
            if isinstance(q, RelaxedCategorical) and isinstance(p, RelaxedCategorical):
                return (q.probs * (q.logits - p.logits)).sum(-1)
            if self.blocks is not None:
                raise TypeError(
                    f"Expected relaxed categorical blocks, for the KL of their categories, but got "
                    f"{type(base_of(q)).__name__}; name the blocks by their numbers, from 0."
                )
        return kl(q, p, z)


def _group_of_each(groups: tuple[tuple[int, ...], ...]) -> list[int]:
    """The number of the group of each dimension."""
    number = {d: i for i, group in enumerate(groups) for d in group}
    return [number[d] for d in sorted(number)]


def _checked_blocks(blocks: Sequence[SupportsIndex]) -> tuple[int, ...]:
    if not isinstance(blocks, Sequence):
        raise TypeError(
            f"Expected blocks to be a sequence of numbers, but got {type(blocks).__name__}; "
            f"write e.g. blocks=(0,)."
        )
    found = tuple(check_int(b, "each number in blocks", minimum=0) for b in blocks)
    if not found or len(set(found)) != len(found):
        raise ValueError(
            f"Expected blocks to hold the numbers of one or more blocks, each once, but got "
            f"{found}; write e.g. blocks=(0,)."
        )
    return found


def _check_factorised(d: Distribution, name: str) -> None:
    if not is_factorised(d):
        raise ValueError(
            f"Expected a {name} with independent dimensions, to free each of them, but "
            f"{type(d).__name__} does not factorise; pass joint=True for one threshold on the "
            f"whole KL, or use a factorised {name}."
        )
