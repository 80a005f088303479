"""Divergences between posterior and prior: datum by datum, and of the prior from the aggregate."""

from torch import Tensor, nn

from disvae.distributions import equal_mixture, kl
from disvae.objectives.batches import gather, whole_batch
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
        return kl(out.posterior, out.prior, out.z, analytic=self.analytic)


class InclusiveKL(nn.Module):
    r"""The divergence of the prior from the aggregate posterior: it penalises holes in it.

    .. math::

        KL(p(z) \| q(z)) \approx \frac1B \sum_j \Big[\log p(z_j)
        - \log \frac1B \sum_{i=1}^B q(z_j|x_i)\Big], \quad z_j \sim p(z)

    As many :math:`z_j` are drawn from the prior as the pass has samples, with a gradient to a
    learnt prior where it has ``rsample`` (a mixture has none, and gets no gradient from this term).
    A prior with a batch shape (from a context) gives one draw for each sample, and is averaged over
    the batch like the posterior. The aggregate of normal posteriors costs one matrix product in
    float64.

    **Bias.** The mean is exact when the batch is the data set, and too high when it is smaller: the
    logarithm of a batch's mean density is on average below that of the whole mean.

    Shape:
        ``()``, in nats, summed over latent dimensions.

    Raises:
        ValueError: If the posterior has no density.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Laplace(2))
        >>> InclusiveKL()(model(torch.rand(16, 8))).shape
        torch.Size([])

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The estimate from one batch, that of all processes."""
        z = gather(prior_draws(out), dim=-2)
        out = whole_batch(out)
        prior = equal_mixture(out.prior, z) if out.prior.batch_shape else out.prior
        log_p = prior.log_prob(z)
        if not out.prior.has_rsample:
            # the mean of this gradient is 0: noise, where the draws have none
            log_p = log_p.detach()
        return (log_p - equal_mixture(out.posterior, z).log_prob(z)).mean()


def prior_draws(out: VAEOutput) -> Tensor:
    """As many draws from the prior as the pass has samples, with a gradient where they have one."""
    shape = out.z.shape[: -2 if out.prior.batch_shape else -1]
    return out.prior.rsample(shape) if out.prior.has_rsample else out.prior.sample(shape)
