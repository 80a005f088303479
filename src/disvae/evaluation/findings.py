"""What evaluations return: estimates with their standard errors, and results that print."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor


class Estimate(float):
    r"""A mean over samples: a float that knows its standard error.

    Arithmetic on it gives plain floats.

    Attributes:
        standard_error: The standard error of the mean, 0 where nothing was sampled, NaN where it
            cannot be told (one sample).

    Example:
        >>> found = Estimate(1.25, 0.031)
        >>> print(found)
        1.250 ± 0.031
        >>> found * 2
        2.5
    """

    standard_error: float

    def __new__(cls, value: float, standard_error: float = 0.0) -> Self:
        """Makes the float."""
        found = super().__new__(cls, value)
        found.standard_error = standard_error
        return found

    def __repr__(self) -> str:
        return f"Estimate({float(self)!r}, {self.standard_error!r})"

    def __str__(self) -> str:
        """The value and its standard error, where there is one."""
        if not self.standard_error > 0:
            return f"{float(self):z.3f}"
        return f"{float(self):z.3f} ± {self.standard_error:.3f}"


def mean_of(values: Tensor, population: int, *, sampled: bool = True) -> Estimate:
    r"""The mean of values at S samples of each of n data, with its standard error.

    With the fraction :math:`f = n/N` of the data, the variance :math:`s_b^2` of the data's means
    and the mean variance :math:`s_w^2` of the samples of one datum, it is that of sampling in two
    stages,

    .. math::

        \mathrm{SE}^2 = (1 - f) \frac{s_b^2}{n} + f \frac{s_w^2}{n S}

    One sample of each datum cannot tell :math:`s_w` from :math:`s_b`: the error is then
    :math:`s_b / \sqrt n`, too large where f is near 1, for it holds the differences between data.

    Args:
        values: ``(S, n)``.
        population: The number N of all data.
        sampled: Whether values are those of samples; else each is that of its datum, exactly.

    Example:
        >>> import torch
        >>> mean_of(torch.tensor([[1.0, 3.0], [1.0, 3.0]]), population=2)
        Estimate(2.0, 0.0)
    """
    values = values.double()
    samples, data = values.shape
    fraction = data / population
    between = values.mean(0).var(correction=1).item() / data if data > 1 else math.nan
    if not sampled:
        variance = 0.0 if data == population else (1 - fraction) * between
    elif samples == 1:
        variance = between
    else:
        within = values.var(0, correction=1).mean().item() / (samples * data)
        variance = fraction * within
        variance += 0.0 if data == population else (1 - fraction) * between
    return Estimate(values.mean().item(), math.sqrt(max(variance, 0.0)))


class Finding:
    """What results have in common; each is a frozen dataclass that prints as a table."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain numbers, strings, lists, dicts and None, which JSON can hold.

        An estimate is a dict of its value and its standard error; NaN and infinity are None.
        """
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: _plain(getattr(self, field.name)) for field in fields}


class PartlyDefined(Finding):
    """A result of which some fields are None, each with the reason in ``not_defined``."""

    not_defined: Mapping[str, str]

    def cell(self, field: str, unit: str = "") -> str:
        """A field for a table, with its unit, or why it is not defined."""
        value = getattr(self, field)
        if value is None:
            return f"not defined ({self.not_defined[field]})"
        return f"{value if isinstance(value, Estimate) else format(value, '.3f')}{unit}"


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        error = value.standard_error
        return {"value": _plain(float(value)), "standard_error": _plain(error)}
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def listing(rows: Sequence[tuple[str, str]]) -> str:
    r"""Names and values in two columns.

    Example:
        >>> print(listing([("rate", "1.2 nats"), ("ELBO", "-3.4 nats")]))
        rate  1.2 nats
        ELBO  -3.4 nats
    """
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in rows)


def per_dimension(columns: Mapping[str, Tensor | None], order: Sequence[int]) -> str:
    r"""A table with a row for each latent dimension, and a column for each quantity that there is.

    Example:
        >>> import torch
        >>> print(per_dimension({"KL": torch.tensor([0.1, 2.0]), "TC": None}, order=[1, 0]))
        dimension     KL
        z1         2.000
        z0         0.100
    """
    given = {name: values.tolist() for name, values in columns.items() if values is not None}
    cells = [["dimension", *given]]
    cells += [[f"z{d}", *(f"{values[d]:z.3f}" for values in given.values())] for d in order]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def names_of(mask: Tensor) -> str:
    """The latent dimensions of a mask ``(D,)``, for a sentence.

    Example:
        >>> import torch
        >>> names_of(torch.tensor([True, False, True]))
        'z0, z2'
    """
    return ", ".join(f"z{d}" for d in torch.nonzero(mask).flatten().tolist())
