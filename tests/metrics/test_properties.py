"""The table of properties in the documentation: every metric is in it, and every cell is run."""

import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae import metrics

TABLE = Path(__file__).parents[2] / "docs" / "metric_properties.md"
MOVES = {
    "order of codes": "order",
    "signs": "signs",
    "scale of one code": "scale",
    "common scale": "common",
    "order of factors": "factors",
    "dead code": "dead",
    "one code twice": "once more",
    "all codes twice": "twice",
}
SETS = ("aligned", "chance", "rotated 45°")

EXACT = 1e-5
"""What "exact" means: but for rounding, and for where solvers stop."""

MOVED = 1e-3
"""What "no" means: some change of this kind moves the value by more than this."""

# Fits of many trees: seconds for a value.
SLOW = {"dci_es", 'dci(estimator="gbt-exact")', 'dci(estimator="random-forest")'}

ROW = re.compile(r"`(?P<call>\w+(?:\(.*\))?)(?:\.(?P<field>\w+))?`")


@dataclass(frozen=True, eq=False)
class Row:
    """One value of a metric: how far each change of the arrays moves it, and what it is where."""

    field: str | None
    cells: dict[str, str]
    low: float
    high: float

    def within(self, column):
        """The most that it may move, None if the property does not hold."""
        cell = self.cells[column]
        return {"exact": EXACT, "no": None}[cell] if cell in ("exact", "no") else float(cell)

    def expected(self, column):
        value, tolerance = self.cells[column].split("±")
        return float(value), float(tolerance)

    def of(self, result):
        return float(result if self.field is None else getattr(result, self.field))


def table():
    """The rows of the documentation, by the call that gives their values."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    found = {}
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        name = ROW.fullmatch(cells["metric"])
        low, high = cells["range"].replace("∞", "inf").strip("[]").split(",")
        found.setdefault(name["call"], []).append(
            Row(name["field"], cells, float(low), float(high))
        )
    return found


CALLS = table()


def with_factors(call):
    return "factors" in inspect.signature(getattr(metrics, call.split("(")[0])).parameters


def run(call, codes, factors, **more):
    """What the metric of a row returns; "mig(bins=5)" is a call with that argument."""
    name, _, arguments = call.partition("(")
    chosen = eval(f"dict({arguments}", dict(vars(metrics))) if arguments else {}
    arrays = (codes, factors) if with_factors(call) else (codes,)
    return getattr(metrics, name)(*arrays, **chosen, **more)


def grid(*sizes):
    axes = np.meshgrid(*map(np.arange, sizes), indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, len(sizes))


@functools.cache
def arrays(name):
    """The codes and factors that the documentation states."""
    if name == "mixed":
        rng = np.random.default_rng(0)
        factors = np.stack([rng.integers(size, size=300) for size in (3, 4, 5)], axis=1)
        mixing = [[1, -1, 0.2, 0.3, 0], [0.7, 0.8, 0, -0.3, 0.2], [0, 0.2, 1, 0.3, 0]]
        codes = factors @ mixing + 0.6 * rng.normal(size=(300, 5))
    elif name == "chance":
        factors = grid(3, 6, 8, 8, 5)
        codes = np.random.default_rng(0).normal(size=(5760, 10))
    else:
        factors = np.random.default_rng(0).permutation(grid(16, 16, 8))
        codes = factors.astype(float)
        if name == "rotated 45°":
            codes += 0.02 * np.random.default_rng(0).normal(size=codes.shape)
            half = np.sqrt(0.5)
            codes @= [[half, -half, 0], [half, half, 0], [0, 0, 1]]
    for array in (codes, factors):
        array.setflags(write=False)
    return codes, factors


@functools.cache
def measured(call, name):
    return run(call, *arrays(name))


CODES, FACTORS = arrays("mixed")
N, D = CODES.shape
K = FACTORS.shape[1]


@st.composite
def moved(draw, kind):
    """The mixed arrays after a change of a kind; never the change that changes nothing."""
    exponent = st.floats(0.3, 2) | st.floats(-2, -0.3)
    if kind == "order":
        order = draw(st.permutations(range(D)).filter(lambda p: p != sorted(p)))
        return CODES[:, order], FACTORS
    if kind == "signs":
        signs = draw(
            st.lists(st.sampled_from([-1, 1]), min_size=D, max_size=D).filter(lambda s: -1 in s)
        )
        return CODES * signs, FACTORS
    if kind == "scale":
        factor = np.ones(D)
        factor[draw(st.integers(0, D - 1))] = 10 ** draw(exponent)
        return CODES * factor, FACTORS
    if kind == "common":
        return CODES * 10 ** draw(exponent), FACTORS
    if kind == "factors":
        order = draw(st.permutations(range(K)).filter(lambda p: p != sorted(p)))
        return CODES, FACTORS[:, order]
    if kind == "dead":
        constant = draw(st.sampled_from([0.0, 0.7, -1e8]))
        return np.insert(CODES, draw(st.sampled_from([0, D])), constant, axis=1), FACTORS
    if kind == "once more":
        copied = CODES[:, draw(st.integers(0, D - 1))]
        return np.insert(CODES, draw(st.integers(0, D)), copied, axis=1), FACTORS
    return np.hstack([CODES, CODES]), FACTORS


def fixed(kind):
    """Changes large enough that what is not invariant moves under one of them."""
    one = np.eye(D)
    return {
        "order": [(CODES[:, ::-1], FACTORS), (np.roll(CODES, 1, axis=1), FACTORS)],
        "signs": [(-CODES, FACTORS), (CODES * [1, -1, 1, -1, 1], FACTORS)],
        "scale": [(CODES * scale ** one[d], FACTORS) for d in range(D) for scale in (50, 0.02)],
        "common": [(CODES * scale, FACTORS) for scale in (100, 0.01)],
        "factors": [(CODES, FACTORS[:, ::-1]), (CODES, np.roll(FACTORS, 1, axis=1))],
        "once more": [(np.insert(CODES, D, CODES[:, d], axis=1), FACTORS) for d in range(D)],
        "twice": [(np.hstack([CODES, CODES]), FACTORS)],
    }[kind]


def cases(columns, wanted=lambda row, column: True):
    """Calls with columns of the table in which some row of theirs is wanted."""
    return [
        pytest.param(call, column, marks=[pytest.mark.slow] if call in SLOW else [])
        for call, rows in CALLS.items()
        for column in columns
        if any(row.cells[column] != "–" and wanted(row, column) for row in rows)
    ]


def test_every_metric_is_in_the_table():
    """With every value that it returns."""
    found = {(call.split("(")[0], row.field) for call, rows in CALLS.items() for row in rows}
    missing = []
    for name in metrics.__all__:
        function = getattr(metrics, name)
        if (
            not inspect.isfunction(function)
            or "codes" not in inspect.signature(function).parameters
        ):
            continue
        returned = get_type_hints(function)["return"]
        if isinstance(returned, type) and issubclass(returned, metrics.Score):
            fields = [None]
        elif isinstance(returned, type) and issubclass(returned, tuple):
            fields = [field for field, kind in get_type_hints(returned).items() if kind is float]
        else:
            continue
        missing += [(name, field) for field in fields if (name, field) not in found]
    assert not missing


@pytest.mark.parametrize(
    ("call", "column"), cases(MOVES, lambda row, column: row.within(column) is not None)
)
@given(data=st.data())
@settings(max_examples=2)
def test_what_is_invariant_stays(call, column, data):
    result = run(call, *data.draw(moved(MOVES[column])))
    for row in CALLS[call]:
        within = row.within(column)
        if within is not None:
            base = row.of(measured(call, "mixed"))
            assert row.of(result) == pytest.approx(base, rel=0, abs=within), row.field


@pytest.mark.parametrize(
    ("call", "column"), cases(MOVES, lambda row, column: row.cells[column] == "no")
)
def test_what_is_not_invariant_moves(call, column):
    """So that the table cannot be wrong on this side either."""
    still = {row for row in CALLS[call] if row.cells[column] == "no"}
    base = measured(call, "mixed")
    for changed in fixed(MOVES[column]):
        result = run(call, *changed)
        still = {row for row in still if abs(row.of(result) - row.of(base)) <= MOVED}
        if not still:
            return
    pytest.fail(f"stays: {still}")


@pytest.mark.parametrize(("call", "column"), cases(SETS))
def test_values(call, column):
    for row in CALLS[call]:
        value, tolerance = row.expected(column)
        assert row.of(measured(call, column)) == pytest.approx(value, rel=0, abs=tolerance), (
            row.field
        )


@pytest.mark.parametrize(("call", "column"), cases(["range"]))
def test_ranges(call, column):
    for row in CALLS[call]:
        for name in ("mixed", *SETS):
            result = measured(call, name)
            assert row.low <= row.of(result) <= row.high, (row.field, name)
        if isinstance(result, metrics.Score):
            assert result.bounds == (row.low, row.high)


@pytest.mark.parametrize("call", [call for call in CALLS if call not in SLOW or call == "dci_es"])
def test_one_seed_gives_one_value_whatever_is_dead(call):
    """The dead code also leaves what is drawn as it is."""
    codes, factors = CODES[:150], FACTORS[:150]
    dead = np.full((len(codes), 1), 0.7)
    first = run(call, codes, factors, rng=3)
    again = run(call, codes, factors, rng=3)
    generated = run(call, codes, factors, rng=np.random.default_rng(3))
    beside = [run(call, np.hstack(both), factors, rng=3) for both in ([dead, codes], [codes, dead])]
    for row in CALLS[call]:
        assert row.of(again) == row.of(first)
        assert row.of(generated) == row.of(first)
        for result in beside:
            assert row.of(result) == pytest.approx(row.of(first), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("call", ["mig", "modularity", "mir", "jemmig"])
def test_signs_on_bin_edges(call):
    """Equal-width bins are closed to the left, so values on an edge change bins with the sign."""
    _, factors = arrays("aligned")
    half = np.sqrt(0.5)
    codes = factors @ [[half, -half, 0], [half, half, 0], [0, 0, 1]]
    for row in CALLS[call]:
        change = abs(row.of(run(call, -codes, factors)) - row.of(run(call, codes, factors)))
        assert EXACT < change < 0.02
