"""The contract of objectives: what any training loop may rely on."""

import contextlib
import copy
import dataclasses
import io
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disvae.model import VAE
from disvae.nn import check_float
from disvae.objectives import Losses, Objective, WeightedSum
from disvae.testing.gradients import jitter
from disvae.testing.modes import equal_states, snapshot
from disvae.testing.part import Part, difference, isolated, same, seed
from disvae.testing.small_model import DATA, Scaled, small_model

_ROWS = 8
_SCALES = (1e-4, 1e4)
_STEPS = (None, 0, 1000)
_RETURN = "return Losses(total, terms) with scalar tensors, terms detached"


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """An objective and its model as one module to copy, and the inputs of a call."""

    part: Part
    pair: nn.ModuleDict
    x: Tensor
    keywords: Mapping[str, Any]

    def fresh(self, training: bool = True) -> nn.ModuleDict:
        """A copy of objective and model, which keeps what they share."""
        return copy.deepcopy(self.pair).train(training)

    def call(self, pair: nn.ModuleDict, step: Tensor | int | None = None) -> Losses:
        """The losses of a copy, from a fixed seed."""
        seed()
        return pair["objective"](pair["model"], self.x, step=step, **self.keywords)

    def first_row(self) -> "_Trial":
        """The same with one datum."""
        rows = len(self.x)
        keywords = {
            name: value[:1] if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value
            for name, value in self.keywords.items()
        }
        return dataclasses.replace(self, x=self.x[:1], keywords=keywords)


def check_objective(
    objective: Objective,
    model: VAE | None = None,
    x: Tensor | None = None,
    *,
    compiles: bool = True,
    bfloat16: bool = True,
    **keywords: Any,
) -> None:
    r"""Prove that a module is an objective: ``objective(model, x, step=step)`` returns losses.

    ==============  ================================================================================
    clause          what is proved
    ==============  ================================================================================
    call            it takes a model and data, leaves them as they are, and returns ``Losses``: a
                    finite scalar, and detached scalars by name
    names           the names of the terms are the same at every call and in both modes
    step            None, an int and a tensor are taken, and the latter two give the same
    gradients       they are finite, reach the model, and leave no parameter of the objective out
    state           no parameter is changed; evaluation changes nothing at all; what changes while
                    training is in the state dict; copies, saving and loading keep the value
    samples         several samples of each datum are taken
    batch           one datum gives a finite value, or a ``ValueError`` of one line
    extremes        posteriors of scale 1e-4 and 1e4, and autocast to bfloat16, stay finite
    compile         ``torch.compile`` traces it as one graph
    ==============  ================================================================================

    All checks run on copies with fixed seeds, as those of parts do.

    Args:
        objective: The objective.
        model: The model; by default a small one for data of 6 values with 3 latent dimensions,
            a normal posterior and prior, and a Bernoulli likelihood.
        x: Data ``(B, *event)``, of which the first eight rows are used; needed with a model.
        compiles: Whether it must compile as one graph.
        bfloat16: Whether it must hold under autocast to bfloat16.
        **keywords: What the objective takes beside these, such as ``context`` or ``labels``; of
            tensors the first eight rows are used.

    Raises:
        ContractError: At the first clause that is broken, in one sentence.
        TypeError: If ``objective`` is no ``Objective``, or x no floating-point tensor.
        ValueError: If a model comes without data, or there are fewer than two rows.

    Example:
        >>> from disvae import objectives, testing
        >>> testing.check_objective(objectives.BetaVAE(beta=4.0), compiles=False)
    """
    if not isinstance(objective, Objective):
        kind = objective.__name__ if isinstance(objective, type) else type(objective).__name__
        raise TypeError(
            f"Expected objective to be an instance of disvae.objectives.Objective, but got {kind}; "
            f"make one, or put a term into objectives.WeightedSum."
        )
    _check_data(model, x)
    part = Part(objective, "objective", ())
    with isolated(), part.running("call", "all that is asked of it to run", "see the cause"):
        trial = _trial(part, objective, model, x, keywords)
        _check_call(trial)
        _check_names_and_steps(trial)
        _check_gradients(trial)
        _check_state(trial)
        _check_samples(trial)
        _check_one_datum(trial)
        _check_extremes(trial, bfloat16)
        if compiles:
            _check_compiles(trial)


def _check_data(model: VAE | None, x: Tensor | None) -> None:
    if x is None:
        if model is not None:
            raise ValueError(
                "Expected data for the model, but got none; "
                "pass check_objective(objective, model, x)."
            )
        return
    check_float(x, "x")
    if x.ndim == 0 or len(x) < 2:
        raise ValueError(
            f"Expected two or more rows of data, but got shape {tuple(x.shape)}; "
            f"pass a small batch."
        )


def _trial(
    part: Part,
    objective: Objective,
    model: VAE | None,
    x: Tensor | None,
    keywords: Mapping[str, Any],
) -> _Trial:
    if model is None:
        model = small_model()
    x = torch.rand(_ROWS, DATA) if x is None else x
    rows = len(x)
    kept = {
        name: value[:_ROWS].clone()
        if isinstance(value, Tensor) and value.shape[:1] == (rows,)
        else value
        for name, value in keywords.items()
    }
    with part.running("state", "copy.deepcopy to work", "keep no tensor with a graph on it"):
        pair = copy.deepcopy(nn.ModuleDict({"objective": objective, "model": model}))
    return _Trial(part, pair, x[:_ROWS].detach().clone(), kept)


def _check_call(trial: _Trial) -> None:
    broken = trial.part.broken
    pair, x = trial.fresh(), trial.x.clone()
    with trial.part.running("call", "objective(model, x, step=None) to run", "see the cause"):
        losses = trial.call(pair)
    if not isinstance(losses, Losses):
        raise broken("call", "disvae.objectives.Losses", type(losses).__name__, _RETURN)
    total = losses.total
    if not isinstance(total, Tensor) or total.shape or not total.is_floating_point():
        raise broken("call", "a scalar tensor as total", _told(total), _RETURN)
    if not math.isfinite(total.item()):
        raise broken("call", "a finite total", f"{total.item():g}", "look for log(0) and 0/0")
    for name, value in losses.terms.items():
        if not isinstance(value, Tensor) or value.shape:
            raise broken("call", f"a scalar tensor as {name}", _told(value), _RETURN)
        if value.requires_grad:
            raise broken("call", f"{name} to be detached", "a graph", _RETURN)
    if not torch.equal(x, trial.x):
        raise broken("call", "x to be left as it is", "other values", "work on a copy")
    if not all(module.training for module in pair.modules()):
        raise broken("call", "modes to be left as they are", "eval()", "call no eval() or train()")


def _check_names_and_steps(trial: _Trial) -> None:
    names: list[str] | None = None
    for training in (True, False):
        for step in _STEPS:
            where = f"with step={step} in {'training' if training else 'evaluation'} mode"
            with trial.part.running("step", f"it to run {where}", "take step=None, int or tensor"):
                losses = trial.call(trial.fresh(training), step)
                with torch.no_grad():
                    silent = trial.call(trial.fresh(training), step)
            for found in (losses, silent):
                names = list(found.terms) if names is None else names
                if list(found.terms) != names:
                    raise trial.part.broken(
                        "names",
                        f"the same names of terms at every call, {names}",
                        f"{list(found.terms)} {where}",
                        "return every term at every call, 0 where it is off",
                    )
            if step is None:
                continue
            with trial.part.running("step", f"a tensor as step {step}", "use torch functions"):
                of_tensor = trial.call(trial.fresh(training), torch.tensor(step))
            _check_same(trial, "step", "an int and a tensor to give the same", losses, of_tensor)


def _check_gradients(trial: _Trial) -> None:
    broken = trial.part.broken
    pair = trial.fresh()
    losses = trial.call(pair)
    leaves = {n: p for n, p in pair.named_parameters() if p.requires_grad}
    if not losses.total.requires_grad:
        raise broken("gradients", "a gradient of total", "none", "use no detach() or no_grad()")
    found = torch.autograd.grad(losses.total, list(leaves.values()), allow_unused=True)
    gradients = dict(zip(leaves, found, strict=True))
    _check_finite_gradients(trial, gradients, "")
    of_model = {id(p) for p in pair["model"].parameters()}
    reached = {id(leaves[n]) for n, g in gradients.items() if g is not None and (g != 0).any()}
    if not reached & of_model:
        raise broken("gradients", "a gradient at the model", "none", "use no detach() on the pass")
    lost = [n for n, g in gradients.items() if g is None and id(leaves[n]) not in of_model]
    if lost:
        raise broken(
            "gradients",
            f"a gradient at its parameter {lost[0].removeprefix('objective.')}",
            "none",
            "add an auxiliary loss for it, or delete it",
        )


def _check_state(trial: _Trial) -> None:
    broken = trial.part.broken
    evaluated = trial.fresh(training=False)
    before = snapshot(evaluated)
    first = trial.call(evaluated)
    _check_same(trial, "state", "equal values in evaluation", first, trial.call(evaluated))
    if not equal_states(before, snapshot(evaluated)):
        raise broken(
            "state",
            "a call in evaluation mode to leave the state dict as it is",
            "another one",
            "change buffers only where self.training",
        )
    trained = trial.fresh()
    before = snapshot(trained)
    first = trial.call(trained)
    parameters = {name for name, _ in trained.named_parameters()}
    after = snapshot(trained)
    for name in parameters & before.keys():
        if not torch.equal(before[name], after[name]):
            raise broken(
                "state", f"{name} to be left to the optimiser", "another value", "use a buffer"
            )
    if any(p.grad is not None for p in trained.parameters()):
        raise broken("state", "no .grad to be filled", "one", "call backward() in the loop only")
    if equal_states(before, after):
        again = trial.call(trained)
        expected = "equal values at two calls from one seed, or a state dict that tells"
        _check_same(trial, "state", expected, first, again)
    _check_round_trip(trial)


def _check_round_trip(trial: _Trial) -> None:
    with trial.part.running("state", "its state dict to save and load", "keep tensors in it"):
        saved = trial.fresh(training=False)
        kept = saved.state_dict().keys()
        buffers = [b for n, b in saved.named_buffers() if n in kept and b.is_floating_point()]
        jitter([*saved.parameters(), *buffers])
        file = io.BytesIO()
        torch.save(saved.state_dict(), file)
        file.seek(0)
        loaded = trial.fresh(training=False)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        a, b = trial.call(saved), trial.call(loaded)
    _check_same(trial, "state", "the same value after saving and loading", a, b)


def _check_samples(trial: _Trial) -> None:
    """Several samples of each datum, where ``forward`` is the one that draws them."""
    forward: Callable[..., Losses] = type(trial.part.module).forward
    if forward not in (Objective.forward, WeightedSum.forward):
        return
    for shape in ((3,), (2, 2)):
        pair = trial.fresh()
        several: Any = pair["objective"]
        several.sample_shape = torch.Size(shape)
        with trial.part.running(
            "samples", f"it to run with sample_shape={shape}", "let terms take leading axes"
        ):
            total = trial.call(pair).total
        if total.shape or not math.isfinite(total.item()):
            raise trial.part.broken(
                "samples",
                f"a finite scalar with sample_shape={shape}",
                _told(total),
                "take means over all axes",
            )


def _check_one_datum(trial: _Trial) -> None:
    one, mend = trial.first_row(), "raise ValueError('Expected ..., but got ...; ...')"
    with trial.part.running("batch", "one datum to give a value or a ValueError", mend):
        try:
            total = one.call(one.fresh()).total
        except ValueError as error:
            if "\n" in str(error) or len(str(error)) < 25:
                expected = "a sentence that says why one datum is too few"
                raise trial.part.broken("batch", expected, str(error), mend) from error
            return
    if not math.isfinite(total.item()):
        raise trial.part.broken(
            "batch",
            "one datum to give a finite value or a ValueError",
            f"{total.item():g}",
            "check the size of the batch where a statistic needs two",
        )


def _check_extremes(trial: _Trial, bfloat16: bool) -> None:
    for scale in _SCALES:
        where = f"with posteriors of scale {scale:g}"
        pair = trial.fresh()
        model: Any = pair["model"]
        model.encoder = Scaled(model.encoder, scale)
        _check_finite_at(trial, pair, where, contextlib.nullcontext())
    if bfloat16:
        autocast = torch.autocast(trial.x.device.type, dtype=torch.bfloat16)
        _check_finite_at(trial, trial.fresh(), "under autocast to bfloat16", autocast)


def _check_finite_at(
    trial: _Trial, pair: nn.ModuleDict, where: str, setting: contextlib.AbstractContextManager[Any]
) -> None:
    mend = "compute in float32 and in logarithms, and guard every division and square root"
    leaves = {n: p for n, p in pair.named_parameters() if p.requires_grad}
    with trial.part.running("extremes", f"it to run {where}", mend):
        with setting:
            total = trial.call(pair).total
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    if not math.isfinite(total.item()):
        got = f"{total.item():g}"
        raise trial.part.broken("extremes", f"a finite total {where}", got, mend)
    if torch.finfo(total.dtype).bits < 32:
        got = str(total.dtype)
        raise trial.part.broken("extremes", f"a total in float32 {where}", got, mend)
    _check_finite_gradients(trial, dict(zip(leaves, found, strict=True)), where)


def _check_finite_gradients(
    trial: _Trial, gradients: Mapping[str, Tensor | None], where: str
) -> None:
    for name, gradient in gradients.items():
        if gradient is not None and not torch.isfinite(gradient).all():
            raise trial.part.broken(
                "extremes" if where else "gradients",
                f"a finite gradient at {name} {where}".rstrip(),
                "NaN or infinity",
                "look for 0/0, sqrt(0) or a torch.where around a value that is not finite",
            )


def _check_compiles(trial: _Trial) -> None:
    mend = "see TORCH_LOGS=graph_breaks, or pass compiles=False to leave this clause out"
    pair, step = trial.fresh(), torch.tensor(3)

    def one_pass(x: Tensor, step: Tensor) -> Losses:
        return pair["objective"](pair["model"], x, step=step, **trial.keywords)

    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with trial.part.running("compile", "one graph from torch.compile(fullgraph=True)", mend):
            seed()
            compiled = torch.compile(one_pass, backend="eager", fullgraph=True)
            found = compiled(trial.x, step)
    eager = trial.call(trial.fresh(), step)
    _check_same(trial, "compile", "the same value compiled and eager", found, eager)


def _check_same(trial: _Trial, clause: str, expected: str, a: Losses, b: Losses) -> None:
    for name, first, second in (
        ("total", a.total, b.total),
        *((name, value, b.terms[name]) for name, value in a.terms.items()),
    ):
        if not same(first.detach(), second.detach()):
            got = f"{difference(first.detach(), second.detach())} for {name}"
            mend = "let the value depend on the inputs, the step, the seed and buffers only"
            raise trial.part.broken(clause, expected, got, mend)


def _told(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
