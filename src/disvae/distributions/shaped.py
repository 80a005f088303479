"""Families with a shape parameter: Student-t, and the generalised normal of any power."""

import math

import numpy as np
import scipy.special
import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Normal, constraints, register_kl
from torch.distributions.utils import broadcast_all

from disvae.distributions.families import Shape
from disvae.distributions.noise import noise, standard_gamma

# from here on the asymptotic series of the log gamma ratio is exact to 1e-11
_LARGE = 50.0


class StudentT(torch.distributions.StudentT):
    r"""The Student-t distribution, with an inverse cdf, and exact for any degrees of freedom.

    .. math::

        p(x) = \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac{\nu}{2}) \sqrt{\pi\nu}\,\sigma}
        \left(1 + \frac{(x - \mu)^2}{\nu\sigma^2}\right)^{-\frac{\nu + 1}{2}}

    torch subtracts two log gammas, which in float32 is wrong by 0.2 nats at :math:`\nu = 10^6`;
    here the ratio is taken at once, so the limit of large :math:`\nu` is the normal distribution.

    Shape:
        ``df``, ``loc`` and ``scale`` broadcast to the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> StudentT(5.0).icdf(torch.tensor([0.5, 0.975]))
        tensor([0.0000, 2.5706])
    """

    @property
    def mean(self) -> Tensor:
        """The location; not a number for ``df`` of at most 1."""
        return torch.where(self.df > 1, self.loc, torch.nan)

    @property
    def variance(self) -> Tensor:
        """The variance: infinite for ``df`` of at most 2, not a number for those of at most 1."""
        df = torch.where(self.df > 2, self.df, 3.0)
        finite = torch.where(self.df > 2, self.scale.square() * df / (df - 2), torch.inf)
        return torch.where(self.df > 1, finite, torch.nan)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        epsilon = noise(torch.randn, shape, dtype=self.loc.dtype, device=self.loc.device)
        half = self.df / 2
        return self.loc + self.scale * epsilon * torch.rsqrt(standard_gamma(half, shape) / half)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normaliser = log_gamma_ratio(self.df / 2) - 0.5 * (self.df * math.pi).log()
        tail = -0.5 * (self.df + 1) * torch.log1p(y.square() / self.df)
        return normaliser - self.scale.log() + tail

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below ``value``, without a gradient."""
        y = (value - self.loc) / self.scale
        return _by_scipy(scipy.special.stdtr, self.df, y)

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a fraction ``value`` lies, without a gradient in ``df``."""
        return self.loc + self.scale * _by_scipy(scipy.special.stdtrit, self.df, value)

    def entropy(self) -> Tensor:
        """The differential entropy in nats."""
        half = (self.df + 1) / 2
        log_beta = 0.5 * math.log(math.pi) - log_gamma_ratio(self.df / 2)
        spread = half * (torch.digamma(half) - torch.digamma(self.df / 2))
        return self.scale.log() + spread + 0.5 * self.df.log() + log_beta


class GeneralizedNormal(Distribution):
    r"""The generalised normal distribution: any power in place of the square.

    .. math::

        p(x) = \frac{\rho}{2\sigma\,\Gamma(1/\rho)}
        \exp\left(-\left|\frac{x - \mu}{\sigma}\right|^\rho\right)

    Power 1 is the Laplace distribution of scale :math:`\sigma`, power 2 the normal distribution of
    standard deviation :math:`\sigma/\sqrt2`, and large powers approach the uniform one on
    :math:`\mu \pm \sigma`.

    Args:
        loc: The location :math:`\mu`.
        scale: The scale :math:`\sigma`, which is not the standard deviation.
        power: The power :math:`\rho > 0`.
        validate_args: Whether torch checks the arguments.

    Shape:
        ``loc``, ``scale`` and ``power`` broadcast to the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> GeneralizedNormal(0.0, 1.0, 1.0).log_prob(torch.tensor(0.5))  # -log 2 - 0.5
        tensor(-1.1931)

    References:
        Nadarajah, A generalized normal distribution, 2005,
        https://doi.org/10.1080/02664760500079464.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real,
        "scale": constraints.positive,
        "power": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        power: Tensor | float,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.power = broadcast_all(loc, scale, power)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(GeneralizedNormal, _instance)
        for name in ("loc", "scale", "power"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        Distribution.__init__(new, Size(batch_shape), validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        """The mean, which is the location."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The mode, which is the location."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        r""":math:`\sigma^2\,\Gamma(3/\rho) / \Gamma(1/\rho)`."""
        ratio = torch.lgamma(3 / self.power) - torch.lgamma(1 / self.power)
        return self.scale.square() * ratio.exp()

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        u = 2 * noise(torch.rand, shape, dtype=self.loc.dtype, device=self.loc.device) - 1
        # |y|^rho ~ Gamma(1/rho) = Gamma(1 + 1/rho)·U^rho: a shape above 1 does not underflow
        gamma = standard_gamma(1 + 1 / self.power, shape)
        return self.loc + self.scale * u * gamma ** (1 / self.power)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        y = ((value - self.loc) / self.scale).abs()
        # the gradient of a power in its exponent holds log 0
        y = y.clamp(min=torch.finfo(y.dtype).tiny)
        return -(y**self.power) - self._log_width()

    def cdf(self, value: Tensor) -> Tensor:
        """The probability below ``value``."""
        y = (value - self.loc) / self.scale
        x = y.abs() ** self.power
        # near the mode the incomplete gamma function is a line, where its argument underflows
        part = torch.special.gammainc(1 / self.power, x)
        line = y.abs() * torch.exp(-torch.lgamma(1 + 1 / self.power))
        return 0.5 + 0.5 * y.sign() * torch.where(x < torch.finfo(x.dtype).eps, line, part)

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a fraction ``value`` lies, without a gradient in ``power``."""
        signed = 2 * value - 1
        part = _by_scipy(scipy.special.gammaincinv, 1 / self.power, signed.abs())
        line = signed.abs() * torch.exp(torch.lgamma(1 + 1 / self.power))
        y = torch.where(part < torch.finfo(part.dtype).eps, line, part ** (1 / self.power))
        return self.loc + self.scale * signed.sign() * y

    def entropy(self) -> Tensor:
        """The differential entropy in nats."""
        return 1 / self.power + self._log_width()

    def _log_width(self) -> Tensor:
        # Γ(1 + 1/ρ) = Γ(1/ρ) / ρ, and stays near 1 for large powers
        return math.log(2) + self.scale.log() + torch.lgamma(1 + 1 / self.power)


def log_gamma_ratio(a: Tensor) -> Tensor:
    r""":math:`\log\Gamma(a + \tfrac12) - \log\Gamma(a)`, without cancellation for large ``a``.

    Example:
        >>> import torch
        >>> log_gamma_ratio(torch.tensor([0.5, 1e8]))  # -log(π)/2, and log(1e8)/2
        tensor([-0.5724,  9.2103])
    """
    small = a.clamp(max=_LARGE)
    exact = torch.lgamma(small + 0.5) - torch.lgamma(small)
    large = a.clamp(min=_LARGE)
    series = 0.5 * large.log() - 1 / (8 * large) + 1 / (192 * large**3)
    return torch.where(a < _LARGE, exact, series)


def _by_scipy(function: np.ufunc, *arguments: Tensor) -> Tensor:
    """A special function that torch lacks, computed in float64 without a gradient."""
    like = arguments[-1]
    values = function(*(argument.detach().cpu().double().numpy() for argument in arguments))
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def _cross_entropy_with_normal(mean: Tensor, variance: Tensor, p: Normal) -> Tensor:
    square = (variance + (mean - p.loc).square()) / p.scale.square()
    return 0.5 * (square + math.log(2 * math.pi)) + p.scale.log()


@register_kl(StudentT, Normal)
def _kl_student_t_normal(q: StudentT, p: Normal) -> Tensor:
    # infinite where df <= 2, as is the variance
    variance = torch.where(q.df > 1, q.variance, torch.inf)
    return _cross_entropy_with_normal(q.loc, variance, p) - q.entropy()


@register_kl(GeneralizedNormal, Normal)
def _kl_generalized_normal_normal(q: GeneralizedNormal, p: Normal) -> Tensor:
    return _cross_entropy_with_normal(q.mean, q.variance, p) - q.entropy()
