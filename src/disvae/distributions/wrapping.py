"""What lies below ``Independent``."""

from typing import TypeGuard

from torch.distributions import Distribution, Independent, Normal


def base_of(d: Distribution) -> Distribution:
    r"""The distribution below every layer of ``Independent``.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal
        >>> base_of(Independent(Normal(torch.zeros(2), 1.0), 1))
        Normal(loc: torch.Size([2]), scale: torch.Size([2]))
    """
    while isinstance(d, Independent):
        d = d.base_dist
    return d


def is_normal(d: Distribution) -> TypeGuard[Normal]:
    r"""Whether it is a normal distribution, with the density of one.

    A subclass that computes a log density of its own is none: forms for normals would pass it by.

    Example:
        >>> import torch
        >>> is_normal(torch.distributions.Normal(0.0, 1.0))
        True
    """
    return isinstance(d, Normal) and type(d).log_prob is Normal.log_prob
