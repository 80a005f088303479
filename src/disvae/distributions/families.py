"""The distributions of torch, with their noise drawn through :func:`disvae.distributions.noise`.

They are ordinary subclasses: closed-form KL divergences, ``expand`` and ``Independent`` work as for
the classes of torch.
"""

import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.distributions import constraints

from disvae.distributions.noise import noise

Shape = Size | list[int] | tuple[int, ...]


class Normal(torch.distributions.Normal):
    r"""The normal distribution, sampled as :math:`\mu + \sigma\epsilon` with replaceable noise.

    Shape:
        ``loc`` and ``scale`` broadcast to the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> Normal(torch.zeros(3), torch.ones(3)).rsample((5,)).shape
        torch.Size([5, 3])
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        epsilon = noise(torch.randn, shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * epsilon

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a gradient, ``sample_shape + batch_shape``."""
        with torch.no_grad():
            return self.rsample(sample_shape)


class Laplace(torch.distributions.Laplace):
    r"""The Laplace distribution, sampled by its inverse cdf with replaceable noise.

    Shape:
        ``loc`` and ``scale`` broadcast to the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> Laplace(torch.zeros(3), torch.ones(3)).rsample((5,)).shape
        torch.Size([5, 3])
    """

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        dtype, device = self.loc.dtype, self.loc.device
        # u lies in [-1, 1); at -1 itself log1p(-|u|) would be -inf
        u = 2 * noise(torch.rand, shape, dtype=dtype, device=device) - 1
        u = u.clamp(min=torch.finfo(dtype).eps - 1)
        return self.loc - self.scale * u.sign() * torch.log1p(-u.abs())


class Bernoulli(torch.distributions.Bernoulli):
    r"""The Bernoulli distribution, whose log mass is also defined on grey values in [0, 1].

    :math:`\log p(x) = x \log \pi + (1 - x) \log(1 - \pi)` is a probability mass for x in {0, 1}.
    On grey values it is the cross-entropy that the field trains with, and not a normalised density:
    :math:`\int_0^1 p(x)\,dx \neq 1`, and the best reachable value is the entropy of x itself.

    Shape:
        ``probs`` or ``logits`` give the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> Bernoulli(logits=torch.zeros(2)).log_prob(torch.tensor([0.5, 1.0]))
        tensor([-0.6931, -0.6931])
    """

    support = constraints.unit_interval  # type: ignore[assignment]

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples without a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            probs = self.probs
            u = noise(torch.rand, shape, dtype=probs.dtype, device=probs.device)
            return (u < probs).to(probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log masses, or negative cross-entropies on grey values, of the broadcast shape."""
        return -self.cross_entropy(value)

    def cross_entropy(self, value: Tensor) -> Tensor:
        """The negative of :meth:`log_prob`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = torch.broadcast_tensors(self.logits, value)
        return F.binary_cross_entropy_with_logits(logits, value, reduction="none")
