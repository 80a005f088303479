"""Shipped encoders and decoders: any size, one datum whatever its batch, full-precision heads."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent

from disvae import decoders, encoders, likelihoods, posteriors
from disvae import distributions as dist

sizes = st.integers(8, 40)


@given(st.integers(1, 4), sizes, sizes, st.integers(1, 5))
def test_convolutions_fit_any_image(channels, height, width, latent_dim):
    shape = (channels, height, width)
    q = encoders.Conv(shape, latent_dim, hidden=(8,))(torch.rand(2, *shape))
    p = decoders.Conv(latent_dim, shape, hidden=(8,))(q.rsample((3,)))
    assert (q.batch_shape, q.event_shape) == ((2,), (latent_dim,))
    assert (p.batch_shape, p.event_shape) == ((3, 2), shape)


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


def test_burgess_net_has_the_published_number_of_parameters():
    """Four convolutions of 32 and two dense layers of 256 at 64x64, 10 latents."""
    encoder = encoders.Conv((1, 64, 64), 10, channels=(32,) * 4, hidden=(256, 256))
    convolutions = (16 + 1) * 32 + 3 * (32 * 16 + 1) * 32
    dense = (512 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 20
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + dense


@pytest.mark.parametrize("family", ["MLP", "Conv"])
def test_one_datum_gives_the_same_result_in_any_batch(family):
    shape = (1, 16, 16)
    encoder = getattr(encoders, family)(shape, 4).double()
    decoder = getattr(decoders, family)(4, shape).double()
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


@pytest.mark.parametrize("family", ["MLP", "Conv"])
def test_the_context_reaches_encoder_and_decoder_row_by_row(family):
    shape, c = (1, 8, 8), torch.eye(3).double()
    encoder = getattr(encoders, family)(shape, 2, context_dim=3).double()
    decoder = getattr(decoders, family)(2, shape, context_dim=3).double()
    x, z = torch.rand(1, *shape).double(), torch.randn(5, 1, 2).double()
    q, p = encoder(x.expand(3, -1, -1, -1), c), decoder(z.expand(5, 3, 2), c)
    assert (q.mean[0] != q.mean[1]).all()
    for i in range(3):
        torch.testing.assert_close(encoder(x, c[i : i + 1]).mean[0], q.mean[i])
        torch.testing.assert_close(decoder(z, c[i : i + 1]).mean[:, 0], p.mean[:, i])


@pytest.mark.parametrize("family", ["MLP", "Conv"])
def test_without_context_dim_a_context_is_ignored(family):
    encoder = getattr(encoders, family)((1, 8, 8), 2)
    decoder = getattr(decoders, family)(2, (1, 8, 8))
    x, z, c = torch.rand(3, 1, 8, 8), torch.randn(3, 2), torch.rand(3, 4)
    assert torch.equal(encoder(x, c).mean, encoder(x).mean)
    assert torch.equal(decoder(z, c).mean, decoder(z).mean)


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


class TestLikelihoods:
    def test_normal_with_a_fixed_scale_is_scaled_squared_error(self):
        x, mean = torch.randn(5, 3).double(), torch.randn(5, 3).double()
        p = likelihoods.Normal(3, scale=0.5).double()(mean)
        log_sigma = torch.tensor(0.5 * (2 * torch.pi) ** 0.5).double().log()
        expected = -((x - mean).square() / (2 * 0.25) + log_sigma).sum(-1)
        torch.testing.assert_close(p.log_prob(x), expected, rtol=1e-6, atol=1e-6)

    def test_normal_predicts_a_scale_for_every_value(self):
        head = likelihoods.Normal((2, 4, 4), scale=None)
        assert head.channels == 4
        parameters = torch.randn(3, 4, 4, 4)
        p = head(parameters)
        assert torch.equal(p.mean, parameters[:, :2])
        assert not torch.equal(p.stddev[:, 0], p.stddev[:, 1])

    def test_learnt_scale_finds_the_maximum_of_the_likelihood(self):
        """The best shared scale is the root mean squared error."""
        head = likelihoods.Normal(3, scale=1.0, learn_scale=True)
        x, mean = torch.randn(500, 3) * 0.3, torch.zeros(500, 3)
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=50)

        def loss():
            optimizer.zero_grad()
            value = -head(mean).log_prob(x).mean()
            value.backward()
            return value

        optimizer.step(loss)
        torch.testing.assert_close(head.scale()[0], x.square().mean().sqrt(), rtol=1e-3, atol=0)
        assert sum(p.numel() for p in head.parameters()) == 1

    def test_a_learnt_scale_per_value_has_one_parameter_each(self):
        head = likelihoods.Normal(3, scale=torch.tensor([0.1, 1.0, 5.0]), learn_scale=True)
        torch.testing.assert_close(head.scale(), torch.tensor([0.1, 1.0, 5.0]))
        assert sum(p.numel() for p in head.parameters()) == 3

    def test_bfloat16_logits_give_a_float32_log_mass(self):
        p = likelihoods.Bernoulli(784)(torch.randn(2, 784).bfloat16())
        assert p.log_prob(torch.rand(2, 784)).dtype == torch.float32

    @pytest.mark.parametrize(
        "likelihood", [likelihoods.Bernoulli, partial(likelihoods.Normal, scale=None)]
    )
    @pytest.mark.parametrize("family", ["MLP", "Conv"])
    def test_decoders_give_the_channels_that_a_head_wants(self, likelihood, family):
        p = getattr(decoders, family)(2, (3, 9, 8), likelihood=likelihood)(torch.randn(4, 2))
        assert p.log_prob(torch.rand(4, 3, 9, 8)).shape == (4,)

    def test_a_head_of_ones_own_needs_no_channels(self):
        class Poisson(nn.Module):
            def __init__(self, data_shape):
                super().__init__()

            def forward(self, parameters):
                return Independent(torch.distributions.Poisson(parameters.exp()), 1)

        p = decoders.MLP(2, 5, likelihood=Poisson)(torch.randn(4, 2))
        assert p.event_shape == (5,)
