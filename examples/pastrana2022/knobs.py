"""P4, and beyond the paper: which model gives the cleanest knobs for line weight, tilt and width?

    python -m examples.pastrana2022.knobs [--quick]

The paper's three models, with the dimension that carries each attribute; then other objectives and
priors, all conditional, beside the conditional β-VAE at equal reconstruction.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from disvae import plotting
from examples import experiments
from examples.experiments import Record, shown, values_of
from examples.pastrana2022 import runs

MODELS = {
    "VAE": {"beta": 1, "conditional": False},
    "β-VAE, β = 10": {"beta": 10, "conditional": False},
    "conditional β-VAE, β = 10": {"beta": 10, "conditional": True},
}
REFERENCE = ("beta-vae", "isotropic")
RECIPES = {
    REFERENCE: ("β-VAE", (1, 2, 4, 10, 20)),
    ("beta-tcvae", "isotropic"): ("β-TCVAE", (4, 10)),
    ("factor-vae", "isotropic"): ("FactorVAE", (4, 10)),
    ("beta-vae", "laplace"): ("Laplace prior", (1, 4)),
    ("beta-vae", "student-t5"): ("Student-t prior, 5 df", (1, 4)),
    ("beta-vae", "pca"): ("PCA prior", (1, 4)),
}
COLUMNS = {
    "cross_talk": "cross-talk",
    "gap": "gap",
    "gap_given_class": "gap given class",
    "code_correlation": "correlation by codes",
    "correlation": "correlation by decoding",
    "own_dimensions": "dimensions",
    "monotonicity": "monotonicity",
}


def settings_of(size: str) -> runs.Runs:
    """The runs of one size, by name: the three models, then the recipes."""
    found: runs.Runs = {}
    for seed in runs.seeds_of(size, 5):
        for model in MODELS.values():
            found |= runs.one(size, seed, **model)
    for seed in runs.seeds_of(size):
        for (objective, prior), (_, betas) in RECIPES.items():
            for beta in betas[:1] if size == "quick" else betas:
                recipe = {"objective": objective, "prior": prior, "beta": beta}
                found |= runs.one(size, seed, conditional=True, **recipe)
    return found


def carriers(records: dict[str, Record]) -> list[list[str]]:
    """How well each attribute is carried in the paper's three models, over seeds.

    First of the dimension whose codes know most of it: gaps, rank correlation. Then of the one that
    changes it most where it is moved: rank correlation, and figures of decoded traversals. Last, in
    how many seeds both are the same.
    """
    columns = {"gap": "gap", "gap_given_class": "gap given class"}
    columns |= {"code_correlation": "correlation by codes"}
    columns |= {"correlation": "correlation by decoding", "slope": "slope"}
    columns |= {"cross_talk": "cross-talk", "monotonicity": "monotonicity"}
    columns |= {"partial": "correlation given the others"}
    rows = [["model", "attribute", "seeds", *columns.values(), "codes agree"]]
    groups = experiments.over_seeds(_plain(records), "conditional", "beta")
    for name, model in MODELS.items():
        several = groups.get((model["conditional"], float(model["beta"])), [])
        found = [run["results"]["carriers"] for run in several if run["results"]["carriers"]]
        for number, attribute in enumerate(runs.ATTRIBUTES):
            each = [carriers[number] for carriers in found]
            cells = [shown([_size(row[field]["value"]) for row in each], 2) for field in columns]
            agree = sum(row["agree"] for row in each)
            rows.append([name, attribute, str(len(each)), *cells, f"{agree} of {len(each)}"])
    return rows


def recipes(records: dict[str, Record]) -> list[list[str]]:
    """For each recipe costs, scores, and how far two of these are above the conditional β-VAE's.

    These are at equal reconstruction, seed by seed.
    """
    groups = _recipes(records)
    above = {"cross_talk": "cross-talk above", "gap": "gap above"}
    header = ["model", "weight", "seeds", "reconstruction", "KL"]
    rows = [[*header, *above.values(), *COLUMNS.values()]]
    plain = [run for (kind, _), several in groups.items() if kind == REFERENCE for run in several]
    for (kind, beta), several in groups.items():
        costs = [shown(values_of(several, field), 1) for field in ("reconstruction", "kl")]
        scores = [shown(values_of(several, field), 2) for field in COLUMNS]
        compared = ([experiments.excess(run, plain, field) for run in several] for field in above)
        ends = ["–" if kind == REFERENCE else shown(values, 2) for values in compared]
        rows.append([RECIPES[kind][0], f"{beta:g}", str(len(several)), *costs, *ends, *scores])
    return rows


def panels(records: dict[str, Record]) -> dict[str, dict[str, plotting.Curve]]:
    """By score the curves of the recipes over their weights, where there is any figure."""
    groups = _recipes(records)
    found: dict[str, dict[str, plotting.Curve]] = {}
    for field, title in {"gap": "gap", "cross_talk": "cross-talk"}.items():
        for kind, (name, _) in RECIPES.items():
            betas = sorted(beta for other, beta in groups if other == kind)
            several = [groups[kind, beta] for beta in betas]
            x, y = (experiments.means_of(several, each) for each in ("reconstruction", field))
            if np.isfinite(y.mean).any():
                curve = plotting.Curve(x, y, [f"{beta:g}" for beta in betas])
                found.setdefault(title, {})[name] = curve
    return found


def figure(records: dict[str, Record]) -> Figure:
    """Gap and cross-talk against reconstruction: a curve a recipe, standard errors as bars."""
    xlabel = "reconstruction in nats; numbers: weights"
    return plotting.tradeoff(panels(records), xlabel=xlabel, ylabel="")


def _plain(records: dict[str, Record]) -> dict[str, Record]:
    """The runs of the paper's own models."""
    return {name: run for name, run in records.items() if _kind(run) == REFERENCE}


def _recipes(records: dict[str, Record]) -> dict[tuple, list[Record]]:
    """The conditional runs, by recipe and weight, over the same three seeds."""
    chosen = {
        name: run
        for name, run in records.items()
        if run["settings"]["conditional"] and run["settings"]["seed"] < 3
    }
    kinds = list(RECIPES)
    groups = experiments.over_seeds(chosen, "objective", "prior", "beta")
    ordered = sorted(groups, key=lambda key: (kinds.index(key[:2]), key[2]))
    return {(key[:2], key[2]): groups[key] for key in ordered}


def _size(value: float | None) -> float:
    """That of a figure of a carrier, NaN where it is not known."""
    return math.nan if value is None else abs(value)


def _kind(run: Record) -> tuple[str, str]:
    return run["settings"]["objective"], run["settings"]["prior"]


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = runs.parser(__doc__).parse_args()
    records = runs.sweep(options, settings_of)
    experiments.show(carriers(records))
    experiments.show(recipes(records))
    pictures = experiments.pictures(options)
    if panels(records):
        experiments.save(figure(records), pictures / "recipes.png")
    for name, model in zip(("vae", "beta-vae", "conditional"), MODELS.values(), strict=True):
        wanted = runs.one(experiments.size_of(options), 0, **model)
        if not wanted.keys() <= records.keys():
            continue
        vae, settings = runs.model_for(options, wanted)
        experiments.save(
            plotting.alignment(vae, runs.aligned(vae, settings), units=runs.UNITS),
            pictures / f"alignment-{name}.png",
        )
        experiments.save(runs.traversals(vae, settings), pictures / f"traversals-{name}.png")


if __name__ == "__main__":
    main()
