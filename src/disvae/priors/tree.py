"""The prior of clusters of clusters."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disvae.distributions import GaussianMixture
from disvae.nn import ScaleParameter, check_int, full_precision


class TreeMixture(nn.Module):
    r"""Clusters of clusters: a mixture whose means are the leaves of a tree.

    .. math::

        p(z) = \sum_{k_1, \dots, k_L} w_{k_1} w_{k_2|k_1} \cdots\,
        N\big(z;\ o_{k_1} + o_{k_1 k_2} + \dots,\ \sigma^2 I\big)

    Every node has an offset from its parent and a weight among its siblings; the offsets start at
    well-separated directions, shorter by ``ratio`` on every level.

    Args:
        latent_dim: The number D of latent dimensions.
        branching: The number of children of each node, level by level: (3, 4) makes three clusters
            of four clusters each.
        spread: The length of the offsets of the first level at the start; in one dimension, where
            siblings are evenly spaced, that of the longest.
        ratio: By what each level's offsets are shorter than those before, between 0 and 1.
        scale: The standard deviation of the leaves; by default a quarter of the last level's
            offsets.
        learn: Whether offsets, weights and scale are learnt, starting from there.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        ValueError: If a level has no children, or ``spread`` or ``ratio`` is not positive.

    Example:
        >>> prior = TreeMixture(2, branching=(3, 4))
        >>> prior.means().shape
        torch.Size([12, 2])

    References:
        Vikram, Hoffman and Johnson, The LORACs prior for VAEs: Letting the Trees Speak for the
        Data, 2019, https://arxiv.org/abs/1810.06891, for trees as priors.
    """

    context_dim = 0

    def __init__(
        self,
        latent_dim: int,
        branching: Sequence[int] = (3, 4),
        *,
        spread: float = 1.0,
        ratio: float = 0.4,
        scale: float | None = None,
        learn: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        if not isinstance(branching, Sequence) or not branching:
            raise ValueError(
                f"Expected branching to be a sequence with the number of children on each level, "
                f"but got {branching!r:.60}; write e.g. branching=(3, 4)."
            )
        self.branching = tuple(check_int(n, "each of branching") for n in branching)
        numbers = isinstance(spread, int | float) and isinstance(ratio, int | float)
        if not numbers or not (0 < spread < math.inf and 0 < ratio <= 1):
            raise ValueError(
                f"Expected a positive spread and a ratio between 0 and 1, but got {spread!r:.60} "
                f"and {ratio!r:.60}; children lie closer together than their parents."
            )
        self.offsets, self.logits = nn.ParameterList(), nn.ParameterList()
        for level in range(len(self.branching)):
            nodes = self.branching[: level + 1]
            offsets = spread * ratio**level * _directions(nodes, self.latent_dim)
            self.offsets.append(nn.Parameter(offsets, requires_grad=learn))
            self.logits.append(nn.Parameter(torch.zeros(nodes), requires_grad=learn))
        if scale is None:
            scale = 0.25 * spread * ratio ** (len(self.branching) - 1)
        leaves = math.prod(self.branching)
        self.scale = ScaleParameter(scale, (leaves, self.latent_dim), learn=learn)

    def means(self) -> Tensor:
        """The means of the leaves, ``(K, D)``, siblings side by side."""
        total = full_precision(self.offsets[0])
        for offsets in self.offsets[1:]:
            total = total.unsqueeze(-2) + full_precision(offsets)
        return total.flatten(0, -2)

    def log_weights(self) -> Tensor:
        """The log weights of the leaves, ``(K,)``."""
        total = full_precision(self.logits[0]).log_softmax(-1)
        for logits in self.logits[1:]:
            total = total.unsqueeze(-1) + full_precision(logits).log_softmax(-1)
        return total.flatten()

    def forward(self, context: Tensor | None = None) -> GaussianMixture:
        """The prior, of batch shape ``()``."""
        return GaussianMixture(self.log_weights(), self.means(), self.scale())


def _directions(nodes: Sequence[int], dim: int) -> Tensor:
    """For every parent unit vectors to its children, chosen to lie far apart.

    On a line there are but two of them, and children at one place would never part: there they are
    evenly spaced from -1 to 1.
    """
    *parents, children = nodes
    if dim == 1:
        return torch.linspace(-1, 1, children).unsqueeze(-1).expand(*nodes, 1).clone()
    rows = []
    for _ in range(math.prod(parents)):
        candidates = F.normalize(torch.randn(64 * children, dim), dim=-1)
        chosen = candidates[:1]
        for _ in range(children - 1):
            distance = torch.cdist(candidates, chosen).amin(1)
            chosen = torch.cat((chosen, candidates[distance.argmax()][None]))
        rows.append(chosen)
    return torch.stack(rows).reshape(*nodes, dim)
