"""Images along the latent dimensions, as tensors; ``disvae.plotting`` draws them."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from disvae.distributions import constraints, point, quantile
from disvae.distributions.supports import CATEGORIES, Block, blocks
from disvae.model import VAE, evaluating
from disvae.nn import check_float, check_int

CENTRAL_MASS = 0.98
"""The part of the prior that a traversal covers: ±2.33 standard deviations of a normal one."""


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
    at the point estimate of :math:`q(z|x)`. There are two exceptions. The dimensions of a category
    (relaxed or one-hot) are one row together, with one frame for each category. On a sphere the
    other coordinates are scaled together, so that the vector keeps its unit length.

    Args:
        model: The model.
        x: One datum, ``(1, *event)``.
        dims: The latent dimensions to move, one row each, in this order; all by default. Any
            dimension of a category stands for its row.
        steps: How many values each takes.
        span: Values to move through instead, evenly spaced: a pair (low, high), or a number s for
            (-s, s); within -1 and 1 on a sphere. It does not touch categories.
        context: What the model is conditioned on, ``(1, C)``.

    Shape:
        ``(rows, frames, *event)``: a row for each of ``dims`` and ``steps`` frames. Where rows have
        unequal numbers of frames, because of categories, the shorter ones are filled with NaN,
        which ``plotting.grid`` leaves blank.

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


def traversed_values(
    model: VAE,
    steps: int = 11,
    span: float | tuple[float, float] | None = None,
    *,
    context: Tensor | None = None,
) -> Tensor:
    r"""The values that each latent dimension takes in :func:`traverse`.

    Args:
        model: The model.
        steps: As there, and so are the other arguments.
        span: See there.
        context: See there.

    Shape:
        ``(steps, D)``. The frames of a category are its values, whatever stands here.

    Raises:
        ValueError: If there is more than one row of context, or an argument does not fit.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors, traversals
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> traversals.traversed_values(model, steps=3)[:, 0]
        tensor([-2.3263,  0.0000,  2.3263])
    """
    steps = check_int(steps, "steps")
    with evaluating(model):
        prior = model.latent_prior(context)
        if prior.batch_shape.numel() != 1:
            raise ValueError(
                f"Expected one row of context, of shape (1, C), but got "
                f"{prior.batch_shape.numel()} rows; pass context[:1]."
            )
        return _values(prior, quantile(prior, 0.5).flatten(), steps, _ends(span))


def interpolate(
    model: VAE, start: Tensor, end: Tensor, steps: int = 11, *, context: Tensor | None = None
) -> Tensor:
    r"""Decode the straight line between the codes of two data.

    .. math::

        z_t = (1 - t)\,z_0 + t\,z_1, \quad t = 0, \dots, 1

    Dimensions that the prior puts on a sphere go along a great circle, at constant speed; between
    antipodes any of them will do.

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
        z = torch.lerp(first[:, None], last[:, None], t[:, None])
        for block in blocks(model.latent_prior(context)):
            if block.kind is constraints.Sphere:
                dims = list(block.dims)
                z[..., dims] = _great_circle(first[:, dims], last[:, dims], t)
        return _decode(model, z, context)


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
    numbers = [check_int(d, "each of dims", minimum=0) for d in given]
    if not numbers:
        raise ValueError(
            "Expected at least one latent dimension to traverse, but got dims=[]; "
            "leave dims out to traverse them all."
        )
    for d in numbers:
        if d >= len(code):
            raise ValueError(
                f"Expected latent dimensions between 0 and {len(code) - 1}, but got {d}; "
                f"leave dims out to traverse them all."
            )
    prior = model.latent_prior(context)
    values = _values(prior, code, steps, _ends(span))
    rows: dict[int, Tensor] = {}
    for block in blocks(prior):
        rows.update(_rows(block, code, values))
    # a row that several of dims stand for is shown once
    wanted = list({id(rows[d]): rows[d] for d in numbers}.values())
    frames = max(map(len, wanted))
    lengths = [len(z) for z in wanted]
    z = torch.stack([torch.cat((z, z[-1:].expand(frames - len(z), -1))) for z in wanted])
    images = _decode(model, z, context)
    for row, length in enumerate(lengths):
        images[row, length:] = torch.nan
    return images


def _values(
    prior: Distribution, like: Tensor, steps: int, ends: tuple[float, float] | None
) -> Tensor:
    """The values of every latent dimension, ``(steps, D)``, of the dtype of a vector of them."""
    if ends is not None:
        values = torch.linspace(*ends, steps, dtype=like.dtype, device=like.device)
        values = values[:, None].repeat(1, len(like))
        for block in blocks(prior):
            if block.kind is constraints.Sphere:
                values[:, list(block.dims)] = values[:, list(block.dims)].clamp(-1, 1)
        return values
    tail = (1 - CENTRAL_MASS) / 2
    u = torch.linspace(tail, 1 - tail, steps) if steps > 1 else torch.tensor([0.5])
    return quantile(prior, u).reshape(steps, -1).to(like)


def _rows(block: Block, code: Tensor, values: Tensor) -> dict[int, Tensor]:
    """For each dimension of a block the latents of its row, ``(frames, D)``."""
    dims = list(block.dims)
    if block.kind in CATEGORIES:
        z = code.repeat(len(dims), 1)
        z[:, dims] = torch.eye(len(dims), dtype=code.dtype, device=code.device)
        return dict.fromkeys(dims, z)
    found = {}
    for position, d in enumerate(dims):
        z = code.repeat(len(values), 1)
        z[:, d] = values[:, d]
        if block.kind is constraints.Sphere:
            z[:, dims] = _on_sphere(z[:, dims], position)
        found[d] = z
    return found


def _on_sphere(z: Tensor, d: int) -> Tensor:
    """Vectors with the same coordinate d (kept within -1 and 1), and unit length."""
    kept = torch.zeros_like(z)
    kept[:, d] = z[:, d].clamp(-1, 1)
    others = z.clone()
    others[:, d] = 0
    norm = torch.linalg.vector_norm(others, dim=-1, keepdim=True)
    # at a pole the other coordinates say no direction: take that of the next axis
    others[:, (d + 1) % z.shape[1]] += (norm[:, 0] == 0).to(z.dtype)
    norm = torch.where(norm == 0, 1.0, norm)
    rest = (1 - kept.square().sum(-1, keepdim=True)).sqrt()
    return kept + rest * others / norm


def _great_circle(first: Tensor, last: Tensor, t: Tensor) -> Tensor:
    """Points at parts t of the arc between unit vectors ``(B, D)``, ``(B, T, D)``."""
    a, b = F.normalize(first, dim=-1), F.normalize(last, dim=-1)
    along = (a * b).sum(-1, keepdim=True)
    across = _orthogonal(b, a)
    length = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
    angle = torch.atan2(length, along)
    # where the ends coincide or are antipodes, the direction is that of the axis farthest from them
    axis = F.one_hot(a.abs().argmin(-1), a.shape[-1]).to(a)
    across = torch.where(length > 1e-6, across, axis)
    across = F.normalize(_orthogonal(F.normalize(across, dim=-1), a), dim=-1)
    angles = (t * angle)[..., None]
    return F.normalize(angles.cos() * a[:, None] + angles.sin() * across[:, None], dim=-1)


def _orthogonal(v: Tensor, to: Tensor) -> Tensor:
    """The part of vectors that is orthogonal to unit vectors."""
    return v - (v * to).sum(-1, keepdim=True) * to


def _ends(span: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if span is None:
        return None
    pair = (-span, span) if isinstance(span, int | float | np.number) else span
    try:
        low, high = (float(end) for end in pair)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(
            f"Expected span to be a finite pair (low, high) with low < high, or a positive number, "
            f"but got {span!s:.60}; pass e.g. span=(-3.0, 3.0)."
        )
    return low, high


def _decode(model: VAE, z: Tensor, context: Tensor | None) -> Tensor:
    """Decode latents ``(R, steps, D)``; row r has context r, or the only one there is."""
    if context is not None:
        context = context[:, None].expand(z.shape[0], z.shape[1], -1).flatten(0, 1)
    return point(model.decode(z.flatten(0, 1), context)).unflatten(0, z.shape[:2])
