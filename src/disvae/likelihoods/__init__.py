r"""Likelihood heads: modules that turn a decoder's output into :math:`p(x|z)`.

A head is made as ``Head(data_shape)``. Its ``channels`` says how many channels it wants: for data
of shape ``(C, H, W)`` the decoder's network gives ``(..., channels, H, W)``, for vectors ``(n,)``
it gives ``(..., channels)``. A head of one's own without that attribute is given the data's shape.

===================  ==================================  ============================
data                 head                                log probability
===================  ==================================  ============================
binary               ``Bernoulli``                       mass
grey, in [0, 1]      ``ContinuousBernoulli``, ``Beta``   density
grey, in [0, 1]      ``Bernoulli``                       cross-entropy, no density
k/255, in [0, 1]     ``DiscretizedLogistic``             mass
real                 ``Normal``, ``Laplace``,            density
                     ``StudentT``
class numbers        ``Categorical``                     mass
counts               ``Poisson``, ``NegativeBinomial``   mass
===================  ==================================  ============================

All but one are normalised, and :func:`bits_per_dim` brings them to one unit.
"""

from disvae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from disvae.likelihoods.beta import Beta
from disvae.likelihoods.bits import bits_per_dim
from disvae.likelihoods.counts import NegativeBinomial, Poisson
from disvae.likelihoods.discrete import Categorical, DiscretizedLogistic
from disvae.likelihoods.location_scale import Laplace, Normal, StudentT

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Laplace",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "StudentT",
    "bits_per_dim",
]
