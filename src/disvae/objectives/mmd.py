"""The squared maximum mean discrepancy between two samples, in the cache."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from disvae.objectives.aggregate import is_transformed
from disvae.objectives.kernels import Kernel, MultiScale


def squared_mmd(
    x: Tensor,
    y: Tensor,
    kernel: Kernel,
    *,
    unbiased: bool = True,
    batch: int | None = None,
    paired: bool = False,
) -> Tensor:
    r"""The squared maximum mean discrepancy between two samples of equal size.

    .. math::

        \mathrm{MMD}^2 = E\,k(x, x') + E\,k(y, y') - 2 E\,k(x, y)

    The means are over pairs. The unbiased estimate (a U-statistic) leaves out the pairs within x
    and within y that belong to one datum, the biased one (a V-statistic, never negative) leaves out
    none.

    Args:
        x: The first sample, ``(..., M, D)``; values are summed over leading axes.
        y: The second sample, of the same shape.
        kernel: One of :mod:`disvae.objectives.kernels`, or any function of squared distances and D.
        unbiased: Which estimate.
        batch: The number B of data, where rows i, i + B, ... belong to one datum; M by default.
        paired: Whether the unbiased estimate also leaves out pairs between x and y of one datum,
            for samples that depend through it.

    Shape:
        ``()``.

    Raises:
        ValueError: If shapes differ, or the unbiased estimate is asked of one datum.

    Example:
        >>> import torch
        >>> from disvae.objectives.kernels import RBF
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> squared_mmd(x, x, RBF(1.0), unbiased=False)
        tensor(0.)
    """
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return squared_mmd(x, y, kernel, unbiased=unbiased, batch=batch, paired=paired)
    if x.shape != y.shape:
        raise ValueError(
            f"Expected two samples of the same shape, but got {tuple(x.shape)} and "
            f"{tuple(y.shape)}; draw as many of each."
        )
    rows, dim = x.shape[-2:]
    batch = rows if batch is None or not unbiased else batch
    if unbiased and batch < 2:
        raise ValueError(
            f"Expected at least two data for the unbiased estimate of the squared MMD, but got "
            f"{batch}; drop the last batch, or take unbiased=False."
        )
    paired = paired and unbiased
    distinct = rows * (rows - rows // batch)
    pairs = _Pairs(
        batch,
        paired,
        1 / distinct if unbiased else 1 / rows**2,
        1 / distinct if paired else 1 / rows**2,
    )
    x, y = (v.reshape(-1, rows, dim) for v in (x, y))
    if isinstance(kernel, MultiScale) and not is_transformed():
        value = _SquaredMMD.apply(x, y, kernel, pairs)
    else:
        value = _plain(x, y, kernel, pairs)
    if unbiased:
        return value
    # the pairs of a point with itself
    return value + 2 / rows * len(x) * kernel(x.new_zeros(1), dim).sum()


class _Pairs(NamedTuple):
    """Which pairs of rows count, and how much."""

    batch: int
    paired: bool
    within: float
    between: float


def _plain(x: Tensor, y: Tensor, kernel: Kernel, pairs: _Pairs) -> Tensor:
    """The estimate with tensors of all pairs, for any kernel, any transform and any compiler."""
    u, v = torch.cat((x, y, x)), torch.cat((x, y, y))
    s = _squared_distances(u, v)
    datum = torch.arange(x.shape[1], device=x.device) % pairs.batch
    left_out = (datum.unsqueeze(-1) == datum).expand(s.shape)
    if not pairs.paired:
        within = torch.arange(len(s), device=x.device) < 2 * len(x)
        left_out = left_out & within[:, None, None]
    # a kernel may have no derivative at 0
    k = kernel(s.masked_fill(left_out, 1.0), x.shape[-1])
    if k.shape != s.shape:
        raise ValueError(
            f"Expected the kernel to return a value for each of the squared distances of shape "
            f"{tuple(s.shape)}, but got shape {tuple(k.shape)}; sum over scales in the kernel."
        )
    of_x, of_y, between = k.masked_fill(left_out, 0.0).sum((-2, -1)).chunk(3)
    return (pairs.within * (of_x + of_y) - 2 * pairs.between * between).sum()


def _squared_distances(u: Tensor, v: Tensor) -> Tensor:
    if u.shape[-1] == 1:
        return (u - v.mT).square()
    left, right = _factors(*_centred(u, v))
    return (left @ right).clamp(min=0.0).to(u.dtype)


def _centred(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Both moved by one vector, in float64."""
    centre = u.detach().mean(-2, keepdim=True, dtype=torch.float64)
    return u - centre, v - centre


def _factors(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    r"""Matrices ``(..., M, D + 2)`` and ``(..., D + 2, M)`` whose product is all squared distances.

    The summands of :math:`\|u\|^2 + \|v\|^2 - 2 u \cdot v` cancel where points are closer to each
    other than to the origin, so this is right in float64 only.
    """
    ones = torch.ones_like(u[..., :1])
    u_square, v_square = u.square().sum(-1, keepdim=True), v.square().sum(-1, keepdim=True)
    return torch.cat((-2 * u, u_square, ones), -1), torch.cat((v.mT, ones.mT, v_square.mT), -2)


class _SquaredMMD(torch.autograd.Function):
    """The estimate and its gradient together, in the cache."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: MultiScale, pairs: _Pairs) -> Tensor:
        """The estimate from samples ``(L, M, D)``."""
        rows = x.shape[1]
        # launches count more than caches elsewhere
        numbers = 2**17 if x.device.type == "cpu" else 2**24
        gradient = any(ctx.needs_input_grad)
        if len(x) == 1 and 4 * rows**2 <= numbers:
            value, of_x, of_y = _at_once(x[0], y[0], kernel, pairs, gradient=gradient)
        else:
            step = min(rows, max(1, numbers // (4 * len(x) * rows)))
            value, of_x, of_y = _in_slabs(x, y, kernel, pairs, step, gradient=gradient)
        if gradient:
            ctx.save_for_backward(of_x, of_y)
        return value.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The gradients by both samples."""
        of_x, of_y = (
            gradient * kept if needed else None
            for kept, needed in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)
        )
        return of_x, of_y, None, None


def _at_once(
    x: Tensor, y: Tensor, kernel: MultiScale, pairs: _Pairs, *, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The estimate from samples ``(M, D)`` and its gradients, by one matrix of all distances.

    Small batches are a matter of few operations: it looks at every pair twice, and takes half the
    time of :func:`_in_slabs`.
    """
    rows, dim = x.shape
    both = torch.cat((x, y))
    both = both - both.mean(0)
    s = both.new_empty(2, rows, 2, rows)  # (half, row, half, column)
    if dim == 1:
        torch.sub(both, both.mT, out=s.view(2 * rows, -1)).square_()
    else:
        exact = both.double()
        square = exact.square().sum(-1)
        distances = torch.addmm(square, exact, exact.mT, alpha=-2).add_(square.unsqueeze(-1))
        s.view(2 * rows, -1).copy_(distances).clamp_(min=0.0)
    for block in (s[0, :, 0], s[1, :, 1], s[0, :, 1], s[1, :, 0])[: 4 if pairs.paired else 2]:
        for offset in range(-rows + pairs.batch, rows, pairs.batch):
            block.diagonal(offset).fill_(math.inf)
    sums, buffer, slope = s.new_zeros(4 * rows), torch.empty_like(s), torch.empty_like(s)
    kernel.accumulate(s, dim, s.new_ones(rows), sums, buffer, slope if gradient else None)
    within, between = pairs.within, -pairs.between
    weights = sums.new_tensor([[within, between], [between, within]], dtype=torch.float64)
    value = (sums.view(2, rows, 2).sum(1, dtype=torch.float64) * weights).sum()
    if not gradient:
        return value, x, y
    force = slope.mul_(weights.to(s.dtype).view(2, 1, 2, 1)).view(2 * rows, -1)
    # the matrix is symmetric, and products of a few long rows are fast
    points = both.mT.contiguous()
    gradients = (points @ force).addcmul_(points, force.sum(0), value=-1).mul_(4)
    of_x, of_y = gradients.mT.reshape(2, 1, rows, dim).unbind()
    return value, of_x, of_y


def _in_slabs(
    x: Tensor, y: Tensor, kernel: MultiScale, pairs: _Pairs, step: int, *, gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The estimate from samples ``(L, M, D)`` and its gradients, in one scan of all pairs.

    Distances of rows i and j within x, within y, from x to y and from y to x are worked on at once,
    for ``step`` values of i and all :math:`j \ge i`, in buffers that stay in the cache. So every
    pair comes once, but for those among these i, which come twice and count half.
    """
    rows, dim = x.shape[1:]
    u, v = torch.cat((x, y, x, y)), torch.cat((x, y, y, x))
    scan = (_Numbers if dim == 1 else _Vectors)(u, v, step)
    excluded = slice(None if pairs.paired else 2 * len(x))
    sums = x.new_zeros(len(u) * step)
    total = x.new_zeros(4, dtype=torch.float64)
    weight = x.new_ones(rows)
    for start in range(0, rows, step):
        size = min(step, rows - start)
        s, buffer, slope = scan.distances(start, size)
        first = -((size - 1) // pairs.batch) * pairs.batch
        for offset in range(first, rows - start, pairs.batch):
            s[excluded].diagonal(offset, -2, -1).fill_(math.inf)
        weight[start : start + size] = 0.5
        part = sums[: len(u) * size].zero_()
        kernel.accumulate(s, dim, weight[start:], part, buffer, slope if gradient else None)
        total += part.view(4, -1).sum(1, dtype=torch.float64)
        if gradient:
            scan.collect(start, size, slope)
    # each pair stands for both orders
    within, between = 2 * pairs.within, 2 * pairs.between
    value = within * (total[0] + total[1]) - between * (total[2] + total[3])
    if not gradient:
        return value, x, y
    of_u, of_v = (part.view(4, *x.shape).unbind() for part in scan.gradients())
    of_x = (of_u[0] + of_v[0]).mul_(2 * within).sub_(of_u[2] + of_v[3], alpha=2 * between)
    of_y = (of_u[1] + of_v[1]).mul_(2 * within).sub_(of_u[3] + of_v[2], alpha=2 * between)
    return value, of_x, of_y


class _Scan:
    """Rows of u against the same and all later rows of v: distances, and gradients collected."""

    def __init__(self, u: Tensor, v: Tensor, step: int) -> None:
        self.u, self.v = u, v
        self.buffers = u.new_empty(4, len(u) * step * u.shape[1])

    def views(self, start: int, size: int) -> tuple[Tensor, ...]:
        """The buffers, each ``(blocks L, size, M - start)`` and contiguous."""
        shape = len(self.u), size, self.u.shape[1] - start
        return self.buffers[:, : math.prod(shape)].view(-1, *shape).unbind()


class _Vectors(_Scan):
    """Distances and gradients of vectors, by matrix products."""

    def __init__(self, u: Tensor, v: Tensor, step: int) -> None:
        super().__init__(u, v, step)
        exact_u, exact_v = _centred(u, v)
        self.left, self.right = _factors(exact_u, exact_v)
        self.exact = self.left.new_empty(self.buffers.shape[1])
        # (blocks L, D + 1, M), with ones last: products of a few long rows are fast
        self.points_v = self.right[:, :-1].to(u.dtype)
        self.points_u = torch.cat((exact_u.mT, self.right[:, -2:-1]), 1).to(u.dtype)
        self.of_u, self.of_v = torch.zeros(2, *self.points_u.shape, dtype=u.dtype, device=u.device)

    def distances(self, start: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        s, buffer, slope, _ = self.views(start, size)
        exact = self.exact[: s.numel()].view(s.shape)
        torch.bmm(self.left[:, start : start + size], self.right[:, :, start:], out=exact)
        return s.copy_(exact).clamp_(min=0.0), buffer, slope

    def collect(self, start: int, size: int, slope: Tensor) -> None:
        rows = slice(start, start + size)
        self.of_u[:, :, rows].baddbmm_(self.points_v[:, :, start:], slope.mT)
        # rows among these are in of_u already, twice
        later = self.of_v[:, :, start + size :]
        later.baddbmm_(self.points_u[:, :, rows], slope[:, :, size:])

    def gradients(self) -> tuple[Tensor, Tensor]:
        """By u and by v, but for their weights."""
        of_u = self.of_u[:, :-1] - self.of_u[:, -1:] * self.points_u[:, :-1]
        of_v = self.of_v[:, :-1] - self.of_v[:, -1:] * self.points_v[:, :-1]
        return of_u.mT.contiguous(), of_v.mT.contiguous()


class _Numbers(_Scan):
    """Distances and gradients of single numbers, by their differences."""

    def __init__(self, u: Tensor, v: Tensor, step: int) -> None:
        super().__init__(u, v, step)
        self.of_u, self.of_v = u.new_zeros(2, *u.shape[:2])

    def distances(self, start: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        s, buffer, slope, difference = self.views(start, size)
        torch.sub(self.u[:, start : start + size], self.v[:, start:].mT, out=difference)
        return torch.mul(difference, difference, out=s), buffer, slope

    def collect(self, start: int, size: int, slope: Tensor) -> None:
        force = slope.mul_(self.views(start, size)[-1])
        self.of_u[:, start : start + size] -= force.sum(-1)
        self.of_v[:, start + size :] += force[:, :, size:].sum(1)

    def gradients(self) -> tuple[Tensor, Tensor]:
        """By u and by v, but for their weights."""
        return self.of_u.unsqueeze(-1), self.of_v.unsqueeze(-1)
