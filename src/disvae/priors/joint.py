"""Priors of independent blocks of dimensions, and blocks that are made for them."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from disvae import distributions
from disvae.distributions import RelaxedCategorical
from disvae.nn import ScaleParameter, check_int, full_precision


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


class LpSpherical(nn.Module):
    r"""A prior that depends on the Lᵖ norm of its vector only: one subspace of ISA-VAE.

    .. math::

        p(z) \propto \exp\left(-\left(\|z\|_p / \sigma\right)^{q}\right)

    With p = 2 it is invariant to rotations inside the subspace, with p = q its dimensions are
    independent.

    Args:
        latent_dim: The number D of latent dimensions.
        power: The power p of the norm.
        outer_power: The power q of its exponent.
        scale: The scale :math:`\sigma`, a number.
        learn_scale: Whether the scale is learnt. It stays above 1e-4.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Example:
        >>> import torch
        >>> LpSpherical(2, 2.0, 2.0, scale=2**0.5)().log_prob(torch.zeros(2))  # -log 2π
        tensor(-1.8379)

    References:
        Stühmer, Turner and Nowozin, Independent Subspace Analysis for Unsupervised Learning of
        Disentangled Representations, 2020, https://arxiv.org/abs/1909.05063.
    """

    context_dim = 0

    def __init__(
        self,
        latent_dim: int,
        power: float = 2.0,
        outer_power: float = 1.0,
        *,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.power = ScaleParameter(power, (), name="power")().item()
        self.outer_power = ScaleParameter(outer_power, (), name="outer_power")().item()
        self.scale = ScaleParameter(scale, (), learn=learn_scale)

    def forward(self, context: Tensor | None = None) -> distributions.LpSpherical:
        """The prior, of batch shape ``()``."""
        return distributions.LpSpherical(
            self.scale(), self.power, self.outer_power, self.latent_dim
        )


class Categorical(nn.Module):
    r"""Categories, relaxed to the simplex at a temperature of their own.

    .. math::

        p(z) = \mathrm{Concrete}(z; \pi, \lambda)

    It is a density on the simplex, the counterpart of ``posteriors.RelaxedCategorical``, so that
    Monte Carlo KL and importance weights hold. With other blocks it goes into :class:`Joint`.

    Args:
        latent_dim: The number K of categories.
        probs: The positive probabilities, ``(K,)``, brought to sum 1; by default all are equal.
        temperature: The temperature :math:`\lambda`; low ones make samples nearly one-hot.
        learn: Whether the probabilities are learnt, starting from there.

    Shape:
        Batch shape ``()``, event shape ``(K,)``. A context is accepted and ignored.

    Raises:
        ValueError: If K is below 2, or a probability or the temperature is not positive.

    Example:
        >>> import torch
        >>> Categorical(3, probs=torch.tensor([0.2, 0.2, 0.6]))().probs
        tensor([0.2000, 0.2000, 0.6000])

    References:
        Maddison et al., The Concrete Distribution, 2017, https://arxiv.org/abs/1611.00712.
    """

    context_dim = 0
    logits: Tensor

    def __init__(
        self,
        latent_dim: int,
        *,
        probs: Tensor | None = None,
        temperature: float = 2 / 3,
        learn: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim", minimum=2)
        probs = torch.ones(self.latent_dim) if probs is None else probs
        probs = ScaleParameter(probs, (self.latent_dim,), name="probs")()
        logits = (probs / probs.sum()).log()
        if learn:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self.temperature = ScaleParameter(temperature, (), name="temperature")

    def forward(self, context: Tensor | None = None) -> RelaxedCategorical:
        """The prior, of batch shape ``()``."""
        return RelaxedCategorical(full_precision(self.logits), self.temperature())


class HypersphericalUniform(nn.Module):
    r"""The uniform prior on the unit sphere :math:`S^{D-1}` in D dimensions.

    .. math::

        p(z) = \frac{\Gamma(D/2)}{2\pi^{D/2}}, \quad |z| = 1

    It goes with ``posteriors.PowerSpherical``; a posterior on all of the space is infinitely far
    from it, and refused.

    Args:
        latent_dim: The number D of coordinates, at least 2.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        ValueError: If ``latent_dim`` is below 2.

    Example:
        >>> import torch
        >>> HypersphericalUniform(3)().log_prob(torch.tensor([0.0, 0.0, 1.0]))  # -log 4π
        tensor(-2.5310)

    References:
        Davidson et al., Hyperspherical Variational Auto-Encoders, 2018,
        https://arxiv.org/abs/1804.00891.
    """

    context_dim = 0
    like: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim", minimum=2)
        # follows the module's dtype and device
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, context: Tensor | None = None) -> distributions.HypersphericalUniform:
        """The prior, of batch shape ``()``."""
        dtype = full_precision(self.like).dtype
        return distributions.HypersphericalUniform(
            self.latent_dim, dtype=dtype, device=self.like.device
        )


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
