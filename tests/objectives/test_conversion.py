"""β of other code bases: their losses, written out, have the optimum of the converted β."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Independent

from disvae import VAEOutput
from disvae import distributions as dist
from disvae.objectives import BetaVAE, convert_beta

BATCH, LATENT, SHAPE = 3, 4, (1, 5, 2)


def kl(mean, log_variance):
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp())


# each as loss(recon, x, mean, log variance, β), recon a mean or probabilities
def summed_half(recon, x, mean, log_variance, beta, error):
    """pythae 0.1.2."""
    recon_loss = error(recon, x, reduction="none").flatten(1).sum(-1)
    if error is F.mse_loss:
        recon_loss = 0.5 * recon_loss
    return (recon_loss + beta * kl(mean, log_variance).sum(-1)).mean()


def summed(recon, x, mean, log_variance, beta, error):
    """pythae 0.1.1, disentanglement_lib, 1Konny/Beta-VAE."""
    total_kl = kl(mean, log_variance).sum(1).mean()
    return error(recon, x, reduction="sum") / len(x) + beta * total_kl


def times_255(recon, x, mean, log_variance, beta, error):
    """YannDubs/disentangling-vae."""
    if error is F.mse_loss:
        recon_loss = F.mse_loss(recon * 255, x * 255, reduction="sum") / 255
    else:
        recon_loss = error(recon, x, reduction="sum")
    return recon_loss / len(x) + beta * kl(mean, log_variance).mean(0).sum()


def both_means(recon, x, mean, log_variance, beta, error):
    """disent; the β-VAE paper's normalised β has its ratio with half the squared error."""
    return error(recon, x) + beta * kl(mean, log_variance).mean()


def mean_and_sum(recon, x, mean, log_variance, beta, error):
    """AntixK/PyTorch-VAE with the KL's weight that it ships."""
    return error(recon, x) + beta * 0.00025 * kl(mean, log_variance).sum(1).mean(0)


def normalised(recon, x, mean, log_variance, beta, error):
    half = 0.5 if error is F.mse_loss else 1.0
    return half * error(recon, x) + beta * kl(mean, log_variance).mean()


LOSSES = {
    "pythae": summed_half,
    "pythae-0.1.1": summed,
    "disentanglement_lib": summed,
    "Beta-VAE": summed,
    "disentangling-vae": times_255,
    "disent": both_means,
    "PyTorch-VAE": mean_and_sum,
    "higgins2017": normalised,
}


PAIRS = [(source, likelihood) for source in LOSSES for likelihood in ("normal", "bernoulli")]
PAIRS.remove(("PyTorch-VAE", "bernoulli"))  # there is no such loss


@pytest.mark.parametrize(("source", "likelihood"), PAIRS)
def test_the_gradients_are_proportional(source, likelihood):
    x = torch.rand(BATCH, *SHAPE).double()
    leaves = [torch.randn(BATCH, *SHAPE), torch.randn(BATCH, LATENT), torch.randn(BATCH, LATENT)]
    logits, mean, log_variance = (t.double().requires_grad_() for t in leaves)
    recon, beta = logits.sigmoid(), 3.0

    error = F.mse_loss if likelihood == "normal" else F.binary_cross_entropy
    theirs = LOSSES[source](recon, x, mean, log_variance, beta, error)

    posterior = Independent(dist.Normal(mean, (0.5 * log_variance).exp()), 1)
    zeros = torch.zeros(LATENT).double()
    prior = Independent(dist.Normal(zeros, zeros + 1), 1)
    of_data = dist.Normal(recon, 1.0) if likelihood == "normal" else dist.Bernoulli(logits=logits)
    out = VAEOutput(x, mean, posterior, prior, Independent(of_data, 3))
    converted = convert_beta(
        beta, source=source, data_shape=SHAPE, latent_dim=LATENT, likelihood=likelihood
    )
    ours = BetaVAE(converted).loss(out).total

    inputs = (logits, mean, log_variance)
    a, b = (
        torch.cat([g.flatten() for g in torch.autograd.grad(value, inputs, retain_graph=True)])
        for value in (theirs, ours)
    )
    torch.testing.assert_close(a / a.norm(), b / b.norm(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("source", "data_shape", "latent_dim", "factor"),
    [
        ("Beta-VAE", (1, 64, 64), 10, 1 / 2),
        ("disentangling-vae", (1, 64, 64), 10, 1 / 510),
        ("disent", (1, 64, 64), 6, 341.33),
        ("disent", (3, 64, 64), 10, 614.4),
        ("PyTorch-VAE", (3, 64, 64), 128, 1.536),
    ],
)
def test_known_factors(source, data_shape, latent_dim, factor):
    found = convert_beta(1.0, source=source, data_shape=data_shape, latent_dim=latent_dim)
    assert found == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": "mine"}, "Expected source to be one of 'pythae', .*'higgins2017', but got"),
        ({"likelihood": "laplace"}, "Expected likelihood to be 'normal' or 'bernoulli'"),
        ({"source": "PyTorch-VAE", "likelihood": "bernoulli"}, "has no Bernoulli likelihood"),
        ({"value": -1.0}, "Expected value to be finite and at least 0"),
        ({"latent_dim": 0}, "Expected latent_dim to be an integer"),
    ],
)
def test_bad_arguments_are_refused(changed, message):
    arguments = {"value": 4.0, "source": "pythae", "data_shape": (1, 8, 8), "latent_dim": 2}
    value = (arguments | changed).pop("value")
    keywords = {k: v for k, v in (arguments | changed).items() if k != "value"}
    with pytest.raises(ValueError, match=message):
        convert_beta(value, **keywords)
