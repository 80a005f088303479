"""P2 and P3: the weight of the KL, without and with the digit as a condition.

    python -m examples.pastrana2022.kl_weight [--quick]

One model for each β and each seed, unconditional and conditional: costs, alignment of line weight,
tilt and width with single latent dimensions, total correlation; and the paper's two claims, each as
a difference over seeds.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from disvae import plotting
from examples import experiments
from examples.experiments import Record, shown, values_of
from examples.pastrana2022 import runs

BETAS = (1, 2, 4, 10, 20, 200)
COMPARED = (1, 10)  # the paper's own, which the claims are about: more seeds
MODELS = {False: "unconditional", True: "conditional"}


def settings_of(size: str) -> runs.Runs:
    """The runs of one size, by name."""
    betas = COMPARED if size == "quick" else BETAS
    return {
        name: settings
        for seed in runs.seeds_of(size, 5)
        for beta in (betas if seed < 3 else COMPARED)
        for conditional in MODELS
        for name, settings in runs.one(size, seed, beta=beta, conditional=conditional).items()
    }


COSTS = {"reconstruction": "reconstruction", "kl": "KL", "elbo": "ELBO"}
SCORES = {
    "gap": "gap",
    "gap_given_class": "gap given class",
    "correlation": "rank correlation",
    "cross_talk": "cross-talk",
    "total_correlation": "TC",
}
SHARES = {
    "class_in_codes": "class read off codes",
    "other_label_seen": "another label seen",
    "class_kept_under_other_label": "own class seen all the same",
}


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each model and β costs in nats and scores, with 95 % intervals over seeds."""
    rows = [["model", "β", "seeds", *COSTS.values(), "density ELBO", "active", *SCORES.values()]]
    for (conditional, beta), several in _groups(records).items():
        costs = [shown(values_of(several, field), 1) for field in COSTS]
        costs.append(shown(values_of(several, "continuous_bernoulli_elbo"), 0))
        active = shown(values_of(several, "active_units"), 1)
        scores = [shown(values_of(several, field), 3) for field in SCORES]
        name = MODELS[conditional]
        rows.append([name, f"{beta:g}", str(len(several)), *costs, active, *scores])
    return rows


def claims(records: dict[str, Record]) -> list[list[str]]:
    """The paper's claims as differences, paired by seed, with 95 % intervals.

    A claim is confirmed, or the opposite of it, if the interval of the difference of a gap leaves
    out 0: of that among all images, or of that given the class.
    """
    groups = _groups(records)
    compared = {
        "more weight: β = 10 less 1, unconditional": ((False, 10.0), (False, 1.0)),
        "more weight: β = 10 less 1, conditional": ((True, 10.0), (True, 1.0)),
        "condition: with less without, β = 1": ((True, 1.0), (False, 1.0)),
        "condition: with less without, β = 10": ((True, 10.0), (False, 10.0)),
    }
    decisive = ("gap", "gap_given_class")
    verdicts = [f"by {SCORES[field]}?" for field in decisive]
    rows = [["claim", "seeds", *SCORES.values(), *verdicts]]
    for name, (first, second) in compared.items():
        pair = groups.get(first, []), groups.get(second, [])
        found = {field: experiments.differences(*pair, field) for field in SCORES}
        cells = [shown(values, 3) for values in found.values()]
        cells += [_verdict(found[field]) for field in decisive]
        known = sum(not math.isnan(value) for value in found["gap"])  # both have not collapsed
        rows.append([name, str(known), *cells])
    return rows


def way_of_the_class(records: dict[str, Record]) -> list[list[str]]:
    """For each model how far the class is in the codes, and what other labels do.

    Shares of the test images: of classes that boosted trees read off the codes; and of images
    decoded with another label in which a classifier sees that label, or the image's own class. Then
    what labels of other images cost in reconstruction.
    """
    rows = [["model", "β", "seeds", *SHARES.values(), "cost of shuffled labels, nats"]]
    for (conditional, beta), several in _groups(records).items():
        shares = [f for f in SHARES if conditional or f == "class_in_codes"]
        cells = [shown(values_of(several, field), 3) for field in shares]
        if conditional:
            shuffled = values_of(several, "reconstruction_with_shuffled_labels")
            pairs = zip(shuffled, values_of(several, "reconstruction"), strict=True)
            cells.append(shown([other - own for other, own in pairs], 1))
        cells += ["–"] * (len(SHARES) + 1 - len(cells))
        rows.append([MODELS[conditional], f"{beta:g}", str(len(several)), *cells])
    return rows


def panels(records: dict[str, Record]) -> dict[str, dict[str, plotting.Curve]]:
    """By cost or score the curves of the two models over β, where there is any figure."""
    groups = _groups(records)
    found: dict[str, dict[str, plotting.Curve]] = {}
    titles = {"reconstruction": "reconstruction, nats", "kl": "KL, nats", "elbo": "ELBO, nats"}
    titles |= {"gap": "alignment: gap", "cross_talk": "cross-talk"}
    titles |= {"total_correlation": "TC, nats"}
    for field, title in titles.items():
        for conditional, name in MODELS.items():
            betas = sorted(beta for kind, beta in groups if kind == conditional)
            values = experiments.table_of([groups[conditional, beta] for beta in betas], field)
            if np.isfinite(values).any():
                found.setdefault(title, {})[name] = plotting.Curve(betas, values)
    return found


def figure(records: dict[str, Record]) -> Figure:
    """Costs and scores against β, a line for each of the two models, bands over seeds."""
    return plotting.bands(panels(records), xlabel="β", ylabel="", log=True)


def _groups(records: dict[str, Record]) -> dict[tuple, list[Record]]:
    groups = experiments.over_seeds(records, "conditional", "beta")
    return dict(sorted(groups.items()))


def _verdict(differences: list[float]) -> str:
    mean, half = experiments.mean_and_interval(differences)
    if mean - half > 0:
        return "confirmed"
    return "the opposite" if mean + half < 0 else "not shown"


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = runs.parser(__doc__).parse_args()
    records = runs.sweep(options, settings_of)
    for rows in (table(records), claims(records), way_of_the_class(records)):
        experiments.show(rows)
    if panels(records):
        experiments.save(figure(records), experiments.pictures(options) / "kl_weight.png")


if __name__ == "__main__":
    main()
