"""Likelihoods of counts."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Independent

from disvae.distributions import counts
from disvae.likelihoods.head import Head, given_or_predicted, positive_parameter
from disvae.nn import positive


class Poisson(Head):
    r"""One parameter a value to independent Poisson counts.

    .. math::

        \log P(x|z) = \sum_i \left[x_i \log\lambda_i(z) - \lambda_i(z) - \log x_i!\right]

    The rate :math:`\lambda` is a softplus of the decoder's output: 1 at 0, at least 1e-4, and
    linear for large outputs, where an exponential would overflow. Counts are stored as floats.

    Args:
        data_shape: The shape of one datum; an integer means a vector.

    Shape:
        Parameters ``(..., *data_shape)`` to a distribution of batch shape ``(...)`` and event shape
        ``data_shape``. Log masses in nats, summed over the event.

    Raises:
        ValueError: If ``data_shape`` is empty or has a size below 1.

    Example:
        >>> import torch
        >>> p = Poisson(2)(torch.zeros(3, 2))
        >>> p.log_prob(torch.tensor([0.0, 2.0]))  # -2 - log 2
        tensor([-2.6931, -2.6931, -2.6931])
    """

    def __init__(self, data_shape: int | Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., *data_shape)``."""
        (raw,) = self.split(parameters)
        return self.joint(counts.Poisson(positive(raw), validate_args=False))


class NegativeBinomial(Head):
    r"""Means and dispersions to independent counts that vary more than Poisson's.

    .. math::

        P(x_i|z) = \frac{\Gamma(x_i + r)}{x_i!\,\Gamma(r)}
        \left(\frac{r}{r + \mu_i(z)}\right)^r \left(\frac{\mu_i(z)}{r + \mu_i(z)}\right)^{x_i},
        \qquad r = \frac{1}{\alpha_i}

    The variance is :math:`\mu + \alpha\mu^2`: with the dispersion :math:`\alpha \to 0` it becomes
    :class:`Poisson` of the same decoder output. The mean is a softplus of that output: 1 at 0, at
    least 1e-4, and linear for large outputs. Counts are stored as floats.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        dispersion: The dispersion α: a number or a tensor of shape ``data_shape``, or ``None`` to
            predict it from z for every value (the decoder then gives twice the channels).
        learn_dispersion: Whether ``dispersion`` is learnt: a number as one shared parameter, a
            tensor as one parameter for each value (each gene). Dispersions that are learnt or
            predicted stay above 1e-4.

    Shape:
        Parameters ``(..., channels, *data_shape[1:])`` to a distribution of batch shape ``(...)``
        and event shape ``data_shape``. Log masses in nats, summed over the event.

    Raises:
        TypeError: If the dispersion is neither a number nor a tensor.
        ValueError: If the dispersion is not positive and finite, or is to be both learnt and
            predicted.

    Example:
        >>> import torch
        >>> p = NegativeBinomial(2, dispersion=1.0)(torch.zeros(3, 2))
        >>> p.log_prob(torch.tensor([0.0, 1.0]))  # (1/2)·(1/4)
        tensor([-2.0794, -2.0794, -2.0794])

    References:
        Lopez et al., Deep generative modeling for single-cell transcriptomics, 2018,
        https://doi.org/10.1038/s41592-018-0229-2.
    """

    def __init__(
        self,
        data_shape: int | Sequence[int],
        dispersion: float | Tensor | None = None,
        *,
        learn_dispersion: bool = False,
    ) -> None:
        super().__init__(data_shape, parameters=2 if dispersion is None else 1)
        self.dispersion = positive_parameter(
            dispersion, "dispersion", self.data_shape, learn=learn_dispersion
        )

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., channels, *data_shape[1:])``."""
        mean, *raw = self.split(parameters)
        dispersion = given_or_predicted(self.dispersion, raw, mean)
        return self.joint(counts.NegativeBinomial(positive(mean), dispersion, validate_args=False))
