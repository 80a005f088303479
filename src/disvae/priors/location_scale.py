"""Factorised priors: every dimension on its own, of one family."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from disvae import distributions
from disvae.nn import (
    AffineHead,
    ScaleParameter,
    check_context,
    check_int,
    full_precision,
    positive,
)


class LocationScale(nn.Module):
    """Independent dimensions of one family, at 0 or at affine functions of the context."""

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
        self.scale: nn.Module = ScaleParameter(scale, (self.latent_dim,), learn=learn_scale)
        self.register_buffer("loc", torch.zeros(self.latent_dim))
        self.affine: AffineHead | None = None
        if self.context_dim:
            # all zero, so that training starts from the prior without a context
            self.affine = AffineHead(self.context_dim, 2 * self.latent_dim)
            nn.init.zeros_(self.affine.weight)
            nn.init.zeros_(self.affine.bias)

    def forward(self, context: Tensor | None = None) -> Independent:
        """The prior, of batch shape ``()``, or ``(B,)`` given a context of ``context_dim > 0``."""
        loc, scale = full_precision(self.loc), self.scale()
        if self.affine is not None:
            batch = context.shape[:1].numel() if isinstance(context, Tensor) else 0
            context = check_context(context, self.context_dim, batch).to(self.affine.weight.dtype)
            shift, raw = self.affine(context).chunk(2, dim=-1)
            loc, scale = loc + shift, scale * positive(raw)
        return Independent(self._family(loc, scale), 1, validate_args=False)

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise NotImplementedError


class Laplace(LocationScale):
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

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Laplace(loc, scale, validate_args=False)


class StudentT(LocationScale):
    r"""A product of Student-t distributions: heavy tails along the axes, and no rotations.

    .. math::

        p(z) = \prod_d t_\nu(z_d / \sigma_d) / \sigma_d

    As :math:`\nu` grows it becomes the normal prior. The variance is :math:`\sigma^2\nu/(\nu - 2)`
    for :math:`\nu > 2`; it is not scaled to 1. The KL has no closed form.

    Args:
        latent_dim: The number D of latent dimensions.
        df: The degrees of freedom :math:`\nu`: a number, or a tensor of shape ``(D,)``.
        scale: The scale :math:`\sigma`: a number, or a tensor of shape ``(D,)``.
        learn_df: Whether the degrees of freedom are learnt: a number as one shared parameter.
        learn_scale: Whether the scale is learnt, in the same way. It stays above 1e-4.
        context_dim: As in :class:`Laplace`, for location and scale.

    Shape:
        Batch shape ``()``, or ``(B,)`` given a context ``(B, context_dim)``; event shape ``(D,)``.

    Raises:
        ValueError: If ``latent_dim`` is below 1, or ``df`` or the scale is not positive and finite.

    Example:
        >>> import torch
        >>> StudentT(2, df=1.0)().log_prob(torch.zeros(2))  # two Cauchy distributions: -2 log π
        tensor(-2.2895)

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """

    def __init__(
        self,
        latent_dim: int,
        df: float | Tensor,
        scale: float | Tensor = 1.0,
        *,
        learn_df: bool = False,
        learn_scale: bool = False,
        context_dim: int = 0,
    ) -> None:
        super().__init__(latent_dim, scale, learn_scale=learn_scale, context_dim=context_dim)
        self.df = ScaleParameter(df, (self.latent_dim,), learn=learn_df, name="df")

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.StudentT(self.df(), loc, scale, validate_args=False)


class GeneralizedNormal(LocationScale):
    r"""A product of generalised normal distributions: any power in place of the square.

    .. math::

        p(z) \propto \prod_d \exp(-|z_d / \sigma_d|^\rho)

    Power 1 is the Laplace prior, power 2 a normal one of standard deviation
    :math:`\sigma/\sqrt2`; lower powers are sparser, and large ones approach a box. Only power 2 is
    invariant to rotations. The KL has no closed form.

    Args:
        latent_dim: The number D of latent dimensions.
        power: The power :math:`\rho`: a number, or a tensor of shape ``(D,)``.
        scale: The scale :math:`\sigma`: a number, or a tensor of shape ``(D,)``.
        learn_scale: Whether the scale is learnt: a number as one shared parameter, a tensor as one
            parameter for each dimension. It stays above 1e-4.
        context_dim: As in :class:`Laplace`, for location and scale.

    Shape:
        Batch shape ``()``, or ``(B,)`` given a context ``(B, context_dim)``; event shape ``(D,)``.

    Raises:
        ValueError: If ``latent_dim`` is below 1, or the power or scale is not positive and finite.

    Example:
        >>> import torch
        >>> GeneralizedNormal(2, power=2.0, scale=2**0.5)().log_prob(torch.zeros(2))  # -log 2π
        tensor(-1.8379)

    References:
        Stühmer, Turner and Nowozin, Independent Subspace Analysis for Unsupervised Learning of
        Disentangled Representations, 2020, https://arxiv.org/abs/1909.05063.
    """

    def __init__(
        self,
        latent_dim: int,
        power: float | Tensor,
        scale: float | Tensor = 1.0,
        *,
        learn_scale: bool = False,
        context_dim: int = 0,
    ) -> None:
        super().__init__(latent_dim, scale, learn_scale=learn_scale, context_dim=context_dim)
        self.power = ScaleParameter(power, (self.latent_dim,), name="power")

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.GeneralizedNormal(loc, scale, self.power(), validate_args=False)
