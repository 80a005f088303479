r"""Log gammas without cancellation, in the form of Loader's saddle-point expansion.

A log mass of counts is a difference of log gammas that are far larger than the result: in float32 a
Poisson mass at a million is wrong by 0.8 nats. Written as Stirling's remainders and deviances,
every term is as small as the result.

References:
    Loader, Fast and Accurate Computation of Binomial Probabilities, 2000,
    https://www.r-project.org/doc/reports/CLoader-dbinom-2002.pdf.
"""

import math

import torch
from torch import Tensor

# from here on the asymptotic series is exact to 1e-14
_LARGE = 10.0


def stirling_remainder(x: Tensor) -> Tensor:
    r"""What Stirling's formula leaves out, :math:`\log\Gamma(x + 1) - x\log x + x`, for x >= 0.

    Example:
        >>> import torch
        >>> stirling_remainder(torch.tensor([0.0, 1.0, 1e8]))  # 0, 1, and log(2π·1e8)/2
        tensor([ 0.0000,  1.0000, 10.1293])
    """
    small = x.clamp(max=_LARGE)
    exact = torch.lgamma(small + 1) - torch.xlogy(small, small) + small
    large = x.clamp(min=_LARGE)
    w = large.square().reciprocal()
    series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / large
    return torch.where(x < _LARGE, exact, 0.5 * (2 * math.pi * large).log() + series)


def deviance(x: Tensor, mean: Tensor, difference: Tensor) -> Tensor:
    r"""How far ``x`` lies from ``mean``: :math:`x\log(x/m) + m - x`, at least 0 and 0 at the mean.

    Args:
        x: Values of at least 0; a gradient flows where they are positive.
        mean: Positive values m.
        difference: ``x - mean``, which the caller may know without the rounding of a subtraction.

    Example:
        >>> import torch
        >>> x, mean = torch.tensor([0.0, 2.0, 2.0]), torch.tensor([2.0, 2.0, 1.0])
        >>> deviance(x, mean, x - mean)
        tensor([2.0000, 0.0000, 0.3863])
    """
    near = difference.abs() < 0.5 * mean
    ratio = torch.where(near, difference, torch.zeros_like(difference)) / mean
    # log 0 has no gradient in the mean, and its factor is 0
    far = x * (torch.where(x > 0, x, 1.0) / mean).log()
    return torch.where(near, x * torch.log1p(ratio), far) - difference
