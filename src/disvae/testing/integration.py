r"""The integral of a density over its support, in one or two dimensions.

The support is mapped to the unit cube, with heavy tails pulled in. The cube is cut into cells that
hold equally many of the distribution's own samples each, so that narrow spikes get cells of their
size; every cell is integrated at stratified random points, and the cells that are least certain are
cut again. Where that does not give 1, as when many small components lie in vast empty cells,
importance sampling around the samples decides: slower, and without bias for any density.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.distributions import Distribution, Transform, biject_to, constraints

from disvae.distributions.constraints import Sphere

Density = Callable[[Tensor], Tensor]
# points of the unit cube to points of the support, and the log volume that each stands for
Chart = Callable[[Tensor], tuple[Tensor, Tensor]]

_SAMPLES_PER_CELL = 8
_CELLS = {1: 9, 2: 11}  # binary logarithms
_STRATA = {1: 8, 2: 3}  # for each dimension of a cell
_ROUNDS = 12
_NEIGHBOURS = 8
_KERNELS = 2048
_BLOCK = 4096


def support_of(d: Distribution) -> constraints.Constraint | None:
    """What the values of ``d`` are constrained to, below wrappers, or None where it is unknown."""
    try:
        support: Any = d.support
    except (NotImplementedError, AttributeError):
        return None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def dimensions(d: Distribution) -> int | None:
    """Over how many coordinates a density over vectors is to be integrated; None where unknown."""
    support, (size,) = support_of(d), d.event_shape
    if support is None or support.is_discrete:
        return None
    if isinstance(support, Sphere) or support is constraints.simplex:
        return size - 1
    if _bijection(support) is None:
        return None
    return size


def integral(
    log_density: Density, samples: Tensor, support: constraints.Constraint, tolerance: float
) -> tuple[float, float]:
    r"""The integral of a density and its standard error.

    Args:
        log_density: From points ``(n, D)`` to log densities ``(n,)``.
        samples: Samples ``(N, D)`` in float64, which say where to look.
        support: What they are constrained to.
        tolerance: The distance from 1 up to which the integral counts as 1: the work stops when
            the answer is clear.
    """
    u, chart = _to_cube(samples, support)
    d = u.shape[1]

    def density(points: Tensor) -> Tensor:
        found = []
        for block in points.reshape(-1, d).split(_BLOCK):
            z, log_volume = chart(block)
            # beyond the range of floats there is no mass to speak of
            valid = torch.isfinite(z).all(-1) & torch.isfinite(log_volume) & (log_volume > -600)
            log_p = log_density(torch.where(valid.unsqueeze(-1), z, samples[:1]))
            found.append(torch.where(valid, log_p + log_volume, -torch.inf).exp())
        return torch.cat(found).reshape(points.shape[:-1])

    total, error = _by_cells(density, u, tolerance)
    if total < 1 - tolerance:  # mass can be overlooked, never invented
        total, error = _by_importance(density, u, tolerance)
    return total, error


def samples_needed(dims: int) -> int:
    """How many samples :func:`integral` wants."""
    return _SAMPLES_PER_CELL * 2 ** _CELLS[dims]


def _by_cells(density: Density, u: Tensor, tolerance: float) -> tuple[float, float]:
    d = u.shape[1]
    low, high = _cells(u)
    mean, variance = _estimate(density, low, high)
    for round_ in range(_ROUNDS):
        total, error = mean.sum().item(), variance.sum().sqrt().item()
        if _clear(total, error, tolerance):
            break
        worst = torch.zeros_like(mean, dtype=torch.bool)
        worst[variance.topk(max(len(mean) // 4, 1)).indices] = True
        axis = round_ % d
        middle = (low[worst, axis] + high[worst, axis]) / 2
        left, right = high[worst].clone(), low[worst].clone()
        left[:, axis], right[:, axis] = middle, middle
        new_low, new_high = torch.cat((low[worst], right)), torch.cat((left, high[worst]))
        new_mean, new_variance = _estimate(density, new_low, new_high)
        low, high = torch.cat((low[~worst], new_low)), torch.cat((high[~worst], new_high))
        mean = torch.cat((mean[~worst], new_mean))
        variance = torch.cat((variance[~worst], new_variance))
    return mean.sum().item(), variance.sum().sqrt().item()


def _cells(u: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes that fill the unit cube, ``(L, d)`` low and high corners, with equally many points."""
    d = u.shape[1]
    points = u.unsqueeze(0)
    low, high = torch.zeros_like(u[:1]), torch.ones_like(u[:1])
    for level in range(_CELLS[d]):
        axis = level % d
        order = points[..., axis].argsort(dim=1)
        points = points.gather(1, order.unsqueeze(-1).expand_as(points))
        half = points.shape[1] // 2
        cut = points[:, half - 1 : half + 1, axis].mean(1)
        left, right = high.clone(), low.clone()
        left[:, axis], right[:, axis] = cut, cut
        low, high = torch.stack((low, right), 1), torch.stack((left, high), 1)
        low, high = low.flatten(0, 1), high.flatten(0, 1)
        points = points.reshape(len(low), half, d)
    return low, high


def _estimate(density: Density, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The integral over each box by one random point in each stratum, and its variance."""
    d = low.shape[1]
    n = _STRATA[d]
    steps = torch.arange(n, dtype=low.dtype, device=low.device)
    corners = torch.cartesian_prod(*[steps] * d).reshape(-1, d)
    within = (corners + torch.rand(len(low), n**d, d, dtype=low.dtype, device=low.device)) / n
    values = density(low.unsqueeze(1) + (high - low).unsqueeze(1) * within)
    volume = (high - low).prod(1)
    # the variance is that of unstratified points: an upper bound
    return volume * values.mean(1), volume.square() * values.var(1) / n**d


def _by_importance(density: Density, u: Tensor, tolerance: float) -> tuple[float, float]:
    """Points drawn from heavy-tailed kernels, each as wide as the samples there are apart."""
    n, d = u.shape
    near, _ = cKDTree(u.cpu().numpy()).query(u.cpu().numpy(), k=[_NEIGHBOURS])
    width = torch.as_tensor(near, dtype=u.dtype, device=u.device).clamp(min=1e-12)
    chosen = torch.randint(n, (_KERNELS,), device=u.device)
    centre, width = u[chosen], width[chosen].squeeze(1)
    norm = {1: 1 / math.pi, 2: 1 / (2 * math.pi)}[d] / _KERNELS
    found: list[Tensor] = []
    total, error = 0.0, math.inf
    for _ in range(_ROUNDS):
        # a Cauchy vector is a normal one over the magnitude of a normal number
        noise = torch.randn(2 * _KERNELS, d + 1, dtype=u.dtype, device=u.device)
        cauchy = noise[:, :d] / noise[:, d:].abs().clamp(min=1e-300)
        points = centre.repeat(2, 1) + width.repeat(2).unsqueeze(1) * cauchy
        points = points[((points > 0) & (points < 1)).all(1)]
        drawn_from = []
        for block in points.split(_BLOCK // 32):
            # one coordinate at a time: several times as fast as cdist
            offsets = ((block[:, i, None] - centre[:, i]) / width for i in range(d))
            spread = sum((offset.square() for offset in offsets), start=torch.ones_like(width))
            kernel = 1 / spread if d == 1 else 1 / (spread * spread.sqrt())
            drawn_from.append(kernel @ (norm / width**d))
        weights = density(points) / torch.cat(drawn_from)
        outside = weights.new_zeros(2 * _KERNELS - len(points))
        found.append(torch.cat((weights, outside)))
        every = torch.cat(found)
        total, error = every.mean().item(), (every.std() / len(every) ** 0.5).item()
        if _clear(total, error, tolerance):
            break
    return total, error


def _clear(total: float, error: float, tolerance: float) -> bool:
    """Whether more work would not change the answer."""
    clear = abs(abs(total - 1) - tolerance) > 4 * error and error < tolerance / 2
    return clear or not math.isfinite(total)


def _to_cube(samples: Tensor, support: constraints.Constraint) -> tuple[Tensor, Chart]:
    if isinstance(support, Sphere):
        return _circle(samples) if samples.shape[1] == 2 else _sphere(samples)
    if support is constraints.simplex:
        y = samples.clamp(min=torch.finfo(samples.dtype).tiny).log()
        return _tails(y[:, :-1] - y[:, -1:], _from_log_ratios)
    bijection = _bijection(support)
    if bijection is None:
        raise ValueError(f"Expected a support with a chart, but got {support}; check it first.")

    def forward(y: Tensor) -> tuple[Tensor, Tensor]:
        z = bijection(y)
        return z, bijection.log_abs_det_jacobian(y, z).expand_as(y).sum(-1)

    return _tails(bijection.inv(samples), forward)


def _tails(y: Tensor, chart: Chart) -> tuple[Tensor, Chart]:
    """Real vectors to the cube by the cdf of a Cauchy distribution of their place and width."""
    quartiles = torch.tensor([0.25, 0.5, 0.75], dtype=y.dtype, device=y.device)
    low, middle, high = torch.quantile(y, quartiles, dim=0)
    width = (high - low).clamp(min=1e-12) / 2

    def from_cube(u: Tensor) -> tuple[Tensor, Tensor]:
        angle = math.pi * (u - 0.5)
        z, log_volume = chart(middle + width * angle.tan())
        stretch = width.log() + math.log(math.pi) - 2 * angle.cos().clamp(min=1e-300).log()
        return z, log_volume + stretch.sum(-1)

    return 0.5 + ((y - middle) / width).atan() / math.pi, from_cube


def _from_log_ratios(y: Tensor) -> tuple[Tensor, Tensor]:
    """To the simplex: the volume of its first K - 1 coordinates is the product of all K."""
    log_z = torch.cat((y, torch.zeros_like(y[:, :1])), dim=-1).log_softmax(-1)
    return log_z.exp(), log_z.sum(-1)


def _circle(samples: Tensor) -> tuple[Tensor, Chart]:
    def chart(u: Tensor) -> tuple[Tensor, Tensor]:
        angle = 2 * math.pi * u - math.pi
        return torch.cat((angle.cos(), angle.sin()), dim=-1), _constant(u, 2 * math.pi)

    return torch.atan2(samples[:, 1:], samples[:, :1]) / (2 * math.pi) + 0.5, chart


def _sphere(samples: Tensor) -> tuple[Tensor, Chart]:
    """By longitude and height: equal areas."""

    def chart(u: Tensor) -> tuple[Tensor, Tensor]:
        angle, height = 2 * math.pi * u[:, 0] - math.pi, 2 * u[:, 1] - 1
        radius = (1 - height.square()).sqrt()
        z = torch.stack((radius * angle.cos(), radius * angle.sin(), height), dim=-1)
        return z, _constant(u, 4 * math.pi)

    angle = torch.atan2(samples[:, 1], samples[:, 0]) / (2 * math.pi) + 0.5
    return torch.stack((angle, (samples[:, 2].clamp(-1, 1) + 1) / 2), dim=-1), chart


def _constant(u: Tensor, volume: float) -> Tensor:
    return torch.full_like(u[:, 0], math.log(volume))


def _bijection(support: constraints.Constraint) -> Transform | None:
    """The map from real numbers to a support that constrains each coordinate on its own."""
    if support.is_discrete or support.event_dim:
        return None
    try:
        return biject_to(support)
    except NotImplementedError:
        return None
