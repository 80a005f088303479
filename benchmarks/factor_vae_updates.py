"""FactorVAE on the 46,080-image dSprites grid at 32x32: all at once, or alternating updates.

disvae updates the model and the discriminator from one scalar in one step. The paper alternates:
first the model, then the discriminator, on codes of a second batch and with its own optimiser. Both
have the same nets (convolutions 32-64-64; a discriminator of four layers of 256), Adam at 1e-3,
with the paper's momenta for the discriminator (whose learning rate there is 1e-4), 128 data a step
(64 in each half), γ = 35, and for each seed the same first weights and order of the data. Measured
are MIG, the total correlation of the aggregate posterior of 4,096 data (the stratified estimate),
the discriminator's own loss, and the reconstruction.

Each run adds a line to the results file, and runs that are there already are left out.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, priors
from disvae.objectives import terms

N, GAMMA, BATCH, D = 46_080, 35.0, 128, 10
VARIANTS = ("at once", "alternating")


def vae() -> disvae.VAE:
    encoder, decoder = encoders.Conv((1, 32, 32), D), decoders.Conv(D, (1, 32, 32))
    return disvae.VAE(encoder, decoder, prior=priors.Normal(D))


def at_once(model, objective, rate):
    """One step of both, from one scalar."""
    train = disvae.TrainStep(model, objective)
    adversary = {"lr": rate, "betas": (0.5, 0.9)}
    groups = disvae.param_groups(train, {objective: adversary})
    optimizer = torch.optim.Adam(groups, lr=1e-3)

    def step(x):
        optimizer.zero_grad()
        losses = train(x)
        losses.total.backward()
        optimizer.step()
        return losses.terms

    return step


def alternating(model, objective, rate):
    """A step of the model on one half of the batch, then one of the discriminator on both."""
    discriminator = objective.terms["total_correlation"].discriminator
    ours = torch.optim.Adam(model.parameters(), lr=1e-3)
    theirs = torch.optim.Adam(discriminator.parameters(), lr=rate, betas=(0.5, 0.9))

    def step(x):
        first, second = x.chunk(2)
        out = model(first)
        rec, kl = terms.Reconstruction()(out).mean(), terms.KL()(out).mean()
        ours.zero_grad()
        (rec + kl + GAMMA * discriminator(out.z).mean()).backward()
        ours.step()
        with torch.no_grad():
            other = model.encode(second).sample()
            permuted = torch.stack([column[torch.randperm(len(other))] for column in other.T], -1)
        theirs.zero_grad()
        real, fake = discriminator(out.z.detach()), discriminator(permuted)
        loss = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        loss.backward()
        theirs.step()
        return {"total_correlation_auxiliary": loss.detach()}

    return step


def run(variant: str, seed: int, dataset: data.DSprites, epochs: int, rate: float) -> dict:
    torch.manual_seed(seed)
    model = vae()
    objective = objectives.FactorVAE(D, gamma=GAMMA, hidden=(256,) * 4)
    step = (at_once if variant == "at once" else alternating)(model, objective, rate)
    images = dataset.images
    start = time.perf_counter()
    discriminator = []
    for epoch in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            found = step(images[rows])
            if epoch == epochs - 1:
                discriminator.append(found["total_correlation_auxiliary"].item())
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
        "rate": rate,
        "mig": float(metrics.mig(codes, factors)),
        "tc": tc,
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "discriminator": statistics.mean(discriminator),
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(3)))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1e-3, help="that of the discriminator")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("factor_vae_updates.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    results = [json.loads(line) for line in lines]
    done = {(r["variant"], r["seed"], r["epochs"], r["rate"]) for r in results}
    dataset = data.DSprites(size=32)
    for seed in options.seeds:
        for variant in VARIANTS:
            if (variant, seed, options.epochs, options.rate) not in done:
                results.append(run(variant, seed, dataset, options.epochs, options.rate))
                print(results[-1], flush=True)
                with options.results.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
    print("medians [lowest, highest] over seeds")
    for variant in VARIANTS:
        rows = [r for r in results if (r["variant"], r["rate"]) == (variant, options.rate)]
        cells = []
        for name in ("mig", "tc", "reconstruction", "discriminator"):
            values = sorted(r[name] for r in rows)
            cells.append(
                f"{name} {statistics.median(values):.3f} [{values[0]:.3f}, {values[-1]:.3f}]"
            )
        print(f"{variant:12} {len(rows)} seeds  " + "  ".join(cells))


if __name__ == "__main__":
    main()
