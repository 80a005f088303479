"""pythae's models around the nets of `by_hand.py`, for the objectives that disvae has too.

For the benchmarks only: ``pip install pythae``.
"""

import torch
from by_hand import ByHand, D, N, leaky, mlp
from pythae import models
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from torch import nn


class Encoder(BaseEncoder):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        mu, log_variance = self.net(x).chunk(2, dim=-1)
        return ModelOutput(embedding=mu, log_covariance=log_variance)


class Decoder(BaseDecoder):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, z):
        return ModelOutput(reconstruction=self.net(z).sigmoid())


class Discriminator(BaseDiscriminator):
    """Logits of the class of permuted and of true samples, or a probability."""

    def __init__(self, outputs):
        super().__init__()
        net = mlp(D, 256, 256, outputs, activation=leaky)
        self.net = net if outputs == 2 else nn.Sequential(net, nn.Sigmoid())

    def forward(self, z):
        found = self.net(z)
        return found if found.shape[-1] == 2 else ModelOutput(embedding=found)


def build(model, config, *, discriminator=None, **settings):
    nets = ByHand(None)
    more = {"reconstruction_loss": "bce"} if "WAE" not in config.__name__ else {}
    parts = {"encoder": Encoder(nets.encoder), "decoder": Decoder(nets.decoder)}
    made = model(config(input_dim=(784,), latent_dim=D, **more, **settings), **parts)
    if discriminator is not None:
        made.set_discriminator(discriminator)
    return made


MODELS = {
    "ELBO": lambda: build(models.VAE, models.VAEConfig),
    "BetaVAE": lambda: build(models.BetaVAE, models.BetaVAEConfig, beta=4.0),
    "CapacityVAE": lambda: build(
        models.DisentangledBetaVAE, models.DisentangledBetaVAEConfig, beta=100.0, C=5.0
    ),
    "BetaTCVAE": lambda: build(models.BetaTCVAE, models.BetaTCVAEConfig, beta=6.0, use_mss=False),
    "FactorVAE": lambda: build(
        models.FactorVAE, models.FactorVAEConfig, gamma=10.0, discriminator=Discriminator(2)
    ),
    "AdversarialAutoencoder": lambda: build(
        models.Adversarial_AE, models.Adversarial_AE_Config, discriminator=Discriminator(1)
    ),
    "InfoVAE": lambda: build(
        models.INFOVAE_MMD, models.INFOVAE_MMD_Config, kernel_choice="imq", alpha=0.5, lbd=10.0
    ),
    # its reconstruction is a squared error, whatever the data
    "WAE": lambda: build(models.WAE_MMD, models.WAE_MMD_Config, reg_weight=10.0),
    "IWAE": lambda: build(models.IWAE, models.IWAEConfig, number_samples=5),
    "MIWAE": lambda: build(
        models.MIWAE, models.MIWAEConfig, number_samples=3, number_gradient_estimates=2
    ),
    "CIWAE": lambda: build(models.CIWAE, models.CIWAEConfig, number_samples=5, beta=0.5),
}


def step_of(name):
    """A training step as pythae's trainers make it: with two optimisers where there are two."""
    model = MODELS[name]()
    if not hasattr(model, "discriminator"):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        def step(x):
            found = model({"data": x}, dataset_size=N, epoch=1)
            optimizer.zero_grad()
            found.loss.backward()
            optimizer.step()

        return step
    ours = [*model.encoder.parameters(), *model.decoder.parameters()]
    first = torch.optim.Adam(ours, lr=1e-3)
    second = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3)

    def step_of_two(x):
        found = model({"data": x})
        first.zero_grad()
        found.autoencoder_loss.backward(retain_graph=True)
        second.zero_grad()
        found.discriminator_loss.backward()
        first.step()
        second.step()

    return step_of_two
