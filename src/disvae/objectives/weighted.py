"""Objectives that are weighted sums of terms: each is a thin constructor."""

from disvae.objectives import terms
from disvae.objectives.base import Weight, WeightedSum


class ELBO(WeightedSum):
    r"""The negative evidence lower bound.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + KL(q(z|x) \| p(z)) \ge -\log p(x)

    Its terms are ``reconstruction`` and ``kl``, in nats per datum.

    Example:
        >>> print(ELBO())
        reconstruction + kl

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114,
        equation 3.
    """

    def __init__(self) -> None:
        super().__init__(reconstruction=(1.0, terms.Reconstruction()), kl=(1.0, terms.KL()))


class Autoencoder(WeightedSum):
    r"""The reconstruction alone: a plain autoencoder.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)]

    It needs no density of posterior or prior, so it trains every pair of them, deterministic and
    quantised posteriors among them. The prior is not used. Its term is ``reconstruction``, in nats
    per datum.

    Example:
        >>> print(Autoencoder())
        reconstruction

    References:
        Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006,
        https://doi.org/10.1126/science.1127647.
    """

    def __init__(self) -> None:
        super().__init__(reconstruction=(1.0, terms.Reconstruction()))


class BetaVAE(WeightedSum):
    r"""The β-VAE: the KL weighted by β.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \beta\,KL(q(z|x) \| p(z))

    Its terms are ``reconstruction`` and ``kl``, in nats per datum. β is on disvae's scale: it
    multiplies the KL summed over latent dimensions, against log densities summed over pixels.

    Args:
        beta: The weight of the KL, a number or a schedule.

    Example:
        >>> print(BetaVAE(beta=4.0))
        reconstruction + 4·kl

    References:
        Higgins et al., β-VAE: Learning Basic Visual Concepts with a Constrained Variational
        Framework, 2017, https://openreview.net/forum?id=Sy2fzU9gl.
    """

    def __init__(self, beta: Weight) -> None:
        super().__init__(reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL()))


class BetaTCVAE(WeightedSum):
    r"""The β-TCVAE: the KL split in three, the total correlation weighted by β.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \alpha\,I_q(x; z)
        + \beta\,KL\Big(q(z) \Big\| \prod_d q(z_d)\Big) + \gamma \sum_d KL(q(z_d) \| p(z_d))

    Its terms are ``reconstruction``, ``mutual_information``, ``total_correlation`` and
    ``dimensionwise_kl``, in nats per datum. With all three weights 1 it is the ELBO with a sampled
    KL. :math:`q(z)` is estimated by minibatch-weighted sampling, the paper's choice.

    Args:
        dataset_size: The number of data points in the whole training set, not in a batch.
        alpha: The weight of the mutual information, a number or a schedule.
        beta: The weight of the total correlation, a number or a schedule.
        gamma: The weight of the dimension-wise KL, a number or a schedule.

    Raises:
        ValueError: If ``dataset_size`` is below 1 or a weight is negative, NaN or infinite.

    Example:
        >>> print(BetaTCVAE(dataset_size=60_000, beta=6.0))
        reconstruction + mutual_information + 6·total_correlation + dimensionwise_kl

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 4.
    """

    def __init__(
        self, dataset_size: int, *, alpha: Weight = 1.0, beta: Weight, gamma: Weight = 1.0
    ) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            mutual_information=(alpha, terms.MutualInformation(dataset_size)),
            total_correlation=(beta, terms.TotalCorrelation(dataset_size)),
            dimensionwise_kl=(gamma, terms.DimensionwiseKL(dataset_size)),
        )
