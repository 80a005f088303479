"""A decoder of residual blocks."""

from collections.abc import Sequence

import torch
from torch import nn

from disvae.decoders.base import FeedForward, LikelihoodFactory, head_channels
from disvae.likelihoods import Bernoulli
from disvae.nn import check_widths, halvings, make_module, residual_up
from disvae.nn.networks import Activation, default_channels, image_shape


class Residual(FeedForward):
    r"""Dense layers, residual blocks that double an image, and a likelihood head.

    The mirror of :class:`disvae.encoders.Residual`, for images of any size from 8x8 up: for each
    width a :class:`disvae.nn.ResidualBlock` and an upsampling to the nearest neighbour; then a 3x3
    convolution. There is no normalisation of any kind: each block starts as its skip, so that
    features and gradients do not grow with depth.

    Args:
        latent_dim: The number D of latent dimensions.
        data_shape: ``(channels, height, width)``.
        channels: The channels of each block, from the smallest image on. By default the mirror of
            the encoder's: (64, 64, 32, 32) at 64x64, (64, 64, 32) at 32x32.
        hidden: The width of each dense layer before the blocks.
        activation: Makes each activation; not one that works in place.
        likelihood: Makes the head from ``data_shape``: a class of ``disvae.likelihoods``, or any
            callable, such as ``functools.partial(likelihoods.Normal, scale=0.1)``.
        context_dim: The size of the context, which is joined to z. With 0 a context is accepted
            and ignored.

    Shape:
        Latents ``sample_shape + (B, D)`` and context ``(B, context_dim)`` to a distribution of
        batch shape ``sample_shape + (B,)`` and event shape ``data_shape``.

    Raises:
        ValueError: If the image is smaller than 8x8 or too small for the blocks, a size is below 1,
            or the latents or the context have another shape.
        TypeError: If the latents or the context are not floating point.

    Example:
        >>> import torch
        >>> p = Residual(10, (3, 64, 64))(torch.randn(4, 10))
        >>> p.batch_shape, p.event_shape
        (torch.Size([4]), torch.Size([3, 64, 64]))

    References:
        He et al., Identity Mappings in Deep Residual Networks, 2016,
        https://arxiv.org/abs/1603.05027, for the blocks.
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
        size = (shape[1], shape[2])
        widths = default_channels(size)[::-1] if channels is None else channels
        widths = check_widths(widths, "channels")
        sizes = halvings(size, len(widths))[::-1]
        head = make_module(likelihood, "likelihood", shape)
        blocks = residual_up(widths, head_channels(head, shape), sizes, activation)
        start = (widths[0], *sizes[0])
        super().__init__(
            latent_dim,
            shape,
            head,
            nn.Sequential(nn.Unflatten(-1, start), blocks),
            torch.Size(start).numel(),
            hidden=hidden,
            activation=activation,
            context_dim=context_dim,
        )
