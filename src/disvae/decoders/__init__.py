r"""Decoders: modules from latents to :math:`p(x|z)`, built as ``X(latent_dim, data_shape, ...)``.

A decoder of one's own is any module that does the same for latents of shape
``sample_shape + (B, D)``. The functions return the decoders of some papers.
"""

from disvae.decoders.feedforward import MLP, Conv
from disvae.decoders.presets import (
    burgess,
    mathieu_dcgan32,
    mathieu_dsprites,
    mathieu_pinwheel,
    pastrana_mlp,
)
from disvae.decoders.residual import Residual
from disvae.decoders.spatial_broadcast import SpatialBroadcast

__all__ = [
    "MLP",
    "Conv",
    "Residual",
    "SpatialBroadcast",
    "burgess",
    "mathieu_dcgan32",
    "mathieu_dsprites",
    "mathieu_pinwheel",
    "pastrana_mlp",
]
