"""Likelihoods of values on a grid: class numbers, and the levels of an 8-bit image."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Independent

from disvae.distributions import discrete
from disvae.likelihoods.head import Head, given_or_predicted, positive_parameter
from disvae.nn import check_int


class Categorical(Head):
    r"""Logits to independent class numbers, one for each value.

    .. math::

        \log p(x|z) = \sum_i \log \mathrm{softmax}(\eta_i(z))_{x_i}

    The data hold class numbers 0 to K - 1, stored as floats; so do samples and the point estimate,
    which is the likeliest class.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        classes: The number K of classes.

    Shape:
        Logits ``(..., K·C, *rest)`` for data of shape ``(C, *rest)`` (all channels of class 0
        first) to a distribution of batch shape ``(...)`` and event shape ``data_shape``. Log masses
        in nats, summed over the event.

    Raises:
        TypeError: If ``classes`` is no integer.
        ValueError: If it is below 2.

    Example:
        >>> import torch
        >>> p = Categorical((1, 2, 2), classes=3)(torch.zeros(4, 3, 2, 2))
        >>> p.log_prob(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]))  # -4 log 3
        tensor([-4.3944, -4.3944, -4.3944, -4.3944])
    """

    def __init__(self, data_shape: int | Sequence[int], classes: int) -> None:
        self.classes = check_int(classes, "classes", minimum=2)
        super().__init__(data_shape, parameters=self.classes)

    def forward(self, logits: Tensor) -> Independent:
        """The likelihood for logits of shape ``(..., channels, *data_shape[1:])``."""
        stacked = torch.stack(self.split(logits), dim=-1)
        return self.joint(discrete.Categorical(logits=stacked, validate_args=False))


class DiscretizedLogistic(Head):
    r"""Locations and scales to independent levels of grey, :math:`k / (L - 1)` in [0, 1].

    .. math::

        P(x_i = \tfrac{k}{L - 1} | z) = \sigma(b_k) - \sigma(a_k), \qquad
        a_k, b_k = \frac{1}{s_i}\left(\frac{k \mp \frac12}{L - 1} - \mu_i(z)\right)

    A mass over the levels that sums to 1: the two ends take the tails. 8-bit images divided by 255
    need no noise and no dequantisation, and :func:`bits_per_dim` needs no ``levels`` for it. The
    log mass itself has no floor: it is computed without cancellation, and stays finite for
    locations far away. Values between two levels are taken to the nearer one.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        levels: The number L of levels.
        scale: The scale s, in units of the data: a number or a tensor of shape ``data_shape``, or
            ``None`` to predict it from z for every value (the decoder then gives twice the
            channels).
        learn_scale: Whether ``scale`` is learnt: a number as one shared parameter, a tensor as one
            parameter for each value. Scales that are learnt or predicted stay above 1e-4, which is
            1/39 of the distance between two of 256 levels.

    Shape:
        Parameters ``(..., channels, *data_shape[1:])`` to a distribution of batch shape ``(...)``
        and event shape ``data_shape``. Log masses in nats, summed over the event.

    Raises:
        TypeError: If ``levels`` is no integer, or the scale neither a number nor a tensor.
        ValueError: If ``levels`` is below 2, or the scale is not positive and finite, or is to be
            both learnt and predicted.

    Example:
        >>> import torch
        >>> p = DiscretizedLogistic(1, levels=2, scale=1.0)(torch.tensor([[0.5]]))
        >>> p.log_prob(torch.tensor([[0.0], [1.0]]))
        tensor([-0.6931, -0.6931])

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016,
        https://arxiv.org/abs/1606.04934, appendix; Salimans et al., PixelCNN++, 2017,
        https://arxiv.org/abs/1701.05517, section 2.1.
    """

    def __init__(
        self,
        data_shape: int | Sequence[int],
        levels: int = 256,
        scale: float | Tensor | None = None,
        *,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(data_shape, parameters=2 if scale is None else 1)
        self.levels = check_int(levels, "levels", minimum=2)
        self.scale = positive_parameter(scale, "scale", self.data_shape, learn=learn_scale)

    def get_extra_state(self) -> Tensor:
        """The number of levels, which goes with the state dict: it is part of the mass."""
        return torch.tensor(self.levels)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the number of levels of a state dict."""
        self.levels = int(state)

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., channels, *data_shape[1:])``."""
        loc, *raw = self.split(parameters)
        scale = given_or_predicted(self.scale, raw, loc)
        return self.joint(
            discrete.DiscretizedLogistic(loc, scale, self.levels, validate_args=False)
        )
