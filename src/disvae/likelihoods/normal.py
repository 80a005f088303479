"""The normal likelihood of real-valued data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from disvae import distributions
from disvae.nn import ScaleParameter, as_shape, check_shape, positive


class Normal(nn.Module):
    r"""Means to independent normal values, with a scale that is fixed, learnt or predicted.

    .. math::

        \log p(x|z) = -\sum_i \left[\frac{(x_i - \mu_i(z))^2}{2\sigma_i^2}
        + \log \sigma_i + \tfrac12 \log 2\pi\right]

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        scale: The standard deviation: a number or a tensor of shape ``data_shape``, or ``None`` to
            predict it from z for every value (the decoder then gives twice the channels).
        learn_scale: Whether ``scale`` is learnt: a number as one shared parameter, a tensor as one
            parameter for each value. Scales that are learnt or predicted stay above 1e-4.

    Shape:
        Parameters ``(..., channels, *data_shape[1:])`` to a distribution of batch shape ``(...)``
        and event shape ``data_shape``. Log densities in nats, summed over the event.

    Raises:
        ValueError: If the scale is not positive and finite, or is to be both learnt and predicted.

    Example:
        >>> import torch
        >>> Normal(2, scale=0.5)(torch.zeros(4, 2)).log_prob(torch.zeros(2))
        tensor([-0.4516, -0.4516, -0.4516, -0.4516])
    """

    def __init__(
        self,
        data_shape: int | Sequence[int],
        scale: float | Tensor | None = 1.0,
        *,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        self.data_shape = as_shape(data_shape)
        if scale is None and learn_scale:
            raise ValueError(
                "Expected one way to obtain the scale, but got scale=None with learn_scale=True; "
                "leave learn_scale out to predict it, or give its first value to learn it."
            )
        self.channels = self.data_shape[0] * (2 if scale is None else 1)
        self.scale = (
            None if scale is None else ScaleParameter(scale, self.data_shape, learn=learn_scale)
        )

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., channels, *data_shape[1:])``."""
        check_shape(
            parameters,
            (self.channels, *self.data_shape[1:]),
            "parameters",
            lead="..., B",
            mend="let the decoder's network give head.channels channels",
        )
        parameters = parameters.to(torch.promote_types(parameters.dtype, torch.float32))
        if self.scale is None:
            loc, raw = parameters.chunk(2, dim=-len(self.data_shape))
            scale = positive(raw)
        else:
            loc, scale = parameters, self.scale().expand_as(parameters)
        base = distributions.Normal(loc, scale, validate_args=False)
        return Independent(base, len(self.data_shape), validate_args=False)
