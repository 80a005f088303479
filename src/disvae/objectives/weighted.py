"""Objectives that are weighted sums of terms: each is a thin constructor."""

from collections.abc import Sequence
from typing import Any

from disvae.objectives import terms
from disvae.objectives.aggregate import Estimator
from disvae.objectives.base import Weight, WeightedSum
from disvae.objectives.schedules import Schedule


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

    paper = (
        "Kingma and Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114"
    )

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

    paper = (
        "Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006, "
        "https://doi.org/10.1126/science.1127647"
    )

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

    paper = (
        "Higgins et al., β-VAE: Learning Basic Visual Concepts with a Constrained Variational "
        "Framework, 2017, https://openreview.net/forum?id=Sy2fzU9gl"
    )

    def __init__(self, beta: Weight) -> None:
        super().__init__(reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL()))


class BetaTCVAE(WeightedSum):
    r"""The β-TCVAE: the KL split in three, the total correlation weighted by β.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \alpha\,I_q(x; z)
        + \beta\,KL\Big(q(z) \Big\| \prod_d q(z_d)\Big) + \gamma \sum_d KL(q(z_d) \| p(z_d))

    Its terms are ``reconstruction``, ``mutual_information``, ``total_correlation`` and
    ``dimensionwise_kl``, in nats per datum. With all three weights 1 it is the ELBO with a sampled
    KL. :math:`q(z)` is estimated by minibatch-weighted sampling, the paper's choice, unless another
    estimator is named; see :mod:`disvae.objectives.aggregate` for the bias of each.

    Args:
        dataset_size: The number of data points in the whole training set, not in a batch.
        alpha: The weight of the mutual information, a number or a schedule.
        beta: The weight of the total correlation, a number or a schedule.
        gamma: The weight of the dimension-wise KL, a number or a schedule.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

    Raises:
        ValueError: If ``dataset_size`` is below 1, a weight is negative, NaN or infinite, or there
            is no such estimator.

    Example:
        >>> print(BetaTCVAE(dataset_size=60_000, beta=6.0))
        reconstruction + mutual_information + 6·total_correlation + dimensionwise_kl

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 4.
    """

    paper = (
        "Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018, "
        "https://arxiv.org/abs/1802.04942"
    )

    def __init__(
        self,
        dataset_size: int,
        *,
        alpha: Weight = 1.0,
        beta: Weight,
        gamma: Weight = 1.0,
        estimator: Estimator = "weighted",
    ) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            mutual_information=(alpha, terms.MutualInformation(dataset_size, estimator)),
            total_correlation=(beta, terms.TotalCorrelation(dataset_size, estimator)),
            dimensionwise_kl=(gamma, terms.DimensionwiseKL(dataset_size, estimator)),
        )


class CapacityVAE(WeightedSum):
    r"""The capacity-controlled β-VAE: the KL is held at a capacity C that grows while training.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \gamma\,\Big|\overline{KL(q(z|x) \| p(z))} - C(t)\Big|

    Its terms are ``reconstruction`` and ``capacity``, the distance of the batch's mean KL from C,
    in nats per datum.

    Args:
        gamma: The weight of that distance, large enough to hold the KL there.
        capacity: C in nats, a number or a schedule.

    Example:
        >>> from disvae.objectives import schedules
        >>> print(CapacityVAE(gamma=100.0, capacity=schedules.Linear(0.0, 25.0, steps=100_000)))
        reconstruction + 100·|kl - Linear(0.0 → 25.0, 100000 steps)|

    References:
        Burgess et al., Understanding Disentangling in β-VAE, 2018,
        https://arxiv.org/abs/1804.03599, equation 8.
    """

    paper = (
        "Burgess et al., Understanding Disentangling in β-VAE, 2018, "
        "https://arxiv.org/abs/1804.03599"
    )

    def __init__(self, gamma: Weight, capacity: float | Schedule) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            capacity=(gamma, terms.Capacity(capacity)),
        )

    def __str__(self) -> str:
        return f"reconstruction + {_distance(self, 'capacity', 'kl')}"


class JointVAE(WeightedSum):
    r"""The joint VAE: capacities of their own for continuous and for categorical latents.

    .. math::

        L = E[-\log p(x|z, c)] + \gamma\,\Big|\overline{KL(q(z|x) \| p(z))} - C_z(t)\Big|
        + \gamma\,\Big|\overline{KL(q(c|x) \| p(c))} - C_c(t)\Big|

    Posterior and prior are joint distributions of the same blocks, ``posteriors.Joint`` and
    ``priors.Joint``. The KL of a relaxed categorical block is that of its categories in closed
    form, as published, and at most log K for a uniform prior: a larger :math:`C_c` than the sum of
    these cannot be reached. Its terms are ``reconstruction``, ``continuous_capacity`` and
    ``discrete_capacity``, the distances from the capacities, in nats per datum.

    Args:
        gamma: The weight of both distances, a number or a schedule.
        continuous_capacity: :math:`C_z` in nats, a number or a schedule.
        discrete_capacity: :math:`C_c` in nats, a number or a schedule.
        continuous: The numbers of the continuous blocks.
        discrete: The numbers of the relaxed categorical blocks.

    Example:
        >>> print(JointVAE(gamma=30.0, continuous_capacity=5.0, discrete_capacity=2.3))
        reconstruction + 30·|kl_continuous - 5| + 30·|kl_discrete - 2.3|

    References:
        Dupont, Learning Disentangled Joint Continuous and Discrete Representations, 2018,
        https://arxiv.org/abs/1804.00104.
    """

    paper = (
        "Dupont, Learning Disentangled Joint Continuous and Discrete Representations, 2018, "
        "https://arxiv.org/abs/1804.00104"
    )

    def __init__(
        self,
        gamma: Weight,
        continuous_capacity: float | Schedule,
        discrete_capacity: float | Schedule,
        *,
        continuous: Sequence[int] = (0,),
        discrete: Sequence[int] = (1,),
    ) -> None:
        for blocks in (continuous, discrete):
            if not isinstance(blocks, Sequence):
                raise TypeError(
                    f"Expected continuous and discrete to be sequences of numbers of blocks, but "
                    f"got {type(blocks).__name__}; write e.g. continuous=(0,), discrete=(1,)."
                )
        if set(continuous) & set(discrete):
            raise ValueError(
                f"Expected each block to be continuous or discrete, but got {tuple(continuous)} "
                f"and {tuple(discrete)}; count the blocks from 0."
            )
        z = terms.Capacity(continuous_capacity, blocks=continuous)
        c = terms.Capacity(discrete_capacity, blocks=discrete, categories=True)
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            continuous_capacity=(gamma, z),
            discrete_capacity=(gamma, c),
        )

    def __str__(self) -> str:
        continuous = _distance(self, "continuous_capacity", "kl_continuous")
        return (
            f"reconstruction + {continuous} + {_distance(self, 'discrete_capacity', 'kl_discrete')}"
        )


def _distance(objective: WeightedSum, name: str, divergence: str) -> str:
    """A capacity term as it stands in the formula."""
    term: Any = objective.terms[name]
    return f"{_shown(objective.weights[name])}·|{divergence} - {_shown(term.target)}|"


def _shown(weight: Weight) -> str:
    return str(weight) if callable(weight) else f"{weight:g}"
