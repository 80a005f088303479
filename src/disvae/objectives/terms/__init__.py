"""Terms: modules from one pass to a cost, ``VAEOutput -> (..., B)`` or a scalar, in nats.

A term is called as ``term(out)``, or as ``term(out, step)`` if its ``forward`` takes a ``step``.
Terms of batch statistics see the batches of all processes, with gradient.
"""

from disvae.objectives.terms.adversarial import (
    AdversarialDivergence,
    AdversarialTotalCorrelation,
)
from disvae.objectives.terms.aggregate import (
    AggregateKL,
    DimensionwiseKL,
    MutualInformation,
    TotalCorrelation,
)
from disvae.objectives.terms.capacity import Capacity, FreeBits
from disvae.objectives.terms.discrepancy import MMD, PerDimensionMMD, SlicedWasserstein
from disvae.objectives.terms.divergence import KL, InclusiveKL
from disvae.objectives.terms.likelihood import OptimalSigmaReconstruction, Reconstruction
from disvae.objectives.terms.penalties import (
    CovariancePenalty,
    JacobianOrthogonality,
    Sparsity,
    hoyer,
    l1,
)
from disvae.objectives.terms.supervised import Classification

__all__ = [
    "KL",
    "MMD",
    "AdversarialDivergence",
    "AdversarialTotalCorrelation",
    "AggregateKL",
    "Capacity",
    "Classification",
    "CovariancePenalty",
    "DimensionwiseKL",
    "FreeBits",
    "InclusiveKL",
    "JacobianOrthogonality",
    "MutualInformation",
    "OptimalSigmaReconstruction",
    "PerDimensionMMD",
    "Reconstruction",
    "SlicedWasserstein",
    "Sparsity",
    "TotalCorrelation",
    "hoyer",
    "l1",
]
