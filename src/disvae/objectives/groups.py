"""Groups of latent dimensions: independence between them, and inside of each, weighted apart."""

from collections.abc import Sequence

from torch import Tensor, nn

from disvae.nn import check_groups
from disvae.objectives import terms
from disvae.objectives.aggregate import Estimator, grouped_log_density
from disvae.objectives.base import Weight, WeightedSum
from disvae.objectives.batches import whole_batch
from disvae.output import VAEOutput

Groups = Sequence[Sequence[int]]


class HFVAE(WeightedSum):
    r"""The hierarchically factorised VAE: the total correlation between groups and inside of them.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \alpha\,I_q(x; z)
        + \beta\,KL\Big(q(z) \Big\| \prod_g q(z_g)\Big)
        + \gamma \sum_g KL\Big(q(z_g) \Big\| \prod_{d \in g} q(z_d)\Big)
        + \delta \sum_d KL(q(z_d) \| p(z_d))

    Its terms are ``reconstruction``, ``mutual_information``, ``between_groups``, ``within_groups``
    and ``dimensionwise_kl``, in nats per datum. With all four weights 1 it is the ELBO with a
    sampled KL; with one group, or with groups of one dimension each, the β-TCVAE. The estimators
    are those of the β-TCVAE and have their bias, see :mod:`disvae.objectives.aggregate`; the
    weighted one is too high by about :math:`(G - 1)\log N` between G groups, and by
    :math:`(D - G)\log N` within. The prior must factorise.

    Args:
        groups: The dimensions of each group, such as ``[(0, 1), (2, 3, 4)]``; together all of them.
        dataset_size: The number of data points in the whole training set, not in a batch.
        alpha: The weight of the mutual information, a number or a schedule.
        beta: The weight of the total correlation between groups, a number or a schedule.
        gamma: The weight of the total correlation within groups, a number or a schedule.
        delta: The weight of the dimension-wise KL, a number or a schedule.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

    Raises:
        ValueError: If the groups do not take every dimension once, ``dataset_size`` is below 1,
            there is no such estimator, or a weight is negative, NaN or infinite.
        TypeError: If ``groups`` is no sequence of sequences of integers.

    Example:
        >>> print(HFVAE([(0, 1), (2, 3)], dataset_size=60_000, beta=6.0))
        reconstruction + mutual_information + 6·between_groups + within_groups + dimensionwise_kl

    References:
        Esmaeili et al., Structured Disentangled Representations, 2019,
        https://arxiv.org/abs/1804.02086.
    """

    paper = (
        "Esmaeili et al., Structured Disentangled Representations, 2019, "
        "https://arxiv.org/abs/1804.02086"
    )

    def __init__(
        self,
        groups: Groups,
        dataset_size: int,
        *,
        alpha: Weight = 1.0,
        beta: Weight,
        gamma: Weight = 1.0,
        delta: Weight = 1.0,
        estimator: Estimator = "weighted",
    ) -> None:
        given = groups, dataset_size, estimator
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            mutual_information=(alpha, _MutualInformation(*given)),
            between_groups=(beta, _BetweenGroups(*given)),
            within_groups=(gamma, _WithinGroups(*given)),
            dimensionwise_kl=(delta, _DimensionwiseKL(*given)),
        )


class _Grouped(nn.Module):
    """A term of the aggregate posterior, of which all terms share one computation with groups."""

    dataset_size: int
    estimator: Estimator

    def __init__(self, groups: Groups, dataset_size: int, estimator: Estimator) -> None:
        super().__init__(dataset_size, estimator)  # of the term that it is mixed into
        self.groups = check_groups(groups, "groups")

    def _log_q(self, out: VAEOutput) -> tuple[Tensor, Tensor]:
        joint, each, _ = self._log_q_of_groups(out)
        return joint, each

    def _log_q_of_groups(self, out: VAEOutput) -> tuple[Tensor, Tensor, Tensor]:
        dim = sum(map(len, self.groups))
        if out.z.shape[-1] != dim:
            raise ValueError(
                f"Expected groups of all {out.z.shape[-1]} latent dimensions, but they have "
                f"{dim} in all; put dimensions left over into groups of their own."
            )
        return grouped_log_density(out, self.groups, self.dataset_size, self.estimator)


class _MutualInformation(_Grouped, terms.MutualInformation):
    """The mutual information between data and latents."""


class _DimensionwiseKL(_Grouped, terms.DimensionwiseKL):
    """The divergence of each dimension's aggregate from its prior, summed."""


class _BetweenGroups(_Grouped, terms.TotalCorrelation):
    """The total correlation of groups: the dependence between them."""

    def forward(self, out: VAEOutput) -> Tensor:
        joint, _, of_groups = self._log_q_of_groups(whole_batch(out))
        return joint - of_groups.sum(-1)


class _WithinGroups(_Grouped, terms.TotalCorrelation):
    """The sum over groups of the total correlation of their dimensions."""

    def forward(self, out: VAEOutput) -> Tensor:
        _, each, of_groups = self._log_q_of_groups(whole_batch(out))
        return of_groups.sum(-1) - each.sum(-1)
