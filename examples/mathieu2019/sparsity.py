"""E3: does a sparse prior make sparse codes of Fashion-MNIST, and what does it cost?

    python -m examples.mathieu2019.sparsity [--quick | --paper]

For each share γ of the spike, each β and each α one model: Hoyer sparsity, log p(x), divergence of
the aggregate posterior from the prior, class-wise magnitudes, and the latent dimensions that carry
the gap between trouser legs, the collar, the fit and the sleeves.
"""

import base64
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, plotting, priors
from disvae.objectives import terms
from examples import experiments
from examples.experiments import Record, Results, Settings, values_of

HERE = Path(__file__).parent
LATENT_DIM = 50
CODE, PAPER = 0.05, 0.05**0.5  # of the spike: a standard deviation in the code, or a variance
SIZES = {
    "quick": {"train": 4_000, "epochs": 8, "batch_size": 250, "lr": 1e-3, "samples": 5},
    "desk": {"train": 12_000, "epochs": 20, "batch_size": 500, "lr": 5e-4, "samples": 100},
    "paper": {"train": 60_000, "epochs": 80, "batch_size": 500, "lr": 5e-4, "samples": 1000},
}


def settings_of(size: str) -> dict[str, Settings]:
    """The runs of one size, by name."""
    alphas = {
        "quick": (0, 100),
        "desk": (0, 10, 100, 1000),
        "paper": (0, 10, 50, 100, 200, 500, 800, 1000),
    }[size]
    grid = [(gamma, 1.0, alpha, CODE) for gamma in (0.0, 0.8) for alpha in alphas]
    if size != "quick":
        others = alphas if size == "paper" else (0,)
        grid += [(g, b, a, CODE) for g in (0.0, 0.8) for b in (0.1, 5.0) for a in others]
        grid += [(0.8, 1.0, alpha, PAPER) for alpha in alphas]
    runs = {}
    for seed in range(1 if size == "quick" else 3):
        for gamma, beta, alpha, spike in grid:
            name = f"gamma{gamma:g}-beta{beta:g}-alpha{alpha}"
            name += "-spikevariance" if spike == PAPER else ""
            runs[f"{name}-seed{seed}"] = {
                "gamma": gamma,
                "beta": beta,
                "alpha": alpha,
                "spike_scale": spike,
                "seed": seed,
                **SIZES[size],
            }
    return runs


def run(settings: Settings, path: Path) -> Results:
    """Train one model and measure it on the test images."""
    train, test = (_padded(data.FashionMNIST(train=part)) for part in (True, False))
    prior = priors.Sparse(
        LATENT_DIM, spike_probability=settings["gamma"], spike_scale=settings["spike_scale"]
    )
    model = disvae.VAE(encoders.mathieu_dcgan32(), decoders.mathieu_dcgan32(), prior=prior)
    objective = objectives.Decomposition(
        beta=settings["beta"],
        alpha=float(settings["alpha"]),
        divergence=terms.PerDimensionMMD(),
    )
    kept = train[torch.randperm(len(train))[: settings["train"]]]
    training = {name: settings[name] for name in ("epochs", "batch_size", "lr")}
    experiments.fit(model, objective, kept, **training)
    experiments.write_weights(experiments.weights_of(path), model.state_dict())
    labels = data.FashionMNIST(train=False).labels.numpy()
    return measured(model, test, labels, settings)


def _padded(clothes: data.FashionMNIST) -> Tensor:
    """The images in a black frame of two pixels, 32×32."""
    images = torch.nn.functional.pad(clothes.images.cpu(), (2, 2, 2, 2))
    return images.to(torch.get_default_device())


def measured(
    model: disvae.VAE, test: Tensor, labels: NDArray[np.int64], settings: Settings
) -> Results:
    """Costs in nats per image, and what the codes of the test images look like."""
    torch.manual_seed(settings["seed"])
    found = evaluation.summary(model, test)
    codes, _ = evaluation.encode(model, test)
    samples, signal = _samples(model, test)
    active = signal > 0.1
    bound = evaluation.log_likelihood(model, test[:500], samples=settings["samples"])
    drawn = model.prior().sample((len(test),)).cpu().numpy()
    several = int(active.sum()) > 1
    return {
        "reconstruction": found.reconstruction,
        "kl": found.kl,
        "kl_per_dimension": found.kl_per_dimension,
        "signal": signal,
        "log_likelihood": bound.mean().item(),
        "divergence": divergence(model, test),
        "hoyer": metrics.hoyer_sparsity(codes),
        "hoyer_of_active": metrics.hoyer_sparsity(codes[:, active]) if several else None,
        "hoyer_of_samples": metrics.hoyer_sparsity(samples),
        "hoyer_of_gaussian": metrics.hoyer_sparsity(codes).gaussian,
        "hoyer_of_prior": metrics.hoyer_sparsity(drawn),
        "standard_deviation": codes.std(0),
        "magnitudes": np.stack([np.abs(codes[labels == c]).mean(0) for c in range(10)]),
        "attributes": {
            name: _carrier(model, codes, active, test.cpu().numpy()[:, 0], labels, *definition)
            for name, definition in ATTRIBUTES.items()
        },
    }


@torch.no_grad()
def _samples(model: disvae.VAE, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A sample of each posterior, and each dimension's share of variance that lies between data.

    The share, unlike the variance of the means, does not change when the latent space is scaled.
    """
    posteriors = [model.encode(x) for x in images.split(500)]
    samples = torch.cat([q.sample() for q in posteriors])
    between = torch.cat([q.mean for q in posteriors]).var(0)
    within = torch.cat([q.variance for q in posteriors]).mean(0)
    return samples.cpu().numpy(), (between / (between + within)).cpu().numpy()


@torch.no_grad()
def divergence(model: disvae.VAE, images: Tensor) -> float:
    """The objective's divergence, of batches of 500, averaged; unbiased, so below 0 at times."""
    term = terms.PerDimensionMMD()
    values = [term(model(x)).item() for x in images.split(500)]
    return float(np.mean(values))


def _covered(images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels the garment covers: those above a third of the image's brightest."""
    return images > images.max((1, 2), keepdims=True) / 3


def _opening(covered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many pixels of a row are open between covered ones, on average over rows."""
    left = np.logical_or.accumulate(covered, axis=2)
    right = np.logical_or.accumulate(covered[:, :, ::-1], axis=2)[:, :, ::-1]
    return (left & right & ~covered).sum(2).mean(1)


def _leg_gap(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The width of the gap between the legs, in pixels."""
    return _opening(_covered(images)[:, 16:30])


def _collar(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The width of the opening at the neck, in pixels, over the uppermost rows."""
    return _opening(_covered(images)[:, 2:8])


def _fit(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The width at the waist of a dress, in pixels."""
    return _covered(images)[:, 15:19].sum(2).mean(1)


def _sleeves(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The covered part of the outer columns below the shoulders, where only a sleeve reaches."""
    covered = _covered(images)[:, 14:29]
    return 0.5 * (covered[:, :, 2:9].mean((1, 2)) + covered[:, :, 23:30].mean((1, 2)))


# by name, the class (as Fashion-MNIST counts) in which an attribute is measured, and its measure
Measure = Callable[[NDArray[np.float32]], NDArray[np.float64]]
ATTRIBUTES: dict[str, tuple[tuple[int, ...], Measure]] = {
    "trouser-leg gap": ((1,), _leg_gap),
    "collar": ((0, 2, 4, 6), _collar),
    "fit": ((3,), _fit),
    "sleeves": ((0, 6), _sleeves),
}


def _carrier(
    model: disvae.VAE,
    codes: NDArray[np.float32],
    active: NDArray[np.bool_],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[int, ...],
    measure: Measure,
) -> Results:
    """The active dimension with the largest rank correlation in these classes, and its traversal.

    The traversal goes from the class's mean code along the dimension, between the 2 % and the 98 %
    quantile of its codes; the frames are 8-bit images, compressed.
    """
    chosen = np.isin(labels, classes)
    inside, value = codes[chosen], measure(images[chosen])
    ranks = np.stack([rankdata(column) for column in (*inside.T, value)])
    correlation = np.nan_to_num(np.corrcoef(ranks)[-1, :-1]) * active
    first, second = np.abs(correlation).argsort()[::-1][:2]
    ends = np.quantile(inside[:, first], (0.02, 0.98))
    z = np.repeat(inside.mean(0, keepdims=True), 9, axis=0)
    # so that the attribute grows from left to right
    ends = ends[::-1] if correlation[first] < 0 else ends
    z[:, first] = np.linspace(*ends, 9)
    with torch.no_grad():
        likelihood = model.decode(torch.as_tensor(z, device=torch.get_default_device()))
    frames = disvae.distributions.point(likelihood).clamp(0, 1)[:, 0].cpu().numpy()
    packed = zlib.compress((255 * frames).round().astype(np.uint8).tobytes(), 9)
    return {
        "dimension": int(first),
        "rank_correlation": float(correlation[first]),
        "next_rank_correlation": float(correlation[second]),
        "traversal": [float(ends[0]), float(ends[1])],
        "measured": measure(frames),
        "frames": base64.b64encode(packed).decode(),
    }


QUANTITIES = {
    "hoyer": "Hoyer sparsity of the means",
    "hoyer_of_samples": "Hoyer sparsity of samples",
    "log_likelihood": "log p(x), a bound, in nats",
    "divergence": "MMD² of q(z) from p(z)",
}


def table(records: dict[str, Record]) -> list[list[str]]:
    """For each setting costs, sparsity and divergence, with 95 % intervals over seeds.

    Active are dimensions of whose variance more than a tenth lies between data.
    """
    names = ["γ", "β", "α", "spike scale", "seeds", "sparsity of means", "of samples", "prior's"]
    rows = [[*names, "log p(x)", "reconstruction", "KL", "MMD²", "active"]]
    groups = experiments.over_seeds(records, "gamma", "beta", "alpha", "spike_scale")
    for (gamma, beta, alpha, spike), runs in groups.items():
        setting = [f"{gamma:g}", f"{beta:g}", f"{alpha:g}", f"{spike:.2g}" if gamma else "–"]
        fields = {"hoyer": 3, "hoyer_of_samples": 3, "hoyer_of_prior": 3}
        fields |= {"log_likelihood": 0, "reconstruction": 0, "kl": 1, "divergence": 2}
        cells = [experiments.shown(values_of(runs, name), n) for name, n in fields.items()]
        active = [sum(share > 0.1 for share in run["results"]["signal"]) for run in runs]
        cells.append(experiments.shown(active, 0))
        rows.append([*setting, str(len(runs)), *cells])
    return rows


def panels(records: dict[str, Record]) -> dict[str, dict[str, plotting.Curve]]:
    """By quantity the curves over α at β = 1, of the models that are there."""
    groups = experiments.over_seeds(records, "gamma", "spike_scale", "beta", "alpha")
    names = {
        (0.0, CODE): "γ = 0",
        (0.8, CODE): "γ = 0.8, spike scale 0.05",
        (0.8, PAPER): "γ = 0.8, spike variance 0.05",
    }
    found: dict[str, dict[str, plotting.Curve]] = {}
    for field, title in QUANTITIES.items():
        for (gamma, spike), name in names.items():
            alphas = sorted(a for g, s, b, a in groups if (g, s, b) == (gamma, spike, 1.0))
            if alphas:
                runs = [groups[gamma, spike, 1.0, alpha] for alpha in alphas]
                curve = plotting.Curve(alphas, experiments.table_of(runs, field))
                found.setdefault(title, {})[name] = curve
    return found


def figure(records: dict[str, Record]) -> Figure:
    """Sparsity, log p(x) and divergence against α at β = 1, with bands over seeds."""
    return plotting.bands(panels(records), xlabel="α", ylabel="", log=True, columns=2)


def magnitudes(record: Record) -> Figure:
    """Class-wise latent magnitudes of one run, in standard deviations of each dimension's codes."""
    values = np.array(record["results"]["magnitudes"]) / record["results"]["standard_deviation"]
    classes = data.FashionMNIST.class_names
    unit = "in standard deviations of each dimension"
    return plotting.latent_magnitudes(values, names=classes, title=unit)


def traversals(record: Record) -> Figure:
    """The traversals of one run: an attribute a row, with its dimension and what is measured.

    The correlation is that of codes and attribute over test images; then stands the attribute of
    the first and of the last frame.
    """
    found = record["results"]["attributes"]
    rows = np.stack([frames_of(each["frames"]) for each in found.values()]) / 255
    labels = [
        f"{name}: z{each['dimension']}, rank correlation {abs(each['rank_correlation']):.2f}\n"
        f"measured {each['measured'][0]:.2g} to {each['measured'][-1]:.2g}"
        for name, each in found.items()
    ]
    return plotting.grid(rows[:, :, None], row_labels=labels)


def frames_of(packed: str) -> NDArray[np.uint8]:
    """The images of a traversal, ``(9, 32, 32)``."""
    content = zlib.decompress(base64.b64decode(packed))
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, 32, 32)


# at γ = 0.8 and α = 1000 no dimension tells data apart
SHOWN = ("gamma0-beta1-alpha0-seed0", "gamma0.8-beta1-alpha100-seed0")


def main() -> None:
    """Run what has not been run, and draw all that has."""
    options = experiments.parser(__doc__, HERE).parse_args()
    if options.download:
        for part in (True, False):
            data.FashionMNIST(train=part, download=True)
    records = experiments.sweep_as_asked(options, "sparsity", settings_of, run)
    experiments.show(table(records))
    figures = experiments.pictures(options)
    if panels(records):
        experiments.save(figure(records), figures / "sparsity.png")
    for name in SHOWN:
        if name in records:
            experiments.save(magnitudes(records[name]), figures / f"magnitudes-{name}.png")
            experiments.save(traversals(records[name]), figures / f"traversals-{name}.png")


if __name__ == "__main__":
    main()
