"""Pictures: the only part that draws. It needs the extra ``plot``."""

from disvae.plotting.aggregates import Aggregate, Density
from disvae.plotting.alignment import alignment
from disvae.plotting.curves import bands, tradeoff
from disvae.plotting.densities import aggregate_density, densities
from disvae.plotting.estimates import Curve, Interval
from disvae.plotting.images import grid, save_gif
from disvae.plotting.latents import active_traversals, latent_magnitudes
from disvae.plotting.matrices import importance_matrix, information_matrix

__all__ = [
    "Aggregate",
    "Curve",
    "Density",
    "Interval",
    "active_traversals",
    "aggregate_density",
    "alignment",
    "bands",
    "densities",
    "grid",
    "importance_matrix",
    "information_matrix",
    "latent_magnitudes",
    "save_gif",
    "tradeoff",
]
