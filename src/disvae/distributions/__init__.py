r"""What ``torch.distributions`` lacks for variational autoencoders.

Divergences that are closed or estimated by one rule (:func:`kl`), summaries of any distribution
(:func:`point`, :func:`quantile`, :func:`marginals`) and replaceable noise (:func:`noise`).
"""

from disvae.distributions import constraints
from disvae.distributions.bounded import ContinuousBernoulli, SqueezedBeta
from disvae.distributions.counts import NegativeBinomial, Poisson
from disvae.distributions.discrete import Categorical, DiscretizedLogistic
from disvae.distributions.divergence import has_closed_form, kl, log_ratio
from disvae.distributions.families import Bernoulli, Laplace, Normal
from disvae.distributions.joint import Delta, Joint
from disvae.distributions.linear_map import LinearMap
from disvae.distributions.lp import LpSpherical
from disvae.distributions.mixtures import GaussianMixture, Mixture, equal_mixture
from disvae.distributions.multivariate import LowRankMultivariateNormal, MultivariateNormal
from disvae.distributions.noise import noise, replace_noise, seeded
from disvae.distributions.pushforward import PushedNormal, Pushforward, is_factorised, pushforward
from disvae.distributions.relaxed import RelaxedCategorical
from disvae.distributions.shaped import GeneralizedNormal, StudentT
from disvae.distributions.spherical import HypersphericalUniform, PowerSpherical
from disvae.distributions.summaries import marginals, point, quantile
from disvae.distributions.wrapping import base_of, is_normal

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "Delta",
    "DiscretizedLogistic",
    "GaussianMixture",
    "GeneralizedNormal",
    "HypersphericalUniform",
    "Joint",
    "Laplace",
    "LinearMap",
    "LowRankMultivariateNormal",
    "LpSpherical",
    "Mixture",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "PowerSpherical",
    "PushedNormal",
    "Pushforward",
    "RelaxedCategorical",
    "SqueezedBeta",
    "StudentT",
    "base_of",
    "constraints",
    "equal_mixture",
    "has_closed_form",
    "is_factorised",
    "is_normal",
    "kl",
    "log_ratio",
    "marginals",
    "noise",
    "point",
    "pushforward",
    "quantile",
    "replace_noise",
    "seeded",
]
