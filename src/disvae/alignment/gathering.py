"""One pass over the data: codes, what they are conditioned on, and attributes."""

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.data import Dataset

from disvae.alignment.attributes import Attributes, Floats, Gauge, Measure, Table, measured
from disvae.distributions import constraints, point, seeded
from disvae.distributions.supports import CATEGORIES, blocks
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.divergences import Signal
from disvae.evaluation.feeding import Context, Data, batches
from disvae.metrics.arrays import check_codes
from disvae.model import VAE, evaluating
from disvae.nn import full_precision

# of fewer data no figure says anything
_LEAST_DATA = 20


class Gathered(NamedTuple):
    """What an alignment needs of the data that have all attributes.

    Attributes:
        codes: The codes, (N, D).
        active: Which dimensions carry a signal and are no part of a category or a sphere, (D,).
        fixed: Which dimensions are such a part, (D,).
        context: What each datum is conditioned on, (N, C), or None.
        attributes: The attributes, finite, (N, K).
        left_out: How many data have not all of them.
        gauge: What measures them.
        source: Where they are from.
    """

    codes: Tensor
    active: Tensor
    fixed: Tensor
    context: Tensor | None
    attributes: Floats
    left_out: int
    gauge: Gauge
    source: str


def gather(
    model: VAE,
    data: Data,
    attributes: Attributes | None,
    names: Any,
    measure: Measure,
    context: Context,
    batch_size: int,
    threshold: float,
) -> Gathered:
    """Encode all data, and find or measure their attributes."""
    given = None if attributes is None else _given(attributes, data)
    parts: list[Distribution] = []
    codes, contexts, columns = [], [], []
    low, high = np.inf, -np.inf
    with evaluating(model):
        stream = batches(model, data, context, batch_size)
        first = next(stream)  # empty data are refused here
        source = _Source.of(given, names, measure, first[0], first[1], data)
        fixed = _fixed(model.latent_prior(first[2]))
        for x, y, c in itertools.chain([first], stream):
            parts.append(model.encode(x, c))
            codes.append(full_precision(point(parts[-1])).cpu())
            if c is not None:
                contexts.append(_context_rows(c))
            if given is None:
                columns.append(source.read(x, y))
            low, high = min(low, float(x.min())), max(high, float(x.max()))
    z = torch.cat(codes)
    whole = np.concatenate(columns) if given is None else given.values[:, list(source.columns)]
    if len(whole) != len(z):
        raise ValueError(
            f"Expected one row of attributes for each of the {len(z)} data, but got {len(whole)}; "
            f"pass them in the order of the data."
        )
    check_codes(z.numpy())  # refuses NaN
    kept = _complete(whole, source.gauge.names)
    _, varies = check_codes(z[kept].numpy())
    with seeded(0):  # the moments of flows are sampled
        signal = Signal.of(Aggregate(parts)).signal
    return Gathered(
        codes=z[kept],
        active=(signal >= threshold) & torch.from_numpy(varies) & ~fixed,
        fixed=fixed,
        context=torch.cat(contexts)[kept] if contexts else None,
        attributes=whole[kept],
        left_out=int((~kept).sum()),
        # decoded means may leave the range of images by a little
        gauge=dataclasses.replace(source.gauge, clip=low >= 0 and high <= 1),
        source=source.name,
    )


class _Source(NamedTuple):
    """Where attributes come from, as the first batch tells.

    Attributes:
        name: A word for it.
        columns: The columns of the attributes where they come from.
        gauge: What measures the same attributes.
    """

    name: str
    columns: tuple[int, ...]
    gauge: Gauge

    @classmethod
    def of(
        cls, given: Table | None, names: Any, measure: Measure, x: Tensor, y: Any, data: Data
    ) -> "_Source":
        if not callable(measure):
            raise TypeError(
                f"Expected measure to be a function of images, but got {type(measure).__name__}; "
                f"pass e.g. data.morphology."
            )
        probe = measured(measure, full_precision(x[:1]).cpu())
        beside = _second_items(y, data, probe)
        name, what, table = "measured", "what measure returns", probe
        if given is not None:
            name, what, table = "passed", "attributes", given
        elif beside is not None:
            name, what, table = "second items", "the second items", beside
        own, other = table.values.shape[1], probe.values.shape[1]
        by_column = probe.names is None or (names is None and table.names is None)
        if by_column and own != other:
            raise ValueError(
                f"Expected measure to return the {own} columns of {what}, but got {other}, which "
                f"cannot be matched without names; pass names=, and let measure return a mapping "
                f"from names to columns."
            )
        columns, chosen = table.pick(probe.names if by_column and names is None else names, what)
        places = columns if by_column else probe.pick(chosen, "what measure returns")[0]
        return cls(name, columns, Gauge(measure, chosen, places))

    def read(self, x: Tensor, y: Any) -> Floats:
        """The attributes of one batch."""
        if self.name == "measured":
            return self.gauge(x)
        return Table.of(y, "the second items").values[:, list(self.columns)]


def _given(attributes: Attributes, data: Data) -> Table:
    if not isinstance(data, Tensor | Dataset):
        raise TypeError(
            "Expected a tensor or a data set with attributes, because a loader may shuffle, but "
            "got a loader; pass its data set, or let the data's second items be the attributes."
        )
    table = Table.of(attributes, "attributes")
    if len(table.values) == 0:
        raise ValueError(
            "Expected attributes with at least one row, but got none; pass one row for each datum."
        )
    return table


def _context_rows(context: Tensor) -> Tensor:
    """The context of a batch, (B, C), on the CPU; parts of others may take what has no columns."""
    if context.ndim != 2:
        raise ValueError(
            f"Expected context to be one row of numbers for each datum, of shape (B, C), but got "
            f"{tuple(context.shape)}; reshape it, e.g. with context[:, None] or context.flatten(1)."
        )
    return context.cpu()


def _second_items(y: Any, data: Data, probe: Table) -> Table | None:
    """The second items of a batch, if they are attributes that the measure gives too."""
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.ndim != 2:
        return None
    source: Any = data
    while not hasattr(source, "factor_names") and hasattr(source, "dataset"):
        source = source.dataset
    own = getattr(source, "factor_names", None)
    if own is None:  # as many columns as there are names say nothing of which is which
        alike = probe.names is None and y.shape[1] == len(probe.values[0])
        return Table.of(y, "the second items") if alike else None
    if len(own) != y.shape[1] or not set(own) <= set(probe.names or own):
        return None
    return Table(tuple(own), Table.of(y, "the second items").values)


def _fixed(prior: Distribution) -> Tensor:
    """The dimensions that cannot be moved alone: those of categories and spheres."""
    fixed = torch.zeros(prior.event_shape[0], dtype=torch.bool, device="cpu")
    for block in blocks(prior):
        if block.kind in (*CATEGORIES, constraints.Sphere):
            fixed[list(block.dims)] = True
    return fixed


def _complete(attributes: Floats, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which data have all attributes.

    Raises:
        ValueError: If they are too few, or an attribute does not vary.
    """
    kept = np.asarray(~np.isnan(attributes).any(axis=1))
    if kept.sum() < _LEAST_DATA:
        raise ValueError(
            f"Expected at least {_LEAST_DATA} data with all attributes, but got {kept.sum()} of "
            f"{len(kept)}; pass more data, or leave out an attribute that is mostly missing."
        )
    for name, width in zip(names, np.ptp(attributes[kept], axis=0), strict=True):
        if not width > 0:
            raise ValueError(
                f"Expected attributes that vary, but {name!r:.60} is the same in all data; leave "
                f"it out."
            )
    return kept
