"""The clauses on calls, shapes and point estimates."""

import torch
from torch import Size
from torch.distributions import Distribution

from disvae.distributions import point
from disvae.testing.part import Part, difference, draw, has_density, same, seed

_SAMPLE_SHAPES = ((), (3,), (2, 3))
_INDEPENDENT = "wrap it in torch.distributions.Independent(..., {})"


def check_call(part: Part) -> None:
    """The part returns a distribution, and leaves its inputs as they were."""
    inputs = tuple(t.clone() for t in part.inputs)
    shapes = ", ".join(str(tuple(t.shape)) for t in inputs)
    mend = "let forward take just these, each in this order"
    with part.running("call", f"forward to take inputs ({shapes})", mend):
        d = part.distribution(part.fresh(), inputs)
    if not isinstance(d, Distribution):
        raise part.broken(
            "call",
            "forward to return a torch.distributions.Distribution",
            type(d).__name__,
            "end it with a head of disvae.posteriors or disvae.likelihoods",
        )
    for before, after in zip(part.inputs, inputs, strict=True):
        if not same(before, after, 0.0):
            raise part.broken(
                "call",
                "forward to leave its inputs as they are",
                f"another value ({difference(before, after)}) in the input of shape "
                f"{tuple(before.shape)}",
                "compute out of place",
            )


def check_shapes(
    part: Part, batch_shapes: tuple[tuple[int, ...], ...], event_shape: tuple[int, ...] | None
) -> None:
    """Batch and event shape of the role (None for any vector), and shapes of samples and densities.

    Without a density, ``log_prob`` must raise.
    """
    d = part.distribution(part.fresh())
    event, batch = tuple(d.event_shape), tuple(d.batch_shape)
    if (len(event) != 1) if event_shape is None else (event != event_shape):
        raise part.broken(
            "shapes",
            f"event shape {'(D,)' if event_shape is None else event_shape}",
            f"event shape {event} and batch shape {batch}",
            _INDEPENDENT.format(1 if event_shape is None else len(event_shape)),
        )
    if batch not in batch_shapes:
        raise part.broken(
            "shapes",
            f"batch shape {' or '.join(map(str, batch_shapes))}",
            f"batch shape {batch} and event shape {event}",
            "return one distribution for each row of the input",
        )
    for shape in _SAMPLE_SHAPES:
        _check_samples(part, d, shape)


def _check_samples(part: Part, d: Distribution, shape: tuple[int, ...]) -> None:
    lead = shape + tuple(d.batch_shape)
    expected = lead + tuple(d.event_shape)
    name = type(d).__name__
    with part.running("shapes", f"{name}.sample to take the shape {shape}", "mend its sampler"):
        z = draw(d, shape)
        drawn = [("sample", z)]
        if d.has_rsample:
            seed()
            drawn.append(("rsample", d.rsample(Size(shape))))
    for method, values in drawn:
        if tuple(values.shape) != expected:
            raise part.broken(
                "shapes",
                f"samples of shape {expected} from {name}.{method}({shape})",
                f"{tuple(values.shape)}",
                "return sample_shape + batch_shape + event_shape",
            )
    if not has_density(d):
        try:
            d.log_prob(z)
        except (TypeError, ValueError, NotImplementedError):
            return
        raise part.broken(
            "shapes",
            f"{name}.log_prob to raise because has_density is False",
            "a value",
            "raise a TypeError there, or set has_density to True",
        )
    with part.running("shapes", f"{name}.log_prob to take its own samples", "mend its density"):
        found = tuple(d.log_prob(z).shape)
    if found != lead:
        raise part.broken(
            "shapes",
            f"{name}.log_prob of shape {lead} for samples of shape {expected}",
            f"{found}",
            "sum over the event axes once, and over nothing else",
        )


def check_point(part: Part) -> None:
    """The point estimate has the shape of one sample, is finite, and the same at every call."""
    d = part.distribution(part.fresh())
    with part.running("point", "disvae.distributions.point to work", "give it a finite mean"):
        torch.manual_seed(1)
        first = point(d)
        torch.manual_seed(2)
        second = point(d)
    expected = tuple(d.batch_shape + d.event_shape)
    if tuple(first.shape) != expected or not torch.isfinite(first).all():
        raise part.broken(
            "point",
            f"a finite point estimate of shape {expected}",
            f"shape {tuple(first.shape)} with {int((~torch.isfinite(first)).sum())} values that "
            f"are not finite",
            f"let {type(d).__name__}.mean have batch_shape + event_shape",
        )
    if not same(first, second, 0.0):
        raise part.broken(
            "point",
            "the same point estimate at every call",
            difference(first, second),
            f"let {type(d).__name__}.mean draw no random numbers",
        )
