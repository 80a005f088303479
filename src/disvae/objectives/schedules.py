r"""Weights that follow the number of the training step.

A schedule is any callable ``schedule(step)`` that returns the weight at that step, a non-negative
number, or a tensor where the step is a tensor. It keeps no state: the step alone decides, so
resuming needs nothing and evaluation changes nothing. ``step=None`` means the final value.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from disvae.nn import check_int

StepNumber = Tensor | int | None
Schedule = Callable[[StepNumber], Tensor | float]


def check_number(value: float, name: str, *, least: float = 0.0) -> float:
    """``value`` as a float, if it is a finite number of at least ``least``.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is smaller, NaN or infinite.

    Example:
        >>> check_number(4, "rate")
        4.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"Expected {name} to be a number, but got {type(value).__name__}; pass a plain float."
        )
    if not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" and at least {least:g}"
        raise ValueError(
            f"Expected {name} to be finite{bound}, but got {value}; pass another number."
        )
    return float(value)


def check_weight(value: float, name: str) -> float:
    """``value`` as a float, if it can weigh a term.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is negative, NaN or infinite.

    Example:
        >>> check_weight(4, "beta")
        4.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"Expected {name} to be a number or a schedule, but got {type(value).__name__}; "
            f"pass a float, or e.g. schedules.Linear(0.0, 1.0, steps=1000)."
        )
    if not math.isfinite(value) or value < 0:
        raise ValueError(
            f"Expected {name} to be finite and at least 0, but got {value}; "
            f"terms are costs, so a positive weight lowers them."
        )
    return float(value)


def check_step(step: StepNumber) -> None:
    """Refuse what is no number of a step.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is a tensor of several.
    """
    if isinstance(step, Tensor):
        if step.ndim:
            raise ValueError(
                f"Expected step to be one number, but got a tensor of shape {tuple(step.shape)}; "
                f"pass torch.tensor(step)."
            )
    elif step is not None and not isinstance(step, int | float):
        raise TypeError(
            f"Expected step to be a number, but got {type(step).__name__}; "
            f"pass the number of the step, or torch.tensor(step)."
        )


def value_at(weight: float | Schedule, step: StepNumber, name: str) -> Tensor | float:
    """The number that a weight or a schedule gives at a step; a number was checked before.

    Raises:
        TypeError: If a schedule returns no number.
        ValueError: If it returns several, or one that is negative, NaN or infinite.

    Example:
        >>> value_at(Linear(0.0, 4.0, steps=10), 5, "beta")
        2.0
    """
    if not callable(weight):
        return weight
    value = weight(step)
    if not isinstance(value, Tensor):
        return check_weight(value, name)
    if value.ndim:
        raise ValueError(
            f"Expected the schedule of {name} to return one number, but got a tensor of shape "
            f"{tuple(value.shape)}; return a scalar."
        )
    return value


@dataclass(frozen=True)
class Constant:
    """One weight at every step.

    Args:
        value: The weight.

    Example:
        >>> Constant(4.0)(step=10)
        4.0
    """

    value: float

    def __post_init__(self) -> None:
        check_weight(self.value, "value")

    def __call__(self, step: StepNumber = None) -> float:
        """The weight at ``step``."""
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class Linear:
    r"""From one weight to another in equal steps, and the last one from then on.

    .. math::

        w(t) = a + (b - a)\,\min(t / T, 1)

    Args:
        start: The weight a at step 0.
        end: The weight b from step T on.
        steps: The number T of steps between them.

    Example:
        >>> schedule = Linear(0.0, 4.0, steps=100)
        >>> schedule(0), schedule(25), schedule(1000), schedule(None)
        (0.0, 1.0, 4.0, 4.0)
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check_weight(self.start, "start")
        check_weight(self.end, "end")
        check_int(self.steps, "steps")

    def __call__(self, step: StepNumber = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.end
        return self.start + (self.end - self.start) * _clamped(step / self.steps)

    def __str__(self) -> str:
        return f"Linear({self.start} → {self.end}, {self.steps} steps)"


@dataclass(frozen=True)
class Cosine:
    r"""From one weight to another along half a wave of the cosine, slow at both ends.

    .. math::

        w(t) = a + (b - a)\,\tfrac12 \big(1 - \cos(\pi \min(t / T, 1))\big)

    Args:
        start: The weight a at step 0.
        end: The weight b from step T on.
        steps: The number T of steps between them.

    Example:
        >>> schedule = Cosine(0.0, 4.0, steps=100)
        >>> schedule(0), round(schedule(50), 3), schedule(None)
        (0.0, 2.0, 4.0)
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check_weight(self.start, "start")
        check_weight(self.end, "end")
        check_int(self.steps, "steps")

    def __call__(self, step: StepNumber = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.end
        angle = math.pi * _clamped(step / self.steps)
        cosine = angle.cos() if isinstance(angle, Tensor) else math.cos(angle)
        return self.start + (self.end - self.start) * (0.5 - 0.5 * cosine)

    def __str__(self) -> str:
        return f"Cosine({self.start} → {self.end}, {self.steps} steps)"


@dataclass(frozen=True)
class Cyclical:
    r"""From one weight to another again and again: a linear ramp, then a rest, in each cycle.

    .. math::

        w(t) = a + (b - a)\,\min\Big(\frac{t \bmod P}{R P}, 1\Big)

    Args:
        start: The weight a at the beginning of each cycle.
        end: The weight b from the end of the ramp to the end of the cycle.
        period: The number P of steps of each cycle.
        cycles: How many cycles there are, with b from then on; without end by default.
        ramp: The fraction R of each cycle that the ramp takes.

    Raises:
        ValueError: If ``ramp`` is not above 0 and at most 1.

    Example:
        >>> schedule = Cyclical(0.0, 4.0, period=100, cycles=2)
        >>> [schedule(t) for t in (0, 25, 50, 99, 100, 125, 200)]
        [0.0, 2.0, 4.0, 4.0, 0.0, 2.0, 4.0]

    References:
        Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing, 2019,
        https://arxiv.org/abs/1903.10145, section 3.2.
    """

    start: float
    end: float
    period: int
    cycles: int | None = None
    ramp: float = 0.5

    def __post_init__(self) -> None:
        check_weight(self.start, "start")
        check_weight(self.end, "end")
        check_int(self.period, "period")
        if self.cycles is not None:
            check_int(self.cycles, "cycles")
        if not 0 < check_number(self.ramp, "ramp") <= 1:
            raise ValueError(
                f"Expected ramp to be a fraction above 0 and at most 1, but got {self.ramp}; "
                f"0.5 lets the weight rise in the first half of each cycle."
            )

    def __call__(self, step: StepNumber = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.end
        part = _clamped(step % self.period / (self.ramp * self.period))
        weight = self.start + (self.end - self.start) * part
        if self.cycles is None:
            return weight
        over = step >= self.cycles * self.period
        if isinstance(over, Tensor):
            return torch.where(over, self.end, weight)
        return self.end if over else weight

    def __str__(self) -> str:
        times = "" if self.cycles is None else f"{self.cycles} × "
        ramp = "" if self.ramp == 0.5 else f", ramp {self.ramp:g}"
        return f"Cyclical({self.start} → {self.end}, {times}{self.period} steps{ramp})"


@dataclass(frozen=True)
class Sigmoid:
    r"""From one weight to another along the logistic function.

    .. math::

        w(t) = a + (b - a)\,\frac{1}{1 + e^{-(t - m)/s}}

    At m the weight is half-way; 4.4 widths s lead from a tenth of the way to nine tenths.

    Args:
        start: The weight a long before the middle.
        end: The weight b long after it.
        middle: The step m at which the weight is half-way.
        width: The width s of the rise, in steps.

    Raises:
        ValueError: If the middle or the width is negative, or the width is 0.

    Example:
        >>> schedule = Sigmoid(0.0, 4.0, middle=1000, width=100)
        >>> schedule(1000), schedule(None)
        (2.0, 4.0)

    References:
        Bowman et al., Generating Sentences from a Continuous Space, 2016,
        https://arxiv.org/abs/1511.06349, section 3.1.
    """

    start: float
    end: float
    middle: float
    width: float

    def __post_init__(self) -> None:
        check_weight(self.start, "start")
        check_weight(self.end, "end")
        check_number(self.middle, "middle")
        if check_number(self.width, "width") == 0:
            raise ValueError(
                "Expected width to be above 0, but got 0; "
                "for a jump use schedules.Step((start, end), (middle,))."
            )

    def __call__(self, step: StepNumber = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.end
        half = (step - self.middle) / (2 * self.width)
        # the hyperbolic tangent is the logistic function that overflows nowhere
        rise = half.tanh() if isinstance(half, Tensor) else math.tanh(half)
        return self.start + (self.end - self.start) * (0.5 + 0.5 * rise)

    def __str__(self) -> str:
        return f"Sigmoid({self.start} → {self.end}, step {self.middle:g} ± {self.width:g})"


@dataclass(frozen=True)
class Step:
    r"""Constant weights, each from its own step on.

    .. math::

        w(t) = v_i \quad \text{for}\quad b_i \le t < b_{i+1}, \quad b_0 = 0

    Args:
        values: The weights :math:`v_0, v_1, \ldots`.
        boundaries: The steps :math:`b_1, b_2, \ldots` from which the second weight and those after
            it hold, ascending.

    Raises:
        ValueError: If there is not one more value than boundaries, or these do not ascend.

    Example:
        >>> schedule = Step((0.0, 1.0, 4.0), boundaries=(100, 500))
        >>> schedule(99), schedule(100), schedule(None)
        (0.0, 1.0, 4.0)
    """

    values: Sequence[float]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        for name in ("values", "boundaries"):
            if not isinstance(getattr(self, name), Sequence):
                raise TypeError(
                    f"Expected {name} to be a sequence of numbers, but got "
                    f"{type(getattr(self, name)).__name__}; write Step((0.0, 4.0), (1000,))."
                )
        # tuples, so that equal schedules are equal and can be hashed
        object.__setattr__(self, "values", tuple(check_weight(v, "values") for v in self.values))
        steps = tuple(check_int(b, "each step in boundaries") for b in self.boundaries)
        object.__setattr__(self, "boundaries", steps)
        ascending = all(a < b for a, b in itertools.pairwise(steps))
        if len(self.values) != len(steps) + 1 or not ascending:
            raise ValueError(
                f"Expected ascending boundaries, one fewer than values, but got {steps} for "
                f"{len(self.values)} values; write e.g. Step((0.0, 4.0), (1000,))."
            )

    def __call__(self, step: StepNumber = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.values[-1]
        if not isinstance(step, Tensor):
            return self.values[sum(step >= b for b in self.boundaries)]
        weight = torch.full_like(step, self.values[0], dtype=torch.get_default_dtype())
        for value, boundary in zip(self.values[1:], self.boundaries, strict=True):
            weight = torch.where(step >= boundary, value, weight)
        return weight

    def __str__(self) -> str:
        later = zip(self.boundaries, self.values[1:], strict=True)
        return f"Step({self.values[0]}{''.join(f', {v} from step {b}' for b, v in later)})"


def _clamped(part: Tensor | float) -> Tensor | float:
    """The nearest number from 0 to 1."""
    return part.clamp(0.0, 1.0) if isinstance(part, Tensor) else min(max(part, 0.0), 1.0)
