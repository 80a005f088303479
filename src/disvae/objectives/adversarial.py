"""Weighted sums with an adversary: FactorVAE and the adversarial autoencoder."""

from collections.abc import Sequence

from disvae.objectives import terms
from disvae.objectives.base import Weight, WeightedSum


class FactorVAE(WeightedSum):
    r"""FactorVAE: the ELBO and a total correlation that a discriminator estimates.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + KL(q(z|x) \| p(z))
        + \gamma\,KL\Big(q(z) \Big\| \prod_d q(z_d)\Big)

    Its terms are ``reconstruction``, ``kl`` and ``total_correlation``, in nats per datum, and
    ``total_correlation_auxiliary``, the discriminator's own loss. That loss is part of the total
    as it is, whatever :math:`\gamma`, and its gradient reaches the discriminator only; so one
    optimiser moves both, from one pass of the model. The paper updates them in turn, the
    discriminator on a second batch (see
    :class:`disvae.objectives.terms.AdversarialTotalCorrelation`).
    With ``gamma=0`` it is the ELBO beside a discriminator that measures.

    Args:
        latent_dim: The number D of latent dimensions.
        gamma: The weight of the total correlation, a number or a schedule. (The paper has values
            up to 100 on binary pictures of 64x64 pixels.)
        hidden: The widths of the discriminator's hidden layers; the paper's by default.

    Raises:
        ValueError: If a size is below 1, or ``gamma`` is negative, NaN or infinite.

    Example:
        The discriminator has settings of its own in the paper: the learning rate 1e-4, and the
        momenta 0.5 and 0.9.

        >>> import torch, disvae
        >>> from disvae import decoders, encoders, objectives, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> objective = objectives.FactorVAE(latent_dim=2, gamma=35.0, hidden=(64, 64))
        >>> print(objective)
        reconstruction + kl + 35·total_correlation
        >>> train = disvae.TrainStep(model, objective)
        >>> adversary = objective.terms["total_correlation"].discriminator
        >>> groups = disvae.param_groups(train, {adversary: {"lr": 1e-4, "betas": (0.5, 0.9)}})
        >>> optimizer = torch.optim.Adam(groups, lr=1e-3)

    References:
        Kim and Mnih, Disentangling by Factorising, 2018, https://arxiv.org/abs/1802.05983,
        equation 2 and algorithm 2.
    """

    paper = "Kim and Mnih, Disentangling by Factorising, 2018, https://arxiv.org/abs/1802.05983"

    def __init__(
        self, latent_dim: int, *, gamma: Weight, hidden: Sequence[int] = (1000,) * 6
    ) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            kl=(1.0, terms.KL()),
            total_correlation=(gamma, terms.AdversarialTotalCorrelation(latent_dim, hidden)),
        )


class AdversarialAutoencoder(WeightedSum):
    r"""The adversarial autoencoder, and WAE-GAN: latents that pass for samples of the prior.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \lambda\,E_{q(z)}[-\log D(z)]

    Its terms are ``reconstruction`` and ``divergence``, in nats per datum, and
    ``divergence_auxiliary``, the own loss of the discriminator D, which is part of the total as it
    is. It needs no density of posterior or prior, so it trains every pair of them that samples;
    with a deterministic posterior it is the usual form of both papers. The papers update model and
    discriminator in turn; here one optimiser moves both.

    Args:
        latent_dim: The number D of latent dimensions.
        weight: The weight :math:`\lambda` of the divergence, a number or a schedule. It weighs
            against log densities summed over pixels. (The AAE takes turns, which a weight does not
            show; WAE-GAN has 10 against the squared error, which is 5 here, where a normal
            likelihood of unit variance halves the square.)
        hidden: The widths of the discriminator's hidden layers; the AAE's by default.

    Raises:
        ValueError: If a size is below 1, or ``weight`` is negative, NaN or infinite.

    Example:
        >>> print(AdversarialAutoencoder(latent_dim=10, weight=5.0))
        reconstruction + 5·divergence

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, https://arxiv.org/abs/1511.05644.
        Tolstikhin et al., Wasserstein Auto-Encoders, 2018, https://arxiv.org/abs/1711.01558.
    """

    paper = "Makhzani et al., Adversarial Autoencoders, 2015, https://arxiv.org/abs/1511.05644"

    def __init__(
        self, latent_dim: int, *, weight: Weight, hidden: Sequence[int] = (1000, 1000)
    ) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            divergence=(weight, terms.AdversarialDivergence(latent_dim, hidden)),
        )
