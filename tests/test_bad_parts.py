"""Bad input to the parts that carry structure gets one clear sentence, raised by disvae itself."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent

from disvae import (
    VAE,
    decoders,
    distributions,
    encoders,
    evaluation,
    likelihoods,
    objectives,
    posteriors,
    priors,
    testing,
    traversals,
)
from disvae.objectives import WeightedSum, schedules, terms


def encoder(latent_dim=2, **options):
    return encoders.MLP(6, latent_dim, hidden=(8,), **options)


def model(prior=None, posterior=posteriors.DiagonalNormal, latent_dim=2, **options):
    return VAE(
        encoder(latent_dim, posterior=posterior),
        decoders.MLP(latent_dim, 6, hidden=(8,), **options),
        prior=priors.Normal(latent_dim) if prior is None else prior,
    )


def heads(*pairs):
    return partial(posteriors.Joint, heads=pairs)


def elbo(*arguments, **options):
    return objectives.ELBO()(model(*arguments, **options), x)


class NoEvent(nn.Module):
    """A prior of one number, which is no vector."""

    def forward(self, context=None):
        return distributions.Normal(torch.zeros(()), torch.ones(()))


class NoContext(nn.Module):
    """A prior of one's own that takes no context."""

    def forward(self):
        return Independent(distributions.Normal(torch.zeros(2), torch.ones(2)), 1)


class NoDistribution(nn.Module):
    def forward(self, context=None):
        return torch.zeros(2)


class Positive(nn.Module):
    """A prior from which every normal posterior is infinitely far."""

    def forward(self, context=None):
        return Independent(torch.distributions.LogNormal(torch.zeros(2), torch.ones(2)), 1)


ones, nan = torch.ones, float("nan")
x, h = torch.rand(4, 6), torch.rand(4, 5)
identity = torch.eye(2)
lp = partial(priors.LpSpherical, 2)
tree = partial(priors.TreeMixture, 2)
mixture = partial(priors.Mixture, 2)
relaxed = partial(posteriors.RelaxedCategorical, 5, 2)

CASES = {
    # factorised priors
    "a list for scale": lambda: priors.Normal(2, [1.0, 2.0]),
    "an array for scale": lambda: priors.Normal(2, np.ones(2)),
    "infinite scale": lambda: priors.Laplace(2, float("inf")),
    "df 0": lambda: priors.StudentT(2, 0.0),
    "no df": lambda: priors.StudentT(2, None),
    "a list for df": lambda: priors.StudentT(2, [1.0, 2.0]),
    "infinite df": lambda: priors.StudentT(2, float("inf")),
    "power 0": lambda: priors.GeneralizedNormal(2, 0.0),
    "power of another size": lambda: priors.GeneralizedNormal(2, ones(3)),
    "PCA of NaN": lambda: priors.Normal.from_pca(x * torch.nan, 2),
    "PCA of infinity": lambda: priors.Normal.from_pca(x / 0, 2),
    "PCA of an array": lambda: priors.Normal.from_pca(x.numpy(), 2),
    "PCA of one row": lambda: priors.Normal.from_pca(x[:1], 1),
    "PCA of constant data": lambda: priors.Normal.from_pca(ones(5, 3), 1),
    "PCA of too few rows": lambda: priors.Normal.from_pca(x[:3], 3),
    "PCA of a vector": lambda: priors.Normal.from_pca(x[0], 1),
    "variance of a string": lambda: priors.Normal.from_pca(x, 2, variance="1"),
    "variance 0": lambda: priors.Normal.from_pca(x, 2, variance=0.0),
    "labels for a class": lambda: priors.ClassConditional(2, 3)(torch.tensor([0, 1])),
    "no class": lambda: priors.ClassConditional(2, 3)(),
    "one-hot classes of integers": lambda: priors.ClassConditional(2, 3)(torch.eye(3).long()),
    "another number of classes": lambda: priors.ClassConditional(2, 3)(torch.eye(4)),
    "a single class": lambda: priors.ClassConditional(2, 1),
    "a list of classes": lambda: priors.ClassConditional(2, 3)([0, 1]),
    # normal priors with dependent dimensions
    "a list for covariance": lambda: priors.FullNormal(2, [[1.0, 0.0], [0.0, 1.0]]),
    "an array for covariance": lambda: priors.FullNormal(2, np.eye(2)),
    "a covariance of integers": lambda: priors.FullNormal(2, identity.long()),
    "a half-precision covariance": lambda: priors.FullNormal(2, identity.bfloat16()),
    "a covariance of NaN": lambda: priors.FullNormal(2, identity * torch.nan),
    "a covariance of 0": lambda: priors.FullNormal(2, identity * 0),
    "an asymmetric covariance": lambda: priors.FullNormal(2, torch.tensor([[1.0, 0.5], [0, 1]])),
    "a learnt covariance below the floor": lambda: priors.FullNormal(
        2, identity * 1e-9, learn=True
    ),
    "a tiny asymmetric covariance": lambda: priors.FullNormal(
        2, 1e-9 * torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    ),
    "a learnt scale below the floor with a fixed trace": lambda: priors.Normal(
        2, 1e-6, learn_scale=True, fixed_trace=True
    ),
    "a number for parents": lambda: priors.GaussianGraph(3),
    "no parents": lambda: priors.GaussianGraph([]),
    "numbers in parents": lambda: priors.GaussianGraph([0, 1]),
    "None in parents": lambda: priors.GaussianGraph([None, (0,)]),
    "a dictionary of parents": lambda: priors.GaussianGraph({0: (), 1: (0,)}),
    "its own parent": lambda: priors.GaussianGraph([(0,)]),
    "a cycle": lambda: priors.GaussianGraph([(1,), (0,)]),
    "a parent that is no dimension": lambda: priors.GaussianGraph([(), (5,)]),
    "a negative parent": lambda: priors.GaussianGraph([(), (-1,)]),
    "a parent twice": lambda: priors.GaussianGraph([(), (0, 0)]),
    "a list for weights": lambda: priors.GaussianGraph([(), (0,)], weights=[[0, 0], [1, 0]]),
    "a weight without an edge": lambda: priors.GaussianGraph([(), (0,)], weights=ones(2, 2)),
    "NaN weights": lambda: priors.GaussianGraph([(), (0,)], weights=identity * torch.nan),
    "graph of scale 0": lambda: priors.GaussianGraph([(), (0,)], scale=0.0),
    # mixtures
    "spike probability above 1": lambda: priors.Sparse(2, 1.2),
    "spike probability NaN": lambda: priors.Sparse(2, nan),
    "spike probability of a string": lambda: priors.Sparse(2, "0.8"),
    "spike scale for each dimension": lambda: priors.Sparse(2, 0.8, ones(2)),
    "neither components nor means": lambda: mixture(),
    "no components": lambda: mixture(0),
    "components of a float": lambda: mixture(2.0),
    "a list for means": lambda: mixture(means=[[0.0, 1.0]]),
    "means of integers": lambda: mixture(means=identity.long()),
    "means of another size": lambda: mixture(means=ones(2, 3)),
    "means of another number": lambda: mixture(4, means=ones(2, 2)),
    "no means": lambda: mixture(means=ones(0, 2)),
    "NaN means": lambda: mixture(means=identity * torch.nan),
    "scales of another size": lambda: mixture(3, scales=ones(4)),
    "negative scales": lambda: mixture(3, scales=-1.0),
    "weights 0": lambda: mixture(3, weights=torch.tensor([0.0, 1.0, 1.0])),
    "weights of another number": lambda: mixture(3, weights=ones(2)),
    "a string for weights": lambda: mixture(3, weights="abc"),
    "a dictionary for weights": lambda: mixture(3, weights={}),
    "no branching": lambda: tree(()),
    "branching of one number": lambda: tree(3),
    "branching 0": lambda: tree((3, 0)),
    "spread of a string": lambda: tree(spread="1"),
    "spread None": lambda: tree(spread=None),
    "ratio above 1": lambda: tree(ratio=2.0),
    "NaN ratio": lambda: tree(ratio=nan),
    "tree of scale 0": lambda: tree(scale=0.0),
    # blocks
    "no blocks": lambda: priors.Joint([]),
    "a prior for blocks": lambda: priors.Joint(priors.Normal(2)),
    "a class for a block": lambda: priors.Joint([priors.Normal]),
    "dims of another number": lambda: priors.Joint([priors.Normal(2)], dims=[[0], [1]]),
    "a number for dims": lambda: priors.Joint([priors.Normal(2)], dims=2),
    "a head of another size": lambda: posteriors.Joint(
        5, 3, [(3, lambda features, dim: posteriors.DiagonalNormal(features, 2))]
    )(h),
    "a block without event": lambda: priors.Joint([NoEvent(), priors.Normal(2)])(),
    "a block that returns a tensor": lambda: priors.Joint([NoDistribution()])(),
    "an encoder for a block": lambda: priors.Joint([encoder()])(),
    "a block that takes no context": lambda: priors.Joint(
        [priors.ClassConditional(2, 3), NoContext()]
    )(torch.eye(3)),
    "a block without its context": lambda: priors.Joint([priors.ClassConditional(2, 3)])(),
    "no subspaces": lambda: priors.Subspaces([]),
    "nothing for subspaces": lambda: priors.Subspaces(None),
    "subspaces without dimensions": lambda: priors.Subspaces([priors.Normal(2)]),
    "swapped subspace": lambda: priors.Subspaces([(priors.Normal(2), 2)]),
    "overlapping subspaces": lambda: priors.Subspaces(
        [([0, 1], priors.Normal(2)), ([1, 2], priors.Normal(2))]
    ),
    "subspaces with a gap": lambda: priors.Subspaces(
        [([0, 1], priors.Normal(2)), ([3], priors.Normal(1))]
    ),
    "a subspace of another size": lambda: priors.Subspaces([([0, 1], priors.Normal(3))])(),
    "one number for sizes": lambda: priors.Subspaces.lp_nested(3),
    "no sizes": lambda: priors.Subspaces.lp_nested(()),
    "negative outer power": lambda: lp(2.0, -1.0),
    "a power for each dimension": lambda: lp(ones(2)),
    "one category": lambda: priors.Categorical(1),
    "a list for probs": lambda: priors.Categorical(2, probs=[0.5, 0.5]),
    "a probability of 0": lambda: priors.Categorical(2, probs=torch.tensor([0.0, 1.0])),
    "a schedule for a prior's temperature": lambda: priors.Categorical(
        2, temperature=schedules.Linear(1.0, 0.5, steps=10)
    ),
    "a sphere in one dimension": lambda: priors.HypersphericalUniform(1),
    # VampPrior
    "a class for its encoder": lambda: priors.Vamp(encoders.MLP, x),
    "swapped encoder and pseudo-inputs": lambda: priors.Vamp(x, encoder()),
    "a number for pseudo-inputs": lambda: priors.Vamp(encoder(), 50),
    "an array for pseudo-inputs": lambda: priors.Vamp(encoder(), x.numpy()),
    "one datum for pseudo-inputs": lambda: priors.Vamp(encoder(), x[0]),
    "no pseudo-inputs": lambda: priors.Vamp(encoder(), x[:0]),
    "integer pseudo-inputs": lambda: priors.Vamp(encoder(), (x * 255).byte()),
    "NaN pseudo-inputs": lambda: priors.Vamp(encoder(), x * torch.nan),
    "pseudo-inputs of another shape": lambda: priors.Vamp(encoder(), torch.rand(4, 7))(),
    "double pseudo-inputs": lambda: priors.Vamp(encoder(), x.double())(),
    "a conditional encoder": lambda: priors.Vamp(encoder(context_dim=2), x),
    "too many exemplars": lambda: priors.Vamp(encoder(), x, exemplars=9),
    "exemplars 0": lambda: priors.Vamp(encoder(), x, exemplars=0),
    "one scale for Laplace posteriors": lambda: priors.Vamp(
        encoder(posterior=posteriors.Laplace), x, scale=1.0
    )(),
    "an encoder without event": lambda: priors.Vamp(NoEvent(), x)(),
    "an encoder that returns a tensor": lambda: priors.Vamp(nn.Linear(6, 2), x)(),
    "a model for its encoder": lambda: priors.Vamp(model(), x)(),
    "another encoder's latent_dim": lambda: model(priors.Vamp(encoder(3), x)),
    # posteriors
    "no features": lambda: posteriors.DiagonalNormal(5, 2)(None),
    "an array of features": lambda: posteriors.FullNormal(5, 2)(h.numpy()),
    "too many features": lambda: posteriors.LowRankNormal(5, 2)(torch.rand(4, 7)),
    "rank 0": lambda: posteriors.LowRankNormal(5, 2, 0),
    "df 2": lambda: posteriors.StudentT(5, 2, df=2.0),
    "df of a tensor": lambda: posteriors.StudentT(5, 2, df=torch.tensor(5.0)),
    "infinite df of a posterior": lambda: posteriors.StudentT(5, 2, df=float("inf")),
    "no transforms": lambda: posteriors.InverseAutoregressive(5, 2, 0),
    "hidden of a number": lambda: posteriors.InverseAutoregressive(5, 2, hidden=8),
    "a posterior on a sphere of one dimension": lambda: posteriors.PowerSpherical(5, 1),
    "temperature 0": lambda: relaxed(0.0),
    "temperature of a string": lambda: relaxed("1"),
    "a schedule to temperature 0": lambda: relaxed(lambda step: 0.0)(h),
    "a schedule of negative temperature": lambda: relaxed(lambda step: -1.0)(h),
    "a schedule of NaN": lambda: relaxed(lambda step: nan)(h),
    "a schedule that ends at 0": lambda: relaxed(schedules.Linear(1.0, 0.0, steps=9)),
    "a schedule without a step": lambda: relaxed(lambda: 1.0),
    "a schedule that returns nothing": lambda: relaxed(lambda step: None)(h),
    "a class for a schedule": lambda: relaxed(schedules.Linear)(h),
    "one level": lambda: posteriors.Quantized(5, 2, 1),
    "levels of another number": lambda: posteriors.Quantized(5, 2, [3, 5, 3]),
    "a tensor of levels": lambda: posteriors.Quantized(5, 2, torch.tensor([3, 5])),
    "no heads": lambda: posteriors.Joint(5, 2, []),
    "nothing for heads": lambda: posteriors.Joint(5, 2, None),
    "heads without sizes": lambda: posteriors.Joint(5, 2, [posteriors.DiagonalNormal]),
    "heads of another sum": lambda: posteriors.Joint(5, 2, [(3, posteriors.DiagonalNormal)]),
    "an instance for a head": lambda: posteriors.Joint(
        5, 2, [(2, posteriors.DiagonalNormal(5, 2))]
    ),
    "a head that returns a tensor": lambda: posteriors.Joint(5, 2, [(2, nn.Linear)])(h),
    # networks
    "a function for activation": lambda: encoders.MLP(6, 2, activation=torch.relu),
    "a function for a decoder's activation": lambda: decoders.Conv(
        2, (1, 8, 8), activation=nn.functional.relu
    ),
    "an activation in place": lambda: encoders.Residual(
        (1, 8, 8), 2, activation=partial(nn.ReLU, inplace=True)
    ),
    "a joint posterior without heads": lambda: encoder(posterior=posteriors.Joint),
    "a likelihood without classes": lambda: decoders.MLP(2, 6, likelihood=likelihoods.Categorical),
    "a posterior for a likelihood": lambda: decoders.MLP(
        2, 6, likelihood=posteriors.DiagonalNormal
    ),
    "an even kernel": lambda: decoders.SpatialBroadcast(2, (1, 8, 8), kernel_size=2),
    "a preset of another size": lambda: encoders.burgess((1, 48, 48)),
    "a preset of vectors": lambda: encoders.mathieu_dsprites(784),
    "swapped arguments of a preset": lambda: decoders.mathieu_dcgan32((1, 32, 32), 10),
    "channels last": lambda: encoders.Conv((8, 8, 1), 2),
    "half-precision data": lambda: encoder()(x.bfloat16()),
    "integers for z": lambda: decoders.MLP(2, 6)(torch.zeros(4, 2).long()),
    # likelihoods
    "learnt df of 1": lambda: likelihoods.StudentT(6, 1.0, learn_df=True),
    "one class": lambda: likelihoods.Categorical(6, 1),
    "levels of a float": lambda: likelihoods.DiscretizedLogistic(6, 256.0),
    "squeeze 0": lambda: likelihoods.Beta(6, squeeze=0.0),
    "squeeze NaN": lambda: likelihoods.Beta(6, squeeze=nan),
    "dispersion 0": lambda: likelihoods.NegativeBinomial(6, dispersion=0.0),
    "dispersion predicted and learnt": lambda: likelihoods.NegativeBinomial(
        6, None, learn_dispersion=True
    ),
    "fractions for counts": lambda: model(likelihood=likelihoods.Poisson)(x),
    "a class that does not exist": lambda: model(
        likelihood=partial(likelihoods.Categorical, classes=3)
    )(3 * ones(4, 6)),
    "8-bit values for levels in [0, 1]": lambda: model(likelihood=likelihoods.DiscretizedLogistic)(
        x * 255
    ),
    "a shape for dims": lambda: likelihoods.bits_per_dim(ones(2), (1, 8, 8)),
    "a list for log_prob": lambda: likelihoods.bits_per_dim([1.0], 3),
    # pairs that are infinitely far apart
    "no density under an ELBO": lambda: elbo(None, posteriors.Deterministic),
    "a block without density": lambda: elbo(
        priors.Normal(4),
        heads((2, posteriors.Quantized), (2, posteriors.DiagonalNormal)),
        4,
    ),
    "a sphere in all of space": lambda: elbo(priors.Normal(3), posteriors.PowerSpherical, 3),
    "all of space on a sphere": lambda: elbo(priors.HypersphericalUniform(2)),
    "categories in another order": lambda: elbo(
        priors.Joint([priors.Categorical(3), priors.Normal(2)]),
        heads((2, posteriors.DiagonalNormal), (3, posteriors.RelaxedCategorical)),
        5,
    ),
    "two categories for one": lambda: elbo(
        priors.Categorical(4),
        heads((2, posteriors.RelaxedCategorical), (2, posteriors.RelaxedCategorical)),
        4,
    ),
    "a positive prior": lambda: elbo(Positive()),
    "a sampled KL of a sphere": lambda: WeightedSum(kl=(1.0, terms.KL(analytic=False)))(
        model(priors.Normal(3), posteriors.PowerSpherical, 3), x
    ),
    "importance weights of a sphere": lambda: evaluation.log_likelihood(
        model(priors.Normal(3), posteriors.PowerSpherical, 3), x
    ),
    "importance weights of categories": lambda: evaluation.log_likelihood(
        model(priors.Normal(3), posteriors.RelaxedCategorical, 3), x
    ),
    "importance weights on a sphere": lambda: evaluation.log_likelihood(
        model(priors.HypersphericalUniform(2)), x
    ),
    "a bound without density": lambda: evaluation.elbo(model(None, posteriors.Quantized), x),
    "marginals of categories": lambda: objectives.BetaTCVAE(dataset_size=50, beta=2.0)(
        model(priors.Categorical(2), posteriors.RelaxedCategorical), x
    ),
    # distributions
    "closed KL without samples": lambda: distributions.kl(
        priors.Laplace(2)(), priors.StudentT(2, 3.0)()
    ),
    "KL of unequal sizes": lambda: distributions.kl(priors.Normal(2)(), priors.Normal(3)()),
    "probabilities of a string": lambda: distributions.quantile(priors.Normal(2)(), "a"),
    # traversals and contracts
    "no dims": lambda: traversals.traverse(model(), x[:1], dims=[]),
    "a class to check": lambda: testing.check_prior(priors.Normal),
    "a distribution to check": lambda: testing.check_prior(priors.Normal(2)()),
    "one row to check with": lambda: testing.check_encoder(encoder(), x[:1]),
    "an array to check with": lambda: testing.check_encoder(encoder(), x.numpy()),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_sentence(name, is_clear):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[name]()
    is_clear(caught.value)
