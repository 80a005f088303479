"""What point estimates, traversals and per-dimension terms need of a distribution.

Not every distribution has a mean, an inverse cdf or a factorisation: flows and transformed
distributions have none, and ``Independent`` and ``StudentT`` have no ``icdf`` in torch. These
functions use the closed form where it exists, and samples with a fixed seed where it does not.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Cauchy,
    Distribution,
    Gumbel,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    StudentT,
)

from disvae.distributions.joint import Joint, JointMarginals
from disvae.distributions.mixtures import GaussianMixture, Mixture
from disvae.distributions.multivariate import DEPENDENT_NORMALS
from disvae.distributions.noise import seeded
from disvae.distributions.pushforward import Pushforward, is_factorised
from disvae.distributions.relaxed import RelaxedCategorical
from disvae.distributions.scaled import ScaledMarginals
from disvae.distributions.spherical import PowerSpherical
from disvae.distributions.wrapping import base_of

POINT_SAMPLES = 256
QUANTILE_SAMPLES = 10_000
_SEED = 0
_LOCATION_SCALE = (Normal, Laplace, StudentT, Cauchy, Gumbel)
# their means lie where they have no mass: between categories, inside the sphere
_BY_MODE = (Categorical, RelaxedCategorical, PowerSpherical)


def point(d: Distribution) -> Tensor:
    r"""A deterministic point estimate: the mean, the mode, or the mean of 256 fixed-seed samples.

    The mean is used where it is defined and finite; the mode for categories, relaxed or not (the
    likeliest one), and on the sphere, where a mean has no mass; else the mean of 256 samples from
    a forked generator with a fixed seed: the same at every call, and the global generator is left
    alone. For the sampled estimate a value depends, within its Monte Carlo error, on the position
    in the batch. Blocks of a joint distribution are taken one by one, and a linear map of a
    distribution has the map of its point.

    Args:
        d: Any distribution.

    Shape:
        ``batch_shape + event_shape`` of ``d``.

    Example:
        >>> import torch
        >>> point(torch.distributions.Normal(torch.tensor([1.0, 2.0]), 1.0))
        tensor([1., 2.])
        >>> point(torch.distributions.Categorical(probs=torch.tensor([0.1, 0.9])))
        tensor(1)
    """
    if isinstance(d, Joint):
        return d.join([point(block) for block in d.blocks])
    if isinstance(d, Pushforward):
        return d.map(point(d.base))
    if isinstance(base_of(d), _BY_MODE):
        return d.mode
    try:
        mean = d.mean
    except (NotImplementedError, AttributeError):
        mean = None
    if mean is not None and torch.isfinite(mean).all():
        return mean
    estimate = _fixed_samples(d, POINT_SAMPLES).mean(0)
    # where only some means are undefined (Student-t with a df a dimension), the others are kept
    return estimate if mean is None else torch.where(torch.isfinite(mean), mean, estimate)


def quantile(d: Distribution, u: Tensor | float | Sequence[float]) -> Tensor:
    r"""The values below which a fraction ``u`` of each dimension of ``d`` lies.

    It is the inverse cdf of the marginals where there is one, else their cdf inverted numerically
    (mixtures), else the empirical quantiles, per dimension, of 10,000 samples from a forked
    generator with a fixed seed.

    Args:
        d: Any distribution of real values.
        u: Probabilities strictly between 0 and 1, of any shape.

    Shape:
        ``u.shape + batch_shape + event_shape``.

    Raises:
        ValueError: If a probability is outside (0, 1).

    Example:
        >>> import torch
        >>> d = torch.distributions.Normal(torch.zeros(2), torch.tensor([1.0, 2.0]))
        >>> quantile(torch.distributions.Independent(d, 1), 0.975)
        tensor([1.9600, 3.9199])
    """
    try:
        u = torch.as_tensor(u)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"Expected probabilities u to be numbers, but got {type(u).__name__}; "
            f"0.025 and 0.975 enclose the central 95 %."
        ) from None
    outside = u[~((u > 0) & (u < 1))]
    if u.numel() == 0 or outside.numel():
        raise ValueError(
            f"Expected probabilities u strictly between 0 and 1, but got "
            f"{f'{outside[0].item():g}' if outside.numel() else 'none'}; "
            f"0.025 and 0.975 enclose the central 95 %."
        )
    if isinstance(d, Joint):
        return d.join([quantile(block, u) for block in d.blocks])
    shape = d.batch_shape + d.event_shape
    like = _fixed_samples(d, 1)
    u = u.to(like.device, like.dtype)
    levels = u.reshape(u.shape + (1,) * len(shape)).expand(u.shape + shape)
    try:
        each = marginals(d) if d.event_shape else d
    except ValueError:
        each = d
    try:
        return each.icdf(levels)
    except NotImplementedError:
        pass
    samples = _fixed_samples(d, QUANTILE_SAMPLES)
    try:
        low, high = samples.amin(0).expand_as(levels), samples.amax(0).expand_as(levels)
        return _inverted(each.cdf, levels, low, high)
    except NotImplementedError:
        # torch.quantile refuses more than 16 million values at once: one column at a time is safe
        columns = samples.reshape(QUANTILE_SAMPLES, -1).unbind(1)
        found = torch.stack([torch.quantile(c, u.flatten()) for c in columns], dim=-1)
        return found.reshape(u.shape + shape)


def _inverted(cdf: Callable[[Tensor], Tensor], levels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where an increasing function reaches the levels, by bisection from a first bracket."""
    for _ in range(64):
        if (cdf(low) <= levels).all() and (cdf(high) >= levels).all():
            break
        low, high = 2 * low - high, 2 * high - low
    for _ in range(64):
        middle = (low + high) / 2
        below = cdf(middle) < levels
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def marginals(d: Distribution) -> Distribution:
    r"""The distribution of each dimension on its own, as one batch.

    Args:
        d: A distribution over vectors: ``Independent``, a multivariate normal, a mixture of these
            (components must be diagonal and of a location-scale family), a joint of such blocks, or
            a linear map of one that permutes and scales the axes.

    Shape:
        For ``d`` of batch shape ``(B,)`` and event shape ``(D,)``, the result has batch shape
        ``(B, D)`` and event shape ``()``.

    Raises:
        ValueError: If ``d`` has no marginals in closed form (flows, transformed distributions).

    Example:
        >>> import torch
        >>> d = torch.distributions.MultivariateNormal(torch.zeros(2), torch.diag(torch.ones(2)))
        >>> marginals(d)
        Normal(loc: torch.Size([2]), scale: torch.Size([2]))
    """
    if isinstance(d, Independent):
        if is_factorised(d):
            return base_of(d)
    elif isinstance(d, DEPENDENT_NORMALS):
        return Normal(d.loc, d.variance.sqrt(), validate_args=False)
    elif isinstance(d, GaussianMixture):
        return d.marginals()
    elif isinstance(d, MixtureSameFamily) and len(d.event_shape) == 1:
        return _mixture_marginals(d)
    elif isinstance(d, Joint):
        return JointMarginals(d, [marginals(block) for block in d.blocks])
    elif isinstance(d, Pushforward) and d.map.order is not None:
        return ScaledMarginals(marginals(d.base), d.map)
    raise _no_marginals(d)


def _mixture_marginals(d: MixtureSameFamily) -> MixtureSameFamily:
    component = marginals(d.component_distribution)  # batch (…, K, D)
    if not isinstance(component, _LOCATION_SCALE):
        raise _no_marginals(d)
    # the components go last, once for every dimension: (…, D, K)
    names = component.arg_constraints
    parameters = {name: getattr(component, name).transpose(-1, -2) for name in names}
    logits = d.mixture_distribution.logits.unsqueeze(-2)
    logits = logits.expand(parameters["loc"].shape)
    return Mixture(
        Categorical(logits=logits, validate_args=False),
        type(component)(**parameters, validate_args=False),
        validate_args=False,
    )


def _no_marginals(d: Distribution) -> ValueError:
    return ValueError(
        f"Expected a distribution with per-dimension marginals, but "
        f"{type(base_of(d)).__name__} has none in closed form; use a factorised one "
        f"(posteriors.DiagonalNormal, priors.Normal), or a term that needs joint densities only, "
        f"such as terms.KL."
    )


def _fixed_samples(d: Distribution, n: int) -> Tensor:
    """``n`` samples, the same at every call; the global generators are left as they were."""
    with seeded(_SEED):
        shape = torch.Size((n,))
        samples = d.rsample(shape) if d.has_rsample else d.sample(shape)
    return samples if samples.is_floating_point() else samples.to(torch.get_default_dtype())
