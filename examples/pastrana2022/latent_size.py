"""P1: how many latent dimensions do the digits of MNIST need?

    python -m examples.pastrana2022.latent_size [--quick]

One VAE with β = 1 for each number of latent dimensions and each seed: ELBO and active units.
"""

import statistics

from matplotlib.figure import Figure

from disvae import plotting
from examples import experiments
from examples.experiments import Record, values_of
from examples.pastrana2022 import runs

SIZES = (1, 2, 3, 5, 8, 10, 15, 20, 50)


def settings_of(size: str) -> runs.Runs:
    """The runs of one size, by name."""
    dims = (1, 10) if size == "quick" else SIZES
    return {
        name: settings
        for seed in runs.seeds_of(size)
        for dim in dims
        for name, settings in runs.one(size, seed, latent_dim=dim).items()
    }


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each number of dimensions the bound and its parts, with 95 % intervals over seeds."""
    fields = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
    fields |= {"active_units": "active units", "continuous_bernoulli_elbo": "density ELBO"}
    rows = [["D", "seeds", *fields.values()]]
    for (dim,), several in sorted(_by_dimension(records).items()):
        cells = [experiments.shown(values_of(several, field), 1) for field in fields]
        rows.append([str(dim), str(len(several)), *cells])
    return rows


def sufficient(records: dict[str, Record]) -> int:
    """The smallest number of dimensions whose mean ELBO is within one standard error of the best.

    The standard error is that of the best one's mean over seeds.
    """
    bounds = {dim: values_of(several, "elbo") for (dim,), several in _by_dimension(records).items()}
    best = max(bounds.values(), key=statistics.fmean)
    least = statistics.fmean(best) - (experiments.standard_error(best) if len(best) > 1 else 0.0)
    return min(dim for dim, values in bounds.items() if statistics.fmean(values) >= least)


def figure(records: dict[str, Record]) -> Figure:
    """ELBO and active units against the number of dimensions, with bands over seeds."""
    groups = sorted(_by_dimension(records).items())
    dims = [dim for (dim,), _ in groups]
    panels = {
        title: {"": plotting.Curve(dims, experiments.table_of([r for _, r in groups], field))}
        for field, title in {"elbo": "ELBO in nats", "active_units": "active units"}.items()
    }
    return plotting.bands(panels, xlabel="latent dimensions", ylabel="", log=True)


def _by_dimension(records: dict[str, Record]) -> dict[tuple, list[Record]]:
    return experiments.over_seeds(records, "latent_dim")


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = runs.parser(__doc__).parse_args()
    records = runs.sweep(options, settings_of)
    experiments.show(table(records))
    if records:
        print(runs.floor(records))
        print(f"smallest D within one standard error of the best: {sufficient(records)}")
        experiments.save(figure(records), experiments.pictures(options) / "latent_size.png")


if __name__ == "__main__":
    main()
