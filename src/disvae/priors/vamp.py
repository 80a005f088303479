"""The prior made of the encoder's own posteriors."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from disvae.distributions import Normal, base_of, equal_mixture, noise
from disvae.nn import (
    ScaleParameter,
    call_part,
    check_finite,
    check_int,
    check_vector,
    full_precision,
)


class Vamp(nn.Module):
    r"""The variational mixture of posteriors: the encoder's posteriors at pseudo-inputs.

    .. math::

        p(z) = \frac1K \sum_k q(z|u_k)

    The best prior for the ELBO is the aggregate posterior; this one has its form, with K
    pseudo-inputs :math:`u_k` in place of the data. They are free parameters without bounds, so a
    gradient always reaches them. Use an encoder without batch normalisation: pseudo-inputs and data
    would share its statistics.

    For the **exemplar** variant pass data with ``learn=False``, the number of ``exemplars`` that
    each pass draws from them anew, and the first value of a shared ``scale``. (The published form
    also leaves a datum out of its own prior, which needs its number and is not done here.)

    Args:
        encoder: The encoder instance of the model; it takes no context. The prior holds it, so its
            parameters are shared.
        pseudo_inputs: Where the posteriors are taken, ``(K, *event)``: ``torch.rand`` of that
            shape, or some data, in the dtype of the encoder's weights.
        learn: Whether the pseudo-inputs are learnt, starting from there.
        exemplars: How many of them are drawn, without repetition, at each call; all by default.
        scale: If given, one learnt standard deviation for all components and dimensions, in place
            of the posteriors' own; the posterior must be a factorised normal.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        TypeError: If the encoder returns no distribution.
        ValueError: If the encoder needs a context, a pseudo-input is not finite, or ``exemplars``
            exceeds K.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders
        >>> encoder = encoders.MLP(784, 10)
        >>> prior = Vamp(encoder, torch.rand(500, 784))
        >>> model = disvae.VAE(encoder, decoders.MLP(10, 784), prior=prior)

    References:
        Tomczak and Welling, VAE with a VampPrior, 2018, https://arxiv.org/abs/1705.07120. Norouzi,
        Fleet and Norouzi, Exemplar VAE, 2020, https://arxiv.org/abs/2004.04795.
    """

    context_dim = 0
    pseudo_inputs: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        pseudo_inputs: Tensor,
        *,
        learn: bool = True,
        exemplars: int | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, nn.Module) or getattr(encoder, "context_dim", None):
            raise ValueError(
                "Expected encoder to be a module that takes no context, but got another; pass the "
                "model's encoder instance, built with context_dim=0."
            )
        check_finite(pseudo_inputs, "pseudo_inputs")
        if pseudo_inputs.ndim < 2 or not len(pseudo_inputs):
            raise ValueError(
                f"Expected pseudo_inputs of shape (K, *event), but got "
                f"{tuple(pseudo_inputs.shape)}; pass e.g. torch.rand(500, 1, 28, 28), or some data."
            )
        self.encoder = encoder
        value = pseudo_inputs.detach().clone()
        if learn:
            self.pseudo_inputs = nn.Parameter(value)
        else:
            self.register_buffer("pseudo_inputs", value)
        self.exemplars = None if exemplars is None else check_int(exemplars, "exemplars")
        if self.exemplars is not None and self.exemplars > len(value):
            raise ValueError(
                f"Expected at most {len(value)} exemplars, the number of pseudo_inputs, but got "
                f"{exemplars}; pass more data, or fewer exemplars."
            )
        self.scale = None if scale is None else ScaleParameter(scale, (), learn=True)

    def forward(self, context: Tensor | None = None) -> Distribution:
        """The prior, of batch shape ``()``."""
        inputs = self.pseudo_inputs
        if self.exemplars is not None:
            order = noise(torch.rand, (len(inputs),), dtype=torch.float32, device=inputs.device)
            inputs = inputs[order.topk(self.exemplars).indices]
        posteriors = call_part(self.encoder, "encoder of Vamp", inputs)
        check_vector(posteriors, "encoder of Vamp")
        if self.scale is not None:
            posteriors = self._rescaled(posteriors, self.scale())
        # in float32 at least, as densities are
        return equal_mixture(posteriors, full_precision(inputs))

    def _rescaled(self, posteriors: Distribution, scale: Tensor) -> Distribution:
        """The posteriors with one standard deviation in place of their own."""
        base = base_of(posteriors)
        if not isinstance(base, torch.distributions.Normal):
            raise ValueError(
                f"Expected an encoder whose posterior is a factorised normal, to give it one "
                f"scale, but got {type(posteriors).__name__}; leave scale out, or use "
                f"posteriors.DiagonalNormal."
            )
        scale = scale.to(base.loc.dtype).expand(base.loc.shape)
        return Independent(Normal(base.loc, scale, validate_args=False), 1, validate_args=False)
