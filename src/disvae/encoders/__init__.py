r"""Encoders: modules that map data to :math:`q(z|x)`, built as ``X(data_shape, latent_dim, ...)``.

An encoder of one's own is any module that does the same, for instance
``nn.Sequential(backbone, posteriors.DiagonalNormal(512, 10))``. The functions return the
encoders of some papers.
"""

from disvae.encoders.feedforward import MLP, Conv
from disvae.encoders.presets import (
    burgess,
    mathieu_dcgan32,
    mathieu_dsprites,
    mathieu_pinwheel,
    pastrana_mlp,
)
from disvae.encoders.residual import Residual

__all__ = [
    "MLP",
    "Conv",
    "Residual",
    "burgess",
    "mathieu_dcgan32",
    "mathieu_dsprites",
    "mathieu_pinwheel",
    "pastrana_mlp",
]
