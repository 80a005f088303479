"""β-TCVAE (β = 4) on the 46,080-image dSprites grid at 32x32: disvae and pythae, seed by seed.

The same nets (convolutions 32-64-64), Adam 1e-3, batch 256, ten epochs; the same first weights and
the same order of the data for each seed. pythae runs with its default estimator (``use_mss=True``,
whose stratified weights put 1/N beside the diagonal) and with ``use_mss=False``. All are measured
by disvae: MIG, the total correlation of the aggregate posterior of 4,096 data (the stratified
estimate), and the reconstruction.

pythae is for this benchmark only: ``pip install pythae``. Each run adds a line to the results file,
and runs that are there already are left out, so that it can be stopped and gone on with.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, priors
from disvae.objectives import terms

N, BETA, BATCH = 46_080, 4.0, 256
VARIANTS = ("disvae weighted", "pythae default", "pythae weighted", "disvae stratified")


def vae() -> disvae.VAE:
    encoder, decoder = encoders.Conv((1, 32, 32), 10), decoders.Conv(10, (1, 32, 32))
    return disvae.VAE(encoder, decoder, prior=priors.Normal(10))


def pythae_model(model: disvae.VAE, *, use_mss: bool) -> nn.Module:
    """The β-TCVAE of pythae around the nets of a disvae model."""
    from pythae.models import BetaTCVAE, BetaTCVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = model.encoder

        def forward(self, x):
            q = self.net(x)
            return ModelOutput(embedding=q.mean, log_covariance=2 * q.stddev.log())

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = model.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.net(z).mean)

    config = BetaTCVAEConfig(
        input_dim=(1, 32, 32),
        latent_dim=10,
        alpha=1.0,
        beta=BETA,
        gamma=1.0,
        use_mss=use_mss,
        reconstruction_loss="bce",
    )
    return BetaTCVAE(config, encoder=Encoder(), decoder=Decoder())


def stepper(variant: str, model: disvae.VAE):
    """What is optimised, and its loss of a batch."""
    library, kind = variant.split()
    if library == "disvae":
        objective = objectives.WeightedSum(
            reconstruction=(1.0, terms.Reconstruction()),
            mutual_information=(1.0, terms.MutualInformation(N, kind)),
            total_correlation=(BETA, terms.TotalCorrelation(N, kind)),
            dimensionwise_kl=(1.0, terms.DimensionwiseKL(N, kind)),
        )
        train = disvae.TrainStep(model, objective)
        return train, lambda x: train(x).total
    other = pythae_model(model, use_mss=kind == "default")
    return other, lambda x: other({"data": x}, dataset_size=N).loss


def agreement() -> float:
    """The relative difference of the two libraries' weighted losses, at the same noise."""
    torch.manual_seed(0)
    model, x = vae(), torch.rand(BATCH, 1, 32, 32)
    losses = []
    for variant in ("disvae weighted", "pythae weighted"):
        _, loss = stepper(variant, model)
        torch.manual_seed(1)
        losses.append(loss(x).item())
    return abs(losses[0] - losses[1]) / abs(losses[0])


def run(variant: str, seed: int, dataset: data.DSprites, epochs: int) -> dict:
    torch.manual_seed(seed)
    model = vae()
    module, loss = stepper(variant, model)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    images = dataset.images
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            loss(images[rows]).backward()
            optimizer.step()
    seconds = time.perf_counter() - start
    codes, factors = evaluation.encode(model, dataset)
    found = evaluation.summary(model, images[::10])
    torch.manual_seed(0)
    with torch.no_grad():
        out = model(images[torch.randperm(len(images))[:4096]])
        tc = terms.TotalCorrelation(N, "stratified")(out).mean().item()
    return {
        "variant": variant,
        "seed": seed,
        "epochs": epochs,
        "mig": float(metrics.mig(codes, factors)),
        "tc": tc,
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "seconds": round(seconds),
    }


def table(results: list[dict]) -> None:
    print("medians [lowest, highest] over seeds")
    for variant in VARIANTS:
        rows = [r for r in results if r["variant"] == variant]
        if rows:
            cells = []
            for name in ("mig", "tc", "reconstruction"):
                values = sorted(r[name] for r in rows)
                middle = statistics.median(values)
                cells.append(f"{name} {middle:.3f} [{values[0]:.3f}, {values[-1]:.3f}]")
            print(f"{variant:18} {len(rows)} seeds  " + "  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("pythae_dsprites.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"weighted losses at equal noise differ by {agreement():.1e} of their size")
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    results = [json.loads(line) for line in lines]
    done = {(r["variant"], r["seed"], r["epochs"]) for r in results}
    dataset = data.DSprites(size=32)
    for seed in options.seeds:
        for variant in options.variants:
            if (variant, seed, options.epochs) not in done:
                results.append(run(variant, seed, dataset, options.epochs))
                print(results[-1], flush=True)
                with options.results.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
    table(results)


if __name__ == "__main__":
    main()
