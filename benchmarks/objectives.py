"""What a training step costs with each objective, beside the same objective written by hand.

An MLP 784-512-256 with 10 latents, batch 128, Adam, one thread. The hand-written loop of each
objective has the same nets and calls no class of disvae; the one of the ELBO is entered twice, as a
control of the noise. All take turns in one process, in shuffled order; medians and their ratios.

    python benchmarks/objectives.py --steps 300
"""

import argparse
import math
import random
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

import disvae
from disvae import decoders, encoders, objectives, priors
from disvae.objectives import kernels, terms

BATCH, D, N = 128, 10, 60_000
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def normal_log_density(z, mu, sigma):
    return -0.5 * ((z - mu) / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)


def kl_of(mu, sigma):
    return 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum(-1)


class ByHand(nn.Module):
    """The nets of the shipped MLPs, and one loss function."""

    def __init__(self, loss, samples=(), adversary=None):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 2 * D)
        )
        self.decoder = nn.Sequential(
            nn.Linear(D, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 784)
        )
        self.adversary, self.samples, self.loss = adversary, samples, loss

    def forward(self, x):
        mu, raw = self.encoder(x).chunk(2, dim=-1)
        sigma = 1e-4 + F.softplus(raw + 0.5412)
        z = mu + sigma * torch.randn(*self.samples, *mu.shape)
        logits = self.decoder(z)
        rec = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        return self.loss(self, rec.sum(-1), mu, sigma, z)


def elbo(m, rec, mu, sigma, z):
    return (rec + kl_of(mu, sigma)).mean()


def autoencoder(m, rec, mu, sigma, z):
    return rec.mean()


def capacity(m, rec, mu, sigma, z):
    return rec.mean() + 100 * (kl_of(mu, sigma).mean() - 5).abs()


def tc(m, rec, mu, sigma, z):
    own = normal_log_density(z, mu, sigma).sum(-1)
    pairs = normal_log_density(z[:, None], mu, sigma)
    shift = math.log(len(z) * N)
    joint = pairs.sum(-1).logsumexp(1) - shift
    each = (pairs.logsumexp(1) - shift).sum(-1)
    prior = normal_log_density(z, torch.zeros(()), torch.ones(())).sum(-1)
    return (rec + own - joint + 6 * (joint - each) + each - prior).mean()


def factor(m, rec, mu, sigma, z):
    frozen = {k: p.detach() for k, p in m.adversary.named_parameters()}
    ratio = torch.func.functional_call(m.adversary, frozen, (z,)).squeeze(-1)
    loss = (rec + kl_of(mu, sigma) + 10 * ratio).mean()
    fixed = z.detach()
    permuted = torch.stack([fixed[torch.randperm(len(z)), d] for d in range(D)], dim=-1)
    real, fake = m.adversary(fixed), m.adversary(permuted)
    return loss + 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def dip(m, rec, mu, sigma, z):
    centred = mu - mu.mean(0)
    covariance = centred.T @ centred / len(mu) + torch.diag(sigma.square().mean(0))
    diagonal = covariance.diagonal()
    off = covariance.square().sum() - diagonal.square().sum()
    return (rec + kl_of(mu, sigma)).mean() + 5 * off + 5 * (diagonal - 1).square().sum()


def plain_mmd(a, b):
    def kernel(u, v):
        s = (u[:, None] - v).square().sum(-1)
        return sum(2 * D * c / (2 * D * c + s) for c in SCALES)

    n = len(a)
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    within = aa.sum() - aa.diagonal().sum() + bb.sum() - bb.diagonal().sum()
    return within / (n * (n - 1)) - 2 * ab.mean()


def wae(m, rec, mu, sigma, z):
    return rec.mean() + 10 * plain_mmd(z, torch.randn_like(z))


def iwae(m, rec, mu, sigma, z):
    prior = normal_log_density(z, torch.zeros(()), torch.ones(())).sum(-1)
    weight = prior - rec - normal_log_density(z, mu, sigma).sum(-1)
    return (math.log(len(z)) - weight.logsumexp(0)).mean()


def discriminator():
    return nn.Sequential(
        nn.Linear(D, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 1),
    )  # fmt: skip


CASES = {
    "ELBO": (objectives.ELBO, lambda: ByHand(elbo)),
    "Autoencoder": (objectives.Autoencoder, lambda: ByHand(autoencoder)),
    "CapacityVAE": (lambda: objectives.CapacityVAE(100.0, 5.0), lambda: ByHand(capacity)),
    "BetaTCVAE": (lambda: objectives.BetaTCVAE(N, beta=6.0), lambda: ByHand(tc)),
    "FactorVAE": (
        lambda: objectives.FactorVAE(D, gamma=10.0, hidden=(256, 256)),
        lambda: ByHand(factor, adversary=discriminator()),
    ),
    "DIPVAE": (
        lambda: objectives.DIPVAE("II", lambda_od=5.0, lambda_d=5.0),
        lambda: ByHand(dip),
    ),
    "WAE": (
        lambda: objectives.WAE(10.0, terms.MMD(kernels.InverseMultiquadratic())),
        lambda: ByHand(wae),
    ),
    "IWAE": (lambda: objectives.IWAE(5), lambda: ByHand(iwae, samples=(5,))),
}


def shipped(objective):
    encoder, decoder = encoders.MLP(784, D), decoders.MLP(D, 784)
    return disvae.TrainStep(disvae.VAE(encoder, decoder, prior=priors.Normal(D)), objective)


def stepper(module):
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def step(x):
        found = module(x)
        optimizer.zero_grad()
        (found if isinstance(found, torch.Tensor) else found.total).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.rand(BATCH, 784)
    print(f"{'objective':14} {'by hand, ms':>12} {'disvae, ms':>12} {'ratio':>7} {'more, ms':>9}")
    for name in options.only:
        make_objective, make_by_hand = CASES[name]
        runs = {
            "hand": stepper(make_by_hand()),
            "again": stepper(make_by_hand()),
            "disvae": stepper(shipped(make_objective())),
        }
        spent = {key: [] for key in runs}
        for turn in range(options.steps + 10):
            for key in random.sample(list(runs), len(runs)):
                start = time.perf_counter()
                runs[key](x)
                if turn >= 10:
                    spent[key].append(1e3 * (time.perf_counter() - start))
        hand, again, ours = (statistics.median(spent[key]) for key in runs)
        ratio, control = ours / hand, again / hand
        print(f"{name:14} {hand:12.2f} {ours:12.2f} {ratio:7.3f} {ours - hand:9.2f}", end="")
        print(f"   control {control:.3f}", flush=True)


if __name__ == "__main__":
    main()
