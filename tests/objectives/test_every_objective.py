"""Every objective, with either kind of net, in a plain loop and under Lightning, all alike."""

import functools
import inspect

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import disvae
from disvae import VAE, TrainStep, decoders, encoders, objectives, posteriors, priors
from disvae.objectives import kernels, schedules, terms
from disvae.testing import check_objective

N, D, CLASSES = 256, 3, 3
MMD = functools.partial(terms.MMD, kernels.InverseMultiquadratic())

PLAIN = {
    "ELBO": objectives.ELBO,
    "Autoencoder": objectives.Autoencoder,
    "BetaVAE": lambda: objectives.BetaVAE(beta=schedules.Linear(0.0, 0.5, steps=20)),
    "CapacityVAE": lambda: objectives.CapacityVAE(2.0, schedules.Linear(0.0, 5.0, steps=20)),
    "BetaTCVAE": lambda: objectives.BetaTCVAE(dataset_size=N, beta=2.0),
    "BetaTCVAE, stratified": lambda: objectives.BetaTCVAE(
        dataset_size=N, beta=2.0, estimator="stratified"
    ),
    "FactorVAE": lambda: objectives.FactorVAE(D, gamma=2.0, hidden=(16, 16)),
    "Decomposition": lambda: objectives.Decomposition(
        beta=0.5, alpha=1.0, divergence=terms.InclusiveKL()
    ),
    "DIPVAE": lambda: objectives.DIPVAE("II", lambda_od=2.0, lambda_d=2.0),
    "InfoVAE": lambda: objectives.InfoVAE(0.5, 5.0, MMD()),
    "WAE": lambda: objectives.WAE(10.0, MMD()),
    "AdversarialAutoencoder": lambda: objectives.AdversarialAutoencoder(
        D, weight=1.0, hidden=(16, 16)
    ),
    "JointVAE": lambda: objectives.JointVAE(1.0, 2.0, 0.5),
    "IWAE": lambda: objectives.IWAE(4),
    "MIWAE": lambda: objectives.MIWAE(2, 3),
    "CIWAE": lambda: objectives.CIWAE(4, 0.5),
    "DReG": lambda: objectives.DReG(4),
    "GECO": lambda: objectives.GECO(20.0),
    "ControlVAE": lambda: objectives.ControlVAE(3.0),
    "HFVAE": lambda: objectives.HFVAE([[0, 1], [2]], N, beta=2.0),
    "sum of other terms": lambda: objectives.WeightedSum(
        reconstruction=(1.0, terms.OptimalSigmaReconstruction()),
        kl=(1.0, terms.FreeBits(0.1)),
        sparsity=(0.1, terms.Sparsity(terms.hoyer)),
        distance=(1.0, terms.SlicedWasserstein()),
        marginals=(1.0, terms.PerDimensionMMD()),
    ),
}
PAIRS = {
    "AdaGVAE": objectives.AdaGVAE,
    "AdaMLVAE": objectives.AdaMLVAE,
    "SlowVAE": objectives.SlowVAE,
}


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))

    def forward(self, x):
        return self.net(x)


def bars():
    """Two bars at eight places each, with the place of the first as a class, unknown in half."""
    places = torch.randint(0, 8, (N, 2), generator=torch.Generator().manual_seed(0))
    x = torch.zeros(N, 1, 8, 8)
    x[torch.arange(N), 0, places[:, 0]] = 1.0
    x[torch.arange(N), 0, :, places[:, 1]] = 1.0
    labels = places[:, 0] % CLASSES
    labels[::2] = -1
    return x, labels


def parts(name, net):
    """The objective, its model, its data, and what goes beside them."""
    torch.manual_seed(0)
    x, labels = bars()
    semi = name == "SemiSupervisedVAE"
    context_dim = CLASSES if semi else 0
    objective = (
        objectives.SemiSupervisedVAE(Classifier(), CLASSES) if semi else {**PLAIN, **PAIRS}[name]()
    )
    prior = priors.Normal(D)
    options = {"hidden": (32,), "context_dim": context_dim}
    head = {}
    if name == "JointVAE":
        heads = [(1, posteriors.DiagonalNormal), (2, posteriors.RelaxedCategorical)]
        head = {"posterior": functools.partial(posteriors.Joint, heads=heads)}
        prior = priors.Joint([priors.Normal(1), priors.Categorical(2)])
    encoder = getattr(encoders, net)((1, 8, 8), D, **options, **head)
    decoder = getattr(decoders, net)(D, (1, 8, 8), **options)
    if name in PAIRS:
        x = torch.stack((x, x.roll(1, 0)), dim=1)
    return VAE(encoder, decoder, prior=prior), objective, x, labels if semi else None


NAMES = [*PLAIN, *PAIRS, "SemiSupervisedVAE"]


def cost(losses):
    """What every objective lowers here: its own bound, or the reconstruction."""
    return losses.terms["reconstruction"].item()


@pytest.mark.parametrize("net", ["MLP", "Conv"])
@pytest.mark.parametrize("name", NAMES)
def test_the_plain_loop_learns_with_it(name, net):
    model, objective, x, labels = parts(name, net)
    train = TrainStep(model, objective)
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-2)
    keywords = {} if labels is None else {"labels": labels}
    first = None
    for step in range(60):
        losses = train(x, step=torch.tensor(step), **keywords)
        first = cost(losses) if first is None else first
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert all(torch.isfinite(p.grad).all() for p in train.parameters() if p.grad is not None)
    assert cost(losses) < 0.9 * first


class Seeded(disvae.lightning.LitVAE):
    """Draws the noise of step k from seed k, so that a plain loop can repeat it."""

    def training_step(self, batch, batch_idx):
        torch.manual_seed(self.global_step)
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("net", ["MLP", "Conv"])
@pytest.mark.parametrize("name", NAMES)
def test_lightning_takes_the_steps_of_the_plain_loop(name, net, tmp_path):
    model, objective, x, labels = parts(name, net)
    rows = 64
    train = TrainStep(model, objective)
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
    for step in range(N // rows):
        part = slice(step * rows, (step + 1) * rows)
        keywords = {} if labels is None else {"labels": labels[part]}
        torch.manual_seed(step)
        losses = train(x[part], step=torch.tensor(step), **keywords)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()

    other, other_objective, x, labels = parts(name, net)
    data = TensorDataset(x) if labels is None else TensorDataset(x, labels)
    lit = Seeded(other, other_objective, lr=1e-3, labels=None if labels is None else lambda y: y)
    trainer = lightning.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
    )
    trainer.fit(lit, DataLoader(data, batch_size=rows))
    for p, q in zip(train.parameters(), lit.train_step.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in PLAIN if n != "JointVAE"])
def test_it_keeps_the_contract(name):
    objective = PLAIN[name]()
    check_objective(objective)


@pytest.mark.parametrize("name", [*PAIRS, "SemiSupervisedVAE", "JointVAE"])
def test_so_do_those_with_models_or_data_of_their_own(name):
    model, objective, x, labels = parts(name, "MLP")
    # with labels, other pairs of datum and class are decoded under a compiler, with other noise
    keywords = {} if labels is None else {"labels": labels, "compiles": False}
    check_objective(objective, model, x, **keywords)


def test_every_objective_is_here_with_its_paper():
    classes = {
        name
        for name, value in vars(objectives).items()
        if inspect.isclass(value) and issubclass(value, objectives.Objective)
    } - {"Objective", "WeightedSum"}
    assert {name.split(",")[0] for name in NAMES} >= classes
    for name in classes:
        paper = getattr(objectives, name).paper
        assert "https://" in paper or "http://" in paper, name
