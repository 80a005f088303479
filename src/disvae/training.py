"""One training step as a module: what is compiled, wrapped for several devices, and optimised."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from disvae.model import VAE
from disvae.objectives import Losses, Objective


class TrainStep(nn.Module):
    r"""A model and its objective as one module, for any training loop.

    It computes the losses and calls no optimiser. Compile it, wrap it in
    ``DistributedDataParallel``, and optimise its parameters, which include those that an objective
    may have.

    Args:
        model: The model.
        objective: Any objective; the loop stays the same.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, objectives, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> train = disvae.TrainStep(model, objectives.BetaVAE(beta=4.0))
        >>> optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
        >>> losses = train(torch.rand(16, 8), step=torch.tensor(0))
        >>> optimizer.zero_grad(); losses.total.backward(); optimizer.step()
    """

    def __init__(self, model: VAE, objective: Objective) -> None:
        super().__init__()
        if not isinstance(model, nn.Module) or isinstance(model, Objective):
            raise TypeError(
                f"Expected model to be a disvae.VAE, but got {type(model).__name__}; "
                f"write TrainStep(model, objective)."
            )
        if not isinstance(objective, Objective):
            kind = objective.__name__ if isinstance(objective, type) else type(objective).__name__
            raise TypeError(
                f"Expected objective to be an instance of disvae.objectives.Objective, but got "
                f"{kind}; make one, or put a term into objectives.WeightedSum."
            )
        self.model = model
        self.objective = objective

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        step: Tensor | int | None = None,
        **keywords: Any,
    ) -> Losses:
        """The losses of one batch.

        Args:
            x: The data, ``(B, *event)``.
            context: What the model is conditioned on, ``(B, C)``.
            step: The number of the step, for weights that follow a schedule; None means their final
                values. Under ``torch.compile`` pass a tensor: an int compiles anew at every step.
            **keywords: What the objective takes beside these, such as ``labels``.
        """
        if keywords and not torch.compiler.is_compiling():
            _check_keywords(self.objective, keywords)
        return self.objective(self.model, x, context=context, step=step, **keywords)


def _check_keywords(objective: Objective, keywords: Mapping[str, Any]) -> None:
    parameters = inspect.signature(objective.forward).parameters
    unknown = [name for name in keywords if name not in parameters]
    if unknown and all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(
            f"Expected keywords that {type(objective).__name__} takes, but it takes no "
            f"{unknown[0]}; leave it out, or add a term that uses it to a WeightedSum."
        )


def param_groups(
    module: nn.Module, settings: Mapping[nn.Module | nn.Parameter, Mapping[str, Any]] | None = None
) -> list[dict[str, Any]]:
    r"""Parameter groups for an optimiser, with settings of their own for some submodules.

    Every trainable parameter is in exactly one group. Where submodules are nested, the innermost
    one that has settings decides.

    Args:
        module: What is trained, e.g. a :class:`TrainStep`.
        settings: For submodules or parameters of ``module``, the optimiser's keywords; none by
            default.

    Returns:
        One group with the settings for each entry, after a first group of all other parameters;
        empty groups are left out.

    Raises:
        ValueError: If an entry is not part of ``module``.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
        >>> optimizer = torch.optim.Adam(param_groups(net, {net[1]: {"lr": 1e-4}}), lr=1e-3)
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.001, 0.0001]
    """
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"Expected module to be an nn.Module, but got {type(module).__name__}; "
            f"pass the TrainStep, so that an objective's own parameters are among them."
        )
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping) or not all(
        isinstance(keywords, Mapping) for keywords in settings.values()
    ):
        raise TypeError(
            "Expected settings to map submodules to keywords of the optimiser, but got something "
            "else; write {submodule: {'lr': 1e-4}}."
        )
    inside = {*module.modules(), *module.parameters()}
    for entry in settings:
        if entry not in inside:
            raise ValueError(
                f"Expected every entry of settings to be a submodule or parameter of the module, "
                f"but {type(entry).__name__} is not; take it from the module itself."
            )
    owner: dict[nn.Parameter, nn.Module | nn.Parameter | None] = {}
    # modules() lists an outer module before those inside it, so an inner entry overwrites
    for submodule in module.modules():
        for parameter in submodule.parameters():
            if submodule in settings or parameter not in owner:
                owner[parameter] = submodule if submodule in settings else None
    owner.update({parameter: parameter for parameter in owner if parameter in settings})
    keywords = [(None, {}), *settings.items()]
    groups = [
        {"params": [p for p, found in owner.items() if found is entry and p.requires_grad], **extra}
        for entry, extra in keywords
    ]
    return [group for group in groups if group["params"]]
