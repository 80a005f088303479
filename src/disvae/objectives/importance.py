r"""Bounds with several importance-weighted samples for each datum.

With the weights of K samples of the posterior,

.. math::

    w_k = \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x),

:math:`-\log \frac1K \sum_k w_k` bounds :math:`-\log p(x)` from above in expectation. It is the
ELBO with a sampled KL for K = 1, falls with K, and is exact at the true posterior.
"""

import copy
import math
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from disvae.distributions import LinearMap, log_ratio
from disvae.nn import check_int
from disvae.objectives.base import Losses, Objective
from disvae.objectives.schedules import StepNumber, check_number
from disvae.output import VAEOutput


class IWAE(Objective):
    r"""The importance-weighted bound.

    .. math::

        L = -\log \frac1K \sum_{k=1}^K \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}, \quad z_k \sim q(z|x)

    Its terms are ``importance_weighted``, which is the total, and ``reconstruction`` and ``kl``,
    the two parts of the ELBO on the same samples; in nats per datum. The better the bound, the
    weaker is the encoder's gradient against its noise: see :class:`DReG`.

    Args:
        samples: The number K of samples for each datum.

    Raises:
        ValueError: If ``samples`` is below 1, or the posterior has no density.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> objective = IWAE(samples=5)
        >>> print(objective)
        -log mean_5(w)
        >>> list(objective(model, torch.rand(16, 8)).terms)
        ['importance_weighted', 'reconstruction', 'kl']

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, https://arxiv.org/abs/1509.00519,
        equation 8.
    """

    paper = (
        "Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders, 2016, "
        "https://arxiv.org/abs/1509.00519"
    )

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = check_int(samples, "samples")
        self.sample_shape = Size((self.samples,))

    def loss(self, out: VAEOutput, step: StepNumber = None) -> Losses:
        """The bound from samples ``(..., K, B, D)``; leading axes are averaged over."""
        if out.z.ndim < 3:
            raise ValueError(
                f"Expected samples of shape (K, B, D), but got {tuple(out.z.shape)}; "
                f"pass sample_shape=objective.sample_shape to the model."
            )
        reconstruction = -out.likelihood.log_prob(out.x)
        kl = log_ratio(self._posterior(out), out.prior, out.z)
        log_weight = -(reconstruction + kl)
        self._weigh(out, log_weight)
        bound = (math.log(log_weight.shape[-2]) - log_weight.logsumexp(-2)).mean()
        values = {
            "importance_weighted": bound.detach(),
            "reconstruction": reconstruction.detach().mean(),
            "kl": kl.detach().mean(),
        }
        return Losses(self._total(bound, log_weight), values)

    def _posterior(self, out: VAEOutput) -> Distribution:
        """The posterior whose density weighs the samples."""
        return out.posterior

    def _weigh(self, out: VAEOutput, log_weight: Tensor) -> None:
        """Change the gradient that reaches the samples; here it is left as it is."""

    def _total(self, bound: Tensor, log_weight: Tensor) -> Tensor:
        return bound

    def __str__(self) -> str:
        return f"-log mean_{self.samples}(w)"


class MIWAE(IWAE):
    r"""The mean of several importance-weighted bounds.

    .. math::

        L = -\frac1M \sum_{m=1}^M \log \frac1K \sum_{k=1}^K w_{mk}

    Between the ELBO with M samples (K = 1) and the IWAE with K (M = 1): the encoder's gradient
    has less noise at the price of a looser bound. Terms as of :class:`IWAE`.

    Args:
        samples: The number K of samples in each bound.
        groups: The number M of bounds for each datum.

    Raises:
        ValueError: If a number is below 1, or the posterior has no density.

    Example:
        >>> print(MIWAE(samples=8, groups=4))
        mean_4(-log mean_8(w))

    References:
        Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018,
        https://arxiv.org/abs/1802.04537.
    """

    paper = (
        "Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018, "
        "https://arxiv.org/abs/1802.04537"
    )

    def __init__(self, samples: int, groups: int) -> None:
        super().__init__(samples)
        self.groups = check_int(groups, "groups")
        self.sample_shape = Size((self.groups, self.samples))

    def __str__(self) -> str:
        return f"mean_{self.groups}({super().__str__()})"


class CIWAE(IWAE):
    r"""A convex combination of the ELBO and the importance-weighted bound, on the same samples.

    .. math::

        L = -\beta\,\frac1K \sum_{k=1}^K \log w_k - (1 - \beta) \log \frac1K \sum_{k=1}^K w_k

    Terms as of :class:`IWAE`; the total is :math:`\beta` (reconstruction + kl) +
    :math:`(1 - \beta)` importance_weighted.

    Args:
        samples: The number K of samples for each datum.
        beta: The share of the ELBO, from 0 to 1; no weight of the KL.

    Raises:
        ValueError: If ``samples`` is below 1, ``beta`` is not from 0 to 1, or the posterior has no
            density.

    Example:
        >>> print(CIWAE(samples=8, beta=0.25))
        0.25·(reconstruction + kl) + 0.75·(-log mean_8(w))

    References:
        Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, 2018,
        https://arxiv.org/abs/1802.04537.
    """

    paper = MIWAE.paper

    def __init__(self, samples: int, beta: float) -> None:
        super().__init__(samples)
        self.beta = check_number(beta, "beta")
        if self.beta > 1:
            raise ValueError(
                f"Expected beta to be the share of the ELBO, from 0 to 1, but got {beta}; "
                f"pass e.g. beta=0.5."
            )

    def _total(self, bound: Tensor, log_weight: Tensor) -> Tensor:
        return (1 - self.beta) * bound - self.beta * log_weight.mean()

    def __str__(self) -> str:
        share, rest = f"{self.beta:g}", f"{1 - self.beta:g}"
        return f"{share}·(reconstruction + kl) + {rest}·({super().__str__()})"


class DReG(IWAE):
    r"""The importance-weighted bound, with the doubly reparameterised gradient for the encoder.

    The value is that of :class:`IWAE`, and so is the gradient by the decoder and the prior. That by
    the encoder's parameters :math:`\phi` has the same mean and less noise:

    .. math::

        \nabla_\phi L = -E\left[\sum_k \tilde w_k^2\,
        \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial \phi}\right], \quad
        \tilde w_k = \frac{w_k}{\sum_j w_j}

    It vanishes at the true posterior, sample by sample, and its signal against its noise grows with
    K, where that of the plain gradient shrinks. Terms as of :class:`IWAE`.

    The density of the posterior is taken with constant parameters. So the posterior must hold them
    as tensors, as all families of :mod:`disvae.distributions` do, and joints, mixtures and
    ``Independent`` of them; flows, whose parameters are inside of transforms, are refused.

    Args:
        samples: The number K of samples for each datum.

    Raises:
        ValueError: If ``samples`` is below 1, or the posterior has no density.
        TypeError: If the posterior holds its parameters otherwise than in tensors.

    Example:
        >>> print(DReG(samples=5))
        -log mean_5(w), doubly reparameterised

    References:
        Tucker et al., Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2018,
        https://arxiv.org/abs/1810.04152.
    """

    paper = (
        "Tucker et al., Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, "
        "2018, https://arxiv.org/abs/1810.04152"
    )

    def _posterior(self, out: VAEOutput) -> Distribution:
        return _constant(out.posterior)

    def _weigh(self, out: VAEOutput, log_weight: Tensor) -> None:
        z = out.z
        if z.requires_grad:
            # the gradient of log Σ w brings the first factor, and reaches z from all sides at once
            share = log_weight.detach().softmax(-2).unsqueeze(-1)
            # once for each pass, however often its loss is taken
            out.shared("doubly reparameterised", lambda: z.register_hook(lambda g: g * share))

    def __str__(self) -> str:
        return f"{super().__str__()}, doubly reparameterised"


# what a distribution may hold beside its parameters
_PLAIN = (int, float, bool, str, Size, torch.dtype, torch.device, type(None), LinearMap)


def _constant(d: Distribution) -> Distribution:
    """The same distribution without gradients by its parameters.

    Raises:
        TypeError: If it holds something else than tensors and distributions.
    """
    constant = copy.copy(d)
    for name, value in vars(d).items():
        if not isinstance(value, _PLAIN):
            setattr(constant, name, _constant_value(value, d))
    return constant


def _constant_value(value: Any, owner: Distribution) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Distribution):
        return _constant(value)
    if isinstance(value, tuple | list):
        return type(value)(_constant_value(v, owner) for v in value)
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(
        f"Expected a posterior made of tensors, for its parameters are to be held constant, but "
        f"{type(owner).__name__} holds a {type(value).__name__}; use objectives.IWAE, or another "
        f"posterior."
    )
