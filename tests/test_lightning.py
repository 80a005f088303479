"""The same model and objective train with Lightning, to the same weights."""

import copy
import functools

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from disvae import VAE, TrainStep, decoders, encoders, objectives, priors
from disvae.lightning import LitVAE
from disvae.objectives import schedules

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def trainer(tmp_path, **options):
    return lightning.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_it_takes_the_steps_of_the_plain_loop(tmp_path):
    x = torch.rand(32, 6)
    model = VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2, learn_scale=True))
    objective = objectives.BetaVAE(beta=schedules.Linear(0.0, 4.0, steps=8))
    plain, lit = copy.deepcopy(model), Seeded(model, objective, lr=1e-2)
    loader = DataLoader(x, batch_size=8)
    trainer(tmp_path, max_epochs=2).fit(lit, loader)

    train = TrainStep(plain, objective)
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-2)
    for step, batch in enumerate([*loader, *loader]):
        torch.manual_seed(step)
        losses = train(batch, step=torch.tensor(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    for a, b in zip(lit.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Seeded(LitVAE):
    """Draws the noise of step k from seed k, so that a plain loop can repeat it."""

    def training_step(self, batch, batch_idx):
        torch.manual_seed(self.global_step)
        return super().training_step(batch, batch_idx)


def test_every_term_is_logged_for_training_and_validation(tmp_path):
    model = VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2))
    lit = LitVAE(model, objectives.BetaTCVAE(dataset_size=32, beta=2.0))
    loader = DataLoader(TensorDataset(torch.rand(32, 6)), batch_size=8)
    fit = trainer(tmp_path, max_epochs=1)
    fit.fit(lit, loader, loader)
    names = ["total", "reconstruction", "mutual_information", "total_correlation"]
    for stage in ("train", "val"):
        for name in [*names, "dimensionwise_kl"]:
            assert torch.isfinite(fit.callback_metrics[f"{stage}/{name}"])


def test_the_context_is_made_from_the_labels(tmp_path):
    one_hot = functools.partial(torch.nn.functional.one_hot, num_classes=4)
    model = VAE(
        encoders.MLP(6, 2, context_dim=4),
        decoders.MLP(2, 6, context_dim=4),
        prior=priors.Normal(2),
    )
    before = copy.deepcopy(model.state_dict())
    lit = LitVAE(
        model,
        objectives.ELBO(),
        optimizer=functools.partial(torch.optim.SGD, momentum=0.9),
        context=lambda y: one_hot(y).float(),
    )
    loader = DataLoader(TensorDataset(torch.rand(32, 6), torch.arange(32) % 4), batch_size=8)
    trainer(tmp_path, max_epochs=1).fit(lit, loader)
    changed = [not torch.equal(v, before[k]) for k, v in model.state_dict().items() if "dense" in k]
    assert all(changed)
