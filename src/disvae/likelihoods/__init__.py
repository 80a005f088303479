r"""Likelihood heads: modules that turn a decoder's output into :math:`p(x|z)`.

A head is made as ``Head(data_shape)``. Its ``channels`` says how many channels it wants: for data
of shape ``(C, H, W)`` the decoder's network gives ``(..., channels, H, W)``, for vectors ``(n,)``
it gives ``(..., channels)``. A head of one's own without that attribute is given the data's shape.
"""

from disvae.likelihoods.bernoulli import Bernoulli
from disvae.likelihoods.normal import Normal

__all__ = ["Bernoulli", "Normal"]
