"""The prior of relaxed categories."""

import torch
from torch import Tensor, nn

from disvae.distributions import RelaxedCategorical
from disvae.nn import ScaleParameter, check_int, full_precision


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
        logits = probs.log().log_softmax(-1)  # the sum of the probabilities can overflow
        if learn:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self.temperature = ScaleParameter(temperature, (), name="temperature")

    def forward(self, context: Tensor | None = None) -> RelaxedCategorical:
        """The prior, of batch shape ``()``."""
        return RelaxedCategorical(full_precision(self.logits), self.temperature())
