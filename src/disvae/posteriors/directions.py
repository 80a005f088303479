"""Posteriors on curved or cornered sets: the sphere, and the simplex of relaxed categories."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disvae import distributions
from disvae.nn import AffineHead, ScaleParameter, check_int, positive

Schedule = Callable[[Tensor], Tensor | float]


class PowerSpherical(nn.Module):
    r"""Features to a posterior on the unit sphere.

    .. math::

        q(z|x) \propto (1 + \mu(h)^T z)^{\kappa(h)}, \quad |z| = |\mu| = 1

    It goes with ``priors.HypersphericalUniform``, to which its KL is closed; a prior on all of the
    space is refused. Point estimates are the modes :math:`\mu`, which lie on the sphere.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of coordinates, at least 2.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If ``features`` is below 1 or ``latent_dim`` below 2.

    Example:
        >>> import torch
        >>> PowerSpherical(512, 3)(torch.randn(4, 512)).event_shape
        torch.Size([3])

    References:
        De Cao and Aziz, The Power Spherical distribution, 2020, https://arxiv.org/abs/2006.04437.
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim", minimum=2)
        self.affine = AffineHead(check_int(features, "features"), self.latent_dim + 1)

    def forward(self, h: Tensor) -> distributions.PowerSpherical:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        direction, raw = self.affine(h).split([self.latent_dim, 1], dim=-1)
        # the square of an extreme feature overflows
        direction = direction / direction.detach().abs().amax(-1, keepdim=True).clamp(min=1e-30)
        return distributions.PowerSpherical(F.normalize(direction, dim=-1), positive(raw[..., 0]))


class RelaxedCategorical(nn.Module):
    r"""Features to a relaxed one-hot category: a point of the simplex, with a gradient.

    .. math::

        q(z|x) = \mathrm{Concrete}(z; \mathrm{softmax}(a(h)), \lambda)

    It goes with ``priors.Categorical``. The point estimate is the likeliest category, one-hot.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number K of categories, at least 2.
        temperature: The temperature :math:`\lambda`: a positive number, or a schedule, any function
            of the step that returns one, such as ``schedules.Linear(2.0, 0.5, steps=10_000)``. The
            step is the number of passes in training mode that the head has made, which it keeps in
            its state; evaluation does not count.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(K,)``.

    Raises:
        ValueError: If a size is too small, or the temperature is not positive.

    Example:
        >>> import torch
        >>> q = RelaxedCategorical(512, 10, temperature=0.5)(torch.zeros(4, 512))
        >>> q.sample().shape
        torch.Size([4, 10])

    References:
        Maddison et al., The Concrete Distribution, 2017, https://arxiv.org/abs/1611.00712. Jang et
        al., Categorical Reparameterization with Gumbel-Softmax, 2017,
        https://arxiv.org/abs/1611.01144.
    """

    passes: Tensor

    def __init__(
        self, features: int, latent_dim: int, temperature: float | Schedule = 2 / 3
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim", minimum=2)
        self.affine = AffineHead(check_int(features, "features"), self.latent_dim)
        self.schedule: Schedule | None = None
        if callable(temperature):
            self.schedule = temperature
            self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        else:
            self.temperature = ScaleParameter(temperature, (), name="temperature")

    def forward(self, h: Tensor) -> distributions.RelaxedCategorical:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        logits = self.affine(h)
        if self.schedule is None:
            return distributions.RelaxedCategorical(logits, self.temperature())
        temperature = self.schedule(self.passes)
        if self.training:
            self.passes.add_(1)
        return distributions.RelaxedCategorical(logits, temperature)
