"""Priors of independent blocks of dimensions."""

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from disvae import distributions
from disvae.nn import call_part, check_groups, check_int, check_vector, check_widths
from disvae.priors.spherical import LpSpherical


class Joint(nn.Module):
    r"""Independent priors side by side in one latent vector.

    .. math::

        p(z) = \prod_b p_b(z_b)

    Args:
        priors: One prior for each block of dimensions, in their order: shipped ones or others, such
            as flows. Each is called by the rule for parts, with a context where there is one.
        dims: For each block the dimensions that it takes, or how many of those that come next; by
            default one block after another. They are part of the state dict, and loading one takes
            over its dimensions.

    Shape:
        The blocks' common batch shape, ``()`` or ``(B,)``; event shape ``(D,)``, with D the sum of
        the blocks' sizes.

    Raises:
        TypeError: If an entry is no module, or returns no distribution.
        ValueError: If the dims do not name each dimension exactly once, or a block is not over
            vectors of its size.

    Example:
        >>> from disvae import priors
        >>> prior = Joint([priors.Normal(6), priors.Categorical(10)])
        >>> prior().event_shape
        torch.Size([16])

    References:
        Dupont, Learning Disentangled Joint Continuous and Discrete Representations, 2018,
        https://arxiv.org/abs/1804.00104.
    """

    def __init__(
        self,
        priors: Iterable[nn.Module],
        dims: Sequence[int | Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        blocks = list(priors) if isinstance(priors, Iterable) else []
        if not blocks or not all(isinstance(prior, nn.Module) for prior in blocks):
            raise TypeError(
                "Expected priors to be a sequence of modules, one for each block of dimensions, "
                "but got something else; write e.g. Joint([priors.Normal(6), priors.Laplace(4)])."
            )
        self.blocks = nn.ModuleList(blocks)
        self.dims = None if dims is None else _dims(dims, len(blocks))

    @property
    def context_dim(self) -> int:
        """0 where no block uses a context."""
        return max(getattr(block, "context_dim", 1) for block in self.blocks)

    @property
    def latent_dim(self) -> int | None:
        """The number D of latent dimensions; None where only the blocks' distributions tell it."""
        return None if self.dims is None else sum(map(len, self.dims))

    def get_extra_state(self) -> Tensor:
        """Pairs (block, dimension), which go with the state dict: they are part of the density."""
        pairs = [(b, d) for b, dims in enumerate(self.dims or ()) for d in dims]
        return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the dimensions of a state dict.

        Raises:
            ValueError: If its blocks have other sizes.
        """
        pairs = state.tolist()
        given = [[d for b, d in pairs if b == block] for block in range(len(self.blocks))]
        sizes, own = [len(dims) for dims in given], [len(dims) for dims in self.dims or ()]
        if pairs and own and sizes != own:
            raise ValueError(
                f"Expected the state of blocks of sizes {own!s:.120}, but got sizes "
                f"{sizes!s:.120}; build the prior with the blocks that were saved."
            )
        self.dims = given if pairs else None

    def forward(self, context: Tensor | None = None) -> distributions.Joint:
        """The prior, of batch shape ``()``, or ``(B,)`` where a block depends on the context."""
        found = []
        for number, block in enumerate(self.blocks):
            name = f"prior of block {number}"
            d = call_part(block, name, context=context)
            check_vector(d, name, None if self.dims is None else len(self.dims[number]))
            found.append(d)
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

    def __init__(self, subspaces: Iterable[tuple[int | Sequence[int], nn.Module]]) -> None:
        pairs = list(subspaces) if isinstance(subspaces, Iterable) else []
        if not pairs or not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
            raise TypeError(
                "Expected subspaces to be a list of pairs (dims, prior), but got something else; "
                "write e.g. Subspaces([([0, 1], priors.FullNormal(2)), ([2], priors.Laplace(1))])."
            )
        super().__init__([prior for _, prior in pairs], [dims for dims, _ in pairs])

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
            for n in check_widths(sizes, "sizes")
        ]
        return cls(blocks)


def _dims(given: Sequence[int | Sequence[int]], blocks: int) -> list[list[int]]:
    """The dimensions of each block, if each dimension is in exactly one."""
    if not isinstance(given, Sequence) or len(given) != blocks:
        raise ValueError(
            f"Expected dims to be a sequence with one entry for each of the {blocks} blocks, but "
            f"got {given!r:.60}; write e.g. dims=[[0, 2], [1]]."
        )
    found: list[list[int]] = []
    for entry in given:
        if isinstance(entry, Sequence):
            found.append([check_int(d, "each of dims", minimum=0) for d in entry])
        else:
            start = sum(map(len, found))
            found.append(list(range(start, start + check_int(entry, "dims"))))
    return [list(dims) for dims in check_groups(found, "dims")]
