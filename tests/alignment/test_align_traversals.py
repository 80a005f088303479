"""What decoding does to attributes, against decoders whose derivatives are known."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils.data import DataLoader, TensorDataset

from disvae import VAE, alignment, decoders, encoders, evaluation, posteriors, priors
from disvae.alignment.sweeps import Sweeps

MATRIX = np.array([[0.0, 2.0, 0.5], [-1.0, 0.0, 0.0], [0.3, 0.0, 4.0]])


def latents(n, dim, seed=0):
    z = torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return z * torch.arange(1, dim + 1)


def itself(x):
    return x


def options(**given):
    return {"measure": itself, "samples": 16, "replicates": 20, **given}


def test_slopes_and_cross_talk_of_a_linear_decoder(linear):
    z = latents(400, 3)
    model, x = linear(MATRIX, z)
    found = alignment.align(model, x, names=["a", "b", "c"], **options())
    sizes = MATRIX.T * z.numpy().std(0)[:, None] / x.numpy().std(0)
    np.testing.assert_allclose(found.slope, sizes, atol=1e-9)
    others = (np.abs(sizes).sum(1, keepdims=True) - np.abs(sizes)) / 2
    with np.errstate(divide="ignore"):
        expected = others / np.abs(sizes)
    moved = sizes != 0
    np.testing.assert_allclose(found.cross_talk.numpy()[moved], expected[moved], atol=1e-9)
    # rounding of what does not move at all says nothing
    assert found.cross_talk.numpy()[~moved].size == np.isnan(found.cross_talk).sum()
    np.testing.assert_allclose(found.monotonicity.numpy()[moved], 1, atol=1e-12)

    assert found.names == ("a", "b", "c")
    assert [row.dimension for row in found.carriers] == [1, 0, 2]
    assert found.assignment == {"a": 1, "b": 0, "c": 2}
    assert all(row.agree for row in found.carriers)
    row = found.carrier("b")
    assert row.slope == pytest.approx(-1)
    assert row.cross_talk == pytest.approx(sizes[0, 2] / 2)
    # a linear decoder does the same to every datum
    assert row.slope.low == pytest.approx(row.slope.high)
    assert row.correlation == pytest.approx(stats.spearmanr(z[:, 0], x[:, 1]).statistic)
    assert row.unmeasured == 0
    np.testing.assert_allclose([row.low, row.high], np.quantile(x[:, 1], [0.01, 0.99]))
    gaps = [row.gap for row in found.carriers]
    assert found.score == pytest.approx(np.mean([float(gap) for gap in gaps]))
    widths = [gap.high - gap.low for gap in gaps]
    # gaps differ by more than that
    assert 0 < found.score.high - found.score.low < max(widths) < np.ptp(gaps)


def test_curves_go_through_the_central_part_of_the_codes(linear):
    z = latents(400, 3) + 5
    model, x = linear(MATRIX, z)
    found = alignment.align(model, x, **options(steps=5, central=0.8))
    ends = np.quantile(z, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(found.curves.values, np.linspace(*ends, 5, axis=1))
    base = found.base.numpy()
    moved = np.repeat(base[:, None], 5, axis=1)
    moved[:, :, 2] = found.curves.values[2]
    measured = moved @ MATRIX.T  # (S, T, K)
    np.testing.assert_allclose(found.curves.mean[2], measured.mean(0))
    np.testing.assert_allclose(found.curves.low[2], np.quantile(measured, 0.1, axis=0))
    np.testing.assert_allclose(found.curves.high[2], np.quantile(measured, 0.9, axis=0))
    assert found.samples == 16
    assert {tuple(row) for row in base.round(9)} <= {tuple(row) for row in z.numpy().round(9)}
    np.testing.assert_allclose(found.centre, z.mean(0))
    np.testing.assert_allclose(found.code_scale, z.numpy().std(0))
    np.testing.assert_allclose(found.code_ends, np.stack([z.amin(0), z.amax(0)], 1))


def test_slopes_are_means_over_the_data_that_traversals_start_from(known):
    """a = z0 · z1 and b = z1: moved by z0, the first changes by z1."""

    def decode(z):
        return torch.stack([z[..., 0] * z[..., 1], z[..., 1]], -1)

    def encode(x):
        return torch.stack([x[..., 0] / x[..., 1], x[..., 1]], -1)

    z = latents(500, 2)
    x = decode(z)
    found = alignment.align(known(decode, encode, dim=2), x, **options(replicates=400))
    first, second = found.base.T.numpy()
    scales = found.code_scale.numpy()[:, None] / found.attribute_scale.numpy()
    slopes = second * scales[0, 0], first * scales[1, 0]  # of a on z0 and on z1
    np.testing.assert_allclose(found.slope[:, 0], [each.mean() for each in slopes])
    np.testing.assert_allclose(found.monotonicity[:, 0], 1)
    # b moves by its own scale along z1, and not at all along z0
    moved = np.sqrt((slopes[1] ** 2).mean())
    np.testing.assert_allclose(found.cross_talk.diagonal(), [0, moved / scales[1, 1]])
    row = found.carriers[0]
    reach = 1.96 * slopes[row.dimension].std() / math.sqrt(16)
    assert row.slope.high - row.slope == pytest.approx(reach, rel=0.15)
    assert row.slope - row.slope.low == pytest.approx(row.slope.high - row.slope)


def test_monotonicity_is_the_rank_correlation_along_a_traversal(known):
    def decode(z):
        return torch.stack([z[..., 0], (z[..., 0] - 0.7).square() + z[..., 1]], -1)

    def encode(x):
        return torch.stack([x[..., 0], x[..., 1] - (x[..., 0] - 0.7).square()], -1)

    x = decode(latents(300, 2))
    found = alignment.align(known(decode, encode, dim=2), x, **options())
    values = found.curves.values[0].numpy()
    expected = abs(stats.spearmanr(values, (values - 0.7) ** 2).statistic)
    assert 0.05 < expected < 0.95
    assert found.monotonicity[0, 1] == pytest.approx(expected)
    fitted = np.polyfit(values, (values - 0.7) ** 2, 1)[0]
    scale = float(found.code_scale[0] / found.attribute_scale[1])
    assert found.slope[0, 1] == pytest.approx(fitted * scale)


def test_equal_frames_share_their_rank(linear):
    model, x = linear(np.eye(1), latents(300, 1))

    def steep(x):
        return torch.where(x < 0.3, 0.0, -x) + 0.5 * (x < -0.4)

    found = alignment.align(model, x, **options(measure=steep, steps=8))
    values = found.curves.values[0]
    expected = stats.spearmanr(values, steep(values)).statistic
    assert -0.99 < expected < -0.5
    assert found.monotonicity[0, 0] == pytest.approx(-expected)


def test_frames_that_cannot_be_measured_are_counted_and_left_out(linear):
    z = latents(400, 2)
    model, x = linear(np.eye(2), z)
    limit = float(x[:, 0].quantile(0.7))

    def measure(x):
        return torch.where(x[:, :1] > limit, torch.nan, x)

    found = alignment.align(model, x, x, **options(measure=measure))
    assert (found.data, found.left_out) == (400, 0)
    values = found.curves.values[0].numpy()
    lost = values > limit
    assert 0 < lost.mean() < 0.6
    np.testing.assert_allclose(found.unmeasured[0], lost.mean())
    assert found.carrier("attribute 0").unmeasured == pytest.approx(lost.mean())
    # along the other dimension those of some base data are lost
    np.testing.assert_allclose(found.unmeasured[1], (found.base[:, 0].numpy() > limit).mean())
    # slopes are fitted to the frames that are left
    np.testing.assert_allclose(found.slope.diagonal(), 1)
    np.testing.assert_allclose(found.monotonicity.diagonal(), 1)
    assert torch.isnan(found.curves.mean[0, lost]).all()
    assert torch.isfinite(found.curves.mean[0, ~lost]).all()

    alone = alignment.align(model, x, **options(measure=measure))
    assert alone.left_out == int((x[:, 0] > limit).sum())
    assert alone.data == 400 - alone.left_out
    assert float(alone.base[:, 0].max()) <= limit
    kept = x[x[:, 0] <= limit].numpy()
    np.testing.assert_allclose(alone.attribute_scale, kept.std(0))
    assert alone.carriers[1].high == pytest.approx(np.quantile(kept[:, 1], 0.99))


def test_all_figures_are_those_of_the_frames_that_are_there():
    """Computed one traversal after another."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(size=(2, 7)), axis=1)
    measured = rng.normal(size=(12, 2, 7, 3)) + values[None, :, :, None]
    measured[rng.random(measured.shape) < 0.3] = np.nan
    each = np.full((3, *measured.shape[:2], 3), np.nan)
    for s, d, k in np.ndindex(12, 2, 3):
        there = ~np.isnan(measured[s, d, :, k])
        x, y = values[d, there], measured[s, d, there, k]
        if len(y) >= 3:
            each[:, s, d, k] = np.polyfit(x, y, 1)[0], abs(stats.spearmanr(x, y)[0]), y.var()
    slope, monotonicity, variance = np.nanmean(each, axis=1)
    moved = np.sqrt(variance)
    others = [np.delete(moved, k, axis=1).mean(axis=1) for k in range(3)]
    found = Sweeps(values, measured).figures()
    np.testing.assert_allclose(found.slope, slope)
    np.testing.assert_allclose(found.monotonicity, monotonicity)
    np.testing.assert_allclose(found.cross_talk, np.stack(others, axis=1) / moved)


def test_traversals_with_fewer_than_three_measured_frames_say_nothing(known):
    """Of the data with z1 > 0 only two frames along z0 can be measured."""

    def measure(x):
        lost = (x[:, 1] > 0) & (x[:, 0].abs() > 0.5)
        twisted = torch.where(x[:, 1] > 0, -x[:, 0], x[:, 0])
        return torch.where(lost[:, None], torch.nan, torch.stack([twisted, x[:, 1]], 1))

    z = torch.rand(400, 2, dtype=torch.float64) * 2 - 1
    model = known(itself, itself, dim=2)
    found = alignment.align(model, z, **options(measure=measure, steps=4, central=0.9))
    # steps at about ±0.9 and ±0.3: two within 0.5
    assert (found.base[:, 1] > 0).any()
    assert found.slope[0, 0] == pytest.approx(float(found.code_scale[0] / found.attribute_scale[0]))


def test_every_traversal_keeps_the_context_of_its_datum(known):
    def decode(z, c):
        return torch.cat([z[..., :1] * (1 + c), z[..., 1:]], -1)

    def encode(x, c):
        return torch.cat([x[..., :1] / (1 + c), x[..., 1:]], -1)

    labels = torch.arange(300) % 3
    z = latents(300, 2)
    context = labels.double()[:, None]
    x = decode(z, context)
    model = known(decode, encode, dim=2)
    found = alignment.align(model, x, context=context, **options())
    assert found.context.shape == (16, 1)
    # the base data are those of the contexts
    for code, c in zip(found.base, found.context, strict=True):
        row = int((z - code).abs().sum(1).argmin())
        assert c == context[row]
    scale = found.code_scale[0] / found.attribute_scale[0]
    assert found.slope[0, 0] == pytest.approx(float((1 + found.context).mean() * scale))

    items = TensorDataset(x, labels)
    by_label = alignment.align(
        model, items, context=lambda y: y.double()[:, None], batch_size=64, **options()
    )
    assert torch.equal(by_label.slope, found.slope)
    loader = DataLoader(items, batch_size=50)
    by_loader = alignment.align(model, loader, context=lambda y: y.double()[:, None], **options())
    assert torch.equal(by_loader.share, found.share)


def test_a_collapsed_dimension_takes_no_part_though_its_codes_know_all(known):
    """Its codes are an attribute to a thousandth of the posterior's scale."""

    def encode(x):
        return torch.stack([x[:, 0], 1e-4 * x[:, 1], x[:, 1] + x[:, 0]], -1)

    def decode(z):
        return torch.stack([z[..., 0], z[..., 2] - z[..., 0]], -1)

    x = latents(300, 2)
    model = known(decode, encode, dim=3)
    found = alignment.align(model, x, **options())
    assert found.dimensions == (0, 2)
    assert found.latent_dim == 3
    assert found.slope.shape == found.share.shape == (2, 2)
    assert {row.from_codes for row in found.carriers} <= {0, 2}
    assert found.carrier("attribute 1").dimension == 2
    # without a threshold it does
    whole = alignment.align(model, x, **options(threshold=0.0))
    assert whole.dimensions == (0, 1, 2)
    assert whole.carrier("attribute 1").from_codes == 1
    assert not whole.carrier("attribute 1").agree


def test_categories_are_left_out_and_the_centre_holds_one_of_the_data():
    torch.manual_seed(11)  # the nearest datum is neither the first nor of the commonest class
    heads = [(2, posteriors.DiagonalNormal), (3, posteriors.RelaxedCategorical)]
    encoder = encoders.MLP(4, 5, posterior=partial(posteriors.Joint, heads=heads))
    for parameter in encoder.parameters():
        parameter.data.mul_(4)
    prior = priors.Joint([priors.Normal(2), priors.Categorical(3)])
    model = VAE(encoder, decoders.MLP(5, 4), prior=prior)
    x = 3 * torch.randn(100, 4)
    found = alignment.align(model, x, **options(threshold=0.0, names=list("abcd")))
    assert found.dimensions == (0, 1)
    codes, _ = evaluation.encode(model, x)
    assert (codes[:, 2:].std(0) > 0).sum() >= 2
    nearest = codes[np.square(codes - codes.mean(0)).sum(1).argmin()]
    np.testing.assert_array_equal(found.centre[2:], nearest[2:])
    np.testing.assert_allclose(found.centre[:2], codes[:, :2].mean(0), rtol=1e-5)


def test_a_dimension_without_any_variation_takes_no_part(known):
    x = latents(100, 1)
    model = known(lambda z: z[..., :1], lambda x: torch.cat([x, 0 * x], 1), dim=2)
    assert alignment.align(model, x, **options(threshold=0.0)).dimensions == (0,)


def test_codes_that_are_nearly_all_equal_are_moved_from_end_to_end(known):
    x = latents(300, 2)
    x[:, 0] = 0.0
    x[:5, 0] = torch.tensor([-2.0, -1.0, 1.0, 2.0, 3.0])
    model = known(itself, itself, scale=0.01, dim=2)
    found = alignment.align(model, x, **options())
    np.testing.assert_allclose(found.curves.values[0, [0, -1]], [-2.0, 3.0])
    assert found.slope[0, 0] == pytest.approx(1)


def test_two_attributes_of_one_dimension_get_their_own_by_assignment(linear):
    matrix = np.array([[1.0, 0.2], [1.0, 0.5]])
    model, x = linear(matrix, latents(300, 2) / torch.tensor([1, 2]))
    found = alignment.align(model, x, **options(names=["a", "b"]))
    assert [row.dimension for row in found.carriers] == [0, 0]
    assert found.assignment == {"a": 0, "b": 1}


def test_more_attributes_than_dimensions(linear):
    model, x = linear(np.array([[2.0], [1.0]]), latents(100, 1))

    def measure(x):
        return {"a": x[:, 0], "b": x[:, 1] ** 3}

    found = alignment.align(model, x, **options(measure=measure))
    assert [row.dimension for row in found.carriers] == [0, 0]
    assert found.assignment == {"a": 0}
    assert found.carrier("b").gap > 0.9


def test_one_attribute_has_no_partial_correlation_and_no_cross_talk(linear):
    model, x = linear(np.eye(2), latents(100, 2))
    found = alignment.align(model, x, **options(measure=lambda x: x[:, 0]))
    row = found.carriers[0]
    assert math.isnan(row.cross_talk)
    assert math.isnan(row.cross_talk.low)
    # given nothing it is the correlation itself
    assert row.partial == pytest.approx(float(row.correlation))
    assert row.correlation == pytest.approx(1)


def test_the_same_seed_gives_the_same_and_nothing_is_changed(linear):
    model, x = linear(MATRIX, latents(200, 3))
    model.train()
    before, kept = torch.get_rng_state(), x.clone()
    first = alignment.align(model, x, **options(rng=4))
    again = alignment.align(model, x, **options(rng=np.random.default_rng(4)))
    assert first.to_dict() == again.to_dict()
    other = alignment.align(model, x, **options(rng=5))
    assert not torch.equal(other.base, first.base)
    assert other.carriers[0].gap.low != first.carriers[0].gap.low
    assert other.carriers[0].gap == first.carriers[0].gap
    assert model.training
    assert model.encoder.training
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)


def test_batches_change_nothing(linear):
    model, x = linear(MATRIX, latents(200, 3))
    one = alignment.align(model, x, **options())
    many = alignment.align(model, x, **options(batch_size=7))
    torch.testing.assert_close(one.slope, many.slope)
    torch.testing.assert_close(one.share, many.share)
    assert one.left_out == many.left_out == 0


def test_data_of_half_precision_and_models_of_single(linear):
    encoder = encoders.MLP(6, 2)
    for parameter in encoder.parameters():
        parameter.data.mul_(4)
    model = VAE(encoder, decoders.MLP(2, 6), prior=priors.Normal(2)).bfloat16()
    x = torch.rand(100, 6).bfloat16()
    found = alignment.align(model, x, **options())
    assert torch.isfinite(found.slope).all()
    assert alignment.Knobs(model, found).render(**{"attribute 0": 0.5}).shape == (1, 6)


def test_decoded_images_are_cut_to_the_range_of_images(known):
    """Only where all data are in it; the decoder overshoots by half."""
    x = torch.rand(200, 2, dtype=torch.float64)
    seen = []

    def measure(x):
        seen.append((float(x.min()), float(x.max())))
        return x

    model = known(lambda z: 1.5 * z - 0.25, itself, scale=0.01, dim=2)
    alignment.align(model, x, **options(measure=measure))
    assert min(low for low, _ in seen) == 0
    assert max(high for _, high in seen) == 1
    x[0] = 1.1
    seen.clear()
    alignment.align(model, x, **options(measure=measure))
    assert seen[-1][1] > 1.15
