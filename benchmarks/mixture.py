"""The density of a mixture of 500 normals, forward and backward, against torch's own.

Time: medians of interleaved turns on one thread, and their ratios. Memory: the growth of the peak
resident size in a fresh process that has loaded everything before.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from disvae.distributions import GaussianMixture

COMPONENTS, DIM, TURNS = 500, 10, 60


def inputs(batch, scale=None):
    torch.manual_seed(0)
    loc = torch.randn(COMPONENTS, DIM, requires_grad=True)
    scales = torch.rand(COMPONENTS, DIM) + 0.5 if scale is None else torch.full_like(loc, scale)
    logits = torch.zeros(COMPONENTS, requires_grad=True)
    z = torch.randn(batch, DIM)
    near = torch.arange(batch // 2) % COMPONENTS
    z[: batch // 2] = (loc[near] + scales[near] * z[: batch // 2]).detach()
    return logits, loc, scales.detach().requires_grad_(), z.requires_grad_()


def ours(logits, loc, scales, z):
    return GaussianMixture(logits, loc, scales).log_prob(z)


def torchs(logits, loc, scales, z):
    components = Independent(Normal(loc, scales, validate_args=False), 1, validate_args=False)
    weights = Categorical(logits=logits, validate_args=False)
    return MixtureSameFamily(weights, components, validate_args=False).log_prob(z)


def once(density, given):
    start = time.perf_counter()
    density(*given).sum().backward()
    return time.perf_counter() - start


def times(batch):
    given = inputs(batch)
    spent = {ours: [], torchs: []}
    for turn in range(TURNS + 5):
        for density in (ours, torchs) if turn % 2 else (torchs, ours):
            spent[density].append(once(density, given))
    return [statistics.median(spent[density][5:]) for density in (ours, torchs)]


def peak(name, batch):
    """How far one pass lifts the resident size of a process above what it held, in MiB."""
    code = f"""
import re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import mixture, torch
torch.set_num_threads(1)
mixture.once(getattr(mixture, {name!r}), mixture.inputs(2))
given = mixture.inputs({batch})
size = lambda key: int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
Path("/proc/self/clear_refs").write_text("5")  # Linux: start the high-water mark anew
before = size("VmRSS")
mixture.once(getattr(mixture, {name!r}), given)
print((size("VmHWM") - before) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def error(scale):
    """The largest error near the components, in nats, against torch in float64."""
    logits, loc, scales, z = inputs(128, scale)
    exact = torchs(*(v.double() for v in (logits, loc, scales, z)))
    return (ours(logits, loc, scales, z).double() - exact)[:64].abs().max().item()


def main():
    torch.set_num_threads(1)
    print(f"K = {COMPONENTS}, D = {DIM}, forward and backward, one thread, {TURNS} turns each")
    print("disvae, torch, and their ratio")
    for batch in (128, 2048):
        mine, theirs = times(batch)
        print(f"batch {batch}: {1e3 * mine:.2f} ms, {1e3 * theirs:.2f} ms, {theirs / mine:.1f}")
    for batch in (128, 2048):
        mine, theirs = peak("ours", batch), peak("torchs", batch)
        print(f"batch {batch}: {mine:.1f} MiB, {theirs:.1f} MiB, {theirs / mine:.1f}")
    for scale in (1.0, 0.1, 0.01, 0.001):
        print(f"component scale {scale:g}: error {error(scale):.1e} nats")


if __name__ == "__main__":
    main()
