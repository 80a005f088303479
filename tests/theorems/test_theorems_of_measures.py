"""What the measures of the decomposition say where the truth is known.

Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
https://arxiv.org/abs/1812.02833, measure sparsity by Hoyer's formula, and disentanglement by the
score of Kim and Mnih, Disentangling by Factorising, 2018, https://arxiv.org/abs/1802.05983.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from disvae import metrics, priors


def hoyer(ratio, dim):
    """The sparsity of a ratio of the two norms."""
    return (math.sqrt(dim) - ratio) / (math.sqrt(dim) - 1)


def expected_ratio(shares, scales, dim):
    """E|z|₁/|z|₂ of iid zero-mean normal mixtures, by 1/r = π^(-1/2) ∫ t^(-1/2) exp(-t r²) dt.

    Under one normal of variance s², E exp(-t z²) = (1 + 2 t s²)^(-1/2) and
    E|z| exp(-t z²) = √(2/π) s / (1 + 2 t s²); with t = e^u the integrand is smooth.
    """

    def integrand(u):
        widths = [1 + 2 * math.exp(u) * s * s for s in scales]
        mean = sum(w * x**-0.5 for w, x in zip(shares, widths, strict=True))
        first = sum(w * s / x for w, s, x in zip(shares, scales, widths, strict=True))
        return math.exp(0.5 * u) * math.sqrt(2 / math.pi) * first * mean ** (dim - 1)

    value, _ = integrate.quad(integrand, -60, 80, epsabs=0, epsrel=1e-11, limit=500)
    return dim * value / math.sqrt(math.pi)


class TestHoyerSparsity:
    @given(st.integers(2, 200))
    def test_the_closed_form_of_normal_codes_is_the_integral(self, dim):
        codes = np.random.default_rng(0).normal(size=(3, dim))
        expected = hoyer(expected_ratio([1.0], [1.0], dim), dim)
        assert metrics.hoyer_sparsity(codes).gaussian == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize(
        ("dim", "value"),
        [(2, (2**0.5 - 4 / math.pi) / (2**0.5 - 1)), (10, 0.26610), (50, 0.23075)],
    )
    def test_no_sparsity_is_not_nought(self, dim, value):
        """What the codes of the normal prior score, which a sparsity is to be read against."""
        score = metrics.hoyer_sparsity(priors.Normal(dim, 0.3)().sample((40_000,)).numpy())
        assert score.gaussian == pytest.approx(value, abs=5e-6)
        assert score == pytest.approx(value, abs=4 * score.per_row.std() / 200)

    @settings(max_examples=10)
    @given(st.integers(2, 30), st.floats(0.0, 1.0), st.floats(0.01, 0.9), st.integers(0, 2**31))
    def test_samples_of_the_sparse_prior_score_the_integral(self, dim, gamma, spike, seed):
        torch.manual_seed(seed)
        z = priors.Sparse(dim, gamma, spike)().sample((20_000,)).numpy()
        score = metrics.hoyer_sparsity(z)
        value = hoyer(expected_ratio([gamma, 1 - gamma], [spike, 1.0], dim), dim)
        assert score == pytest.approx(value, abs=5 * score.per_row.std() / 20_000**0.5 + 1e-4)

    @pytest.mark.parametrize(("spike", "value"), [(0.05, 0.650), (0.05**0.5, 0.420)])
    def test_the_two_readings_of_the_spike_of_the_paper(self, spike, value):
        """A standard deviation of 0.05 in the code, a variance of 0.05 in the text."""
        z = priors.Sparse(50, 0.8, spike)().sample((20_000,)).numpy()
        assert metrics.hoyer_sparsity(z) == pytest.approx(value, abs=1e-3)
        exact = hoyer(expected_ratio([0.8, 0.2], [spike, 1.0], 50), 50)
        assert exact == pytest.approx(value, abs=1e-3)


def lattice(sizes):
    """Every combination of factors of these sizes."""
    return np.array(list(itertools.product(*[range(size) for size in sizes])), dtype=float)


def rotated(factors, pair, degrees):
    """Standardised factors as codes, a little noisy, with two of them turned by an angle.

    Without noise the variances at 45° are equal, and rounding, which is not random, takes the vote.
    """
    codes = (factors - factors.mean(0)) / factors.std(0)
    codes += 0.1 * np.random.default_rng(0).normal(size=codes.shape)
    angle, (a, b) = math.radians(degrees), pair
    turned = codes.copy()
    turned[:, a] = math.cos(angle) * codes[:, a] - math.sin(angle) * codes[:, b]
    turned[:, b] = math.sin(angle) * codes[:, a] + math.cos(angle) * codes[:, b]
    return turned


sizes = st.lists(st.integers(3, 6), min_size=2, max_size=4)


class TestFactorVAEScore:
    @settings(max_examples=10)
    @given(sizes, st.data())
    def test_codes_along_the_factors_score_one(self, sizes, data):
        factors = lattice(sizes)
        order = data.draw(st.permutations(range(len(sizes))))
        stretch = np.exp(data.draw(st.floats(-9, 9)) * np.arange(len(sizes)))
        assert metrics.factor_vae_score((factors * stretch)[:, order], factors) == 1.0

    @settings(max_examples=10)
    @given(sizes, st.integers(0, 100), st.data())
    def test_two_of_k_codes_rotated_by_45_degrees_lose_one_in_k(self, sizes, seed, data):
        """Both vary alike while either factor is fixed, so half the votes of the two are lost."""
        K = len(sizes)
        pair = data.draw(st.permutations(range(K)))[:2]
        factors = lattice(sizes)
        factors = np.tile(factors, (20_000 // len(factors), 1))  # many rows for each value
        score = metrics.factor_vae_score(rotated(factors, pair, 45), factors, rng=seed)
        assert score == pytest.approx(1 - 1 / K, abs=0.05)

    def test_two_of_three_are_two_thirds(self):
        factors = lattice((16, 16, 8))
        scores = [
            metrics.factor_vae_score(rotated(factors, (0, 1), 45), factors, rng=s) for s in range(3)
        ]
        assert np.mean(scores) == pytest.approx(0.67, abs=0.02)

    @pytest.mark.parametrize("degrees", [10, 35, 55, 80])
    def test_any_other_angle_goes_unseen(self, degrees):
        """The code that is nearer to the fixed factor still varies least."""
        factors = lattice((16, 16, 8))
        assert metrics.factor_vae_score(rotated(factors, (0, 1), degrees), factors) > 0.999

    @pytest.mark.parametrize("factors", [2, 3, 4, 6])
    def test_noise_scores_one_in_k(self, factors):
        rng = np.random.default_rng(0)
        truth = rng.integers(4, size=(6000, factors))
        scores = [
            metrics.factor_vae_score(rng.normal(size=(6000, 6)), truth, rng=s) for s in range(4)
        ]
        assert np.mean(scores) == pytest.approx(1 / factors, abs=0.03)
