"""Posteriors on curved or cornered sets: the sphere, and the simplex of relaxed categories."""

import math
from collections.abc import Callable
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disvae import distributions
from disvae.nn import AffineHead, ScaleParameter, check_int, mismatch, positive

Schedule = Callable[[Tensor | None], Tensor | float]


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

    With a schedule the step is the number of passes in training mode that the head has made, which
    it keeps in its state; evaluation does not count. Every pass counts: also those of a
    ``priors.Vamp`` around the same encoder, of samples drawn in training mode, and the second one
    of activation checkpointing, which would see another temperature. Leave the head out of a
    checkpointed part.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number K of categories, at least 2.
        temperature: The temperature :math:`\lambda`: a positive number, or a schedule, any function
            of the step that returns one, such as ``schedules.Linear(2.0, 0.5, steps=10_000)``. It
            is called once here, at step 0, and for its final value at None if it takes that.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(K,)``.

    Raises:
        TypeError: If the temperature is a class, or a schedule does not return a number.
        ValueError: If a size is too small, or the temperature is not positive and finite.

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
            _check_schedule(temperature)
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


def _check_schedule(schedule: Schedule) -> None:
    """Refuse a schedule whose first or final value is no temperature."""
    first = torch.zeros((), dtype=torch.long)
    if isinstance(schedule, type) or mismatch(schedule, (first,)) is not None:
        raise TypeError(
            f"Expected temperature to be a number or a function of the step, but got "
            f"{schedule!r:.60}; pass e.g. schedules.Linear(2.0, 0.5, steps=10_000)."
        )
    values = [schedule(first)]
    with suppress(TypeError, AttributeError):  # one's own need not know the final step
        values.append(schedule(None))
    for value in values:
        if not isinstance(value, Tensor | int | float) or torch.as_tensor(value).numel() != 1:
            raise TypeError(
                f"Expected the temperature's schedule to return a number, but got "
                f"{type(value).__name__}; return a float, or a tensor of one value."
            )
        if not 0 < float(value) < math.inf:
            raise ValueError(
                f"Expected the temperature's schedule to return positive and finite values, but "
                f"got {float(value):g}; end it at e.g. 0.5."
            )
