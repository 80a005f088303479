"""Normal posteriors: with independent dimensions, the default of every encoder, and dependent."""

from torch import Tensor, nn
from torch.distributions import Independent

from disvae.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal
from disvae.nn import AffineHead, CholeskyFactor, check_int, positive


class DiagonalNormal(nn.Module):
    r"""Features to a normal posterior with independent dimensions.

    .. math::

        q(z|x) = \prod_d N(z_d; \mu_d(h), \sigma_d(h)^2), \quad
        \mu = W_\mu h + b_\mu, \quad
        \sigma = 10^{-4} + \mathrm{softplus}(W_\sigma h + b_\sigma + c)

    The constant :math:`c` makes :math:`\sigma = 1` where the affine map gives 0. The scale has a
    floor of 1e-4 and grows linearly in extreme features, so it stays finite where the exponential
    of a log-variance overflows. The head computes in float32 at least, also under autocast.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If ``features`` or ``latent_dim`` is below 1.

    Example:
        >>> import torch
        >>> q = DiagonalNormal(512, 10)(torch.zeros(4, 512))
        >>> q.batch_shape, q.event_shape
        (torch.Size([4]), torch.Size([10]))

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114.
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.affine = AffineHead(check_int(features, "features"), 2 * self.latent_dim)

    def forward(self, h: Tensor) -> Independent:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        loc, raw = self.affine(h).chunk(2, dim=-1)
        scale = positive(raw)
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


class FullNormal(nn.Module):
    r"""Features to a normal posterior with a full covariance.

    .. math::

        q(z|x) = N(z; \mu(h), L(h) L(h)^T)

    The Cholesky factor L is lower triangular, with a diagonal above 1e-4; it is the identity where
    the affine map gives 0. The KL to every normal prior is closed.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If ``features`` or ``latent_dim`` is below 1.

    Example:
        >>> import torch
        >>> FullNormal(512, 10)(torch.zeros(4, 512)).covariance_matrix.shape
        torch.Size([4, 10, 10])

    References:
        Kingma and Welling, An Introduction to Variational Autoencoders, 2019,
        https://arxiv.org/abs/1906.02691, section 2.5.1.
    """

    def __init__(self, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.factor = CholeskyFactor(self.latent_dim)
        outputs = self.latent_dim + self.factor.size
        self.affine = AffineHead(check_int(features, "features"), outputs)

    def forward(self, h: Tensor) -> MultivariateNormal:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        loc, entries = self.affine(h).split([self.latent_dim, self.factor.size], dim=-1)
        return MultivariateNormal(loc, scale_tril=self.factor(entries), validate_args=False)


class LowRankNormal(nn.Module):
    r"""Features to a normal posterior whose covariance is diagonal plus low rank.

    .. math::

        q(z|x) = N\big(z; \mu(h), W(h) W(h)^T + \mathrm{diag}\,\sigma(h)^2\big)

    It has D(R + 2) outputs, where a full covariance has D(D + 3)/2. The KL to every normal prior
    is closed.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of latent dimensions.
        rank: The number R of columns of W.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        ValueError: If a size is below 1.

    Example:
        >>> import torch
        >>> LowRankNormal(512, 10, rank=2)(torch.zeros(4, 512)).cov_factor.shape
        torch.Size([4, 10, 2])

    References:
        Rezende, Mohamed and Wierstra, Stochastic Backpropagation and Approximate Inference in Deep
        Generative Models, 2014, https://arxiv.org/abs/1401.4082, section 4.3.
    """

    def __init__(self, features: int, latent_dim: int, rank: int = 1) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        self.rank = check_int(rank, "rank")
        outputs = self.latent_dim * (self.rank + 2)
        self.affine = AffineHead(check_int(features, "features"), outputs)

    def forward(self, h: Tensor) -> LowRankMultivariateNormal:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        dim = self.latent_dim
        loc, raw, factor = self.affine(h).split([dim, dim, dim * self.rank], dim=-1)
        return LowRankMultivariateNormal(
            loc,
            factor.unflatten(-1, (dim, self.rank)),
            positive(raw).square(),
            validate_args=False,
        )
