"""Categories relaxed to points of the simplex, so that samples have a gradient."""

import math

import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from disvae.distributions.families import Shape
from disvae.distributions.noise import noise


class RelaxedCategorical(Distribution):
    r"""The Concrete (Gumbel-softmax) distribution on the simplex, as a true density.

    .. math::

        z = \mathrm{softmax}((a + g) / \lambda), \quad g_k \sim \mathrm{Gumbel}, \qquad
        p(z) = (K - 1)!\,\lambda^{K-1} \prod_k \frac{\pi_k z_k^{-\lambda - 1}}
        {\sum_j \pi_j z_j^{-\lambda}}, \quad \pi = \mathrm{softmax}(a)

    As the temperature :math:`\lambda` falls to 0 it becomes the one-hot categorical distribution of
    probabilities :math:`\pi`, which are those of its largest coordinate at any temperature.

    Coordinates below 1e-37 (in float32) are taken as that in the density, so that its logarithm and
    gradient stay finite where a sample is one-hot to the last digit. Log probabilities below
    :math:`-80\lambda` are taken as that too: samples could not show them, and a sampled divergence
    would fall without end as they do.

    Args:
        logits: Unnormalised log probabilities, ``(..., K)``.
        temperature: The temperature :math:`\lambda > 0`, which broadcasts to ``(...)``.

    Shape:
        Batch shape ``(...)``, event shape ``(K,)``, a density with respect to the volume of the
        first K - 1 coordinates.

    Example:
        >>> import torch
        >>> d = RelaxedCategorical(torch.zeros(3), 0.5)
        >>> d.log_prob(torch.full((3,), 1 / 3))
        tensor(-0.6931)

    References:
        Maddison et al., The Concrete Distribution, 2017, https://arxiv.org/abs/1611.00712,
        equation 10. Jang et al., Categorical Reparameterization with Gumbel-Softmax, 2017,
        https://arxiv.org/abs/1611.01144.
    """

    arg_constraints = {  # noqa: RUF012
        "logits": constraints.real_vector,
        "temperature": constraints.positive,
    }
    support = constraints.simplex
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: Tensor | float) -> None:
        temperature = torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)
        self.temperature = temperature.expand(logits.shape[:-1])
        # 5 % above the floor of log z times the temperature
        floor = 0.95 * _log_floor(logits.dtype) * self.temperature.unsqueeze(-1)
        self.logits = logits.log_softmax(-1).maximum(floor).log_softmax(-1)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        return RelaxedCategorical(
            self.logits.expand(shape + self.event_shape), self.temperature.expand(shape)
        )

    @property
    def probs(self) -> Tensor:
        """The probability that each coordinate is the largest."""
        return self.logits.exp()

    @property
    def mode(self) -> Tensor:
        """The likeliest category, one-hot: the limit of low temperatures."""
        return F.one_hot(self.logits.argmax(-1), self.event_shape[0]).to(self.logits.dtype)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape + (K,)``."""
        shape = self._extended_shape(sample_shape)
        dtype = self.logits.dtype
        u = noise(torch.rand, shape, dtype=dtype, device=self.logits.device)
        finfo = torch.finfo(dtype)
        gumbel = -(-u.clamp(finfo.tiny, 1 - finfo.eps).log()).log()
        return ((self.logits + gumbel) / self.temperature.unsqueeze(-1)).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of points of the simplex."""
        log_z = value.clamp(min=math.exp(_log_floor(value.dtype))).log()
        categories = self.event_shape[0]
        temperature = self.temperature.unsqueeze(-1)
        log_scale = math.lgamma(categories) + (categories - 1) * self.temperature.log()
        scores = self.logits - temperature * log_z
        return log_scale + (scores - log_z).sum(-1) - categories * scores.logsumexp(-1)


def _log_floor(dtype: torch.dtype) -> float:
    """The least logarithm of a coordinate."""
    # 16 times the smallest normal number: the gradient 1/z then fits the dtype too
    return math.log(16 * torch.finfo(dtype).tiny)
