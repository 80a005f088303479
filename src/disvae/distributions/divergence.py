r"""The Kullback-Leibler divergence between any two distributions."""

from typing import Any

from torch import Tensor
from torch.distributions import (
    Distribution,
    ExponentialFamily,
    Independent,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.kl import _KL_MEMOIZE, _KL_REGISTRY, _dispatch_kl
from torch.distributions.utils import _sum_rightmost

from disvae.distributions.joint import Joint, JointMarginals
from disvae.distributions.multivariate import DEPENDENT_NORMALS, DiagonalNormal
from disvae.distributions.supports import check_supports, infinite

# torch registers these for whole families, but they raise for most members of the family, by the
# *values* of the pair (unequal transforms, unequal classes). The estimator must follow from the
# types alone, so such pairs take the Monte Carlo estimate.
_NOT_CLOSED = {
    NotImplemented,
    *(_KL_REGISTRY[f, f] for f in (ExponentialFamily, Independent, TransformedDistribution)),
}

# torch's name for the pairs whose supports make the divergence infinite
_INFINITE = {f for f in _KL_REGISTRY.values() if f.__name__.endswith("_infinity")}


def _registered(q_type: type[Distribution], p_type: type[Distribution]) -> bool:
    """Whether a closed form is registered for the pair of types.

    It also leaves the function in torch's memo, where ``kl_divergence`` finds it: torch's own first
    look-up cannot be traced, so a model compiled before it ever ran would fail, or would silently
    take another estimator.
    """
    pair = q_type, p_type
    if pair not in _KL_MEMOIZE:
        _KL_MEMOIZE[pair] = _dispatch_kl(q_type, p_type)
    function = _KL_MEMOIZE[pair]
    if function in _NOT_CLOSED:
        return False
    if function in _INFINITE:
        raise infinite(q_type, p_type)
    return True


# What torch.compiler.assume_constant_result sets: the answer is a constant to the compiler. The
# decorator itself imports the compiler, which takes as long as importing torch.
_registered._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _unwrapped(q: Distribution, p: Distribution) -> tuple[Distribution, Distribution, int]:
    """The pair to look up, and how many batch axes of its divergence are to be summed.

    Equal layers of ``Independent`` are taken off both. Where one of the two has dependent
    dimensions, a factorised normal is seen as a distribution of vectors too.
    """
    axes = 0
    while (
        isinstance(q, Independent)
        and isinstance(p, Independent)
        and q.reinterpreted_batch_ndims == p.reinterpreted_batch_ndims
    ):
        axes += q.reinterpreted_batch_ndims
        q, p = q.base_dist, p.base_dist
    if isinstance(p, DEPENDENT_NORMALS):
        q = _as_vector(q)
    elif isinstance(q, DEPENDENT_NORMALS):
        p = _as_vector(p)
    return q, p, axes


def _as_vector(d: Distribution) -> Distribution:
    if (
        isinstance(d, Independent)
        and d.reinterpreted_batch_ndims == 1
        and isinstance(d.base_dist, Normal)
    ):
        return DiagonalNormal(d.base_dist.loc, d.base_dist.scale)
    return d


def _same_blocks(q: Any, p: Any) -> bool:
    """Whether both are made of the same blocks of dimensions."""
    return type(q) is type(p) and isinstance(q, Joint | JointMarginals) and q.dims == p.dims


def has_closed_form(q: Any, p: Any) -> bool:
    r"""Whether :func:`kl` computes :math:`KL(q \| p)` in closed form.

    The answer depends on the types of the two distributions only (below equal ``Independent``
    wrappers), so that it is the same at every step and under ``torch.compile``. Closed forms are
    those of ``torch.distributions.kl``, those between normals with dependent and with independent
    dimensions, and the user's own, registered with torch's ``register_kl``.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal, StudentT
        >>> has_closed_form(Normal(0.0, 1.0), Normal(1.0, 2.0))
        True
        >>> has_closed_form(Normal(0.0, 1.0), StudentT(5.0))
        False
    """
    if _same_blocks(q, p):
        return all(has_closed_form(a, b) for a, b in zip(q.blocks, p.blocks, strict=True))
    q, p, _ = _unwrapped(q, p)
    return _registered(type(q), type(p))


def kl(
    q: Distribution, p: Distribution, z: Tensor | None = None, *, analytic: bool = True
) -> Tensor:
    r"""The divergence of ``q`` from ``p``, in closed form where there is one.

    .. math::

        KL(q \| p) = E_{z \sim q}[\log q(z) - \log p(z)]

    Where no closed form is registered for the types, the expectation is replaced by its integrand
    at the samples ``z``: an unbiased Monte Carlo estimate, differentiable through ``z``. For two
    joint distributions of the same blocks it is the sum over blocks, each by this rule.

    Args:
        q: The distribution to average over, e.g. a posterior :math:`q(z|x)`.
        p: The reference, e.g. a prior :math:`p(z)`; its batch shape broadcasts with that of ``q``.
        z: Samples of ``q``, needed where there is no closed form (see :func:`has_closed_form`).
        analytic: Whether the closed form is taken where there is one; else the estimate always.

    Shape:
        Closed form: the broadcast batch shape, e.g. ``(B,)``. Monte Carlo: one value per sample,
        ``sample_shape + (B,)`` for ``z`` of shape ``sample_shape + (B, D)``. In nats.

    Raises:
        ValueError: If the event shapes differ, if ``q`` has no density, if the divergence is
            infinite because ``q`` has mass where ``p`` has none, or if samples are needed and not
            given.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.ones(4, 2), 1.0), 1)
        >>> p = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> kl(q, p)
        tensor([1., 1., 1., 1.])

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114,
        appendix B.
    """
    if q.event_shape != p.event_shape:
        raise ValueError(
            f"Expected q and p to have the same event shape, but got {tuple(q.event_shape)} and "
            f"{tuple(p.event_shape)}; give both the same latent_dim."
        )
    if _same_blocks(q, p):
        return _kl_of_blocks(q, p, z, analytic)
    if not getattr(q, "has_density", True):
        q.log_prob(q.mean)  # raises, and says what to do
    q_base, p_base, axes = _unwrapped(q, p)
    if analytic and _registered(type(q_base), type(p_base)):
        return _sum_rightmost(kl_divergence(q_base, p_base), axes)
    check_supports(q, p)
    if z is None:
        raise ValueError(
            f"Expected samples z of q, because KL({type(q_base).__name__} ‖ "
            f"{type(p_base).__name__}) is not taken in closed form; pass z=q.rsample()."
        )
    return q.log_prob(z) - p.log_prob(z)


def log_ratio(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    r"""The integrand of the divergence, :math:`\log q(z) - \log p(z)`.

    Its negative is the log importance weight of ``p`` under samples of ``q``.

    Args:
        q: The distribution that was sampled.
        p: The reference.
        z: The samples, ``sample_shape + (B, D)``.

    Shape:
        ``sample_shape + (B,)``, in nats.

    Raises:
        ValueError: If the two live on different sets, where densities cannot be compared, or ``q``
            has no density.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.ones(4, 2), 1.0), 1)
        >>> p = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> log_ratio(q, p, torch.zeros(4, 2))
        tensor([-1., -1., -1., -1.])
    """
    check_supports(q, p, wider=True)
    return q.log_prob(z) - p.log_prob(z)


def _kl_of_blocks(q: Any, p: Any, z: Tensor | None, analytic: bool) -> Tensor:
    parts = [None] * len(q.blocks) if z is None else q.split(z)
    return q.combine(
        [
            kl(a, b, part, analytic=analytic)
            for a, b, part in zip(q.blocks, p.blocks, parts, strict=True)
        ]
    )
