"""Counts: the Poisson distribution, and the negative binomial one around it."""

import functools
from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from disvae.distributions.families import Shape
from disvae.distributions.noise import noise, standard_gamma
from disvae.distributions.saddle_point import deviance, stirling_remainder


class Poisson(torch.distributions.Poisson):
    r"""The Poisson distribution, exact in float32 for large counts too.

    .. math::

        P(x) = \frac{\lambda^x e^{-\lambda}}{x!}

    torch's form subtracts numbers of the size of :math:`x\log\lambda`, and is wrong by 0.8 nats
    for a count of a million in float32.

    Shape:
        ``rate`` gives the batch shape; the event shape is ``()``. Counts are floats.

    Example:
        >>> import torch
        >>> Poisson(torch.tensor([2.0, 1e6])).log_prob(torch.tensor([0.0, 1e6]))
        tensor([-2.0000, -7.8267])
    """

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, ``sample_shape + batch_shape``."""
        with torch.no_grad():
            return _poisson(self.rate, self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log masses of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        rate, value = torch.broadcast_tensors(self.rate, value)
        return -stirling_remainder(value) - deviance(value, rate, value - rate)


class NegativeBinomial(Distribution):
    r"""Counts that vary more than Poisson's, given by their mean and their dispersion.

    .. math::

        P(x) = \frac{\Gamma(x + r)}{x!\,\Gamma(r)}
        \left(\frac{r}{r + \mu}\right)^r \left(\frac{\mu}{r + \mu}\right)^x, \qquad
        r = \frac1\alpha

    It is a Poisson distribution whose rate is Gamma-distributed with mean :math:`\mu` and variance
    :math:`\alpha\mu^2`: the variance is :math:`\mu + \alpha\mu^2`, and for :math:`\alpha \to 0` it
    is the Poisson distribution of rate :math:`\mu`, without loss of digits on the way.

    Args:
        rate: The mean :math:`\mu > 0`, the rate of the Poisson limit.
        dispersion: The dispersion :math:`\alpha > 0`.
        validate_args: Whether torch checks the arguments.

    Shape:
        ``rate`` and ``dispersion`` broadcast to the batch shape; the event shape is ``()``. Counts
        are floats.

    Example:
        >>> import torch
        >>> NegativeBinomial(3.0, torch.tensor([1.0, 1e-8])).log_prob(torch.tensor(0.0))
        tensor([-1.3863, -3.0000])

    References:
        Hilbe, Negative Binomial Regression, 2011, https://doi.org/10.1017/CBO9780511973420,
        where this form is called NB2.
    """

    arg_constraints = {  # noqa: RUF012
        "rate": constraints.positive,
        "dispersion": constraints.positive,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        rate: Tensor | float,
        dispersion: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        self.rate, self.dispersion = broadcast_all(rate, dispersion)
        super().__init__(self.rate.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(NegativeBinomial, _instance)
        new.rate, new.dispersion = (p.expand(batch_shape) for p in (self.rate, self.dispersion))
        Distribution.__init__(new, Size(batch_shape), validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        r""":math:`\mu`."""
        return self.rate

    @property
    def variance(self) -> Tensor:
        r""":math:`\mu + \alpha\mu^2`."""
        return self.rate + self.dispersion * self.rate.square()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Counts, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            gamma = standard_gamma(self.dispersion.reciprocal(), shape)
            return _poisson(gamma * self.dispersion * self.rate, shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log masses of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        mean, dispersion, x = torch.broadcast_tensors(self.rate, self.dispersion, value)
        r = dispersion.reciprocal()
        spread = 1 + dispersion * mean
        share = (1 + dispersion * x) / spread
        # a binomial mass: of n = x + r the expected shares are r·share and mean·share
        difference = (x - mean) / spread
        far = deviance(r, r * share, -difference) + deviance(x, mean * share, difference)
        scale = stirling_remainder(x + r) - stirling_remainder(r) - stirling_remainder(x)
        return scale - torch.log1p(dispersion * x) - far


def _poisson(rate: Tensor, shape: Sequence[int]) -> Tensor:
    sampler = functools.partial(_poisson_sampler, rate)
    return noise(sampler, shape, dtype=rate.dtype, device=rate.device)


def _poisson_sampler(
    rate: Tensor, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    return torch.poisson(rate.to(device, dtype).expand(shape))
