"""How well the data are reconstructed."""

from torch import Tensor, nn

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
