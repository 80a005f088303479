"""Models with the latent space rotated or scaled: the same model in other coordinates."""

import functools
import numbers

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.distributions import LinearMap, noise, pushforward
from disvae.distributions.linear_map import SLACK, deviation
from disvae.model import VAE
from disvae.nn import call_part, check_finite, check_int


def rotate(model: VAE, rotation: Tensor) -> VAE:
    r"""The model with its latent space rotated: encoder and decoder, but not the prior.

    .. math::

        z' = R z: \quad q'(z'|x) = q(R^\top z'|x), \quad p'(x|z') = p(x|R^\top z'), \quad
        p'(z') = p(z')

    Its posterior is rotated exactly, as a distribution, and its samples are the rotated samples of
    the same random numbers. What it encodes, decodes and reconstructs is as before. So an objective
    changes only by what is not invariant to rotations: a prior other than the isotropic normal one,
    a term that compares dimensions. :func:`rotation_gap` measures by how much, and takes one
    estimator on both sides; here a divergence that is closed for independent dimensions only, as
    that of a normal posterior from a Laplace prior, is sampled once dimensions are mixed.

    Nothing is copied: the parts, and so their parameters and modes, are those of ``model``, and
    training the one trains the other. The rotation is a constant and in no state dict. What comes
    back is a plain VAE, without what a subclass adds; a subclass that changes a method of VAE is
    refused, for what it does with the codes could not be rotated.

    Args:
        model: The model.
        rotation: The orthogonal matrix R, ``(D, D)``: a rotation, reflection or permutation. One in
            float32 is taken as the nearest orthogonal matrix in float64.

    Raises:
        TypeError: If ``model`` is no VAE, or one with an ``encode``, ``decode`` or other method of
            its own; or the rotation no floating-point tensor.
        ValueError: If the rotation is not square, orthogonal and of the size of the latent space.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> R, x = torch.tensor([[0.6, -0.8], [0.8, 0.6]]), torch.rand(16, 8)
        >>> rotated = evaluation.rotate(model, R)
        >>> torch.allclose(rotated.encode(x).mean, model.encode(x).mean @ R.T, atol=1e-6)
        True
        >>> torch.allclose(rotated.reconstruct(x), model.reconstruct(x), atol=1e-6)
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """
    return mapped(model, LinearMap(orthogonal(rotation)))


def rescale(model: VAE, scale: float | Tensor) -> VAE:
    r"""The model with its latent space scaled: encoder and decoder, but not the prior.

    .. math::

        z'_d = s_d z_d: \quad q'(z'|x) = \frac{q(z'/s\,|x)}{\prod_d |s_d|}, \quad
        p'(x|z') = p(x|z'/s), \quad p'(z') = p(z')

    All else is as in :func:`rotate`.

    Args:
        model: The model.
        scale: The factors s: a number, or a tensor ``(D,)``. Negative ones reflect an axis.

    Raises:
        TypeError: If ``model`` is no VAE, or one with an ``encode``, ``decode`` or other method of
            its own; or the scale neither a number nor a tensor.
        ValueError: If a factor is 0 or not finite, or there is not one for each latent dimension.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> x, scaled = torch.rand(16, 8), evaluation.rescale(model, 2.0)
        >>> torch.allclose(scaled.encode(x).stddev, 2 * model.encode(x).stddev)
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, corollary 1.
    """
    _check_model(model)
    if not isinstance(scale, Tensor):
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real):
            raise TypeError(
                f"Expected scale to be a number or a tensor, but got {type(scale).__name__}; pass "
                f"e.g. 2.0, or a tensor of one factor for each latent dimension."
            )
        scale = torch.tensor(float(scale), dtype=torch.float64)
    check_finite(scale, "scale")
    if scale.ndim == 0:
        if model.latent_dim is None:
            raise ValueError(
                "Expected a tensor of one factor for each latent dimension, because no part of "
                "this model tells its latent_dim, but got a number; pass torch.full((D,), scale)."
            )
        scale = scale.expand(model.latent_dim)
    if scale.ndim != 1 or (scale == 0).any():
        raise ValueError(
            f"Expected scale to be a number or one factor for each latent dimension, none of them "
            f"0, but got {f'shape {tuple(scale.shape)}' if scale.ndim != 1 else 'a factor of 0'}; "
            f"pass e.g. 2.0."
        )
    return mapped(model, LinearMap(scale.detach().double().diag()))


def random_rotation(latent_dim: int, *, generator: torch.Generator | None = None) -> Tensor:
    r"""A random orthogonal matrix, uniform among all of them (by Haar's measure).

    It is the factor Q of the QR decomposition of a matrix of normal numbers, its columns with the
    signs that make the diagonal of R positive. Half of these matrices reflect.

    Args:
        latent_dim: The number D of latent dimensions.
        generator: Where random numbers come from; by default torch's global generator.

    Shape:
        ``(D, D)``, in float64.

    Raises:
        TypeError: If ``latent_dim`` is no integer, or ``generator`` no generator of torch.
        ValueError: If ``latent_dim`` is below 1.

    Example:
        >>> import torch
        >>> from disvae import evaluation
        >>> R = evaluation.random_rotation(3)
        >>> torch.allclose(R @ R.T, torch.eye(3, dtype=torch.float64))
        True

    References:
        Mezzadri, How to Generate Random Matrices from the Classical Compact Groups, 2006,
        https://arxiv.org/abs/math-ph/0609050, section 5.
    """
    dim = check_int(latent_dim, "latent_dim")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"Expected generator to be a torch.Generator, but got {type(generator).__name__}; make "
            f"one with torch.Generator().manual_seed(0)."
        )
    sampler = functools.partial(torch.randn, generator=generator)
    device = torch.device("cpu") if generator is None else generator.device
    q, r = torch.linalg.qr(noise(sampler, (dim, dim), dtype=torch.float64, device=device))
    return q * r.diagonal().sign()


def orthogonal(rotation: Tensor) -> Tensor:
    """A given orthogonal matrix, in float64; the nearest one where it was rounded to float32.

    Raises:
        TypeError: If it is no floating-point tensor.
        ValueError: If it is not a finite, square and orthogonal matrix.
    """
    check_finite(rotation, "rotation")
    if rotation.ndim != 2 or rotation.shape[0] != rotation.shape[1] or rotation.numel() == 0:
        raise ValueError(
            f"Expected rotation to be a matrix of shape (D, D), but got {tuple(rotation.shape)}; "
            f"make one with evaluation.random_rotation(D)."
        )
    precise = rotation.detach().to("cpu", torch.float64)
    error = deviation(precise)
    rounding = torch.finfo(torch.promote_types(rotation.dtype, torch.float32)).eps
    if error > SLACK * rounding:
        raise ValueError(
            f"Expected rotation to be orthogonal, but R @ R.T differs from the identity by "
            f"{error:.2g}; pass torch.linalg.qr(R).Q, or use evaluation.rescale for scalings."
        )
    if error <= SLACK * torch.finfo(torch.float64).eps:
        return precise
    left, _, right = torch.linalg.svd(precise)
    return left @ right


def mapped(model: VAE, linear_map: LinearMap) -> VAE:
    """The model with its latent space mapped: encoder and decoder, but not the prior.

    Raises:
        TypeError: If ``model`` is no VAE, or one with methods of its own in place of a VAE's.
        ValueError: If the map is not of the size of the latent space.
    """
    _check_model(model)
    if model.latent_dim not in (None, linear_map.dim):
        raise ValueError(
            f"Expected a map of the model's {model.latent_dim} latent dimensions, but got one of "
            f"{linear_map.dim}; pass one row or factor for each latent dimension."
        )
    encoder = _Encoder(model.encoder, linear_map)
    decoder = _Decoder(model.decoder, linear_map)
    new = VAE(encoder, decoder, prior=model.prior, check_values=model.check_values)
    new.training = model.training
    return new


def _check_model(model: VAE) -> None:
    if not isinstance(model, VAE):
        raise TypeError(
            f"Expected model to be a disvae.VAE, but got {type(model).__name__}; "
            f"pass the model itself, as in train.model."
        )
    changed = [
        name
        for name, method in _METHODS.items()
        if getattr(getattr(model, name), "__func__", None) is not method
    ]
    if changed:
        raise TypeError(
            f"Expected a model that encodes and decodes as disvae.VAE does, but "
            f"{type(model).__name__} has its own {', '.join(changed)}; do that in its encoder, "
            f"decoder or prior, which are kept."
        )


_METHODS = {
    name: method for name, method in vars(VAE).items() if callable(method) and name != "__init__"
}


class _Mapped(nn.Module):
    """A part of a model, in the coordinates of a mapped latent space."""

    def __init__(self, part: nn.Module, linear_map: LinearMap) -> None:
        super().__init__()
        self.part, self.map, self.latent_dim = part, linear_map, linear_map.dim
        if hasattr(part, "context_dim"):
            self.context_dim = part.context_dim
        self.training = part.training

    def extra_repr(self) -> str:
        return repr(self.map)


class _Encoder(_Mapped):
    def forward(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        return pushforward(call_part(self.part, "encoder", x, context=context), self.map)


class _Decoder(_Mapped):
    def forward(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        return call_part(self.part, "decoder", self.map.inverse(z), context=context)
