"""The runs that the experiments of paper 1 draw on: one model of MNIST each, trained and measured.

All experiments share one folder of runs, so that a model that two of them show is trained once.
Nets, optimiser and batch are the paper's. Figures are those of the test images; costs are in nats
per image, and the ELBO has β = 1 whatever the model was trained with.

Weights stay beside the record of a run. Where that is removed, it is made anew from them, and its
revision and seconds are those of measuring.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

import disvae
from disvae import (
    alignment,
    data,
    decoders,
    encoders,
    evaluation,
    likelihoods,
    objectives,
    plotting,
)
from disvae.distributions import point
from examples import experiments
from examples.experiments import Results, Settings
from examples.pastrana2022 import classes

HERE = Path(__file__).parent
POOL = "mnist"
SHAPE = (1, 28, 28)
ATTRIBUTES = ("thickness", "slant", "width")  # the paper's line weight, tilt and width
UNITS = {"thickness": "pixels", "slant": "radians", "width": "pixels"}
SIZES = {
    "quick": {"train": 6_000, "test": 2_000, "epochs": 15, "batch_size": 100, "lr": 0.01},
    "paper": {"train": 60_000, "test": 10_000, "epochs": 50, "batch_size": 100, "lr": 0.01},
}
Runs = dict[str, Settings]


class Digits(NamedTuple):
    """Some of MNIST.

    Attributes:
        images: ``(N, 1, 28, 28)``, in [0, 1].
        labels: The digits, ``(N,)``.
        attributes: The attributes of ``ATTRIBUTES``, ``(N, 3)``; of test images alone.
    """

    images: Tensor
    labels: Tensor
    attributes: Tensor | None

    def context(self, settings: Settings) -> Tensor | None:
        """What the model of a run is given: the digits, one-hot, or nothing."""
        return classes.one_hot(self.labels) if settings["conditional"] else None


def one(
    size: str,
    seed: int,
    *,
    beta: float = 1,
    objective: str = "beta-vae",
    prior: str = "isotropic",
    conditional: bool = False,
    latent_dim: int = 10,
    digit: int | None = None,
) -> Runs:
    """The settings of one run, by its name.

    Args:
        size: Which of ``SIZES``.
        seed: Of weights, batches and samples.
        beta: The weight: of the KL; for ``"beta-tcvae"`` of the total correlation in it, and for
            ``"factor-vae"`` of the one beside it.
        objective: ``"beta-vae"``, ``"beta-tcvae"`` or ``"factor-vae"``.
        prior: As in :func:`examples.experiments.prior_of`.
        conditional: Whether encoder and decoder are told the digit.
        latent_dim: The number of latent dimensions.
        digit: The only digit to train and to test with; None takes all.
    """
    parts = [objective, *([] if prior == "isotropic" else [prior])]
    parts += [f"beta{beta:g}", f"dim{latent_dim}", *(["conditional"] if conditional else [])]
    parts += [*([] if digit is None else [f"digit{digit}"]), f"seed{seed}"]
    settings = {
        "objective": objective,
        "prior": prior,
        "beta": float(beta),
        "conditional": conditional,
        "latent_dim": latent_dim,
        "digit": digit,
        "seed": seed,
        **SIZES[size],
    }
    return {"-".join(parts): settings}


def seeds_of(size: str, several: int = 3) -> range:
    """The seeds of one size."""
    return range(1 if size == "quick" else several)


def run(settings: Settings, path: Path) -> Results:
    """Train one model and measure it."""
    return measured(trained(settings, path), settings)


def trained(settings: Settings, path: Path) -> disvae.VAE:
    """The model of a run, from its file of weights where that is there."""
    digits = digits_of(settings, train=True)
    torch.manual_seed(settings["seed"])
    model = model_of(settings, digits.images)
    weights = experiments.weights_of(path)
    if weights.exists():
        kept = torch.load(weights, map_location=torch.get_default_device())
        if kept["settings"] != settings:
            raise SystemExit(f"{weights} was made with other settings; move it away.")
        model.load_state_dict(kept["model"])
        return model
    experiments.fit(
        model,
        objective_of(settings, len(digits.images)),
        digits.images,
        context=digits.context(settings),
        make_optimizer=torch.optim.Adagrad,
        **{name: settings[name] for name in ("epochs", "batch_size", "lr")},
    )
    experiments.write_weights(weights, {"settings": settings, "model": model.state_dict()})
    return model


def model_of(
    settings: Settings, images: Tensor, likelihood: Any = likelihoods.Bernoulli
) -> disvae.VAE:
    """The paper's nets, of some size and with some prior."""
    latent_dim = settings["latent_dim"]
    context_dim = classes.CLASSES if settings["conditional"] else 0
    encoder = encoders.pastrana_mlp(SHAPE, latent_dim, context_dim=context_dim)
    decoder = decoders.pastrana_mlp(
        latent_dim, SHAPE, likelihood=likelihood, context_dim=context_dim
    )
    prior = experiments.prior_of(settings["prior"], images, latent_dim)
    return disvae.VAE(encoder, decoder, prior=prior)


def objective_of(settings: Settings, dataset_size: int) -> objectives.Objective:
    """What a model is trained by."""
    weight = settings["beta"]
    if settings["objective"] == "beta-tcvae":
        return objectives.BetaTCVAE(dataset_size, beta=weight)
    if settings["objective"] == "factor-vae":
        # the discriminator of the FactorVAE paper, six layers of 1000, is larger than these nets
        return objectives.FactorVAE(settings["latent_dim"], gamma=weight, hidden=(256, 256, 256))
    return objectives.BetaVAE(weight)


def digits_of(settings: Settings, *, train: bool) -> Digits:
    """The images that a run is trained on, or those that it is tested on."""
    found = _first(settings["train" if train else "test"], train)
    if settings["digit"] is None:
        return found
    rows = found.labels == settings["digit"]
    return Digits(*(None if part is None else part[rows.to(part.device)] for part in found))


@functools.cache
def _first(count: int, train: bool) -> Digits:
    digits = data.MNIST(train=train)
    images, labels = digits.images[:count], digits.labels[:count]
    # measured here, and not read, so that nothing but MNIST is needed
    attributes = None
    if not train:
        table = data.morphology(images)
        attributes = torch.tensor(np.stack([getattr(table, name) for name in ATTRIBUTES], axis=1))
    device = torch.get_default_device()
    return Digits(images.to(device), labels.to(device), attributes)


@functools.cache
def judge_of(count: int) -> nn.Module:
    """A classifier trained on the first of the training images."""
    digits = _first(count, train=True)
    return classes.trained_judge(digits.images, digits.labels)


def measured(model: disvae.VAE, settings: Settings) -> Results:
    """Costs, alignment, and which way the class goes, of the test images."""
    digits = digits_of(settings, train=False)
    context = digits.context(settings)
    torch.manual_seed(settings["seed"])
    found = evaluation.decompose(model, digits.images, context=context)
    results = {
        "elbo": found.elbo,
        "reconstruction": found.distortion,
        "kl": found.rate,
        "kl_per_dimension": found.kl_per_dimension,
        "active_units": found.active.count,
        "mutual_information": found.mutual_information,
        "total_correlation": found.total_correlation,
        "aggregate_kl": found.aggregate_kl,
        "continuous_bernoulli_elbo": continuous_bernoulli_elbo(model, settings),
        **_floors(digits.images),
    }
    if (found.signal >= 0.01).any():
        results |= _of_alignment(aligned(model, settings), model, settings)
    else:
        results |= dict.fromkeys(ALIGNMENT)
    if settings["digit"] is None:
        labelled = (model, digits.images, digits.labels)
        results["class_in_codes"] = classes.in_codes(*labelled, context)
        if settings["conditional"]:
            results |= classes.through_condition(*labelled, judge_of(settings["train"]))
    return results


def continuous_bernoulli_elbo(model: disvae.VAE, settings: Settings) -> float:
    """The ELBO with the same nets' logits taken for those of a continuous Bernoulli density.

    Cross-entropy on grey pixels is no log density: what it lacks is the normaliser.
    """
    digits = digits_of(settings, train=False)
    proper = model_of(settings, digits.images, likelihoods.ContinuousBernoulli)
    proper.load_state_dict(model.state_dict())
    return evaluation.summary(proper, digits.images, context=digits.context(settings)).elbo


def _floors(images: Tensor) -> Results:
    """The cross-entropy of each image with itself, which none is below, and of the mean image."""
    pixels = images.flatten(1).double()
    own = F.binary_cross_entropy(pixels, pixels, reduction="none").sum(1).mean()
    mean = pixels.mean(0).expand_as(pixels)
    of_mean = F.binary_cross_entropy(mean, pixels, reduction="none").sum(1).mean()
    return {"floor": own.item(), "of_mean_image": of_mean.item()}


def floor(records: dict[str, experiments.Record]) -> str:
    """What reconstruction is to be compared with: no model comes below the first figure."""
    results = next(iter(records.values()))["results"]
    return (
        f"cross-entropy of test images with themselves {results['floor']:.2f} nats, "
        f"with their mean {results['of_mean_image']:.2f}"
    )


def aligned(model: disvae.VAE, settings: Settings) -> alignment.Alignment:
    """The dimensions that carry line weight, tilt and width."""
    digits = digits_of(settings, train=False)
    attributes = dict(zip(ATTRIBUTES, digits.attributes.T, strict=True))
    return alignment.align(
        model, digits.images, attributes, names=ATTRIBUTES, context=digits.context(settings)
    )


ALIGNMENT = (
    "gap",
    "gap_given_class",
    "correlation",
    "code_correlation",
    "monotonicity",
    "cross_talk",
    "own_dimensions",
    "carriers",
)


def _of_alignment(found: alignment.Alignment, model: disvae.VAE, settings: Settings) -> Results:
    """The means over the three attributes, and each one's row.

    Beside the rank correlation of the dimension that changes an attribute most where it is moved,
    that of the one whose codes know most of it: what an encoder tells apart is not always decoded.
    """
    digits = digits_of(settings, train=False)
    with torch.no_grad():
        codes = point(model.encode(digits.images, digits.context(settings)))
    given = classes.gaps_given(codes[:, found.dimensions], digits.attributes, digits.labels)
    rows = found.to_dict()["carriers"]
    for number, (row, gap) in enumerate(zip(rows, given, strict=True)):
        place = found.dimensions.index(row["from_codes"])
        row["gap_given_class"] = {"value": gap}
        row["code_correlation"] = {"value": found.correlation[place, number].item()}
    carriers = found.carriers
    means = {
        "gap": [carrier.gap for carrier in carriers],
        "gap_given_class": given,
        "correlation": [abs(carrier.correlation) for carrier in carriers],
        "code_correlation": [abs(row["code_correlation"]["value"]) for row in rows],
        "monotonicity": [carrier.monotonicity for carrier in carriers],
        "cross_talk": [carrier.cross_talk for carrier in carriers],
    }
    return {
        **{name: statistics.fmean(values) for name, values in means.items()},
        "own_dimensions": len({carrier.dimension for carrier in carriers}),
        "carriers": rows,
    }


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of each experiment: quick, or the paper's own size."""
    return experiments.parser(description, HERE, desk=False)


def sweep(
    options: argparse.Namespace, settings_of: Callable[[str], Runs]
) -> dict[str, experiments.Record]:
    """Run what one experiment needs and has not been run, and return its records."""
    if options.download:
        for part in (True, False):
            data.MNIST(train=part, download=True)
    return experiments.sweep_as_asked(options, POOL, settings_of, run)


def model_for(options: argparse.Namespace, wanted: Runs) -> tuple[disvae.VAE, Settings]:
    """The model of one run, for a picture; it is trained anew where its weights are gone."""
    size = experiments.size_of(options)
    ((name, settings),) = wanted.items()
    return trained(settings, options.out / "results" / POOL / size / name), settings


def traversals(model: disvae.VAE, settings: Settings) -> Figure:
    """Each active dimension from -5 to 5, as in the paper, from the first image's mean code."""
    digits = digits_of(settings, train=False)
    context = digits.context(settings)
    found = evaluation.summary(model, digits.images, context=context)
    first = None if context is None else context[:1]
    return plotting.active_traversals(model, digits.images[:1], found, span=5.0, context=first)
