"""E1: does a prior that is not invariant to rotations disentangle dSprites better, at what cost?

    python -m examples.mathieu2019.independence [--quick | --paper]

For each prior, each β and each seed one model: reconstruction, rate, FactorVAE score, MIG and DCI.
"""

import statistics
from pathlib import Path

import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, plotting
from examples import experiments
from examples.experiments import Record, Results, Settings, values_of

HERE = Path(__file__).parent
PRIORS = ("isotropic", "pca", "pca-learnt", "student-t9", "laplace", "student-t3")
COMMON = {"latent_dim": 10, "subset": "downsampled"}
SIZES = {
    "quick": {"size": 16, "epochs": 3, "batch_size": 256, "lr": 2e-3},
    "desk": {"size": 32, "epochs": 10, "batch_size": 256, "lr": 1e-3},
    "paper": {"size": 64, "epochs": 20, "batch_size": 64, "lr": 5e-4},
}
COLLAPSED = 0.1  # nats of KL: such a model draws the mean image
BETAS = {"quick": (0.1, 1), "desk": (1, 4, 8), "paper": (1, 2, 4, 6, 8, 12, 16)}


def settings_of(size: str) -> dict[str, Settings]:
    """The runs of one size, by name: all priors for one seed after another, other df at the end.

    The paper's own set, all 737,280 images, is taken at its size.
    """
    subset = {"subset": "whole"} if size == "paper" else {}
    groups = [("isotropic", "laplace")] if size == "quick" else [PRIORS[:5], PRIORS[5:]]
    return {
        f"{prior}-beta{beta}-seed{seed}": {
            "prior": prior,
            "beta": beta,
            "seed": seed,
            **COMMON,
            **subset,
            **SIZES[size],
        }
        for group in groups
        for seed in range(1 if size == "quick" else 3)
        for prior in group
        for beta in BETAS[size]
    }


def model_of(settings: Settings, images: Tensor) -> disvae.VAE:
    """The paper's nets at 64×64; below, without their last convolutions."""
    shape, latent_dim = tuple(images.shape[1:]), settings["latent_dim"]
    channels = {16: (32, 64), 32: (32, 32, 64), 64: (32, 32, 64, 64)}[settings["size"]]
    encoder = encoders.Conv(shape, latent_dim, channels=channels, hidden=(128,))
    decoder = decoders.Conv(latent_dim, shape, channels=channels[::-1], hidden=(128,))
    prior = experiments.prior_of(settings["prior"], images, latent_dim)
    return disvae.VAE(encoder, decoder, prior=prior)


def run(settings: Settings, path: Path) -> Results:
    """Train one model on all images and measure it on all of them, as the paper does."""
    dataset = data.DSprites(subset=settings["subset"], size=settings["size"], binary=True)
    images = dataset.images.to(torch.get_default_device())
    model = model_of(settings, images)
    objective = objectives.BetaVAE(float(settings["beta"]))
    training = {name: settings[name] for name in ("epochs", "batch_size", "lr")}
    experiments.fit(model, objective, images, **training)
    experiments.write_weights(experiments.weights_of(path), model.state_dict())
    return measured(model, images, dataset.factors.numpy(), settings)


def measured(model: disvae.VAE, images: Tensor, factors: NDArray, settings: Settings) -> Results:
    """Costs in nats per image, and the scores of the posterior means."""
    torch.manual_seed(settings["seed"])
    found = evaluation.summary(model, images)
    codes, _ = evaluation.encode(model, images)
    even = codes
    if settings["prior"].startswith("student-t"):  # the paper's step before its score
        even = metrics.student_t_to_normal(codes, df=model.prior.df().mean().item())
    dci = metrics.dci(codes, factors)
    votes = {"train_votes": 20_000, "batch_size": 1000}
    return {
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "kl_per_dimension": found.kl_per_dimension,
        "active_units": found.active.count,
        "factor_vae_score": metrics.factor_vae_score(even, factors, **votes),
        "mig": metrics.mig(codes, factors),
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": dci.informativeness,
        "gaussian_total_correlation": metrics.gaussian_total_correlation(codes),
        "prior_scale": model.prior().stddev,
    }


SCORES = {
    "factor_vae_score": "FactorVAE score",
    "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement",
}


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each prior and β the costs and scores, with 95 % intervals over seeds; a row of names."""
    rows = [["prior", "β", "seeds", "reconstruction", "KL", *SCORES.values(), "active"]]
    for (prior, beta), runs in experiments.over_seeds(records, "prior", "beta").items():
        costs = [experiments.shown(values_of(runs, name)) for name in ("reconstruction", "kl")]
        scores = [experiments.shown(values_of(runs, name), 3) for name in SCORES]
        active = experiments.shown(values_of(runs, "active_units"), 1)
        rows.append([prior, f"{beta:g}", str(len(runs)), *costs, *scores, active])
    return rows


def differences(records: dict[str, Record]) -> list[list[str]]:
    """How much each prior scores above the isotropic one at equal reconstruction.

    For each seed the isotropic prior's score is interpolated between its models of different β at
    the other's reconstruction; where that lies beyond them, the nearest one is taken. The mean is
    over the β, the interval over seeds.
    """
    reference = [run for run in records.values() if run["settings"]["prior"] == PRIORS[0]]
    rows = [["prior", "seeds", *SCORES.values()]]
    by_prior = experiments.over_seeds(records, "prior", "seed")
    for prior in PRIORS[1:]:
        seeds = [runs for (other, _), runs in by_prior.items() if other == prior]
        cells = []
        for name in SCORES:
            above = [
                statistics.fmean(experiments.excess(run, reference, name) for run in runs)
                for runs in seeds
            ]
            cells.append(experiments.shown(above, 3))
        if seeds:
            rows.append([prior, str(len(seeds)), *cells])
    return rows


def panels(records: dict[str, Record]) -> dict[str, dict[str, plotting.Curve]]:
    """By score the curves of the priors over β, of the models that are there and not collapsed."""
    alive = {name: run for name, run in records.items() if run["results"]["kl"] > COLLAPSED}
    groups = experiments.over_seeds(alive, "prior", "beta")
    found: dict[str, dict[str, plotting.Curve]] = {}
    for name, title in SCORES.items():
        for prior in PRIORS:
            betas = sorted(beta for other, beta in groups if other == prior)
            if betas:
                runs = [groups[prior, beta] for beta in betas]
                x, y = (experiments.means_of(runs, field) for field in ("reconstruction", name))
                curve = plotting.Curve(x, y, [f"{beta:g}" for beta in betas])
                found.setdefault(title, {})[prior] = curve
    return found


def figure(records: dict[str, Record]) -> Figure:
    """Each score against reconstruction: a curve per prior, points over β, standard errors as bars.

    Collapsed models are left out: they draw the mean far from where the other seeds are.
    """
    xlabel = "reconstruction in nats; numbers: β"  # longer ones leave the panels
    return plotting.tradeoff(panels(records), xlabel=xlabel, ylabel="score", columns=2)


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = experiments.parser(__doc__, HERE).parse_args()
    if options.download:
        data.DSprites(subset="whole" if options.paper else "downsampled", download=True)
    records = experiments.sweep_as_asked(options, "independence", settings_of, run)
    experiments.show(table(records))
    experiments.show(differences(records))
    if panels(records):
        experiments.save(figure(records), experiments.pictures(options) / "independence.png")


if __name__ == "__main__":
    main()
