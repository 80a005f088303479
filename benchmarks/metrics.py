"""The metrics against plain loops over scikit-learn, on one thread.

N = 10,000 rows, D = 10 codes, factors of 3, 6, 40, 32 and 32 values. Time: processor time, medians
of interleaved turns, and the ratio of the plain loop to the metric; both start from the arrays, so
binning is inside. Memory: how far one call lifts the resident size of a fresh process that has
made a small call before (Linux). Everything takes most of half an hour, nearly all of it in
scikit-learn's gradient boosting: choose parts with ``--only``. DCI is fitted to its default of
1,500 rows, and in ``boosting`` to others with ``--train-rows``.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from disvae import metrics

SIZES = (3, 6, 40, 32, 32)
D = 10
CASES = Path(__file__).parents[1] / "tests" / "reference" / "cases"
WITHOUT_DCI = (
    metrics.mig,
    metrics.modularity,
    metrics.sap,
    metrics.beta_vae_score,
    metrics.factor_vae_score,
)
SCALED = {
    "MIG": metrics.mig,
    "modularity": metrics.modularity,
    "MIR, neighbours": lambda z, v: metrics.mir(z, v, estimator=metrics.Neighbours(k=10)),
    "InfoMEC": metrics.infomec,
    "SAP": metrics.sap,
    "DCI (1,500 rows fitted)": metrics.dci,
    "explicitness": metrics.explicitness,
    "IRS": metrics.irs,
    "β-VAE score": metrics.beta_vae_score,
    "FactorVAE score": metrics.factor_vae_score,
    "standard report": lambda z, v: metrics.report(z, v),
}


def arrays(rows):
    """Five codes along the factors, three mixtures and two of noise."""
    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(size, size=rows) for size in SIZES])
    unit = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    codes = np.hstack([unit, unit @ rng.normal(size=(5, 3)), np.zeros((rows, 2))])
    return codes + 0.3 * rng.normal(size=codes.shape), factors


def plain_information(codes, factors):
    matrix = np.empty((D, len(SIZES)))
    for d in range(D):
        edges = np.histogram_bin_edges(codes[:, d], 20)
        binned = np.digitize(codes[:, d], edges[:-1])
        for k in range(len(SIZES)):
            matrix[d, k] = mutual_info_score(factors[:, k], binned)
    return matrix


def plain_mig(codes, factors):
    matrix = np.sort(plain_information(codes, factors), axis=0)
    entropy = [mutual_info_score(factor, factor) for factor in factors.T]
    return np.mean((matrix[-1] - matrix[-2]) / entropy)


def plain_modularity(codes, factors):
    squares = plain_information(codes, factors) ** 2
    best = squares.max(axis=1)
    return 1 - np.mean((squares.sum(axis=1) - best) / best) / (len(SIZES) - 1)


def plain_neighbours(codes, factors):
    """InfoM and InfoC."""
    share = np.empty((D, len(SIZES)))
    for d in range(D):
        for k in range(len(SIZES)):
            share[d, k] = mutual_info_classif(
                codes[:, [d]], factors[:, k], n_neighbors=10, random_state=0
            )[0]
    share /= [mutual_info_score(factor, factor) for factor in factors.T]
    return [
        (np.mean(s.max(axis=1) / s.sum(axis=1)) - 1 / n) / (1 - 1 / n)
        for s, n in ((share, len(SIZES)), (share.T, D))
    ]


def plain_sap(codes, factors):
    train = int(0.7 * len(codes))
    score = np.empty((D, len(SIZES)))
    for d in range(D):
        for k in range(len(SIZES)):
            svc = LinearSVC(C=0.01, class_weight="balanced")
            svc.fit(codes[:train, [d]], factors[:train, k])
            score[d, k] = svc.score(codes[train:, [d]], factors[train:, k])
    score.sort(axis=0)
    return np.mean(score[-1] - score[-2])


def plain_dci(codes, factors, train_rows, test_rows):
    train, test = np.split(
        np.random.default_rng(0).permutation(len(codes))[: train_rows + test_rows], [train_rows]
    )
    importance = np.empty((D, len(SIZES)))
    accuracy = np.empty(len(SIZES))
    for k in range(len(SIZES)):
        model = GradientBoostingClassifier().fit(codes[train], factors[train, k])
        importance[:, k] = model.feature_importances_
        accuracy[k] = model.score(codes[test], factors[test, k])
    return importance, accuracy.mean()


def once(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def times(calls, turns):
    """The median seconds of each call."""
    spent = [[] for _ in calls]
    for turn in range(turns):
        order = range(len(calls)) if turn % 2 else reversed(range(len(calls)))
        for i in order:
            spent[i].append(once(calls[i]))
    return [statistics.median(seconds) for seconds in spent]


def against(name, ours, plain, turns):
    ours()  # imports
    mine, theirs = times((ours, plain), turns)
    print(f"{name}: {1e3 * mine:.1f} ms, plain {1e3 * theirs:.0f} ms, {theirs / mine:.1f} times")


def ratios():
    codes, factors = arrays(10_000)
    for name, ours, plain, turns in (
        ("MIG", metrics.mig, plain_mig, 15),
        ("modularity", metrics.modularity, plain_modularity, 15),
        ("InfoM and InfoC", SCALED["MIR, neighbours"], plain_neighbours, 5),
        ("SAP", metrics.sap, plain_sap, 5),
    ):
        against(name, lambda f=ours: f(codes, factors), lambda f=plain: f(codes, factors), turns)


def boosting(train_rows):
    codes, factors = arrays(10_000)
    against(
        f"DCI, {train_rows:,} rows to fit",
        lambda: metrics.dci(codes, factors, train_rows=train_rows, test_rows=1000),
        lambda: plain_dci(codes, factors, train_rows, 1000),
        3 if train_rows < 3000 else 1,
    )


def distance():
    """D, C and I of ``"gbt"`` against ``"gbt-exact"``, on the same rows: 1,500, or 60 % of few."""
    print('"gbt" less "gbt-exact": D, C, I')
    for path in sorted(CASES.glob("*.npz")):
        case = np.load(path)
        fast, exact = (
            np.array(metrics.dci(case["codes"], case["factors"], estimator=name)[:3])
            for name in ("gbt", "gbt-exact")
        )
        print(path.stem, " ".join(f"{x:+.4f}" for x in fast - exact), f"(D {exact[0]:.3f})")


def report():
    codes, factors = arrays(10_000)
    for name, chosen in (("without DCI", WITHOUT_DCI), ("with DCI", "standard")):
        seconds = once(lambda m=chosen: metrics.report(codes, factors, metrics=m))
        print(f"standard report with intervals, {name}: {seconds:.1f} s")


def growth():
    """Time and memory at N = 100,000."""
    small, large = arrays(10_000), arrays(100_000)
    print("s at N = 100,000, ratio to N = 10,000, MiB at N = 100,000")
    for name, metric in SCALED.items():
        metric(*arrays(1000))
        turns = 1 if name in ("standard report", "InfoMEC") else 3
        few, many = times((lambda m=metric: m(*small), lambda m=metric: m(*large)), turns)
        print(f"{name}: {many:.2f} s, {many / few:.1f}, {peak(name):.0f} MiB", flush=True)


def peak(name):
    """How far one call at N = 100,000 lifts the resident size of a fresh process, in MiB."""
    code = f"""
import re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import metrics as here
metric = here.SCALED[{name!r}]
metric(*here.arrays(1000))
given = here.arrays(100_000)
size = lambda key: int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # starts the high-water mark anew
before = size("VmRSS")
metric(*given)
print((size("VmHWM") - before) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(re.findall(r"[\d.]+", run.stdout)[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("ratios", "report", "growth", "boosting", "distance")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--train-rows", type=int, default=1500, help="rows that DCI is fitted to")
    given = parser.parse_args()
    for part in given.only:
        call = globals()[part]
        call(given.train_rows) if part == "boosting" else call()


if __name__ == "__main__":
    main()
