"""Shipped encoders and decoders: any size, one datum whatever its batch, full-precision heads."""

from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent
from torch.nn.modules.batchnorm import _NormBase

from disvae import (
    VAE,
    TrainStep,
    data,
    decoders,
    encoders,
    likelihoods,
    objectives,
    posteriors,
    priors,
)
from disvae import distributions as dist
from disvae.nn import ResidualBlock, residual_down

sizes = st.integers(8, 40)

# small ones, since a broadcast decoder computes at the full size
Broadcast = partial(decoders.SpatialBroadcast, channels=(8, 8))
FAMILIES = {
    "MLP": (encoders.MLP, decoders.MLP),
    "Conv": (encoders.Conv, decoders.Conv),
    "Residual": (encoders.Residual, decoders.Residual),
    "SpatialBroadcast": (encoders.Conv, Broadcast),
}
PRESETS = ("burgess", "pastrana_mlp", "mathieu_dsprites", "mathieu_dcgan32", "mathieu_pinwheel")

families = pytest.mark.parametrize(("Encoder", "Decoder"), FAMILIES.values(), ids=FAMILIES)
presets = pytest.mark.parametrize("preset", PRESETS)


def awake(module):
    """The module with the layers that start at zero filled, lest they hide what they do."""
    for p in module.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return module


def count(module):
    return sum(p.numel() for p in module.parameters())


def conv(channels, kernel):
    """The parameters of convolutions with these channels, from the input on."""
    return sum(kernel**2 * a * b + b for a, b in pairwise(channels))


def dense(widths):
    return sum((a + 1) * b for a, b in pairwise(widths))


@pytest.mark.parametrize("family", ["Conv", "Residual", "SpatialBroadcast"])
@given(st.integers(1, 4), sizes, sizes, st.integers(1, 5))
def test_convolutions_fit_any_image(family, channels, height, width, latent_dim):
    shape = (channels, height, width)
    Encoder, Decoder = FAMILIES[family]
    q = awake(Encoder(shape, latent_dim, hidden=(8,)))(torch.rand(2, *shape))
    z, decoder = q.rsample((3,)), awake(Decoder(latent_dim, shape, hidden=(8,)))
    p = decoder(z)
    assert (q.batch_shape, q.event_shape) == ((2,), (latent_dim,))
    assert (p.batch_shape, p.event_shape) == ((3, 2), shape)
    torch.testing.assert_close(decoder(z[2, :1]).mean[0], p.mean[2, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "channels"),
    [
        (8, (64,)),
        (28, (64, 64)),
        (32, (32, 64, 64)),
        (64, (32, 32, 64, 64)),
        (128, (32,) * 3 + (64,) * 2),
    ],
)
def test_default_channels_leave_at_least_four_pixels(size, channels):
    encoder = encoders.Conv((1, size, size), 10)
    assert tuple(m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)) == channels
    blocks = lambda net: [m for m in net.modules() if isinstance(m, ResidualBlock)]  # noqa: E731
    found = [m.branch[-1].out_channels for m in blocks(encoders.Residual((1, size, size), 10))]
    assert tuple(found) == channels
    found = [m.branch[-1].out_channels for m in blocks(decoders.Residual(10, (1, size, size)))]
    assert tuple(found) == channels[::-1]


@families
def test_one_datum_gives_the_same_result_in_any_batch(Encoder, Decoder):
    shape = (1, 16, 16)
    encoder = awake(Encoder(shape, 4)).double()
    decoder = awake(Decoder(4, shape)).double()
    x = torch.rand(9, *shape).double()
    q = encoder(x)
    for i in (0, 8):
        alone = encoder(x[i : i + 1])
        torch.testing.assert_close(alone.mean[0], q.mean[i], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(alone.stddev[0], q.stddev[i], rtol=1e-12, atol=1e-12)
        p = decoder(q.mean[None])
        torch.testing.assert_close(
            decoder(q.mean[i : i + 1]).mean[0], p.mean[0, i], rtol=1e-12, atol=1e-12
        )


@families
def test_the_context_reaches_encoder_and_decoder_row_by_row(Encoder, Decoder):
    shape, c = (1, 8, 8), torch.eye(3).double()
    encoder = awake(Encoder(shape, 2, context_dim=3)).double()
    decoder = awake(Decoder(2, shape, context_dim=3)).double()
    x, z = torch.rand(1, *shape).double(), torch.randn(5, 1, 2).double()
    q, p = encoder(x.expand(3, -1, -1, -1), c), decoder(z.expand(5, 3, 2), c)
    assert (q.mean[0] - q.mean[1]).abs().max() > 1e-6  # more than rounding
    assert (p.mean[:, 0] - p.mean[:, 1]).abs().max() > 1e-6
    for i in range(3):
        torch.testing.assert_close(encoder(x, c[i : i + 1]).mean[0], q.mean[i])
        torch.testing.assert_close(decoder(z, c[i : i + 1]).mean[:, 0], p.mean[:, i])


@families
def test_without_context_dim_a_context_is_ignored(Encoder, Decoder):
    encoder, decoder = Encoder((1, 8, 8), 2), Decoder(2, (1, 8, 8))
    x, z, c = torch.rand(3, 1, 8, 8), torch.randn(3, 2), torch.rand(3, 4)
    assert torch.equal(encoder(x, c).mean, encoder(x).mean)
    assert torch.equal(decoder(z, c).mean, decoder(z).mean)


@families
def test_half_precision_weights_and_autocast_give_full_precision_distributions(Encoder, Decoder):
    encoder, decoder = awake(Encoder((1, 9, 8), 2)), awake(Decoder(2, (1, 9, 8)))
    x, z = torch.rand(3, 1, 9, 8), torch.randn(3, 2)
    exact = encoder(x).mean, decoder(z).mean
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder(x).mean, decoder(z).mean
    half = encoder.bfloat16()(x).mean, decoder.bfloat16()(z).mean
    for found in (mixed, half):
        for a, b in zip(found, exact, strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


@families
def test_double_data_for_single_weights_are_refused(Encoder, Decoder):
    with pytest.raises(TypeError, match=r"^Expected x to have the dtype of the weights"):
        Encoder((1, 8, 8), 2)(torch.rand(3, 1, 8, 8).double())
    with pytest.raises(TypeError, match=r"^Expected z to have the dtype of the weights"):
        Decoder(2, (1, 8, 8))(torch.randn(3, 2).double())


@pytest.mark.parametrize("family", ["Residual", "SpatialBroadcast"])
def test_networks_compile_in_one_graph(family):
    Encoder, Decoder = FAMILIES[family]
    encoder = awake(Encoder((1, 9, 8), 2, context_dim=3))
    decoder = awake(Decoder(2, (1, 9, 8), context_dim=3))
    x, z, c = torch.rand(4, 1, 9, 8), torch.randn(5, 4, 2), torch.rand(4, 3)
    value = lambda x, z, c: (encoder(x, c).mean, decoder(z, c).log_prob(x))  # noqa: E731
    compiled = torch.compile(value, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, z, c), value(x, z, c))


@pytest.mark.parametrize("family", ["Residual", "SpatialBroadcast"])
def test_stacked_networks_give_the_gradients_of_each(family):
    Encoder, Decoder = FAMILIES[family]
    x = torch.rand(4, 1, 9, 8)
    members = [
        nn.ModuleList([awake(Encoder(x.shape[1:], 2)), awake(Decoder(2, x.shape[1:]))])
        for _ in range(2)
    ]

    class Loss(nn.Module):
        def __init__(self, parts):
            super().__init__()
            self.encoder, self.decoder = parts

        def forward(self, x):
            return self.decoder(self.encoder(x).mean).log_prob(x).mean()

    losses = [Loss(parts) for parts in members]
    parameters, buffers = torch.func.stack_module_state(losses)
    call = lambda p, b: torch.func.functional_call(losses[0], (p, b), (x,))  # noqa: E731
    stacked = torch.vmap(torch.func.grad(call))(parameters, buffers)
    for i, loss in enumerate(losses):
        loss(x).backward()
        for name, p in loss.named_parameters():
            if p.grad is not None:  # scales take no part in the means
                torch.testing.assert_close(stacked[name][i], p.grad, rtol=1e-3, atol=1e-4)


class TestResidual:
    @pytest.mark.parametrize("channels", [4, 6])
    def test_a_block_starts_as_its_skip(self, channels):
        block, h = ResidualBlock(4, channels), torch.randn(2, 4, 5, 7)
        assert torch.equal(block(h), block.skip(h))
        if channels == 4:
            assert torch.equal(block(h), h)

    def test_a_block_adds_its_branch_to_what_came_in(self):
        block, h = awake(ResidualBlock(3, 5, nn.Tanh)), torch.randn(2, 3, 4, 6)
        first, last, skip = block.branch[1], block.branch[3], block.skip
        branch = F.conv2d(torch.tanh(h), first.weight, first.bias, padding=1)
        branch = F.conv2d(torch.tanh(branch), last.weight, last.bias, padding=1)
        skipped = torch.einsum("oi,bihw->bohw", skip.weight[:, :, 0, 0], h)
        expected = branch + skipped + skip.bias[:, None, None]
        torch.testing.assert_close(block(h), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("size", [(8, 8), (9, 11), (15, 14)])
    def test_pooling_reads_every_pixel(self, size):
        """A window of two would leave out the last row and column of odd sizes."""
        net = residual_down(1, (1, 1), size, nn.Identity)
        nn.init.dirac_(net[0].weight)
        nn.init.zeros_(net[0].bias)
        x = torch.rand(1, 1, *size, requires_grad=True)
        h = net(x)
        h.sum().backward()
        assert (x.grad > 0).all()
        torch.testing.assert_close(net(torch.full((1, 1, *size), 0.3)), torch.full_like(h, 0.3))
        if size == (8, 8):
            torch.testing.assert_close(h[0, 0], x[0, 0].view(2, 4, 2, 4).mean((1, 3)))

    def test_upsampling_repeats_pixels(self):
        decoder = decoders.Residual(1, (1, 8, 8), channels=(1,), hidden=(), activation=nn.Identity)
        last = decoder.trunk[1][-1]
        nn.init.dirac_(last.weight)
        nn.init.zeros_(last.bias)
        z = torch.ones(1, 1)
        small = decoder.project(z).view(4, 4)
        logits = decoder(z).base_dist.logits[0, 0]
        torch.testing.assert_close(logits, small.repeat_interleave(2, 0).repeat_interleave(2, 1))

    def test_an_activation_follows_the_last_block(self):
        """Pre-activation blocks end in a sum, which is linear at the start."""
        encoder, decoder = encoders.Residual((1, 8, 8), 2), decoders.Residual(2, (1, 8, 8))
        features = encoder.trunk(torch.randn(4, 1, 8, 8))
        assert (features >= 0).all()
        assert (features == 0).any()
        seen = []
        decoder.trunk[1][-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        decoder(torch.randn(4, 2))
        assert (seen[0] >= 0).all()
        assert (seen[0] == 0).any()

    def test_number_of_parameters(self):
        block = lambda a, b: conv((a, b, b), 3) + (0 if a == b else conv((a, b), 1))  # noqa: E731
        encoder = conv((3, 32), 3) + block(32, 32) + block(32, 64) + block(64, 64)
        encoder += dense((64 * 4 * 4, 256, 2 * 10))
        assert count(encoders.Residual((3, 32, 32), 10)) == encoder
        decoder = dense((10, 256, 64 * 4 * 4)) + block(64, 64) + block(64, 64) + block(64, 32)
        assert count(decoders.Residual(10, (3, 32, 32))) == decoder + conv((32, 3), 3)

    def test_gradients_reach_every_parameter_in_the_second_step(self):
        model = VAE(
            encoders.Residual((1, 16, 17), 3, context_dim=2),
            decoders.Residual(3, (1, 16, 17), context_dim=2),
            prior=priors.Normal(3),
        )
        train = TrainStep(model, objectives.BetaVAE(beta=1.0))
        optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
        x, c = torch.rand(8, 1, 16, 17), torch.rand(8, 2)
        for _ in range(2):
            optimizer.zero_grad()
            train(x, c).total.backward()
            optimizer.step()
        for name, p in train.named_parameters():
            assert p.grad.any(), name
            assert torch.isfinite(p.grad).all(), name

    @pytest.mark.slow
    def test_a_pair_learns_sprites_better_than_their_mean(self):
        images = data.Sprites(32, samples=1200, rng=0).images
        seen, unseen = images[:1000], images[1000:]
        model = VAE(
            encoders.Residual((1, 32, 32), 6, channels=(16, 32, 32)),
            decoders.Residual(6, (1, 32, 32), channels=(32, 32, 16)),
            prior=priors.Normal(6),
        )
        train = TrainStep(model, objectives.BetaVAE(beta=1.0))
        optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
        for step in range(300):
            x = seen[torch.randint(len(seen), (50,), generator=torch.Generator().manual_seed(step))]
            optimizer.zero_grad()
            train(x).total.backward()
            optimizer.step()
        mean = F.binary_cross_entropy(seen.mean(0).expand_as(unseen), unseen)
        with torch.no_grad():
            found = F.binary_cross_entropy(model.reconstruct(unseen), unseen)
        assert found < 0.4 * mean


class TestSpatialBroadcast:
    def linear(self, shape=(1, 9, 12), latent_dim=2):
        """A decoder of one convolution that reads one pixel, for now with all weights at zero."""
        decoder = decoders.SpatialBroadcast(
            latent_dim, shape, channels=(), likelihood=likelihoods.Normal
        )
        layer = decoder.trunk[-1]
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return decoder, layer.weight.data[0, :, 1, 1]

    def test_x_runs_along_the_width_and_y_along_the_height(self):
        z = torch.randn(3, 2)
        decoder, taps = self.linear()
        taps[2] = 1.0
        expected = torch.linspace(-1, 1, 12).expand(3, 1, 9, 12)
        torch.testing.assert_close(decoder(z).mean, expected)
        decoder, taps = self.linear()
        taps[3] = 1.0
        expected = torch.linspace(-1, 1, 9)[:, None].expand(3, 1, 9, 12)
        torch.testing.assert_close(decoder(z).mean, expected)

    def test_every_pixel_sees_the_latents(self):
        z = torch.randn(5, 3, 2)
        decoder, taps = self.linear()
        taps[0], taps[1] = 2.0, -1.0
        expected = (2 * z[..., 0] - z[..., 1])[..., None, None, None].expand(5, 3, 1, 9, 12)
        torch.testing.assert_close(decoder(z).mean, expected)

    def test_the_border_is_padded_by_zeros(self):
        """Two convolutions of ones add up how many pixels lie inside the image."""
        decoder = decoders.SpatialBroadcast(
            1, (1, 8, 8), channels=(1,), activation=nn.Identity, likelihood=likelihoods.Normal
        )
        for layer in (decoder.trunk[1], decoder.trunk[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
            layer.weight.data[:, 0] = 1.0
        side = torch.tensor([5.0, 8, 9, 9, 9, 9, 8, 5])
        image = decoder(torch.ones(1, 1)).mean[0, 0]
        torch.testing.assert_close(image, side[:, None] * side)

    @pytest.mark.parametrize("kernel_size", [3, 5])
    def test_a_latent_can_move_the_image_without_changing_it(self, kernel_size):
        """Where the first layer reads x - z_0 and y - z_1 only, the image moves with z."""
        decoder = decoders.SpatialBroadcast(
            2, (1, 24, 26), channels=(8, 8), kernel_size=kernel_size, activation=nn.Tanh
        ).double()
        first = decoder.trunk[1].weight.data
        first[:, :2] = -first[:, 2:]
        z = torch.tensor([[0.1, -0.2]]).double()
        step = torch.tensor([[2 / 25, 2 * 2 / 23]]).double()  # a pixel right and two down
        before, after = (decoder(z).base_dist.logits[0, 0] for z in (z, z + step))
        border = 3 * (kernel_size // 2)  # there the padding shows
        inside = slice(border, -border)
        torch.testing.assert_close(
            after[inside, inside][2:, 1:], before[inside, inside][:-2, :-1], rtol=1e-6, atol=1e-6
        )
        assert before[inside, inside].std() > 1e-3

    def test_coordinates_are_no_state(self):
        decoder = decoders.SpatialBroadcast(2, (1, 8, 8))
        assert not any("coordinates" in name for name in decoder.state_dict())
        assert any("coordinates" in name for name, _ in decoder.named_buffers())

    def test_number_of_parameters(self):
        decoder = decoders.SpatialBroadcast(
            10, (3, 32, 32), channels=(16, 8), kernel_size=5, hidden=(20,), context_dim=4
        )
        assert count(decoder) == dense((14, 20)) + conv((22, 16, 8, 3), 5)


class OwnHead(posteriors.DiagonalNormal):
    """A head of one's own."""


class TestPresets:
    @pytest.mark.parametrize(
        ("preset", "shape", "latent_dim", "encoder", "decoder"),
        [
            (
                "burgess",
                (1, 64, 64),
                10,
                conv((1, 32, 32, 32, 32), 4) + dense((512, 256, 256, 20)),
                dense((10, 256, 256, 512)) + conv((32, 32, 32, 32, 1), 4),
            ),
            (
                "burgess",
                (3, 32, 32),
                6,
                conv((3, 32, 32, 32), 4) + dense((512, 256, 256, 12)),
                dense((6, 256, 256, 512)) + conv((32, 32, 32, 3), 4),
            ),
            ("pastrana_mlp", (784,), 10, 392_500 + 2 * 5_010, 5_500 + 392_784),
            (
                "mathieu_dsprites",
                (1, 64, 64),
                10,
                conv((1, 32, 32, 64, 64), 4) + dense((1024, 128, 20)),
                dense((10, 128, 1024)) + conv((64, 64, 32, 32, 1), 4),
            ),
            (
                "mathieu_dcgan32",
                (1, 32, 32),
                50,
                conv((1, 32, 64, 128), 4) + dense((2048, 100)),
                dense((50, 2048)) + conv((128, 64, 32, 1), 4),
            ),
            # the last two are the learnt scales
            ("mathieu_pinwheel", (2,), 2, dense((2, 100, 4)), dense((2, 100, 4))),
        ],
    )
    def test_number_of_parameters(self, preset, shape, latent_dim, encoder, decoder):
        assert count(getattr(encoders, preset)(shape, latent_dim)) == encoder
        assert count(getattr(decoders, preset)(latent_dim, shape)) == decoder

    @presets
    def test_defaults_make_a_pair_that_trains(self, preset):
        encoder, decoder = getattr(encoders, preset)(), getattr(decoders, preset)()
        model = VAE(encoder, decoder, prior=priors.Normal(encoder.latent_dim))
        train = TrainStep(model, objectives.BetaVAE(beta=1.0))
        train(torch.rand(2, *encoder.data_shape)).total.backward()
        assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in train.parameters())

    @presets
    def test_context_posterior_and_likelihood_are_handed_on(self, preset):
        encoder = getattr(encoders, preset)(context_dim=3, posterior=OwnHead)
        decoder = getattr(decoders, preset)(context_dim=3, likelihood=likelihoods.Normal)
        assert isinstance(encoder.head, OwnHead)
        assert isinstance(decoder.head, likelihoods.Normal)
        x, z, c = (
            torch.rand(1, *encoder.data_shape),
            torch.randn(1, decoder.latent_dim),
            torch.eye(3),
        )
        q = encoder(x.expand(3, *encoder.data_shape), c)
        p = decoder(z.expand(3, -1), c)
        assert (q.mean[0] - q.mean[1]).abs().max() > 1e-4  # more than rounding
        assert (p.mean[0] - p.mean[1]).abs().max() > 1e-4

    def test_the_likelihoods_of_the_papers(self):
        p = decoders.mathieu_dcgan32()(torch.randn(2, 50))
        expected = torch.distributions.Laplace(p.mean, 0.1).log_prob(torch.zeros(1, 32, 32))
        torch.testing.assert_close(p.log_prob(torch.zeros(1, 32, 32)), expected.sum((1, 2, 3)))
        for name in ("burgess", "pastrana_mlp", "mathieu_dsprites"):
            assert isinstance(getattr(decoders, name)().head, likelihoods.Bernoulli)

    @pytest.mark.parametrize("side", [encoders, decoders])
    def test_pastrana_has_tanh_and_the_others_relu(self, side):
        for name in PRESETS:
            kinds = {type(m) for m in getattr(side, name)().modules()}
            assert (nn.Tanh in kinds, nn.ReLU in kinds) == (
                (True, False) if name == "pastrana_mlp" else (False, True)
            )

    def test_flat_and_square_digits_are_the_same_net(self):
        flat, square = encoders.pastrana_mlp(784), encoders.pastrana_mlp((1, 28, 28))
        square.load_state_dict(flat.state_dict())
        x = torch.rand(3, 1, 28, 28)
        assert torch.equal(flat(x.flatten(1)).mean, square(x).mean)


def test_an_error_inside_a_factory_is_its_own():
    def activation():
        return nn.LeakyReLU() + 1

    with pytest.raises(TypeError, match="unsupported operand"):
        encoders.MLP(6, 2, activation=activation)
    with pytest.raises(TypeError, match=r"Categorical does not take them: .*'classes'"):
        decoders.MLP(2, 6, likelihood=likelihoods.Categorical)


def test_no_shipped_network_normalises_over_the_batch():
    nets = [Encoder((1, 8, 8), 2) for Encoder, _ in FAMILIES.values()]
    nets += [Decoder(2, (1, 8, 8)) for _, Decoder in FAMILIES.values()]
    nets += [getattr(side, name)() for side in (encoders, decoders) for name in PRESETS]
    assert not any(isinstance(m, _NormBase) for net in nets for m in net.modules())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: encoders.Residual((1, 7, 8), 2), "images of 8x8 or more"),
        (lambda: encoders.Residual((1, 8, 8), 2, channels=(8,) * 4), "at most 3 of them"),
        (lambda: encoders.Residual((1, 8, 8), 2, channels=()), "at least one width"),
        (lambda: decoders.Residual(2, (1, 8, 8), channels=()), "at least one width"),
        (lambda: decoders.Residual(2, (1, 8, 8), channels=(8, 0)), "each width in channels"),
        (
            lambda: encoders.Residual((1, 8, 8), 2, activation=partial(nn.ReLU, inplace=True)),
            "inplace=False",
        ),
        (lambda: decoders.Residual(2, (1, 8, 8))(torch.zeros(3, 4)), r"shape \(..., B, 2\)"),
        (lambda: decoders.SpatialBroadcast(2, (8, 8)), r"\(channels, height, width\)"),
        (lambda: decoders.SpatialBroadcast(2, (1, 8, 8), kernel_size=4), "odd"),
        (lambda: decoders.SpatialBroadcast(0, (1, 8, 8)), "latent_dim"),
        (lambda: decoders.SpatialBroadcast(2, (1, 8, 8), context_dim=-1), "context_dim"),
        (
            lambda: decoders.SpatialBroadcast(2, (1, 8, 8), context_dim=3)(torch.zeros(4, 2)),
            "pass context=",
        ),
        (lambda: encoders.burgess((1, 28, 28)), "64x64 or 32x32"),
        (lambda: decoders.burgess(10, (1, 64, 32)), "but got 64x32"),
        (lambda: encoders.mathieu_dsprites((1, 32, 32)), "images of 64x64"),
        (lambda: decoders.mathieu_dcgan32(50, (1, 64, 64)), "images of 32x32"),
        (lambda: encoders.pastrana_mlp(784)(torch.rand(2, 1, 28, 28)), r"shape \(B, 784\)"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    found = str(caught.value)
    assert found.startswith("Expected")
    assert found.endswith(".")
    assert 25 <= len(found) <= 400
    assert "\n" not in found


class TestDiagonalNormal:
    def test_scale_is_one_at_zero_and_has_a_floor(self):
        head = posteriors.DiagonalNormal(3, 2)
        nn.init.zeros_(head.affine.weight)
        nn.init.zeros_(head.affine.bias)
        torch.testing.assert_close(head(torch.ones(1, 3)).stddev, torch.ones(1, 2))
        nn.init.constant_(head.affine.bias, -1e4)
        torch.testing.assert_close(head(torch.ones(1, 3)).stddev, torch.full((1, 2), 1e-4))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("extreme", [-1e6, -1e3, 1e3, 1e6])
    def test_extreme_features_stay_finite_with_their_gradients(self, dtype, extreme):
        head = posteriors.DiagonalNormal(3, 2).to(dtype)
        h = torch.full((4, 3), extreme, dtype=dtype, requires_grad=True)
        q = head(h)
        value = dist.kl(q, Independent(dist.Normal(torch.zeros(2), torch.ones(2)), 1))
        assert torch.isfinite(value).all()
        value.sum().backward()
        assert torch.isfinite(h.grad).all()

    def test_autocast_does_not_reach_the_head(self):
        """A linear layer under autocast is bfloat16, and casting its output mends nothing."""
        head = posteriors.DiagonalNormal(64, 8)
        h = torch.randn(16, 64)
        expected = head(h)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = head(h)
        assert found.mean.dtype == torch.float32
        assert torch.equal(found.mean, expected.mean)
        assert torch.equal(found.stddev, expected.stddev)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_features_are_promoted(self, dtype):
        head = posteriors.DiagonalNormal(64, 8)
        h = torch.randn(16, 64).to(dtype)
        assert torch.equal(head(h).mean, head(h.float()).mean)

    def test_float64_stays_float64(self):
        q = posteriors.DiagonalNormal(3, 2).double()(torch.ones(1, 3).double())
        assert q.rsample().dtype == torch.float64
