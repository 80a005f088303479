"""The clause on gradients: every parameter is reached, and samples are reparameterised."""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.testing.part import Part, has_density

Objective = Callable[[Distribution], Tensor]

_ATTEMPTS = 3


def check_gradients(part: Part, *, samples: bool = False, into: str | None = None) -> None:
    """Finite gradients that are not all zero reach every parameter.

    Args:
        part: The part.
        samples: Whether samples must be reparameterised: then each parameter that moves the density
            of a fixed value must also move the sample.
        into: The name of the first input, if it must receive a gradient too.
    """
    d = part.distribution(part.fresh())
    name = type(d).__name__
    if samples and not d.has_rsample:
        raise part.broken(
            "gradients",
            "a posterior with reparameterised samples",
            f"{name} with has_rsample=False",
            "use a relaxed distribution, since the encoder would not be trained",
        )
    values = part.values(d)

    def density(q: Distribution) -> Tensor:
        return _mixed(q.log_prob(values)) if has_density(q) else _mixed(q.rsample())

    def sample(q: Distribution) -> Tensor:
        return _mixed(q.rsample())

    def density_of_sample(q: Distribution) -> Tensor:
        z = q.rsample()
        return _mixed(z) + (_mixed(q.log_prob(z)) if has_density(q) else 0)

    wanted = {name for name, p in part.module.named_parameters() if p.requires_grad}
    if samples:
        moved = _reached(part, sample, "its samples")
        lost = sorted((_reached(part, density, "log_prob") & wanted) - moved)
        if lost:
            raise part.broken(
                "gradients",
                f"a gradient from {name}.rsample to the parameter {lost[0]}, which moves log_prob",
                "none",
                "draw samples out of place as a function of it: no sample(), detach() or no_grad()",
            )
    reached = _reached(part, density_of_sample if samples else density, "log_prob")
    lost = sorted(wanted - reached)
    if lost:
        raise part.broken(
            "gradients",
            f"a gradient that is not all zero at parameter {lost[0]}",
            f"none at {', '.join(lost)}",
            "use it without detach(), .data or no_grad(), or delete it",
        )
    if into is not None and into not in reached:
        raise part.broken(
            "gradients",
            f"a gradient from log_prob to {into}",
            "none",
            f"let the result depend on {into}, without detach() or no_grad()",
        )


def _reached(part: Part, objective: Objective, what: str) -> set[str]:
    """Names of the parameters, and of the input, that get a gradient.

    A factor that starts at zero hides others, so the values are jittered before one is given up.
    """
    found: set[str] = set()
    wanted = {name for name, p in part.module.named_parameters() if p.requires_grad}
    for attempt in range(_ATTEMPTS):
        module = part.fresh()
        if attempt == 0:
            found |= _one_pass(part, module, objective, what)
        else:
            jitter(list(module.parameters()), attempt)
            # jittered values may be ones that the part refuses
            with suppress(Exception):
                found |= _one_pass(part, module, objective, what)
        if wanted <= found:
            break
    return found


def _one_pass(part: Part, module: nn.Module, objective: Objective, what: str) -> set[str]:
    inputs = tuple(t.clone().requires_grad_() for t in part.inputs)
    leaves: dict[str, Tensor] = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if inputs:
        leaves["z"] = inputs[0]
    with part.running("gradients", f"{what} to be differentiable", "compute it by torch functions"):
        loss = objective(part.distribution(module, inputs))
        if not loss.requires_grad or not leaves:
            return set()
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    reached = set()
    for (name, _), gradient in zip(leaves.items(), gradients, strict=True):
        if gradient is None:
            continue
        if not torch.isfinite(gradient).all():
            raise part.broken(
                "gradients",
                f"a finite gradient of {what} at {name}",
                "NaN or infinity",
                "look for 0/0, sqrt(0) or a torch.where around a value that is not finite",
            )
        if (gradient != 0).any():
            reached.add(name)
    return reached


def jitter(tensors: list[Tensor], attempt: int = 1) -> None:
    """Change values by up to a fifth, keeping their signs; zeros become small numbers."""
    generator = torch.Generator().manual_seed(attempt)
    with torch.no_grad():
        for t in tensors:
            u = 2 * torch.rand(t.shape, generator=generator).to(t.device, t.dtype) - 1
            t.data = t + torch.where(t == 0, 0.05 * u, 0.2 * u * t)


def _mixed(values: Tensor) -> Tensor:
    """A sum with unequal weights, so that no symmetry cancels a gradient."""
    generator = torch.Generator().manual_seed(0)
    weights = 0.5 + torch.rand(values.shape, generator=generator)
    return (values * weights.to(values.device, values.dtype)).sum()
