"""The one place where shipped parts and objectives draw random numbers.

Every draw is ``noise(sampler, shape, ...)``: a sampler of torch that *returns* new numbers
(``torch.randn``, ``torch.rand``, ``torch.randperm``), never one that fills a tensor in place, which
``torch.vmap(randomness="different")`` refuses. A test can put another source in its place with
:func:`replace_noise`, and so feed the same numbers to two programs that ought to agree.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Sampler = Callable[..., Tensor]
Source = Callable[..., Tensor]


def _torch_source(
    sampler: Sampler, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    return sampler(shape, dtype=dtype, device=device)


_source: Source = _torch_source


def noise(
    sampler: Sampler, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    r"""Draw random numbers from the current source, torch's global generator by default.

    Args:
        sampler: The function of torch that makes the numbers, e.g. ``torch.randn``.
        shape: The shape to draw.
        dtype: The dtype of the result.
        device: The device of the result.

    Shape:
        The result has shape ``shape``.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> noise(torch.randn, (2, 3), dtype=torch.float64, device=torch.device("cpu")).shape
        torch.Size([2, 3])
    """
    return _source(sampler, shape, dtype=dtype, device=device)


def standard_gamma(concentration: Tensor, shape: Sequence[int]) -> Tensor:
    r"""Gamma variates of unit scale, through :func:`noise`, differentiable in the concentration.

    Args:
        concentration: The positive concentrations, which broadcast to ``shape``.
        shape: The shape to draw.

    Example:
        >>> import torch
        >>> standard_gamma(torch.tensor([0.5, 2.0]), (7, 2)).shape
        torch.Size([7, 2])
    """
    sampler = functools.partial(_gamma_sampler, concentration)
    return noise(sampler, shape, dtype=concentration.dtype, device=concentration.device)


def categorical(logits: Tensor, sample_shape: Sequence[int]) -> Tensor:
    r"""Numbers of categories drawn with probabilities ``softmax(logits)``, through :func:`noise`.

    Args:
        logits: Unnormalised log probabilities, ``(..., K)``.
        sample_shape: The shape of the draws for each row of logits.

    Shape:
        ``sample_shape + (...)``, integers from 0 to K - 1.

    Example:
        >>> import torch
        >>> categorical(torch.tensor([-torch.inf, 0.0]), (3,))
        tensor([1, 1, 1])
    """
    # by the inverse cdf: torch.multinomial takes no replaceable noise, and one batch axis only
    shape = (*sample_shape, *logits.shape[:-1], 1)
    u = noise(torch.rand, shape, dtype=logits.dtype, device=logits.device)
    cdf = logits.softmax(-1).cumsum(-1)
    # the last sum may be rounded to just below 1, and a source of noise may give 1 itself
    return (u >= cdf[..., :-1]).sum(-1)


def _gamma_sampler(
    concentration: Tensor, shape: Sequence[int], *, dtype: torch.dtype, device: torch.device
) -> Tensor:
    return torch._standard_gamma(concentration.to(device, dtype).expand(shape))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    r"""Let torch's generators start from a seed inside the block; then they are as they were.

    Args:
        seed: The seed.

    Example:
        >>> import torch
        >>> with seeded(0):
        ...     first = torch.rand(3)
        >>> with seeded(0):
        ...     torch.equal(torch.rand(3), first)
        True
    """
    cuda, mps = torch.cuda.is_initialized(), torch.backends.mps.is_available()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if cuda else ()):
        state = torch.mps.get_rng_state() if mps else None
        # torch.manual_seed would also seed what is not restored here: MPS, and CUDA's first use
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        if mps:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if state is not None:
                torch.mps.set_rng_state(state)


@contextmanager
def replace_noise(source: Source) -> Iterator[None]:
    r"""Let ``source(sampler, shape, dtype=, device=)`` make every random number inside the block.

    Meant for tests: two programs that are given the same numbers can be compared value by value.
    The source is shared by all threads of the process.

    Args:
        source: Called as :func:`noise` is, and returns a tensor of the shape asked for.

    Example:
        >>> import torch
        >>> from disvae import distributions
        >>> d = distributions.Normal(torch.ones(2), torch.ones(2))
        >>> with replace_noise(lambda sampler, shape, *, dtype, device: torch.zeros(shape)):
        ...     d.rsample()
        tensor([1., 1.])
    """
    global _source
    previous, _source = _source, source
    try:
        yield
    finally:
        _source = previous
