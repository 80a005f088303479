"""P6: the two-dimensional manifold of digits, and walks between them.

    python -m examples.pastrana2022.manifold [--quick]

The VAE of two latent dimensions that P1 trains too: its decoder over the plane, the codes of test
images in it, and straight lines between the codes of digits.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import disvae
from disvae import plotting, traversals
from disvae.distributions import point
from examples import experiments
from examples.experiments import Settings
from examples.pastrana2022 import runs

WALKS = ((0, 1), (2, 3), (4, 9), (5, 6), (7, 8))


def settings_of(size: str) -> runs.Runs:
    """The one run."""
    return runs.one(size, 0, latent_dim=2)


@torch.no_grad()
def manifold(model: disvae.VAE, cells: int = 20) -> Figure:
    """What is decoded over the plane, at evenly spaced quantiles of the prior."""
    part = (torch.arange(cells) + 0.5) / cells
    values = torch.special.ndtri(part)
    second, first = torch.meshgrid(values.flip(0), values, indexing="ij")
    z = torch.stack((first, second), -1).flatten(0, 1)
    images = point(model.decode(z)).unflatten(0, (cells, cells))
    return plotting.grid(images.cpu(), cell=0.3)


def codes(model: disvae.VAE, settings: Settings) -> Figure:
    """The aggregate posterior of the test images, in colour by digit."""
    digits = runs.digits_of(settings, train=False)
    return plotting.aggregate_density(model, digits.images, labels=digits.labels.cpu())


def ends(model: disvae.VAE, settings: Settings) -> tuple[Tensor, Tensor]:
    """Where walks start and end: for each digit the test image that comes back most clearly.

    That is what a classifier is surest of. Two dimensions do not keep all digits apart, and most
    twos come back as a three.
    """
    digits = runs.digits_of(settings, train=False)
    judge = runs.judge_of(settings["train"])
    with torch.no_grad():
        images = point(model.decode(point(model.encode(digits.images))))
        sure = judge(images).log_softmax(-1).T  # a row for each digit
    own = digits.labels == torch.arange(len(sure))[:, None]
    clearest = digits.images[torch.where(own, sure, -torch.inf).argmax(1)]
    start, end = torch.tensor(WALKS).T
    return clearest[start], clearest[end]


def walks(model: disvae.VAE, settings: Settings) -> Figure:
    """Straight lines between the codes of two digits, one a row."""
    images = traversals.interpolate(model, *ends(model, settings), steps=11)
    return plotting.grid(images.cpu(), row_labels=[f"{a} to {b}" for a, b in WALKS])


def animation(model: disvae.VAE, settings: Settings, path: Path) -> None:
    """A closed walk through the codes of all digits, as a GIF."""
    start, end = ends(model, settings)
    stops = torch.stack((start, end), 1).flatten(0, 1)
    frames = traversals.interpolate(model, stops, stops.roll(-1, 0), steps=11)[:, :-1]
    plotting.save_gif(frames.flatten(0, 1).cpu(), path, fps=12, scale=4)
    print(path)


def main() -> None:
    """Run what has not been run, and draw it."""
    options = runs.parser(__doc__).parse_args()
    if not runs.sweep(options, settings_of):
        return
    model, settings = runs.model_for(options, settings_of(experiments.size_of(options)))
    pictures = experiments.pictures(options)
    experiments.save(manifold(model), pictures / "manifold.png")
    experiments.save(codes(model, settings), pictures / "codes.png")
    experiments.save(walks(model, settings), pictures / "walks.png")
    animation(model, settings, pictures / "walk.gif")


if __name__ == "__main__":
    main()
