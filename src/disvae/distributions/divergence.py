r"""The Kullback-Leibler divergence between any two distributions."""

from torch import Tensor
from torch.distributions import (
    Distribution,
    ExponentialFamily,
    Independent,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.kl import _KL_MEMOIZE, _KL_REGISTRY, _dispatch_kl
from torch.distributions.utils import _sum_rightmost

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
        raise ValueError(
            f"Expected a prior whose support covers that of the posterior, but KL("
            f"{q_type.__name__} ‖ {p_type.__name__}) is infinite; take a prior on all real "
            f"numbers, such as priors.Normal or priors.Laplace."
        )
    return True


# What torch.compiler.assume_constant_result sets: the answer is a constant to the compiler. The
# decorator itself imports the compiler, which takes as long as importing torch.
_registered._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _unwrapped(q: Distribution, p: Distribution) -> tuple[Distribution, Distribution, int]:
    """Both bases below equal layers of ``Independent``, and how many batch axes those join."""
    axes = 0
    while (
        isinstance(q, Independent)
        and isinstance(p, Independent)
        and q.reinterpreted_batch_ndims == p.reinterpreted_batch_ndims
    ):
        axes += q.reinterpreted_batch_ndims
        q, p = q.base_dist, p.base_dist
    return q, p, axes


def has_closed_form(q: Distribution, p: Distribution) -> bool:
    r"""Whether :func:`kl` computes :math:`KL(q \| p)` in closed form.

    The answer depends on the types of the two distributions only (below equal ``Independent``
    wrappers), so that it is the same at every step and under ``torch.compile``. Closed forms are
    those of ``torch.distributions.kl``, and the user's own, registered with torch's
    ``register_kl``.

    Example:
        >>> import torch
        >>> from torch.distributions import Normal, StudentT
        >>> has_closed_form(Normal(0.0, 1.0), Normal(1.0, 2.0))
        True
        >>> has_closed_form(Normal(0.0, 1.0), StudentT(5.0))
        False
    """
    q, p, _ = _unwrapped(q, p)
    return _registered(type(q), type(p))


def kl(q: Distribution, p: Distribution, z: Tensor | None = None) -> Tensor:
    r"""The divergence of ``q`` from ``p``, in closed form where there is one.

    .. math::

        KL(q \| p) = E_{z \sim q}[\log q(z) - \log p(z)]

    Where no closed form is registered for the types, the expectation is replaced by its integrand
    at the samples ``z``: an unbiased Monte Carlo estimate, differentiable through ``z``.

    Args:
        q: The distribution to average over, e.g. a posterior :math:`q(z|x)`.
        p: The reference, e.g. a prior :math:`p(z)`; its batch shape broadcasts with that of ``q``.
        z: Samples of ``q``, needed where there is no closed form (see :func:`has_closed_form`).

    Shape:
        Closed form: the broadcast batch shape, e.g. ``(B,)``. Monte Carlo: one value per sample,
        ``sample_shape + (B,)`` for ``z`` of shape ``sample_shape + (B, D)``. In nats.

    Raises:
        ValueError: If the event shapes differ, or if samples are needed and not given.

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
    q_base, p_base, axes = _unwrapped(q, p)
    if _registered(type(q_base), type(p_base)):
        return _sum_rightmost(kl_divergence(q_base, p_base), axes)
    if z is None:
        raise ValueError(
            f"Expected samples z of q, because KL({type(q_base).__name__} ‖ "
            f"{type(p_base).__name__}) has no closed form; pass z=q.rsample()."
        )
    return q.log_prob(z) - p.log_prob(z)
