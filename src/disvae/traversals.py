"""Images along the latent dimensions, as tensors; ``disvae.plotting`` draws them."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from disvae.distributions import point, quantile
from disvae.model import VAE, evaluating
from disvae.nn import check_float, check_int

# the central part of the prior that a traversal covers: ±2.33 standard deviations of a normal one
_CENTRAL_MASS = 0.98


def traverse(
    model: VAE,
    x: Tensor,
    dims: Sequence[int] | None = None,
    steps: int = 11,
    span: float | tuple[float, float] | None = None,
    *,
    context: Tensor | None = None,
) -> Tensor:
    r"""Decode one datum's code with one latent dimension after another moved through its range.

    By default a dimension takes the values at evenly spaced quantiles of its prior, from 1 % to
    99 %, which is right for any prior: it stays where the prior has mass. The other dimensions stay
    at the point estimate of :math:`q(z|x)`.

    Args:
        model: The model.
        x: One datum, ``(1, *event)``.
        dims: The latent dimensions to move, one row each, in this order; all by default.
        steps: How many values each takes.
        span: Values to move through instead, evenly spaced: a pair (low, high), or a number s for
            (-s, s).
        context: What the model is conditioned on, ``(1, C)``.

    Shape:
        ``(len(dims), steps, *event)``.

    Raises:
        ValueError: If there is more than one datum, or a dimension does not exist.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors, traversals
        >>> shape = (1, 16, 16)
        >>> model = disvae.VAE(
        ...     encoders.Conv(shape, 3), decoders.Conv(3, shape), prior=priors.Laplace(3)
        ... )
        >>> traversals.traverse(model, torch.rand(1, *shape), steps=5).shape
        torch.Size([3, 5, 1, 16, 16])
    """
    steps = check_int(steps, "steps")
    check_float(x, "x")
    if x.shape[:1] != (1,):
        raise ValueError(
            f"Expected one datum to start from, of shape (1, ...), but got {tuple(x.shape)}; "
            f"pass x[:1]."
        )
    with evaluating(model):
        return _traverse(model, x, dims, steps, span, context)


def interpolate(
    model: VAE, start: Tensor, end: Tensor, steps: int = 11, *, context: Tensor | None = None
) -> Tensor:
    r"""Decode the straight line between the codes of two data.

    .. math::

        z_t = (1 - t)\,z_0 + t\,z_1, \quad t = 0, \dots, 1

    Args:
        model: The model.
        start: Data ``(B, *event)`` where the lines begin.
        end: Data of the same shape where they end.
        steps: How many points each line has, both ends counted.
        context: What the model is conditioned on, ``(B, C)``.

    Shape:
        ``(B, steps, *event)``.

    Raises:
        ValueError: If ``start`` and ``end`` have different shapes.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors, traversals
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> traversals.interpolate(model, torch.rand(3, 8), torch.rand(3, 8), steps=5).shape
        torch.Size([3, 5, 8])
    """
    steps = check_int(steps, "steps")
    check_float(start, "start")
    check_float(end, "end")
    if start.shape != end.shape:
        raise ValueError(
            f"Expected start and end to have the same shape, but got {tuple(start.shape)} and "
            f"{tuple(end.shape)}; pass one datum of each for every line."
        )
    with evaluating(model):
        first, last = point(model.encode(start, context)), point(model.encode(end, context))
        t = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)
        return _decode(model, torch.lerp(first[:, None], last[:, None], t[:, None]), context)


def _traverse(
    model: VAE,
    x: Tensor,
    dims: Sequence[int] | None,
    steps: int,
    span: float | tuple[float, float] | None,
    context: Tensor | None,
) -> Tensor:
    code = point(model.encode(x, context))[0]
    if dims is not None and (not isinstance(dims, Iterable) or isinstance(dims, str)):
        raise TypeError(
            f"Expected dims to be a sequence of latent dimensions, but got "
            f"{type(dims).__name__}; write e.g. dims=[0, 3]."
        )
    given = range(len(code)) if dims is None else dims
    rows = [check_int(d, "each of dims", minimum=0) for d in given]
    for d in rows:
        if d >= len(code):
            raise ValueError(
                f"Expected latent dimensions between 0 and {len(code) - 1}, but got {d}; "
                f"leave dims out to traverse them all."
            )
    values = _values(model, code, steps, span, context)
    z = code.repeat(len(rows), steps, 1)
    for row, d in enumerate(rows):
        z[row, :, d] = values[:, d]
    return _decode(model, z, context)


def _values(
    model: VAE,
    code: Tensor,
    steps: int,
    span: float | tuple[float, float] | None,
    context: Tensor | None,
) -> Tensor:
    """The values of every latent dimension, ``(steps, D)``."""
    if span is None:
        tail = (1 - _CENTRAL_MASS) / 2
        u = torch.linspace(tail, 1 - tail, steps) if steps > 1 else torch.tensor([0.5])
        return quantile(model.latent_prior(context), u).reshape(steps, -1).to(code)
    pair = (-span, span) if isinstance(span, int | float) else span
    try:
        low, high = (float(end) for end in pair)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(
            f"Expected span to be a finite pair (low, high) with low < high, or a positive number, "
            f"but got {span!s:.60}; pass e.g. span=(-3.0, 3.0)."
        )
    values = torch.linspace(low, high, steps, dtype=code.dtype, device=code.device)
    return values[:, None].expand(steps, len(code))


def _decode(model: VAE, z: Tensor, context: Tensor | None) -> Tensor:
    """Decode latents ``(R, steps, D)``; row r has context r, or the only one there is."""
    if context is not None:
        context = context[:, None].expand(z.shape[0], z.shape[1], -1).flatten(0, 1)
    return point(model.decode(z.flatten(0, 1), context)).unflatten(0, z.shape[:2])
