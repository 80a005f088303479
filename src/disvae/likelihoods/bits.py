"""Log likelihoods in the unit in which image models are compared."""

import math
from typing import TypeVar

from torch import Tensor

from disvae.nn import check_int

Value = TypeVar("Value", Tensor, float)


def bits_per_dim(log_prob: Value, dims: int, levels: int | None = None) -> Value:
    r"""Nats per datum to bits per value.

    .. math::

        \frac{-\log p(x)}{n \log 2} \; [\, + \log_2 L \,]

    A mass (:class:`Bernoulli` on binary data, :class:`DiscretizedLogistic`, :class:`Categorical`,
    counts) takes no ``levels``. A density of data that were scaled to [0, 1] by 1/L, such as 8-bit
    images with uniform noise, ``(image + rand) / 256``, becomes one of the data in their own units
    by :math:`\log_2 L` bits. Only with such noise does it bound the mass of the images; a density
    of data on a grid can be made as large as one likes.

    Args:
        log_prob: The log mass or density of a datum, or a bound on it, in nats.
        dims: The number n of values in a datum, e.g. 3·32·32.
        levels: For a density of data scaled to [0, 1], the number L of levels that were scaled.

    Shape:
        That of ``log_prob``.

    Raises:
        TypeError: If ``log_prob`` is neither a tensor nor a number, or ``dims`` or ``levels`` no
            integer.
        ValueError: If ``dims`` is below 1 or ``levels`` below 2.

    Example:
        A uniform density on [0, 1] says nothing about 8-bit images, which take 8 bits a pixel:

        >>> import torch
        >>> bits_per_dim(torch.tensor([0.0, 784 * math.log(4)]), 784, levels=256)
        tensor([8., 6.])

    References:
        Theis et al., A note on the evaluation of generative models, 2016,
        https://arxiv.org/abs/1511.01844, section 3.1.
    """
    if not isinstance(log_prob, Tensor | int | float):
        raise TypeError(
            f"Expected log_prob to be a tensor or a number, but got {type(log_prob).__name__}; "
            f"convert it with torch.as_tensor(log_prob)."
        )
    nats = -log_prob / check_int(dims, "dims")
    scaled = 0.0 if levels is None else math.log2(check_int(levels, "levels", minimum=2))
    return nats / math.log(2) + scaled
