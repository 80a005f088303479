r"""What ``torch.distributions`` lacks for variational autoencoders.

Divergences that are closed or estimated by one rule (:func:`kl`), summaries of any distribution
(:func:`point`, :func:`quantile`, :func:`marginals`) and replaceable noise (:func:`noise`).
"""

from disvae.distributions.divergence import has_closed_form, kl
from disvae.distributions.families import Bernoulli, Laplace, Normal
from disvae.distributions.noise import noise, replace_noise
from disvae.distributions.summaries import is_factorised, marginals, point, quantile

__all__ = [
    "Bernoulli",
    "Laplace",
    "Normal",
    "has_closed_form",
    "is_factorised",
    "kl",
    "marginals",
    "noise",
    "point",
    "quantile",
    "replace_noise",
]
