"""Pre-activation residual blocks, and networks of them that halve or double an image."""

from collections.abc import Sequence

from torch import Tensor, nn

from disvae.nn.calls import make_module
from disvae.nn.checks import check_int, check_widths
from disvae.nn.networks import Activation, halvings


class ResidualBlock(nn.Module):
    r"""Two convolutions whose result is added to the input.

    .. math::

        h' = S h + W_2 * a(W_1 * a(h))

    The convolutions are 3x3 and keep the size. The skip S is the identity, or a 1x1 convolution
    where the number of channels changes. The second convolution starts at zero, so the block starts
    as its skip: signal and gradient pass any number of blocks without growing, which is what a
    normalisation is otherwise needed for. There is none here, so a datum's result neither depends
    on its batch nor loses the brightness and the contrast of the image.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the result.
        activation: Makes the module before each convolution; not one that works in place, because
            the skip reads the same tensor.

    Shape:
        ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``.

    Raises:
        ValueError: If a number of channels is below 1, or the activation works in place.

    Example:
        >>> import torch
        >>> x = torch.randn(2, 16, 7, 9)
        >>> torch.equal(ResidualBlock(16, 16)(x), x)
        True
        >>> ResidualBlock(16, 32)(x).shape
        torch.Size([2, 32, 7, 9])

    References:
        He et al., Identity Mappings in Deep Residual Networks, 2016,
        https://arxiv.org/abs/1603.05027, for the order of the layers.

        Zhang, Dauphin and Ma, Fixup Initialization: Residual Learning Without Normalization, 2019,
        https://arxiv.org/abs/1901.09321, for the last layer at zero.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Activation = nn.ReLU
    ) -> None:
        super().__init__()
        in_channels = check_int(in_channels, "in_channels")
        out_channels = check_int(out_channels, "out_channels")
        last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.branch = nn.Sequential(
            make_module(activation, "activation"),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            make_module(activation, "activation"),
            last,
        )
        if any(getattr(module, "inplace", False) for module in self.branch[0].modules()):
            raise ValueError(
                "Expected an activation that leaves its input as it is, because a residual block "
                "adds that input to its result, but got one with inplace=True; pass inplace=False."
            )
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, h: Tensor) -> Tensor:
        """The input ``(B, in_channels, H, W)``, changed by the branch."""
        return self.skip(h) + self.branch(h)


def residual_down(
    in_channels: int,
    channels: Sequence[int],
    size: tuple[int, int],
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """A 3x3 convolution, then for each width an average pooling and a residual block.

    Each pooling halves height and width, rounded down. An odd side is pooled by windows of three
    that overlap, so that no row or column of pixels is left out.

    Args:
        in_channels: The channels of the image.
        channels: The channels of each block.
        size: Height and width of the image.
        activation: Makes each activation, that after the last block included.

    Shape:
        ``(B, in_channels, H, W)`` to ``(B, channels[-1], H // 2**n, W // 2**n)``.

    Raises:
        ValueError: If there are no widths, or the image is too small.

    Example:
        >>> import torch
        >>> residual_down(1, (32, 64), (28, 30))(torch.zeros(2, 1, 28, 30)).shape
        torch.Size([2, 64, 7, 7])
    """
    widths = _some_widths(channels)
    layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 3, padding=1)]
    before = widths[0]
    for width, (height, breadth) in zip(widths, halvings(size, len(widths)), strict=False):
        window = (2 + height % 2, 2 + breadth % 2)
        layers += [nn.AvgPool2d(window, stride=2), ResidualBlock(before, width, activation)]
        before = width
    return nn.Sequential(*layers, make_module(activation, "activation"))


def residual_up(
    channels: Sequence[int],
    out_channels: int,
    sizes: Sequence[tuple[int, int]],
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """The mirror of :func:`residual_down`: blocks, each followed by nearest-neighbour upsampling.

    Args:
        channels: The channels of each block; those of the input are ``channels[0]``.
        out_channels: The channels after the last layer, a 3x3 convolution.
        sizes: The sizes from the smallest to the largest, one more than there are blocks.
        activation: Makes each activation; there is none after the last layer.

    Raises:
        ValueError: If there are no widths.

    Example:
        >>> import torch
        >>> net = residual_up((64, 32), 1, [(3, 3), (7, 7), (14, 14)])
        >>> net(torch.zeros(2, 64, 3, 3)).shape
        torch.Size([2, 1, 14, 14])
    """
    widths = _some_widths(channels)
    layers: list[nn.Module] = []
    before = widths[0]
    for width, size in zip(widths, sizes[1:], strict=True):
        layers += [ResidualBlock(before, width, activation), nn.Upsample(size=size)]
        before = width
    activate = make_module(activation, "activation")
    return nn.Sequential(*layers, activate, nn.Conv2d(before, out_channels, 3, padding=1))


def _some_widths(channels: Sequence[int]) -> tuple[int, ...]:
    """The widths, of which there must be one at least."""
    widths = check_widths(channels, "channels")
    if not widths:
        raise ValueError(
            "Expected at least one width in channels, but got none; "
            "use the MLP for a network without convolutions."
        )
    return widths
