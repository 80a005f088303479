"""The squared MMD, forward and backward, against its plain forms.

Time: medians of the thread's processor time in interleaved turns, and their ratios. Memory: the
growth of the peak resident size in a fresh process that has loaded everything before.
"""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from disvae.objectives import kernels
from disvae.objectives.mmd import squared_mmd

DIM = 10
SEVEN = {"imq": kernels.InverseMultiquadratic(), "rbf": kernels.RBF()}
ONE = {"imq": kernels.InverseMultiquadratic(2 * DIM), "rbf": kernels.RBF(DIM**0.5)}


def inputs(batch):
    torch.manual_seed(0)
    return torch.randn(batch, DIM, requires_grad=True), torch.randn(batch, DIM)


def ours(x, y, kernel):
    return squared_mmd(x, y, kernel)


def joined(x, y, kernel):
    """Differences of both samples together, (2B, 2B, D)."""
    w = torch.cat((x, y))
    k = kernel((w.unsqueeze(1) - w).square().sum(-1), DIM)
    n = len(x)
    within = sum(block.sum() - block.diagonal().sum() for block in (k[:n, :n], k[n:, n:]))
    return within / (n * (n - 1)) - 2 * k[:n, n:].mean()


def pairwise(x, y, kernel):
    """Differences of each pair of samples, (B, B, D) three times."""
    xx, yy, xy = (
        kernel((a.unsqueeze(1) - b).square().sum(-1), DIM) for a, b in ((x, x), (y, y), (x, y))
    )
    n = len(x)
    within = sum(block.sum() - block.diagonal().sum() for block in (xx, yy))
    return within / (n * (n - 1)) - 2 * xy.mean()


def per_scale(x, y, kernel):
    """As pairwise, with the differences taken anew for each scale, as in public code."""
    scales = kernel._squares(DIM) if isinstance(kernel, kernels.InverseMultiquadratic) else None
    if scales is None:
        scales = [(0.5 / rate) ** 0.5 for rate in kernel._rates(DIM)]
    return sum(pairwise(x, y, type(kernel)(scale)) for scale in scales)


def once(form, batch, kernel):
    x, y = inputs(batch)
    start = time.thread_time()
    form(x, y, kernel).backward()
    return time.thread_time() - start


def times(entries, batch, turns):
    """The medians of forms with their kernels, in milliseconds."""
    spent = {entry: [] for entry in entries}
    for turn in range(turns + 2):
        for entry in entries if turn % 2 else reversed(entries):
            spent[entry].append(once(entry[0], batch, entry[1]))
    return [1e3 * statistics.median(spent[entry][2:]) for entry in entries]


def peak(form, batch, name):
    """How far one pass lifts the resident size of a process above what it held, in MiB."""
    code = f"""
import re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import mmd, torch
torch.set_num_threads(1)
mmd.once(mmd.{form.__name__}, 2, mmd.SEVEN[{name!r}])
size = lambda key: int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # Linux: start the high-water mark anew
before = size("VmRSS")
mmd.once(mmd.{form.__name__}, {batch}, mmd.SEVEN[{name!r}])
print((size("VmHWM") - before) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(re.findall(r"[\d.]+", run.stdout)[-1])


def main():
    torch.set_num_threads(1)
    print(f"D = {DIM}, forward and backward, one thread; ms of ours, and plain forms over ours")
    for name, kernel in SEVEN.items():
        for batch, turns in ((128, 60), (512, 14), (1024, 8)):
            forms = [(form, kernel) for form in (ours, joined, pairwise, per_scale)]
            seven, a, b, c, one = times([*forms, (ours, ONE[name])], batch, turns)
            print(
                f"{name} B = {batch}: {seven:.2f} ms; joined {a / seven:.1f}, pairwise "
                f"{b / seven:.1f}, per scale {c / seven:.1f}; "
                f"seven scales over one {seven / one:.2f}"
            )
        for batch in (128, 512, 1024):
            mine, a, b = (peak(form, batch, name) for form in (ours, joined, pairwise))
            ratios = f"joined {a / mine:.0f}, pairwise {b / mine:.0f}"
            print(f"{name} B = {batch}: {mine:.1f} MiB; {ratios}")


if __name__ == "__main__":
    main()
