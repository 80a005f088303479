r"""Priors: modules whose ``forward(context=None)`` returns :math:`p(z)`.

The batch shape is ``()``, or ``(B,)`` where the prior depends on a context. A prior of one's own is
any ``nn.Module`` that does the same; flows of zuko do so unmodified.
"""

from disvae.priors.categorical import Categorical
from disvae.priors.gaussian import FullNormal, GaussianGraph
from disvae.priors.joint import Joint, Subspaces
from disvae.priors.location_scale import GeneralizedNormal, Laplace, StudentT
from disvae.priors.mixtures import Mixture, Sparse
from disvae.priors.normal import ClassConditional, Normal
from disvae.priors.spherical import HypersphericalUniform, LpSpherical
from disvae.priors.tree import TreeMixture
from disvae.priors.vamp import Vamp

__all__ = [
    "Categorical",
    "ClassConditional",
    "FullNormal",
    "GaussianGraph",
    "GeneralizedNormal",
    "HypersphericalUniform",
    "Joint",
    "Laplace",
    "LpSpherical",
    "Mixture",
    "Normal",
    "Sparse",
    "StudentT",
    "Subspaces",
    "TreeMixture",
    "Vamp",
]
