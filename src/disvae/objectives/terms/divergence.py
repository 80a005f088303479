"""The divergence of the posterior from the prior, datum by datum."""

from torch import Tensor, nn

from disvae.distributions import kl
from disvae.output import VAEOutput


class KL(nn.Module):
    r"""The rate: the divergence of the posterior from the prior.

    .. math::

        KL(q(z|x) \| p(z)) = E_{q(z|x)}[\log q(z|x) - \log p(z)]

    Args:
        analytic: Whether the closed form is used where one is registered for the pair of types;
            else, and otherwise, the integrand at the posterior's samples, which is unbiased.

    Shape:
        ``(B,)``, or ``sample_shape + (B,)`` for the Monte Carlo estimate; in nats, summed over
        latent dimensions.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Laplace(2))
        >>> KL()(model(torch.rand(16, 8))).shape
        torch.Size([16])
    """

    def __init__(self, *, analytic: bool = True) -> None:
        super().__init__()
        self.analytic = analytic

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        if self.analytic:
            return kl(out.posterior, out.prior, out.z)
        return out.posterior.log_prob(out.z) - out.prior.log_prob(out.z)
