"""A part under test: fresh copies of it, its distributions, and the sentence when it fails."""

import copy
import dataclasses
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Size, Tensor, nn
from torch.distributions import Categorical, Distribution, OneHotCategorical

from disvae.distributions import base_of, point

_LONGEST = 400
_SEED = 20_130_614


class ContractError(AssertionError):
    """A part breaks the contract of its role; the message says which clause, where, and the cure.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from disvae.testing import check_prior
        >>> class Flat(nn.Module):
        ...     def forward(self, context=None):
        ...         return torch.distributions.Normal(torch.zeros(2), 1.0)
        >>> check_prior(Flat())
        Traceback (most recent call last):
        ...
        disvae.testing.part.ContractError: prior Flat breaks 'shapes': expected event shape (D,), \
but got event shape () and batch shape (2,); wrap it in torch.distributions.Independent(..., 1).
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A module in its role, with the inputs of one pass.

    Attributes:
        module: The user's module, of which only copies run.
        role: What it is called in messages.
        inputs: What ``forward`` takes: x or z or nothing, then the context if there is one.
        data: Values of the event, one for each row, that the density must also be defined at.
        training: The mode in which copies run.
    """

    module: nn.Module
    role: str
    inputs: tuple[Tensor, ...]
    data: Tensor | None = None
    training: bool = True

    @property
    def is_prior(self) -> bool:
        """Whether its density is asked for at samples of another part."""
        return self.role == "prior"

    def broken(self, clause: str, expected: str, got: str, mend: str) -> ContractError:
        """The error for a broken clause: one sentence of at most 400 characters."""
        head = f"{self.role} {type(self.module).__name__} breaks '{clause}': expected {expected}"
        room = _LONGEST - len(head) - len(mend) - len(", but got ; .")
        return ContractError(
            f"{head}, but got {_shortened(got, max(room, 20))}; {mend}."[:_LONGEST]
        )

    @contextmanager
    def running(self, clause: str, expected: str, mend: str) -> Iterator[None]:
        """Turn whatever the part raises inside the block into a sentence."""
        try:
            yield
        except ContractError:
            raise
        except Exception as error:  # a part may raise anything, and all of it breaks the contract
            raise self.broken(clause, expected, brief(error), mend) from error

    def fresh(self, dtype: torch.dtype | None = None) -> nn.Module:
        """A copy of the module, in the mode of the checks and of the given dtype."""
        module = copy.deepcopy(self.module).train(self.training)
        return module if dtype is None else module.to(dtype)

    def distribution(
        self, module: nn.Module, inputs: tuple[Tensor, ...] | None = None
    ) -> Distribution:
        """What a copy returns for the inputs (by default this part's own), from a fixed seed."""
        seed()
        return module(*(self.inputs if inputs is None else inputs))

    def cast(self, dtype: torch.dtype) -> "Part":
        """The part with inputs and data of another dtype."""
        data = None if self.data is None else self.data.to(dtype)
        return dataclasses.replace(self, inputs=tuple(t.to(dtype) for t in self.inputs), data=data)

    def precise(self) -> tuple["Part", nn.Module]:
        """The part and a copy of its module in float64, where rounding hides nothing."""
        return self.cast(torch.float64), self.fresh(torch.float64)

    def values(self, d: Distribution) -> Tensor:
        """Where to evaluate the density: at the data, or at samples from a fixed seed."""
        return draw(d) if self.data is None else self.data


def seed() -> None:
    """Start the (forked) generators anew."""
    torch.manual_seed(_SEED)


@contextmanager
def isolated() -> Iterator[None]:
    """Fixed seeds inside, with gradients; the global generators are left as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        seed()
        yield


def draw(d: Distribution, shape: tuple[int, ...] = ()) -> Tensor:
    """Samples from a fixed seed, without gradient."""
    seed()
    return d.sample(Size(shape)).detach()


def has_density(d: Distribution) -> bool:
    """Whether ``log_prob`` is meant to work: not for a deterministic or quantised code."""
    return bool(getattr(d, "has_density", True) and getattr(base_of(d), "has_density", True))


def is_discrete(d: Distribution) -> bool:
    """Whether ``log_prob`` is a log mass, also where a support of grey values hides it."""
    base = base_of(d)
    if isinstance(base, torch.distributions.Bernoulli | Categorical | OneHotCategorical):
        return True
    try:
        support: Any = d.support
        return bool(support.is_discrete)
    except (NotImplementedError, AttributeError):
        return False


def observed(d: Distribution, values: Tensor) -> Tensor:
    """What tells two distributions apart: densities at the values, else the point estimate."""
    return (d.log_prob(values) if has_density(d) else point(d)).detach()


def same(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two observations agree, equal infinities included."""
    if a.shape != b.shape:
        return False
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def difference(a: Tensor, b: Tensor) -> str:
    """Two observations that disagree, where they disagree most, in words."""
    if a.shape != b.shape:
        return f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
    a, b = a.double().flatten(), b.double().flatten()
    where = int((a - b).abs().nan_to_num(torch.inf).argmax())
    return f"{a[where].item():.6g} and {b[where].item():.6g}"


def brief(error: Exception) -> str:
    """The kind and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}".rstrip(".")


def _shortened(text: str, room: int) -> str:
    return textwrap.shorten(" ".join(text.split()), room, placeholder=" …")
