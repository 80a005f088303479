"""Contracts pass good parts and name the trouble of bad ones: each class here breaks one clause."""

import functools

import pytest
import torch
import zuko
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
)

from disvae import decoders, encoders, likelihoods, posteriors, priors
from disvae import distributions as dist
from disvae.testing import ContractError, check_decoder, check_encoder, check_prior

D, B = 2, 4
X = torch.rand(B, 6, generator=torch.Generator().manual_seed(0))
Z = torch.randn(B, D, generator=torch.Generator().manual_seed(0))
CONTEXT = torch.eye(B)


def normal(loc, scale):
    return Independent(Normal(loc, scale, validate_args=False), 1)


class HeavyTails(nn.Module):
    def __init__(self, df=2.0, dims=D):
        super().__init__()
        self.df, self.dims = nn.Parameter(torch.tensor(df)), dims

    def forward(self, context=None):
        return Independent(StudentT(self.df.expand(self.dims)), 1)


class SpikeAndSlab(nn.Module):
    def __init__(self, dims=D):
        super().__init__()
        self.register_buffer("probs", torch.tensor([[0.8, 0.2]] * dims))
        self.register_buffer("scale", torch.tensor([[0.05, 1.0]] * dims))

    def forward(self, context=None):
        components = Normal(torch.zeros_like(self.scale), self.scale)
        return Independent(MixtureSameFamily(Categorical(self.probs), components), 1)


class Components(nn.Module):
    def __init__(self, count, scale):
        super().__init__()
        self.loc = nn.Parameter(3 * torch.randn(count, D))
        self.scale = scale

    def forward(self, context=None):
        components = Independent(Normal(self.loc, self.scale), 1)
        return MixtureSameFamily(Categorical(torch.ones_like(self.loc[:, 0])), components)


class Ridge(nn.Module):
    def __init__(self, correlation):
        super().__init__()
        self.register_buffer("scale", torch.tensor([[1.0, 0.0], [correlation, 0.0]]))
        self.scale[1, 1] = (1 - correlation**2) ** 0.5

    def forward(self, context=None):
        scale = self.scale.to(torch.promote_types(self.scale.dtype, torch.float32))
        return MultivariateNormal(torch.zeros_like(scale[0]), scale_tril=scale)


class Deterministic(nn.Linear):
    def forward(self, x):
        return dist.Delta(super().forward(x).to(torch.promote_types(x.dtype, torch.float32)))


class Product(nn.Module):
    """The gradient of each factor is zero where the other starts at zero."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(D)), nn.Parameter(torch.ones(D))

    def forward(self, context=None):
        return normal(self.a * self.b, torch.ones_like(self.a))


MIXED = functools.partial(nn.Sequential, nn.Linear(6, 8), nn.ReLU())
GOOD = {
    "normal": lambda: check_prior(priors.Normal(D)),
    "laplace, learnt": lambda: check_prior(priors.Laplace(1, learn_scale=True)),
    "normal, many dimensions": lambda: check_prior(priors.Normal(12, scale=0.1)),
    "normal, context": lambda: check_prior(priors.Normal(D, context_dim=B), CONTEXT),
    "normal, ignored context": lambda: check_prior(priors.Normal(D), CONTEXT),
    "six lines, df 2": lambda: check_prior(HeavyTails()),
    "six lines, df 0.6": lambda: check_prior(HeavyTails(0.6, 1)),
    "six lines, df 4.2": lambda: check_prior(HeavyTails(4.2, 3)),
    "spike and slab": lambda: check_prior(SpikeAndSlab()),
    "spike and slab, many dimensions": lambda: check_prior(SpikeAndSlab(8)),
    "small components": lambda: check_prior(Components(20, 0.01)),
    "ridge": lambda: check_prior(Ridge(0.999), compiles=False),
    "factor at zero": lambda: check_prior(Product()),
    "flow": lambda: check_prior(zuko.flows.NSF(D, transforms=1), compiles=False),
    "flow, context": lambda: check_prior(
        zuko.flows.MAF(D, context=B, transforms=1), CONTEXT, compiles=False
    ),
    "sequence": lambda: check_encoder(MIXED(posteriors.DiagonalNormal(8, D)), X),
    "flow encoder": lambda: check_encoder(
        MIXED(zuko.flows.MAF(D, context=8, transforms=1)), X, compiles=False, bfloat16=False
    ),
    "dropout": lambda: check_encoder(MIXED(nn.Dropout(), posteriors.DiagonalNormal(8, D)), X),
    "no density": lambda: check_encoder(Deterministic(6, D), X),
    "MLP encoder, context": lambda: check_encoder(
        encoders.MLP(6, D, hidden=(8,), context_dim=B), X, CONTEXT
    ),
    "Conv encoder": lambda: check_encoder(encoders.Conv((1, 9, 8), D), torch.rand(B, 1, 9, 8)),
    "MLP decoder, context": lambda: check_decoder(
        decoders.MLP(D, 6, hidden=(8,), context_dim=B), Z, X, CONTEXT
    ),
    "MLP decoder, two values": lambda: check_decoder(
        decoders.MLP(D, 2, likelihood=functools.partial(likelihoods.Normal, scale=None)),
        Z,
        X[:, :2],
    ),
    "Conv decoder": lambda: check_decoder(decoders.Conv(D, (1, 9, 8)), Z, torch.rand(B, 1, 9, 8)),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_parts_pass(name):
    GOOD[name]()


class Prior(nn.Module):
    """A learnt normal prior, the base of those that break one clause."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor([0.5, -0.5]))
        self.raw = nn.Parameter(torch.tensor([0.1, 0.2]))

    def forward(self, context=None):
        return self.make(self.loc, nn.functional.softplus(self.raw))

    def make(self, loc, scale):
        return normal(loc, scale)


class Altered(Independent):
    """A normal distribution with methods to get wrong."""

    def __init__(self, loc, scale):
        super().__init__(Normal(loc, scale, validate_args=False), 1)


class OffNormaliser(Altered):
    def log_prob(self, value):
        return super().log_prob(value) + 0.02


class NoNormaliser(Altered):
    def log_prob(self, value):
        loc, scale = self.base_dist.loc, self.base_dist.scale
        return -0.5 * ((value - loc) / scale).square().sum(-1)


class WideSampler(Altered):
    def rsample(self, sample_shape=()):
        return self.mean + 1.1 * (super().rsample(sample_shape) - self.mean)

    def sample(self, sample_shape=()):
        return self.rsample(sample_shape).detach()


class WideSamplerWithoutMoments(WideSampler):
    mean = Altered.mean
    variance = property(lambda self: torch.full_like(self.mean, torch.nan))


class WrongVariance(Altered):
    variance = property(lambda self: self.base_dist.scale)


class WrongMean(Altered):
    mean = property(lambda self: self.base_dist.loc + 0.05)


class WrongStddev(Altered):
    stddev = property(lambda self: self.variance)


class UnsummedDensity(Altered):
    def log_prob(self, value):
        return self.base_dist.log_prob(value)


class FlattenedSamples(Altered):
    def sample(self, sample_shape=()):
        return super().sample(sample_shape).reshape(-1, D)


class DensityInfiniteSomewhere(Altered):
    def log_prob(self, value):
        return torch.where(value[..., 0] > 2, torch.inf, super().log_prob(value))


class FarNaN(Altered):
    def log_prob(self, value):
        # exp overflows: inf - inf
        return super().log_prob(value) + 0 * (value.exp() - value.exp()).sum(-1)


class FarMinusInfinity(Altered):
    def log_prob(self, value):
        return super().log_prob(value).exp().log()


class NaNGradientAtZero(Altered):
    def log_prob(self, value):
        return super().log_prob(value) + 0 * value.square().sum(-1).sqrt()


class RandomPoint(Altered):
    mean = property(lambda self: self.sample())


class Halved(Altered):
    def log_prob(self, value):
        return super().log_prob(value).to(self.base_dist.loc.dtype)


class LyingDelta(Altered):
    has_density = False


def prior_of(distribution):
    prior = Prior()
    prior.make = distribution
    return prior


class Detached(Prior):
    def forward(self, context=None):
        return normal(self.loc, nn.functional.softplus(self.raw.detach()))


class Unused(Prior):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.zeros(3))


class InfiniteGradient(Prior):
    def make(self, loc, scale):
        return normal(loc + (0 * loc).sqrt() * 0, scale)


class PlainTensor(Prior):
    def __init__(self):
        super().__init__()
        self.shift = torch.ones(D)

    def make(self, loc, scale):
        return normal(loc + self.shift, scale)


class PlainList(Prior):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(D, D)]

    def make(self, loc, scale):
        return normal(self.layers[0].to(loc.dtype)(loc), scale)


class StoredDistribution(Prior):
    def __init__(self):
        super().__init__()
        self.base = normal(torch.zeros(D), torch.ones(D))

    def make(self, loc, scale):
        return normal(loc + self.base.mean.to(loc.dtype), scale)


class MadeInForward(Prior):
    def make(self, loc, scale):
        if not hasattr(self, "extra"):
            self.register_buffer("extra", torch.ones_like(loc))
        return normal(loc, scale * self.extra)


def _without_loc(module, state, prefix, metadata):
    del state["loc"]


class HiddenFromStateDict(Prior):
    def __init__(self):
        super().__init__()
        self._register_state_dict_hook(_without_loc)
        self._register_load_state_dict_pre_hook(lambda state, *_: state.setdefault("loc", self.loc))


class Shared(Prior):
    def __deepcopy__(self, memo):
        return self


class SinglePrecision(Prior):
    def make(self, loc, scale):
        return normal(loc.float(), scale.float())


class Cancels(Prior):
    def make(self, loc, scale):
        return normal((loc + 1e7) - 1e7, scale)


class Stateful(Prior):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def make(self, loc, scale):
        self.calls += 1
        return normal(loc + 0.1 * self.calls, scale)


class StatefulInTraining(Stateful):
    def make(self, loc, scale):
        return super().make(loc, scale) if self.training else normal(loc, scale)


class CountsInEvaluation(Prior):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def make(self, loc, scale):
        self.calls += 1
        return normal(loc, scale)


class PointInEvaluation(Prior):
    def make(self, loc, scale):
        return normal(loc, scale if self.training else scale / 100)


class Noisy(Prior):
    def make(self, loc, scale):
        return normal(loc + torch.randn_like(loc), scale)


class RaisesInEvaluation(Prior):
    def make(self, loc, scale):
        if not self.training:
            raise RuntimeError("no evaluation")
        return normal(loc, scale)


class GraphBreak(Prior):
    def make(self, loc, scale):
        return normal(loc if loc.sum().item() > 1e9 else 1 * loc, scale)


class NoDistribution(Prior):
    def make(self, loc, scale):
        return loc


class Flat(Prior):
    def make(self, loc, scale):
        return Normal(loc, scale)


class TakesNothing(Prior):
    def forward(self):
        return normal(self.loc, nn.functional.softplus(self.raw))


class Crowded(priors.Normal):
    def forward(self, context=None):
        return super().forward(context - context.mean(0))


# name: (part, clause, a word that names the trouble)
BAD_PRIORS = {
    "no Independent": (Flat, "shapes", "Independent"),
    "unsummed": (lambda: prior_of(UnsummedDensity), "shapes", "sum over the event"),
    "flat samples": (lambda: prior_of(FlattenedSamples), "shapes", "sample_shape"),
    "has a density": (lambda: prior_of(LyingDelta), "shapes", "has_density"),
    "returns a tensor": (NoDistribution, "call", "Distribution, but got Parameter"),
    "off by 2 %": (lambda: prior_of(OffNormaliser), "density", "integrate to 1.*1.02"),
    "no normaliser": (lambda: prior_of(NoNormaliser), "density", "normaliser"),
    "wide sampler": (lambda: prior_of(WideSampler), "density", "follow its log_prob"),
    "wide sampler, no moments": (
        lambda: prior_of(WideSamplerWithoutMoments),
        "density",
        "follow its log_prob",
    ),
    "infinite density": (lambda: prior_of(DensityInfiniteSomewhere), "density", "inf"),
    "wrong variance": (lambda: prior_of(WrongVariance), "moments", "variance"),
    "wrong mean": (lambda: prior_of(WrongMean), "moments", "mean"),
    "wrong stddev": (lambda: prior_of(WrongStddev), "moments", "stddev"),
    "NaN in the tails": (lambda: prior_of(FarNaN), "density", "NaN"),
    "NaN far away": (
        lambda: prior_of(lambda loc, scale: FarNaN(loc.repeat(2), scale.repeat(2))),
        "extremes",
        "NaN",
    ),
    "underflow": (lambda: prior_of(FarMinusInfinity), "extremes", "-inf"),
    "NaN gradient": (lambda: prior_of(NaNGradientAtZero), "extremes", "gradient of log_prob at z"),
    "bfloat16": (lambda: prior_of(Halved), "extremes", "bfloat16"),
    "random point": (lambda: prior_of(RandomPoint), "point", "at every call.*mean"),
    "detached": (Detached, "gradients", "parameter raw"),
    "unused": (Unused, "gradients", "spare"),
    "infinite gradient": (InfiniteGradient, "gradients", "finite gradient.*loc"),
    "plain tensor": (PlainTensor, "state", "shift"),
    "plain list": (PlainList, "state", r"layers\.0"),
    "stored distribution": (StoredDistribution, "state", "base"),
    "made in forward": (MadeInForward, "modes", "state dict"),
    "hidden from the state dict": (HiddenFromStateDict, "state", "saving and loading"),
    "shared copy": (Shared, "state", "deepcopy"),
    "single precision": (SinglePrecision, "dtypes", "float64"),
    "cancels": (Cancels, "dtypes", "equal those in float64"),
    "stateful": (Stateful, "modes", "evaluation mode"),
    "stateful in training": (StatefulInTraining, "modes", "training mode"),
    "counts in evaluation": (CountsInEvaluation, "modes", "state dict"),
    "point in evaluation": (PointInEvaluation, "modes", "training and in evaluation"),
    "noisy": (Noisy, "modes", "random"),
    "raises in evaluation": (RaisesInEvaluation, "call", "RuntimeError: no evaluation"),
    "graph break": (GraphBreak, "compile", "TORCH_LOGS"),
}


def fails(clause, word, check, *arguments, **options):
    with pytest.raises(ContractError, match=f"breaks '({clause})'.*{word}") as caught:
        check(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert 25 <= len(message) <= 400
    assert message.endswith(".")


@pytest.mark.parametrize("name", BAD_PRIORS)
def test_broken_priors_are_named(name):
    make, clause, word = BAD_PRIORS[name]
    fails(clause, word, check_prior, make(), compiles=name == "graph break")


def test_the_base_of_the_broken_priors_is_whole():
    check_prior(Prior())


def test_a_prior_with_a_context():
    fails("call", "takes? ", check_prior, TakesNothing(), CONTEXT)
    prior = Crowded(D, context_dim=B)
    nn.init.normal_(prior.affine.weight)
    fails("batch", "alone", check_prior, prior, CONTEXT, compiles=False)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 2 * D)

    def forward(self, x, context=None):
        loc, raw = (
            self.net(x).float().to(x.dtype if x.dtype == torch.float64 else None).chunk(2, -1)
        )
        return self.make(loc, 1e-3 + nn.functional.softplus(raw))

    def make(self, loc, scale):
        return normal(loc, scale)


class BatchMean(Encoder):
    def make(self, loc, scale):
        return normal(loc - loc.mean(0), scale)


class Overflows(Encoder):
    def make(self, loc, scale):
        return normal(loc, (10 * scale).exp())


class InPlace(Encoder):
    def forward(self, x, context=None):
        return super().forward(x.sub_(0.5))


class BatchShape(Encoder):
    def make(self, loc, scale):
        return Independent(Normal(loc, scale), 2)


class HalfDensity(nn.Linear):
    def forward(self, x):
        loc, raw = super().forward(x).chunk(2, -1)
        return normal(loc, nn.functional.softplus(raw) + 0.01)


class NoGradSamples(Altered):
    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).detach()


class DetachedScaleInSamples(Altered):
    def rsample(self, sample_shape=()):
        loc, scale = self.base_dist.loc, self.base_dist.scale.detach()
        return loc + scale * torch.randn(self._extended_shape(sample_shape), dtype=loc.dtype)


class NotReparameterised(Altered):
    has_rsample = False


class TwoNets(Encoder):
    """The location and the scale have parameters of their own."""

    distribution = staticmethod(normal)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(D))

    def make(self, loc, scale):
        return self.distribution(loc, (0.1 + self.scale.square()).expand_as(loc) + 0 * scale)


def encoder_of(distribution, base=Encoder):
    encoder = base()
    encoder.make = distribution
    return encoder


class DetachedScale(TwoNets):
    distribution = DetachedScaleInSamples


BAD_ENCODERS = {
    "mean over the batch": (BatchMean, "batch", "alone"),
    "batch norm": (
        lambda: MIXED(nn.BatchNorm1d(8), posteriors.DiagonalNormal(8, D)),
        "batch",
        "BatchNorm|batch statistics",
    ),
    "overflow": (Overflows, "extremes", "inputs times"),
    "in place": (InPlace, "call", "leave its inputs"),
    "batch shape": (BatchShape, "shapes", "event shape"),
    "bfloat16": (lambda: HalfDensity(6, 2 * D), "extremes", "in bfloat16.*torch.bfloat16"),
    "samples without gradient": (lambda: encoder_of(NoGradSamples), "gradients", "rsample"),
    "detached scale": (DetachedScale, "gradients", "parameter scale"),
    "no rsample": (lambda: encoder_of(NotReparameterised), "gradients", "has_rsample=False"),
}


@pytest.mark.parametrize("name", BAD_ENCODERS)
def test_broken_encoders_are_named(name):
    make, clause, word = BAD_ENCODERS[name]
    fails(clause, word, check_encoder, make(), X, compiles=False)


def test_the_base_of_the_broken_encoders_is_whole():
    check_encoder(Encoder(), X)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(D, 6)

    def forward(self, z, context=None):
        return self.make(self.net(z))

    def make(self, loc):
        loc = loc.to(torch.promote_types(loc.dtype, torch.float32))
        return Independent(Laplace(loc, torch.ones_like(loc), validate_args=False), 1)


class OneSampleAxis(Decoder):
    def forward(self, z, context=None):
        if z.ndim != 2:
            raise ValueError("need a matrix")
        return super().forward(z)


class Normalised(Decoder):
    def forward(self, z, context=None):
        return super().forward(z - z.mean(tuple(range(z.ndim - 1)), keepdim=True))


class OverSamples(Decoder):
    def forward(self, z, context=None):
        return super().forward(z - (z.mean(0, keepdim=True) if z.ndim > 2 else 0))


class IgnoresLatents(Decoder):
    def forward(self, z, context=None):
        return super().forward(z.detach())


BAD_DECODERS = {
    "one sample axis": (OneSampleAxis, "shapes", "leading axes"),
    "centred rows": (Normalised, "batch", "alone"),
    "centred samples": (OverSamples, "batch", "sample of z"),
    "detached latents": (IgnoresLatents, "gradients", "to z"),
}


@pytest.mark.parametrize("name", BAD_DECODERS)
def test_broken_decoders_are_named(name):
    make, clause, word = BAD_DECODERS[name]
    fails(clause, word, check_decoder, make(), Z, X, compiles=False)


def test_a_decoder_for_other_data():
    check_decoder(Decoder(), Z, X)
    fails("shapes", r"\(5,\)", check_decoder, Decoder(), Z, X[:, :5])


def test_nothing_changes_and_the_verdict_stays():
    encoder = encoders.MLP(6, D, hidden=(8,))
    encoder.head.eval()
    encoder.dense[0].weight.grad = torch.ones_like(encoder.dense[0].weight)
    modes = [m.training for m in encoder.modules()]
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    generator = torch.get_rng_state()
    with torch.no_grad():
        check_encoder(encoder, X)
    assert torch.equal(generator, torch.get_rng_state())
    assert [m.training for m in encoder.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in encoder.state_dict().items())
    grads = [p.grad for p in encoder.parameters()]
    assert torch.equal(grads[0], torch.ones_like(grads[0]))
    assert grads[1:] == [None] * (len(grads) - 1)
    said = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with pytest.raises(ContractError) as caught:
            check_prior(prior_of(OffNormaliser), compiles=False)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: check_prior(priors.Normal), TypeError, "nn.Module"),
        (lambda: check_encoder(Encoder(), X[:1]), ValueError, "two or more rows"),
        (lambda: check_encoder(Encoder(), X, CONTEXT[:2]), ValueError, "equally many"),
        (lambda: check_encoder(Encoder(), X.long()), TypeError, "floating point"),
        (lambda: check_decoder(Decoder(), Z, X[:2]), ValueError, "equally many"),
    ],
)
def test_wrong_arguments_are_refused(call, error, word):
    with pytest.raises(error, match=word) as caught:
        call()
    assert 25 <= len(str(caught.value)) <= 400
