"""Normal priors of independent dimensions: with a fixed trace, from data, and by class."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae import distributions
from disvae.nn import ScaleParameter, check_finite, check_int, full_precision
from disvae.nn.layers import SCALE_FLOOR
from disvae.priors.location_scale import LocationScale


class _NormalFamily(LocationScale):
    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Normal(loc, scale, validate_args=False)


class Normal(_NormalFamily):
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
        super().__init__(latent_dim, scale, learn_scale=learn_scale, context_dim=context_dim)
        if fixed_trace and learn_scale:
            self.scale = _FixedTraceScale(self.scale().detach())

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
        latent_dim = check_int(latent_dim, "latent_dim")
        mean_variance = ScaleParameter(variance, (), name="variance")()
        check_finite(x, "x")
        lambdas = _principal_variances(x, latent_dim)
        if len(lambdas) < latent_dim:
            raise ValueError(
                f"Expected data that vary in at least latent_dim = {latent_dim} directions, but "
                f"got shape {tuple(x.shape)} with {len(lambdas)} of them; pass more data."
            )
        scale = (mean_variance * lambdas / lambdas.mean()).sqrt()
        return cls(latent_dim, scale, learn_scale=learn_scale, fixed_trace=True)


class _FixedTraceScale(nn.Module):
    """Learnt standard deviations whose squares keep their sum."""

    trace: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.log_shares = nn.Parameter(scale.square().log())
        self.register_buffer("trace", scale.square().sum())

    def forward(self) -> Tensor:
        shares = full_precision(self.log_shares).log_softmax(-1)
        scale = (0.5 * (shares + full_precision(self.trace).log())).exp()
        return scale.clamp(min=SCALE_FLOOR)


class ClassConditional(_NormalFamily):
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


def _principal_variances(x: Tensor, number: int) -> Tensor:
    """The largest variances of the centred data that are not 0, at most ``number`` of them."""
    from sklearn.decomposition import PCA

    rows = x.detach().cpu().double().flatten(1) if x.ndim > 1 else torch.zeros(0, 0)
    if len(rows) < 2 or min(rows.shape) < number or bool((rows == rows[:1]).all()):
        return torch.zeros(0)
    pca = PCA(number, random_state=0).fit(rows.numpy())
    lambdas = torch.from_numpy(pca.explained_variance_)
    return lambdas[lambdas > 1e-10 * lambdas[0]]
