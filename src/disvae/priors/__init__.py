r"""Priors: modules whose ``forward(context=None)`` returns :math:`p(z)`.

The batch shape is ``()``, or ``(B,)`` where the prior depends on a context. A prior of one's own is
any ``nn.Module`` that does the same; flows of zuko do so unmodified.
"""

from disvae.priors.location_scale import Laplace, Normal

__all__ = ["Laplace", "Normal"]
