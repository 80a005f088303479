"""The clauses on state: registered, saved, loaded, copied, moved; and the same at every call."""

import copy
import dataclasses
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
    d = part.distribution(first)
    values = part.values(d)
    before = observed(d, values)
    jitter(list(second.parameters()))
    after = observed(part.distribution(first), values)
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
        state = saved.state_dict(keep_vars=True)
        jitter([t for t in state.values() if isinstance(t, Tensor) and t.is_floating_point()])
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


def settled(part: Part) -> Part:
    """Check how modes change the distribution; the part in the mode for all further clauses.

    That is training mode, unless the part is random there (dropout).
    """
    _check_evaluation_mode(part)
    training = dataclasses.replace(part, training=True)
    first, second = training.fresh(), training.fresh()
    values = part.values(training.distribution(first))
    a, b = (_from_seed(training, training.fresh(), values, n) for n in (1, 2))
    if not same(a, b):
        return dataclasses.replace(part, training=False)
    before = _snapshot(second)
    a = _from_seed(training, second, values, 1)
    b = _from_seed(training, second, values, 1)
    if not _equal(before, _snapshot(second)):
        return training  # it counts its passes, or tracks statistics: they may tell in training
    if not same(a, b):
        raise part.broken(
            "modes",
            "two passes in training mode to give the same distribution, or a state dict that tells",
            difference(a, b),
            "keep what changes in a buffer",
        )
    evaluation = dataclasses.replace(part, training=False)
    c = _from_seed(evaluation, evaluation.fresh(), values, 1)
    if not same(a, c):
        raise part.broken(
            "modes",
            "the same distribution in training and in evaluation mode",
            difference(a, c),
            "let forward return the same distribution in both; point estimates are made elsewhere",
        )
    return training


def _check_evaluation_mode(part: Part) -> None:
    evaluation = dataclasses.replace(part, training=False)
    module = evaluation.fresh()
    before = _snapshot(module)
    values = part.values(evaluation.distribution(evaluation.fresh()))
    a, b = (_from_seed(evaluation, module, values, n) for n in (1, 2))
    if not same(a, b):
        raise part.broken(
            "modes",
            "two passes in evaluation mode to give the same distribution",
            difference(a, b),
            "draw no random numbers in forward and change no state outside training",
        )
    if not _equal(before, _snapshot(module)):
        raise part.broken(
            "modes",
            "a pass in evaluation mode to leave the state dict as it is",
            "another one",
            "change buffers only where self.training",
        )


def check_batch(part: Part) -> None:
    """A row alone has the distribution that it has in a batch of quite different rows."""
    if not part.inputs:
        return
    rows = len(part.inputs[0])
    part, module = part.precise()
    data = part.data
    generator = torch.Generator().manual_seed(0)
    for row in sorted({0, rows - 1}):
        alone = tuple(t[row : row + 1] for t in part.inputs)
        crowd = []
        for t in part.inputs:
            other = 0.5 * t + 0.25 * torch.rand(t.shape, generator=generator).to(t)
            other[row] = t[row]
            crowd.append(other)
        with part.running("batch", "a batch of one row to work", "use no batch statistics"):
            d = part.distribution(copy.deepcopy(module), alone)
            values = draw(d) if data is None else data[row : row + 1]
            a = observed(d, values)
        among = part.distribution(copy.deepcopy(module), tuple(crowd))
        if among.batch_shape:
            b = _row_of(among, values, row, rows)
        else:
            b = observed(among, values).reshape(a.shape)
        if not same(a, b):
            raise part.broken(
                "batch",
                f"row {row} to have the same distribution alone and in a batch",
                difference(a, b),
                "use no statistics of the batch (no BatchNorm, no mean over rows)",
            )


def check_samples_alone(part: Part) -> None:
    """A decoder takes z with leading sample axes, and decodes each as it does alone."""
    part, module = part.precise()
    data = part.data
    if data is None:
        return
    z, *context = part.inputs
    rows = len(z)
    for shape in ((3,), (2, 3)):
        noise = torch.randn(*shape, *z.shape, dtype=z.dtype).to(z.device)
        many = z + noise
        mend = "let z have any leading axes: flatten(0, -2) and restore, or nn.Linear"
        with part.running("shapes", f"z of shape {tuple(many.shape)} to be decoded", mend):
            d = part.distribution(copy.deepcopy(module), (many, *context))
        if tuple(d.batch_shape) != (*shape, rows) or d.event_shape != data.shape[1:]:
            raise part.broken(
                "shapes",
                f"batch shape {(*shape, rows)} for z of shape {tuple(many.shape)}",
                f"batch shape {tuple(d.batch_shape)} and event shape {tuple(d.event_shape)}",
                mend,
            )
        last = many[(-1,) * len(shape)]
        one = part.distribution(copy.deepcopy(module), (last, *context))
        a, b = observed(one, data), observed(d, data)[(-1,) * len(shape)]
        if not same(a, b):
            raise part.broken(
                "batch",
                "a sample of z to be decoded as it is alone",
                difference(a, b),
                "use no statistics over samples or rows",
            )


def _row_of(d: Distribution, values: Tensor, row: int, rows: int) -> Tensor:
    if not has_density(d):
        return observed(d, values)[row : row + 1]
    return observed(d, values.expand(rows, *values.shape[1:]))[row : row + 1]


def _from_seed(part: Part, module: nn.Module, values: Tensor, number: int) -> Tensor:
    """What a copy gives when the generator stands at another place."""
    torch.manual_seed(number)
    return observed(module(*part.inputs), values)


def _snapshot(module: nn.Module) -> dict[str, Any]:
    return {k: copy.deepcopy(v) for k, v in module.state_dict().items()}


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if a.keys() != b.keys():
        return False
    return all(torch.equal(a[k], b[k]) if isinstance(a[k], Tensor) else a[k] == b[k] for k in a)


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
