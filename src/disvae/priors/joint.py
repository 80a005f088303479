"""Priors of independent blocks of dimensions."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from disvae import distributions
from disvae.nn import check_int
from disvae.priors.spherical import LpSpherical


class Joint(nn.Module):
    r"""Independent priors side by side in one latent vector.

    .. math::

        p(z) = \prod_b p_b(z_b)

    Args:
        priors: One prior for each block of dimensions, in their order: shipped ones or others, such
            as flows. Each is called by the rule for parts, with a context where there is one.

    Shape:
        The blocks' common batch shape, ``()`` or ``(B,)``; event shape ``(D,)``, with D the sum of
        the blocks' sizes.

    Raises:
        TypeError: If an entry is no module.

    Example:
        >>> from disvae import priors
        >>> prior = Joint([priors.Normal(6), priors.Categorical(10)])
        >>> prior().event_shape
        torch.Size([16])

    References:
        Dupont, Learning Disentangled Joint Continuous and Discrete Representations, 2018,
        https://arxiv.org/abs/1804.00104.
    """

    def __init__(self, priors: Sequence[nn.Module]) -> None:
        super().__init__()
        if not priors or not all(isinstance(prior, nn.Module) for prior in priors):
            raise TypeError(
                "Expected priors to be a sequence of modules, one for each block of dimensions, "
                "but got something else; write e.g. Joint([priors.Normal(6), priors.Laplace(4)])."
            )
        self.blocks = nn.ModuleList(priors)
        self.dims: list[list[int]] | None = None

    @property
    def context_dim(self) -> int:
        """0 where no block uses a context."""
        return max(getattr(block, "context_dim", 1) for block in self.blocks)

    def forward(self, context: Tensor | None = None) -> distributions.Joint:
        """The prior, of batch shape ``()``, or ``(B,)`` where a block depends on the context."""
        found = [block() if context is None else block(context) for block in self.blocks]
        if self.dims is not None:
            _check_sizes([d.event_shape for d in found], self.dims)
        return distributions.Joint(found, self.dims)


class Subspaces(Joint):
    r"""Independent subspaces: groups of dimensions, each with a prior of its own.

    .. math::

        p(z) = \prod_b p_b(z_{D_b})

    Dimensions may depend on one another inside a group, and not across.

    Args:
        subspaces: Pairs ``(dims, prior)``: the dimensions that a prior takes, or how many of those
            that come next.

    Shape:
        The blocks' common batch shape, ``()`` or ``(B,)``; event shape ``(D,)``.

    Raises:
        ValueError: If the groups do not name each dimension exactly once.

    Example:
        >>> from disvae import priors
        >>> prior = Subspaces([([0, 2], priors.FullNormal(2)), ([1], priors.Laplace(1))])
        >>> prior().event_shape
        torch.Size([3])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 3.
    """

    def __init__(self, subspaces: Sequence[tuple[int | Sequence[int], nn.Module]]) -> None:
        pairs = list(subspaces)
        if not pairs or not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
            raise TypeError(
                "Expected subspaces to be a list of pairs (dims, prior), but got something else; "
                "write e.g. Subspaces([([0, 1], priors.FullNormal(2)), ([2], priors.Laplace(1))])."
            )
        super().__init__([prior for _, prior in pairs])
        self.dims = _dims([dims for dims, _ in pairs])
        self.latent_dim = sum(map(len, self.dims))

    @classmethod
    def lp_nested(
        cls,
        sizes: Sequence[int],
        power: float = 2.2,
        outer_power: float = 2.1,
        *,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> Self:
        r"""The Lᵖ-nested prior of ISA-VAE.

        .. math::

            p(z) \propto \exp\Big(-\sum_b \Big(\sum_{d \in b}
            \big|z_d / \sigma\big|^{p}\Big)^{q/p}\Big)

        Args:
            sizes: The number of dimensions of each subspace.
            power: The power p inside a subspace.
            outer_power: The power q that joins the subspaces.
            scale: The scale :math:`\sigma`.
            learn_scale: Whether each subspace learns its scale.

        Example:
            >>> Subspaces.lp_nested((2, 3))().event_shape
            torch.Size([5])

        References:
            Stühmer, Turner and Nowozin, Independent Subspace Analysis for Unsupervised Learning of
            Disentangled Representations, 2020, https://arxiv.org/abs/1909.05063.
        """
        blocks = [
            (n, LpSpherical(n, power, outer_power, scale=scale, learn_scale=learn_scale))
            for n in sizes
        ]
        return cls(blocks)


def _dims(given: Sequence[int | Sequence[int]]) -> list[list[int]]:
    """The dimensions of each block, if each dimension is in exactly one."""
    found: list[list[int]] = []
    for entry in given:
        if isinstance(entry, Sequence):
            found.append([check_int(d, "each of dims", minimum=0) for d in entry])
        else:
            start = sum(map(len, found))
            found.append(list(range(start, start + check_int(entry, "dims"))))
    named = sorted(d for dims in found for d in dims)
    if not all(found) or named != list(range(len(named))):
        raise ValueError(
            f"Expected the subspaces to name each dimension from 0 on exactly once, but got "
            f"{found!s:.120}; give every dimension to one prior."
        )
    return found


def _check_sizes(shapes: Sequence[torch.Size], dims: Sequence[Sequence[int]]) -> None:
    for shape, block in zip(shapes, dims, strict=True):
        if shape != (len(block),):
            raise ValueError(
                f"Expected a prior over the {len(block)} dimensions {list(block)!s:.60}, but got "
                f"one of event shape {tuple(shape)}; build it with latent_dim={len(block)}."
            )
