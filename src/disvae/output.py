"""One forward pass of a model: what the terms of an objective read."""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class VAEOutput:
    r"""One forward pass: all that a term of an objective may read.

    Attributes:
        x: The data, ``(B, *event)``.
        z: Samples of the posterior, ``sample_shape + (B, D)``.
        posterior: :math:`q(z|x)`, batch shape ``(B,)``, event shape ``(D,)``.
        prior: :math:`p(z)`, batch shape ``()`` or ``(B,)``, event shape ``(D,)``.
        likelihood: :math:`p(x|z)`, batch shape ``sample_shape + (B,)``, event that of ``x``.
        context: What the parts were conditioned on, ``(B, C)``, or None.
        labels: What a supervised term compares with, ``(B, ...)``, or None.
    """

    x: Tensor
    z: Tensor
    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    context: Tensor | None = None
    labels: Tensor | None = None

    # functools.cached_property takes a lock, which torch.compile cannot trace
    _cache: dict[Hashable, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def shared(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What several terms need of one pass, computed by the first of them that asks.

        With gradients and without them are computed apart.

        Args:
            key: What is computed, with all that it depends on beside this pass.
            compute: Computes it.
        """
        key = key, torch.is_grad_enabled()
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]
