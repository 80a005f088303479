"""Terms with an adversary: a network that tells two sets of latents apart.

Model and adversary are trained by one scalar whose gradients do not mix. The value is taken with
``frozen(discriminator)(z)``, which moves the model only. The adversary's own loss is taken at
``z.detach()``, which moves the adversary only; it is the term's auxiliary, and no weight multiplies
it. So the gradients are those of two separate backward passes, for any weight and at weight 0.

The adversary computes in float32 at least, with autocast off: what it has to tell is small.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disvae.distributions import noise
from disvae.nn import AffineHead, check_int, check_widths, frozen
from disvae.objectives.batches import gather, own_rows
from disvae.output import VAEOutput


class _Adversarial(nn.Module):
    """A term with a discriminator from latents ``(n, D)`` to one logit each, ``(n, 1)``."""

    def __init__(
        self, latent_dim: int, hidden: Sequence[int], activation: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        # one logit: of the two of a softmax, only the difference counts
        layers: list[nn.Module] = []
        features = self.latent_dim
        for width in check_widths(hidden, "hidden"):
            layers += [AffineHead(features, width), activation()]
            features = width
        self.discriminator: nn.Module = nn.Sequential(*layers, AffineHead(features, 1))

    def _check(self, z: Tensor) -> None:
        if z.shape[-1] != self.latent_dim:
            raise ValueError(
                f"Expected latents of {self.latent_dim} dimensions, for which the discriminator "
                f"was built, but got {z.shape[-1]}; pass the latent_dim of the model."
            )

    def _fooled(self, z: Tensor) -> Tensor:
        """The logits of latents ``(..., D)``, with a gradient for the latents alone."""
        logits: Tensor = frozen(self.discriminator)(z.flatten(0, -2))
        return logits.reshape(z.shape[:-1])

    def _told_apart(self, high: Tensor, low: Tensor) -> Tensor:
        """The mean cross-entropy where rows ``high`` ought to get a high logit, ``low`` a low one.

        It is log 2 for a discriminator that does not know.
        """
        ahead, behind = self.discriminator(torch.cat((high, low))).chunk(2)
        return F.softplus(torch.cat((-ahead, behind))).mean()


class AdversarialTotalCorrelation(_Adversarial):
    r"""The total correlation of the latents, by a discriminator that estimates a density ratio.

    .. math::

        TC = KL\Big(q(z) \,\Big\|\, \prod_d q(z_d)\Big)
        \approx E_{q(z)}\Big[\log\frac{D(z)}{1 - D(z)}\Big]

    :math:`D(z)` is the probability that z is a sample of :math:`q(z)` and not of
    :math:`\prod_d q(z_d)`; its logit is the value. The auxiliary is the discriminator's own loss,

    .. math::

        A = -\tfrac12 E_{q(z)}[\log D(z)] - \tfrac12 E_{\prod_d q(z_d)}[\log(1 - D(z))]

    Samples of :math:`\prod_d q(z_d)` are those of the batch with each dimension permuted across
    the batch on its own. The paper permutes a second batch; here it is the same one, which needs
    one pass of the model. Each expectation has the same mean either way, and all data count in
    both. (Two given dimensions of a permuted sample come from one datum with probability 1/B,
    also with a second batch.)

    The estimate is as good as the discriminator, and no bound: about 0 while it knows nothing, too
    low for a dependence that it has not learnt yet, too high where it knows its samples by heart.

    Over several processes the dimensions are permuted across the batches of all of them, and each
    process takes its share of the permuted samples: value and auxiliary are means over the data of
    this process, as a reconstruction is.

    Args:
        latent_dim: The number D of latent dimensions.
        hidden: The widths of the discriminator's hidden layers, each followed by a leaky ReLU of
            slope 0.2. The default is the paper's, and made for a GPU.

    Attributes:
        discriminator: Any module from ``(n, D)`` to logits ``(n, 1)``; another may be put here.

    Shape:
        ``sample_shape + (B,)`` and a scalar, in nats.

    Raises:
        ValueError: If a size is below 1, the latents have another size, or the batch has one datum.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> term = AdversarialTotalCorrelation(2, hidden=(64, 64))
        >>> value, auxiliary = term(model(torch.rand(16, 8)))
        >>> value.shape, auxiliary.shape
        (torch.Size([16]), torch.Size([]))

    References:
        Kim and Mnih, Disentangling by Factorising, 2018, https://arxiv.org/abs/1802.05983,
        equation 3 and algorithm 2.
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (1000,) * 6) -> None:
        super().__init__(latent_dim, hidden, partial(nn.LeakyReLU, 0.2))

    def forward(self, out: VAEOutput) -> tuple[Tensor, Tensor]:
        """The value of each sample, and the discriminator's loss."""
        z = out.z
        self._check(z)
        fixed = z.detach()
        auxiliary = self._told_apart(fixed.flatten(0, -2), _permuted(fixed))
        return self._fooled(z), auxiliary


class AdversarialDivergence(_Adversarial):
    r"""How well the latents, as one set, can be told from samples of the prior.

    .. math::

        E_{q(z)}[-\log D(z)], \qquad
        A = -\tfrac12 E_{p(z)}[\log D(z)] - \tfrac12 E_{q(z)}[\log(1 - D(z))]

    :math:`D(z)` is the probability that z is a sample of the prior, A the discriminator's own
    loss. The cost of the model is the one that does not saturate, as in algorithm 1 of the WAE
    paper and in the practice of the AAE. With the best discriminator, and
    :math:`m = \tfrac12(p + q)`, it is

    .. math::

        KL(q(z) \| p(z)) - KL(q(z) \| m(z)) + \log 2

    so it is log 2, and not 0, where the aggregate posterior is the prior. Otherwise it depends on
    the discriminator, and bounds nothing.

    Only samples are compared, so every posterior will do, deterministic ones among them, and every
    prior that samples: as many as there are latents; given a context, one for each datum, whose
    aggregates are compared. The samples carry no gradient, so a learnt prior is not trained by
    this term. A batch is no statistic here, so processes that share one need not exchange anything.

    Args:
        latent_dim: The number D of latent dimensions.
        hidden: The widths of the discriminator's hidden layers, each followed by a ReLU. The
            default is that of the AAE; WAE-GAN has ``(512,) * 4``.

    Attributes:
        discriminator: Any module from ``(n, D)`` to logits ``(n, 1)``; another may be put here.

    Shape:
        ``sample_shape + (B,)`` and a scalar, in nats.

    Raises:
        ValueError: If a size is below 1, or the latents have another size.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, posteriors, priors
        >>> encoder = encoders.MLP(8, 2, posterior=posteriors.Deterministic)
        >>> model = disvae.VAE(encoder, decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> value, auxiliary = AdversarialDivergence(2)(model(torch.rand(16, 8)))
        >>> value.shape, auxiliary.shape
        (torch.Size([16]), torch.Size([]))

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, https://arxiv.org/abs/1511.05644.
        Tolstikhin et al., Wasserstein Auto-Encoders, 2018, https://arxiv.org/abs/1711.01558,
        algorithm 1.
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (1000, 1000)) -> None:
        super().__init__(latent_dim, hidden, nn.ReLU)

    def forward(self, out: VAEOutput) -> tuple[Tensor, Tensor]:
        """The value of each sample, and the discriminator's loss."""
        z, prior = out.z, out.prior
        self._check(z)
        lead = z.shape[:-2] if prior.batch_shape else z.shape[:-1]
        drawn = prior.sample(lead).detach().to(z.dtype)
        auxiliary = self._told_apart(drawn.flatten(0, -2), z.detach().flatten(0, -2))
        return F.softplus(-self._fooled(z)), auxiliary


def _permuted(z: Tensor) -> Tensor:
    """This process's share of all latents, each dimension permuted on its own: ``(n, D)``."""
    whole = gather(z, dim=-2)
    if whole.shape[-2] < 2:
        raise ValueError(
            "Expected a batch of at least two data, to permute each dimension across them, but "
            "got one; drop the last batch, as with DataLoader(drop_last=True)."
        )
    rows = whole.flatten(0, -2)
    # one sort gives a permutation for each dimension; in float32, as bfloat16 would have ties
    order = noise(torch.rand, rows.mT.shape, dtype=torch.float32, device=rows.device).argsort().mT
    return rows.gather(0, own_rows(order))
