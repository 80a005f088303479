"""Training steps as a researcher writes them in one file: plain PyTorch, no class of disvae.

The nets are those of the shipped MLPs, 784-512-256 with 10 latents, and each objective is a loss
function of a model and a batch.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

D, N, CLASSES, GROUPS = 10, 60_000, 10, ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def mlp(*widths, activation=nn.ReLU):
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def leaky():
    return nn.LeakyReLU(0.2)


class ByHand(nn.Module):
    """Encoder, decoder, and what a loss needs beside them."""

    def __init__(self, loss, *, context=0, **parts):
        super().__init__()
        self.encoder = mlp(784 + context, 512, 256, 2 * D)
        self.decoder = mlp(D + context, 256, 512, 784)
        self.loss = loss
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.loss(self, x)

    def encode(self, x):
        mu, raw = self.encoder(x).chunk(2, dim=-1)
        return mu, 1e-4 + F.softplus(raw + 0.5412)

    def reconstruction(self, z, x):
        logits = self.decoder(z)
        cost = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        return cost.sum(-1)

    def parts(self, x):
        mu, sigma = self.encode(x)
        z = mu + sigma * torch.randn_like(mu)
        return self.reconstruction(z, x), mu, sigma, z


def normal_log_density(z, mu, sigma):
    return -0.5 * ((z - mu) / sigma).square() - sigma.log() - 0.5 * math.log(2 * math.pi)


def kl_of(mu, sigma):
    return 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum(-1)


def prior_log_density(z):
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def elbo(m, x, beta=1.0):
    rec, mu, sigma, _ = m.parts(x)
    return (rec + beta * kl_of(mu, sigma)).mean()


def autoencoder(m, x):
    return m.parts(x)[0].mean()


def capacity(m, x):
    rec, mu, sigma, _ = m.parts(x)
    return rec.mean() + 100 * (kl_of(mu, sigma).mean() - 5).abs()


def aggregate(z, mu, sigma):
    """Log densities of every pair, (B, B, D), and what the weighted estimate subtracts."""
    return normal_log_density(z[:, None], mu, sigma), math.log(len(z) * N)


def beta_tc(m, x):
    rec, mu, sigma, z = m.parts(x)
    own = normal_log_density(z, mu, sigma).sum(-1)
    pairs, shift = aggregate(z, mu, sigma)
    joint = pairs.sum(-1).logsumexp(1) - shift
    each = (pairs.logsumexp(1) - shift).sum(-1)
    return (rec + own - joint + 6 * (joint - each) + each - prior_log_density(z)).mean()


def hfvae(m, x):
    rec, mu, sigma, z = m.parts(x)
    own = normal_log_density(z, mu, sigma).sum(-1)
    pairs, shift = aggregate(z, mu, sigma)
    joint = pairs.sum(-1).logsumexp(1) - shift
    each = (pairs.logsumexp(1) - shift).sum(-1)
    groups = sum(pairs[..., list(g)].sum(-1).logsumexp(1) - shift for g in GROUPS)
    between, within = joint - groups, groups - each
    return (rec + own - joint + 4 * between + 2 * within + each - prior_log_density(z)).mean()


def factor(m, x):
    rec, mu, sigma, z = m.parts(x)
    frozen = {k: p.detach() for k, p in m.adversary.named_parameters()}
    ratio = torch.func.functional_call(m.adversary, frozen, (z,)).squeeze(-1)
    loss = (rec + kl_of(mu, sigma) + 10 * ratio).mean()
    fixed = z.detach()
    permuted = torch.stack([fixed[torch.randperm(len(z)), d] for d in range(D)], dim=-1)
    real, fake = m.adversary(fixed), m.adversary(permuted)
    return loss + 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def adversarial(m, x):
    rec, _, _, z = m.parts(x)
    frozen = {k: p.detach() for k, p in m.adversary.named_parameters()}
    fooled = torch.func.functional_call(m.adversary, frozen, (z,)).squeeze(-1)
    loss = rec.mean() + 10 * F.softplus(-fooled).mean()
    real, fake = m.adversary(torch.randn_like(z)), m.adversary(z.detach())
    return loss + 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def dip(m, x):
    rec, mu, sigma, _ = m.parts(x)
    centred = mu - mu.mean(0)
    covariance = centred.T @ centred / len(mu) + torch.diag(sigma.square().mean(0))
    diagonal = covariance.diagonal()
    off = covariance.square().sum() - diagonal.square().sum()
    return (rec + kl_of(mu, sigma)).mean() + 5 * off + 5 * (diagonal - 1).square().sum()


def mmd(a, b):
    def kernel(u, v):
        s = (u[:, None] - v).square().sum(-1)
        return sum(2 * D * c / (2 * D * c + s) for c in SCALES)

    n = len(a)
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    within = aa.sum() - aa.diagonal().sum() + bb.sum() - bb.diagonal().sum()
    return within / (n * (n - 1)) - 2 * ab.mean()


def wae(m, x):
    rec, _, _, z = m.parts(x)
    return rec.mean() + 10 * mmd(z, torch.randn_like(z))


def info(m, x, kl_weight=0.5, mmd_weight=9.5):
    rec, mu, sigma, z = m.parts(x)
    return (rec + kl_weight * kl_of(mu, sigma)).mean() + mmd_weight * mmd(z, torch.randn_like(z))


def importance(m, x, samples=5):
    mu, sigma = m.encode(x)
    z = mu + sigma * torch.randn(samples, *mu.shape)
    rec = m.reconstruction(z, x)
    return z, prior_log_density(z) - rec - normal_log_density(z, mu, sigma).sum(-1)


def iwae(m, x):
    z, weight = importance(m, x)
    return (math.log(len(z)) - weight.logsumexp(0)).mean()


def ciwae(m, x):
    z, weight = importance(m, x)
    return 0.5 * (math.log(len(z)) - weight.logsumexp(0)).mean() - 0.5 * weight.mean()


def miwae(m, x):
    mu, sigma = m.encode(x)
    z = mu + sigma * torch.randn(2, 3, *mu.shape)
    weight = prior_log_density(z) - m.reconstruction(z, x)
    weight = weight - normal_log_density(z, mu, sigma).sum(-1)
    return (math.log(3) - weight.logsumexp(1)).mean()


def dreg(m, x):
    mu, sigma = m.encode(x)
    z = mu + sigma * torch.randn(5, *mu.shape)
    own = normal_log_density(z, mu.detach(), sigma.detach()).sum(-1)
    weight = prior_log_density(z) - m.reconstruction(z, x) - own
    share = weight.detach().softmax(0).unsqueeze(-1)
    z.register_hook(lambda gradient: gradient * share)
    return (math.log(5) - weight.logsumexp(0)).mean()


def geco(m, x):
    rec, mu, sigma, _ = m.parts(x)
    excess = rec.mean() - 100
    with torch.no_grad():
        m.average.lerp_(excess, 0.01)
    scale = m.log_multiplier.detach().exp()
    push = (m.log_multiplier - m.log_multiplier.detach()) * m.average
    return kl_of(mu, sigma).mean() + scale * excess - push


def control(m, x):
    rec, mu, sigma, _ = m.parts(x)
    kl = kl_of(mu, sigma).mean()
    with torch.no_grad():
        error = 16 - kl
        m.integral.sub_(0.001 * error).clamp_(-0.01, 100)
        beta = (0.01 * torch.sigmoid(-error) + m.integral).clamp(0, 100)
    return rec.mean() + beta * kl


def ada(m, x, product=False):
    """Pairs, (B, 2, 784)."""
    flat = x.flatten(0, 1)
    mu, sigma = (v.unflatten(0, (-1, 2)) for v in m.encode(flat))
    var = sigma.square()
    with torch.no_grad():
        ratio = var[:, 0] / var[:, 1]
        gap = (mu[:, 0] - mu[:, 1]).square() / var[:, 1] + ratio - ratio.log()
        middle = 0.5 * (gap.amin(-1, keepdim=True) + gap.amax(-1, keepdim=True))
        shared = (gap < middle).unsqueeze(1)
    if product:
        precision = 1 / var
        new_var = 1 / precision.sum(1, keepdim=True)
        new_mu = new_var * (precision * mu).sum(1, keepdim=True)
    else:
        new_mu, new_var = mu.mean(1, keepdim=True), var.mean(1, keepdim=True)
    mu = torch.where(shared, new_mu, mu).flatten(0, 1)
    sigma = torch.where(shared, new_var, var).sqrt().flatten(0, 1)
    z = mu + sigma * torch.randn_like(mu)
    return (m.reconstruction(z, flat) + kl_of(mu, sigma)).mean()


def ada_product(m, x):
    return ada(m, x, product=True)


def slow(m, x):
    flat = x.flatten(0, 1)
    rec, mu, sigma, _ = m.parts(flat)
    first = kl_of(mu[::2], sigma[::2]).mean() / 2
    change, spread = mu[1::2] - mu[::2], torch.hypot(sigma[::2], sigma[1::2])
    away = spread * math.sqrt(2 / math.pi) * torch.exp(-0.5 * (change / spread).square())
    away = away + change * torch.erf(change / (spread * math.sqrt(2)))
    entropy = 0.5 * math.log(2 * math.pi * math.e) + sigma[1::2].log()
    transition = (6 * away - math.log(3) - entropy).sum(-1).mean() / 2
    return rec.mean() + first + 10 * transition


def m2(m, x):
    """No label known: every class is tried."""
    rows = x.repeat_interleave(CLASSES, 0)
    one_hot = torch.eye(CLASSES).repeat(len(x), 1)
    mu, raw = m.encoder(torch.cat((rows, one_hot), -1)).chunk(2, dim=-1)
    sigma = 1e-4 + F.softplus(raw + 0.5412)
    z = mu + sigma * torch.randn_like(mu)
    cost = m.reconstruction(torch.cat((z, one_hot), -1), rows) + kl_of(mu, sigma)
    log_q = m.classifier(x).log_softmax(-1)
    q = log_q.exp()
    return (q * (cost.view(len(x), CLASSES) + log_q + math.log(CLASSES))).sum(-1).mean()


def joint(m, x):
    """Six normal dimensions and a category of four."""
    h = m.encoder(x)[:, :16]
    mu, raw, logits = h.split((6, 6, 4), dim=-1)
    sigma = 1e-4 + F.softplus(raw + 0.5412)
    uniform = torch.rand_like(logits).clamp(1e-7, 1 - 1e-7)
    gumbel = -(-uniform.log()).log()
    z = torch.cat((mu + sigma * torch.randn_like(mu), ((logits + gumbel) / 0.67).softmax(-1)), -1)
    log_q = logits.log_softmax(-1)
    category = (log_q.exp() * log_q).sum(-1).mean() + math.log(4)
    rec = m.reconstruction(z, x).mean()
    return rec + 30 * (kl_of(mu, sigma).mean() - 5).abs() + 30 * (category - 1).abs()
