"""One forward pass of a model: what the terms of an objective read."""

import dataclasses

from torch import Tensor
from torch.distributions import Distribution

from disvae.distributions import is_factorised, marginals


@dataclasses.dataclass(frozen=True, eq=False)
class VAEOutput:
    r"""One forward pass: all that a term of an objective may read.

    Attributes:
        x: The data, ``(B, *event)``.
        z: Samples of the posterior, ``sample_shape + (B, D)``.
        posterior: :math:`q(z|x)`, batch shape ``(B,)``, event shape ``(D,)``.
        prior: :math:`p(z)`, batch shape ``()`` or ``(B,)``, event shape ``(D,)``.
        likelihood: :math:`p(x|z)`, batch shape ``sample_shape + (B,)``, event that of ``x``.
        context: What the parts were conditioned on, ``(B, C)``, or None.
    """

    x: Tensor
    z: Tensor
    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    context: Tensor | None = None

    # functools.cached_property takes a lock, which torch.compile cannot trace
    _cache: dict[str, tuple[Tensor, Tensor]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def pairwise_log_densities(self) -> tuple[Tensor, Tensor]:
        r"""Log densities of every sample under every posterior of the batch.

        Computed once for each pass, for all the terms that need the aggregate posterior.

        Shape:
            :math:`\log q(z_i|x_j)` as ``sample_shape + (B, B)`` and :math:`\log q(z_{i,d}|x_j)` as
            ``sample_shape + (B, B, D)``, indexed i, j, d.

        Raises:
            ValueError: If the posterior has no marginals in closed form.
        """
        if "pairwise" not in self._cache:
            z = self.z.unsqueeze(-2)
            each = marginals(self.posterior).log_prob(z)
            joint = each.sum(-1) if is_factorised(self.posterior) else self.posterior.log_prob(z)
            self._cache["pairwise"] = joint, each
        return self._cache["pairwise"]

    @property
    def aggregate_log_sums(self) -> tuple[Tensor, Tensor]:
        r"""Log sums of the posteriors of the batch at every sample.

        Computed once for each pass, as the pairwise log densities are.

        Shape:
            :math:`\log \sum_j q(z_i|x_j)` as ``sample_shape + (B,)`` and
            :math:`\log \sum_j q(z_{i,d}|x_j)` as ``sample_shape + (B, D)``.

        Raises:
            ValueError: If the posterior has no marginals in closed form.
        """
        if "aggregate" not in self._cache:
            joint, each = self.pairwise_log_densities
            self._cache["aggregate"] = joint.logsumexp(-1), each.logsumexp(-2)
        return self._cache["aggregate"]
