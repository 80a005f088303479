"""The clauses on state: every tensor that matters is registered, saved, loaded, copied, moved."""

import copy
import functools
import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.testing.gradients import jitter
from disvae.testing.part import (
    Part,
    difference,
    draw,
    has_density,
    observed,
    same,
)


def check_state(part: Part) -> None:
    """Copies are independent, every tensor that matters is registered, and it loads again."""
    with part.running("state", "copy.deepcopy to work", "keep no tensor with a graph on the part"):
        first = part.fresh()
        second = copy.deepcopy(first)
    # asked through copies, since a part may count its passes
    d = part.distribution(copy.deepcopy(first))
    values = part.values(d)
    before = observed(d, values)
    jitter(list(second.parameters()))
    after = observed(part.distribution(copy.deepcopy(first)), values)
    if not same(before, after):
        raise part.broken(
            "state",
            "a deepcopy with parameters of its own",
            f"{difference(before, after)} before and after a change of the copy",
            "keep state on the instance, not on the class or in a global",
        )
    _check_registered(part, values, before)
    _check_round_trip(part, values)


def _check_registered(part: Part, values: Tensor, before: Tensor) -> None:
    """A tensor that is no parameter or buffer is not saved, moved or trained, so must not count."""
    for path in [path for path, _ in _unregistered(part.fresh())]:
        module = part.fresh()
        tensor = dict(_unregistered(module))[path]
        jitter([tensor])
        try:
            matters = not same(before, observed(part.distribution(module), values), 1e-6)
        except Exception:  # a value that the part refuses is a value that it reads
            matters = True
        if matters or tensor.requires_grad:
            raise part.broken(
                "state",
                "every tensor that it computes with to be a parameter or buffer",
                f"a plain tensor in {path}, which is not saved or moved",
                "use nn.Parameter, nn.ModuleList or register_buffer, and build distributions "
                "in forward",
            )


def _check_round_trip(part: Part, values: Tensor) -> None:
    with part.running("state", "its state dict to save and load", "keep plain tensors in it"):
        saved = part.fresh()
        part.distribution(saved)  # what the first pass makes is part of the state
        kept = saved.state_dict().keys()
        buffers = [b for name, b in saved.named_buffers() if name in kept and b.is_floating_point()]
        jitter([*saved.parameters(), *buffers])
        file = io.BytesIO()
        torch.save(saved.state_dict(), file)
        file.seek(0)
        loaded = part.fresh()
        loaded.load_state_dict(torch.load(file, weights_only=True))
        a, b = (observed(part.distribution(module), values) for module in (saved, loaded))
    if not same(a, b):
        raise part.broken(
            "state",
            "the same distribution after saving and loading its state dict",
            difference(a, b),
            "derive nothing from parameters outside forward, and register every buffer",
        )


def check_dtypes(part: Part) -> None:
    """In float64 samples and densities are float64, and the densities are those of float32."""
    mend = "take dtype and device from a parameter, a buffer or the input"
    with part.running("dtypes", "it to run after .to(torch.float64)", mend):
        precise, module = part.precise()
        d = precise.distribution(module)
        z = draw(d)
        found = {"samples": z}
        if has_density(d):
            found["log_prob"] = d.log_prob(precise.values(d))
    for what, values in found.items():
        if values.is_floating_point() and values.dtype != torch.float64:
            raise part.broken(
                "dtypes", f"{what} in float64 after .to(torch.float64)", f"{values.dtype}", mend
            )
    if not has_density(d):
        return
    with part.running("dtypes", "it to run in float32", mend):
        plain = part.cast(torch.float32)
        single = plain.distribution(part.fresh(torch.float32))
        values = draw(single, (64,)) if plain.data is None else plain.data
        a = single.log_prob(values).detach().double()
        exact = values.double() if values.is_floating_point() else values
        b = d.log_prob(exact).detach()
    known = torch.isfinite(a) & torch.isfinite(b)
    off = ((a - b).abs() > 0.05 + 1e-3 * b.abs()) & known
    if off.double().mean() > 0.05:
        raise part.broken(
            "dtypes",
            "densities in float32 to equal those in float64",
            difference(a[off], b[off]),
            "avoid differences of large numbers, or compute that step in float64",
        )


def _unregistered(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Floating-point tensors that sit on a module or its submodules without being registered."""
    seen = {id(m) for m in module.modules()}
    seen |= {id(t) for t in (*module.parameters(), *module.buffers())}
    for name, submodule in list(module.named_modules()):
        kept = {"_parameters", "_buffers", "_modules"}
        for key, value in vars(submodule).items():
            if key not in kept:
                yield from _tensors(f"{name}.{key}" if name else key, value, seen)


def _tensors(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if id(value) in seen:
        return
    if isinstance(value, Tensor):
        seen.add(id(value))
        if value.is_floating_point():
            yield path, value
        return
    items: Mapping[Any, Any]
    if isinstance(value, Mapping):
        items = value
    elif isinstance(value, list | tuple):
        items = dict(enumerate(value))
    elif isinstance(value, functools.partial):
        items = {"args": value.args, "keywords": value.keywords}
    elif isinstance(value, nn.Module):
        items = {**dict(value.named_parameters()), **dict(value.named_buffers())}
    elif isinstance(value, Distribution):
        items = vars(value)
    else:
        return
    seen.add(id(value))
    for key, item in items.items():
        yield from _tensors(f"{path}.{key}", item, seen)
