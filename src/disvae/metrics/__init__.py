r"""Disentanglement metrics on plain arrays: numpy and scipy, no model and no renderer.

Every metric is a function ``metric(codes, factors, *, discrete=None, rng=0, ...)`` of two arrays:
``codes`` of shape ``(N, D)``, one row per data point, and ``factors`` of shape ``(N, K)``, the
ground truth of the same rows. It returns a float that carries its details:

    >>> import numpy as np
    >>> from disvae import metrics
    >>> factors = np.random.default_rng(0).integers(5, size=(1000, 3))
    >>> score = metrics.mig(codes=-2.0 * factors, factors=factors)
    >>> print(f"{score:.3f}", score.provenance["bins"], score.per_factor.shape)
    0.995 20 (3,)

:func:`report` puts several of them in a table beside their chance levels, and
:func:`carried_factors` names the factor that each code carries.
"""

from disvae.metrics.carried import carried_factors
from disvae.metrics.factor_vae import FactorVAEScore, factor_vae_score
from disvae.metrics.findings import FactorRow, MetricRow, Report
from disvae.metrics.gap import MIGScore, mig
from disvae.metrics.reporting import report
from disvae.metrics.score import NotDefinedError, Score

__all__ = [
    "FactorRow",
    "FactorVAEScore",
    "MIGScore",
    "MetricRow",
    "NotDefinedError",
    "Report",
    "Score",
    "carried_factors",
    "factor_vae_score",
    "mig",
    "report",
]
