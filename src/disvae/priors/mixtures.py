"""Priors of several components: spike and slab, and clusters."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent

from disvae import distributions
from disvae.distributions import GaussianMixture
from disvae.nn import ScaleParameter, as_constant, check_finite, check_int, full_precision


class Sparse(nn.Module):
    r"""The spike-and-slab prior: most dimensions of a datum are near 0, a few are free.

    .. math::

        p(z) = \prod_d \left[\gamma\,N(z_d; 0, s_0^2) + (1 - \gamma)\,N(z_d; 0, s_1^2)\right]

    It breaks the rotation invariance of the normal prior. At :math:`\gamma = 0` it is the normal
    prior of the slab, at :math:`\gamma = 1` that of the spike. The KL has no closed form.

    Args:
        latent_dim: The number D of latent dimensions.
        spike_probability: The probability :math:`\gamma` that a dimension is off, from 0 to 1.
        spike_scale: The standard deviation :math:`s_0` of the spike. (Some texts state a variance:
            take its root.)
        slab_scale: The standard deviation :math:`s_1` of the slab.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        ValueError: If the probability is outside [0, 1], or a scale is not positive and finite.

    Example:
        >>> import torch
        >>> Sparse(2)().variance  # 0.8·0.05² + 0.2
        tensor([0.2020, 0.2020])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """

    context_dim = 0
    logits: Tensor

    def __init__(
        self,
        latent_dim: int,
        spike_probability: float = 0.8,
        spike_scale: float = 0.05,
        slab_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        if not isinstance(spike_probability, float | int) or not 0 <= spike_probability <= 1:
            raise ValueError(
                f"Expected spike_probability to be a number from 0 to 1, but got "
                f"{spike_probability!r:.60}; 0.8 leaves a fifth of the dimensions on."
            )
        self.spike_scale = ScaleParameter(spike_scale, (), name="spike_scale")
        self.slab_scale = ScaleParameter(slab_scale, (), name="slab_scale")
        weights = torch.tensor([spike_probability, 1 - spike_probability])
        self.register_buffer("logits", weights.log())

    def forward(self, context: Tensor | None = None) -> Independent:
        """The prior, of batch shape ``()``."""
        scale = torch.stack((self.spike_scale(), self.slab_scale()))
        scale = scale.expand(self.latent_dim, 2)
        logits = full_precision(self.logits).expand(self.latent_dim, 2)
        components = distributions.Normal(torch.zeros_like(scale), scale, validate_args=False)
        weights = Categorical(logits=logits, validate_args=False)
        mixture = distributions.Mixture(weights, components, validate_args=False)
        return Independent(mixture, 1, validate_args=False)


class Mixture(nn.Module):
    r"""A mixture of normals with diagonal covariances: clusters in the latent space.

    .. math::

        p(z) = \sum_k w_k \prod_d N(z_d; \mu_{kd}, \sigma_{kd}^2)

    The density of a batch under all components is one matrix product, so hundreds of components
    are cheap. The KL has no closed form.

    Args:
        latent_dim: The number D of latent dimensions.
        components: The number K of components; not needed where ``means`` are given.
        means: The means, ``(K, D)``. By default they are drawn such that the whole has about unit
            variance.
        scales: The standard deviations: a number, or a tensor that broadcasts to ``(K, D)``; by
            default 0.5, and 1 around given means.
        weights: The positive weights, ``(K,)``, brought to sum 1; by default all are equal.
        learn: Whether means, scales and weights are learnt, starting from there. By default they
            are, unless means are given. Learnt scales stay above 1e-4; a number is one shared
            parameter.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        ValueError: If neither ``components`` nor ``means`` are given, or the shapes do not agree.

    Example:
        >>> import torch
        >>> means = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
        >>> Mixture(2, means=means, scales=0.03**0.5)().variance  # 0.5 + 0.03
        tensor([0.5300, 0.5300])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4. Dilokthanakul et al., Deep Unsupervised
        Clustering with Gaussian Mixture Variational Autoencoders, 2016,
        https://arxiv.org/abs/1611.02648.
    """

    context_dim = 0
    means: Tensor
    logits: Tensor

    def __init__(
        self,
        latent_dim: int,
        components: int | None = None,
        *,
        means: Tensor | None = None,
        scales: float | Tensor | None = None,
        weights: Tensor | None = None,
        learn: bool | None = None,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        learn = means is None if learn is None else learn
        if scales is None:
            scales = 0.5 if means is None else 1.0
        means = _means(self.latent_dim, components, means)
        shape = means.shape
        if isinstance(scales, Tensor) and scales.ndim:
            scales = _broadcast(scales, shape)
        self.scales = ScaleParameter(scales, shape, learn=learn, name="scales")
        logits = _log_weights(weights, len(means))
        for name, value in (("means", means), ("logits", logits)):
            if learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, context: Tensor | None = None) -> GaussianMixture:
        """The prior, of batch shape ``()``."""
        means, logits = full_precision(self.means), full_precision(self.logits)
        return GaussianMixture(logits, means, self.scales())


def _means(latent_dim: int, components: int | None, means: Tensor | None) -> Tensor:
    if means is None:
        if components is None:
            raise ValueError(
                "Expected components or means, but got neither; pass e.g. components=10, or the "
                "means as a tensor of shape (K, latent_dim)."
            )
        # a variance of 0.75, and of 0.25 around each mean
        return 0.75**0.5 * torch.randn(check_int(components, "components"), latent_dim)
    shape = means.shape if isinstance(means, Tensor) else ()
    if len(shape) != 2 or shape[1] != latent_dim or components not in (None, *shape[:1]):
        given = tuple(shape) if isinstance(means, Tensor) else type(means).__name__
        rows = "K" if components is None else components
        raise ValueError(
            f"Expected means to be a tensor of shape ({rows}, {latent_dim}), but got {given}; "
            f"pass one row for each component."
        )
    check_int(len(means), "the number of means")
    check_finite(means, "means")
    return as_constant(means)


def _broadcast(scales: Tensor, shape: torch.Size) -> Tensor:
    try:
        return scales.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"Expected scales that broadcast to shape {tuple(shape)}, but got "
            f"{tuple(scales.shape)}; pass a number, or one row for each component."
        ) from None


def _log_weights(weights: Tensor | None, components: int) -> Tensor:
    if weights is None:
        return torch.zeros(components)
    if not isinstance(weights, Tensor):
        raise TypeError(
            f"Expected weights to be a tensor of {components} positive numbers, but got "
            f"{type(weights).__name__}; convert them with torch.as_tensor(weights)."
        )
    value = full_precision(weights.detach())
    if value.shape != (components,) or not (torch.isfinite(value) & (value > 0)).all():
        raise ValueError(
            f"Expected weights to be {components} positive numbers, but got shape "
            f"{tuple(value.shape)} with {value.flatten()[:4].tolist()}; leave out components "
            f"without weight."
        )
    return as_constant(value.log().log_softmax(-1))  # their sum can overflow
