"""The clauses on extreme inputs, half precision and compilation."""

import dataclasses
import math
import warnings

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from disvae.distributions import base_of
from disvae.testing.integration import support_of
from disvae.testing.part import Part, difference, draw, has_density, same, seed

_FACTORS = (1.0, 1e3, 1e4, -1e4)
_FAR = (1e3, 1e4)
_BOUND = "bound scales and rates (softplus, not exp), and guard every division, log and square root"
_PROMOTE = "compute parameters and densities in float32 at least, as disvae.nn.AffineHead does"


def check_extremes(part: Part, dtypes: tuple[torch.dtype, ...]) -> None:
    """Inputs of 1e3 and 1e4 times their size give finite samples, densities and gradients.

    In bfloat16 the densities are at least float32.
    """
    if part.inputs:
        for dtype in dtypes:
            for factor in _FACTORS:
                _check_scaled(part, dtype, factor)


def check_far_points(part: Part, dtypes: tuple[torch.dtype, ...]) -> None:
    """The density of a prior is finite on all of the real line, and NaN nowhere."""
    d = part.distribution(part.fresh())
    support = support_of(d)
    if not has_density(d):
        return
    z = draw(d, (8,))
    signs = 1 - 2 * (torch.arange(z.numel(), device=z.device).reshape(z.shape) % 3 == 1).to(z)
    points = torch.cat([torch.zeros_like(z), *(factor * signs for factor in _FAR)])
    for dtype in dtypes:
        where = f"at own samples in {_short(dtype)}"
        far = part.cast(dtype).distribution(part.fresh(dtype))
        log_p, accepted = _density_of_prior(part, far, z, where)
        _check_finite(part, "log_prob", log_p, where)
        if accepted and support in (None, constraints.real):
            _check_far(part, far, points, f"at points up to {_FAR[-1]:g} in {_short(dtype)}")


def check_compiles(part: Part) -> None:
    """``torch.compile(fullgraph=True, backend="eager")`` from a cold start gives the same."""
    d = part.distribution(part.fresh())
    values = part.values(d)
    density = has_density(d)
    sampled = d.has_rsample and ((part.data is None and not part.is_prior) or not density)

    def one_pass(module: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
        q = module(*inputs)
        found = {"log_prob": q.log_prob(values)} if density else {}
        return {**found, "rsample": q.rsample()} if sampled else found

    mend = "see TORCH_LOGS=graph_breaks, or pass compiles=False to leave this clause out"
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with part.running("compile", "one graph from torch.compile(fullgraph=True)", mend):
            seed()
            compiled = torch.compile(one_pass, backend="eager", fullgraph=True)
            found = compiled(part.fresh(), *part.inputs)
    seed()
    for what, eager in one_pass(part.fresh(), *part.inputs).items():
        if not same(found[what].detach(), eager.detach()):
            raise part.broken(
                "compile",
                f"{what} of {type(base_of(d)).__name__} to be the same compiled and eager",
                difference(found[what].detach(), eager.detach()),
                "let forward depend on its inputs and registered tensors only",
            )


def _check_scaled(part: Part, dtype: torch.dtype, factor: float) -> None:
    where = f"in {_short(dtype)}" + (f" with inputs times {factor:g}" if factor != 1 else "")
    scaled = dataclasses.replace(part, inputs=tuple(factor * t for t in part.inputs)).cast(dtype)
    module = part.fresh(dtype)
    with part.running("extremes", f"it to run {where}", _PROMOTE):
        d = scaled.distribution(module)
        z = draw(d)
        found = {"samples": z}
        if has_density(d) and part.is_prior:
            found["log_prob"], _ = _density_of_prior(part, d, z.to(torch.float32), where)
        elif has_density(d):
            found["log_prob"] = d.log_prob(z)
            if part.data is not None:
                found["log_prob of x"] = d.log_prob(part.data.to(torch.float32))
        if d.has_rsample and not part.is_prior:
            seed()
            found["rsample"] = d.rsample()
    for what, values in found.items():
        _check_finite(part, what, values, where)
        if not part.is_prior:
            _check_full_precision(part, what, values, where)
    leaves = {name: p for name, p in module.named_parameters() if p.requires_grad}
    outputs = [v.sum() for v in found.values() if v.requires_grad]
    if leaves and outputs:
        gradients = torch.autograd.grad(outputs, list(leaves.values()), allow_unused=True)
        for name, gradient in zip(leaves, gradients, strict=True):
            if gradient is not None:
                _check_finite(part, f"gradient at {name}", gradient, where)


def _density_of_prior(part: Part, d: Distribution, z: Tensor, where: str) -> tuple[Tensor, bool]:
    """Log densities, and whether z in float32 was accepted.

    A posterior's samples are float32 at least, whatever the weights of the prior. A prior may
    refuse them aloud (a flow does, in bfloat16), but not answer in half precision.
    """
    try:
        log_p = d.log_prob(z)
    except Exception:  # whatever the refusal is, it must not hold for samples of its own dtype
        with part.running("extremes", f"log_prob to work {where}", _PROMOTE):
            return d.log_prob(draw(d, tuple(z.shape[: z.ndim - len(d.batch_shape) - 1]))), False
    _check_full_precision(part, "log_prob", log_p, where)
    return log_p, True


def _check_far(part: Part, d: Distribution, points: Tensor, where: str) -> None:
    points = points.clone().requires_grad_()
    with part.running("extremes", f"log_prob to work {where}", "state its support"):
        log_p = d.log_prob(points)
    if torch.isnan(log_p).any() or (log_p == torch.inf).any():
        raise part.broken(
            "extremes",
            f"a log_prob that is finite, or -inf outside the support, {where}",
            "NaN or +inf",
            "compute it in logarithms (logsumexp, log1p, softplus)",
        )
    if support_of(d) is constraints.real:
        _check_finite(part, "log_prob, since its support is all real numbers,", log_p, where)
    finite = log_p[torch.isfinite(log_p)]
    if finite.requires_grad:
        (gradient,) = torch.autograd.grad(finite.sum(), points, allow_unused=True)
        if gradient is not None:
            _check_finite(part, "gradient of log_prob at z", gradient, where)


def _check_finite(part: Part, what: str, values: Tensor, where: str) -> None:
    if not torch.isfinite(values).all():
        bad = values[~torch.isfinite(values)].flatten()[0].item()
        got = "NaN" if math.isnan(bad) else f"{bad:g}"
        raise part.broken("extremes", f"finite {what} {where}", got, _BOUND)


def _check_full_precision(part: Part, what: str, values: Tensor, where: str) -> None:
    if values.is_floating_point() and torch.finfo(values.dtype).bits < 32:
        expected = f"{what} in float32 at least {where}"
        raise part.broken("extremes", expected, f"{values.dtype}", _PROMOTE)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
