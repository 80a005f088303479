"""Supports that ``torch.distributions.constraints`` lacks."""

import torch
from torch import Tensor
from torch.distributions import constraints


class Sphere(constraints.Constraint):
    """Vectors of unit length."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector has length 1, to 1e-4."""
        return (torch.linalg.vector_norm(value, dim=-1) - 1).abs() < 1e-4


sphere = Sphere()
