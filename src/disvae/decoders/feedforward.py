"""Decoders of dense and convolutional layers."""

from collections.abc import Sequence

import torch
from torch import nn

from disvae.decoders.base import FeedForward, LikelihoodFactory, head_channels
from disvae.likelihoods import Bernoulli
from disvae.nn import as_shape, check_widths, conv_up, halvings, make_module
from disvae.nn.networks import Activation, default_channels, image_shape


class MLP(FeedForward):
    r"""Dense layers, and a likelihood head for data of any shape.

    Args:
        latent_dim: The number D of latent dimensions.
        data_shape: The shape of one datum; an integer means a vector.
        hidden: The width of each dense layer.
        activation: Makes the module that follows each layer but the last.
        likelihood: Makes the head from ``data_shape``: a class of ``disvae.likelihoods``, or any
            callable, such as ``functools.partial(likelihoods.Normal, scale=0.1)``.
        context_dim: The size of the context, which is joined to z. With 0 a context is accepted
            and ignored.

    Shape:
        Latents ``sample_shape + (B, D)`` and context ``(B, context_dim)`` to a distribution of
        batch shape ``sample_shape + (B,)`` and event shape ``data_shape``.

    Raises:
        ValueError: If a size is below 1, or the latents or the context have another shape.
        TypeError: If the latents or the context are not floating point.

    Example:
        >>> import torch
        >>> p = MLP(10, 784, hidden=(256, 512))(torch.randn(5, 4, 10))
        >>> p.batch_shape, p.event_shape
        (torch.Size([5, 4]), torch.Size([784]))
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: int | Sequence[int],
        *,
        hidden: Sequence[int] = (256, 512),
        activation: Activation = nn.ReLU,
        likelihood: LikelihoodFactory = Bernoulli,
        context_dim: int = 0,
    ) -> None:
        shape = as_shape(data_shape)
        head = make_module(likelihood, "likelihood", shape)
        output = (head_channels(head, shape), *shape[1:])
        super().__init__(
            latent_dim,
            shape,
            head,
            nn.Unflatten(-1, output) if len(output) > 1 else nn.Identity(),
            torch.Size(output).numel(),
            hidden=hidden,
            activation=activation,
            context_dim=context_dim,
        )


class Conv(FeedForward):
    r"""Dense layers, transposed convolutions that double an image, and a likelihood head.

    The mirror of :class:`disvae.encoders.Conv`, for images of any size from 8x8 up.

    Args:
        latent_dim: The number D of latent dimensions.
        data_shape: ``(channels, height, width)``.
        channels: The channels before each convolution, from the smallest image on. By default the
            mirror of the encoder's: (64, 64, 32, 32) at 64x64, (64, 64, 32) at 32x32.
        hidden: The width of each dense layer before the convolutions.
        activation: Makes the module that follows each layer but the last.
        likelihood: Makes the head from ``data_shape``: a class of ``disvae.likelihoods``, or any
            callable, such as ``functools.partial(likelihoods.Normal, scale=0.1)``.
        context_dim: The size of the context, which is joined to z. With 0 a context is accepted
            and ignored.

    Shape:
        Latents ``sample_shape + (B, D)`` and context ``(B, context_dim)`` to a distribution of
        batch shape ``sample_shape + (B,)`` and event shape ``data_shape``.

    Raises:
        ValueError: If the image is smaller than 8x8 or too small for the convolutions, a size is
            below 1, or the latents or the context have another shape.
        TypeError: If the latents or the context are not floating point.

    Example:
        >>> import torch
        >>> p = Conv(10, (3, 64, 64))(torch.randn(4, 10))
        >>> p.batch_shape, p.event_shape
        (torch.Size([4]), torch.Size([3, 64, 64]))

    References:
        Burgess et al., Understanding disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, appendix A.1, for the layers.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        *,
        channels: Sequence[int] | None = None,
        hidden: Sequence[int] = (256,),
        activation: Activation = nn.ReLU,
        likelihood: LikelihoodFactory = Bernoulli,
        context_dim: int = 0,
    ) -> None:
        shape = image_shape(data_shape)
        widths = default_channels(shape[1:])[::-1] if channels is None else channels
        widths = check_widths(widths, "channels")
        if not widths:
            raise ValueError(
                "Expected at least one width in channels, but got none; "
                "use decoders.MLP for a decoder without convolutions."
            )
        sizes = halvings(shape[1:], len(widths))[::-1]
        start = (widths[0], *sizes[0])
        head = make_module(likelihood, "likelihood", shape)
        super().__init__(
            latent_dim,
            shape,
            head,
            nn.Sequential(
                make_module(activation, "activation"),
                nn.Unflatten(-1, start),
                conv_up(widths, head_channels(head, shape), sizes, activation),
            ),
            torch.Size(start).numel(),
            hidden=hidden,
            activation=activation,
            context_dim=context_dim,
        )
