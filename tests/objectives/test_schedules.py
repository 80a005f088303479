"""Schedules against values computed by hand."""

import copy
import math

import pytest
import torch

from disvae import objectives
from disvae.objectives import schedules

CASES = {
    schedules.Constant(3.0): {0: 3.0, 7: 3.0, None: 3.0},
    schedules.Linear(4.0, 1.0, 6): {0: 4.0, 2: 3.0, 6: 1.0, 7: 1.0, None: 1.0},
    schedules.Cosine(1.0, 5.0, 8): {
        0: 1.0,
        2: 3 - 2 * math.sqrt(0.5),
        4: 3.0,
        8: 5.0,
        100: 5.0,
        None: 5.0,
    },
    # four cycles of ten steps, up in the first half of each
    schedules.Cyclical(0.0, 1.0, 10, cycles=4): {
        0: 0.0,
        1: 0.2,
        5: 1.0,
        9: 1.0,
        10: 0.0,
        31: 0.2,
        39: 1.0,
        40: 1.0,
        41: 1.0,
        None: 1.0,
    },
    schedules.Cyclical(2.0, 1.0, 4, ramp=1.0): {0: 2.0, 3: 1.25, 4: 2.0, 4001: 1.75, None: 1.0},
    schedules.Sigmoid(1.0, 3.0, middle=50, width=10): {
        0: 1 + 2 / (1 + math.exp(5)),
        50: 2.0,
        60: 1 + 2 / (1 + math.exp(-1)),
        10**6: 3.0,
        None: 3.0,
    },
    schedules.Step((0.0, 2.0, 1.0), (3, 5)): {0: 0.0, 2: 0.0, 3: 2.0, 4: 2.0, 5: 1.0, None: 1.0},
    schedules.Step((2.0,), ()): {0: 2.0, None: 2.0},
}
EACH = pytest.mark.parametrize("schedule", CASES, ids=str)


@EACH
def test_values_computed_by_hand(schedule):
    for step, value in CASES[schedule].items():
        assert schedule(step) == pytest.approx(value, abs=1e-12)


@EACH
def test_a_tensor_gives_the_same_as_an_int(schedule):
    for step in [*CASES[schedule], *range(60)]:
        if step is not None:
            found = schedule(torch.tensor(step))
            assert float(found) == pytest.approx(schedule(step), abs=1e-5)
            if not isinstance(schedule, schedules.Constant):
                assert found.dtype == torch.float32
                assert found.shape == ()


@EACH
def test_they_are_values_that_keep_no_state(schedule):
    assert copy.deepcopy(schedule) == schedule
    assert hash(copy.deepcopy(schedule)) == hash(schedule)
    before = schedule(3)
    schedule(1000)
    assert schedule(3) == before


@EACH
def test_one_compilation_serves_all_steps(schedule):
    """The weight of a loss inside one graph: an int would compile anew at every step."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    weigh = torch.compile(lambda cost, step: schedule(step) * cost, backend=backend, fullgraph=True)
    for step in (0, 4, 45):
        found = weigh(torch.tensor(2.0), torch.tensor(step))
        assert float(found) == pytest.approx(2 * schedule(step), abs=1e-5)
    assert len(graphs) == 1


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (schedules.Constant(4.0), "4"),
        (schedules.Linear(0.0, 4.0, 10), "Linear(0.0 → 4.0, 10 steps)"),
        (schedules.Cosine(0.0, 4.0, 10), "Cosine(0.0 → 4.0, 10 steps)"),
        (schedules.Cyclical(0.0, 4.0, 10), "Cyclical(0.0 → 4.0, 10 steps)"),
        (schedules.Cyclical(0.0, 4.0, 9, 3, 0.7), "Cyclical(0.0 → 4.0, 3 × 9 steps, ramp 0.7)"),
        (schedules.Sigmoid(0.0, 4.0, 50, 5), "Sigmoid(0.0 → 4.0, step 50 ± 5)"),
        (schedules.Step((0.0, 1.0, 4.0), (5, 9)), "Step(0.0, 1.0 from step 5, 4.0 from step 9)"),
    ],
)
def test_printed(schedule, text):
    assert str(schedule) == text
    if not isinstance(schedule, schedules.Constant):
        assert str(objectives.BetaVAE(beta=schedule)) == f"reconstruction + {text}·kl"


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.Constant(-1.0),
        lambda: schedules.Linear(0.0, 1.0, 0),
        lambda: schedules.Cosine(0.0, math.inf, 10),
        lambda: schedules.Cosine(0.0, 1.0, 2.5),
        lambda: schedules.Cyclical(0.0, 1.0, 0),
        lambda: schedules.Cyclical(0.0, 1.0, 10, cycles=0),
        lambda: schedules.Cyclical(0.0, 1.0, 10, ramp=0.0),
        lambda: schedules.Cyclical(0.0, 1.0, 10, ramp=1.5),
        lambda: schedules.Sigmoid(0.0, 1.0, 10, 0),
        lambda: schedules.Sigmoid(0.0, 1.0, -10, 1),
        lambda: schedules.Step((0.0, 1.0), (5, 6)),
        lambda: schedules.Step((0.0, 1.0, 2.0), (6, 5)),
        lambda: schedules.Step((0.0, 1.0), (0,)),
        lambda: schedules.Step((0.0, -1.0), (5,)),
        lambda: schedules.Step(1.0, (5,)),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make):
    with pytest.raises((ValueError, TypeError), match=r"^Expected [^\n]{20,350}; [^\n]+\.$"):
        make()
