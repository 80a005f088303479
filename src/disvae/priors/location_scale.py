"""Factorised priors: every dimension on its own, of one family."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from disvae import distributions
from disvae.nn import (
    AffineHead,
    ScaleParameter,
    check_context,
    check_float,
    check_int,
    full_precision,
    positive,
)
from disvae.nn.layers import SCALE_FLOOR


class _LocationScale(nn.Module):
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
        self.register_buffer("loc", torch.zeros(self.latent_dim, dtype=self.scale().dtype))
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
        fixed_trace: Whether the sum of the variances stays as given while the scale is learnt:
            :math:`\sigma_d^2 = s D\,\mathrm{softmax}(l)_d` with one :math:`l_d` for each dimension,
            s the mean variance. With a learnt scale of its own for each dimension a model could
            else shrink them all.
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

    def __init__(
        self,
        latent_dim: int,
        scale: float | Tensor = 1.0,
        *,
        learn_scale: bool = False,
        fixed_trace: bool = False,
        context_dim: int = 0,
    ) -> None:
        super().__init__(
            latent_dim,
            scale,
            learn_scale=learn_scale and not fixed_trace,
            context_dim=context_dim,
        )
        if fixed_trace:
            self.scale = _FixedTraceScale(self.scale(), learn=learn_scale)

    @classmethod
    def from_pca(
        cls, x: Tensor, latent_dim: int, *, variance: float = 1.0, learn_scale: bool = False
    ) -> Self:
        r"""An anisotropic prior with the proportions of the data's principal variances.

        .. math::

            \sigma_d^2 = s D\,\frac{\lambda_d}{\lambda_1 + \dots + \lambda_D}

        with :math:`\lambda_d` the variances of the centred data along their first D principal
        directions, largest first.

        Args:
            x: The data, ``(N, *event)``; some thousands are enough.
            latent_dim: The number D of latent dimensions.
            variance: The mean variance s of the dimensions; the trace stays at s·D.
            learn_scale: Whether the proportions are learnt from there.

        Raises:
            ValueError: If the data vary in fewer than ``latent_dim`` directions.

        Example:
            >>> import torch
            >>> x = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
            >>> Normal.from_pca(x, 2)().variance
            tensor([1.6000, 0.4000])
        """
        from sklearn.decomposition import PCA

        latent_dim = check_int(latent_dim, "latent_dim")
        check_float(x, "x")
        rows = x.detach().double().flatten(1).cpu().numpy() if x.ndim > 1 else x.new_zeros(0, 0)
        lambdas = torch.zeros(0)
        if min(rows.shape) >= latent_dim:
            pca = PCA(latent_dim, random_state=0).fit(rows)
            lambdas = torch.from_numpy(pca.explained_variance_)
            lambdas = lambdas[lambdas > 1e-10 * lambdas[:1]]
        if len(lambdas) < latent_dim:
            raise ValueError(
                f"Expected data that vary in at least latent_dim = {latent_dim} directions, but "
                f"got shape {tuple(x.shape)} with {len(lambdas)} of them; pass more data."
            )
        scale = (variance * lambdas / lambdas.mean()).sqrt().to(torch.get_default_dtype())
        return cls(latent_dim, scale, learn_scale=learn_scale, fixed_trace=True)

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Normal(loc, scale, validate_args=False)


class _FixedTraceScale(nn.Module):
    """Standard deviations whose squares keep their sum."""

    log_shares: Tensor
    trace: Tensor

    def __init__(self, scale: Tensor, *, learn: bool) -> None:
        super().__init__()
        log_shares = scale.square().log()
        if learn:
            self.log_shares = nn.Parameter(log_shares)
        else:
            self.register_buffer("log_shares", log_shares)
        self.register_buffer("trace", scale.square().sum())

    def forward(self) -> Tensor:
        shares = full_precision(self.log_shares).log_softmax(-1)
        scale = (0.5 * (shares + full_precision(self.trace).log())).exp()
        return scale.clamp(min=SCALE_FLOOR)


class ClassConditional(Normal):
    r"""A normal prior with a learnt mean and scale for each class.

    .. math::

        p(z|c) = \prod_d N(z_d; \mu_{cd}, \sigma_{cd}^2)

    It is :class:`Normal` with the one-hot class as its context; training starts from the standard
    normal distribution for every class.

    Args:
        latent_dim: The number D of latent dimensions.
        num_classes: The number C of classes. The context is one-hot, ``(B, C)``, made by
            ``torch.nn.functional.one_hot(labels, C).float()``.

    Shape:
        Batch shape ``(B,)``, event shape ``(D,)``.

    Example:
        >>> import torch
        >>> prior = ClassConditional(2, num_classes=10)
        >>> prior(torch.eye(10)[[3, 7, 7]]).batch_shape
        torch.Size([3])

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
        Models, 2015,
        https://papers.nips.cc/paper/5775-learning-structured-output-representation-using-deep-conditional-generative-models.
    """

    def __init__(self, latent_dim: int, num_classes: int) -> None:
        super().__init__(latent_dim, context_dim=check_int(num_classes, "num_classes", minimum=2))


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

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Laplace(loc, scale, validate_args=False)


class StudentT(_LocationScale):
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


class GeneralizedNormal(_LocationScale):
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
