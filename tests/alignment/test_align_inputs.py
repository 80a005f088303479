"""Attributes from wherever they come, and one clear sentence where something does not fit."""

import json
import math

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from disvae import VAE, alignment, priors
from disvae.data import MorphologyTable

MATRIX = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
QUICK = {"samples": 8, "replicates": 10, "steps": 4}


@pytest.fixture(scope="module")
def case(linear):
    """A model whose attributes a, b and c are its latents, and data."""
    z = torch.randn(120, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return linear(MATRIX, z)


def named(x):
    """The attributes in another order, with one more."""
    return {"c": x[:, 2], "more": x.sum(1), "a": x[:, 0], "b": x[:, 1]}


class Factors(Dataset):
    """A data set with named factors."""

    factor_names = ("b", "a")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def dims_of(found):
    return {row.attribute: row.dimension for row in found.carriers}


def test_attributes_are_matched_with_measured_ones_by_name(case):
    model, x = case
    attributes = {"b": x[:, 1].numpy(), "c": x[:, 2]}
    found = alignment.align(model, x, attributes, measure=named, **QUICK)
    assert dims_of(found) == {"b": 1, "c": 2}
    assert found.source == "passed"
    found = alignment.align(model, x, attributes, names=["c"], measure=named, **QUICK)
    assert dims_of(found) == {"c": 2}
    assert found.carriers[0].correlation == pytest.approx(1)
    table = x[:, [2, 0]]
    found = alignment.align(model, x, table, names=("c", "a"), measure=named, **QUICK)
    assert dims_of(found) == {"c": 2, "a": 0}
    assert found.carriers[0].correlation == pytest.approx(1)


def test_attributes_without_names_are_matched_by_column(case):
    model, x = case
    for attributes in (x, x.numpy(), x.tolist()):
        found = alignment.align(model, x, attributes, measure=lambda x: x.numpy(), **QUICK)
        assert dims_of(found) == {"attribute 0": 0, "attribute 1": 1, "attribute 2": 2}
    mapping = {"u": x[:, 0], "v": x[:, 1], "w": x[:, 2]}
    found = alignment.align(model, x, mapping, names=["v"], measure=lambda x: x, **QUICK)
    assert dims_of(found) == {"v": 1}
    # numbers take the names of what is measured, column by column
    found = alignment.align(
        model, x, x[:, [2, 2, 0, 1]], measure=named, names=["c", "more", "a", "b"], **QUICK
    )
    assert found.names == ("c", "more", "a", "b")
    unnamed = alignment.align(model, x, x[:, [2, 2, 0, 1]], measure=named, **QUICK)
    assert torch.equal(unnamed.slope, found.slope)


class Frame:
    """What a data frame is to others: an array without names, and columns by name."""

    columns = ("b", "a")

    def __init__(self, table):
        self.table = table

    def __getitem__(self, name):
        return self.table[:, self.columns.index(name)]

    def __array__(self, dtype=None, copy=None):
        return self.table.numpy()


def test_columns_of_a_data_frame_go_by_their_names(case):
    model, x = case
    frame = Frame(x[:, [1, 0]])
    for chosen in (None, ["a", "b"]):
        found = alignment.align(
            model,
            x,
            frame,
            names=chosen,
            measure=lambda x: {"a": x[:, 0], "b": x[:, 1]},
            **QUICK,
        )
        assert dims_of(found) == {"a": 0, "b": 1}
        assert all(row.correlation == pytest.approx(1) for row in found.carriers)
    # columns that are numbered are taken in order
    frame.columns = (0, 1)
    found = alignment.align(model, x, frame, names=["u", "v"], measure=named_uv, **QUICK)
    assert dims_of(found) == {"u": 1, "v": 0}


def named_uv(x):
    return {"v": x[:, 0], "u": x[:, 1]}


def test_a_morphology_table_brings_its_names(case):
    model, x = case
    columns = [x[:, k % 3].numpy() * (1 if k < 3 else 0.5) for k in range(6)]
    table = MorphologyTable(*columns)

    def measure(x):
        return MorphologyTable(*[x[:, k % 3].numpy() for k in range(6)])

    found = alignment.align(model, x, table, names=("slant", "length"), measure=measure, **QUICK)
    assert dims_of(found) == {"slant": 0, "length": 1}
    # the scale is that of the attributes passed
    np.testing.assert_allclose(found.attribute_scale[0], 0.5 * x[:, 0].numpy().std())


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: Subset(d, range(100)), "loader"])
def test_second_items_with_names_are_the_attributes(case, wrap):
    model, x = case
    data = Factors(x, -x[:, [1, 0]])
    data = DataLoader(data, batch_size=32) if wrap == "loader" else wrap(data)
    found = alignment.align(model, data, measure=named, **QUICK)
    assert found.source == "second items"
    assert dims_of(found) == {"b": 1, "a": 0}
    assert found.carriers[0].correlation == pytest.approx(-1)  # these were turned around
    assert found.carriers[0].slope == pytest.approx(1)


def test_one_of_the_second_items_is_chosen_by_its_name(case):
    model, x = case
    data = Factors(x, -x[:, [1, 0]])
    found = alignment.align(model, data, names=["a"], measure=named, **QUICK)
    assert found.source == "second items"
    assert dims_of(found) == {"a": 0}
    assert found.carriers[0].correlation == pytest.approx(-1)


def test_second_items_of_as_many_columns_are_the_attributes(case):
    model, x = case
    found = alignment.align(model, TensorDataset(x, -x), measure=lambda x: x, **QUICK)
    assert found.source == "second items"
    assert found.carriers[0].correlation == pytest.approx(-1)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "as many without names", "foreign names"])
def test_other_second_items_are_not(case, kind):
    model, x = case
    if kind == "labels":
        data = TensorDataset(x, torch.arange(120) % 4)
    elif kind == "one-hot":
        data = TensorDataset(x, torch.eye(4)[torch.arange(120) % 4][:, :2])
    elif kind == "as many without names":
        data = TensorDataset(x, -x[:, [0, 1, 2, 0]])
    else:
        data = Factors(x, x[:, :2])
        data.factor_names = ("shape", "scale")
    found = alignment.align(model, data, names=["a"], measure=named, **QUICK)
    assert found.source == "measured"
    assert found.carriers[0].correlation == pytest.approx(1)


def test_data_without_an_attribute_are_left_out_everywhere(case):
    model, x = case
    holes = x.clone()
    holes[:30, 1] = torch.nan
    holes[20:40, 0] = torch.nan
    found = alignment.align(model, x, holes, measure=lambda x: x, **QUICK)
    assert (found.data, found.left_out) == (80, 40)
    whole = alignment.align(model, x[40:], measure=lambda x: x, **QUICK)
    assert torch.equal(found.share, whole.share)
    assert torch.equal(found.base, whole.base)
    assert found.carriers[0].low == whole.carriers[0].low
    assert "80 data (40 left out)" in str(found)


def test_contexts_of_data_without_an_attribute_are_left_out_too(known):
    model = known(lambda z, c: z + c, lambda x, c: x - c, dim=1)
    context = torch.arange(60.0, dtype=torch.float64)[:, None]
    x = torch.randn(60, 1, dtype=torch.float64) + context
    holes = torch.where(torch.arange(60)[:, None] % 2 == 0, torch.nan, x)
    found = alignment.align(model, x, holes, measure=lambda x: x, context=context, **QUICK)
    # x and its context differ by the code
    assert (found.context % 2 == 1).all()
    np.testing.assert_allclose(found.base, (x - context)[found.context[:, 0].long()])


def test_it_prints_as_a_table(case):
    model, x = case
    found = alignment.align(model, x, names=["a", "b"], measure=named, **QUICK)
    lines = str(found).splitlines()
    assert lines[0] == (
        "120 data, attributes measured; 3 of 3 dimensions, 8 traversals of 4 steps each"
    )
    low, high = found.score.low, found.score.high
    assert lines[1] == f"score (mean gap) {float(found.score):.3f} [{low:.3f}, {high:.3f}]"
    assert lines[2].split()[:3] == ["attribute", "dimension", "gap"]
    assert lines[4].split()[:2] == ["b", "z1"]
    assert lines[4].split()[-1] == "yes"
    assert "+1.00" in lines[4]
    assert repr(found) == f"Alignment(score {float(found.score):.3f}; a z0, b z1)"
    assert "<table>" in found._repr_html_()
    assert "| a | z0 |" in found.to_markdown()


def test_a_dimension_that_the_codes_do_not_confirm_is_named(known):
    """Decoding moves a by z0, but the codes of z1 know it."""
    model = known(lambda z: z, lambda x: x.flip(-1), dim=2)
    x = torch.randn(100, 2, dtype=torch.float64)
    found = alignment.align(model, x, names=["a", "b"], measure=lambda x: x, **QUICK)
    row = found.carriers[0]
    assert (row.dimension, row.from_codes, row.agree) == (0, 1, False)
    assert str(found).splitlines()[3].endswith("no, z1")
    # correlations are those of the dimension in the row
    assert abs(row.correlation) < 0.5
    assert found.correlation[1, 0] == pytest.approx(1)


def test_what_codes_know_need_not_be_monotone(known):
    """The best code by information has no rank correlation, nor a mean slope."""
    model = known(lambda z: z, lambda x: x, dim=2)
    x = torch.randn(400, 2, dtype=torch.float64)

    def measure(x):
        return {"a": 1.5 * x[:, 0] ** 2 + x[:, 1]}

    row = alignment.align(model, x, measure=measure, **{**QUICK, "samples": 64}).carriers[0]
    assert (row.dimension, row.from_codes) == (1, 0)


def test_to_dict_is_json(case):
    model, x = case
    found = alignment.align(model, x, names=["a"], measure=named, **QUICK)
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    row = again["carriers"][0]
    gap = found.carriers[0].gap
    assert row["gap"] == {"value": float(gap), "low": gap.low, "high": gap.high}
    assert row["cross_talk"] == {"value": None, "low": None, "high": None}
    assert row["agree"] is True
    assert again["names"] == ["a"]
    assert again["assignment"] == {"a": 0}
    assert again["dimensions"] == [0, 1, 2]
    np.testing.assert_allclose(again["curves"]["mean"], found.curves.mean)
    np.testing.assert_allclose(again["slope"], found.slope)
    assert not {"gauge", "base", "context"} & set(again)


def test_figures_that_are_not_known_print_as_dashes(case):
    model, x = case
    found = alignment.align(model, x, names=["a"], measure=named, **{**QUICK, "samples": 1})
    row = found.carriers[0]
    # nothing is told of other base data by one
    assert math.isnan(row.slope.low)
    assert not math.isnan(row.gap.low)
    assert " - " in str(found).splitlines()[-1]


def bad(case, **given):
    model, x = case
    options = {"measure": named, **QUICK, **given}
    return alignment.align(options.pop("model", model), options.pop("data", x), **options)


ROWS = torch.rand(120)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"model": "VAE"}, TypeError, "disvae.VAE"),
        ({"attributes": torch.rand(119, 4)}, ValueError, "120 data, but got 119"),
        ({"attributes": torch.rand(120, 3)}, ValueError, "columns"),
        ({"attributes": torch.rand(0, 4)}, ValueError, "at least one row"),
        ({"attributes": torch.rand(120, 2, 2)}, ValueError, "shape (N,) or (N, K)"),
        ({"attributes": {"a": ROWS, "b": ROWS[1:]}}, ValueError, "one length"),
        ({"attributes": {"a": ROWS[:, None]}}, ValueError, "(120, 1)"),
        ({"attributes": {"hue": ROWS}}, ValueError, "'hue'"),
        ({"attributes": {}}, ValueError, "at least one name"),
        ({"attributes": {3: ROWS}}, TypeError, "strings"),
        ({"attributes": {"a": ["x"] * 120}}, TypeError, "numbers"),
        ({"attributes": {"a": ROWS + 1j}}, TypeError, "complex64"),
        ({"attributes": {"a": [torch.ones((), requires_grad=True)]}}, TypeError, "numbers"),
        ({"attributes": "thickness"}, TypeError, "numbers"),
        ({"attributes": {"a": ROWS / 0}}, ValueError, "infinity"),
        ({"attributes": {"a": torch.ones(120)}}, ValueError, "'a' is the same"),
        ({"attributes": {"a": torch.full((120,), torch.nan)}}, ValueError, "0 of 120"),
        ({"names": "a"}, TypeError, "sequence of strings"),
        ({"names": ["a", "a"]}, ValueError, "only once"),
        ({"names": []}, ValueError, "at least one name"),
        ({"names": ["a", "slnt"]}, ValueError, "'slnt'"),
        ({"names": ["a"], "attributes": torch.rand(120, 2)}, ValueError, "2 names"),
        ({"measure": None}, TypeError, "NoneType"),
        ({"measure": lambda x: x[:0]}, ValueError, "row for each"),
        ({"measure": lambda x: "thick"}, TypeError, "what measure returns"),
        ({"measure": lambda x: {"a": x}}, ValueError, "columns of shape (N,)"),
        (
            {"measure": lambda x: x if len(x) == 120 or len(x) == 1 else x[:, :1]},
            ValueError,
            "same",
        ),
        (
            {"measure": lambda x: x * math.nan, "attributes": torch.rand(120, 3)},
            ValueError,
            "can be measured",
        ),
        (
            {
                "measure": lambda x: torch.where(
                    torch.arange(len(x))[:, None] % 4 < 2, x, math.nan
                ),
                "attributes": torch.rand(120, 3),
            },
            ValueError,
            "three frames",
        ),
        ({"samples": 0}, ValueError, "samples"),
        ({"steps": 2}, ValueError, "at least 3"),
        ({"replicates": 1}, ValueError, "replicates"),
        ({"central": 0.0}, ValueError, "central"),
        ({"central": 96}, ValueError, "central"),
        ({"threshold": -1}, ValueError, "threshold"),
        ({"threshold": None}, ValueError, "threshold"),
        ({"threshold": 1.0}, ValueError, "collapsed"),
        ({"rng": "a"}, TypeError, "rng"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"data": torch.rand(10, 3, dtype=torch.float64)}, ValueError, "at least 20 data"),
        ({"data": torch.rand(0, 3, dtype=torch.float64)}, ValueError, "at least one datum"),
        ({"data": np.zeros((30, 3))}, TypeError, "torch.Tensor"),
        (
            {"data": DataLoader(TensorDataset(torch.rand(30, 3))), "attributes": torch.rand(30, 4)},
            TypeError,
            "shuffle",
        ),
        ({"context": torch.ones(3, 1)}, ValueError, "120 in all"),
    ],
)
def test_bad_input_gets_one_clear_sentence(case, given, error, words, is_clear):
    with pytest.raises(error) as caught:
        bad(case, **given)
    is_clear(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("shape", [(120,), (120, 1, 1)])
def test_a_context_that_is_no_row_of_numbers_is_refused(known, shape, is_clear):
    """The parts of this model would take it, but a traversal could not repeat it."""
    model = known(lambda z, c: z, lambda x, c: x, dim=2)
    context, x = torch.ones(shape, dtype=torch.float64), torch.randn(120, 2).double()
    with pytest.raises(ValueError, match=r"shape \(B, C\)") as caught:
        alignment.align(model, x, measure=named_pair, context=context, **QUICK)
    is_clear(caught.value)


def test_parts_are_numbers_of_numpy_as_well(case):
    model, x = case
    single = {"central": np.float32(0.5), "threshold": np.float32(0.25)}
    found = alignment.align(model, x, measure=named, **single, **QUICK)
    ends = torch.quantile(x / x.new_tensor([1.0, 2.0, 3.0]), x.new_tensor([0.25, 0.75]), dim=0)
    np.testing.assert_allclose(found.curves.values[:, [0, -1]], ends.T)


def test_codes_that_are_not_finite_are_refused(known, is_clear):
    model = known(lambda z: z, lambda x: x / x.relu(), dim=2)
    with pytest.raises(ValueError, match="codes to be finite") as caught:
        alignment.align(model, torch.randn(50, 2).double(), measure=named_pair, **QUICK)
    is_clear(caught.value)


def test_so_are_those_of_data_that_are_left_out(known, is_clear):
    x = torch.randn(50, 2).double()
    holes = x.clone()
    x[3], holes[3] = 99.0, torch.nan
    model = known(lambda z: z, lambda x: torch.where(x > 50, torch.inf, x), dim=2)
    with pytest.raises(ValueError, match="codes to be finite") as caught:
        alignment.align(model, x, holes, measure=lambda x: x, **QUICK)
    is_clear(caught.value)


def named_pair(x):
    return {"a": x[:, 0], "b": x[:, 1]}


def test_the_default_measure_refuses_what_is_no_image(case, is_clear):
    model, x = case
    with pytest.raises(ValueError, match="grey images") as caught:
        alignment.align(model, x.sigmoid())
    is_clear(caught.value)


def test_an_attribute_that_is_not_aligned_has_no_row(case, is_clear):
    model, x = case
    found = alignment.align(model, x, names=["a"], measure=named, **QUICK)
    with pytest.raises(ValueError, match="'b'") as caught:
        found.carrier("b")
    is_clear(caught.value)


def test_a_sphere_cannot_be_moved_one_dimension_at_a_time(is_clear):
    from disvae import decoders, encoders, posteriors

    encoder = encoders.MLP(4, 3, posterior=posteriors.PowerSpherical)
    model = VAE(encoder, decoders.MLP(3, 4), prior=priors.HypersphericalUniform(3))
    with pytest.raises(ValueError, match="a sphere") as caught:
        alignment.align(model, torch.rand(50, 4), measure=lambda x: x, threshold=0, **QUICK)
    is_clear(caught.value)
