"""Codes without a density: of plain autoencoders, and quantised ones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from disvae.distributions import Delta
from disvae.nn import AffineHead, check_int


class Deterministic(nn.Module):
    r"""Features to one code, without noise: the head of a plain autoencoder.

    .. math::

        q(z|x) = \delta(z - \mu(h)), \quad \mu = W h + b

    There is no density, so no KL. Train it with ``objectives.Autoencoder``, or with objectives that
    compare samples (WAE, MMD).

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If ``features`` or ``latent_dim`` is below 1.

    Example:
        >>> import torch
        >>> q = Deterministic(512, 10)(torch.zeros(4, 512))
        >>> bool((q.sample() == q.mean).all())
        True

    References:
        Tolstikhin et al., Wasserstein Auto-Encoders, 2018, https://arxiv.org/abs/1711.01558.
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.affine = AffineHead(check_int(features, "features"), self.latent_dim)

    def forward(self, h: Tensor) -> Delta:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        return Delta(self.affine(h))


class Quantized(nn.Module):
    r"""Features to a code of a few evenly spaced values: finite scalar quantisation.

    .. math::

        y = \tfrac{L}{2} \tanh(W h + b), \qquad
        z = \frac{\lfloor y + L/2 \rfloor - (L - 1)/2}{(L - 1)/2}
        \in \Big\{-1, -1 + \tfrac{2}{L - 1}, \dots, 1\Big\}

    The gradient passes straight through the rounding, as if z were :math:`y / ((L - 1)/2)`. There
    is no density, so no KL: train it with ``objectives.Autoencoder``.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.
        levels: The number L of values, at least 2: one for all dimensions, or one for each.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If a size is below 1, there are fewer than two levels, or not one for each
            dimension.

    Example:
        >>> import torch
        >>> head = Quantized(1, 1, levels=3)
        >>> _ = torch.nn.init.ones_(head.affine.weight), torch.nn.init.zeros_(head.affine.bias)
        >>> head(torch.tensor([[-3.0], [0.1], [3.0]])).mean.detach().flatten()
        tensor([-1.,  0.,  1.])

    References:
        Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple, 2023,
        https://arxiv.org/abs/2309.15505.
    """

    levels: Tensor

    def __init__(self, features: int, latent_dim: int, levels: int | Sequence[int] = 8) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        each = levels if isinstance(levels, Sequence) else [levels] * self.latent_dim
        counts = [check_int(n, "each of levels", minimum=2) for n in each]
        if len(counts) != self.latent_dim:
            raise ValueError(
                f"Expected one number of levels for each of the {self.latent_dim} dimensions, but "
                f"got {len(counts)}; pass one integer for all of them."
            )
        self.affine = AffineHead(check_int(features, "features"), self.latent_dim)
        self.register_buffer("levels", torch.tensor(counts))

    def forward(self, h: Tensor) -> Delta:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        raw = self.affine(h)
        levels = self.levels.to(raw.dtype)
        half = (levels - 1) / 2
        smooth = levels / 2 * raw.tanh()
        # tanh is 1 for large features, where the sum would be one too many
        number = torch.minimum((smooth + levels / 2).floor(), levels - 1)
        rounded = number - half
        return Delta((smooth + (rounded - smooth).detach()) / half)
