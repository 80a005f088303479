"""The clause on modes: the same distribution at every call, in training and in evaluation mode."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disvae.testing.part import Part, difference, observed, same


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
    before = snapshot(second)
    a = _from_seed(training, second, values, 1)
    b = _from_seed(training, second, values, 1)
    if not equal_states(before, snapshot(second)):
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
    before = snapshot(module)
    values = part.values(evaluation.distribution(evaluation.fresh()))
    a, b = (_from_seed(evaluation, module, values, n) for n in (1, 2))
    if not same(a, b):
        raise part.broken(
            "modes",
            "two passes in evaluation mode to give the same distribution",
            difference(a, b),
            "draw no random numbers in forward and change no state outside training",
        )
    if not equal_states(before, snapshot(module)):
        raise part.broken(
            "modes",
            "a pass in evaluation mode to leave the state dict as it is",
            "another one",
            "change buffers only where self.training",
        )


def _from_seed(part: Part, module: nn.Module, values: Tensor, number: int) -> Tensor:
    """What a copy gives when the generator stands at another place."""
    torch.manual_seed(number)
    return observed(module(*part.inputs), values)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """A copy of the state dict."""
    return copy.deepcopy(dict(module.state_dict()))


def equal_states(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two state dicts hold the same."""
    return a.keys() == b.keys() and all(_same_entry(a[k], b[k]) for k in a)


def _same_entry(a: Any, b: Any) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return bool(a == b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # NaN is equal to itself here: a buffer that holds it from the start has not changed
    return bool(((a == b) | ((a != a) & (b != b))).all())
