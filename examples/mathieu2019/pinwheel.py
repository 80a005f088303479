"""E2: overlap by β, structure by α: a pinwheel under a prior of four clusters.

    python -m examples.mathieu2019.pinwheel [--quick | --paper]

One row of models has α = 0 and β rising, the other β = 0 and α rising; five seeds each. The paper's
size is the default one.
"""

import math
import statistics
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import disvae
from disvae import decoders, encoders, evaluation, objectives, plotting, priors
from disvae.objectives import terms
from examples import experiments
from examples.experiments import Record, Results, Settings, values_of

HERE = Path(__file__).parent
BETAS = (0.01, 0.5, 1, 1.2, 2, 5)  # the last two beyond the paper
ALPHAS = (1, 3, 5, 8)
PER_ARM = 100


def settings_of(size: str) -> dict[str, Settings]:
    """The runs by name: α = 0 with every β, β = 0 with every α."""
    grid = [(beta, 0) for beta in BETAS] + [(0, alpha) for alpha in ALPHAS]
    return {
        f"beta{beta}-alpha{alpha}-seed{seed}": {
            "beta": beta,
            "alpha": alpha,
            "seed": seed,
            "steps": 500,
            "lr": 1e-3,
        }
        for seed in range(2 if size == "quick" else 5)
        for beta, alpha in grid
    }


def pinwheel(per_arm: int) -> Tensor:
    r"""Points on four bent arms, ``(4·per_arm, 2)``, one arm after another.

    The radius is N(1, 0.3²), the deviation across the arm N(0, 0.1²), and arm c is turned by
    :math:`2πc/4 + 0.25 e^r`.
    """
    radius = 1 + 0.3 * torch.randn(4, per_arm)
    across = 0.1 * torch.randn(4, per_arm)
    angle = 2 * math.pi * torch.arange(4).unsqueeze(1) / 4 + 0.25 * radius.exp()
    cosine, sine = angle.cos(), angle.sin()
    x = torch.stack((radius * cosine - across * sine, radius * sine + across * cosine), -1)
    return x.reshape(-1, 2)


def clusters() -> priors.Mixture:
    """The paper's prior: four normals of variance 0.03 at a distance of 1 from the centre."""
    means = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    return priors.Mixture(2, means=means, scales=0.03**0.5)


def run(settings: Settings, path: Path) -> Results:
    """Train on all points at every step, and take the model apart."""
    x = pinwheel(PER_ARM)
    model = disvae.VAE(encoders.mathieu_pinwheel(), decoders.mathieu_pinwheel(), prior=clusters())
    objective = objectives.Decomposition(
        beta=float(settings["beta"]),
        alpha=float(settings["alpha"]),
        divergence=terms.InclusiveKL(),
    )
    experiments.fit(
        model, objective, x, epochs=settings["steps"], batch_size=len(x), lr=settings["lr"]
    )
    found = evaluation.decompose(model, x, samples=50)
    results = {
        "distortion": found.distortion,
        "rate": found.rate,
        "scale": found.scale.mean(),
        "mutual_information": found.mutual_information,
        "total_correlation": found.total_correlation,
        "aggregate_kl": found.aggregate_kl,
        "inclusive_kl": found.inclusive_kl,
    }
    if settings["seed"] == 0:  # for the picture
        with torch.no_grad():
            posterior = model.encode(x)
        results |= {"means": posterior.mean, "scales": posterior.stddev}
    return results


COLUMNS = {
    "scale": "scale of q(z|x)",
    "mutual_information": "I(x; z)",
    "aggregate_kl": "KL(q‖p)",
    "inclusive_kl": "KL(p‖q)",
    "total_correlation": "TC",
    "distortion": "distortion",
}


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each setting the median over seeds, with the lowest and the highest; a row of names."""
    rows = [["β", "α", "seeds", *COLUMNS.values()]]
    groups = experiments.over_seeds(records, "alpha", "beta")
    for (alpha, beta), runs in sorted(groups.items(), key=lambda item: item[0]):
        cells = []
        for name in COLUMNS:
            values = values_of(runs, name)
            ends = f"{min(values):.3g}, {max(values):.3g}"
            cells.append(f"{statistics.median(values):.3g} [{ends}]")
        rows.append([f"{beta:g}", f"{alpha:g}", str(len(runs)), *cells])
    return rows


def panels(records: dict[str, Record]) -> dict[str, tuple[Any, Any]]:
    """Means and scales of the posteriors of the first seed, of the models that are there."""
    found = {}
    for beta, alpha in [(beta, 0) for beta in BETAS[:4]] + [(0, alpha) for alpha in ALPHAS]:
        record = records.get(f"beta{beta}-alpha{alpha}-seed0")
        if record is not None:
            results = record["results"]
            found[f"β = {beta}, α = {alpha}"] = (results["means"], results["scales"])
    return found


def figure(records: dict[str, Record]) -> Figure:
    """The aggregate posteriors of the first seed, in colour, and the prior's contours."""
    return plotting.densities(panels(records), prior=clusters()(), columns=4)


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = experiments.parser(__doc__, HERE).parse_args()
    records = experiments.sweep_as_asked(options, "pinwheel", settings_of, run)
    experiments.show(table(records))
    if panels(records):
        experiments.save(figure(records), experiments.pictures(options) / "pinwheel.png")


if __name__ == "__main__":
    main()
