"""Random numbers from a seed, and the generators as they were afterwards."""

import contextlib

import pytest
import torch

from disvae.distributions import seeded


class Generator:
    """Stands in for the generator of a device that is not here: its state is its last seed."""

    def __init__(self, state):
        self.state = state

    def get(self, *_):
        return torch.tensor(self.state)

    def set(self, state, *_):
        self.state = int(state)

    def seed(self, seed):
        self.state = seed


@pytest.fixture
def mps(monkeypatch):
    generator = Generator(7)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", generator.get)
    monkeypatch.setattr(torch.mps, "set_rng_state", generator.set)
    monkeypatch.setattr(torch.mps, "manual_seed", generator.seed)
    return generator


@pytest.fixture
def cuda(monkeypatch):
    generator = Generator(7)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", generator.get)
    monkeypatch.setattr(torch.cuda, "set_rng_state", generator.set)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", generator.seed)
    return generator


def test_the_numbers_are_those_of_torchs_own_seed():
    with seeded(3):
        found = torch.randn(5)
    torch.manual_seed(3)
    assert torch.equal(found, torch.randn(5))


@pytest.mark.parametrize("error", [None, ValueError])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_the_generators_are_as_they_were(device, error, request):
    other = None if device == "cpu" else request.getfixturevalue(device)
    before = torch.get_rng_state()
    with contextlib.suppress(ValueError), seeded(3):
        assert other is None or other.state == 3
        torch.rand(5)
        if error:
            raise error
    assert torch.equal(before, torch.get_rng_state())
    assert other is None or other.state == 7


def test_a_device_that_is_not_at_work_yet_keeps_the_seed_that_waits_for_it(monkeypatch):
    """CUDA's first use takes the last seed that anyone gave."""
    generator = Generator(7)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", generator.seed)
    with seeded(3):
        torch.rand(5)
    assert generator.state == 7
