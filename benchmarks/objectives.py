"""What a training step costs with each objective, beside the same objective written by hand.

An MLP 784-512-256 with 10 latents, batch 128, Adam, one thread. The hand-written steps
(`by_hand.py`) have the same nets and call no class of disvae. Each is entered twice, as a control
of the noise, and with ``--pythae`` the model of pythae beside them, where it has the objective. All
take turns in one process, in shuffled order; medians of the thread's processor time, and ratios.

    python benchmarks/objectives.py --steps 300
"""

import argparse
import functools
import random
import statistics
import time

import by_hand
import torch
from by_hand import CLASSES, GROUPS, ByHand, D, N, leaky, mlp
from torch import nn

import disvae
from disvae import decoders, encoders, objectives, posteriors, priors
from disvae.objectives import kernels, terms

BATCH = 128


def discriminator():
    return mlp(D, 256, 256, 1, activation=leaky)


def geco():
    hand = ByHand(by_hand.geco, log_multiplier=nn.Parameter(torch.zeros(())))
    hand.register_buffer("average", torch.zeros(()))
    return hand


def control():
    hand = ByHand(by_hand.control)
    hand.register_buffer("integral", torch.zeros(()))
    return hand


def of_mmd(name, *arguments, **keywords):
    divergence = terms.MMD(kernels.InverseMultiquadratic())
    return lambda: getattr(objectives, name)(*arguments, divergence=divergence, **keywords)


def by(loss, **parts):
    return lambda: ByHand(loss, **{name: make() for name, make in parts.items()})


def classifier():
    return mlp(784, 256, CLASSES)


OBJECTIVES = {
    "ELBO": (objectives.ELBO, by(by_hand.elbo)),
    "BetaVAE": (
        lambda: objectives.BetaVAE(beta=4.0),
        by(functools.partial(by_hand.elbo, beta=4.0)),
    ),
    "Autoencoder": (objectives.Autoencoder, by(by_hand.autoencoder)),
    "CapacityVAE": (lambda: objectives.CapacityVAE(100.0, 5.0), by(by_hand.capacity)),
    "BetaTCVAE": (lambda: objectives.BetaTCVAE(N, beta=6.0), by(by_hand.beta_tc)),
    "HFVAE": (lambda: objectives.HFVAE(GROUPS, N, beta=4.0, gamma=2.0), by(by_hand.hfvae)),
    "FactorVAE": (
        lambda: objectives.FactorVAE(D, gamma=10.0, hidden=(256, 256)),
        by(by_hand.factor, adversary=discriminator),
    ),
    "AdversarialAutoencoder": (
        lambda: objectives.AdversarialAutoencoder(D, weight=10.0, hidden=(256, 256)),
        by(by_hand.adversarial, adversary=discriminator),
    ),
    "DIPVAE": (lambda: objectives.DIPVAE("II", lambda_od=5.0, lambda_d=5.0), by(by_hand.dip)),
    "WAE": (of_mmd("WAE", 10.0), by(by_hand.wae)),
    "InfoVAE": (of_mmd("InfoVAE", 0.5, 10.0), by(by_hand.info)),
    "Decomposition": (
        of_mmd("Decomposition", beta=2.0, alpha=10.0),
        by(functools.partial(by_hand.info, kl_weight=2.0, mmd_weight=10.0)),
    ),
    "JointVAE": (
        lambda: objectives.JointVAE(gamma=30.0, continuous_capacity=5.0, discrete_capacity=1.0),
        by(by_hand.joint),
    ),
    "IWAE": (lambda: objectives.IWAE(5), by(by_hand.iwae)),
    "MIWAE": (lambda: objectives.MIWAE(samples=3, groups=2), by(by_hand.miwae)),
    "CIWAE": (lambda: objectives.CIWAE(5, beta=0.5), by(by_hand.ciwae)),
    "DReG": (lambda: objectives.DReG(5), by(by_hand.dreg)),
    "GECO": (lambda: objectives.GECO(100.0), geco),
    "ControlVAE": (lambda: objectives.ControlVAE(16.0), control),
    "AdaGVAE": (objectives.AdaGVAE, by(by_hand.ada)),
    "AdaMLVAE": (objectives.AdaMLVAE, by(by_hand.ada_product)),
    "SlowVAE": (objectives.SlowVAE, by(by_hand.slow)),
    "SemiSupervisedVAE": (
        lambda: objectives.SemiSupervisedVAE(classifier(), CLASSES),
        lambda: ByHand(by_hand.m2, context=CLASSES, classifier=classifier()),
    ),
}
PAIRS = {"AdaGVAE", "AdaMLVAE", "SlowVAE"}


def model(name):
    encoder, decoder, prior = encoders.MLP(784, D), decoders.MLP(D, 784), priors.Normal(D)
    if name == "SemiSupervisedVAE":
        encoder = encoders.MLP(784, D, context_dim=CLASSES)
        decoder = decoders.MLP(D, 784, context_dim=CLASSES)
    elif name == "JointVAE":
        heads = [(6, posteriors.DiagonalNormal), (4, posteriors.RelaxedCategorical)]
        head = functools.partial(posteriors.Joint, heads=heads)
        encoder = encoders.MLP(784, D, posterior=head)
        prior = priors.Joint([priors.Normal(6), priors.Categorical(4)])
    return disvae.VAE(encoder, decoder, prior=prior)


def stepper(module):
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def step(x):
        found = module(x)
        optimizer.zero_grad()
        (found if isinstance(found, torch.Tensor) else found.total).backward()
        optimizer.step()

    return step


def medians(runs, x, steps):
    """Milliseconds of each, all in shuffled turns."""
    spent = {key: [] for key in runs}
    for turn in range(steps + 10):
        for key in random.sample(list(runs), len(runs)):
            start = time.thread_time()
            runs[key](x)
            if turn >= 10:
                spent[key].append(1e3 * (time.thread_time() - start))
    return {key: statistics.median(values) for key, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", nargs="*", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--pythae", action="store_true", help="time pythae's models too")
    options = parser.parse_args()
    if options.pythae:
        import pythae_models
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"{'ms a step':24}{'by hand':>9}{'disvae':>9}{'ratio':>8}{'more':>7}{'control':>9}", end=""
    )
    print(f"{'pythae':>9}{'ratio':>8}" if options.pythae else "")
    for name in options.only:
        x = torch.rand(BATCH, 2, 784) if name in PAIRS else torch.rand(BATCH, 784)
        objective, hand = OBJECTIVES[name]
        runs = {
            "hand": stepper(hand()),
            "again": stepper(hand()),
            "disvae": stepper(disvae.TrainStep(model(name), objective())),
        }
        if options.pythae and name in pythae_models.MODELS:
            runs["pythae"] = pythae_models.step_of(name)
        found = medians(runs, x, options.steps)
        base, ours = found["hand"], found["disvae"]
        print(f"{name:24}{base:9.2f}{ours:9.2f}{ours / base:8.3f}{ours - base:7.2f}", end="")
        print(f"{found['again'] / base:9.3f}", end="")
        if "pythae" in found:
            print(f"{found['pythae']:9.2f}{found['pythae'] / base:8.3f}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
