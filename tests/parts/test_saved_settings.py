"""Settings that decide the density go with the state dict: loading it gives the saved density."""

import io
from functools import partial

import pytest
import torch
from torch import nn

from disvae import likelihoods, posteriors, priors
from disvae.objectives import schedules

blocks = (priors.Laplace(1), priors.Laplace(1), priors.Normal(1, 3.0))


def through_file(module):
    """Its state dict, saved and loaded as a checkpoint is."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def constant(head, value=1.0):
    """A head whose outputs are one number."""
    nn.init.zeros_(head.affine.weight)
    nn.init.constant_(head.affine.bias, value)
    return head


def chain(*parents):
    prior = priors.GaussianGraph(parents)
    nn.init.constant_(prior.edge_weights, 2.0)
    return prior


# a module as saved, one of another setting that loads its state, and values that tell them apart
PAIRS = {
    "edges": lambda: (chain((), (0,), ()), chain((), (), (1,))),
    "order of dimensions": lambda: (
        priors.Joint(blocks, dims=[[2], [0], [1]]),
        priors.Joint(blocks, dims=[[0], [1], [2]]),
    ),
    "dimensions, and none": lambda: (
        priors.Joint(blocks, dims=[[2], [0], [1]]),
        priors.Joint(blocks),
    ),
    "no dimensions": lambda: (priors.Joint(blocks), priors.Joint(blocks, dims=[[2], [0], [1]])),
    "inner power": lambda: (priors.LpSpherical(3, 1.0), priors.LpSpherical(3, 2.0)),
    "outer power": lambda: (priors.LpSpherical(3, 1.0, 1.5), priors.LpSpherical(3, 1.0, 2.0)),
    "temperature": lambda: (
        priors.Categorical(3, temperature=0.4),
        priors.Categorical(3, temperature=0.9),
    ),
}
HEADS = {
    "df": (partial(posteriors.StudentT, df=3.0), partial(posteriors.StudentT, df=30.0)),
    "temperature": (
        partial(posteriors.RelaxedCategorical, temperature=0.4),
        partial(posteriors.RelaxedCategorical, temperature=0.9),
    ),
}
LIKELIHOODS = {
    "levels": (
        partial(likelihoods.DiscretizedLogistic, levels=4),
        partial(likelihoods.DiscretizedLogistic, levels=256),
    ),
    "squeeze": (partial(likelihoods.Beta, squeeze=0.1), partial(likelihoods.Beta, squeeze=1e-3)),
}


def check(saved, other, density):
    expected = density(saved)
    assert not torch.allclose(density(other), expected)
    other.load_state_dict(through_file(saved))
    torch.testing.assert_close(density(other), expected)


@pytest.mark.parametrize("name", PAIRS)
def test_priors(name):
    saved, other = PAIRS[name]()
    dim = saved().event_shape[0]
    z = torch.rand(5, dim).softmax(-1)
    check(saved, other, lambda prior: prior().log_prob(z))


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    saved, other = (constant(head(5, 3)) for head in HEADS[name])
    z = torch.rand(2, 3).softmax(-1)
    check(saved, other, lambda head: head(torch.ones(2, 5)).log_prob(z))


def test_levels_of_codes():
    saved, other = (constant(posteriors.Quantized(5, 2, n), 0.2) for n in ([3, 5], [8, 2]))
    check(saved, other, lambda head: head(torch.ones(2, 5)).mean)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_likelihoods(name):
    saved, other = (head(3) for head in LIKELIHOODS[name])
    parameters, x = torch.full((2, 6), 0.3), torch.tensor([[0.0, 1.0, 2 / 3]]).expand(2, 3)
    check(saved, other, lambda head: head(parameters).log_prob(x))


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (chain((), (0,), ()), chain((), (0,), (0,))),
        (posteriors.Quantized(5, 2), posteriors.Quantized(5, 3)),
        (
            posteriors.RelaxedCategorical(5, 2),
            posteriors.RelaxedCategorical(5, 2, schedules.Linear(2.0, 1.0, steps=4)),
        ),
        (priors.Laplace(2), priors.LpSpherical(2)),
    ],
)
def test_states_that_do_not_fit_are_refused(saved, other):
    with pytest.raises(RuntimeError, match="Error"):
        other.load_state_dict(saved.state_dict())


def test_subspaces_of_other_sizes_are_refused_in_one_sentence(is_clear):
    """Their scales alone would fit."""
    saved, other = (priors.Subspaces.lp_nested(sizes) for sizes in ((1, 3), (3, 1)))
    with pytest.raises(ValueError, match=r"sizes \[3, 1\], but got sizes \[1, 3\]") as caught:
        other.load_state_dict(saved.state_dict())
    is_clear(caught.value)
    assert other().event_shape == (4,)
