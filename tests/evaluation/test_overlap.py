"""Overlap: Bhattacharyya coefficients by quadrature, and the extremes of all three views."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch.distributions import Independent

from disvae import distributions as dist
from disvae.evaluation import decompose, overlap

# the package has a function of the module's name
MODULE = sys.modules[overlap.__module__]


def coefficient(loc, scale, loc2, scale2):
    """∫ √(q q') of normals in one dimension."""

    def root(z):
        a, b = (z - loc) / scale, (z - loc2) / scale2
        return math.exp(-0.25 * (a * a + b * b)) / math.sqrt(2 * math.pi * scale * scale2)

    low, high = min(loc, loc2) - 12 * max(scale, scale2), max(loc, loc2) + 12 * max(scale, scale2)
    return quad(root, low, high, points=sorted({loc, loc2}), limit=200)[0]


def nearest(table):
    pairs = np.array(
        [
            [
                math.prod(
                    coefficient(*(float(v) for v in four))
                    for four in zip(table.loc[i], table.scale[i], table.loc[j], table.scale[j],
                                    strict=True)
                )
                if i != j
                else 0.0
                for j in range(table.size)
            ]
            for i in range(table.size)
        ]
    )  # fmt: skip
    return pairs.max(1)


class TestCoefficient:
    @pytest.mark.parametrize("dim", [1, 2])
    @pytest.mark.parametrize("batch_size", [3, 100])
    def test_is_the_integral(self, random_table, dim, batch_size):
        table = random_table(7, dim, seed=dim, spread=2.0)
        exact = nearest(table)
        found = overlap(table.model, table.x, batch_size=batch_size)
        assert found.bhattacharyya == pytest.approx(exact.mean(), abs=1e-8)
        assert found.bhattacharyya.standard_error == 0
        assert found.neighbours == 7
        expected = np.quantile(exact, [0.05, 0.25, 0.5, 0.75, 0.95])
        assert list(found.quantiles.values()) == pytest.approx(expected, abs=1e-8)
        assert list(found.quantiles) == ["5 %", "25 %", "50 %", "75 %", "95 %"]

    def test_of_some_data_with_all_others(self, random_table):
        """Unbiased, and with the standard error of a draw from a finite population."""
        table = random_table(8, 1, seed=3, spread=2.0)
        exact = nearest(table).mean()
        found = [overlap(table.model, table.x, points=4).bhattacharyya for _ in range(300)]
        spread = np.std(found, ddof=1)
        assert np.mean(found) == pytest.approx(exact, abs=4 * spread / 300**0.5)
        errors = [value.standard_error for value in found]
        assert np.mean(np.square(errors)) ** 0.5 == pytest.approx(spread, rel=0.2)

    def test_pieces_do_not_change_it(self, random_table, monkeypatch):
        table = random_table(23, 3, seed=4)
        whole = overlap(table.model, table.x, batch_size=6)
        monkeypatch.setattr(MODULE, "_NUMBERS", 50)
        pieces = overlap(table.model, table.x, batch_size=6)
        assert pieces.bhattacharyya == pytest.approx(whole.bhattacharyya, abs=1e-12)

    def test_the_default_number_of_neighbours(self, random_table, monkeypatch):
        table = random_table(300, 2, seed=5)
        for budget, count in ((2**28, 300), (150 * 300 * 2, 150), (1, 100)):
            monkeypatch.setattr(MODULE, "_PAIRS", budget)
            assert overlap(table.model, table.x).neighbours == count


class TestExtremes:
    def test_equal_posteriors(self, tables):
        table = tables(torch.ones(6, 2), 0.3)
        found = overlap(table.model, table.x)
        assert found.bhattacharyya == pytest.approx(1, abs=1e-12)
        assert found.bhattacharyya <= 1
        assert abs(found.mutual_information) < 1e-12
        assert found.signal.tolist() == [0, 0]

    @pytest.mark.parametrize("scale", [1e-4, 1e-9])
    def test_posteriors_apart(self, tables, scale):
        table = tables(torch.linspace(-3, 3, 9)[:, None], scale)
        found = overlap(table.model, table.x)
        assert found.bhattacharyya == 0
        assert found.mutual_information == pytest.approx(math.log(9), abs=1e-6)
        assert found.ceiling == math.log(9)
        assert found.signal.item() == pytest.approx(1, abs=1e-6)

    def test_a_copy_of_a_datum_is_its_neighbour(self, tables):
        table = tables([[0.0], [0.0], [50.0]], 1e-4)
        found = overlap(table.model, table.x)
        assert found.bhattacharyya == pytest.approx(2 / 3)
        assert found.quantiles["5 %"] < 0.2

    def test_tiny_scales_do_not_underflow(self, table_model):
        """In float32 the square of 1e-30 is 0."""
        loc = torch.tensor([[0.0], [1e-30]])
        model = table_model(
            lambda i: Independent(dist.Normal(loc[i], torch.full_like(loc[i], 1e-30)), 1),
            Independent(dist.Normal(torch.zeros(1), torch.ones(1)), 1),
        )
        found = overlap(model, torch.arange(2.0)[:, None])
        assert found.bhattacharyya == pytest.approx(math.exp(-1 / 8))

    @settings(max_examples=15)
    @given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
    def test_does_not_depend_on_units(self, random_table, tables, factor, seed):
        table = random_table(6, 2, seed)
        other = tables(table.loc * factor, table.scale * factor)
        one, two = (overlap(t.model, t.x) for t in (table, other))
        assert one.bhattacharyya == pytest.approx(two.bhattacharyya, abs=1e-9)
        torch.testing.assert_close(one.signal, two.signal)

    def test_agrees_with_the_decomposition(self, random_table):
        table = random_table(30, 2, seed=7)
        one, two = (
            function(table.model, table.x, samples=400) for function in (overlap, decompose)
        )
        a, b = one.mutual_information, two.mutual_information
        assert abs(a - b) < 4 * math.hypot(a.standard_error, b.standard_error)
        for name in ("scale", "spread", "signal"):
            torch.testing.assert_close(getattr(one, name), getattr(two, name))


class TestNotDefined:
    def test_of_other_families(self, table_model):
        loc = torch.zeros(3, 2)
        model = table_model(
            lambda i: Independent(dist.Laplace(loc[i], torch.ones(2)), 1),
            Independent(dist.Normal(torch.zeros(2), torch.ones(2)), 1),
        )
        found = overlap(model, torch.arange(3.0)[:, None])
        assert found.bhattacharyya is found.quantiles is None
        assert found.neighbours == 0
        assert found.not_defined["bhattacharyya"] == "the posterior is no factorised normal"
        assert abs(found.mutual_information) < 1e-6
        assert "not defined (the posterior is no factorised normal)" in str(found)
        assert json.loads(json.dumps(found.to_dict()))["quantiles"] is None

    def test_of_one_datum(self, tables):
        found = overlap(tables([[0.0]], 1.0).model, torch.zeros(1, 1).double())
        assert found.not_defined["bhattacharyya"] == "there is one datum"
        assert found.mutual_information == 0

    def test_of_codes_without_a_density(self, table_model):
        loc = torch.tensor([[0.0], [1.0], [2.0]])
        model = table_model(
            lambda i: dist.Delta(loc[i]), Independent(dist.Normal(torch.zeros(1), 1.0), 1)
        )
        found = overlap(model, torch.arange(3.0)[:, None])
        assert found.not_defined["mutual_information"] == "the posterior has no density"
        assert found.signal.tolist() == [1]
        assert found.spread.item() == pytest.approx((2 / 3) ** 0.5)

    def test_a_constant_code_carries_no_signal(self, table_model):
        """Neither its variance between data nor the posterior's own is above 0."""
        loc = torch.tensor([[0.0, 0.3], [1.0, 0.3], [2.0, 0.3]])
        model = table_model(
            lambda i: dist.Delta(loc[i]), Independent(dist.Normal(torch.zeros(2), 1.0), 1)
        )
        assert overlap(model, torch.arange(3.0)[:, None]).signal.tolist() == [1, 0]


def test_prints_its_numbers(random_table):
    table = random_table(20, 2, seed=8)
    found = overlap(table.model, table.x)
    text = str(found)
    assert f"{found.mutual_information} nats, at most {math.log(20):.3f}" in text
    assert f"{found.bhattacharyya:.3f} (nearest, 20 data)" in text
    assert f"50 % {found.quantiles['50 %']:.3f}" in text
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["scale"] == found.scale.tolist()
