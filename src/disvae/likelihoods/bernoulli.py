"""The Bernoulli likelihood of binary and grey images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from disvae import distributions
from disvae.nn import as_shape, check_shape


class Bernoulli(nn.Module):
    r"""Logits to independent Bernoulli values.

    .. math::

        \log p(x|z) = \sum_i x_i \log \pi_i(z) + (1 - x_i) \log(1 - \pi_i(z))

    On grey values in [0, 1] this is a cross-entropy and not a normalised density: an ELBO in it is
    not a bound on a log likelihood, and its best value is the entropy of the images themselves
    (about 45.8 nats per image on MNIST). Images outside [0, 1] are refused by the model.

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
        super().__init__()
        self.data_shape = as_shape(data_shape)
        self.channels = self.data_shape[0]

    def forward(self, logits: Tensor) -> Independent:
        """The likelihood for logits of shape ``(..., *data_shape)``."""
        check_shape(
            logits,
            (self.channels, *self.data_shape[1:]),
            "logits",
            lead="..., B",
            mend="let the decoder's network give head.channels channels",
        )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        base = distributions.Bernoulli(logits=logits, validate_args=False)
        return Independent(base, len(self.data_shape), validate_args=False)
