"""Terms of the aggregate posterior: mutual information, total correlation, dimension-wise KL."""

from torch import Tensor, nn

from disvae.distributions import is_factorised, marginals
from disvae.distributions.supports import check_supports
from disvae.nn import check_int
from disvae.objectives.aggregate import Estimator, aggregate_log_density, check_estimator
from disvae.objectives.batches import whole_batch
from disvae.output import VAEOutput


class _AggregateTerm(nn.Module):
    """A term that compares with the aggregate posterior of the whole data set."""

    def __init__(self, dataset_size: int, estimator: Estimator = "weighted") -> None:
        super().__init__()
        self.dataset_size = check_int(dataset_size, "dataset_size")
        self.estimator = check_estimator(estimator)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"dataset_size={self.dataset_size}, estimator={self.estimator!r}"

    def _log_q(self, out: VAEOutput) -> tuple[Tensor, Tensor]:
        return aggregate_log_density(out, self.dataset_size, self.estimator)


class MutualInformation(_AggregateTerm):
    r"""The index-code mutual information between data and latents.

    .. math::

        I_q(x; z) = E[\log q(z|x) - \log q(z)], \quad q(z) = \tfrac1N \sum_n q(z|x_n)

    :math:`q(z)` is estimated from the batch, see :mod:`disvae.objectives.aggregate` for the
    estimators and their bias. An estimate from a batch of B data cannot exceed
    :math:`\log B` ("batch"), or rises to :math:`\log N` ("stratified"); the weighted one is too
    high by about :math:`\log N`.

    Args:
        dataset_size: The number N of data points in the whole data set.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

    Shape:
        ``sample_shape + (B,)``, in nats.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, equation 2. Hoffman and Johnson, ELBO surgery, 2016,
        http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        out = whole_batch(out)
        return out.posterior.log_prob(out.z) - self._log_q(out)[0]


class TotalCorrelation(_AggregateTerm):
    r"""The total correlation of the latents: the dependence between dimensions.

    .. math::

        TC = KL\Big(q(z) \,\Big\|\, \prod_d q(z_d)\Big)

    :math:`q(z)` and :math:`q(z_d)` are estimated from the batch, see
    :mod:`disvae.objectives.aggregate` for the estimators. The weighted estimate is too high by
    about :math:`(D - 1) \log N` nats, so its value is for training, and for comparison at equal
    batch and data-set size.

    Args:
        dataset_size: The number N of data points in the whole data set.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

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
        joint, each = self._log_q(whole_batch(out))
        return joint - each.sum(-1)


class DimensionwiseKL(_AggregateTerm):
    r"""The divergence of each latent dimension's aggregate from its prior, summed.

    .. math::

        \sum_d KL(q(z_d) \| p(z_d))

    Together with the mutual information and the total correlation it makes up the KL exactly, on
    the same samples and with the same estimator: :math:`\log q(z|x) - \log p(z)`. For a prior
    that does not factorise the split is in two: :class:`MutualInformation` and
    :class:`AggregateKL`.

    Args:
        dataset_size: The number N of data points in the whole data set.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

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
                f"does not factorise, so there is no dimension-wise KL; use terms.AggregateKL, or "
                f"a factorised prior such as priors.Normal."
            )
        out = whole_batch(out)
        _, each = self._log_q(out)
        return (each - marginals(out.prior).log_prob(out.z)).sum(-1)


class AggregateKL(_AggregateTerm):
    r"""The divergence of the aggregate posterior from the prior, for any prior with a density.

    .. math::

        KL(q(z) \| p(z)) = E[\log q(z) - \log p(z)]

    With the mutual information it makes up the KL exactly; for a factorised prior it is the sum of
    total correlation and dimension-wise KL.

    Args:
        dataset_size: The number N of data points in the whole data set.
        estimator: ``"weighted"``, ``"stratified"``, ``"batch"`` or ``"leave-one-out"``.

    Shape:
        ``sample_shape + (B,)``, in nats.

    References:
        Hoffman and Johnson, ELBO surgery, 2016,
        http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        out = whole_batch(out)
        check_supports(out.posterior, out.prior)
        return self._log_q(out)[0] - out.prior.log_prob(out.z)
