"""Layers that make the parameters of distributions: full precision, and positive scales."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disvae.nn.checks import as_constant, autocasts, check_float

SCALE_FLOOR = 1e-4
"""The smallest scale that shipped parts give. Below it a float32 log density loses all digits."""


# softplus(_SHIFT) = 1 - SCALE_FLOOR
_SHIFT = math.log(math.expm1(1 - SCALE_FLOOR))


def full_precision(x: Tensor) -> Tensor:
    """The tensor in float32 at least; float64 stays float64.

    Example:
        >>> import torch
        >>> full_precision(torch.ones(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.to(torch.promote_types(x.dtype, torch.float32))


def positive(raw: Tensor) -> Tensor:
    r"""Map real numbers to scales: :math:`\sigma = 10^{-4} + \mathrm{softplus}(r + c)`.

    The constant :math:`c` makes the scale 1 at :math:`r = 0`. It acts like an exponential for small
    scales and grows linearly for large ones, so extreme inputs stay finite where :math:`\exp`
    overflows.

    Example:
        >>> import torch
        >>> positive(torch.tensor([-1e4, 0.0, 1e4]))
        tensor([1.0000e-04, 1.0000e+00, 1.0001e+04])
    """
    return SCALE_FLOOR + F.softplus(raw + _SHIFT)


def positive_inverse(scale: Tensor) -> Tensor:
    """The input for which :func:`positive` returns ``scale``, which must exceed the floor."""
    y = scale - SCALE_FLOOR
    return y + torch.log(-torch.expm1(-y)) - _SHIFT


class AffineHead(nn.Linear):
    r"""A linear layer that computes in float32 at least, with autocast switched off.

    Parameters of a posterior made in bfloat16 are wrong by 0.6 %, and casting them afterwards
    changes nothing. Inputs and weights are promoted here; float64 stays float64.

    Shape:
        ``(..., in_features)`` to ``(..., out_features)``.

    Example:
        >>> import torch
        >>> AffineHead(3, 2)(torch.ones(4, 3, dtype=torch.bfloat16)).dtype
        torch.float32
    """

    def forward(self, h: Tensor) -> Tensor:
        """The affine map of features ``(..., in_features)``."""
        if not isinstance(h, Tensor) or h.shape[-1:] != (self.in_features,):
            check_float(h, "features")
            raise ValueError(
                f"Expected features of shape (..., {self.in_features}), but got {tuple(h.shape)}; "
                f"build the head for the number of features that the backbone gives."
            )
        return linear_in_full_precision(h, self.weight, self.bias)


def linear_in_full_precision(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``torch.nn.functional.linear`` in float32 at least, with autocast switched off."""
    if h.dtype is weight.dtype is torch.float32 and not autocasts(h):
        return F.linear(h, weight, bias)  # the way of every training step
    dtype = torch.promote_types(torch.promote_types(h.dtype, weight.dtype), torch.float32)
    bias = None if bias is None else bias.to(dtype)
    if not autocasts(h):
        return F.linear(h.to(dtype), weight.to(dtype), bias)
    with torch.autocast(h.device.type, enabled=False):
        return F.linear(h.to(dtype), weight.to(dtype), bias)


class ScaleParameter(nn.Module):
    r"""A positive tensor, fixed or learnt, that a module returns when called.

    Args:
        scale: The value, or the first value when learnt: a number, or a tensor of shape ``shape``.
            It is taken in the default dtype.
        shape: The shape of the result.
        learn: Whether it is a parameter (kept positive by :func:`positive`) or a buffer. A number
            gives one shared parameter, a tensor one parameter for each of its values.
        name: What to call the value in errors.

    Raises:
        ValueError: If a value is not positive and finite (above 1e-4 where learnt), or the shape
            is neither ``()`` nor ``shape``.

    Example:
        >>> ScaleParameter(0.5, (3,))()
        tensor([0.5000, 0.5000, 0.5000])
    """

    fixed: Tensor | None
    raw: nn.Parameter | None

    def __init__(
        self,
        scale: float | Tensor,
        shape: Sequence[int],
        *,
        learn: bool = False,
        name: str = "scale",
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if not isinstance(scale, Tensor | int | float) or isinstance(scale, bool):
            raise TypeError(
                f"Expected {name} to be a number or a tensor, but got {type(scale).__name__}; "
                f"pass a positive float."
            )
        value = as_constant(torch.as_tensor(scale))
        floor = SCALE_FLOOR if learn else 0.0
        bad = value[~(torch.isfinite(value) & (value > floor))]
        if bad.numel():
            raise ValueError(
                f"Expected {name} to be finite and above {floor:g}, but got {bad[0].item():g}; "
                f"pass a positive number."
            )
        if value.shape not in ((), self.shape):
            raise ValueError(
                f"Expected {name} to be a number or a tensor of shape {self.shape}, but got shape "
                f"{tuple(value.shape)}; give one value, or one for each dimension."
            )
        if learn:
            self.raw = nn.Parameter(positive_inverse(value))
            self.register_buffer("fixed", None)
        else:
            self.register_parameter("raw", None)
            self.register_buffer("fixed", value.expand(self.shape).clone())

    def forward(self) -> Tensor:
        """The scale, of shape ``shape``."""
        if self.raw is None:
            return full_precision(self.fixed)  # type: ignore[arg-type]
        return positive(full_precision(self.raw)).expand(self.shape)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.shape}, learn={self.raw is not None}"


class CholeskyFactor(nn.Module):
    r"""Lower triangular matrices with a positive diagonal, from their entries in one vector.

    .. math::

        L = \mathrm{diag}(\sigma)\,(I + N / \sqrt D), \quad \sigma = \mathrm{positive}(r)

    with r the first D entries and N, strictly lower triangular, the others: zeros give the
    identity. Scales and dependence are apart, and N is divided by :math:`\sqrt{D}`, because a large
    triangle of unit entries is singular to the last digit: the density of a point would be wrong by
    hundreds of nats.

    Args:
        dim: The number D of rows.

    Shape:
        ``(..., D(D + 1)/2)`` to ``(..., D, D)``.

    Example:
        >>> import torch
        >>> CholeskyFactor(2)(torch.zeros(3))
        tensor([[1., 0.],
                [0., 1.]])
    """

    index: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.size = dim * (dim + 1) // 2
        rows, columns = torch.tril_indices(dim, dim, offset=-1)
        # the diagonal comes first, then the entries below it, then one zero for those above
        index = torch.full((dim, dim), self.size)
        index.fill_diagonal_(0)
        index += torch.diag(torch.arange(dim))
        index[rows, columns] = torch.arange(dim, self.size)
        self.register_buffer("index", index, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """The factors for entries ``(..., D(D + 1)/2)``."""
        raw = full_precision(raw)
        scale, below = positive(raw[..., : self.dim]), raw[..., self.dim :]
        one, zero = torch.ones_like(scale), torch.zeros_like(scale[..., :1])
        entries = torch.cat((one, below / self.dim**0.5, zero), dim=-1)
        return scale.unsqueeze(-1) * entries[..., self.index]

    def inverse(self, factor: Tensor) -> Tensor:
        """The entries for which the module returns ``factor``, of a diagonal above the floor."""
        rows, columns = torch.tril_indices(self.dim, self.dim, offset=-1)
        scale = factor.diagonal(dim1=-2, dim2=-1)
        below = (factor / scale.unsqueeze(-1))[..., rows, columns]
        return torch.cat((positive_inverse(scale), self.dim**0.5 * below), dim=-1)
