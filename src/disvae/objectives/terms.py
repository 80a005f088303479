"""Terms: modules from one pass to a cost, ``VAEOutput -> (..., B)`` or a scalar, in nats."""

from torch import Tensor, nn

from disvae.distributions import is_factorised, kl, marginals
from disvae.nn import check_int
from disvae.objectives.aggregate import aggregate_log_density
from disvae.output import VAEOutput


class Reconstruction(nn.Module):
    r"""The distortion: the negative log likelihood of the data at the posterior's samples.

    .. math::

        -\log p(x|z), \quad z \sim q(z|x)

    Shape:
        ``sample_shape + (B,)``, in nats, summed over the event.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> Reconstruction()(model(torch.rand(16, 8))).shape
        torch.Size([16])
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        return -out.likelihood.log_prob(out.x)


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


class _AggregateTerm(nn.Module):
    """A term that compares with the aggregate posterior of the whole data set."""

    def __init__(self, dataset_size: int) -> None:
        super().__init__()
        self.dataset_size = check_int(dataset_size, "dataset_size")

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"dataset_size={self.dataset_size}"


class MutualInformation(_AggregateTerm):
    r"""The index-code mutual information between data and latents.

    .. math::

        I_q(x; z) = E[\log q(z|x) - \log q(z)], \quad q(z) = \tfrac1N \sum_n q(z|x_n)

    :math:`q(z)` is estimated from the batch by minibatch-weighted sampling, see
    :func:`disvae.objectives.aggregate.aggregate_log_density` for its bias.

    Args:
        dataset_size: The number N of data points in the whole data set.

    Shape:
        ``sample_shape + (B,)``, in nats.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 2.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        joint, _ = aggregate_log_density(out, self.dataset_size)
        return out.posterior.log_prob(out.z) - joint


class TotalCorrelation(_AggregateTerm):
    r"""The total correlation of the latents: the dependence between dimensions.

    .. math::

        TC = KL\Big(q(z) \,\Big\|\, \prod_d q(z_d)\Big)

    :math:`q(z)` and :math:`q(z_d)` are estimated from the batch by minibatch-weighted sampling. The
    estimate is too high by about :math:`(D - 1) \log N` nats, so its value is for training, and for
    comparison at equal batch and data-set size; see
    :func:`disvae.objectives.aggregate.aggregate_log_density`.

    Args:
        dataset_size: The number N of data points in the whole data set.

    Shape:
        ``sample_shape + (B,)``, in nats.

    Raises:
        ValueError: If the posterior has no marginals in closed form.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equations 2 and 3.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        joint, each = aggregate_log_density(out, self.dataset_size)
        return joint - each.sum(-1)


class DimensionwiseKL(_AggregateTerm):
    r"""The divergence of each latent dimension's aggregate from its prior, summed.

    .. math::

        \sum_d KL(q(z_d) \| p(z_d))

    Together with the mutual information and the total correlation it makes up the KL exactly, on
    the same samples: :math:`\log q(z|x) - \log p(z)`.

    Args:
        dataset_size: The number N of data points in the whole data set.

    Shape:
        ``sample_shape + (B,)``, in nats.

    Raises:
        ValueError: If the prior does not factorise, or the posterior has no marginals.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 2.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        if not is_factorised(out.prior):
            raise ValueError(
                f"Expected a prior with independent dimensions, but {type(out.prior).__name__} "
                f"does not factorise, so there is no dimension-wise KL; use terms.KL, or a "
                f"factorised prior such as priors.Normal."
            )
        _, each = aggregate_log_density(out, self.dataset_size)
        return (each - marginals(out.prior).log_prob(out.z)).sum(-1)
