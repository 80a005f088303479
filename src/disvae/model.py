"""The variational autoencoder: an encoder, a decoder and a prior, composed and checked."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Size, Tensor, nn
from torch.distributions import Distribution, constraints

from disvae.distributions import base_of, point
from disvae.nn import Unconditional, call_part, check_context_type, check_float, check_int
from disvae.output import VAEOutput


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

    Attributes:
        latent_dim: The number D of latent dimensions, or None where no part tells.

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
                kind = part.__name__ if isinstance(part, type) else type(part).__name__
                raise TypeError(
                    f"Expected {name} to be an nn.Module, but got {kind}; "
                    f"pass an instance, not a class or a function."
                )
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.check_values = check_values
        self.latent_dim = _check_latent_dims(encoder, decoder, prior)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Distribution:
        r"""The posterior :math:`q(z|x)` of data ``(B, *event)``."""
        self._range(x)
        self._check_context(context, len(x))
        return self._posterior(x, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> Distribution:
        r"""The likelihood :math:`p(x|z)` of latents ``sample_shape + (B, D)``."""
        if context is not None:
            check_float(z, "z")
            self._check_context(context, z.shape[-2] if z.ndim > 1 else None)
        return self._likelihood(z, context)

    def latent_prior(self, context: Tensor | None = None) -> Distribution:
        r"""The prior :math:`p(z)`, of batch shape ``()``, or ``(B,)`` given a context."""
        self._check_context(context, None)
        return self._prior(context)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        sample_shape: Size | tuple[int, ...] = (),
        *,
        posterior: Distribution | None = None,
    ) -> VAEOutput:
        """One pass: posterior, samples of it, prior, and likelihood.

        Samples are drawn in training and in evaluation mode alike.

        Args:
            x: The data, ``(B, *event)``.
            context: What every part is conditioned on, ``(B, C)``.
            sample_shape: The shape of the samples for each datum, leading in z.
            posterior: A posterior in place of the encoder's, of an objective that changes it.
        """
        ends = self._range(x)
        self._check_context(context, len(x))
        posterior = self._posterior(x, context) if posterior is None else posterior
        prior = self._prior(context)
        if prior.event_shape != posterior.event_shape:
            raise ValueError(
                f"Expected encoder and prior to have the same latent_dim, but got event shapes "
                f"{tuple(posterior.event_shape)} and {tuple(prior.event_shape)}; "
                f"build both with one latent_dim."
            )
        z = _sample(posterior, _sizes(sample_shape))
        likelihood = self._likelihood(z, context)
        if likelihood.event_shape != x.shape[1:] or likelihood.batch_shape != z.shape[:-1]:
            raise ValueError(
                f"Expected the decoder to return a likelihood of batch shape "
                f"{tuple(z.shape[:-1])} and event shape {tuple(x.shape[1:])}, but got "
                f"{tuple(likelihood.batch_shape)} and {tuple(likelihood.event_shape)}; build it "
                f"for the data's shape, and wrap what it returns in Independent."
            )
        _check_support(x, ends, likelihood)
        return VAEOutput(x, z, posterior, prior, likelihood, context)

    @torch.no_grad()
    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Point estimates of the data for ``n`` draws from the prior, ``(n, *event)``.

        Args:
            n: How many.
            context: ``n`` rows of context, ``(n, C)``.
        """
        n = check_int(n, "n")
        self._check_context(context, n)
        prior = self._prior(context)
        z = prior.sample() if prior.batch_shape else prior.sample(Size((n,)))
        return point(self._likelihood(z, context))

    def reconstruct(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The data decoded from the point estimate of their posterior: no sample is drawn."""
        ends = self._range(x)
        self._check_context(context, len(x))
        likelihood = self._likelihood(point(self._posterior(x, context)), context)
        _check_support(x, ends, likelihood)
        return point(likelihood)

    def _posterior(self, x: Tensor, context: Tensor | None) -> Distribution:
        posterior = call_part(self.encoder, "encoder", x, context=context)
        if posterior.batch_shape != x.shape[:1] or len(posterior.event_shape) != 1:
            raise ValueError(
                f"Expected the encoder to return a distribution of batch shape ({len(x)},) and "
                f"event shape (D,), but got {tuple(posterior.batch_shape)} and "
                f"{tuple(posterior.event_shape)}; wrap it in torch.distributions.Independent(…, 1)."
            )
        return posterior

    def _prior(self, context: Tensor | None) -> Distribution:
        prior = call_part(self.prior, "prior", context=context)
        batch = () if context is None else (len(context),)
        if prior.batch_shape not in ((), batch) or len(prior.event_shape) != 1:
            raise ValueError(
                f"Expected the prior to return a distribution of batch shape () or, given a "
                f"context, (B,), and event shape (D,), but got {tuple(prior.batch_shape)} and "
                f"{tuple(prior.event_shape)}; wrap it in torch.distributions.Independent(…, 1)."
            )
        return prior

    def _likelihood(self, z: Tensor, context: Tensor | None) -> Distribution:
        return call_part(self.decoder, "decoder", z, context=context)

    def _check_context(self, context: Tensor | None, rows: int | None) -> None:
        if context is None:
            return
        check_context_type(context)
        if context.ndim == 0 or (rows is not None and len(context) != rows):
            raise ValueError(
                f"Expected one row of context for each datum, {'B' if rows is None else rows} in "
                f"all, but got shape {tuple(context.shape)}; repeat a row with "
                f"context[:1].expand(B, -1)."
            )
        checked = self.check_values and not torch.compiler.is_compiling()
        if checked and not torch.isfinite(context).all():
            raise ValueError(
                "Expected context to be finite, but got NaN or infinity; "
                "remove or replace them first."
            )
        parts = (self.encoder, self.decoder, self.prior)
        if all(getattr(part, "context_dim", None) == 0 for part in parts):
            raise ValueError(
                "Expected no context, because no part of this model uses one; "
                "build encoder, decoder or prior with context_dim, or leave context= out."
            )

    def _range(self, x: Tensor) -> tuple[float, float] | None:
        """The least and the largest value of x, or None where values are not checked."""
        check_float(x, "x")
        if x.ndim == 0 or x.numel() == 0:
            raise ValueError(
                f"Expected x to have at least one datum, but got shape {tuple(x.shape)}; "
                f"skip empty batches."
            )
        if not self.check_values or torch.compiler.is_compiling():
            return None
        least, largest = torch.aminmax(x.detach())
        low, high = least.item(), largest.item()
        if not (math.isfinite(low) and math.isfinite(high)):  # NaN passes through aminmax
            raise ValueError(
                f"Expected x to be finite, but got values from {low:g} to {high:g}; "
                f"remove or replace NaN and infinity first."
            )
        return low, high


@contextmanager
def evaluating(model: VAE) -> Iterator[None]:
    """Evaluation mode and no gradients; every submodule gets its own mode back."""
    if not (isinstance(model, nn.Module) and hasattr(model, "encode")):
        raise TypeError(
            f"Expected model to be a disvae.VAE, but got {type(model).__name__}; "
            f"pass the model itself, as in train.model."
        )
    with evaluation_mode(model), torch.no_grad():
        yield


def device_of(model: nn.Module) -> torch.device | None:
    """Where a model computes: the device of its first parameter, or None where it has none."""
    return next((parameter.device for parameter in model.parameters()), None)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; every submodule gets its own mode back."""
    modes = {submodule: submodule.training for submodule in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode


def _sizes(sample_shape: Size | tuple[int, ...]) -> Size:
    if not isinstance(sample_shape, tuple | list) or any(
        not isinstance(n, int) or n < 1 for n in sample_shape
    ):
        raise ValueError(
            f"Expected sample_shape to be a tuple of positive integers, but got {sample_shape!r}; "
            f"write e.g. (16,) for 16 samples of each datum."
        )
    return Size(sample_shape)


def _sample(posterior: Distribution, sample_shape: Size) -> Tensor:
    if posterior.has_rsample:
        return posterior.rsample(sample_shape)
    if torch.is_grad_enabled():
        raise TypeError(
            f"Expected a posterior with reparameterised samples, but {type(posterior).__name__} "
            f"has no rsample, so the encoder would not be trained; use a relaxed distribution."
        )
    return posterior.sample(sample_shape)


def _check_support(x: Tensor, ends: tuple[float, float] | None, likelihood: Distribution) -> None:
    """Refuse data, with their least and largest value, outside the likelihood's support."""
    if ends is None:
        return
    try:
        support = likelihood.support
    except NotImplementedError:
        return
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.boolean:
        support = constraints.unit_interval
    if isinstance(support, _INTEGERS) and not torch.equal(x, x.round()):
        raise ValueError(
            f"Expected x to hold whole numbers under a {_name(likelihood)} likelihood, but got "
            f"fractions; pass counts or class numbers as floats, or use likelihoods.Normal."
        )
    lower = getattr(support, "lower_bound", -math.inf)
    upper = getattr(support, "upper_bound", math.inf)
    # bounds that are tensors are those of a distribution such as Uniform
    lower = lower.min().item() if isinstance(lower, Tensor) else lower
    upper = upper.max().item() if isinstance(upper, Tensor) else upper
    if ends[0] < lower or ends[1] > upper:
        raise ValueError(
            f"Expected x inside [{lower:g}, {upper:g}] under a {_name(likelihood)} likelihood, "
            f"but got values from {ends[0]:g} to {ends[1]:g}; scale the data, or use "
            f"likelihoods.Normal."
        )


_INTEGERS = (type(constraints.nonnegative_integer), constraints.integer_interval)


def _name(d: Distribution) -> str:
    """The name of a distribution's family, for errors."""
    return type(base_of(d)).__name__


def _check_latent_dims(encoder: nn.Module, decoder: nn.Module, prior: nn.Module) -> int | None:
    """What all parts say, as far as they do."""
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
    return next(iter(known.values()), None)


def _latent_dim(part: nn.Module) -> int | None:
    """The attribute ``latent_dim`` of a part, of what it wraps, or of a sequence's last module."""
    while isinstance(part, Unconditional) or (isinstance(part, nn.Sequential) and len(part)):
        part = part.part if isinstance(part, Unconditional) else part[-1]
    dim = getattr(part, "latent_dim", None)
    return dim if isinstance(dim, int) else None


def _latent_dim_of_unconditional_prior(prior: nn.Module) -> int | None:
    """The event size of a prior that does not tell its ``latent_dim``, if it needs no context."""
    try:
        with evaluation_mode(prior), torch.no_grad(), torch.random.fork_rng(devices=()):
            shape = prior().event_shape
    except Exception:  # whatever a foreign prior raises without a context, the first pass will tell
        return None
    return shape[0] if len(shape) == 1 else None
