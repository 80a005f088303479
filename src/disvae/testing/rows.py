"""The clause on batches: a row, and a sample, do not see the others."""

import copy

import torch
from torch import Tensor
from torch.distributions import Distribution

from disvae.testing.part import Part, difference, draw, has_density, observed, same


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
