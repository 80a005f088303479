"""What the experiments of the papers share: runs that are kept, and how a model is trained.

A run is one JSON file with its settings, its results and where they come from. It is written when
the run ends, and a run that has its file is not run again: a sweep that was cut off goes on where
it was. The same settings on the same machine, with as many threads, give the same results.
"""

import argparse
import datetime
import functools
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import Optimizer

import disvae
from disvae import objectives, plotting, priors
from disvae.plotting.estimates import mean_and_half_width

Settings = dict[str, Any]
Results = dict[str, Any]
Record = dict[str, Any]
ROOT = Path(__file__).parents[1]
AMSGRAD = functools.partial(torch.optim.Adam, amsgrad=True)  # paper 2's, throughout


def parser(description: str | None, folder: Path, *, desk: bool = True) -> argparse.ArgumentParser:
    """The options that every experiment has.

    Args:
        description: What it is.
        folder: Where its results and pictures go.
        desk: Whether there is a size between quick and the paper's own, which is then the default.
    """
    found = argparse.ArgumentParser(description=description)
    size = found.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute or two, to see it work")
    if desk:
        size.add_argument("--paper", action="store_true", help="the paper's own size: many hours")
    else:
        found.set_defaults(paper=True)
    found.add_argument("--out", type=Path, default=folder, help="where results and pictures go")
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--device", default="cpu")
    found.add_argument("--download", action="store_true", help="fetch the data where missing")
    found.add_argument("--only", default="", help="run only runs with this in their name")
    return found


def size_of(options: argparse.Namespace) -> str:
    """The size of the experiment that was asked for."""
    return "quick" if options.quick else "paper" if options.paper else "desk"


def sweep(
    runs: dict[str, Settings],
    run: Callable[[Settings, Path], Results],
    folder: Path,
    *,
    threads: int,
    device: str,
    only: str = "",
) -> dict[str, Record]:
    """Run what has not been run yet, and return the records of all that has.

    Args:
        runs: The settings of each run, by its name, which is that of its file. Each has a `seed`.
        run: From settings, and the path for a run's other files (without an ending), to results.
        folder: Where the files are.
        threads: How many threads torch may use.
        device: Where the tensors are.
        only: Run only what has this in its name; what is there is returned all the same.
    """
    torch.set_num_threads(threads)
    torch.set_default_device(device)
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for number, (name, settings) in enumerate(runs.items(), start=1):
        path = folder / f"{name}.json"
        if path.exists():
            records[name] = _kept(path, settings)
        elif only in name:
            print(f"{number}/{len(runs)} {name}", flush=True)
            torch.manual_seed(settings["seed"])
            start = time.perf_counter()
            results = run(settings, folder / name)
            seconds = time.perf_counter() - start
            record = {
                "settings": settings,
                "results": _plain(results),
                "provenance": _provenance(threads, device, seconds),
            }
            write(path, record)
            records[name] = record
    return records


def sweep_as_asked(
    options: argparse.Namespace,
    name: str,
    settings_of: Callable[[str], dict[str, Settings]],
    run: Callable[[Settings, Path], Results],
) -> dict[str, Record]:
    """The sweep of one experiment, of the size and with the options that were asked for."""
    size = size_of(options)
    return sweep(
        settings_of(size),
        run,
        options.out / "results" / name / size,
        threads=options.threads,
        device=options.device,
        only=options.only,
    )


def write(path: Path, content: Any) -> None:
    """Write a JSON file whole, or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    _whole(path, lambda part: part.write_text(text))


def weights_of(path: Path) -> Path:
    """The file of the weights of a run, whose name may have points of its own."""
    return path.with_name(f"{path.name}.pt")


def write_weights(path: Path, content: Any) -> None:
    """Write what torch can save whole, or not at all."""
    _whole(path, lambda part: torch.save(content, part))


def _whole(path: Path, write_to: Callable[[Path], object]) -> None:
    part = path.with_name(f"{path.name}.part")
    write_to(part)
    os.replace(part, path)


def read(folder: Path) -> dict[str, Record]:
    """The records in a folder, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def prior_of(name: str, images: Tensor, latent_dim: int) -> nn.Module:
    """The prior of that name; the PCA priors, the Laplace and the isotropic have mean variance 1.

    Names are ``isotropic``, ``pca``, ``pca-learnt``, ``laplace``, and ``student-t9`` for 9 degrees
    of freedom.
    """
    if name.startswith("pca"):
        return priors.Normal.from_pca(images, latent_dim, learn_scale=name == "pca-learnt")
    if name.startswith("student-t"):
        return priors.StudentT(latent_dim, df=float(name.removeprefix("student-t")))
    if name == "laplace":
        return priors.Laplace(latent_dim, scale=0.5**0.5)
    return priors.Normal(latent_dim)


def fit(
    model: disvae.VAE,
    objective: objectives.Objective,
    images: Tensor,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    context: Tensor | None = None,
    make_optimizer: Callable[..., Optimizer] = AMSGRAD,
) -> None:
    """Train for some epochs; a last short batch is dropped."""
    train = disvae.TrainStep(model, objective)
    optimizer = make_optimizer(train.parameters(), lr=lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch_size):
            if len(rows) == batch_size:
                losses = train(images[rows], None if context is None else context[rows])
                optimizer.zero_grad()
                losses.total.backward()
                optimizer.step()


def over_seeds(records: dict[str, Record], *keys: str) -> dict[tuple[Any, ...], list[Record]]:
    """The records of the runs that differ in nothing but their seed, by the settings named."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in sorted(records.values(), key=lambda record: record["settings"]["seed"]):
        group = tuple(record["settings"][key] for key in keys)
        groups.setdefault(group, []).append(record)
    return groups


def values_of(records: list[Record], field: str) -> list[float]:
    """One figure of each run, NaN where it is not known."""
    values = [record["results"][field] for record in records]
    return [math.nan if value is None else value for value in values]


def table_of(groups: Sequence[list[Record]], field: str) -> list[list[float]]:
    """One figure of all seeds of several settings, ``(S, P)``; NaN where a run is missing."""
    columns = [values_of(runs, field) for runs in groups]
    return [list(row) for row in itertools.zip_longest(*columns, fillvalue=math.nan)]


def means_of(groups: Sequence[list[Record]], field: str) -> plotting.Interval:
    """One figure of several settings: means over seeds with their standard errors.

    Of three seeds, 95 % intervals are 4.3 times as wide, and hide the curves of a picture.
    """
    columns = [_known(values_of(runs, field)) for runs in groups]
    means = [statistics.fmean(column) if column else math.nan for column in columns]
    return plotting.Interval(means, [standard_error(column) for column in columns])


def standard_error(values: Sequence[float]) -> float:
    """That of the mean over the seeds whose figure is known; NaN where there are not two."""
    known = _known(values)
    return statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else math.nan


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def differences(first: list[Record], second: list[Record], field: str) -> list[float]:
    """By how much one figure is higher in the first runs than in the second, seed by seed."""
    one, other = (
        {
            run["settings"]["seed"]: value
            for run, value in zip(runs, values_of(runs, field), strict=True)
        }
        for runs in (first, second)
    )
    return [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]


def excess(run: Record, reference: list[Record], field: str, at: str = "reconstruction") -> float:
    """By how much one figure of a run lies above the reference at an equal value of another.

    The reference's runs of the same seed are interpolated; beyond their ends the nearest is taken.
    NaN where there are fewer than two.
    """
    same = [other for other in reference if other["settings"]["seed"] == run["settings"]["seed"]]
    if len(same) < 2:
        return math.nan
    points = np.array([values_of(same, at), values_of(same, field)])
    (x,), (y,) = values_of([run], at), values_of([run], field)
    return y - float(np.interp(x, *points[:, points[0].argsort()]))


def shown(values: Sequence[float], digits: int = 2) -> str:
    """The mean over seeds, with its interval."""
    mean, half = mean_and_interval(values)
    if math.isnan(mean):
        return "–"
    number = f"{mean:z.{digits}f}"
    return number if math.isnan(half) else f"{number} ± {half:.{digits}f}"


def show(rows: list[list[str]]) -> None:
    """Print a table, a row of names first."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def html(rows: list[list[str]]) -> str:
    """A table for a page, a row of names first; one wider than the page is scrolled."""
    whole = [[cell.replace(" ± ", "&nbsp;±&nbsp;") for cell in row] for row in rows[1:]]
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in whole]
    names = "".join(f"<th>{name}</th>" for name in rows[0])
    table = f'<table class="docutils"><tr>{names}</tr>{"".join(lines)}</table>'
    return f'<div style="overflow-x: auto; font-size: 0.8em">{table}</div>'


def pictures(options: argparse.Namespace) -> Path:
    """Where the pictures of the size that was asked for go."""
    return options.out / "figures" / size_of(options)


def save(figure: Figure, path: Path) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    print(path)


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean over seeds, and half the width of its 95 % interval by Student's t."""
    mean, half = mean_and_half_width(np.array(values)[:, None])
    return mean.item(), half.item()


def _kept(path: Path, settings: Settings) -> Record:
    record: Record = json.loads(path.read_text())
    if record["settings"] != json.loads(json.dumps(settings)):
        raise SystemExit(
            f"{path} was made with other settings: {record['settings']} and not {settings}; "
            f"move it away, or pass another --out."
        )
    return record


def _plain(value: Any) -> Any:
    """Tensors, arrays and metric scores as numbers and lists; NaN and infinity as null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _provenance(threads: int, device: str, seconds: float) -> dict[str, Any]:
    packages = ("torch", "numpy", "scipy", "scikit-learn")
    return {
        "disvae": disvae.__version__,
        "revision": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "machine": _processor() if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": threads,
        "seconds": round(seconds, 1),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} {names[0] if names else platform.processor()}".strip()
