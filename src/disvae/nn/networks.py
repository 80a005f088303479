"""Plain feed-forward networks: dense layers, and convolutions that halve or double an image."""

from collections.abc import Callable, Sequence

from torch import nn

from disvae.nn.calls import make_module
from disvae.nn.checks import as_shape, check_widths

Activation = Callable[[], nn.Module]


def mlp(
    features: int, hidden: Sequence[int], activation: Activation = nn.ReLU
) -> tuple[nn.Sequential, int]:
    """Dense layers, each followed by an activation, and the number of features they give.

    Args:
        features: The number of input features.
        hidden: The width of each layer; with none the result is the identity.
        activation: Makes the module that follows each layer.

    Example:
        >>> net, features = mlp(10, (32, 16))
        >>> len(net), features
        (4, 16)
    """
    layers: list[nn.Module] = []
    for width in check_widths(hidden, "hidden"):
        layers += [nn.Linear(features, width), make_module(activation, "activation")]
        features = width
    return nn.Sequential(*layers), features


def halvings(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """The sizes of an image, before and after each of ``times`` halvings, rounded down.

    Raises:
        ValueError: If the image is too small to be halved that often.

    Example:
        >>> halvings((28, 28), 3)
        [(28, 28), (14, 14), (7, 7), (3, 3)]
    """
    sizes = [size]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append((height // 2, width // 2))
    if min(sizes[-1]) < 1:
        raise ValueError(
            f"Expected an image large enough for {times} halvings, but got {size[0]}x{size[1]}; "
            f"pass fewer channels, at most {min(size).bit_length() - 1} of them."
        )
    return sizes


def conv_down(
    in_channels: int, channels: Sequence[int], activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Convolutions (kernel 4, stride 2, padding 1), each followed by an activation.

    Each halves height and width, rounded down.

    Shape:
        ``(B, in_channels, H, W)`` to ``(B, channels[-1], H // 2**n, W // 2**n)``.

    Example:
        >>> import torch
        >>> conv_down(1, (32, 64))(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 64, 7, 7])
    """
    layers: list[nn.Module] = []
    for width in check_widths(channels, "channels"):
        convolution = nn.Conv2d(in_channels, width, 4, stride=2, padding=1)
        layers += [convolution, make_module(activation, "activation")]
        in_channels = width
    return nn.Sequential(*layers)


def conv_up(
    channels: Sequence[int],
    out_channels: int,
    sizes: Sequence[tuple[int, int]],
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """The mirror of :func:`conv_down`: transposed convolutions that reach each given size exactly.

    Args:
        channels: The channels before each layer.
        out_channels: The channels after the last layer, which has no activation.
        sizes: The sizes from the smallest to the largest, one more than there are layers, each
            twice the one before or one more.
        activation: Makes the module between two layers.

    Example:
        >>> import torch
        >>> net = conv_up((64, 32), 1, [(3, 3), (7, 7), (14, 14)])
        >>> net(torch.zeros(2, 64, 3, 3)).shape
        torch.Size([2, 1, 14, 14])
    """
    widths = [*channels, out_channels]
    layers: list[nn.Module] = []
    for i in range(len(channels)):
        odd = (sizes[i + 1][0] % 2, sizes[i + 1][1] % 2)
        convolution = nn.ConvTranspose2d(
            widths[i], widths[i + 1], 4, stride=2, padding=1, output_padding=odd
        )
        layers += [convolution, make_module(activation, "activation")]
    return nn.Sequential(*layers[:-1])


def image_shape(data_shape: Sequence[int]) -> tuple[int, int, int]:
    """``data_shape`` as ``(channels, height, width)``, at least 8x8.

    Raises:
        ValueError: If it has not three axes, or is smaller.
    """
    shape = as_shape(data_shape)
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(
            f"Expected data_shape to be (channels, height, width) with images of 8x8 or more, but "
            f"got {shape}; use the MLP for other data."
        )
    return shape


def check_side(data_shape: Sequence[int], sides: Sequence[int]) -> tuple[int, int, int]:
    """``data_shape`` as ``(channels, side, side)``, for a net that is published for some sides.

    Raises:
        ValueError: If the images are no squares of one of the sides.
    """
    shape = image_shape(data_shape)
    if shape[1] != shape[2] or shape[1] not in sides:
        raise ValueError(
            f"Expected images of {' or '.join(f'{side}x{side}' for side in sides)}, for which "
            f"this net is published, but got {shape[1]}x{shape[2]}; resize or pad them, or use "
            f"Conv, which takes any size."
        )
    return shape


def first_layer(network: nn.Module) -> tuple[nn.Linear | nn.Conv2d, ...]:
    """The first layer with weights, which decides the dtype of the data; () if there is none.

    In a tuple, so that a module that keeps it does not register it a second time.
    """
    return tuple(m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d))[:1]


def default_channels(size: tuple[int, int]) -> tuple[int, ...]:
    """Widths for as many halvings as leave at least 4 pixels a side: 32s, then 64 twice."""
    layers = min(size).bit_length() - 3
    return ((32,) * layers + (64, 64))[-layers:] if layers > 1 else (64,)
