"""P5: models of one digit alone, whose dimensions are style and nothing else.

    python -m examples.pastrana2022.single_digits [--quick]

One VAE for each digit, weight and seed, on the images of that digit: costs, alignment, traversals.
"""

from examples import experiments
from examples.experiments import Record, shown, values_of
from examples.pastrana2022 import runs

DIGITS = (1, 4)
BETAS = (1, 10)


def settings_of(size: str) -> runs.Runs:
    """The runs of one size, by name."""
    return {
        name: settings
        for seed in runs.seeds_of(size)
        for digit in DIGITS
        for beta in (BETAS[1:] if size == "quick" else BETAS)
        for name, settings in runs.one(size, seed, beta=beta, digit=digit).items()
    }


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each digit and β costs in nats and scores, with 95 % intervals over seeds."""
    costs = {"reconstruction": "reconstruction", "kl": "KL", "active_units": "active"}
    scores = {"gap": "gap", "code_correlation": "correlation by codes"}
    scores |= {"correlation": "correlation by decoding", "cross_talk": "cross-talk"}
    rows = [["digit", "β", "seeds", *costs.values(), *scores.values()]]
    for (digit, beta), several in experiments.over_seeds(records, "digit", "beta").items():
        cells = [shown(values_of(several, field), 1) for field in costs]
        cells += [shown(values_of(several, field), 2) for field in scores]
        rows.append([str(digit), f"{beta:g}", str(len(several)), *cells])
    return rows


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = runs.parser(__doc__).parse_args()
    records = runs.sweep(options, settings_of)
    experiments.show(table(records))
    for digit in DIGITS:
        wanted = runs.one(experiments.size_of(options), 0, beta=BETAS[-1], digit=digit)
        if wanted.keys() <= records.keys():
            model, settings = runs.model_for(options, wanted)
            path = experiments.pictures(options) / f"digit{digit}.png"
            experiments.save(runs.traversals(model, settings), path)


if __name__ == "__main__":
    main()
