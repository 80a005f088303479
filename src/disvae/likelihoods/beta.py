"""The Beta likelihood of values between 0 and 1."""

from collections.abc import Sequence

import torch
from torch import Tensor, sigmoid
from torch.distributions import Independent

from disvae.distributions import bounded
from disvae.likelihoods.head import Head
from disvae.nn import positive


class Beta(Head):
    r"""Means and concentrations to independent Beta values, squeezed to [ε, 1 - ε].

    .. math::

        y_i = \epsilon + (1 - 2\epsilon) x_i \sim
        \mathrm{Beta}(m_i\kappa_i, (1 - m_i)\kappa_i), \qquad
        m_i = \epsilon + (1 - 2\epsilon)\mu_i(z)

    The Beta density is 0 or infinite at 0 and 1, where grey values often lie; squeezed, they have
    one that is finite. The factor :math:`1 - 2\epsilon` of the change of variables is counted, so
    it is a normalised density of x, whose tails reach 0.1 % beyond 0 and 1 at the default.

    The mean is a sigmoid of the decoder's first output and the concentration
    :math:`\kappa = \alpha + \beta` twice a softplus of the second, at least 2e-4: outputs of 0 give
    the uniform density. Both Beta parameters stay above :math:`\epsilon\kappa`.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        squeeze: The margin ε. The smaller it is, the more a single black pixel can weigh.

    Shape:
        Parameters ``(..., 2·C, *data_shape[1:])``, means first, to a distribution of batch shape
        ``(...)`` and event shape ``data_shape``. Log densities in nats, summed over the event.

    Raises:
        TypeError: If ``squeeze`` is no number.
        ValueError: If ``squeeze`` is not from 1e-6 to 0.1.

    Example:
        >>> import torch
        >>> p = Beta(2)(torch.zeros(3, 4))
        >>> p.log_prob(torch.tensor([0.0, 0.3]))  # 2 log 0.998
        tensor([-0.0040, -0.0040, -0.0040])

    References:
        Smithson and Verkuilen, A better lemon squeezer? Maximum-likelihood regression with
        beta-distributed dependent variables, 2006, https://doi.org/10.1037/1082-989X.11.1.54.
    """

    def __init__(self, data_shape: int | Sequence[int], squeeze: float = 1e-3) -> None:
        super().__init__(data_shape, parameters=2)
        if not isinstance(squeeze, int | float) or isinstance(squeeze, bool):
            raise TypeError(
                f"Expected squeeze to be a number from 1e-6 to 0.1, but got "
                f"{type(squeeze).__name__}; pass a float such as 1e-3."
            )
        if not 1e-6 <= squeeze <= 0.1:
            raise ValueError(
                f"Expected squeeze to be a number from 1e-6 to 0.1, but got {squeeze:g}; "
                f"pass a margin that is small beside the data, such as 1e-3."
            )
        self.squeeze = squeeze

    def get_extra_state(self) -> Tensor:
        """The margin, which goes with the state dict: it is part of the density."""
        return torch.tensor(self.squeeze, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the margin of a state dict."""
        self.squeeze = float(state)

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., channels, *data_shape[1:])``."""
        mean, concentration = self.split(parameters)
        return self.joint(
            bounded.SqueezedBeta(
                sigmoid(mean), 2 * positive(concentration), self.squeeze, validate_args=False
            )
        )
