"""Two and three processes that share a batch compute what one computes, gradients included.

The tests run this file once as a script, which starts three processes.
"""

import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pytest
import torch
from torch import distributed, nn
from torch.distributions import TransformedDistribution, transforms
from torch.nn.parallel import DistributedDataParallel

from disvae import VAE, TrainStep, decoders, encoders, likelihoods, objectives, posteriors, priors
from disvae import distributions as dist
from disvae.objectives import Objective, WeightedSum, kernels, terms
from disvae.objectives.batches import gather_distribution, whole_batch

# no other axis has 24, 12 or 8 entries, so a shape tells whether it has one for each datum
ROWS, LATENT, FEATURES, CLASSES = 24, 4, 6, 3
WORLDS = (2, 3)
joint_posterior = functools.partial(
    posteriors.Joint, heads=[(2, posteriors.DiagonalNormal), (2, posteriors.Laplace)]
)


class PairwiseDensity(nn.Module):
    """What any posterior with a density can be asked: that of each sample under every other."""

    def forward(self, out):
        out = whole_batch(out)
        return out.posterior.log_prob(out.z.unsqueeze(-2)).logsumexp(-1)


class Case(NamedTuple):
    """Terms beside the reconstruction, or an objective, with the parts that they are tried on."""

    terms: Callable[[VAE], dict[str, nn.Module] | Objective]
    posterior: Callable[..., nn.Module] = posteriors.DiagonalNormal
    prior: Callable[[int], nn.Module] = priors.Normal
    samples: tuple[int, ...] = ()
    conditional: bool = False


def mixture(latent_dim):
    return priors.Mixture(latent_dim, components=5)


def conditional(latent_dim):
    return priors.ClassConditional(latent_dim, num_classes=CLASSES)


def plain(kind, *arguments, **keywords):
    return lambda model: {"term": kind(*arguments, **keywords)}


def estimators(kind):
    names = ("weighted", "stratified", "batch", "leave-one-out")
    return lambda model: {
        name.replace("-", "_"): kind(dataset_size=100, estimator=name) for name in names
    }


def density(posterior):
    return Case(plain(PairwiseDensity), posterior)


TC = plain(terms.TotalCorrelation, 100)
SMALL = {"hidden": (9, 9)}
# in these every datum has a value of its own; all others are one statistic of the whole batch
OWN = {
    "KL": Case(plain(terms.KL)),
    "AdversarialTotalCorrelation": Case(plain(terms.AdversarialTotalCorrelation, LATENT, **SMALL)),
    "AdversarialTotalCorrelation, samples": Case(
        plain(terms.AdversarialTotalCorrelation, LATENT, **SMALL), samples=(2,)
    ),
    "AdversarialDivergence": Case(
        plain(terms.AdversarialDivergence, LATENT, **SMALL), posteriors.Deterministic
    ),
    "AdversarialDivergence, context": Case(
        plain(terms.AdversarialDivergence, LATENT, **SMALL),
        prior=lambda latent_dim: conditional(latent_dim).requires_grad_(False),
        conditional=True,
    ),
    "Sparsity": Case(plain(terms.Sparsity)),
}
WHOLE = {
    "MutualInformation": Case(estimators(terms.MutualInformation)),
    "TotalCorrelation": Case(estimators(terms.TotalCorrelation)),
    "DimensionwiseKL": Case(estimators(terms.DimensionwiseKL)),
    "AggregateKL": Case(estimators(terms.AggregateKL), prior=mixture),
    "AggregateKL, context": Case(
        plain(terms.AggregateKL, 100), prior=conditional, conditional=True
    ),
    "TotalCorrelation, samples": Case(TC, samples=(2,)),
    "TotalCorrelation, full": Case(TC, posteriors.FullNormal),
    "TotalCorrelation, low rank": Case(TC, posteriors.LowRankNormal),
    "TotalCorrelation, Laplace": Case(TC, posteriors.Laplace),
    "TotalCorrelation, StudentT": Case(TC, posteriors.StudentT),
    "TotalCorrelation, Joint": Case(TC, joint_posterior),
    "PairwiseDensity, full": density(posteriors.FullNormal),
    "PairwiseDensity, low rank": density(posteriors.LowRankNormal),
    "PairwiseDensity, PowerSpherical": density(posteriors.PowerSpherical),
    "PairwiseDensity, RelaxedCategorical": density(posteriors.RelaxedCategorical),
    "MMD": Case(plain(terms.MMD, kernels.InverseMultiquadratic()), posteriors.Deterministic),
    "MMD, learnt prior": Case(
        plain(terms.MMD, kernels.RBF(), unbiased=False),
        prior=functools.partial(priors.Normal, learn_scale=True),
        samples=(2,),
    ),
    "PerDimensionMMD": Case(plain(terms.PerDimensionMMD)),
    "SlicedWasserstein": Case(plain(terms.SlicedWasserstein, 5)),
    "InclusiveKL": Case(plain(terms.InclusiveKL)),
    "InclusiveKL, Laplace": Case(plain(terms.InclusiveKL), posteriors.Laplace),
    "InclusiveKL, context": Case(plain(terms.InclusiveKL), prior=conditional, conditional=True),
    "CovariancePenalty, I": Case(plain(terms.CovariancePenalty, "I"), posteriors.Deterministic),
    "CovariancePenalty, II": Case(plain(terms.CovariancePenalty, "II"), posteriors.FullNormal),
    "FreeBits": Case(plain(terms.FreeBits, 0.5)),
    "Capacity": Case(plain(terms.Capacity, 2.0)),
    "OptimalSigmaReconstruction": Case(plain(terms.OptimalSigmaReconstruction)),
    "HFVAE": Case(lambda model: objectives.HFVAE([(0, 2), (1, 3)], 100, beta=4.0)),
    "GECO": Case(lambda model: objectives.GECO(2.0)),
    "ControlVAE": Case(lambda model: objectives.ControlVAE(2.0)),
    "Classification": Case(
        lambda model: {"term": terms.Classification(nn.Linear(LATENT, CLASSES))}
    ),
}
CASES = OWN | WHOLE


def build(case):
    torch.manual_seed(0)
    context_dim = CLASSES if case.conditional else 0
    model = VAE(
        encoders.MLP(
            FEATURES, LATENT, hidden=(7,), posterior=case.posterior, context_dim=context_dim
        ),
        decoders.MLP(
            LATENT, FEATURES, hidden=(7,), likelihood=likelihoods.Normal, context_dim=context_dim
        ),
        prior=case.prior(LATENT),
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    objective = case.terms(model)
    if not isinstance(objective, Objective):
        weighted = {name: (3.0 + i, term) for i, (name, term) in enumerate(objective.items())}
        objective = WeightedSum(reconstruction=(1.0, terms.Reconstruction()), **weighted)
    objective.sample_shape = torch.Size(case.samples)
    return TrainStep(model, objective).double()


class Share:
    """Noise that one process draws for the whole batch; of what has rows, each takes its own."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world
        self.generator = torch.Generator().manual_seed(1)

    def __call__(self, sampler, shape, *, dtype, device):
        rows = [n == ROWS // self.world for n in shape]
        whole = [ROWS if row else n for n, row in zip(shape, rows, strict=True)]
        if not isinstance(sampler, functools.partial):
            return self.own(sampler(whole, generator=self.generator, dtype=dtype), rows)
        # gamma variates have a concentration for each row; any function of it and the noise will do
        (concentration,) = sampler.args
        normal = torch.randn(whole, generator=self.generator, dtype=dtype)
        return concentration * (0.3 * self.own(normal, rows)).exp()

    def own(self, draw, rows):
        return draw.chunk(self.world, rows.index(True))[self.rank] if any(rows) else draw


def one_step(case, rank=0, world=1):
    """Terms, and gradients and state, of one step on the rows of one process."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(ROWS, FEATURES, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, CLASSES, (ROWS,), generator=generator)
    context = nn.functional.one_hot(labels.clamp(min=0), CLASSES).double()
    x, labels, context = (v.chunk(world)[rank] for v in (x, labels, context))
    train = build(case)
    wrapped = train if world == 1 else DistributedDataParallel(train)
    with dist.replace_noise(Share(rank, world)):
        keywords = {"labels": labels} if isinstance(train.objective, WeightedSum) else {}
        losses = wrapped(x, context if case.conditional else None, **keywords)
        losses.total.backward()
    gradients = {name: p.grad for name, p in train.named_parameters() if p.requires_grad}
    return losses.terms, gradients | dict(train.objective.named_buffers())


def shared_parameters(rank=0, world=1):
    """What posteriors tell of which some parameters, or all, are the same for every datum.

    The shared ones have as many rows as each of two processes has data.
    """
    size = ROWS // 2
    generator = torch.Generator().manual_seed(3)
    loc = torch.randn(ROWS, size, generator=generator)
    components = torch.randn(ROWS, size, 2, generator=generator)
    shared = torch.eye(size) + torch.rand(size, size, generator=generator).tril()
    loc, components = (v.chunk(world)[rank] for v in (loc, components))
    full = dist.MultivariateNormal(loc, scale_tril=shared)
    mixed = dist.GaussianMixture(shared[0], components, torch.ones_like(components))
    one = dist.Normal(torch.tensor(0.0), torch.tensor(1.0))
    full, mixed, one = (gather_distribution(d) for d in (full, mixed, one))
    ones = torch.ones(size)
    return full.log_prob(ones), full.variance, mixed.log_prob(ones[:2]), one.log_prob(ones)


def refusals(rank):
    """What each batch statistic says to 8 data on the first process and 5 on all others."""
    rows = 8 if rank == 0 else 5
    told = {}
    for name, case in WHOLE.items():
        if name == "Classification":  # which takes each label for itself
            continue
        context = torch.eye(CLASSES, dtype=torch.float64)[torch.zeros(rows, dtype=torch.long)]
        try:
            build(case)(torch.rand(rows, FEATURES).double(), context if case.conditional else None)
        except ValueError as error:
            told[name] = str(error)
    return told


def run(rank, world, folder):
    """One process of several: all cases, one after the other."""
    store = f"file://{folder}/store-{world}"
    distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    found = {name: one_step(case, rank, world) for name, case in CASES.items()}
    shared = shared_parameters(rank, world)
    torch.save((found, shared, refusals(rank)), f"{folder}/{world}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process found, by the number of processes."""
    folder = tmp_path_factory.mktemp("processes")

    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {
        world: [torch.load(folder / f"{world}-{rank}.pt") for rank in range(world)]
        for world in WORLDS
    }


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_one_process(found, name):
    """Processes average what they do for their own data, and agree on what is of the whole."""
    values, gradients = one_step(CASES[name])
    for world in WORLDS:
        each = [results[name] for results, _, _ in found[world]]
        for key, value in values.items():
            assert torch.isfinite(value)
            theirs = torch.stack([terms[key] for terms, _ in each])
            torch.testing.assert_close(theirs.mean(), value, rtol=1e-9, atol=1e-12)
            if name in WHOLE and key not in ("reconstruction", "kl"):
                torch.testing.assert_close(theirs, value.expand(world), rtol=1e-9, atol=1e-12)
        for _, theirs in each:
            torch.testing.assert_close(theirs, gradients, rtol=1e-8, atol=1e-11)


def test_no_term_is_left_out():
    offered = {name for name in terms.__all__ if isinstance(getattr(terms, name), type)}
    # one is part of every case; the other looks at each datum alone, and its first call is slow
    beside = {"Reconstruction", "JacobianOrthogonality"}
    assert offered - {name.split(",")[0] for name in CASES} == beside


@pytest.mark.parametrize("world", WORLDS)
def test_parameters_that_all_data_share_are_not_gathered(found, world):
    for _, shared, _ in found[world]:
        torch.testing.assert_close(shared, shared_parameters())


@pytest.mark.parametrize("world", WORLDS)
def test_uneven_shares_are_refused_on_every_process(found, world):
    counts = ", ".join(["8"] + ["5"] * (world - 1))
    for _, _, told in found[world]:
        assert WHOLE.keys() - told.keys() == {"Classification"}
    for error in (error for _, _, told in found[world] for error in told.values()):
        assert "as many data on every process, because batch statistics need the whole" in error
        assert f"but got {counts}; load data with a DistributedSampler" in error


@pytest.mark.parametrize(
    "posterior",
    [
        lambda: TransformedDistribution(
            dist.Normal(torch.zeros(3, 2), 1.0), [transforms.TanhTransform()]
        ),
        lambda: posteriors.InverseAutoregressive(5, 2)(torch.zeros(3, 5)),
    ],
)
def test_flows_are_refused_in_one_sentence(posterior):
    with pytest.raises(
        TypeError, match=r"^Expected a distribution made of tensors.*one process\.$"
    ):
        gather_distribution(posterior())


def test_factor_vae_is_an_objective_of_these_terms():
    """What holds of the terms holds of the named objectives that are made of them."""
    kinds = [type(term) for term in objectives.FactorVAE(2, gamma=1.0, hidden=()).terms.values()]
    assert kinds == [terms.Reconstruction, terms.KL, terms.AdversarialTotalCorrelation]


def member(rank, folder):
    """A process that takes part in each group that it has a rank in, the largest first."""
    for world in sorted(WORLDS, reverse=True):
        if rank < world:
            run(rank, world, folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # forked before torch has started a thread, the processes share what is slow to import
    importlib.import_module("torch._dynamo")
    fork = torch.multiprocessing.get_context("fork")
    members = [fork.Process(target=member, args=(rank, sys.argv[1])) for rank in range(max(WORLDS))]
    for process in members:
        process.start()
    for process in members:
        process.join()
    sys.exit(any(process.exitcode for process in members))
