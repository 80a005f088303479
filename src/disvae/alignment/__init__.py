"""Latent dimensions matched to measurable attributes, and a generator with named controls."""

from disvae.alignment.aligning import align
from disvae.alignment.finding import Alignment, Carrier, Curves, Resampled
from disvae.alignment.knobs import Knobs

__all__ = ["Alignment", "Carrier", "Curves", "Knobs", "Resampled", "align"]
