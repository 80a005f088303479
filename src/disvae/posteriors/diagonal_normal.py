"""The diagonal normal posterior, the default of every encoder."""

from torch import Tensor, nn
from torch.distributions import Independent

from disvae.distributions import Normal
from disvae.nn import AffineHead, check_int, positive


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
