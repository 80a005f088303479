r"""Objectives: weighted sums of named terms, on one scale.

**Scale.** Log densities are in nats, summed over the event and over latent dimensions, and averaged
over samples and batch, last and once. Terms are costs: lower is better. So
:math:`\beta` multiplies the KL summed over latent dimensions against :math:`\log p(x|z)` summed
over pixels.

An objective is a module called as ``objective(model, x, context=None, step=None)``. It returns
:class:`Losses`, and never calls an optimiser.
"""

from disvae.objectives import kernels, schedules, terms
from disvae.objectives.adversarial import AdversarialAutoencoder, FactorVAE
from disvae.objectives.base import Losses, Objective, WeightedSum
from disvae.objectives.constrained import GECO, ControlVAE
from disvae.objectives.conversion import convert_beta
from disvae.objectives.groups import HFVAE
from disvae.objectives.importance import CIWAE, IWAE, MIWAE, DReG
from disvae.objectives.matching import DIPVAE, WAE, Decomposition, InfoVAE
from disvae.objectives.pairs import AdaGVAE, AdaMLVAE, SlowVAE
from disvae.objectives.semi_supervised import SemiSupervisedVAE
from disvae.objectives.weighted import (
    ELBO,
    Autoencoder,
    BetaTCVAE,
    BetaVAE,
    CapacityVAE,
    JointVAE,
)

__all__ = [
    "CIWAE",
    "DIPVAE",
    "ELBO",
    "GECO",
    "HFVAE",
    "IWAE",
    "MIWAE",
    "WAE",
    "AdaGVAE",
    "AdaMLVAE",
    "AdversarialAutoencoder",
    "Autoencoder",
    "BetaTCVAE",
    "BetaVAE",
    "CapacityVAE",
    "ControlVAE",
    "DReG",
    "Decomposition",
    "FactorVAE",
    "InfoVAE",
    "JointVAE",
    "Losses",
    "Objective",
    "SemiSupervisedVAE",
    "SlowVAE",
    "WeightedSum",
    "convert_beta",
    "kernels",
    "schedules",
    "terms",
]
