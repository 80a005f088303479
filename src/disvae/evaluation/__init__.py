"""What a trained model does to data: codes, bounds, its rate taken apart, its space rotated."""

from disvae.evaluation.aggregate import Aggregate, aggregate_posterior
from disvae.evaluation.bounds import elbo, log_likelihood
from disvae.evaluation.clusters import Clusters, clusters
from disvae.evaluation.decomposition import Decomposition, decompose
from disvae.evaluation.encoding import encode
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Estimate
from disvae.evaluation.invariance import RotationGap, rotation_gap
from disvae.evaluation.linear import DiagonalGap, best_diagonal_gap
from disvae.evaluation.overlap import Overlap, overlap
from disvae.evaluation.rotation import random_rotation, rescale, rotate
from disvae.evaluation.sparsity import Sparsity, sparsity
from disvae.evaluation.structure import Independence, Subspaces, independence, subspaces
from disvae.evaluation.summaries import ActiveUnits, Summary, active_units, summary

__all__ = [
    "ActiveUnits",
    "Aggregate",
    "Clusters",
    "Context",
    "Data",
    "Decomposition",
    "DiagonalGap",
    "Estimate",
    "Independence",
    "Overlap",
    "RotationGap",
    "Sparsity",
    "Subspaces",
    "Summary",
    "active_units",
    "aggregate_posterior",
    "best_diagonal_gap",
    "clusters",
    "decompose",
    "elbo",
    "encode",
    "independence",
    "log_likelihood",
    "overlap",
    "random_rotation",
    "rescale",
    "rotate",
    "rotation_gap",
    "sparsity",
    "subspaces",
    "summary",
]
