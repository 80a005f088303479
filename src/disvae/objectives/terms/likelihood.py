"""How well the data are reconstructed."""

import math

from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, OneHotCategorical

from disvae.distributions import base_of
from disvae.objectives.batches import gathered_mean
from disvae.output import VAEOutput


class Reconstruction(nn.Module):
    r"""The distortion: the negative log likelihood of the data at the posterior's samples.

    .. math::

        -\log p(x|z), \quad z \sim q(z|x)

    Shape:
        ``sample_shape + (B,)``, in nats, summed over the event.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> Reconstruction()(model(torch.rand(16, 8))).shape
        torch.Size([16])
    """

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        return -out.likelihood.log_prob(out.x)


class OptimalSigmaReconstruction(nn.Module):
    r"""The Gaussian distortion at the standard deviation that suits the batch best (σ-VAE).

    .. math::

        \min_\sigma \overline{-\log N(x; \mu(z), \sigma^2 I)}
        = \frac{D_x}{2} \left(\log 2\pi\hat\sigma^2 + 1\right), \qquad
        \hat\sigma^2 = \overline{(x_i - \mu_i(z))^2}

    The mean is taken over all :math:`D_x` values of all data of the batch, on all processes, and
    over the samples. :math:`\mu(z)` is the mean of the likelihood; its scale, if it has one, is not
    used and gets no gradient.

    It is a profile likelihood: σ is fitted to the very batch that it is judged on, so the value is
    below the negative log likelihood at any σ that is fixed beforehand, and is no bound on the
    evidence. For a model that can be evaluated, learn the scale instead:
    ``likelihoods.Normal(data_shape, learn_scale=True)``, which has the same optimum.

    Args:
        minimum: The smallest σ. Below it, the value follows the squared error at that σ, so that a
            perfect reconstruction stays finite and an error always has a gradient.

    Shape:
        ``()``: one value for the batch, in nats per datum.

    Raises:
        ValueError: If ``minimum`` is not positive and finite, or the likelihood has no mean.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, likelihoods, priors
        >>> decoder = decoders.MLP(2, 8, likelihood=likelihoods.Normal)
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoder, prior=priors.Normal(2))
        >>> OptimalSigmaReconstruction()(model(torch.rand(16, 8))).shape
        torch.Size([])

    References:
        Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, 2021,
        https://arxiv.org/abs/2006.13202.
    """

    def __init__(self, *, minimum: float = 1e-4) -> None:
        super().__init__()
        if not (isinstance(minimum, int | float) and 0 < minimum < math.inf):
            raise ValueError(
                f"Expected minimum to be a positive, finite standard deviation, but got "
                f"{minimum!r:.60}; pass e.g. 1e-4."
            )
        self.minimum = float(minimum)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"minimum={self.minimum:g}"

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of the batch."""
        error = (out.x - decoded_mean(out.likelihood)).square().mean()
        error = gathered_mean(error, len(out.x))
        variance = error.clamp(min=self.minimum**2)
        values = math.prod(out.likelihood.event_shape)
        return 0.5 * values * ((2 * math.pi * variance).log() + error / variance)


def decoded_mean(likelihood: Distribution) -> Tensor:
    """The mean of the likelihood, which is the decoded datum.

    Raises:
        ValueError: If it has none.
    """
    base = base_of(likelihood)
    if not isinstance(base, Categorical | OneHotCategorical):
        try:
            return likelihood.mean
        except NotImplementedError:
            pass
    raise ValueError(
        f"Expected a likelihood with a mean to compare the data with, but {type(base).__name__} "
        f"has none; use e.g. likelihoods.Normal."
    )
