"""E1: does a prior that is not invariant to rotations disentangle dSprites better, at what cost?

    python -m examples.mathieu2019.independence [--quick | --paper]

For each prior, each β and each seed one model: reconstruction, rate, FactorVAE score, MIG and DCI.
"""

from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, priors
from examples import experiments
from examples.experiments import Results, Settings

HERE = Path(__file__).parent
PRIORS = ("isotropic", "pca", "pca-learnt", "student-t9", "laplace", "student-t3")
COMMON = {"latent_dim": 10, "subset": "downsampled"}
SIZES = {
    "quick": {"size": 16, "epochs": 6, "batch_size": 256, "lr": 2e-3},
    "desk": {"size": 32, "epochs": 10, "batch_size": 256, "lr": 1e-3},
    "paper": {"size": 64, "epochs": 20, "batch_size": 64, "lr": 5e-4},
}
BETAS = {"quick": (1, 8), "desk": (1, 4, 8), "paper": (1, 2, 4, 6, 8, 12, 16)}


def settings_of(size: str) -> dict[str, Settings]:
    """The runs of one size, by name, a whole comparison of all priors for one seed after another.

    The paper's own set, all 737,280 images, is taken at its size.
    """
    subset = {"subset": "whole"} if size == "paper" else {}
    seeds = range(1) if size == "quick" else range(3)
    return {
        f"{prior}-beta{beta}-seed{seed}": {
            "prior": prior,
            "beta": beta,
            "seed": seed,
            **COMMON,
            **subset,
            **SIZES[size],
        }
        for seed in seeds
        for prior in (PRIORS[:3] if size == "quick" else PRIORS)
        for beta in BETAS[size]
    }


def prior_of(name: str, images: Tensor, latent_dim: int) -> nn.Module:
    """The prior of that name; both PCA priors and the isotropic one have mean variance 1."""
    if name.startswith("pca"):
        return priors.Normal.from_pca(images, latent_dim, learn_scale=name == "pca-learnt")
    if name.startswith("student-t"):
        return priors.StudentT(latent_dim, df=float(name.removeprefix("student-t")))
    if name == "laplace":
        return priors.Laplace(latent_dim, scale=0.5**0.5)
    return priors.Normal(latent_dim)


def model_of(settings: Settings, images: Tensor) -> disvae.VAE:
    """The paper's nets at 64×64; below, without their last convolutions."""
    shape, latent_dim = tuple(images.shape[1:]), settings["latent_dim"]
    channels = {16: (32, 64), 32: (32, 32, 64), 64: (32, 32, 64, 64)}[settings["size"]]
    encoder = encoders.Conv(shape, latent_dim, channels=channels, hidden=(128,))
    decoder = decoders.Conv(latent_dim, shape, channels=channels[::-1], hidden=(128,))
    prior = prior_of(settings["prior"], images, latent_dim)
    return disvae.VAE(encoder, decoder, prior=prior)


def run(settings: Settings, path: Path) -> Results:
    """Train one model on all images and measure it on all of them, as the paper does."""
    dataset = data.DSprites(subset=settings["subset"], size=settings["size"], binary=True)
    images = dataset.images.to(torch.get_default_device())
    model = model_of(settings, images)
    objective = objectives.BetaVAE(float(settings["beta"]))
    training = {name: settings[name] for name in ("epochs", "batch_size", "lr")}
    experiments.fit(model, objective, images, **training)
    torch.save(model.state_dict(), path.with_suffix(".pt"))
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


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = experiments.parser(__doc__, HERE).parse_args()
    size = experiments.size_of(options)
    folder = options.out / "results" / "independence" / size
    experiments.sweep(
        settings_of(size),
        run,
        folder,
        threads=options.threads,
        device=options.device,
        only=options.only,
    )


if __name__ == "__main__":
    main()
