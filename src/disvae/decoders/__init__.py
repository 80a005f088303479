r"""Decoders: modules from latents to :math:`p(x|z)`, built as ``X(latent_dim, data_shape, ...)``.

A decoder of one's own is any module that does the same for latents of shape
``sample_shape + (B, D)``.
"""

from disvae.decoders.feedforward import MLP, Conv

__all__ = ["MLP", "Conv"]
