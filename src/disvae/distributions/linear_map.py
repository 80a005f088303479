"""Invertible linear maps of vectors: rotations, scalings, and any other matrix."""

from typing import Any

import torch
from torch import Tensor

# by how many times the rounding error of its dtype an orthogonal matrix may be off
SLACK = 100


class LinearMap:
    r"""The map :math:`z \mapsto A z` of vectors, with its inverse, found once.

    The matrix is a constant: it is copied, in float64 on the CPU, and taken in the dtype (float32
    at least) and on the device of what it is applied to, with autocast off. The inverse of an
    orthogonal matrix is its transpose.

    Args:
        matrix: The invertible matrix A, ``(D, D)``.
        structured: Whether it counts that A has one entry only in each row and column, if that is
            so: then independent dimensions stay independent. Otherwise it is taken as any other
            matrix, and distributions under it all have the same forms, whatever its entries.

    Attributes:
        matrix: A, ``(D, D)``, in float64.
        inverse_matrix: Its inverse, ``(D, D)``, in float64.
        log_abs_det: :math:`\log|\det A|`; exactly 0 for an orthogonal matrix.
        orthogonal: Whether A is orthogonal, to the rounding of float64.
        order: For each dimension of Az the only dimension of z that it depends on (a permutation
            of the axes, with a factor for each), or None where some depend on several.

    Raises:
        TypeError: If the matrix is no floating-point tensor.
        ValueError: If it is not square, finite and invertible.

    Example:
        >>> import torch
        >>> swap = LinearMap(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]))
        >>> swap(torch.tensor([3.0, 4.0])), swap.inverse(torch.tensor([8.0, -3.0]))
        (tensor([ 8., -3.]), tensor([3., 4.]))
        >>> swap.order, swap.orthogonal
        ((1, 0), False)
    """

    def __init__(self, matrix: Tensor, *, structured: bool = True) -> None:
        self.matrix = _checked(matrix)
        self.order = _order(self.matrix) if structured else None
        self.orthogonal = deviation(self.matrix) <= SLACK * torch.finfo(torch.float64).eps
        if self.orthogonal:
            self.inverse_matrix, self.log_abs_det = self.matrix.mT.contiguous(), 0.0
        else:
            self.inverse_matrix = _inverse(self.matrix)
            self.log_abs_det = torch.linalg.slogdet(self.matrix).logabsdet.item()

    def __repr__(self) -> str:
        return f"LinearMap({self.dim}{', orthogonal' if self.orthogonal else ''})"

    @property
    def dim(self) -> int:
        """The number D of dimensions."""
        return len(self.matrix)

    def __call__(self, z: Tensor) -> Tensor:
        """Az for vectors ``(..., D)``."""
        return self._times(z, self.matrix)

    def inverse(self, z: Tensor) -> Tensor:
        r""":math:`A^{-1} z` for vectors ``(..., D)``."""
        return self._times(z, self.inverse_matrix)

    def _times(self, z: Tensor, matrix: Tensor) -> Tensor:
        if z.shape[-1:] != (self.dim,) or not z.is_floating_point():
            raise ValueError(
                f"Expected floating-point vectors of {self.dim} numbers, but got {z.dtype} of "
                f"shape {tuple(z.shape)}; take a matrix of the size of the latent space."
            )
        dtype = torch.promote_types(z.dtype, torch.float32)
        matrix = matrix.to(dtype).to(z.device)
        with torch.autocast(z.device.type, enabled=False):
            return (z.to(dtype) @ matrix.mT).to(z.dtype)


def deviation(matrix: Tensor) -> float:
    """How far the entries of :math:`A A^T` are at most from those of the identity."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return (matrix @ matrix.mT - identity).abs().max().item()


def _checked(matrix: Any) -> Tensor:
    """A copy in float64 on the CPU of a matrix that is square and finite."""
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
        kind = matrix.dtype if isinstance(matrix, Tensor) else type(matrix).__name__
        raise TypeError(
            f"Expected the matrix to be a floating-point tensor, but got {kind}; convert it with "
            f"torch.as_tensor(matrix, dtype=torch.float64)."
        )
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.numel() == 0:
        raise ValueError(
            f"Expected a square matrix of shape (D, D), but got shape {tuple(matrix.shape)}; pass "
            f"one matrix for the whole latent space."
        )
    matrix = matrix.detach().to("cpu", torch.float64, copy=True)
    if not torch.isfinite(matrix).all():
        raise ValueError(
            "Expected the matrix to be finite, but got NaN or infinity; check how it was computed."
        )
    return matrix


def _order(matrix: Tensor) -> tuple[int, ...] | None:
    """The only column with an entry in each row, if every column is such a one once."""
    entries = matrix != 0
    if not (entries.sum(0).eq(1).all() and entries.sum(1).eq(1).all()):
        return None
    return tuple(entries.int().argmax(1).tolist())


def _inverse(matrix: Tensor) -> Tensor:
    if _order(matrix) is not None:
        return torch.where(matrix != 0, matrix.reciprocal(), 0.0).mT.contiguous()
    values = torch.linalg.svdvals(matrix)
    if values[-1] <= values[0] * len(matrix) * torch.finfo(matrix.dtype).eps:
        raise ValueError(
            f"Expected an invertible matrix, but its singular values go from {values[0]:.3g} down "
            f"to {values[-1]:.3g}; it must not map different points to one."
        )
    return torch.linalg.inv(matrix)
