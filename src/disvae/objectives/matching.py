"""Weighted sums that match the aggregate posterior, or its covariance, with the prior."""

from torch import nn

from disvae.objectives import terms
from disvae.objectives.base import Weight, WeightedSum
from disvae.objectives.terms.penalties import Variant


class Decomposition(WeightedSum):
    r"""The decomposition objective: β controls overlap, α the structure of the aggregate posterior.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \beta\,KL(q(z|x) \| p(z)) + \alpha\,D(q(z), p(z))

    Its terms are ``reconstruction``, ``kl`` and ``divergence``. α is per datum, on β's footing.

    Args:
        beta: The weight of the KL, a number or a schedule.
        alpha: The weight of the divergence, a number or a schedule.
        divergence: Any term that compares the aggregate posterior with the prior; the paper takes
            ``terms.InclusiveKL()`` or ``terms.PerDimensionMMD()``.

    Example:
        >>> from disvae.objectives import terms
        >>> print(Decomposition(beta=0.5, alpha=3.0, divergence=terms.AggregateKL(400, "batch")))
        reconstruction + 0.5·kl + 3·divergence

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833.
    """

    paper = (
        "Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019, "
        "https://arxiv.org/abs/1812.02833"
    )

    def __init__(self, *, beta: Weight, alpha: Weight, divergence: nn.Module) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            kl=(beta, terms.KL()),
            divergence=(alpha, divergence),
        )


class InfoVAE(WeightedSum):
    r"""The InfoVAE: the ELBO with more mutual information between data and latents.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + (1 - \alpha)\,KL(q(z|x) \| p(z))
        + (\alpha + \lambda - 1)\,D(q(z) \| p(z))

    With D the aggregate KL, it is the ELBO with :math:`-\alpha\,I_q(x; z)` and
    :math:`(\lambda - 1)\,KL(q(z) \| p(z))` added. Its terms are ``reconstruction``, ``kl`` and
    ``divergence``.

    Args:
        alpha: How much mutual information is asked for, at most 1; at 0, with λ = 1, it is the
            ELBO, and at 1 there is no KL of single posteriors (the MMD-VAE).
        lambda_: The weight λ of the aggregate posterior's divergence, at least 1 - α.
        divergence: Any term that compares the aggregate posterior with the prior; the paper takes
            ``terms.MMD(...)``.

    Raises:
        ValueError: If a weight would be negative, NaN or infinite.

    Example:
        >>> from disvae.objectives import terms
        >>> print(InfoVAE(alpha=0.5, lambda_=10.0, divergence=terms.AggregateKL(400, "batch")))
        reconstruction + 0.5·kl + 9.5·divergence

    References:
        Zhao, Song and Ermon, InfoVAE: Information Maximizing Variational Autoencoders, 2017,
        https://arxiv.org/abs/1706.02262.
    """

    paper = (
        "Zhao, Song and Ermon, InfoVAE: Information Maximizing Variational Autoencoders, 2017, "
        "https://arxiv.org/abs/1706.02262"
    )

    def __init__(self, alpha: float, lambda_: float, divergence: nn.Module) -> None:
        for name, value in (("alpha", alpha), ("lambda_", lambda_)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(
                    f"Expected {name} to be a number, but got {type(value).__name__}; "
                    f"for a schedule write objectives.WeightedSum with its own weights."
                )
        if not (alpha <= 1 <= alpha + lambda_):
            raise ValueError(
                f"Expected alpha of at most 1 and alpha + lambda_ of at least 1, so that no weight "
                f"is negative, but got {alpha:g} and {lambda_:g}; take e.g. alpha=0, lambda_=10."
            )
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            kl=(1 - alpha, terms.KL()),
            divergence=(alpha + lambda_ - 1, divergence),
        )


class WAE(WeightedSum):
    r"""The Wasserstein autoencoder: only the aggregate posterior is compared with the prior.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + w\,D(q(z), p(z))

    The paper's cost is a squared error, which is the reconstruction under ``likelihoods.Normal`` of
    scale :math:`\sqrt{1/2}`, up to a constant. Posteriors may be deterministic. Its terms are
    ``reconstruction`` and ``divergence``.

    Args:
        weight: The weight w of the divergence, a number or a schedule.
        divergence: Any term that compares samples of the aggregate posterior with the prior: the
            paper takes ``terms.MMD(...)`` with an inverse multiquadratic kernel, or an adversary,
            ``terms.AdversarialDivergence(...)``.

    Example:
        >>> from disvae.objectives import terms
        >>> print(WAE(weight=10.0, divergence=terms.AggregateKL(400, "batch")))
        reconstruction + 10·divergence

    References:
        Tolstikhin et al., Wasserstein Auto-Encoders, 2018, https://arxiv.org/abs/1711.01558,
        equation 4.
    """

    paper = "Tolstikhin et al., Wasserstein Auto-Encoders, 2018, https://arxiv.org/abs/1711.01558"

    def __init__(self, weight: Weight, divergence: nn.Module) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()), divergence=(weight, divergence)
        )


class DIPVAE(WeightedSum):
    r"""The DIP-VAE: the covariance of the codes is drawn to the identity.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + KL(q(z|x) \| p(z))
        + \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2

    C is the covariance of the posterior means in variant I, of the aggregate posterior in variant
    II, see :class:`terms.CovariancePenalty <disvae.objectives.terms.CovariancePenalty>`. Its terms
    are ``reconstruction``, ``kl``, ``off_diagonal`` and ``diagonal``.

    Args:
        variant: ``"I"`` or ``"II"``.
        lambda_od: The weight of the off-diagonal part, a number or a schedule.
        lambda_d: The weight of the diagonal part, a number or a schedule. The paper takes
            :math:`10\lambda_{od}` in variant I and :math:`\lambda_{od}` in variant II.

    Example:
        >>> print(DIPVAE("II", lambda_od=10.0, lambda_d=5.0))
        reconstruction + kl + 10·off_diagonal + 5·diagonal

    References:
        Kumar, Sattigeri and Balakrishnan, Variational Inference of Disentangled Latent Concepts
        from Unlabeled Observations, 2018, https://arxiv.org/abs/1711.00848, equations 6 and 7.
    """

    paper = (
        "Kumar, Sattigeri and Balakrishnan, Variational Inference of Disentangled Latent Concepts "
        "from Unlabeled Observations, 2018, https://arxiv.org/abs/1711.00848"
    )

    def __init__(self, variant: Variant, *, lambda_od: Weight, lambda_d: Weight) -> None:
        off_diagonal = terms.CovariancePenalty(variant, diagonal=0.0)
        diagonal = terms.CovariancePenalty(variant, off_diagonal=0.0)
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            kl=(1.0, terms.KL()),
            off_diagonal=(lambda_od, off_diagonal),
            diagonal=(lambda_d, diagonal),
        )
