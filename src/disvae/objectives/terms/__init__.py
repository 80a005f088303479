"""Terms: modules from one pass to a cost, ``VAEOutput -> (..., B)`` or a scalar, in nats.

A term is called as ``term(out)``, or as ``term(out, step)`` if its ``forward`` takes a ``step``.
Terms of batch statistics see the batches of all processes, with gradient.
"""

from disvae.objectives.terms.aggregate import (
    AggregateKL,
    DimensionwiseKL,
    MutualInformation,
    TotalCorrelation,
)
from disvae.objectives.terms.divergence import KL
from disvae.objectives.terms.likelihood import Reconstruction

__all__ = [
    "KL",
    "AggregateKL",
    "DimensionwiseKL",
    "MutualInformation",
    "Reconstruction",
    "TotalCorrelation",
]
