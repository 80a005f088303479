"""The aggregate posterior's log densities, forward and backward, against the plain broadcast.

Time: medians of interleaved turns on one thread. Memory: how far one pass lifts the resident size
of a fresh process (Linux). D = 10.
"""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from disvae import distributions as dist
from disvae.objectives.aggregate import NormalLogSums

DIM = 10


def inputs(batch):
    torch.manual_seed(0)
    loc = torch.randn(batch, DIM, requires_grad=True)
    scale = (0.1 + 0.5 * torch.rand(batch, DIM)).requires_grad_()
    return (loc + scale * torch.randn(batch, DIM)).detach().requires_grad_(), loc, scale


def ours(z, loc, scale):
    joint, each, _ = NormalLogSums.apply(z, loc, scale, 0.0, ())
    return joint - each.sum(-1)


def plain(z, loc, scale):
    each = dist.Normal(loc, scale, validate_args=False).log_prob(z.unsqueeze(-2))
    return each.sum(-1).logsumexp(-1) - each.logsumexp(-2).sum(-1)


def once(density, given):
    start = time.perf_counter()
    density(*given).mean().backward()
    return time.perf_counter() - start


def times(batch, turns):
    given = inputs(batch)
    spent = {ours: [], plain: []}
    for turn in range(turns + 2):
        for density in (ours, plain) if turn % 2 else (plain, ours):
            spent[density].append(once(density, given))
    return [statistics.median(spent[density][2:]) for density in (ours, plain)]


def peak(name, batch):
    code = f"""
import re, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import total_correlation as here, torch
torch.set_num_threads(1)
here.once(getattr(here, {name!r}), here.inputs(2))
given = here.inputs({batch})
print(here.growth(lambda: here.once(getattr(here, {name!r}), given)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def growth(call):
    """The growth of the peak resident size over a call, in MiB."""
    status = Path("/proc/self/status")
    size = lambda key: int(re.search(key + r":\s+(\d+) kB", status.read_text())[1])  # noqa: E731
    Path("/proc/self/clear_refs").write_text("5")  # starts the high-water mark anew
    before = size("VmRSS")
    call()
    return (size("VmHWM") - before) / 1024


def main():
    torch.set_num_threads(1)
    print("B: disvae, plain, and their ratio")
    for batch, turns in ((128, 60), (256, 40), (512, 20), (1024, 8), (2048, 4)):
        mine, theirs = times(batch, turns)
        print(f"{batch}: {1e3 * mine:.2f} ms, {1e3 * theirs:.2f} ms, {theirs / mine:.1f}")
    for batch in (512, 1024, 2048):
        mine, theirs = peak("ours", batch), peak("plain", batch)
        print(f"{batch}: {mine:.1f} MiB, {theirs:.1f} MiB, {theirs / mine:.1f}")
    print(f"4096: {peak('ours', 4096):.1f} MiB")


if __name__ == "__main__":
    main()
