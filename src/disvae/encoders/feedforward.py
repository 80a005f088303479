"""Encoders of dense and convolutional layers."""

from collections.abc import Sequence

import torch
from torch import nn

from disvae.encoders.base import FeedForward, PosteriorFactory
from disvae.nn import as_shape, check_widths, conv_down, halvings
from disvae.nn.networks import Activation, default_channels, image_shape
from disvae.posteriors import DiagonalNormal


class MLP(FeedForward):
    r"""Dense layers on the flattened data, and a posterior head.

    Args:
        data_shape: The shape of one datum; an integer means a vector.
        latent_dim: The number D of latent dimensions.
        hidden: The width of each dense layer.
        activation: Makes the module that follows each layer.
        posterior: Makes the head from the number of features and ``latent_dim``: a class of
            ``disvae.posteriors``, or any callable.
        context_dim: The size of the context, which is joined to the flattened data. With 0 a
            context is accepted and ignored.

    Shape:
        Data ``(B, *data_shape)`` and context ``(B, context_dim)`` to a distribution of batch shape
        ``(B,)`` and event shape ``(D,)``.

    Raises:
        ValueError: If a size is below 1, or the data or the context has another shape.
        TypeError: If the data or the context is not floating point.

    Example:
        >>> import torch
        >>> q = MLP(784, 10, hidden=(512, 256))(torch.rand(4, 784))
        >>> q.batch_shape, q.event_shape
        (torch.Size([4]), torch.Size([10]))
    """

    def __init__(
        self,
        data_shape: int | Sequence[int],
        latent_dim: int,
        *,
        hidden: Sequence[int] = (512, 256),
        activation: Activation = nn.ReLU,
        posterior: PosteriorFactory = DiagonalNormal,
        context_dim: int = 0,
    ) -> None:
        shape = as_shape(data_shape)
        super().__init__(
            shape,
            latent_dim,
            nn.Identity(),
            torch.Size(shape).numel(),
            hidden=hidden,
            activation=activation,
            posterior=posterior,
            context_dim=context_dim,
        )


class Conv(FeedForward):
    r"""Convolutions that halve an image of any size from 8x8 up, dense layers, and a head.

    Each convolution has kernel 4, stride 2 and padding 1. There is no batch normalisation, so
    :math:`q(z|x)` of a datum does not depend on the batch that it is in.

    Args:
        data_shape: ``(channels, height, width)``.
        latent_dim: The number D of latent dimensions.
        channels: The channels of each convolution. By default as many as leave at least 4 pixels a
            side, the last two of width 64 and those before of width 32: (32, 32, 64, 64) at 64x64,
            (32, 64, 64) at 32x32.
        hidden: The width of each dense layer after the convolutions.
        activation: Makes the module that follows each layer.
        posterior: Makes the head from the number of features and ``latent_dim``: a class of
            ``disvae.posteriors``, or any callable.
        context_dim: The size of the context, which is joined to the features of the convolutions.
            With 0 a context is accepted and ignored.

    Shape:
        Images ``(B, channels, height, width)`` and context ``(B, context_dim)`` to a distribution
        of batch shape ``(B,)`` and event shape ``(D,)``.

    Raises:
        ValueError: If the image is smaller than 8x8 or too small for the convolutions, a size is
            below 1, or the data or the context has another shape.
        TypeError: If the data or the context is not floating point.

    Example:
        >>> import torch
        >>> q = Conv((3, 64, 64), latent_dim=10)(torch.rand(4, 3, 64, 64))
        >>> q.batch_shape, q.event_shape
        (torch.Size([4]), torch.Size([10]))

    References:
        Burgess et al., Understanding disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, appendix A.1, for the layers.
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
        widths = default_channels(shape[1:]) if channels is None else channels
        widths = check_widths(widths, "channels")
        height, width = halvings(shape[1:], len(widths))[-1]
        super().__init__(
            shape,
            latent_dim,
            conv_down(shape[0], widths, activation),
            (widths[-1] if widths else shape[0]) * height * width,
            hidden=hidden,
            activation=activation,
            posterior=posterior,
            context_dim=context_dim,
        )
