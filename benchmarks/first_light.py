"""What a training step and an import of disvae cost, as ratios to the same thing by hand.

Step: an MLP 784-512-256 with 10 latents, batch 128, Adam, under the ELBO, against a loop written in
plain PyTorch with the same nets. The variants take turns within one process, and medians are
compared; the hand-written loop is entered twice, so that the ratio of the two shows the noise.

Import: `import disvae; disvae.VAE` against `import torch`, in fresh processes that take turns.
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import disvae
from disvae import decoders, encoders, objectives, priors

BATCH, D = 128, 10


class Handwritten(nn.Module):
    """The loop's own VAE: the same layers, the same parametrisation of the scale."""

    def __init__(self) -> None:
        super().__init__()
        widths = (784, 512, 256)
        self.encoder = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 2 * D)
        )
        self.decoder = nn.Sequential(
            nn.Linear(D, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, widths[0])
        )

    def forward(self, x: Tensor) -> Tensor:
        mu, raw = self.encoder(x).chunk(2, dim=-1)
        sigma = 1e-4 + F.softplus(raw + 0.5412)
        logits = self.decoder(mu + sigma * torch.randn_like(mu))
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum()
        return (cross_entropy + kl) / len(x)


def stepper(module: nn.Module, total: Callable[[Tensor], Tensor]) -> Callable[[Tensor], None]:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def step(x: Tensor) -> None:
        loss = total(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def time_steps(repeats: int) -> dict[str, float]:
    """Median milliseconds of each variant, measured in turns."""
    first, second = Handwritten(), Handwritten()
    model = disvae.VAE(encoders.MLP(784, D), decoders.MLP(D, 784), prior=priors.Normal(D))
    train = disvae.TrainStep(model, objectives.ELBO())
    unchecked = disvae.TrainStep(
        disvae.VAE(
            encoders.MLP(784, D), decoders.MLP(D, 784), prior=priors.Normal(D), check_values=False
        ),
        objectives.ELBO(),
    )
    variants = {
        "by hand": stepper(first, first),
        "by hand, again": stepper(second, second),
        "disvae": stepper(train, lambda x: train(x).total),
        "disvae, check_values=False": stepper(unchecked, lambda x: unchecked(x).total),
    }
    x = torch.rand(BATCH, 784)
    spent: dict[str, list[float]] = {name: [] for name in variants}
    turns, generator = list(variants.items()), random.Random(0)
    for repeat in range(repeats + 20):
        generator.shuffle(turns)  # whoever follows whom must not matter
        for name, step in turns:
            start = time.perf_counter()
            step(x)
            if repeat >= 20:
                spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in spent.items()}


def time_imports(repeats: int) -> dict[str, float]:
    """Median seconds of each import, in fresh processes that take turns."""
    variants = {
        "import torch": "import torch",
        "import torch, again": "import torch",
        "import disvae; disvae.VAE": "import disvae; disvae.VAE",
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, code in variants.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if repeat:  # the first fills the disk's cache
                spent[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in spent.items()}


def show(title: str, medians: dict[str, float], unit: str) -> None:
    reference = next(iter(medians.values()))
    print(f"\n{title}")
    for name, value in medians.items():
        print(
            f"  {name:<28}{value:8.3f} {unit}  {value / reference:6.3f}  {value - reference:+.3f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--imports", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    print("median, ratio to the first row, difference to the first row")
    show("one training step", time_steps(options.steps), "ms")
    show("import", time_imports(options.imports), "s")
