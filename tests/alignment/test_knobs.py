"""What knobs render is measured: it has the values asked for."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
import torch

from disvae import VAE, alignment, decoders, encoders, priors
from disvae.alignment import Knobs

MIXED = np.array([[2.0, 0.6, 0.0], [-0.5, 1.0, 0.3], [0.4, 0.0, -3.0]])
QUICK = {"samples": 8, "replicates": 5, "steps": 5}


def latents(n, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, dtype=torch.float64, generator=generator)


def itself(x):
    return x


@pytest.fixture(scope="module")
def mixed(linear):
    """A linear model with cross-talk, and its alignment."""
    model, x = linear(MIXED, latents(400, 3) + 0.5)
    return model, x, alignment.align(model, x, names=["a", "b", "c"], measure=itself, **QUICK)


def test_all_attributes_are_hit_despite_cross_talk(mixed):
    model, _, found = mixed
    knobs = Knobs(model, found)
    assert knobs.dimensions == {"a": 0, "b": 1, "c": 2}
    a, b, c = torch.tensor([-1.0, 0.5, 3.0]), torch.tensor([0.0, 1.5, 0.5]), -0.7
    x = knobs.render(a=a, b=b, c=c)
    assert x.shape == (3, 3)
    out = knobs.measure(x)
    for name, wanted in {"a": a, "b": b, "c": torch.full((3,), c)}.items():
        error = (out[name] - wanted).abs() / found.attribute_scale[found.names.index(name)]
        assert (error < 0.011).all(), name
    assert torch.equal(x, knobs.render(a=a, b=b, c=c))


def test_what_is_not_named_is_free(mixed):
    """The dimensions of the others stay at the base code, so that their values follow."""
    model, x, found = mixed
    out = Knobs(model, found).render(a=0.5)
    centre = found.centre.numpy()
    step = (0.5 - MIXED[0] @ centre) / MIXED[0, 0]
    np.testing.assert_allclose(out[0], MIXED @ (centre + np.array([step, 0, 0])), atol=0.05)
    np.testing.assert_allclose(out[0, 2] - MIXED[2] @ centre, 0.4 * step, atol=0.02)
    # of a datum it is the datum's own code
    out = Knobs(model, found, base=x[7:8]).render(b=float(x[7, 1]))
    np.testing.assert_allclose(out[0], x[7], atol=0.03)
    np.testing.assert_allclose(Knobs(model, found, base=x[7:8]).render()[0], x[7], atol=1e-9)
    np.testing.assert_allclose(Knobs(model, found).render()[0], MIXED @ centre, atol=1e-9)


def test_values_are_numbers_or_batches_of_any_kind(mixed):
    model, _, found = mixed
    knobs = Knobs(model, found)
    one = knobs.render(a=1, b=torch.tensor(0.5))
    assert one.shape == (1, 3)
    several = knobs.render(a=np.array([1.0, 2.0]), b=[0.5, 0.5])
    torch.testing.assert_close(several[:1], one, atol=1e-9, rtol=0)
    assert knobs.render(b=torch.tensor([0.5], requires_grad=True), a=1.0).allclose(one, atol=0.05)


def test_a_curved_decoder_with_cross_talk_is_hit(known):
    """Slopes differ by a factor of ten between ends, and each attribute bends with the other."""

    def decode(z):
        u, v = z.unbind(-1)
        return torch.stack([torch.sinh(u) + 0.5 * v, v + 0.3 * u + 0.2 * torch.sin(2 * u)], -1)

    def encode(x):
        return codes[torch.cdist(x, table).argmin(1)]

    codes = latents(300, 2)
    table = decode(codes)
    model = known(decode, encode, dim=2)
    found = alignment.align(model, table, names=["a", "b"], measure=itself, **QUICK)
    knobs = Knobs(model, found)
    inside = latents(50, 2, seed=1).clamp(-1.8, 1.8)
    wanted = decode(inside)
    out = knobs.measure(knobs.render(a=wanted[:, 0], b=wanted[:, 1]))
    for k, name in enumerate("ab"):
        assert ((out[name] - wanted[:, k]).abs() / found.attribute_scale[k]).max() < 0.011


def test_the_jacobian_is_kept_up_along_the_way(known):
    """Slopes differ by a factor of 300, and the curve of three steps tells none of it."""
    z = latents(400, 1)
    model = known(lambda z: torch.sinh(2 * z), lambda x: torch.asinh(x) / 2, dim=1)
    found = alignment.align(
        model, torch.sinh(2 * z), names=["a"], measure=itself, **{**QUICK, "steps": 3}
    )
    knobs = Knobs(model, found)
    wanted = torch.linspace(*knobs.ranges["a"], 50, dtype=torch.float64)
    error = (knobs.render(a=wanted)[:, 0] - wanted).abs() / found.attribute_scale
    assert error.max() < 0.011


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_search_starts_where_the_mean_curve_has_the_value(known, sign):
    seen = []

    def measure(x):
        seen.append(x)
        return x

    x = latents(100, 2)
    model = known(lambda z: sign * z, lambda x: sign * x, dim=2)
    found = alignment.align(model, x, names=["a", "b"], measure=measure, **QUICK)
    seen.clear()
    Knobs(model, found).render(a=[0.5, -0.2], b=1.0)
    np.testing.assert_allclose(seen[0], [[0.5, 1.0], [-0.2, 1.0]], atol=1e-9)
    assert len(seen) == 3  # this, and the finite differences


def test_the_closest_of_all_tries_is_returned(known):
    """Under a measure with many hollows a later try may be worse."""
    seen = []

    def measure(x):
        values = x + 0.3 * torch.sin(15 * x)
        seen.append(values)
        return values

    x = latents(300, 1)
    model = known(itself, itself, dim=1)
    found = alignment.align(model, x, names=["a"], measure=measure, **QUICK)
    knobs = Knobs(model, found)
    for wanted in np.linspace(-1.5, 1.5, 12):
        seen.clear()
        out = knobs.measure(knobs.render(a=wanted))["a"]
        tried = torch.cat([values for values in seen if len(values) == 1])[:-1]
        # those of the finite differences may have been closer
        least = (tried - wanted).abs().sort(0).values[:3]
        assert float((out - wanted).abs()) in least.flatten().tolist()


def test_a_search_at_the_edge_of_what_can_be_measured(known):
    """Next to the base there is a gap, into which the finite difference falls."""

    def measure(x):
        return torch.where((x > 0.4) & (x < 0.85), torch.nan, x)

    x = latents(400, 1)
    x[0] = 0.9
    model = known(itself, itself, dim=1)
    found = alignment.align(model, x, x, names=["a"], measure=measure, **QUICK)
    found.curves.mean.copy_(found.curves.values[:, :, None] + 0.4)  # starts at 0.9 as well
    out = Knobs(model, found, base=x[:1]).render(a=1.3)
    assert float(out) == pytest.approx(1.3, abs=0.02)


def test_finite_differences_go_inwards_from_the_edge(known):
    """Beyond the codes of the data all is turned around, and 400 times as steep."""
    x = latents(400, 1)
    top = x.max()
    model = known(lambda z: torch.where(z > top, top - 400 * (z - top), z), itself, dim=1)
    found = alignment.align(model, x, x, names=["a"], measure=itself, central=1.0, **QUICK)
    found.curves.mean.copy_(found.curves.mean - 9.0)  # starts at its upper end
    base = top.reshape(1, 1)  # and so does the second search
    out = Knobs(model, found, base=base).render(a=0.5)
    assert float(out) == pytest.approx(0.5, abs=0.02)


def test_mean_slopes_stand_in_where_no_difference_could_be_measured(known):
    """They are right for a linear model: the first step hits."""
    seen = []

    def measure(x):
        seen.append(x)
        return x * torch.nan if len(seen) in (2, 3) else x

    a = torch.tensor([[1.0, 0.9], [0.0, 1.0]], dtype=torch.float64)
    x = latents(400, 2) @ a.T
    model = known(lambda z: z @ a.T, lambda x: x @ torch.linalg.inv(a).T, dim=2)
    found = alignment.align(model, x, x, names=["a", "b"], measure=itself, **QUICK)
    found = dataclasses.replace(found, gauge=dataclasses.replace(found.gauge, measure=measure))
    knobs = Knobs(model, found, dimensions={"a": 0, "b": 1})
    knobs.render(a=0.5, b=1.0)
    assert len(seen) == 4
    np.testing.assert_allclose(seen[3], [[0.5, 1.0]], atol=0.01)


def test_a_search_in_a_hollow_starts_anew(known):
    """A jump of the measure hides the target from the start; the base is on its side."""

    def measure(x):
        return torch.where(x[:, 0] > 1.0, x[:, 0] - 4.0, x[:, 0])[:, None]

    x = latents(400, 1)
    model = known(itself, itself, dim=1)
    found = alignment.align(model, x, x, names=["a"], measure=measure, **QUICK)
    # as if the mean curve led over the edge
    found.curves.mean.copy_(found.curves.mean - 5.0)
    out = Knobs(model, found).render(a=0.5)
    assert float(out) == pytest.approx(0.5, abs=0.02)


def test_what_cannot_be_measured_is_left_behind(known):
    """Data beyond 1 have no attribute; a start there is of no use, one at the base is."""

    def measure(x):
        return torch.where(x > 1.0, torch.nan, x)

    x = latents(400, 1)
    model = known(itself, itself, dim=1)
    found = alignment.align(model, x, x, names=["a"], measure=measure, **QUICK)
    found.curves.mean.copy_(found.curves.mean - 3.0)
    out = Knobs(model, found).render(a=torch.tensor([0.5, -0.5]))
    np.testing.assert_allclose(out[:, 0], [0.5, -0.5], atol=0.02)


def test_a_dimension_that_was_never_measured_starts_at_the_base(known):
    x = latents(400, 2)
    model = known(itself, itself, dim=2)
    found = alignment.align(model, x, names=["a", "b"], measure=itself, **QUICK)
    found.curves.mean[0] = torch.nan
    out = Knobs(model, found).render(a=0.7, b=-0.3)
    np.testing.assert_allclose(out[0], [0.7, -0.3], atol=0.02)


def test_codes_stay_where_the_data_have_theirs(known):
    """A value that decoding cannot reach is met as well as can be, without a warning."""
    x = latents(300, 2)
    model = known(lambda z: torch.stack([z[..., 0], 0.2 * z[..., 1]], -1), itself, dim=2)
    found = alignment.align(model, x, x, names=["a", "b"], measure=itself, **QUICK)
    knobs = Knobs(model, found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = knobs.render(b=knobs.ranges["b"][1], a=0.5)
    assert float(out[0, 1]) == pytest.approx(0.2 * float(x[:, 1].max()))
    assert float(out[0, 0]) == pytest.approx(0.5, abs=0.02)


def test_so_does_a_search_from_a_base_that_lies_outside(known):
    """Only beyond its range of codes would the dimension of b reach the value."""
    x = latents(300, 2)
    model = known(lambda z: torch.stack([z[..., 0], 0.2 * z[..., 1]], -1), itself, dim=2)
    found = alignment.align(model, x, x, names=["a", "b"], measure=itself, **QUICK)
    far = torch.full((1, 2), 9.0, dtype=torch.float64)
    knobs = Knobs(model, found, base=far)
    out = knobs.render(b=knobs.ranges["b"][1])
    assert float(out[0, 1]) == pytest.approx(0.2 * float(x[:, 1].max()))
    assert float(out[0, 0]) == 9.0  # which is not named


def test_the_context_is_that_of_each_row(known):
    def decode(z, c):
        return torch.cat([z[..., :1] + c, z[..., 1:]], -1)

    def encode(x, c):
        return torch.cat([x[..., :1] - c, x[..., 1:]], -1)

    context = torch.arange(300).remainder(3).double()[:, None]
    z = latents(300, 2)
    x = decode(z, context)
    model = known(decode, encode, dim=2)
    found = alignment.align(model, x, names=["a", "b"], measure=itself, context=context, **QUICK)
    knobs = Knobs(model, found)
    rows = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    out = knobs.render(a=1.0, context=rows)
    np.testing.assert_allclose(out[:, 0], 1.0, atol=0.02)
    plain = knobs.render(context=rows)
    np.testing.assert_allclose(plain[:, 0] - found.centre[0], [0, 1, 2], atol=1e-9)
    # one for all
    one = knobs.render(a=torch.tensor([0.5, 1.0]), context=rows[2])
    np.testing.assert_allclose(one[:, 0], [0.5, 1.0], atol=0.02)
    # said once, it is that of the base and of all that is rendered
    style = Knobs(model, found, base=x[4:5], context=context[4])
    np.testing.assert_allclose(style.render()[0], x[4], atol=1e-9)
    # the style of one with the context of another
    other = style.render(context=rows[:1])
    np.testing.assert_allclose(other[0] - x[4].numpy(), [-context[4, 0], 0], atol=1e-9)


def test_rows_that_take_longer_keep_their_context(known):
    """The context stands in the data, and half of them are curved."""

    def decode(z, c):
        return torch.cat([z + c * torch.sinh(2 * z), c], -1)

    codes = latents(300, 1)
    context = (torch.arange(300) % 2).double()[:, None]
    table = decode(codes, context)

    def encode(x, c):
        return codes[torch.cdist(x, table).argmin(1)]

    model = known(decode, encode, dim=1)
    found = alignment.align(
        model, table, measure=lambda x: {"a": x[:, 0]}, context=context, **QUICK
    )
    rows = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)[:, None]
    wanted = torch.tensor([0.1, 0.2, 3.0, -4.0, 8.0])
    out = Knobs(model, found).render(a=wanted, context=rows)
    np.testing.assert_allclose(out[:, 0], wanted, atol=0.1)
    assert torch.equal(out[:, 1:], rows)


def test_values_outside_the_range_are_moved_to_its_end_with_one_warning_each(mixed):
    model, x, found = mixed
    knobs = Knobs(model, found)
    low, high = knobs.ranges["a"]
    np.testing.assert_allclose([low, high], np.quantile(x[:, 0], [0.01, 0.99]))
    with pytest.warns(UserWarning, match="into the range") as caught:
        out = knobs.render(a=torch.tensor([-99.0, 0.5, 99.0]), b=50.0, c=0.0)
    assert len(caught) == 2
    first, second = (str(warning.message) for warning in caught)
    assert second.endswith("asked was 50.")
    assert "Values of a were" in first
    assert f"{low:.4g} to {high:.4g}" in first
    assert "-99 to 99" in first
    assert "Values of b were" in second
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="Values of a"):  # by a little, too
        knobs.render(a=high + 1e-4 * abs(high))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inside = knobs.render(a=torch.tensor([low, 0.5, high]), b=knobs.ranges["b"][1], c=0.0)
    assert torch.equal(out, inside)


def test_attributes_of_one_dimension_cannot_be_set_apart_but_by_assignment(linear, is_clear):
    matrix = np.array([[1.0, 0.2], [1.0, 0.5]])
    model, x = linear(matrix, latents(300, 2) / torch.tensor([1, 2]))
    found = alignment.align(model, x, names=["a", "b"], measure=itself, **QUICK)
    knobs = Knobs(model, found)
    with pytest.raises(ValueError, match="a and b both turn z0") as caught:
        knobs.render(a=0.1, b=0.2)
    is_clear(caught.value)
    assert float(knobs.render(b=0.2)[0, 1]) == pytest.approx(0.2, abs=0.02)
    apart = Knobs(model, found, dimensions=found.assignment)
    out = apart.render(a=0.1, b=0.2)
    np.testing.assert_allclose(out[0], [0.1, 0.2], atol=0.02)
    only = Knobs(model, found, dimensions={"b": 1})
    assert list(only.ranges) == list(only.measure(x)) == ["b"]
    assert (
        repr(only) == f"Knobs(b from {only.ranges['b'][0]:.3g} to {only.ranges['b'][1]:.3g} by z1)"
    )


def test_bars_have_the_thickness_slant_and_width_asked_for(bars):
    """Measured on images by their morphology; the latents are mixed."""
    mix = [[0.95, 0.2, 0.1], [-0.2, 0.95, 0.1], [0.1, -0.1, 1.0]]
    case = bars(mix=torch.tensor(mix, dtype=torch.float64))
    found = alignment.align(
        case.model,
        case.images,
        names=("thickness", "slant", "width"),
        samples=8,
        steps=4,
        replicates=10,
    )
    assert [row.dimension for row in found.carriers] == [0, 1, 2]
    assert all(row.agree for row in found.carriers)
    assert found.carrier("thickness").slope > 0.7
    knobs = Knobs(case.model, found)
    wanted = {
        "thickness": torch.tensor([2.5, 3.0, 3.5]),
        "slant": torch.tensor([0.2, 0.0, -0.2]),
        "width": torch.tensor([12.0, 13.0, 14.0]),
    }
    out = knobs.measure(knobs.render(**wanted))
    for k, (name, values) in enumerate(wanted.items()):
        error = (out[name] - values).abs() / found.attribute_scale[k]
        assert error.max() < 0.1, (name, out[name])


GRADIENT = torch.ones((), requires_grad=True)


def test_a_model_in_training_is_rendered_without_its_noise_and_stays_in_training():
    noisy, x = VAE(encoders.MLP(3, 2), Noisy(), prior=priors.Normal(2)).train(), torch.rand(60, 3)
    for parameter in noisy.encoder.parameters():
        parameter.data.mul_(4)
    noisy.encoder.eval()  # each part gets its own mode back
    found = alignment.align(noisy, x, names=["a", "b", "c"], measure=itself, **QUICK)
    before = torch.get_rng_state()
    knobs = Knobs(noisy, found, base=x[:1])
    out = knobs.render(a=list(knobs.ranges["a"]))
    assert torch.equal(out, knobs.render(a=list(knobs.ranges["a"])))
    assert not out.requires_grad
    assert noisy.decoder.training
    assert not noisy.encoder.training
    assert torch.equal(torch.get_rng_state(), before)


class Noisy(torch.nn.Module):
    """A decoder with dropout."""

    def __init__(self):
        super().__init__()
        self.decoder, self.dropout = decoders.MLP(2, 3), torch.nn.Dropout()

    def forward(self, z):
        return self.decoder(self.dropout(z))


def smaller():
    return VAE(encoders.MLP(3, 2), decoders.MLP(2, 3), prior=priors.Normal(2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda k, m, x, f: k.render(d=1.0), ValueError, "a, b, c"),
        (lambda k, m, x, f: k.render(a="thick"), TypeError, "a to be a number"),
        (lambda k, m, x, f: k.render(a=None), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=True), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=torch.tensor(True)), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=torch.tensor(1 + 1j)), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=[GRADIENT]), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=[[1.0, 2.0]]), ValueError, "(1, 2)"),
        (lambda k, m, x, f: k.render(a=[[1.0], [2.0, 3.0]]), TypeError, "number"),
        (lambda k, m, x, f: k.render(a=[]), ValueError, "(0,)"),
        (lambda k, m, x, f: k.render(a=float("nan")), ValueError, "got NaN or infinity"),
        (lambda k, m, x, f: k.render(a=[1.0, float("inf")]), ValueError, "got NaN or infinity"),
        (lambda k, m, x, f: k.render(a=[1.0, 2.0], b=[0.0] * 3), ValueError, "[2, 3]"),
        (lambda k, m, x, f: k.render(context=torch.tensor(1.0)), ValueError, "(C,) or (B, C)"),
        (lambda k, m, x, f: k.render(context=[1.0]), TypeError, "context"),
        (lambda k, m, x, f: k.measure("image"), TypeError, "torch.Tensor"),
        (lambda k, m, x, f: Knobs(m, "table"), TypeError, "alignment.align"),
        (lambda k, m, x, f: Knobs(m, f, base=x[:2]), ValueError, "(2, 3)"),
        (lambda k, m, x, f: Knobs(m, f, base=x[0]), ValueError, "(3,)"),
        (lambda k, m, x, f: Knobs(m, f, base=[1.0]), TypeError, "base"),
        (lambda k, m, x, f: Knobs("m", f, base=x[:1]), TypeError, "disvae.VAE"),
        (lambda k, m, x, f: Knobs("m", f), TypeError, "disvae.VAE"),
        (lambda k, m, x, f: Knobs(smaller(), f), ValueError, "got one with 2"),
        (lambda k, m, x, f: Knobs(m, f, dimensions=[0, 1, 2]), TypeError, "mapping"),
        (lambda k, m, x, f: Knobs(m, f, dimensions={}), TypeError, "mapping"),
        (lambda k, m, x, f: Knobs(m, f, dimensions={"d": 0}), ValueError, "'d'"),
        (lambda k, m, x, f: Knobs(m, f, dimensions={"a": 3}), ValueError, "got 3"),
        (lambda k, m, x, f: Knobs(m, f, dimensions={"a": "z0"}), ValueError, "'z0'"),
    ],
)
def test_bad_input_gets_one_clear_sentence(mixed, call, error, words, is_clear):
    model, x, found = mixed
    with pytest.raises(error) as caught:
        call(Knobs(model, found), model, x, found)
    is_clear(caught.value)
    assert words in str(caught.value)


def test_a_conditional_model_needs_a_context(known, is_clear):
    model = known(lambda z, c: z + c, lambda x, c: x - c, dim=1)
    x, context = latents(100, 1), torch.ones(100, 1, dtype=torch.float64)
    found = alignment.align(model, x, names=["a"], measure=itself, context=context, **QUICK)
    calls = [
        ("context of 1 numbers", lambda: Knobs(model, found).render(a=0.0)),
        ("got shape (1, 2)", lambda: Knobs(model, found, context=torch.ones(2))),
        ("[2, 3]", lambda: Knobs(model, found).render(a=[1.0, 0.0], context=context[:3])),
        ("single context", lambda: Knobs(model, found, context=torch.ones(5, 1))),
        ("got shape (5, 3)", lambda: Knobs(model, found).render(a=0.0, context=torch.ones(5, 3))),
    ]
    for words, call in calls:
        with pytest.raises(ValueError, match=re.escape(words)) as caught:
            call()
        is_clear(caught.value)


def test_a_model_without_a_condition_takes_none(mixed, is_clear):
    model, _, found = mixed
    with pytest.raises(ValueError, match="no context") as caught:
        Knobs(model, found, context=torch.ones(2))
    is_clear(caught.value)


def test_an_attribute_called_context_has_no_knob(linear, is_clear):
    model, x = linear(np.eye(2), latents(100, 2))
    found = alignment.align(model, x, names=["a", "context"], measure=itself, **QUICK)
    with pytest.raises(ValueError, match="'context'") as caught:
        Knobs(model, found)
    is_clear(caught.value)
    assert Knobs(model, found, dimensions={"a": 0}).render(a=0.0).shape == (1, 2)
