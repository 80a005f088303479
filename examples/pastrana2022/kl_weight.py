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


COSTS = {
    "reconstruction": "reconstruction",
    "kl": "KL",
    "elbo": "ELBO",
    "continuous_bernoulli_elbo": "density ELBO",
    "mutual_information": "I(x; z)",
    "total_correlation": "TC",
    "active_units": "active",
}
SCORES = {
    "gap": "gap",
    "gap_given_class": "gap given class",
    "code_correlation": "correlation by codes",
    "correlation": "correlation by decoding",
    "cross_talk": "cross-talk",
    "own_dimensions": "dimensions",
}
BETTER = {field: -1 if field == "cross_talk" else 1 for field in SCORES}
MARKS = {1: " better", 0: "", -1: " worse"}
SHARES = {
    "class_in_codes": "class read off codes",
    "other_label_seen": "another label seen",
    "class_kept_under_other_label": "own class seen all the same",
}


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each model and β costs in nats and active units, with 95 % intervals over seeds."""
    return _rows(records, COSTS, 1)


def scores(records: dict[str, Record]) -> list[list[str]]:
    """For each model and β the alignment of the three attributes, with 95 % intervals over seeds.

    Means over the attributes, and by how many different dimensions they are carried.
    """
    return _rows(records, SCORES, 2)


def _rows(records: dict[str, Record], fields: dict[str, str], digits: int) -> list[list[str]]:
    rows = [["model", "β", "seeds", *fields.values()]]
    for (conditional, beta), several in _groups(records).items():
        cells = [shown(values_of(several, field), digits) for field in fields]
        rows.append([MODELS[conditional], f"{beta:g}", str(len(several)), *cells])
    return rows


def claims(records: dict[str, Record]) -> list[list[str]]:
    """The paper's claims as differences, paired by seed, with 95 % intervals.

    A score is better, or worse, if the interval of its difference leaves out 0; of all of them one
    in twenty does so by chance. A claim is confirmed if some are better and none is worse, and
    mixed if there are both: the gap alone is no judge, as it grows where dimensions collapse and
    few are left to compare.
    """
    groups = _groups(records)
    compared = {
        "more weight: β = 10 less 1, unconditional": ((False, 10.0), (False, 1.0)),
        "more weight: β = 10 less 1, conditional": ((True, 10.0), (True, 1.0)),
        "condition: with less without, β = 1": ((True, 1.0), (False, 1.0)),
        "condition: with less without, β = 10": ((True, 10.0), (False, 10.0)),
    }
    rows = [["claim", "seeds", "verdict", *SCORES.values()]]
    for name, (first, second) in compared.items():
        pair = groups.get(first, []), groups.get(second, [])
        found = {field: experiments.differences(*pair, field) for field in SCORES}
        signs = {field: BETTER[field] * _sign(values) for field, values in found.items()}
        cells = [shown(values, 3) + MARKS[signs[field]] for field, values in found.items()]
        known = sum(not math.isnan(value) for value in found["gap"])  # both have not collapsed
        rows.append([name, str(known), _verdict(set(signs.values())), *cells])
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


def _sign(differences: list[float]) -> int:
    """Above or below 0 with an interval that leaves it out, or 0."""
    mean, half = experiments.mean_and_interval(differences)
    return int(mean - half > 0) - int(mean + half < 0)


def _verdict(signs: set[int]) -> str:
    if {1, -1} <= signs:
        return "mixed"
    return "confirmed" if 1 in signs else "the opposite" if -1 in signs else "not shown"


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = runs.parser(__doc__).parse_args()
    records = runs.sweep(options, settings_of)
    for rows in (show(records) for show in (table, scores, claims, way_of_the_class)):
        experiments.show(rows)
    if records:
        print(runs.floor(records))
    if panels(records):
        experiments.save(figure(records), experiments.pictures(options) / "kl_weight.png")


if __name__ == "__main__":
    main()
