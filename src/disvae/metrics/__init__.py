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

from disvae.metrics.axis_alignment import AAMScore, aam
from disvae.metrics.beta_vae import BetaVAEScore, beta_vae_score
from disvae.metrics.carried import carried_factors
from disvae.metrics.code_gap import DCIMIGScore, MIGSupScore, dcimig, mig_sup
from disvae.metrics.code_information import CodeMutualInformationScore, code_mutual_information
from disvae.metrics.dci import DCI, dci
from disvae.metrics.dci_es import DCIES, dci_es
from disvae.metrics.encoding import OMESScore, omes
from disvae.metrics.estimators import Binning, EqualFrequency, EqualWidth, Estimator, Neighbours
from disvae.metrics.explicitness import ExplicitnessScore, explicitness
from disvae.metrics.factor_vae import FactorVAEScore, factor_vae_score
from disvae.metrics.findings import FactorRow, MetricRow, Report
from disvae.metrics.gap import MIGScore, mig
from disvae.metrics.gaussian import (
    GaussianTotalCorrelationScore,
    GaussianWassersteinScore,
    gaussian_total_correlation,
    gaussian_wasserstein,
)
from disvae.metrics.gaussianise import student_t_to_normal
from disvae.metrics.info_mec import InfoMEC, infomec
from disvae.metrics.joint_gap import JEMMIGScore, jemmig
from disvae.metrics.matching import Match, match
from disvae.metrics.matrix import mutual_information
from disvae.metrics.med import MEDScore, med
from disvae.metrics.modular import ModularityScore, modularity
from disvae.metrics.predictive import Linear, Logistic, Predictor
from disvae.metrics.ranking import UDR, udr
from disvae.metrics.ratio import MIR, mir
from disvae.metrics.reporting import report
from disvae.metrics.rf_vae import RFVAEScore, rf_vae_score
from disvae.metrics.robustness import IRSScore, irs
from disvae.metrics.sap import SAPScore, sap
from disvae.metrics.score import NotDefinedError, Score
from disvae.metrics.sparsity import HoyerSparsityScore, hoyer_sparsity

__all__ = [
    "DCI",
    "DCIES",
    "MIR",
    "UDR",
    "AAMScore",
    "BetaVAEScore",
    "Binning",
    "CodeMutualInformationScore",
    "DCIMIGScore",
    "EqualFrequency",
    "EqualWidth",
    "Estimator",
    "ExplicitnessScore",
    "FactorRow",
    "FactorVAEScore",
    "GaussianTotalCorrelationScore",
    "GaussianWassersteinScore",
    "HoyerSparsityScore",
    "IRSScore",
    "InfoMEC",
    "JEMMIGScore",
    "Linear",
    "Logistic",
    "MEDScore",
    "MIGScore",
    "MIGSupScore",
    "Match",
    "MetricRow",
    "ModularityScore",
    "Neighbours",
    "NotDefinedError",
    "OMESScore",
    "Predictor",
    "RFVAEScore",
    "Report",
    "SAPScore",
    "Score",
    "aam",
    "beta_vae_score",
    "carried_factors",
    "code_mutual_information",
    "dci",
    "dci_es",
    "dcimig",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "gaussian_wasserstein",
    "hoyer_sparsity",
    "infomec",
    "irs",
    "jemmig",
    "match",
    "med",
    "mig",
    "mig_sup",
    "mir",
    "modularity",
    "mutual_information",
    "omes",
    "report",
    "rf_vae_score",
    "sap",
    "student_t_to_normal",
    "udr",
]
