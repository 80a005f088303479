"""Values on a grid: class numbers, and the levels of an 8-bit image."""

import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from disvae.distributions.families import Shape
from disvae.distributions.noise import categorical, noise

# how many levels are summed over at once
_BLOCK = 32


class Categorical(torch.distributions.Categorical):
    r"""The categorical distribution over class numbers that are stored as floats.

    Shape:
        ``logits`` or ``probs`` of shape ``(..., K)`` give the batch shape ``(...)``; the event
        shape is ``()``. Samples and mode are 0.0 to K - 1, in the dtype of the parameter.

    Example:
        >>> import torch
        >>> d = Categorical(probs=torch.tensor([0.1, 0.9]))
        >>> d.mode, d.log_prob(torch.tensor(1.0))
        (tensor(1.), tensor(-0.1054))
    """

    @property
    def mode(self) -> Tensor:
        """The number of the likeliest class."""
        return self.logits.argmax(-1).to(self.logits.dtype)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Class numbers, ``sample_shape + batch_shape``."""
        with torch.no_grad():
            return categorical(self.logits, Size(sample_shape)).to(self.logits.dtype)


class Levels(constraints.Constraint):
    """The values k / (L - 1) from 0 to 1."""

    is_discrete = True
    lower_bound = 0.0
    upper_bound = 1.0

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is a level, to a hundredth of the distance between two."""
        level = value * (self.levels - 1)
        return (value >= 0) & (value <= 1) & ((level - level.round()).abs() < 0.01)


class DiscretizedLogistic(Distribution):
    r"""A logistic variable rounded to the nearest of ``levels`` values :math:`k / (L - 1)`.

    .. math::

        P(k) = \sigma(b_k) - \sigma(a_k), \qquad
        a_k, b_k = \frac{1}{s}\left(\frac{k \mp \frac12}{L - 1} - \mu\right)

    with :math:`a_0 = -\infty` and :math:`b_{L-1} = \infty`: the two ends take the tails, so that
    the masses sum to 1. They are computed as
    :math:`\log\sigma(b) + \log\sigma(-a) + \log(1 - e^{a - b})`, in which nothing cancels: the log
    mass falls linearly for locations far away and needs no floor.

    Args:
        loc: The location :math:`\mu`, on the scale of the data.
        scale: The scale :math:`s > 0`; the standard deviation is :math:`\pi s / \sqrt3` before
            rounding.
        levels: The number L of levels.
        validate_args: Whether torch checks the arguments.

    Shape:
        ``loc`` and ``scale`` broadcast to the batch shape; the event shape is ``()``. Values
        between two levels are taken to the nearer one.

    Example:
        >>> import torch
        >>> d = DiscretizedLogistic(0.5, 0.1, levels=3)
        >>> d.log_prob(torch.tensor([0.0, 0.5, 1.0])).exp()
        tensor([0.0759, 0.8483, 0.0759])

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016,
        https://arxiv.org/abs/1606.04934, appendix; Salimans et al., PixelCNN++, 2017,
        https://arxiv.org/abs/1701.05517, section 2.1.
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real,
        "scale": constraints.positive,
    }

    def __init__(
        self,
        loc: Tensor | float,
        scale: Tensor | float,
        levels: int = 256,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The levels, which lie in [0, 1]."""
        return Levels(self.levels)

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(DiscretizedLogistic, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        new.levels = self.levels
        Distribution.__init__(new, Size(batch_shape), validate_args=False)
        return new

    @property
    def mean(self) -> Tensor:
        """The mean over the levels."""
        middle, first, _ = self._moments()
        return (middle + first) / (self.levels - 1)

    @property
    def variance(self) -> Tensor:
        """The variance over the levels."""
        _, first, second = self._moments()
        return (second - first.square()) / (self.levels - 1) ** 2

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Levels in [0, 1], ``sample_shape + batch_shape``."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            u = noise(torch.rand, shape, dtype=self.loc.dtype, device=self.loc.device)
            u = u.clamp(min=torch.finfo(u.dtype).eps, max=1 - torch.finfo(u.dtype).eps)
            return self._level(self.loc + self.scale * u.logit()) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log masses of the broadcast shape."""
        if self._validate_args:
            self._validate_sample(value)
        level, steps = self._level(value.to(self.loc.dtype)), self.levels - 1
        below = F.logsigmoid(((level + 0.5) / steps - self.loc) / self.scale)
        above = F.logsigmoid((self.loc - (level - 0.5) / steps) / self.scale)
        inside = torch.log(-torch.expm1(-1 / (steps * self.scale)))
        return torch.where(
            level == 0, below, torch.where(level == steps, above, below + above + inside)
        )

    def _level(self, value: Tensor) -> Tensor:
        """The number of the nearest level."""
        return (value.clamp(0, 1) * (self.levels - 1)).round()

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The likeliest level, and the first and second moment around it, in levels.

        Around it the tails are sums of small numbers, while sums over all levels cancel.
        """
        steps = self.levels - 1
        middle = self._level(self.loc.detach())
        edges = torch.arange(steps, dtype=self.loc.dtype, device=self.loc.device) + 0.5
        first, second = torch.zeros_like(middle), torch.zeros_like(middle)
        for block in edges.split(_BLOCK):
            offset = block - middle.unsqueeze(-1)
            distance = (block / steps - self.loc.unsqueeze(-1)) / self.scale.unsqueeze(-1)
            # the probability of a level beyond the edge, seen from the middle
            tail = torch.sigmoid(-offset.sign() * distance)
            first = first + (offset.sign() * tail).sum(-1)
            second = second + (2 * offset.abs() * tail).sum(-1)
        return middle, first, second
