"""Factorised posteriors with heavier tails than the normal."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from disvae import distributions
from disvae.nn import AffineHead, check_int, full_precision, positive


class Laplace(nn.Module):
    r"""Features to a Laplace posterior with independent dimensions.

    .. math::

        q(z|x) = \prod_d \frac{1}{2 b_d(h)} \exp(-|z_d - \mu_d(h)| / b_d(h))

    The scale b has a floor of 1e-4. The KL to Laplace and normal priors is closed.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If ``features`` or ``latent_dim`` is below 1.

    Example:
        >>> import torch
        >>> q = Laplace(512, 10)(torch.zeros(4, 512))
        >>> q.batch_shape, q.event_shape
        (torch.Size([4]), torch.Size([10]))
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.affine = AffineHead(check_int(features, "features"), 2 * self.latent_dim)

    def forward(self, h: Tensor) -> Independent:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        loc, raw = self.affine(h).chunk(2, dim=-1)
        base = distributions.Laplace(loc, positive(raw), validate_args=False)
        return Independent(base, 1, validate_args=False)


class StudentT(nn.Module):
    r"""Features to a Student-t posterior with independent dimensions.

    .. math::

        q(z|x) = \prod_d t_{\nu_d}\big((z_d - \mu_d(h)) / \sigma_d(h)\big) / \sigma_d(h), \quad
        \nu_d = 2 + \mathrm{positive}(h)

    Its degrees of freedom are predicted too, and stay above 2: below, the KL to a normal prior
    would be infinite. That KL is closed. Sampling has a gradient in all parameters.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.
        df: Fixed degrees of freedom above 2, in place of predicted ones; a buffer.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If a size is below 1, or ``df`` is not finite and above 2.

    Example:
        >>> import torch
        >>> StudentT(512, 10, df=5.0)(torch.zeros(4, 512)).base_dist.df.unique()
        tensor([5.])

    References:
        Figurnov, Mohamed and Mnih, Implicit Reparameterization Gradients, 2018,
        https://arxiv.org/abs/1805.08498.
    """

    df: Tensor | None

    def __init__(self, features: int, latent_dim: int, df: float | None = None) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        if df is not None and not (isinstance(df, int | float) and 2 < df < math.inf):
            raise ValueError(
                f"Expected df to be a finite number above 2, but got {df!r:.60}; at 2 and below "
                f"the KL to a normal prior is infinite, and for infinity there is DiagonalNormal."
            )
        self.register_buffer("df", None if df is None else torch.tensor(float(df)))
        outputs = self.latent_dim * (3 if df is None else 2)
        self.affine = AffineHead(check_int(features, "features"), outputs)

    def forward(self, h: Tensor) -> Independent:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        loc, raw, *rest = self.affine(h).split(self.latent_dim, dim=-1)
        df = 2 + positive(rest[0]) if self.df is None else full_precision(self.df)
        base = distributions.StudentT(df, loc, positive(raw), validate_args=False)
        return Independent(base, 1, validate_args=False)
