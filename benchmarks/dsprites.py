"""β-TCVAE (β = 4) on the 46,080-image dSprites grid at 32x32: MIG over seeds.

Ten epochs at batch 256, Adam 1e-3, convolutions 32-64-64, minibatch-weighted estimator. Reads the
grid from the folder named by DISVAE_DATA; prints one line a seed, and the median.
"""

import argparse
import statistics
import time

import torch

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, priors


def train_once(dataset: data.DSprites, seed: int, epochs: int) -> float:
    torch.manual_seed(seed)
    images = dataset.images
    encoder, decoder = encoders.Conv((1, 32, 32), 10), decoders.Conv(10, (1, 32, 32))
    model = disvae.VAE(encoder, decoder, prior=priors.Normal(10))
    train = disvae.TrainStep(model, objectives.BetaTCVAE(dataset_size=len(images), beta=4.0))
    optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(256):
            losses = train(images[rows])
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
    seconds = time.perf_counter() - start
    codes, factors = evaluation.encode(model, dataset)
    score = metrics.mig(codes, factors)
    found = evaluation.summary(model, images[:4608])
    print(
        f"seed {seed}  MIG {score:.3f}  reconstruction {found.reconstruction:.2f}  "
        f"KL {found.kl:.2f}  active {found.active.count}  {seconds:.0f} s",
        flush=True,
    )
    return float(score)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    grid = data.DSprites(size=32)
    scores = [train_once(grid, seed, options.epochs) for seed in options.seeds]
    print(f"median {statistics.median(scores):.3f}")
