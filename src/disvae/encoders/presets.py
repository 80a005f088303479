r"""The encoders of some papers; each has a decoder of the same name in :mod:`disvae.decoders`.

They are plain instances of :class:`disvae.encoders.MLP` and :class:`disvae.encoders.Conv`. Two
things differ from all originals: the default posterior makes its scale by a softplus with a floor
and not as the exponential of half a log-variance, and there is no batch normalisation.
"""

from collections.abc import Sequence

from torch import nn

from disvae.encoders.base import PosteriorFactory
from disvae.encoders.feedforward import MLP, Conv
from disvae.nn.networks import check_side
from disvae.posteriors import DiagonalNormal


def burgess(
    data_shape: Sequence[int] = (1, 64, 64),
    latent_dim: int = 10,
    *,
    posterior: PosteriorFactory = DiagonalNormal,
    context_dim: int = 0,
) -> Conv:
    r"""Convolutions of 32 channels, two dense layers of 256, ReLU.

    Four convolutions (kernel 4, stride 2) at 64x64, as in the paper. At 32x32 there are three, a
    form that is common but not the paper's own.

    Args:
        data_shape: ``(channels, 64, 64)`` or ``(channels, 32, 32)``.
        latent_dim: The number of latent dimensions; 10 in the paper.
        posterior: Makes the head from the number of features and ``latent_dim``.
        context_dim: The size of the context, of which the paper has none; it is joined to the
            features of the convolutions.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> encoder = burgess((3, 64, 64))
        >>> sum(p.numel() for p in encoder.parameters())
        253076

    References:
        Burgess et al., Understanding disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, appendix A.1.
    """
    shape = check_side(data_shape, (64, 32))
    return Conv(
        shape,
        latent_dim,
        channels=(32,) * (4 if shape[1] == 64 else 3),
        hidden=(256, 256),
        posterior=posterior,
        context_dim=context_dim,
    )


def pastrana_mlp(
    data_shape: int | Sequence[int] = 784,
    latent_dim: int = 10,
    *,
    posterior: PosteriorFactory = DiagonalNormal,
    context_dim: int = 0,
) -> MLP:
    r"""One dense layer of 500, tanh.

    Args:
        data_shape: The shape of one datum, such as 784 or ``(1, 28, 28)``, which is flattened.
        latent_dim: The number of latent dimensions; 10 in the paper.
        posterior: Makes the head from the number of features and ``latent_dim``.
        context_dim: The size of the context, joined to the data; 10, the one-hot digits, in the
            paper's conditional model.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> encoder = pastrana_mlp((1, 28, 28), context_dim=10)
        >>> sum(p.numel() for p in encoder.parameters())
        407520

    References:
        Pastrana, Disentangling Variational Autoencoders, 2022, https://arxiv.org/abs/2211.07700.
    """
    return MLP(
        data_shape,
        latent_dim,
        hidden=(500,),
        activation=nn.Tanh,
        posterior=posterior,
        context_dim=context_dim,
    )


def mathieu_dsprites(
    data_shape: Sequence[int] = (1, 64, 64),
    latent_dim: int = 10,
    *,
    posterior: PosteriorFactory = DiagonalNormal,
    context_dim: int = 0,
) -> Conv:
    r"""Convolutions of 32, 32, 64 and 64 channels, one dense layer of 128.

    The convolutions have kernel 4, stride 2 and padding 1. The activation, ReLU, is chosen here.

    Args:
        data_shape: ``(channels, 64, 64)``.
        latent_dim: The number of latent dimensions; 10 in the paper.
        posterior: Makes the head from the number of features and ``latent_dim``.
        context_dim: The size of the context, of which the paper has none; it is joined to the
            features of the convolutions.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> encoder = mathieu_dsprites()
        >>> sum(p.numel() for p in encoder.parameters())
        249172

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return Conv(
        check_side(data_shape, (64,)),
        latent_dim,
        channels=(32, 32, 64, 64),
        hidden=(128,),
        posterior=posterior,
        context_dim=context_dim,
    )


def mathieu_dcgan32(
    data_shape: Sequence[int] = (1, 32, 32),
    latent_dim: int = 50,
    *,
    posterior: PosteriorFactory = DiagonalNormal,
    context_dim: int = 0,
) -> Conv:
    r"""Convolutions of 32, 64 and 128 channels in the manner of DCGAN, no dense layer.

    The head reads the 128 maps of 4x4. The original has batch normalisation, by which
    :math:`q(z|x)` of one image depends on the others in its batch; here there is none. The
    activation, ReLU, is chosen here.

    Args:
        data_shape: ``(channels, 32, 32)``.
        latent_dim: The number of latent dimensions; 50 in the paper.
        posterior: Makes the head from the number of features and ``latent_dim``.
        context_dim: The size of the context, of which the paper has none; it is joined to the
            features of the convolutions.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> encoder = mathieu_dcgan32()
        >>> sum(p.numel() for p in encoder.parameters())
        369476

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return Conv(
        check_side(data_shape, (32,)),
        latent_dim,
        channels=(32, 64, 128),
        hidden=(),
        posterior=posterior,
        context_dim=context_dim,
    )


def mathieu_pinwheel(
    data_shape: int | Sequence[int] = 2,
    latent_dim: int = 2,
    *,
    posterior: PosteriorFactory = DiagonalNormal,
    context_dim: int = 0,
) -> MLP:
    r"""One dense layer of 100, for points in the plane. The activation, ReLU, is chosen here.

    Args:
        data_shape: The shape of one datum; 2 in the paper.
        latent_dim: The number of latent dimensions; 2 in the paper.
        posterior: Makes the head from the number of features and ``latent_dim``.
        context_dim: The size of the context, of which the paper has none; it is joined to the data.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> encoder = mathieu_pinwheel()
        >>> sum(p.numel() for p in encoder.parameters())
        704

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return MLP(data_shape, latent_dim, hidden=(100,), posterior=posterior, context_dim=context_dim)
