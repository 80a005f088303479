"""What lies below ``Independent``."""

from torch.distributions import Distribution, Independent


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
