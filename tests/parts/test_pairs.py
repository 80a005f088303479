"""Every prior with every posterior: the table of the documentation, and nothing beside it."""

import functools
from pathlib import Path

import pytest
import torch
import zuko

import disvae
from disvae import VAE, TrainStep, decoders, encoders, objectives, posteriors, priors
from disvae.objectives import kernels, terms

D, C = 4, 3
TABLE = Path(__file__).parents[2] / "docs" / "pairs.md"

# made from the encoder, which a VampPrior shares
PRIORS = {
    "Normal": lambda e: priors.Normal(D),
    "Normal, fixed trace": lambda e: priors.Normal(
        D, torch.tensor([2.0, 1.0, 1.0, 0.5]), learn_scale=True, fixed_trace=True
    ),
    "FullNormal": lambda e: priors.FullNormal(D),
    "Laplace": lambda e: priors.Laplace(D),
    "StudentT": lambda e: priors.StudentT(D, df=5.0, learn_df=True),
    "GeneralizedNormal": lambda e: priors.GeneralizedNormal(D, power=4.0),
    "Sparse": lambda e: priors.Sparse(D),
    "Mixture": lambda e: priors.Mixture(D, components=5),
    "TreeMixture": lambda e: priors.TreeMixture(D),
    "GaussianGraph": lambda e: priors.GaussianGraph([(), (0,), (0, 1), (2,)]),
    "Subspaces": lambda e: priors.Subspaces(
        [([0, 2], priors.FullNormal(2)), ([1, 3], priors.Laplace(2))]
    ),
    "Subspaces, Lᵖ-nested": lambda e: priors.Subspaces.lp_nested((2, 2)),
    "LpSpherical": lambda e: priors.LpSpherical(D, learn_scale=True),
    "Vamp": lambda e: priors.Vamp(e, torch.rand(7, 6)),
    "Vamp, exemplars": lambda e: priors.Vamp(e, torch.rand(7, 6), learn=False, exemplars=4),
    "HypersphericalUniform": lambda e: priors.HypersphericalUniform(D),
    "ClassConditional": lambda e: priors.ClassConditional(D, num_classes=C),
    "Categorical": lambda e: priors.Categorical(D, learn=True),
    "Joint": lambda e: priors.Joint([priors.Normal(2), priors.Categorical(2)]),
    "a flow of zuko": lambda e: zuko.flows.NSF(D, transforms=1, hidden_features=(8,)),
}
POSTERIORS = {
    "DiagonalNormal": posteriors.DiagonalNormal,
    "FullNormal": posteriors.FullNormal,
    "LowRankNormal": posteriors.LowRankNormal,
    "Laplace": posteriors.Laplace,
    "StudentT": posteriors.StudentT,
    "InverseAutoregressive": functools.partial(
        posteriors.InverseAutoregressive, transforms=1, hidden=(8,)
    ),
    "a flow of zuko": lambda features, dim: zuko.flows.MAF(
        dim, context=features, transforms=1, hidden_features=(8,)
    ),
    "PowerSpherical": posteriors.PowerSpherical,
    "RelaxedCategorical": posteriors.RelaxedCategorical,
    "Joint": functools.partial(
        posteriors.Joint,
        heads=[(2, posteriors.DiagonalNormal), (2, posteriors.RelaxedCategorical)],
    ),
    "Deterministic": posteriors.Deterministic,
    "Quantized": posteriors.Quantized,
}


def table():
    """The pairs of the documentation with their verdicts."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    header, rows = cells[0], cells[2:]
    return {
        (row[0], posterior): {"✓": "trains", "✗": "raises"}[verdict]
        for row in rows
        for posterior, verdict in zip(header[1:], row[1:], strict=True)
    }


VERDICTS = table()


def two_steps(prior, posterior, objective):
    conditional = C if prior == "ClassConditional" else 0
    context = torch.eye(C)[torch.tensor([0, 1, 2, 2, 0])] if conditional else None
    encoder = encoders.MLP(
        6, D, hidden=(8,), posterior=POSTERIORS[posterior], context_dim=conditional
    )
    decoder = decoders.MLP(D, 6, hidden=(8,), context_dim=conditional)
    model = VAE(encoder, decoder, prior=PRIORS[prior](encoder))
    train = TrainStep(model, objective)
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
    for _ in range(2):
        losses = train(torch.rand(5, 6), context)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert torch.isfinite(losses.total)
    return model


def test_the_table_holds_every_shipped_class():
    assert set(VERDICTS) == {(p, q) for p in PRIORS for q in POSTERIORS}
    assert {p.split(",")[0] for p in PRIORS} >= set(disvae.priors.__all__)
    assert set(POSTERIORS) >= set(disvae.posteriors.__all__)


@pytest.mark.parametrize(("prior", "posterior"), [k for k, v in VERDICTS.items() if v == "trains"])
def test_trains(prior, posterior):
    model = two_steps(prior, posterior, objectives.ELBO())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(("prior", "posterior"), [k for k, v in VERDICTS.items() if v == "raises"])
def test_raises_and_names_objectives_that_work(prior, posterior):
    named = r"^Expected .*objectives\.Autoencoder.*objectives\.WAE, terms\.MMD\.$"
    with pytest.raises(ValueError, match=named) as caught:
        two_steps(prior, posterior, objectives.ELBO())
    assert "\n" not in str(caught.value)
    assert 25 <= len(str(caught.value)) <= 400
    two_steps(prior, posterior, objectives.Autoencoder())
    two_steps(prior, posterior, objectives.WAE(10.0, terms.MMD(kernels.InverseMultiquadratic())))
