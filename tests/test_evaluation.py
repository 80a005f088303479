"""Codes, bounds and summaries: any form of data, the same at every call, exact where known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent
from torch.utils.data import DataLoader, TensorDataset

from disvae import VAE, decoders, encoders, evaluation, likelihoods, priors
from disvae import distributions as dist

N, D = 50, 3


@pytest.fixture
def model():
    return VAE(encoders.MLP(6, D), decoders.MLP(D, 6), prior=priors.Normal(D))


@pytest.fixture
def x():
    return torch.rand(N, 6)


class TestEncode:
    @pytest.mark.parametrize("batch_size", [1, 7, N, 1000])
    def test_any_form_of_data_gives_the_posterior_means_in_order(self, model, x, batch_size):
        y = torch.stack([torch.arange(N), torch.arange(N) % 4], dim=1)
        expected = model.encode(x).mean.detach().numpy()
        forms = [x, TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=9)]
        for form in forms:
            codes, factors = evaluation.encode(model, form, batch_size=batch_size)
            np.testing.assert_allclose(codes, expected, rtol=1e-5, atol=1e-6)
            assert (factors is None) if form is x else np.array_equal(factors, y.numpy())

    def test_a_data_set_draws_nothing(self, model, x):
        before = torch.get_rng_state()
        evaluation.encode(model, TensorDataset(x), batch_size=9)
        assert torch.equal(before, torch.get_rng_state())

    @pytest.mark.parametrize(
        ("context", "labels"), [(lambda y: y.numpy(), torch.arange(N)), (lambda y: y, None)]
    )
    def test_a_function_makes_tensors_of_second_items(self, model, x, context, labels, is_clear):
        data = x if labels is None else TensorDataset(x, labels)
        with pytest.raises(TypeError) as caught:
            evaluation.encode(model, data, context=context)
        is_clear(caught.value)

    def test_a_shuffling_loader_keeps_codes_and_factors_together(self, model, x):
        loader = DataLoader(TensorDataset(x, torch.arange(N)), batch_size=8, shuffle=True)
        codes, factors = evaluation.encode(model, loader)
        expected = model.encode(x).mean.detach().numpy()
        assert factors.shape == (N, 1)
        np.testing.assert_allclose(codes, expected[factors[:, 0]], rtol=1e-5, atol=1e-6)

    def test_dropout_is_off_meanwhile_and_the_modes_come_back(self, x):
        encoder = nn.Sequential(nn.Dropout(0.5), encoders.MLP(6, D))
        model = VAE(encoder, decoders.MLP(D, 6), prior=priors.Normal(D))
        model.decoder.eval()
        first, _ = evaluation.encode(model, x)
        second, _ = evaluation.encode(model, x)
        assert np.array_equal(first, second)
        assert model.training
        assert encoder[0].training
        assert not model.decoder.training

    def test_a_context_by_row_or_by_function(self, x):
        model = VAE(
            encoders.MLP(6, D, context_dim=4),
            decoders.MLP(D, 6, context_dim=4),
            prior=priors.Normal(D),
        )
        labels = torch.arange(N) % 4
        one_hot = lambda y: nn.functional.one_hot(y, 4).float()  # noqa: E731
        expected = model.encode(x, one_hot(labels)).mean.detach().numpy()
        data = TensorDataset(x, labels)
        loader = DataLoader(data, batch_size=8, shuffle=True)
        by_row, _ = evaluation.encode(model, x, context=one_hot(labels), batch_size=8)
        by_function, _ = evaluation.encode(model, data, context=one_hot, batch_size=8)
        np.testing.assert_allclose(by_row, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(by_function, expected, rtol=1e-5, atol=1e-6)
        codes, y = evaluation.encode(model, loader, context=one_hot)
        assert len(codes) == len(y) == N

    def test_float64_stays_float64(self, model, x):
        codes, _ = evaluation.encode(model.double(), x.double())
        assert codes.dtype == np.float64


class TestBounds:
    def test_elbo_averages_over_samples_of_a_prior_without_closed_form(self, x):
        class Student(nn.Module):
            def forward(self, context=None):
                return Independent(torch.distributions.StudentT(torch.tensor(5.0).expand(D)), 1)

        model = VAE(encoders.MLP(6, D), decoders.MLP(D, 6), prior=Student())
        out = model(x, sample_shape=(4000,))
        integrand = out.likelihood.log_prob(x) - dist.kl(out.posterior, out.prior, out.z)
        found = evaluation.elbo(model, x, samples=4000, batch_size=10)
        error = integrand.std(0) / 4000**0.5
        assert ((found - integrand.mean(0)).abs() < 6 * error).all()

    def test_the_importance_weighted_bound_lies_above_and_rises(self, model, x):
        bounds = [
            evaluation.log_likelihood(model, x.repeat(20, 1), samples=k).mean() for k in (1, 5, 50)
        ]
        assert bounds[0] < bounds[1] < bounds[2]
        torch.testing.assert_close(
            bounds[0], evaluation.elbo(model, x, samples=200).mean(), rtol=0, atol=0.1
        )

    @pytest.mark.parametrize("batch_size", [3, 50, 4000])
    def test_chunks_weigh_every_sample_once(self, model, x, batch_size):
        """With noise replaced by a counter, the estimate is that of all samples at once."""
        model = VAE(Fixed(), model.decoder, prior=model.prior)
        z = Fixed.grid(60)
        weight = (
            model.decode(z.expand(60, 2, D)).log_prob(x[:2])
            + model.prior().log_prob(z)
            - model.encode(x[:2]).log_prob(z)
        )
        expected = weight.logsumexp(0) - np.log(60)
        Fixed.drawn = 0
        found = evaluation.log_likelihood(model, x[:2], samples=60, batch_size=batch_size)
        torch.testing.assert_close(found, expected)


class Fixed(nn.Module):
    """A posterior whose k-th sample of every datum is the k-th point of a grid."""

    drawn = 0

    @staticmethod
    def grid(n):
        return torch.linspace(-1, 1, 60)[:n, None, None].expand(n, 1, D)

    def forward(self, x):
        class Counting(dist.Normal):
            def rsample(self, sample_shape=()):
                start = Fixed.drawn
                Fixed.drawn += sample_shape[0]
                return Fixed.grid(60)[start : Fixed.drawn].expand(-1, len(x), -1)

        class Whole(Independent):
            def sample(self, sample_shape=()):
                return self.base_dist.rsample(sample_shape)

        return Whole(Counting(torch.zeros(len(x), D), torch.ones(len(x), D)), 1)


def test_data_outside_the_support_have_no_likelihood(model, x):
    for estimate in (evaluation.log_likelihood, evaluation.elbo, evaluation.summary):
        with pytest.raises(ValueError, match=r"inside \[0, 1\]"):
            estimate(model, x * 255)


class TestSummary:
    def test_units_that_vary_are_active(self):
        class Given(nn.Module):
            """Posterior means: one varies, one is constant, one varies too little."""

            def forward(self, x):
                loc = torch.stack([x[:, 0], torch.ones(len(x)), 0.1 * x[:, 0]], dim=1)
                return Independent(dist.Normal(loc, torch.tensor([0.1, 1.0, 1.0])), 1)

        model = VAE(Given(), decoders.MLP(D, 6), prior=priors.Normal(D))
        x = torch.rand(1000, 6)
        found = evaluation.active_units(model, x)
        assert found.mask.tolist() == [True, False, False]
        assert found.count == 1
        torch.testing.assert_close(found.variance[0], x[:, 0].var(correction=0))

        summary = evaluation.summary(model, x)
        mu2 = x[:, 0].square().mean()
        exact = torch.stack(
            [
                0.5 * (mu2 + 0.01 - 1) - torch.log(torch.tensor(0.1)),
                torch.tensor(0.5),
                0.5 * 0.01 * mu2,
            ]
        )
        torch.testing.assert_close(summary.kl_per_dimension, exact, rtol=1e-4, atol=1e-5)
        assert summary.order == [0, 1, 2]
        assert summary.kl == pytest.approx(exact.sum().item(), rel=1e-4)
        assert summary.elbo == pytest.approx(-summary.reconstruction - summary.kl)

    def test_prints_its_numbers(self, model, x):
        found = evaluation.summary(model, x)
        text = str(found)
        assert f"{found.elbo:.2f} nats" in text
        assert f"z{found.order[0]} {found.kl_per_dimension[found.order[0]]:.2f}" in text
        assert f"{found.active.count} of {D}" in text

    def test_batches_do_not_change_it(self, x):
        normal = likelihoods.Normal
        model = VAE(
            encoders.MLP(6, D), decoders.MLP(D, 6, likelihood=normal), prior=priors.Laplace(D)
        )
        with dist.replace_noise(
            lambda sampler, shape, *, dtype, device: torch.zeros(shape, dtype=dtype)
        ):
            one, many = (evaluation.summary(model, x, batch_size=b) for b in (N, 7))
        assert one.elbo == pytest.approx(many.elbo, rel=1e-5)
        torch.testing.assert_close(one.kl_per_dimension, many.kl_per_dimension)
