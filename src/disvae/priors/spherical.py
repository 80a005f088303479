"""Priors that see their vector by its length: on the unit sphere, and of any Lᵖ norm."""

import torch
from torch import Tensor, nn

from disvae import distributions
from disvae.nn import ScaleParameter, check_int, full_precision


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

    def get_extra_state(self) -> Tensor:
        """The two powers, which go with the state dict: they are part of the density."""
        return torch.tensor([self.power, self.outer_power], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the powers of a state dict."""
        self.power, self.outer_power = state.tolist()

    def forward(self, context: Tensor | None = None) -> distributions.LpSpherical:
        """The prior, of batch shape ``()``."""
        return distributions.LpSpherical(
            self.scale(), self.power, self.outer_power, self.latent_dim
        )
