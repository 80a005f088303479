r"""Posterior heads: modules that turn features into :math:`q(z|x)`.

A head is made as ``Head(features, latent_dim)`` and maps features ``(B, features)`` to a
distribution of batch shape ``(B,)`` and event shape ``(latent_dim,)``. Put any backbone before it:
``nn.Sequential(backbone, DiagonalNormal(512, 10))`` is an encoder.
"""

from disvae.posteriors.diagonal_normal import DiagonalNormal

__all__ = ["DiagonalNormal"]
