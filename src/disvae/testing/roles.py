"""The contract of each role: which clauses, in which order."""

import torch
from torch import Tensor, nn

from disvae.nn import check_context_type, check_float
from disvae.testing.density import check_density, check_moments
from disvae.testing.gradients import check_gradients
from disvae.testing.modes import settled
from disvae.testing.part import Part, isolated
from disvae.testing.robustness import check_compiles, check_extremes, check_far_points
from disvae.testing.rows import check_batch, check_samples_alone
from disvae.testing.shapes import check_call, check_point, check_shapes
from disvae.testing.state import check_dtypes, check_state

_ROWS = 4
_FULL = (torch.float32,)
_ANYTHING = "call", "all that a part is asked for to run", "see the error that this one came from"


def check_prior(
    prior: nn.Module,
    context: Tensor | None = None,
    *,
    compiles: bool = True,
    bfloat16: bool = True,
) -> None:
    r"""Prove that a module is a prior: ``prior()`` or ``prior(context)`` returns :math:`p(z)`.

    Besides what every part must do, its density is finite at far points.

    Args:
        prior: The module; only copies of it run.
        context: Two or more rows of context ``(B, C)``, if the prior is to be conditioned.
        compiles: Whether it must compile as one graph; flows of zuko do not.
        bfloat16: Whether it must also hold in bfloat16.

    Shape:
        Batch shape ``()``, or ``(B,)`` given a context; event shape ``(D,)``.

    Raises:
        ContractError: At the first clause that is broken, in one sentence.
        TypeError: If ``prior`` is no module, or the context is no floating-point tensor.
        ValueError: If there are fewer than two rows of context.

    Example:
        >>> from disvae import priors, testing
        >>> testing.check_prior(priors.Laplace(2, learn_scale=True), compiles=False)
    """
    _check_module(prior, "prior")
    inputs = _rows({"context": context})
    dtypes = _FULL if not bfloat16 else (*_FULL, torch.bfloat16)
    part = Part(prior, "prior", inputs)
    with isolated(), part.running(*_ANYTHING):
        batches = ((),) if context is None else ((), (len(inputs[0]),))
        part = _common(part, batches, None)
        check_gradients(part)
        check_density(part)
        check_moments(part)
        check_extremes(part, dtypes)
        check_far_points(part, dtypes)
        if compiles:
            check_compiles(part)


def check_encoder(
    encoder: nn.Module,
    x: Tensor,
    context: Tensor | None = None,
    *,
    compiles: bool = True,
    bfloat16: bool = True,
) -> None:
    r"""Prove that a module is an encoder: ``encoder(x)`` returns :math:`q(z|x)`.

    Besides what every part must do, its samples are reparameterised. A posterior head is checked
    on features: ``check_encoder(Head(16, 2), torch.randn(4, 16))``.

    Args:
        encoder: The module; only copies of it run.
        x: Two or more rows of data ``(B, *event)``, of which the first four are used.
        context: As many rows of context ``(B, C)``, if the encoder is to be conditioned.
        compiles: Whether it must compile as one graph.
        bfloat16: Whether it must also hold in bfloat16; flows of zuko do not.

    Shape:
        Batch shape ``(B,)``; event shape ``(D,)``.

    Raises:
        ContractError: At the first clause that is broken, in one sentence.
        TypeError: If ``encoder`` is no module, or x or the context is no floating-point tensor.
        ValueError: If there are fewer than two rows, or not one row of context for each.

    Example:
        >>> import torch
        >>> from disvae import encoders, testing
        >>> testing.check_encoder(encoders.MLP(6, 2, hidden=(8,)), torch.rand(4, 6), compiles=False)
    """
    _check_module(encoder, "encoder")
    inputs = _rows({"x": x, "context": context})
    dtypes = _FULL if not bfloat16 else (*_FULL, torch.bfloat16)
    part = Part(encoder, "encoder", inputs)
    with isolated(), part.running(*_ANYTHING):
        part = _common(part, ((len(inputs[0]),),), None)
        check_gradients(part, samples=True)
        check_density(part)
        check_moments(part)
        check_extremes(part, dtypes)
        if compiles:
            check_compiles(part)


def check_decoder(
    decoder: nn.Module,
    z: Tensor,
    x: Tensor,
    context: Tensor | None = None,
    *,
    compiles: bool = True,
    bfloat16: bool = True,
) -> None:
    r"""Prove that a module is a decoder: ``decoder(z)`` returns :math:`p(x|z)`.

    Besides what every part must do, it takes latents with leading sample axes, each decoded as it
    is alone, and passes a gradient on to z.

    Args:
        decoder: The module; only copies of it run.
        z: Two or more rows of latents ``(B, D)``, of which the first four are used.
        x: As many rows of data ``(B, *event)``, which the likelihood must have a density at.
        context: As many rows of context ``(B, C)``, if the decoder is to be conditioned.
        compiles: Whether it must compile as one graph.
        bfloat16: Whether it must also hold in bfloat16; flows of zuko do not.

    Shape:
        Batch shape ``sample_shape + (B,)`` for z of shape ``sample_shape + (B, D)``; event shape
        ``x.shape[1:]``.

    Raises:
        ContractError: At the first clause that is broken, in one sentence.
        TypeError: If ``decoder`` is no module, or an input is no floating-point tensor.
        ValueError: If there are fewer than two rows, or not equally many.

    Example:
        >>> import torch
        >>> from disvae import decoders, testing
        >>> decoder = decoders.MLP(2, 6, hidden=(8,))
        >>> testing.check_decoder(decoder, torch.randn(4, 2), torch.rand(4, 6), compiles=False)
    """
    _check_module(decoder, "decoder")
    *inputs, data = _rows({"z": z, "context": context, "x": x})
    dtypes = _FULL if not bfloat16 else (*_FULL, torch.bfloat16)
    part = Part(decoder, "decoder", tuple(inputs), data)
    with isolated(), part.running(*_ANYTHING):
        part = _common(part, ((len(data),),), tuple(data.shape[1:]))
        check_samples_alone(part)
        check_gradients(part, into="z")
        check_density(part)
        check_moments(part)
        check_extremes(part, dtypes)
        if compiles:
            check_compiles(part)


def _common(
    part: Part, batch_shapes: tuple[tuple[int, ...], ...], event_shape: tuple[int, ...] | None
) -> Part:
    """What every part must do before anything else can be asked; the part in a settled mode."""
    check_call(part)
    check_shapes(part, batch_shapes, event_shape)
    check_dtypes(part)
    part = settled(part)
    check_batch(part)
    check_point(part)
    check_state(part)
    return part


def _check_module(module: nn.Module, name: str) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"Expected {name} to be an nn.Module, but got {type(module).__name__}; "
            f"pass an instance, not a class or a function."
        )


def _rows(given: dict[str, Tensor | None]) -> tuple[Tensor, ...]:
    """The first rows of each tensor that is given, detached."""
    tensors = {name: t for name, t in given.items() if t is not None}
    for name, t in tensors.items():
        check_context_type(t) if name == "context" else check_float(t, name)
    counts = {name: len(t) if t.ndim else 0 for name, t in tensors.items()}
    if counts and (min(counts.values()) < 2 or len(set(counts.values())) > 1):
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"Expected two or more rows, equally many in each input, but got {told}; "
            f"pass a small batch."
        )
    return tuple(t[:_ROWS].detach().clone() for t in tensors.values())
