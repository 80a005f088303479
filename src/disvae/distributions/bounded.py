"""Values between 0 and 1: the continuous Bernoulli distribution and the Beta distribution."""

import math

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from disvae.distributions.families import Shape
from disvae.distributions.noise import noise, standard_gamma
from disvae.distributions.saddle_point import deviance, stirling_remainder

# Taylor coefficients of log(sinh(y) / y) in y²: exact to 1e-17 for |y| < 1/2
_LOG_SINHC = (
    1 / 6,
    -1 / 180,
    1 / 2835,
    -1 / 37800,
    1 / 467775,
    -691 / 3831077250,
    2 / 127702575,
    -3617 / 2605132530000,
    43867 / 350813659321125,
    -174611 / 15313294652906250,
)
_FIRST = tuple(n * c for n, c in enumerate(_LOG_SINHC, 1))
_SECOND = tuple(0.5 * n * (2 * n - 1) * c for n, c in enumerate(_LOG_SINHC, 1))
# below this logit the inverse cdf is a series of cumulants: its own form has lost its gradient
_FLAT = 0.03


class ContinuousBernoulli(Distribution):
    r"""The density on [0, 1] that is proportional to the Bernoulli mass.

    .. math::

        p(x) = \frac{\eta}{e^\eta - 1} e^{\eta x} \propto \lambda^x (1 - \lambda)^{1 - x}, \qquad
        \eta = \log\frac{\lambda}{1 - \lambda}

    The normaliser is a power series for :math:`|\eta| < 1`, and elsewhere a closed form in which
    nothing large cancels, so that values, gradients and second derivatives are right for all
    logits, at :math:`\lambda = 1/2` (the uniform density) as well. torch's class clamps
    :math:`\lambda`, and is wrong by 1.8 nats at a logit of 100.

    Args:
        logits: The logits :math:`\eta`.
        validate_args: Whether torch checks the arguments.

    Shape:
        ``logits`` gives the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> d = ContinuousBernoulli(torch.tensor([-20.0, 0.0, 20.0]))
        >>> d.mean
        tensor([0.0500, 0.5000, 0.9500])
        >>> d.log_prob(torch.tensor(1.0))
        tensor([-17.0043,   0.0000,   2.9957])

    References:
        Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in
        variational autoencoders, 2019, https://arxiv.org/abs/1907.06845.
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor | float, validate_args: bool | None = None) -> None:
        (self.logits,) = broadcast_all(logits)
        super().__init__(self.logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(ContinuousBernoulli, _instance)
        new.logits = self.logits.expand(batch_shape)
        Distribution.__init__(new, Size(batch_shape), validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        r""":math:`1 / (1 - e^{-\eta}) - 1 / \eta`, which is not :math:`\lambda`."""
        near, half, a = self._branches()
        end = 1 / a - 1 / torch.expm1(a)
        closed = torch.where(self.logits > 0, 1 - end, end)
        return torch.where(near, 0.5 + half * _polynomial(_FIRST, half.square()), closed)

    @property
    def variance(self) -> Tensor:
        r""":math:`1 / \eta^2 - 1 / (2\sinh(\eta/2))^2`."""
        near, half, a = self._branches()
        closed = a.square().reciprocal() - (2 * torch.sinh(a / 2)).square().reciprocal()
        return torch.where(near, _polynomial(_SECOND, half.square()), closed)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        near, half, a = self._branches()
        w = half.square()
        flat = self.logits * (value - 0.5) - w * _polynomial(_LOG_SINHC, w)
        # measured from the likelier end, where the density is |η| / (1 - exp(-|η|))
        steep = self.logits * (value - (self.logits > 0).to(value.dtype))
        return torch.where(near, flat, steep + a.log() - torch.log1p(-torch.exp(-a)))

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a fraction ``value`` lies."""
        near = self.logits.abs() < _FLAT
        flat = _cumulant_series(value, torch.where(near, self.logits, _FLAT))
        a = torch.where(near, _FLAT, self.logits.abs())
        # from the likelier end; a fraction of 1 would be the logarithm of a rounded 0
        far = torch.where(self.logits > 0, 1 - value, value)
        far = far.clamp(max=1 - torch.finfo(far.dtype).eps)
        distance = -torch.log1p(far * torch.expm1(-a)) / a
        steep = torch.where(self.logits > 0, 1 - distance, distance)
        return torch.where(near, flat, steep)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``, by the inverse cdf."""
        shape = self._extended_shape(sample_shape)
        return self.icdf(
            noise(torch.rand, shape, dtype=self.logits.dtype, device=self.logits.device)
        )

    def _branches(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the series holds; half the logit there; and the logit's size where it does not.

        Each is a harmless constant where the other is used: the gradient of both is taken.
        """
        near = self.logits.abs() < 1
        half = torch.where(near, self.logits / 2, 0.0)
        return near, half, torch.where(near, 1.0, self.logits.abs())


class SqueezedBeta(Distribution):
    r"""The Beta distribution of values that are squeezed from [0, 1] to [ε, 1 - ε].

    .. math::

        y = \epsilon + (1 - 2\epsilon) x \sim
        \mathrm{Beta}(m\kappa, (1 - m)\kappa), \qquad m = \epsilon + (1 - 2\epsilon)\mu

    The Beta density is 0 or infinite at 0 and 1, where grey values often lie; squeezed, they have
    one that is finite. It is a normalised density of x (its factor :math:`1 - 2\epsilon` is
    counted), with tails that reach :math:`\epsilon / (1 - 2\epsilon)` beyond 0 and 1. As the mean
    of x is inside [0, 1], neither of Beta's parameters falls below :math:`\epsilon\kappa`.

    Args:
        loc: The mean :math:`\mu` of x, in [0, 1].
        concentration: The concentration :math:`\kappa > 0`: the variance of y is
            :math:`m(1 - m) / (\kappa + 1)`.
        squeeze: The margin ε, in (0, 0.5).
        validate_args: Whether torch checks the arguments.

    Shape:
        ``loc`` and ``concentration`` broadcast to the batch shape; the event shape is ``()``.

    Example:
        >>> import torch
        >>> SqueezedBeta(0.5, 2.0, squeeze=0.01).log_prob(torch.tensor([0.0, 0.3]))  # log 0.98
        tensor([-0.0202, -0.0202])
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.unit_interval,
        "concentration": constraints.positive,
    }
    has_rsample = True

    def __init__(
        self,
        loc: Tensor | float,
        concentration: Tensor | float,
        squeeze: float = 1e-3,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        self.squeeze = squeeze
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The interval [0, 1], and the margin beyond it."""
        margin = self.squeeze / (1 - 2 * self.squeeze)
        return constraints.interval(-margin, 1 + margin)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(SqueezedBeta, _instance)
        new.loc, new.concentration = (p.expand(batch_shape) for p in (self.loc, self.concentration))
        new.squeeze = self.squeeze
        Distribution.__init__(new, Size(batch_shape), validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        r""":math:`\mu`."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        r""":math:`m(1 - m) / ((\kappa + 1)(1 - 2\epsilon)^2)`."""
        m, rest = self._squeezed(self.loc)
        return m * rest / (self.concentration + 1) / (1 - 2 * self.squeeze) ** 2

    def log_prob(self, value: Tensor) -> Tensor:
        """Log densities of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        mean, kappa, value = torch.broadcast_tensors(self.loc, self.concentration, value)
        m, m_rest = self._squeezed(mean)
        y, y_rest = self._squeezed(value)
        a, b = m * kappa, m_rest * kappa
        difference = kappa * (1 - 2 * self.squeeze) * (mean - value)
        far = deviance(a, kappa * y, difference) + deviance(b, kappa * y_rest, -difference)
        scale = stirling_remainder(kappa) - stirling_remainder(a) - stirling_remainder(b)
        scale = scale + m.log() + b.log() + math.log1p(-2 * self.squeeze)
        return scale - far - y.log() - y_rest.log()

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Samples with a gradient, ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        m, rest = self._squeezed(self.loc)
        log_odds = _log_gamma_variate(m * self.concentration, shape) - _log_gamma_variate(
            rest * self.concentration, shape
        )
        return (torch.sigmoid(log_odds) - self.squeeze) / (1 - 2 * self.squeeze)

    def _squeezed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``y`` and ``1 - y``; the least is met only by a draw from the very end of the tails."""
        width, least = 1 - 2 * self.squeeze, torch.finfo(x.dtype).eps
        return (
            (self.squeeze + width * x).clamp(min=least),
            (self.squeeze + width * (1 - x)).clamp(min=least),
        )


def _log_gamma_variate(concentration: Tensor, shape: Size) -> Tensor:
    # Gamma(a) = Gamma(a + 1)·U^(1/a), which does not underflow in logarithms
    u = noise(torch.rand, shape, dtype=concentration.dtype, device=concentration.device)
    u = u.clamp(min=torch.finfo(u.dtype).eps)
    return standard_gamma(concentration + 1, shape).log() + u.log() / concentration


def _polynomial(coefficients: tuple[float, ...], w: Tensor) -> Tensor:
    """By Horner's rule, the lowest power first."""
    value = torch.full_like(w, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = c + w * value
    return value


def _cumulant_series(u: Tensor, logits: Tensor) -> Tensor:
    """log(1 + u (exp(η) - 1)) / η: the cumulants of a Bernoulli variable of probability u."""
    v, skew = u * (1 - u), 1 - 2 * u
    cumulants = (
        u,
        v / 2,
        v * skew / 6,
        v * (1 - 6 * v) / 24,
        v * skew * (1 - 12 * v) / 120,
        v * (1 - 30 * v + 120 * v * v) / 720,
    )
    value = cumulants[-1]
    for c in reversed(cumulants[:-1]):
        value = c + logits * value
    return value
