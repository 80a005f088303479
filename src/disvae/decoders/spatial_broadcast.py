"""The decoder that lays the latents over the whole image, beside the pixels' coordinates."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from disvae.decoders.base import FeedForward, LikelihoodFactory, head_channels
from disvae.likelihoods import Bernoulli
from disvae.nn import check_int, check_widths, make_module
from disvae.nn.networks import Activation, image_shape


class _Broadcast(nn.Module):
    """Features ``(B, n)`` at every pixel, then x and y: ``(B, n + 2, height, width)``."""

    coordinates: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        x = torch.linspace(-1, 1, width).expand(height, width)
        y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
        # a state dict holds what is learnt; this follows from the image's size
        self.register_buffer("coordinates", torch.stack((x, y)), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        size = self.coordinates.shape[1:]
        coordinates = self.coordinates.to(h.dtype).expand(len(h), -1, -1, -1)
        return torch.cat((h[:, :, None, None].expand(-1, -1, *size), coordinates), dim=1)


class SpatialBroadcast(FeedForward):
    r"""Latents laid over the image beside two coordinates, convolutions, and a likelihood head.

    Every pixel sees :math:`(z, x, y)`, where x runs along the width and y along the height, both
    from -1 to 1; convolutions that keep the size make the image of it. Away from the border such a
    net gives the same answer at every place that it is not told by the coordinates, so position is
    easy to encode apart from shape. It computes at the full size throughout: a 64x64 image costs
    dozens of times what it costs :class:`Conv`.

    Args:
        latent_dim: The number D of latent dimensions.
        data_shape: ``(channels, height, width)``, any size from 8x8 up.
        channels: The channels of each convolution; a last one gives what the likelihood wants.
        kernel_size: The odd side of each kernel; images are padded by zeros to keep their size.
        hidden: The width of each dense layer before the image; in the paper there are none.
        activation: Makes the module that follows each layer but the last.
        likelihood: Makes the head from ``data_shape``: a class of ``disvae.likelihoods``, or any
            callable, such as ``functools.partial(likelihoods.Normal, scale=0.1)``.
        context_dim: The size of the context, which is joined to z. With 0 a context is accepted
            and ignored.

    Shape:
        Latents ``sample_shape + (B, D)`` and context ``(B, context_dim)`` to a distribution of
        batch shape ``sample_shape + (B,)`` and event shape ``data_shape``.

    Raises:
        ValueError: If the image is smaller than 8x8, the kernel is even, a size is below 1, or the
            latents or the context have another shape.
        TypeError: If the latents or the context are not floating point.

    Example:
        >>> import torch
        >>> p = SpatialBroadcast(10, (1, 32, 32))(torch.randn(4, 10))
        >>> p.batch_shape, p.event_shape
        (torch.Size([4]), torch.Size([1, 32, 32]))

    References:
        Watters et al., Spatial Broadcast Decoder: A Simple Architecture for Learning Disentangled
        Representations in VAEs, 2019, https://arxiv.org/abs/1901.07017.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        *,
        channels: Sequence[int] = (64, 64, 64),
        kernel_size: int = 3,
        hidden: Sequence[int] = (),
        activation: Activation = nn.ReLU,
        likelihood: LikelihoodFactory = Bernoulli,
        context_dim: int = 0,
    ) -> None:
        shape = image_shape(data_shape)
        kernel_size = check_int(kernel_size, "kernel_size")
        if kernel_size % 2 == 0:
            raise ValueError(
                f"Expected kernel_size to be odd, so that a convolution keeps the image's size, "
                f"but got {kernel_size}; pass 3 or 5."
            )
        head = make_module(likelihood, "likelihood", shape)
        dense = check_widths(hidden, "hidden")
        latents = check_int(latent_dim, "latent_dim")
        features = latents + check_int(context_dim, "context_dim", minimum=0)
        before = (dense[-1] if dense else features) + 2
        layers: list[nn.Module] = [_Broadcast(shape[1], shape[2])]
        for width in check_widths(channels, "channels"):
            layers += [
                nn.Conv2d(before, width, kernel_size, padding=kernel_size // 2),
                make_module(activation, "activation"),
            ]
            before = width
        last = nn.Conv2d(before, head_channels(head, shape), kernel_size, padding=kernel_size // 2)
        super().__init__(
            latent_dim,
            shape,
            head,
            nn.Sequential(*layers, last),
            None,
            hidden=hidden,
            activation=activation,
            context_dim=context_dim,
        )
