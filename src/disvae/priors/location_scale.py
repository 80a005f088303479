"""Factorised priors of a location-scale family."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from disvae import distributions
from disvae.nn import AffineHead, ScaleParameter, check_context, check_int, positive


class _LocationScale(nn.Module):
    """Independent dimensions of one family, at 0 or at affine functions of the context."""

    family: type[distributions.Normal | distributions.Laplace]
    loc: Tensor

    def __init__(
        self,
        latent_dim: int,
        scale: float | Tensor = 1.0,
        *,
        learn_scale: bool = False,
        context_dim: int = 0,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.context_dim = check_int(context_dim, "context_dim", minimum=0)
        self.scale = ScaleParameter(scale, (self.latent_dim,), learn=learn_scale)
        self.register_buffer("loc", torch.zeros(self.latent_dim, dtype=self.scale().dtype))
        self.affine: AffineHead | None = None
        if self.context_dim:
            # all zero, so that training starts from the prior without a context
            self.affine = AffineHead(self.context_dim, 2 * self.latent_dim)
            nn.init.zeros_(self.affine.weight)
            nn.init.zeros_(self.affine.bias)

    def forward(self, context: Tensor | None = None) -> Independent:
        """The prior, of batch shape ``()``, or ``(B,)`` given a context of ``context_dim > 0``."""
        loc, scale = self.loc, self.scale()
        if self.affine is not None:
            batch = context.shape[:1].numel() if isinstance(context, Tensor) else 0
            context = check_context(context, self.context_dim, batch).to(self.affine.weight.dtype)
            shift, raw = self.affine(context).chunk(2, dim=-1)
            loc, scale = loc + shift, scale * positive(raw)
        return Independent(self.family(loc, scale, validate_args=False), 1, validate_args=False)


class Normal(_LocationScale):
    r"""The normal prior: isotropic, anisotropic, or with a learnt scale.

    .. math::

        p(z) = \prod_d N(z_d; 0, \sigma_d^2)

    With one scale for all dimensions the prior is invariant to rotations of the latent space; with
    unequal ones it is not, and the axes can mean something.

    Args:
        latent_dim: The number D of latent dimensions.
        scale: The standard deviation: a number, or a tensor of shape ``(D,)``.
        learn_scale: Whether the scale is learnt: a number as one shared parameter, a tensor as one
            parameter for each dimension. It stays above 1e-4.
        context_dim: With a context c of that size, the location is an affine function of c and the
            scale is multiplied by one; at first both leave the prior as it is without a context.
            With 0 a context is accepted and ignored.

    Shape:
        Batch shape ``()``, or ``(B,)`` given a context ``(B, context_dim)``; event shape ``(D,)``.

    Raises:
        ValueError: If ``latent_dim`` is below 1 or the scale is not positive and finite.

    Example:
        >>> import torch
        >>> Normal(2)().log_prob(torch.zeros(3, 2))
        tensor([-1.8379, -1.8379, -1.8379])
        >>> Normal(2, scale=torch.tensor([1.0, 0.1]))().stddev
        tensor([1.0000, 0.1000])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """

    family = distributions.Normal


class Laplace(_LocationScale):
    r"""The Laplace prior, which is not invariant to rotations of the latent space.

    .. math::

        p(z) = \prod_d \frac{1}{2b_d} \exp(-|z_d| / b_d)

    Args:
        latent_dim: The number D of latent dimensions.
        scale: The scale b: a number, or a tensor of shape ``(D,)``. The standard deviation is
            :math:`\sqrt2\,b`, so ``scale=0.5**0.5`` gives unit variance.
        learn_scale: Whether the scale is learnt: a number as one shared parameter, a tensor as one
            parameter for each dimension. It stays above 1e-4.
        context_dim: With a context c of that size, the location is an affine function of c and the
            scale is multiplied by one; at first both leave the prior as it is without a context.
            With 0 a context is accepted and ignored.

    Shape:
        Batch shape ``()``, or ``(B,)`` given a context ``(B, context_dim)``; event shape ``(D,)``.

    Raises:
        ValueError: If ``latent_dim`` is below 1 or the scale is not positive and finite.

    Example:
        >>> import torch
        >>> Laplace(2)().log_prob(torch.zeros(3, 2))
        tensor([-1.3863, -1.3863, -1.3863])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """

    family = distributions.Laplace
