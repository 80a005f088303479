"""The variational autoencoder: an encoder, a decoder and a prior, composed and checked."""

import dataclasses
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from disvae.distributions import is_factorised, marginals, point
from disvae.nn import check_float, positive_int


@dataclasses.dataclass(frozen=True, eq=False)
class VAEOutput:
    r"""One forward pass: all that a term of an objective may read.

    Attributes:
        x: The data, ``(B, *event)``.
        z: Samples of the posterior, ``sample_shape + (B, D)``.
        posterior: :math:`q(z|x)`, batch shape ``(B,)``, event shape ``(D,)``.
        prior: :math:`p(z)`, batch shape ``()`` or ``(B,)``, event shape ``(D,)``.
        likelihood: :math:`p(x|z)`, batch shape ``sample_shape + (B,)``, event that of ``x``.
        context: What the parts were conditioned on, ``(B, C)``, or None.
    """

    x: Tensor
    z: Tensor
    posterior: Distribution
    prior: Distribution
    likelihood: Distribution
    context: Tensor | None = None

    # functools.cached_property takes a lock, which torch.compile cannot trace
    _cache: dict[str, tuple[Tensor, Tensor]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def pairwise_log_densities(self) -> tuple[Tensor, Tensor]:
        r"""Log densities of every sample under every posterior of the batch.

        Computed once for each pass, for all the terms that need the aggregate posterior.

        Shape:
            :math:`\log q(z_i|x_j)` as ``sample_shape + (B, B)`` and :math:`\log q(z_{i,d}|x_j)` as
            ``sample_shape + (B, B, D)``, indexed i, j, d.

        Raises:
            ValueError: If the posterior has no marginals in closed form.
        """
        if "pairwise" not in self._cache:
            z = self.z.unsqueeze(-2)
            each = marginals(self.posterior).log_prob(z)
            joint = each.sum(-1) if is_factorised(self.posterior) else self.posterior.log_prob(z)
            self._cache["pairwise"] = joint, each
        return self._cache["pairwise"]


class VAE(nn.Module):
    r"""A variational autoencoder, composed of modules that return distributions.

    .. math::

        q(z|x) = \text{encoder}(x), \quad p(z) = \text{prior}(), \quad
        p(x|z) = \text{decoder}(z)

    A part is any ``nn.Module`` whose ``forward`` returns a ``torch.distributions.Distribution``,
    joint over its event; nothing is registered or subclassed. Given a context, every part is called
    with it as the last argument; without one, no part is.

    Args:
        encoder: ``encoder(x)`` or ``encoder(x, context)`` returns :math:`q(z|x)`.
        decoder: ``decoder(z)`` or ``decoder(z, context)`` returns :math:`p(x|z)`.
        prior: ``prior()`` or ``prior(context)`` returns :math:`p(z)`.
        check_values: Whether data are checked to be finite and inside the likelihood's support.
            The check costs one pass over the data, and on a GPU a wait for the device; it is
            skipped while compiling.

    Raises:
        ValueError: If the parts disagree on the number of latent dimensions (here where they tell,
            else at the first pass), or the data do not fit.
        TypeError: If a part is no module, or returns no distribution.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> encoder, decoder = encoders.MLP(784, 10), decoders.MLP(10, 784)
        >>> model = disvae.VAE(encoder, decoder, prior=priors.Normal(10))
        >>> out = model(torch.rand(4, 784))
        >>> out.z.shape, out.likelihood.log_prob(out.x).shape
        (torch.Size([4, 10]), torch.Size([4]))

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, prior: nn.Module, check_values: bool = True
    ) -> None:
        super().__init__()
        for name, part in (("encoder", encoder), ("decoder", decoder), ("prior", prior)):
            if not isinstance(part, nn.Module):
                raise TypeError(
                    f"Expected {name} to be an nn.Module, but got {part!r:.80}; "
                    f"pass an instance, not a class or a function."
                )
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.check_values = check_values
        _check_latent_dims(encoder, decoder, prior)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        r"""The posterior :math:`q(z|x)` of data ``(B, *event)``."""
        self._range(x)
        return self._posterior(x, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        r"""The likelihood :math:`p(x|z)` of latents ``sample_shape + (B, D)``."""
        self._check_context(context)
        return _distribution(_call(self.decoder, "decoder", z, context=context), "decoder")

    def latent_prior(self, context: Tensor | None = None) -> Distribution:
        r"""The prior :math:`p(z)`, of batch shape ``()``, or ``(B,)`` given a context."""
        self._check_context(context)
        prior = _distribution(_call(self.prior, "prior", context=context), "prior")
        batch = () if context is None else (len(context),)
        if prior.batch_shape not in ((), batch) or len(prior.event_shape) != 1:
            raise ValueError(
                f"Expected the prior to return a distribution of batch shape () or, given a "
                f"context, (B,), and event shape (D,), but got {tuple(prior.batch_shape)} and "
                f"{tuple(prior.event_shape)}; wrap it in torch.distributions.Independent(…, 1)."
            )
        return prior

    def forward(
        self, x: Tensor, context: Tensor | None = None, sample_shape: Size | tuple[int, ...] = ()
    ) -> VAEOutput:
        """One pass: posterior, samples of it, prior, and likelihood.

        Samples are drawn in training and in evaluation mode alike.

        Args:
            x: The data, ``(B, *event)``.
            context: What every part is conditioned on, ``(B, C)``.
            sample_shape: The shape of the samples for each datum, leading in z.
        """
        ends = self._range(x)
        posterior = self._posterior(x, context)
        prior = self.latent_prior(context)
        if prior.event_shape != posterior.event_shape:
            raise ValueError(
                f"Expected encoder and prior to have the same latent_dim, but got event shapes "
                f"{tuple(posterior.event_shape)} and {tuple(prior.event_shape)}; "
                f"build both with one latent_dim."
            )
        z = _sample(posterior, Size(sample_shape))
        likelihood = self.decode(z, context)
        if likelihood.event_shape != x.shape[1:] or likelihood.batch_shape != z.shape[:-1]:
            raise ValueError(
                f"Expected the decoder to return a likelihood of batch shape "
                f"{tuple(z.shape[:-1])} and event shape {tuple(x.shape[1:])}, but got "
                f"{tuple(likelihood.batch_shape)} and {tuple(likelihood.event_shape)}; build it "
                f"for the data's shape, and wrap what it returns in Independent."
            )
        if ends is not None:
            _check_support(ends, likelihood)
        return VAEOutput(x, z, posterior, prior, likelihood, context)

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Point estimates of the data for ``n`` draws from the prior, ``(n, *event)``.

        Args:
            n: How many.
            context: ``n`` rows of context, ``(n, C)``.
        """
        positive_int(n, "n")
        if context is not None and len(context) != n:
            raise ValueError(
                f"Expected {n} rows of context for {n} samples, but got {len(context)}; "
                f"pass one row for each, or context[:1].expand({n}, -1)."
            )
        prior = self.latent_prior(context)
        z = prior.sample() if prior.batch_shape else prior.sample(Size((n,)))
        return point(self.decode(z, context))

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The data decoded from the point estimate of their posterior: deterministic."""
        return point(self.decode(point(self.encode(x, context)), context))

    def _posterior(self, x: Tensor, context: Tensor | None) -> Distribution:
        self._check_context(context)
        posterior = _call(self.encoder, "encoder", x, context=context)
        posterior = _distribution(posterior, "encoder")
        if posterior.batch_shape != x.shape[:1] or len(posterior.event_shape) != 1:
            raise ValueError(
                f"Expected the encoder to return a distribution of batch shape ({len(x)},) and "
                f"event shape (D,), but got {tuple(posterior.batch_shape)} and "
                f"{tuple(posterior.event_shape)}; wrap it in torch.distributions.Independent(…, 1)."
            )
        return posterior

    def _check_context(self, context: Tensor | None) -> None:
        if context is None:
            return
        parts = (self.encoder, self.decoder, self.prior)
        if all(getattr(part, "context_dim", None) == 0 for part in parts):
            raise ValueError(
                "Expected no context, because no part of this model uses one; "
                "build encoder, decoder or prior with context_dim, or leave context= out."
            )

    def _range(self, x: Tensor) -> tuple[float, float] | None:
        """The least and the largest value of x, or None where values are not checked."""
        check_float(x, "x")
        if x.numel() == 0:
            raise ValueError(
                f"Expected x to have at least one datum, but got shape {tuple(x.shape)}; "
                f"skip empty batches."
            )
        if not self.check_values or torch.compiler.is_compiling():
            return None
        low, high = torch.stack(torch.aminmax(x.detach())).tolist()
        if not (math.isfinite(low) and math.isfinite(high)):  # NaN passes through aminmax
            raise ValueError(
                f"Expected x to be finite, but got values from {low:g} to {high:g}; "
                f"remove or replace NaN and infinity first."
            )
        return low, high


@contextmanager
def evaluating(model: VAE) -> Iterator[None]:
    """Evaluation mode and no gradients; every submodule gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _call(part: nn.Module, name: str, *arguments: Tensor, context: Tensor | None) -> Any:
    """Call a part by the context rule: with the context where there is one, else without."""
    if context is None:
        return part(*arguments)
    if not torch.compiler.is_compiling():
        try:
            inspect.signature(part.forward).bind(*arguments, context)
        except TypeError:
            raise TypeError(
                f"Expected the {name} to take a context, but {type(part).__name__}.forward accepts "
                f"none; wrap it in disvae.nn.Unconditional."
            ) from None
    return part(*arguments, context)


def _distribution(value: Any, name: str) -> Distribution:
    if not isinstance(value, Distribution):
        raise TypeError(
            f"Expected the {name} to return a torch.distributions.Distribution, but got "
            f"{type(value).__name__}; end it with a head of disvae.posteriors or "
            f"disvae.likelihoods."
        )
    return value


def _sample(posterior: Distribution, sample_shape: Size) -> Tensor:
    if posterior.has_rsample:
        return posterior.rsample(sample_shape)
    if torch.is_grad_enabled():
        raise TypeError(
            f"Expected a posterior with reparameterised samples, but {type(posterior).__name__} "
            f"has no rsample, so the encoder would not be trained; use a relaxed distribution."
        )
    return posterior.sample(sample_shape)


def _check_support(ends: tuple[float, float], likelihood: Distribution) -> None:
    """Whether the ends of the data lie in an interval that supports the likelihood."""
    support = likelihood.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    bounds = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if bounds[0] is None or bounds[1] is None:
        return
    lower, upper = float(bounds[0]), float(bounds[1])
    if ends[0] < lower or ends[1] > upper:
        base = likelihood
        while isinstance(base, Independent):
            base = base.base_dist
        raise ValueError(
            f"Expected x inside [{lower:g}, {upper:g}] under a {type(base).__name__} likelihood, "
            f"but got values from {ends[0]:g} to {ends[1]:g}; scale the data, or use "
            f"likelihoods.Normal."
        )


def _check_latent_dims(encoder: nn.Module, decoder: nn.Module, prior: nn.Module) -> None:
    told = {
        "encoder": _latent_dim(encoder),
        "decoder": _latent_dim(decoder),
        "prior": _latent_dim(prior) or _latent_dim_of_unconditional_prior(prior),
    }
    known = {name: dim for name, dim in told.items() if dim is not None}
    if len(set(known.values())) > 1:
        given = ", ".join(f"{name} {dim}" for name, dim in known.items())
        raise ValueError(
            f"Expected encoder, decoder and prior to have the same latent_dim, but got {given}; "
            f"build all three with one value."
        )


def _latent_dim(part: nn.Module) -> int | None:
    """The attribute ``latent_dim`` of a part, of what it wraps, or of a sequence's last module."""
    while isinstance(part, nn.Sequential) and len(part):
        part = part[-1]
    dim = getattr(getattr(part, "part", part), "latent_dim", None)
    return dim if isinstance(dim, int) else None


def _latent_dim_of_unconditional_prior(prior: nn.Module) -> int | None:
    """The event size of a prior that does not tell its ``latent_dim``, if it needs no context."""
    try:
        with torch.no_grad():
            shape = prior().event_shape
    except Exception:  # whatever a foreign prior raises without a context, the first pass will tell
        return None
    return shape[0] if len(shape) == 1 else None
