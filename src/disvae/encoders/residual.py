"""An encoder of residual blocks."""

from collections.abc import Sequence

from torch import nn

from disvae.encoders.base import FeedForward, PosteriorFactory
from disvae.nn import check_widths, halvings, residual_down
from disvae.nn.networks import Activation, default_channels, image_shape
from disvae.posteriors import DiagonalNormal


class Residual(FeedForward):
    r"""Residual blocks on an image of any size from 8x8 up, dense layers, and a posterior head.

    A 3x3 convolution; then for each width an average pooling, which halves the image, and a
    :class:`disvae.nn.ResidualBlock` (activation before convolution, twice). The first convolution
    and pooling see the 4x4 pixels that the first layer of :class:`Conv` sees; the blocks add two
    convolutions at each size. There is no normalisation of any kind: each block starts as its skip,
    so that features and gradients do not grow with depth, and :math:`q(z|x)` of a datum does
    not depend on the batch that it is in.

    Args:
        data_shape: ``(channels, height, width)``.
        latent_dim: The number D of latent dimensions.
        channels: The channels of each block. By default those of :class:`Conv`: (32, 32, 64, 64) at
            64x64, (32, 64, 64) at 32x32.
        hidden: The width of each dense layer after the blocks.
        activation: Makes each activation; not one that works in place.
        posterior: Makes the head from the number of features and ``latent_dim``: a class of
            ``disvae.posteriors``, or any callable.
        context_dim: The size of the context, which is joined to the features of the blocks.
            With 0 a context is accepted and ignored.

    Shape:
        Images ``(B, channels, height, width)`` and context ``(B, context_dim)`` to a distribution
        of batch shape ``(B,)`` and event shape ``(D,)``.

    Raises:
        ValueError: If the image is smaller than 8x8 or too small for the blocks, a size is below 1,
            or the data or the context has another shape.
        TypeError: If the data or the context is not floating point.

    Example:
        >>> import torch
        >>> q = Residual((3, 64, 64), latent_dim=10)(torch.rand(4, 3, 64, 64))
        >>> q.batch_shape, q.event_shape
        (torch.Size([4]), torch.Size([10]))

    References:
        He et al., Identity Mappings in Deep Residual Networks, 2016,
        https://arxiv.org/abs/1603.05027, for the blocks.
    """

    def __init__(
        self,
        data_shape: Sequence[int],
        latent_dim: int,
        *,
        channels: Sequence[int] | None = None,
        hidden: Sequence[int] = (256,),
        activation: Activation = nn.ReLU,
        posterior: PosteriorFactory = DiagonalNormal,
        context_dim: int = 0,
    ) -> None:
        shape = image_shape(data_shape)
        size = (shape[1], shape[2])
        widths = check_widths(default_channels(size) if channels is None else channels, "channels")
        trunk = residual_down(shape[0], widths, size, activation)
        height, width = halvings(size, len(widths))[-1]
        super().__init__(
            shape,
            latent_dim,
            trunk,
            widths[-1] * height * width,
            hidden=hidden,
            activation=activation,
            posterior=posterior,
            context_dim=context_dim,
        )
