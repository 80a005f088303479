r"""Posterior heads: modules that turn features into :math:`q(z|x)`.

A head is made as ``Head(features, latent_dim)`` and maps features ``(B, features)`` to a
distribution of batch shape ``(B,)`` and event shape ``(latent_dim,)``. Put any backbone before it:
``nn.Sequential(backbone, DiagonalNormal(512, 10))`` is an encoder.
"""

from disvae.posteriors.directions import PowerSpherical, RelaxedCategorical
from disvae.posteriors.flows import InverseAutoregressive
from disvae.posteriors.gaussian import DiagonalNormal, FullNormal, LowRankNormal
from disvae.posteriors.heavy import Laplace, StudentT
from disvae.posteriors.joint import Joint
from disvae.posteriors.points import Deterministic, Quantized

__all__ = [
    "Deterministic",
    "DiagonalNormal",
    "FullNormal",
    "InverseAutoregressive",
    "Joint",
    "Laplace",
    "LowRankNormal",
    "PowerSpherical",
    "Quantized",
    "RelaxedCategorical",
    "StudentT",
]
