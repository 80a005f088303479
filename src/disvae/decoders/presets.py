r"""The decoders of some papers, each the partner of the encoder of the same name.

They are plain instances of :class:`disvae.decoders.MLP` and :class:`disvae.decoders.Conv`, without
batch normalisation.
"""

from collections.abc import Sequence

from torch import nn

from disvae import likelihoods
from disvae.decoders.base import LikelihoodFactory
from disvae.decoders.feedforward import MLP, Conv
from disvae.nn.networks import check_side


def narrow_laplace(data_shape: int | Sequence[int]) -> likelihoods.Laplace:
    """A Laplace likelihood of scale 0.1."""
    return likelihoods.Laplace(data_shape, scale=0.1)


def normal_of_predicted_scales(data_shape: int | Sequence[int]) -> likelihoods.Normal:
    """A normal likelihood whose scales the decoder predicts."""
    return likelihoods.Normal(data_shape, scale=None)


def burgess(
    latent_dim: int = 10,
    data_shape: Sequence[int] = (1, 64, 64),
    *,
    likelihood: LikelihoodFactory = likelihoods.Bernoulli,
    context_dim: int = 0,
) -> Conv:
    r"""The transpose of :func:`disvae.encoders.burgess`: two dense layers of 256, then 32 channels.

    Four transposed convolutions (kernel 4, stride 2) at 64x64, as in the paper. At 32x32 there are
    three, a form that is common but not the paper's own. ReLU throughout.

    Args:
        latent_dim: The number of latent dimensions; 10 in the paper.
        data_shape: ``(channels, 64, 64)`` or ``(channels, 32, 32)``.
        likelihood: Makes the head from ``data_shape``; Bernoulli in the paper.
        context_dim: The size of the context, of which the paper has none; it is joined to z.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> decoder = burgess(10, (3, 64, 64))
        >>> sum(p.numel() for p in decoder.parameters())
        250979

    References:
        Burgess et al., Understanding disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, appendix A.1.
    """
    shape = check_side(data_shape, (64, 32))
    return Conv(
        latent_dim,
        shape,
        channels=(32,) * (4 if shape[1] == 64 else 3),
        hidden=(256, 256),
        likelihood=likelihood,
        context_dim=context_dim,
    )


def pastrana_mlp(
    latent_dim: int = 10,
    data_shape: int | Sequence[int] = 784,
    *,
    likelihood: LikelihoodFactory = likelihoods.Bernoulli,
    context_dim: int = 0,
) -> MLP:
    r"""One dense layer of 500, tanh, to 784 logits.

    Args:
        latent_dim: The number of latent dimensions; 10 in the paper.
        data_shape: The shape of one datum, such as 784 or ``(1, 28, 28)``.
        likelihood: Makes the head from ``data_shape``; the paper's cross-entropy on grey pixels is
            the default's log mass.
        context_dim: The size of the context, joined to z; 10, the one-hot digits, in the paper's
            conditional model.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> decoder = pastrana_mlp(10, (1, 28, 28), context_dim=10)
        >>> sum(p.numel() for p in decoder.parameters())
        403284

    References:
        Pastrana, Disentangling Variational Autoencoders, 2022, https://arxiv.org/abs/2211.07700.
    """
    return MLP(
        latent_dim,
        data_shape,
        hidden=(500,),
        activation=nn.Tanh,
        likelihood=likelihood,
        context_dim=context_dim,
    )


def mathieu_dsprites(
    latent_dim: int = 10,
    data_shape: Sequence[int] = (1, 64, 64),
    *,
    likelihood: LikelihoodFactory = likelihoods.Bernoulli,
    context_dim: int = 0,
) -> Conv:
    r"""The mirror of :func:`disvae.encoders.mathieu_dsprites`: 128, then 64, 64, 32, 32 channels.

    The transposed convolutions have kernel 4, stride 2 and padding 1. The activation, ReLU, is
    chosen here.

    Args:
        latent_dim: The number of latent dimensions; 10 in the paper.
        data_shape: ``(channels, 64, 64)``.
        likelihood: Makes the head from ``data_shape``; Bernoulli in the paper.
        context_dim: The size of the context, of which the paper has none; it is joined to z.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> decoder = mathieu_dsprites()
        >>> sum(p.numel() for p in decoder.parameters())
        248833

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return Conv(
        latent_dim,
        check_side(data_shape, (64,)),
        channels=(64, 64, 32, 32),
        hidden=(128,),
        likelihood=likelihood,
        context_dim=context_dim,
    )


def mathieu_dcgan32(
    latent_dim: int = 50,
    data_shape: Sequence[int] = (1, 32, 32),
    *,
    likelihood: LikelihoodFactory = narrow_laplace,
    context_dim: int = 0,
) -> Conv:
    r"""Transposed convolutions of 128, 64 and 32 channels in the manner of DCGAN, no dense layer.

    A linear map of z gives the 128 maps of 4x4; as a transposed convolution of a 1x1 image, which
    is the same map, it would have one bias for each map and not for each value. The original has
    batch normalisation, by which an image depends on the others in its batch; here there is none.
    The activation, ReLU, is chosen here.

    Args:
        latent_dim: The number of latent dimensions; 50 in the paper.
        data_shape: ``(channels, 32, 32)``.
        likelihood: Makes the head from ``data_shape``; a Laplace of scale 0.1 in the paper.
        context_dim: The size of the context, of which the paper has none; it is joined to z.

    Raises:
        ValueError: If the images are of another size, or a number is too small.

    Example:
        >>> decoder = mathieu_dcgan32()
        >>> sum(p.numel() for p in decoder.parameters())
        268897

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return Conv(
        latent_dim,
        check_side(data_shape, (32,)),
        channels=(128, 64, 32),
        hidden=(),
        likelihood=likelihood,
        context_dim=context_dim,
    )


def mathieu_pinwheel(
    latent_dim: int = 2,
    data_shape: int | Sequence[int] = 2,
    *,
    likelihood: LikelihoodFactory = normal_of_predicted_scales,
    context_dim: int = 0,
) -> MLP:
    r"""One dense layer of 100, and a normal whose mean and scale it predicts for each dimension.

    The activation, ReLU, is chosen here. Constant scales, learnt as parameters, would still be far
    from the noise of the pinwheel after the paper's 500 steps of 0.001.

    Args:
        latent_dim: The number of latent dimensions; 2 in the paper.
        data_shape: The shape of one datum; 2 in the paper.
        likelihood: Makes the head from ``data_shape``; by default ``likelihoods.Normal`` with
            ``scale=None``.
        context_dim: The size of the context, of which the paper has none; it is joined to z.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> decoder = mathieu_pinwheel()
        >>> sum(p.numel() for p in decoder.parameters())
        704

    References:
        Mathieu, Rainforth, Siddharth and Teh, Disentangling Disentanglement in Variational
        Autoencoders, 2019, https://arxiv.org/abs/1812.02833.
    """
    return MLP(
        latent_dim, data_shape, hidden=(100,), likelihood=likelihood, context_dim=context_dim
    )
