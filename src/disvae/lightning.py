"""Training with Lightning: the only module that imports it. It needs the extra ``lightning``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from disvae._extras import require
from disvae.model import VAE
from disvae.nn import as_pair
from disvae.objectives import Losses, Objective
from disvae.training import TrainStep

lightning = require("lightning", "lightning")


class LitVAE(lightning.LightningModule):  # type: ignore[name-defined]
    r"""A model and an objective as a ``LightningModule`` with automatic optimisation.

    The same two objects as in a plain loop go in; Lightning brings several devices, mixed
    precision, checkpoints, loggers and progress bars. The total and every term are logged, as
    ``train/<term>`` at each step and as ``val/<term>`` over the validation set.

    Args:
        model: The model.
        objective: Any objective.
        lr: The learning rate.
        optimizer: Makes the optimiser from parameters and ``lr``; Adam by default.
        context: For batches (x, y), a function from y to the context of the model.
        labels: For batches (x, y), a function from y to the labels of a supervised objective.

    Example:
        >>> import torch, lightning, disvae
        >>> from disvae import decoders, encoders, objectives, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> lit = disvae.lightning.LitVAE(model, objectives.ELBO(), lr=1e-3)
        >>> loader = torch.utils.data.DataLoader(torch.rand(64, 8), batch_size=16)
        >>> lightning.Trainer(max_epochs=20).fit(lit, loader)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: VAE,
        objective: Objective,
        *,
        lr: float = 1e-3,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        context: Callable[[Any], Tensor] | None = None,
        labels: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.train_step = TrainStep(model, objective)
        self.lr = lr
        self.optimizer = optimizer
        self.context = context
        self.labels = labels

    @property
    def model(self) -> VAE:
        """The model that is trained."""
        return self.train_step.model

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The total of one batch; its terms are logged."""
        losses = self._losses(batch)
        self._log("train", losses, batch)
        return losses.total

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the terms of one batch of the validation set."""
        self._log("val", self._losses(batch), batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of all parameters, those of the objective included."""
        return self.optimizer(self.parameters(), lr=self.lr)

    def _losses(self, batch: Any) -> Losses:
        x, y = as_pair(batch)
        context = None if self.context is None else self.context(y)
        step = torch.tensor(self.global_step, device=self.device)
        if self.labels is None:
            return self.train_step(x, context, step)
        return self.train_step(x, context, step, labels=self.labels(y))

    def _log(self, stage: str, losses: Losses, batch: Any) -> None:
        x, _ = as_pair(batch)
        values = {"total": losses.total.detach(), **losses.terms}
        self.log_dict(
            {f"{stage}/{name}": value for name, value in values.items()},
            prog_bar=stage == "train",
            batch_size=len(x),
        )
