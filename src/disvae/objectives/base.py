"""What every objective is: a module that turns a model and a batch into losses."""

import dataclasses
import functools
import inspect
import operator
from collections.abc import Container
from typing import NamedTuple

from torch import Size, Tensor, nn

from disvae.model import VAE
from disvae.objectives.batches import process_count
from disvae.objectives.schedules import (
    Schedule,
    StepNumber,
    check_step,
    check_weight,
    value_at,
)
from disvae.output import VAEOutput

Weight = float | Schedule


class Losses(NamedTuple):
    """What an objective returns.

    Attributes:
        total: The scalar to differentiate.
        terms: The detached, unweighted mean of each named term, in nats per datum where a term is
            a log density. The names are the same at every call.
    """

    total: Tensor
    terms: dict[str, Tensor]


class Objective(nn.Module):
    r"""The base of all objectives: override ``loss``, or ``forward`` where one pass is not enough.

    Attributes:
        sample_shape: The shape of the posterior samples drawn for each datum.
        paper: Where the objective was published: title, year and URL.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, objectives, priors
        >>> class Reconstruct(objectives.Objective):
        ...     def loss(self, out, step=None):
        ...         value = -out.likelihood.log_prob(out.x).mean()
        ...         return objectives.Losses(value, {"reconstruction": value.detach()})
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> list(Reconstruct()(model, torch.rand(16, 8)).terms)
        ['reconstruction']
    """

    sample_shape: Size = Size()
    paper: str | None = None

    def forward(
        self, model: VAE, x: Tensor, *, context: Tensor | None = None, step: StepNumber = None
    ) -> Losses:
        """The losses of one batch: one pass of the model, then :meth:`loss`."""
        return self.loss(model(x, context, self.sample_shape), step)

    def loss(self, out: VAEOutput, step: StepNumber = None) -> Losses:
        """The losses of one pass."""
        raise TypeError(
            f"Expected {type(self).__name__} to define loss(out, step) or forward(model, x), but "
            f"it has neither; override one of them."
        )


class WeightedSum(Objective):
    r"""A weighted sum of named terms, written as it stands in a paper.

    .. math::

        L = \sum_k w_k(t)\,\overline{T_k} + A_k

    :math:`\overline{T_k}` is the mean of term k over samples and batch. A term may return
    ``(value, auxiliary)``: the auxiliary :math:`A_k`, such as an adversary's own loss, is added as
    it is, never multiplied by the weight, and logged as ``<name>_auxiliary``. A term whose weight
    is the number 0 is logged and left out of the sum.

    A term is called as ``term(out)``, or ``term(out, step)`` if its ``forward`` takes a ``step``.

    Args:
        **terms: For each name a pair of a weight, which is a number or a schedule, and a term,
            which is an ``nn.Module`` from :class:`disvae.VAEOutput` to a tensor of shape
            ``(..., B)`` or ``()``.

    Raises:
        ValueError: If there is no term, or a weight is negative, NaN or infinite.
        TypeError: If an entry is not a pair of a weight and a module.

    Example:
        >>> from disvae.objectives import WeightedSum, schedules, terms
        >>> objective = WeightedSum(
        ...     reconstruction=(1.0, terms.Reconstruction()),
        ...     kl=(schedules.Linear(0.0, 4.0, steps=10_000), terms.KL()),
        ... )
        >>> print(objective)
        reconstruction + Linear(0.0 → 4.0, 10000 steps)·kl
    """

    def __init__(self, **terms: tuple[Weight, nn.Module]) -> None:
        super().__init__()
        if not terms:
            raise ValueError(
                "Expected at least one term, but got none; "
                "pass e.g. reconstruction=(1.0, terms.Reconstruction())."
            )
        self.weights: dict[str, Weight] = {}
        self.terms = nn.ModuleDict()
        self._scheduled: set[str] = set()
        for name, entry in terms.items():
            _check_name(name, terms)
            if not (isinstance(entry, tuple) and len(entry) == 2):
                raise TypeError(
                    f"Expected {name} to be a pair (weight, term), but got "
                    f"{type(entry).__name__}; write {name}=(1.0, term)."
                )
            weight, term = entry
            if not isinstance(term, nn.Module):
                raise TypeError(
                    f"Expected the term of {name} to be an nn.Module, but got "
                    f"{type(term).__name__}; pass an instance, not a class or a function."
                )
            self.weights[name] = checked_weight(weight, name)
            self.terms[name] = term
            if "step" in inspect.signature(term.forward).parameters:
                self._scheduled.add(name)

    def forward(
        self,
        model: VAE,
        x: Tensor,
        *,
        context: Tensor | None = None,
        step: StepNumber = None,
        labels: Tensor | None = None,
    ) -> Losses:
        """The losses of one batch.

        Args:
            model: The model.
            x: The data, ``(B, *event)``.
            context: What the model is conditioned on, ``(B, C)``.
            step: The number of the step; None means the final value of every schedule.
            labels: What supervised terms compare with, ``(B, ...)``.
        """
        out = model(x, context, self.sample_shape)
        if labels is not None:
            out = dataclasses.replace(out, labels=labels)
        return self.loss(out, step)

    def loss(self, out: VAEOutput, step: StepNumber = None) -> Losses:
        """The weighted sum of all terms of one pass."""
        check_step(step)
        summands: list[Tensor] = []
        values: dict[str, Tensor] = {}
        for name, term in self.terms.items():
            result = term(out, step) if name in self._scheduled else term(out)
            value, auxiliary = result if isinstance(result, tuple) else (result, None)
            _check_value(value, out, name)
            value = value.mean()
            values[name] = value.detach()
            weight = value_at(self.weights[name], step, name)
            if isinstance(weight, Tensor):
                summands.append(weight.to(value.dtype) * value)
            elif weight != 0:
                summands.append(value if weight == 1 else weight * value)
            if auxiliary is not None:
                auxiliary = auxiliary.mean()
                values[f"{name}_auxiliary"] = auxiliary.detach()
                summands.append(auxiliary)
        if not summands:
            return Losses(out.z.new_zeros(()), values)
        return Losses(functools.reduce(operator.add, summands), values)

    def __str__(self) -> str:
        parts = []
        for name, weight in self.weights.items():
            factor = str(weight) if callable(weight) else f"{weight:g}"
            parts.append(name if factor == "1" else f"{factor}·{name}")
        return " + ".join(parts)


def _check_name(name: str, names: Container[str]) -> None:
    """Refuse names that would hide an attribute or another logged value."""
    taken = name == "total" or hasattr(nn.ModuleDict(), name) or f"{name}_auxiliary" in names
    if taken or not name.isidentifier():
        raise ValueError(
            f"Expected the name of a term to be a free identifier, but got {name!r}; "
            f"choose another, such as {name}_term."
        )


def checked_weight(weight: Weight, name: str) -> Weight:
    """A weight, if it is a number that can weigh a term, or a schedule."""
    if not callable(weight):
        return check_weight(weight, name)
    if isinstance(weight, type | nn.Module):
        raise TypeError(
            f"Expected {name} to be a number or a schedule, but got "
            f"{weight.__name__ if isinstance(weight, type) else type(weight).__name__}; "
            f"make one, as in schedules.Linear(0.0, 1.0, steps=1000)."
        )
    return weight


def _check_value(value: Tensor, out: VAEOutput, name: str) -> None:
    """A term has one value for each sample or datum: a mean over dimensions would hide a sum."""
    lead = out.z.shape[:-1]
    if not isinstance(value, Tensor):
        raise TypeError(
            f"Expected the term {name} to return a tensor, but got {type(value).__name__}; "
            f"return a value for each datum, or a pair of it and an auxiliary loss."
        )
    whole = (*lead[:-1], lead[-1] * process_count())  # as batch statistics over processes have
    if value.shape not in (lead[len(lead) - value.ndim :], whole[len(lead) - value.ndim :]):
        raise ValueError(
            f"Expected the term {name} to return shape {tuple(lead)}, its last axes, or (), but "
            f"got {tuple(value.shape)}; sum over latent dimensions in the term."
        )
