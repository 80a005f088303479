"""Every likelihood is the law that it says: masses, densities, moments, samples and gradients."""

import itertools
import math
from functools import partial

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.distributions import Independent

import disvae
from disvae import decoders, encoders, likelihoods, priors
from disvae import distributions as dist
from disvae.distributions.bounded import ContinuousBernoulli, SqueezedBeta
from disvae.distributions.counts import NegativeBinomial, Poisson
from disvae.distributions.discrete import Categorical, DiscretizedLogistic
from disvae.distributions.saddle_point import deviance, stirling_remainder

f64 = partial(torch.tensor, dtype=torch.float64)

SQUEEZE = 1e-3
MARGIN = SQUEEZE / (1 - 2 * SQUEEZE)


def positive(raw):
    return 1e-4 + np.logaddexp(0, raw + np.log(np.expm1(1 - 1e-4)))


def continuous_bernoulli(x, logit):
    """By mpmath: the closed form of double precision has no digits at small logits."""
    logit = mpmath.mpf(float(logit))
    normaliser = logit / mpmath.expm1(logit) if logit else mpmath.mpf(1)
    return float(logit * float(x) + mpmath.log(normaliser))


def discretised_logistic(x, loc, scale, levels=256):
    k, steps = round(float(x) * (levels - 1)), levels - 1
    loc, scale = mpmath.mpf(float(loc)), mpmath.mpf(float(scale))
    with mpmath.workdps(60):
        level = mpmath.mpf(k) / steps
        side = 1 if level < loc else -1  # differences of the smaller tail have digits
        tail = lambda edge: 1 / (1 + mpmath.exp(-side * (edge - loc) / scale))  # noqa: E731
        ends = (0, 1) if side == 1 else (1, 0)
        lower = tail((k - mpmath.mpf(0.5)) / steps) if k > 0 else ends[0]
        upper = tail((k + mpmath.mpf(0.5)) / steps) if k < steps else ends[1]
        return float(mpmath.log(side * (upper - lower)))


def squeezed_beta(x, mean, kappa):
    m = SQUEEZE + (1 - 2 * SQUEEZE) * mean
    return scipy.stats.beta(m * kappa, (1 - m) * kappa, loc=-MARGIN, scale=1 + 2 * MARGIN).logpdf(x)


def negative_binomial(x, mean, dispersion):
    return scipy.stats.nbinom.logpmf(x, 1 / dispersion, 1 / (1 + dispersion * mean))


def log_softmax_at(x, *logits):
    logs = scipy.special.log_softmax(np.stack(logits), axis=0)
    return np.take_along_axis(logs, x.astype(int)[None], axis=0)[0]


REAL = st.floats(-20, 20)
UNIT = st.floats(0, 1)
COUNT = st.integers(0, 3000).map(float)
LEVEL = st.integers(0, 255).map(lambda k: k / 255)
CLASS = st.integers(0, 2).map(float)

# head: (made from the shape, parameters a value, log p(x | parameters) in numpy, data)
HEADS = {
    "Normal": (
        partial(likelihoods.Normal, scale=None),
        2,
        lambda x, loc, raw: scipy.stats.norm.logpdf(x, loc, positive(raw)),
        REAL,
    ),
    "Laplace": (
        partial(likelihoods.Laplace, scale=None),
        2,
        # scipy's logpdf is the logarithm of an underflow here
        lambda x, loc, raw: -np.abs(x - loc) / positive(raw) - np.log(2 * positive(raw)),
        REAL,
    ),
    "StudentT": (
        partial(likelihoods.StudentT, scale=None, df=3.5),
        2,
        lambda x, loc, raw: scipy.stats.t.logpdf(x, 3.5, loc, positive(raw)),
        REAL,
    ),
    "ContinuousBernoulli": (
        likelihoods.ContinuousBernoulli,
        1,
        np.vectorize(continuous_bernoulli),
        UNIT,
    ),
    "Beta": (
        likelihoods.Beta,
        2,
        lambda x, a, b: squeezed_beta(x, scipy.special.expit(a), 2 * positive(b)),
        UNIT,
    ),
    "DiscretizedLogistic": (
        likelihoods.DiscretizedLogistic,
        2,
        lambda x, a, b: np.vectorize(discretised_logistic)(x, a, positive(b)),
        LEVEL,
    ),
    "Categorical": (partial(likelihoods.Categorical, classes=3), 3, log_softmax_at, CLASS),
    "Poisson": (
        likelihoods.Poisson,
        1,
        lambda x, raw: scipy.stats.poisson.logpmf(x, positive(raw)),
        COUNT,
    ),
    "NegativeBinomial": (
        likelihoods.NegativeBinomial,
        2,
        lambda x, a, b: negative_binomial(x, positive(a), positive(b)),
        COUNT,
    ),
}
every_head = pytest.mark.parametrize("name", HEADS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def some_data(name, shape):
    """Data in the support of a head."""
    if name in ("Normal", "Laplace", "StudentT"):
        return torch.randn(shape)
    if name in ("ContinuousBernoulli", "Beta"):
        return torch.rand(shape)
    if name == "DiscretizedLogistic":
        return torch.randint(256, shape) / 255
    return torch.randint(3, shape).float()


@every_dtype
@every_head
@given(data=st.data())
def test_log_prob_is_that_of_the_reference(name, dtype, data):
    make, count, reference, values = HEADS[name]
    shape, real = (2, 1, 2), np.float64 if dtype == torch.float64 else np.float32
    raw = data.draw(hnp.arrays(np.float64, (count, *shape), elements=st.floats(-8, 8)))
    x = data.draw(hnp.arrays(np.float64, shape, elements=values))
    raw, x = raw.astype(real), x.astype(real)
    p = make(shape).to(dtype)(torch.tensor(raw.reshape(1, count * 2, 1, 2)))
    assert (p.batch_shape, p.event_shape) == ((1,), shape)
    found = p.base_dist.log_prob(torch.tensor(x))[0]
    expected = reference(x.astype(float), *raw.astype(float))
    tolerance = 1e-9 if dtype == torch.float64 else 5e-5
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(p.log_prob(torch.tensor(x))[0], found.sum())


@every_head
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_outputs_of_a_decoder_stay_finite_with_their_gradients(name, dtype):
    make, count, _, _ = HEADS[name]
    extremes = (-1e6, -1e3, -1.0, 0.0, 1.0, 1e3, 1e6)
    raw = torch.tensor(list(itertools.product(extremes, repeat=count)))
    raw = raw.T.reshape(1, -1).to(dtype).requires_grad_()
    n = raw.numel() // count
    p = make(n)(raw)
    for value in {
        "Categorical": (0.0, 2.0),
        "Poisson": (0.0, 1.0, 1e6),
        "NegativeBinomial": (0.0, 1.0, 1e6),
        "Normal": (-1e3, 0.0, 1e3),
        "Laplace": (-1e3, 0.0, 1e3),
        "StudentT": (-1e3, 0.0, 1e3),
    }.get(name, (0.0, 128 / 255, 1.0)):
        log_prob = p.base_dist.log_prob(torch.full((n,), value))
        assert log_prob.dtype == torch.float32
        assert torch.isfinite(log_prob).all()
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw, retain_graph=True)
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(dist.point(p)).all()
    samples = p.sample((50,))
    assert torch.isfinite(p.log_prob(samples)).all()
    assert p.base_dist.support.check(samples).all()


@every_head
def test_a_compiled_or_stacked_head_gives_the_same_values(name):
    make, count, _, _ = HEADS[name]
    head = make((2, 3))
    raw, x = torch.randn(4, 5, 2 * count, 3), some_data(name, (5, 2, 3))

    def log_prob(raw):
        return head(raw).log_prob(x)

    expected = torch.stack([log_prob(r) for r in raw])
    stacked = torch.vmap(log_prob, randomness="different")(raw)
    torch.testing.assert_close(stacked, expected, rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()  # the code of the closure is the same for every head
    compiled = torch.compile(log_prob, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(raw[0]), expected[0], rtol=1e-5, atol=1e-5)
    draws = torch.vmap(lambda r: head(r).sample((300,)), randomness="different")(raw)
    assert draws.shape == (4, 300, 5, 2, 3)
    assert not torch.equal(draws[0], draws[1])


@every_head
def test_every_draw_takes_the_replaced_noise(name):
    make, count, _, _ = HEADS[name]
    p = make(3)(torch.randn(2, 3 * count))

    def source(sampler, shape, *, dtype, device):
        asked.append(shape)
        return torch.full(shape, 0.75, dtype=dtype)

    asked, state = [], torch.get_rng_state()
    with dist.replace_noise(source):
        sample = p.sample((4,))
    assert asked
    assert torch.equal(state, torch.get_rng_state())
    assert (sample == sample[0]).all()


@every_head
def test_every_channel_carries_a_gradient(name):
    make, count, _, _ = HEADS[name]
    raw = torch.randn(6, 2 * count, 3, requires_grad=True)
    make((2, 3))(raw).log_prob(some_data(name, (6, 2, 3))).sum().backward()
    assert (raw.grad != 0).all()


@every_head
def test_an_expanded_likelihood_gives_the_same_values(name):
    make, count, _, _ = HEADS[name]
    p, x = make((2, 3))(torch.randn(5, 2 * count, 3)), some_data(name, (5, 2, 3))
    torch.testing.assert_close(p.expand((4, 5)).log_prob(x), p.log_prob(x).expand(4, 5))
    assert p.expand((4, 5)).sample().shape == (4, 5, 2, 3)
    torch.testing.assert_close(dist.point(p.expand((4, 5)))[3], dist.point(p))


@every_head
@pytest.mark.parametrize("family", ["MLP", "Conv"])
def test_decoders_give_the_channels_that_a_head_wants(name, family):
    shape = (3, 9, 8)
    decoder = getattr(decoders, family)(2, shape, likelihood=HEADS[name][0])
    p = decoder(torch.randn(6, 4, 2))
    assert p.log_prob(some_data(name, (4, *shape))).shape == (6, 4)
    point = dist.point(p)
    assert (point.shape, point.dtype) == ((6, 4, *shape), torch.float32)


@every_head
def test_a_half_precision_head_keeps_its_density_in_float32(name):
    make, count, _, _ = HEADS[name]
    raw, x = torch.randn(5, 3 * count).bfloat16(), some_data(name, (5, 3))
    found = make(3).bfloat16()(raw).log_prob(x)
    torch.testing.assert_close(found, make(3)(raw.float()).log_prob(x))


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("ContinuousBernoulli", (0.0, 1.0), (-0.01, 1.01)),
        ("Beta", (0.0, 1.0), (-0.01, 1.01)),
        ("DiscretizedLogistic", (0.0, 1.0), (-0.01, 1.01)),
        ("Categorical", (0.0, 2.0), (-1.0, 3.0)),
        ("Poisson", (0.0, 1e6), (-1.0,)),
        ("NegativeBinomial", (0.0, 1e6), (-1.0,)),
    ],
)
def test_the_model_refuses_data_outside_the_support(name, inside, outside):
    decoder = decoders.MLP(2, 3, likelihood=HEADS[name][0])
    model = disvae.VAE(encoders.MLP(3, 2), decoder, prior=priors.Normal(2))
    for value in inside:
        out = model(torch.full((2, 3), value))
        assert torch.isfinite(out.likelihood.log_prob(out.x)).all()
    for value in outside:
        with pytest.raises(ValueError, match=r"Expected x inside \["):
            model(torch.full((2, 3), value))


# ------------------------------------------------------------------------- moments and samples

LAWS = {
    "continuous Bernoulli": ContinuousBernoulli(torch.tensor([-40.0, -0.5, 0.0, 1e-3, 2.0, 40.0])),
    "Beta": SqueezedBeta(
        # the last has a Gamma variate that underflows in float32
        torch.tensor([1e-4, 0.1, 0.5, 0.9, 0.3]),
        torch.tensor([3.0, 0.5, 2.0, 80.0, 0.01]),
    ),
    "discretised logistic": DiscretizedLogistic(
        torch.tensor([-0.5, 0.3, 0.5019, 0.9, 3.0]), torch.tensor([0.2, 1e-4, 1e-3, 0.5, 0.4])
    ),
    "Poisson": Poisson(torch.tensor([1e-3, 0.5, 30.0, 5000.0])),
    "negative binomial": NegativeBinomial(
        torch.tensor([0.5, 3.0, 50.0, 50.0]), torch.tensor([2.0, 0.5, 1e-4, 0.1])
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_mean_and_variance_are_those_of_samples(name):
    d, n = LAWS[name], 200_000
    x = d.sample((n,)).double()
    mean, variance = d.mean.double(), d.variance.double()
    assert (x.mean(0) - mean).abs().le(5 * (variance / n).sqrt() + 1e-6).all()
    squares = (x - mean).square()
    assert (squares.mean(0) - variance).abs().le(6 * (squares.std(0) / n**0.5) + 1e-10).all()


@given(REAL, st.sampled_from([1e-5, 1e-3, 0.02, 1.0, 2.0]))
def test_moments_of_the_continuous_bernoulli(logit, size):
    logit = logit * size
    d = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))
    density = lambda x: math.exp(continuous_bernoulli(x, logit))  # noqa: E731
    moment = lambda k: scipy.integrate.quad(lambda x: x**k * density(x), 0, 1, epsabs=1e-13)[0]  # noqa: E731
    assert moment(0) == pytest.approx(1, rel=1e-9)
    assert d.mean.item() == pytest.approx(moment(1), rel=1e-9)
    assert d.variance.item() == pytest.approx(moment(2) - moment(1) ** 2, rel=1e-7)


def test_moments_of_the_continuous_bernoulli_far_out():
    d = ContinuousBernoulli(torch.tensor([-1e6, 1e6]))
    torch.testing.assert_close(d.mean, torch.tensor([1e-6, 1 - 1e-6]), rtol=1e-6, atol=0)
    torch.testing.assert_close(d.variance, torch.full((2,), 1e-12), rtol=1e-5, atol=0)


@given(st.floats(0, 1), st.floats(0.01, 100))
def test_moments_of_the_squeezed_beta(mean, kappa):
    m = SQUEEZE + (1 - 2 * SQUEEZE) * mean
    law = scipy.stats.beta(m * kappa, (1 - m) * kappa, loc=-MARGIN, scale=1 + 2 * MARGIN)
    d = SqueezedBeta(f64(mean), f64(kappa))
    assert d.mean.item() == pytest.approx(law.mean(), rel=1e-9, abs=1e-12)
    assert d.variance.item() == pytest.approx(law.var(), rel=1e-9)


@given(st.floats(-1, 2), st.floats(-5, 1), st.sampled_from([2, 5, 33, 256]))
def test_moments_of_the_discretised_logistic_are_sums_over_its_masses(loc, log_scale, levels):
    d = DiscretizedLogistic(*f64([loc, 10**log_scale]), levels=levels)
    grid = torch.arange(levels).double() / (levels - 1)
    mass = d.log_prob(grid).exp()
    mean = (mass * grid).sum()
    torch.testing.assert_close(d.mean, mean, rtol=1e-9, atol=1e-12)
    variance = (mass * (grid - mean).square()).sum()
    torch.testing.assert_close(d.variance, variance, rtol=1e-9, atol=1e-12)


@given(st.floats(1e-3, 200), st.floats(1e-4, 5))
def test_moments_of_counts(mean, dispersion):
    law = scipy.stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean))
    d = NegativeBinomial(*f64([mean, dispersion]))
    assert d.mean.item() == pytest.approx(law.mean(), rel=1e-9)
    assert d.variance.item() == pytest.approx(law.var(), rel=1e-9)


def test_samples_follow_the_law():
    """The whole law, of which mean and variance say little."""
    n = 20_000
    for logit in (-6.0, -0.01, 0.0, 0.02, 1.5):
        x = ContinuousBernoulli(torch.tensor(logit)).sample((n,)).numpy()
        cdf = lambda x, a=logit: np.expm1(a * x) / np.expm1(a) if a else x  # noqa: E731
        assert scipy.stats.kstest(x, cdf).pvalue > 1e-3
    for a, b in ((0.4, 0.7), (2.0, 5.0)):
        m = (a / (a + b) - SQUEEZE) / (1 - 2 * SQUEEZE)
        x = SqueezedBeta(f64(m), f64(a + b)).sample((n,))
        law = scipy.stats.beta(a, b, loc=-MARGIN, scale=1 + 2 * MARGIN)
        assert scipy.stats.kstest(x.numpy(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "d",
    [
        Poisson(torch.tensor(2.5)),
        NegativeBinomial(torch.tensor(2.5), torch.tensor(0.7)),
        Categorical(probs=torch.tensor([0.2, 0.0, 0.5, 0.3, 0.0])),
        DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.2), levels=5),
    ],
    ids=["Poisson", "NegativeBinomial", "Categorical", "DiscretizedLogistic"],
)
def test_samples_have_the_frequencies_of_the_masses(d):
    n, values = 50_000, torch.arange(5.0)
    if isinstance(d, DiscretizedLogistic):
        values = values / 4
    mass = d.log_prob(values).exp()
    frequency = (d.sample((n,))[:, None] == values).float().mean(0)
    assert (frequency - mass).abs().le(5 * (mass / n).sqrt()).all()


# ---------------------------------------------------------------- the continuous Bernoulli's core

NEAR = [1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.23, 0.24, 0.3, 0.4, 0.49]


@every_dtype
@pytest.mark.parametrize("distance", [sign * d for d in NEAR for sign in (-1, 1)])
def test_continuous_bernoulli_around_one_half(distance, dtype):
    """Value, gradient and second derivative in the logit, at λ = 1/2 + distance."""
    eta = mpmath.log((mpmath.mpf(0.5) + distance) / (mpmath.mpf(0.5) - distance))
    logit = torch.tensor(float(eta), dtype=dtype, requires_grad=True)
    eta = mpmath.mpf(logit.item())
    x = torch.tensor([0.0, 0.3, 1.0], dtype=dtype)
    with mpmath.workdps(60):
        log_normaliser = lambda a: mpmath.log(mpmath.expm1(a) / a)  # noqa: E731
        value, first, second = (float(mpmath.diff(log_normaliser, eta, k)) for k in range(3))
        expected = [float(eta * mpmath.mpf(v) - log_normaliser(eta)) for v in x.tolist()]
    tolerance = 1e-10 if dtype == torch.float64 else 2e-6
    found = ContinuousBernoulli(logit).log_prob(x)
    np.testing.assert_allclose(found.detach(), expected, rtol=tolerance, atol=1e-2 * tolerance)
    (gradient,) = torch.autograd.grad(found[1], logit, create_graph=True)
    assert gradient.item() == pytest.approx(x[1].item() - first, rel=tolerance, abs=tolerance)
    (curvature,) = torch.autograd.grad(gradient, logit)
    assert curvature.item() == pytest.approx(-second, rel=10 * tolerance)
    assert value == pytest.approx(-found[0].item(), rel=tolerance, abs=1e-2 * tolerance)


@pytest.mark.parametrize("logit", [-1e6, -300.0, -20.0, 20.0, 300.0, 1e6])
def test_continuous_bernoulli_far_out_has_all_the_digits_of_float32(logit):
    x = torch.tensor([0.0, 0.25, 1.0])
    expected = [continuous_bernoulli(v, logit) for v in x.tolist()]
    found = ContinuousBernoulli(torch.tensor(logit)).log_prob(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@every_dtype
@pytest.mark.parametrize("logit", [0.0, 1e-9, -1e-3, 0.029, -0.031, 0.5, -3.0, 15.0, -60.0, 200.0])
def test_samples_of_the_continuous_bernoulli_carry_their_gradient(logit, dtype):
    u = torch.tensor([0.01, 0.3, 0.5, 0.99], dtype=dtype)
    eta = torch.tensor(logit, dtype=dtype).expand(4).clone().requires_grad_()
    x = ContinuousBernoulli(eta).icdf(u)
    x.sum().backward()
    with mpmath.workdps(60):
        # the series replaces 0, where the closed form has none
        at = mpmath.mpf(eta[0].item()) or mpmath.mpf("1e-15")
        inverse = [
            lambda a, v=v: mpmath.log1p(mpmath.mpf(v) * mpmath.expm1(a)) / a for v in u.tolist()
        ]
        value = [float(f(at)) for f in inverse]
        gradient = [float(mpmath.diff(f, at, h=mpmath.mpf("1e-25"))) for f in inverse]
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    np.testing.assert_allclose(x.detach(), value, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(eta.grad, gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "d",
    [
        ContinuousBernoulli(torch.tensor([-50.0, -1e-3, 1e-3, 50.0])),
        SqueezedBeta(torch.tensor([0.1, 0.9]), torch.tensor([0.1, 3.0])),
        DiscretizedLogistic(torch.tensor([0.5, 40.0]), torch.tensor([1e-4, 2.0])),
    ],
    ids=lambda d: type(d).__name__,
)
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_samples_are_likely_even_at_the_end_of_the_uniform(d, end):
    """torch.rand gives 0 once in 2^24 times, where an inverse cdf has its infinite tail."""

    def source(sampler, shape, *, dtype, device):
        return torch.full(shape, end) if sampler is torch.rand else sampler(shape, **like)

    like = {"dtype": torch.float32, "device": torch.device("cpu")}
    with dist.replace_noise(source):
        x = d.sample()
    assert d.support.check(x).all()
    assert (d.log_prob(x) > -30).all()


def test_samples_of_the_beta_carry_their_gradient():
    """The variance of x is m(1 - m) / (κ + 1) / (1 - 2ε)²."""
    mean = f64([0.2, 0.02]).requires_grad_()
    kappa = f64([3.0, 1.0]).requires_grad_()
    x = SqueezedBeta(mean, kappa).rsample((200_000,))
    found = torch.autograd.grad(x.square().mean(0).sum(), (mean, kappa))
    d = SqueezedBeta(mean, kappa)
    expected = torch.autograd.grad((d.variance + d.mean.square()).sum(), (mean, kappa))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.03, atol=0)


# --------------------------------------------------------------------------------- normalisation


@given(st.floats(-3, 4), st.floats(-12, 3), st.sampled_from([2, 3, 256]))
def test_masses_of_the_discretised_logistic_sum_to_one(loc, log_scale, levels):
    d = DiscretizedLogistic(*f64([loc, 10**log_scale]), levels=levels)
    log_mass = d.log_prob(torch.arange(levels).double() / (levels - 1))
    assert torch.isfinite(log_mass).all()
    assert log_mass.logsumexp(0).exp().item() == pytest.approx(1, abs=1e-9)


def test_a_learnt_scale_of_the_discretised_logistic_has_the_floor_that_is_documented():
    """At the floor a location one level off costs 39 times half a level, and not infinity."""
    head = likelihoods.DiscretizedLogistic(1)
    p = head(torch.tensor([[0.5, -1e6]]))
    torch.testing.assert_close(p.base_dist.scale.item(), 1e-4)
    value = p.log_prob(torch.zeros(1)).item()
    assert value == pytest.approx(-(0.5 - 0.5 / 255) / 1e-4, rel=1e-5)


def test_values_between_two_levels_are_taken_to_the_nearer_one():
    d = DiscretizedLogistic(torch.tensor(0.4), torch.tensor(0.1))
    assert d.log_prob(torch.tensor(100.4 / 255)) == d.log_prob(torch.tensor(100 / 255))
    assert d.support.check(torch.tensor([0.0, 100 / 255, 1.0])).all()
    assert not d.support.check(torch.tensor([100.4 / 255, -1 / 255, 256 / 255, math.nan])).any()
    exact = d.log_prob(torch.arange(256) / 255)
    assert torch.equal(exact, d.log_prob((torch.arange(256) / 255).bfloat16()))


@given(st.floats(1e-3, 50), st.floats(1e-4, 2))
def test_masses_of_counts_sum_to_one(mean, dispersion):
    # beyond 20,000 lies less than exp(-190)
    counts = torch.arange(20_000).double()
    mean, dispersion = f64([mean, dispersion])
    for d in (Poisson(mean), NegativeBinomial(mean, dispersion)):
        assert d.log_prob(counts).logsumexp(0).exp().item() == pytest.approx(1, abs=1e-9)


@given(st.floats(0.01, 0.99), st.floats(2, 100))
@settings(max_examples=10)
def test_density_of_the_squeezed_beta_integrates_to_one(mean, kappa):
    d = SqueezedBeta(f64(mean), f64(kappa))
    density = lambda x: d.log_prob(f64(x)).exp().item()  # noqa: E731
    # most of it by quadrature, the singular ends by the law itself
    total, _ = scipy.integrate.quad(density, 0, 1, epsabs=1e-10, points=[mean], limit=200)
    m = SQUEEZE + (1 - 2 * SQUEEZE) * mean
    law = scipy.stats.beta(m * kappa, (1 - m) * kappa)
    assert total + law.cdf(SQUEEZE) + law.sf(1 - SQUEEZE) == pytest.approx(1, abs=1e-7)


# ------------------------------------------------------------------- float32, and the Poisson limit


@pytest.mark.parametrize("x", [0.0, 1e-3, 0.5, 1.0, 5.0, 9.99, 10.0, 10.01, 50.0, 1e4, 1e8])
def test_stirling_remainder(x):
    with mpmath.workdps(40):
        expected = mpmath.loggamma(mpmath.mpf(x) + 1) - (x * mpmath.log(x) if x else 0) + x
    found = stirling_remainder(f64(x)).item()
    assert found == pytest.approx(float(expected), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("x", [0.0, 0.3, 3.0, 1e6])
@pytest.mark.parametrize("ratio", [1e-6, 0.3, 0.501, 0.999, 1.0, 1.001, 1.99, 2.01, 1e6])
def test_deviance_in_float32(x, ratio):
    m = torch.tensor((x or 1.0) * ratio, requires_grad=True)
    value = deviance(torch.tensor(x), m, torch.tensor(x) - m)
    mean = mpmath.mpf(m.item())
    x = mpmath.mpf(torch.tensor(x).item())
    exact = (x * mpmath.log(x / mean) if x else 0) + mean - x
    assert value.item() == pytest.approx(float(exact), rel=1e-6, abs=3e-7 * float(abs(x - mean)))
    value.backward()
    assert m.grad.item() == pytest.approx(float(1 - x / mean), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("count", [1e3, 1e5, 1e6])
def test_large_counts_and_concentrations_keep_their_digits_in_float32(count):
    """Differences of log gammas are wrong by up to a nat here."""
    rate, x = torch.tensor(count), torch.tensor(count + round(2 * math.sqrt(count)))
    dispersion = 1 / rate
    near = pytest.approx(scipy.stats.poisson.logpmf(x.item(), count), abs=5e-4)
    assert Poisson(rate).log_prob(x).item() == near
    near = pytest.approx(negative_binomial(x.item(), count, dispersion.item()), abs=5e-4)
    assert NegativeBinomial(rate, dispersion).log_prob(x).item() == near
    near = pytest.approx(squeezed_beta(0.25, 0.25, count), abs=5e-4)
    beta = SqueezedBeta(torch.tensor(0.25), rate, squeeze=SQUEEZE)
    assert beta.log_prob(torch.tensor(0.25)).item() == near


@every_dtype
@given(st.floats(1e-3, 1e3), st.integers(0, 2000))
def test_negative_binomial_becomes_poisson(dtype, mean, count):
    mean, x = torch.tensor(mean, dtype=dtype), torch.tensor(count, dtype=dtype)
    limit, away = Poisson(mean).log_prob(x), (x - mean).abs()
    for dispersion in (1e-7, 1e-9, 1e-12, 1e-25):
        found = NegativeBinomial(mean, torch.tensor(dispersion, dtype=dtype)).log_prob(x)
        first = dispersion * (away.square() - x) / 2
        second = dispersion**2 * (x + mean) ** 3
        rounding = 20 * torch.finfo(dtype).eps * (1 + limit.abs() + away)
        assert (found - limit - first).abs() <= second + rounding


def test_the_poisson_limit_of_the_head():
    raw, x = torch.randn(5, 3), torch.tensor([0.0, 1.0, 7.0])
    near = likelihoods.NegativeBinomial(3, dispersion=1e-8)(raw).log_prob(x)
    torch.testing.assert_close(near, likelihoods.Poisson(3)(raw).log_prob(x))


# --------------------------------------------------------------------------------- learnt scales


def fitted(head, raw, x):
    """The head at the maximum of its likelihood."""
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -head(raw).log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert all(p.grad is not None for p in head.parameters())
    return head


class TestScales:
    FAMILIES = (likelihoods.Normal, likelihoods.Laplace, likelihoods.StudentT)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_four_ways_to_a_scale(self, family):
        loc, x = torch.randn(4, 3), torch.randn(4, 3)
        each = torch.tensor([0.5, 1.0, 2.0])
        fixed = family(3, scale=each)
        shared = family(3, scale=0.5, learn_scale=True)
        per_value = family(3, scale=each, learn_scale=True)
        predicted = family(3, scale=None)
        assert [h.channels for h in (fixed, shared, per_value, predicted)] == [3, 3, 3, 6]
        assert not list(fixed.parameters())
        assert [p.shape for p in shared.parameters()] == [()]
        assert [p.shape for p in per_value.parameters()] == [(3,)]
        expected = fixed(loc).log_prob(x)
        torch.testing.assert_close(per_value(loc).log_prob(x), expected)
        raw = per_value.scale.raw.detach().expand(4, 3)
        torch.testing.assert_close(predicted(torch.cat((loc, raw), -1)).log_prob(x), expected)
        alone = family(3, scale=0.5)(loc).log_prob(x)
        torch.testing.assert_close(shared(loc).log_prob(x), alone)
        assert not torch.allclose(alone, expected)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_scales_keep_to_the_dtype_of_the_parameters(self, family):
        p = family(3, scale=0.1, learn_scale=True).bfloat16()(torch.zeros(1, 3).bfloat16())
        assert p.log_prob(torch.zeros(3)).dtype == p.base_dist.scale.dtype == torch.float32
        p = family(3, scale=None)(torch.zeros(1, 6).double())
        assert p.log_prob(torch.zeros(3).double()).dtype == torch.float64

    def test_a_scale_of_double_precision_does_not_spread(self):
        p = likelihoods.Normal(3, scale=f64([1.0, 2.0, 3.0]))(torch.zeros(1, 3))
        assert p.log_prob(torch.zeros(3)).dtype == torch.float32

    def test_normal(self):
        """The best shared scale is the root mean squared error."""
        x = torch.randn(500, 3) * 0.3
        head = likelihoods.Normal(3, learn_scale=True)
        fitted(head, torch.zeros(500, 3), x)
        torch.testing.assert_close(head.scale()[0], x.square().mean().sqrt(), rtol=1e-3, atol=0)

    def test_laplace_per_value(self):
        """The best scale of each value is its mean absolute error."""
        x = torch.randn(500, 3) * torch.tensor([0.1, 1.0, 5.0])
        head = likelihoods.Laplace(3, scale=torch.ones(3), learn_scale=True)
        fitted(head, torch.zeros(500, 3), x)
        torch.testing.assert_close(head.scale(), x.abs().mean(0), rtol=1e-3, atol=0)

    def test_student_t_with_its_degrees_of_freedom(self):
        x = torch.distributions.StudentT(3.0).sample((2000, 1)).double() * 0.5
        head = likelihoods.StudentT(1, df=10.0, learn_scale=True, learn_df=True).double()
        fitted(head, torch.zeros(2000, 1).double(), x)
        df, _, scale = scipy.stats.t.fit(x.numpy(), floc=0)
        assert head.df.item() == pytest.approx(df, rel=1e-2)
        assert head.scale().item() == pytest.approx(scale, rel=1e-2)

    def test_learnt_degrees_of_freedom_keep_a_mean(self):
        head = likelihoods.StudentT(2, df=1.5, learn_df=True)
        torch.testing.assert_close(head.df, torch.full((2,), 1.5))
        with torch.no_grad():
            head.df_above_least.raw.fill_(-1e6)
        raw = torch.randn(4, 2)
        assert torch.equal(dist.point(head(raw)), raw)

    def test_discretised_logistic(self):
        x = DiscretizedLogistic(torch.full((500, 1), 0.4), torch.tensor(0.05)).sample().double()
        head = likelihoods.DiscretizedLogistic(1, scale=0.3, learn_scale=True).double()
        fitted(head, torch.full((500, 1), 0.4).double(), x)

        def cost(s):
            edges = (np.round(x.numpy() * 255) + np.array([[-0.5, 0.5]])) / 255
            low, high = scipy.stats.logistic.cdf(edges, 0.4, s).T
            return -np.log(high - low).sum()

        best = scipy.optimize.minimize_scalar(cost, bounds=(0.02, 0.2), method="bounded").x
        assert head.scale().item() == pytest.approx(best, rel=1e-3)

    def test_negative_binomial(self):
        x = NegativeBinomial(torch.full((3000, 1), 4.0), torch.tensor(0.5)).sample().double()
        head = likelihoods.NegativeBinomial(1, dispersion=2.0, learn_dispersion=True).double()
        raw = torch.full((3000, 1), math.log(math.expm1(4 - 1e-4) / math.expm1(1 - 1e-4))).double()
        fitted(head, raw, x)
        cost = lambda a: -negative_binomial(x.numpy(), 4.0, a).sum()  # noqa: E731
        best = scipy.optimize.minimize_scalar(cost, bounds=(0.1, 2), method="bounded").x
        assert head.dispersion().item() == pytest.approx(best, rel=1e-3)


# ------------------------------------------------------------------------------- smaller matters


def test_bernoulli_is_a_mass_on_binary_data_and_none_on_grey():
    p = likelihoods.Bernoulli(1)(torch.tensor([[0.7]]))
    binary = p.log_prob(torch.tensor([[0.0], [1.0]])).exp().sum().item()
    assert binary == pytest.approx(1)
    grey = p.log_prob(torch.linspace(0, 1, 1001)[:, None]).exp().mean().item()
    assert grey < 0.6


def test_bfloat16_logits_give_a_float32_log_mass():
    p = likelihoods.Bernoulli(784)(torch.randn(2, 784).bfloat16())
    assert p.log_prob(torch.rand(2, 784)).dtype == torch.float32


def test_the_point_estimate_of_classes_is_the_likeliest_one():
    """Channels hold one class after the other, each with all channels of the data."""
    logits = torch.zeros(1, 3, 2, 4)
    logits[0, 2, 0], logits[0, 1, 1] = 5.0, 5.0
    p = likelihoods.Categorical((2, 4), classes=3)(logits.flatten(1, 2))
    expected = torch.tensor([2.0, 1.0])[:, None].expand(1, 2, 4)
    assert torch.equal(dist.point(p), expected)
    assert p.sample().dtype == torch.float32


def test_beta_is_uniform_at_zero_and_its_mean_is_the_sigmoid():
    p = likelihoods.Beta(3, squeeze=0.01)(torch.tensor([[0.0, 1.0, -30.0, 0.0, 2.0, 3.0]]))
    uniform = p.base_dist.log_prob(torch.linspace(0, 1, 5)[:, None])[:, 0]
    torch.testing.assert_close(uniform, torch.full((5,), math.log(0.98)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(p.mean, torch.sigmoid(torch.tensor([[0.0, 1.0, -30.0]])))


class TestBitsPerDim:
    def test_uniform_8_bit_data_take_8_bits(self):
        n = 3 * 32 * 32
        mass = torch.tensor([-n * math.log(256)])
        assert likelihoods.bits_per_dim(mass, n).item() == pytest.approx(8, rel=1e-6)
        density = torch.zeros(1)  # the uniform density on [0, 1]
        assert likelihoods.bits_per_dim(density, n, levels=256).item() == 8
        assert likelihoods.bits_per_dim(-math.log(2) * 5, 5) == pytest.approx(1)

    def test_a_density_and_its_mass_agree(self):
        """256 times the mass of a level is its density after noise that fills the level."""
        d = DiscretizedLogistic(f64(0.3), f64(0.02))
        mass = d.log_prob(torch.arange(256).double() / 255)
        as_mass = likelihoods.bits_per_dim(mass, 1)
        as_density = likelihoods.bits_per_dim(mass + math.log(256), 1, levels=256)
        torch.testing.assert_close(as_mass, as_density)


def test_a_head_of_ones_own_needs_no_channels():
    class Rate(nn.Module):
        def __init__(self, data_shape):
            super().__init__()

        def forward(self, parameters):
            return Independent(torch.distributions.Poisson(parameters.exp()), 1)

    p = decoders.MLP(2, 5, likelihood=Rate)(torch.randn(4, 2))
    assert p.event_shape == (5,)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: likelihoods.Laplace(2, scale=None, learn_scale=True), ValueError, "one way"),
        (lambda: likelihoods.Laplace(2, scale=0.0), ValueError, "scale"),
        (lambda: likelihoods.Normal(2, scale=1e-4, learn_scale=True), ValueError, "0.0001"),
        (lambda: likelihoods.Normal(2, scale="learnt"), TypeError, "scale"),
        (lambda: likelihoods.Normal(2, scale=torch.ones(3)), ValueError, r"shape \(2,\)"),
        (lambda: likelihoods.StudentT(2, df=-1.0), ValueError, "df"),
        (lambda: likelihoods.StudentT(2, df=1.0, learn_df=True), ValueError, "above 1.0001"),
        (lambda: likelihoods.StudentT(2, df="5"), TypeError, "df"),
        (
            lambda: likelihoods.NegativeBinomial(2, learn_dispersion=True),
            ValueError,
            "learn_dispersion=True",
        ),
        (
            lambda: likelihoods.NegativeBinomial(2, dispersion=math.nan),
            ValueError,
            "dispersion",
        ),
        (lambda: likelihoods.Categorical(2, classes=1), ValueError, "classes"),
        (lambda: likelihoods.Categorical(2, classes=2.0), TypeError, "classes"),
        (lambda: likelihoods.DiscretizedLogistic(2, levels=1), ValueError, "levels"),
        (lambda: likelihoods.Beta(2, squeeze=0.0), ValueError, "squeeze"),
        (lambda: likelihoods.Beta(2, squeeze="a"), TypeError, "squeeze"),
        (lambda: likelihoods.Poisson(()), ValueError, "data_shape"),
        (lambda: likelihoods.Poisson(3)(torch.zeros(4, 2)), ValueError, "channels"),
        (
            lambda: likelihoods.Beta((1, 8, 8))(torch.zeros(4, 1, 8, 8)),
            ValueError,
            r"\(..., B, 2, 8, 8\)",
        ),
        (lambda: likelihoods.Poisson(3)(torch.zeros(4, 3, dtype=torch.long)), TypeError, "float"),
        (lambda: likelihoods.bits_per_dim(torch.zeros(2), 0), ValueError, "dims"),
        (lambda: likelihoods.bits_per_dim(torch.zeros(2), 4, levels=1), ValueError, "levels"),
    ],
)
def test_wrong_arguments_are_answered_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert ", but got " in message
    assert "; " in message
    assert 25 <= len(message) <= 400
    assert "\n" not in message
