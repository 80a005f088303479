"""Likelihoods of real-valued data, with a scale that is fixed, learnt or predicted."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from disvae import distributions
from disvae.likelihoods.head import Head, given_or_predicted, positive_parameter
from disvae.nn import ScaleParameter
from disvae.nn.layers import SCALE_FLOOR


class _LocationScale(Head):
    """Locations from the decoder, and scales of one's own or from the decoder too."""

    def __init__(
        self,
        data_shape: int | Sequence[int],
        scale: float | Tensor | None = 1.0,
        *,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(data_shape, parameters=2 if scale is None else 1)
        self.scale = positive_parameter(scale, "scale", self.data_shape, learn=learn_scale)

    def forward(self, parameters: Tensor) -> Independent:
        """The likelihood for parameters of shape ``(..., channels, *data_shape[1:])``."""
        loc, *raw = self.split(parameters)
        return self.joint(self._family(loc, given_or_predicted(self.scale, raw, loc)))

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        raise NotImplementedError


class Normal(_LocationScale):
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
        TypeError: If the scale is neither a number nor a tensor.
        ValueError: If the scale is not positive and finite, or is to be both learnt and predicted.

    Example:
        >>> import torch
        >>> Normal(2, scale=0.5)(torch.zeros(4, 2)).log_prob(torch.zeros(2))
        tensor([-0.4516, -0.4516, -0.4516, -0.4516])
    """

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Normal(loc, scale, validate_args=False)


class Laplace(_LocationScale):
    r"""Medians to independent Laplace values, with a scale that is fixed, learnt or predicted.

    .. math::

        \log p(x|z) = -\sum_i \left[\frac{|x_i - \mu_i(z)|}{b_i} + \log 2b_i\right]

    With a fixed scale it is an absolute error, which outliers move less than a squared one.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        scale: The scale b, which is the standard deviation over :math:`\sqrt2`: a number or a
            tensor of shape ``data_shape``, or ``None`` to predict it from z for every value (the
            decoder then gives twice the channels).
        learn_scale: Whether ``scale`` is learnt: a number as one shared parameter, a tensor as one
            parameter for each value. Scales that are learnt or predicted stay above 1e-4.

    Shape:
        Parameters ``(..., channels, *data_shape[1:])`` to a distribution of batch shape ``(...)``
        and event shape ``data_shape``. Log densities in nats, summed over the event.

    Raises:
        TypeError: If the scale is neither a number nor a tensor.
        ValueError: If the scale is not positive and finite, or is to be both learnt and predicted.

    Example:
        >>> import torch
        >>> Laplace(2, scale=0.5)(torch.zeros(3, 2)).log_prob(torch.tensor([0.0, 0.5]))
        tensor([-1., -1., -1.])
    """

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        return distributions.Laplace(loc, scale, validate_args=False)


class StudentT(_LocationScale):
    r"""Locations to independent Student-t values, with heavy tails and a scale as for the normal.

    .. math::

        p(x_i|z) = \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2}) \sqrt{\pi\nu}\,\sigma_i}
        \left(1 + \frac{(x_i - \mu_i(z))^2}{\nu\sigma_i^2}\right)^{-\frac{\nu + 1}{2}}

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        df: The degrees of freedom ν: a number or a tensor of shape ``data_shape``. Up to 1 there is
            no mean, and reconstructions are averages of samples.
        scale: The scale σ, which is not the standard deviation: a number or a tensor of shape
            ``data_shape``, or ``None`` to predict it from z for every value (the decoder then gives
            twice the channels).
        learn_df: Whether ``df`` is learnt: a number as one shared parameter, a tensor as one
            parameter for each value. It stays above 1.0001, so that there is a mean.
        learn_scale: Whether ``scale`` is learnt, in the same way. Scales that are learnt or
            predicted stay above 1e-4.

    Shape:
        Parameters ``(..., channels, *data_shape[1:])`` to a distribution of batch shape ``(...)``
        and event shape ``data_shape``. Log densities in nats, summed over the event.

    Raises:
        TypeError: If scale or df is neither a number nor a tensor.
        ValueError: If scale or df is not positive and finite, the scale is to be both learnt and
            predicted, or df is to be learnt from a value of 1.0001 or less.

    Example:
        >>> import torch
        >>> StudentT(2, df=1.0)(torch.zeros(3, 2)).log_prob(torch.zeros(2))  # -2 log π
        tensor([-2.2895, -2.2895, -2.2895])
    """

    def __init__(
        self,
        data_shape: int | Sequence[int],
        df: float | Tensor = 5.0,
        scale: float | Tensor | None = 1.0,
        *,
        learn_df: bool = False,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(data_shape, scale, learn_scale=learn_scale)
        self._least_df = 1.0 if learn_df else 0.0
        if learn_df and isinstance(df, Tensor | int | float):
            values = torch.as_tensor(df)
            if not (values > self._least_df + SCALE_FLOOR).all():
                raise ValueError(
                    f"Expected df above 1.0001 where it is learnt, so that there is a mean, but "
                    f"got {values.min().item():g}; start from a larger one, such as 5."
                )
            df = df - self._least_df
        self.df_above_least = ScaleParameter(df, self.data_shape, learn=learn_df, name="df")

    @property
    def df(self) -> Tensor:
        """The degrees of freedom, of shape ``data_shape``."""
        return self._least_df + self.df_above_least()

    def _family(self, loc: Tensor, scale: Tensor) -> Distribution:
        df = self.df.to(loc.dtype).expand_as(loc)
        return distributions.StudentT(df, loc, scale, validate_args=False)
