r"""Objectives: weighted sums of named terms, on one scale.

**Scale.** Log densities are in nats, summed over the event and over latent dimensions, and averaged
over samples and batch, last and once. Terms are costs: lower is better. So
:math:`\beta` multiplies the KL summed over latent dimensions against :math:`\log p(x|z)` summed
over pixels.

An objective is a module called as ``objective(model, x, context=None, step=None)``. It returns
:class:`Losses`, and never calls an optimiser.
"""

from disvae.objectives import schedules, terms
from disvae.objectives.base import Losses, Objective, WeightedSum
from disvae.objectives.weighted import ELBO, Autoencoder, BetaTCVAE, BetaVAE

__all__ = [
    "ELBO",
    "Autoencoder",
    "BetaTCVAE",
    "BetaVAE",
    "Losses",
    "Objective",
    "WeightedSum",
    "schedules",
    "terms",
]
