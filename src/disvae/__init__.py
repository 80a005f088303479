r"""Composable variational autoencoder blocks for PyTorch.

A part of a VAE is any ``nn.Module`` whose ``forward`` returns a
``torch.distributions.Distribution``. Submodules load on use,
so ``import disvae`` is cheap and ``disvae.metrics`` needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disvae import (
        alignment,
        data,
        decoders,
        distributions,
        encoders,
        evaluation,
        lightning,
        likelihoods,
        metrics,
        nn,
        objectives,
        plotting,
        posteriors,
        priors,
        testing,
        traversals,
    )
    from disvae.model import VAE
    from disvae.output import VAEOutput
    from disvae.training import TrainStep, param_groups

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "TrainStep",
    "VAEOutput",
    "alignment",
    "data",
    "decoders",
    "distributions",
    "encoders",
    "evaluation",
    "lightning",
    "likelihoods",
    "metrics",
    "nn",
    "objectives",
    "param_groups",
    "plotting",
    "posteriors",
    "priors",
    "testing",
    "traversals",
]

_HOME = {
    "VAE": "disvae.model",
    "VAEOutput": "disvae.output",
    "TrainStep": "disvae.training",
    "param_groups": "disvae.training",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in __all__:
        value = importlib.import_module(f"disvae.{name}")
    else:
        raise AttributeError(f"module 'disvae' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
