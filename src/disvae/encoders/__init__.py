r"""Encoders: modules that map data to :math:`q(z|x)`, built as ``X(data_shape, latent_dim, ...)``.

An encoder of one's own is any module that does the same, for instance
``nn.Sequential(backbone, posteriors.DiagonalNormal(512, 10))``.
"""

from disvae.encoders.feedforward import MLP, Conv

__all__ = ["MLP", "Conv"]
