r"""Weights that follow the number of the training step.

A schedule is any callable ``schedule(step)`` that returns the weight at that step, a non-negative
number, or a tensor where the step is a tensor. It keeps no state: the step alone decides, so
resuming needs nothing and evaluation changes nothing. ``step=None`` means the final value.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from disvae.nn import check_int

Step = Tensor | int | None


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

    def __call__(self, step: Step = None) -> float:
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

    def __call__(self, step: Step = None) -> Tensor | float:
        """The weight at ``step``: a tensor where the step is one."""
        if step is None:
            return self.end
        part = step / self.steps
        part = part.clamp(0.0, 1.0) if isinstance(part, Tensor) else min(max(part, 0.0), 1.0)
        return self.start + (self.end - self.start) * part

    def __str__(self) -> str:
        return f"Linear({self.start} → {self.end}, {self.steps} steps)"
