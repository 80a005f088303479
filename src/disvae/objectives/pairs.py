r"""Objectives of pairs: two views that share some factors, or two frames in time.

The data are pairs, ``x`` of shape ``(B, 2, *event)``; the model is one of single data. A context is
one row for each pair ``(B, C)``, or for each member ``(B, 2, C)``. Every member counts as a datum:
terms are averaged over the 2B of them, on the scale of all other objectives, which is half of the
sum over a pair that papers write.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, kl_divergence

from disvae.distributions import Normal, base_of, is_normal, kl
from disvae.model import VAE
from disvae.nn import check_context_type
from disvae.objectives import terms
from disvae.objectives.base import Losses, Weight, WeightedSum
from disvae.objectives.schedules import StepNumber, check_number
from disvae.output import VAEOutput


class _Pairs(WeightedSum):
    """A weighted sum over the members of pairs, the first and the second in turn."""

    def forward(  # type: ignore[override]  # labels would be of pairs or of members
        self, model: VAE, x: Tensor, *, context: Tensor | None = None, step: StepNumber = None
    ) -> Losses:
        """The losses of one batch of pairs.

        Args:
            model: The model of single data.
            x: Pairs of data, ``(B, 2, *event)``.
            context: What the model is conditioned on, ``(B, C)`` or ``(B, 2, C)``.
            step: The number of the step; None means the final value of every schedule.
        """
        if not isinstance(x, Tensor) or x.ndim < 3 or x.shape[1] != 2:
            kind = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"Expected x to be pairs of shape (B, 2, *event), but got {kind}; "
                f"join two batches with torch.stack((first, second), dim=1)."
            )
        if context is not None:
            check_context_type(context)
            batch = len(x)
            if context.shape[:-1] not in ((batch,), (batch, 2)):
                raise ValueError(
                    f"Expected a context of shape ({batch}, C) or ({batch}, 2, C), but got "
                    f"{tuple(context.shape)}; give one row for each pair, or for each member."
                )
            context = (
                context.repeat_interleave(2, 0) if context.ndim == 2 else context.flatten(0, 1)
            )
        return self.loss(self._pass(model, x.flatten(0, 1), context), step)

    def _pass(self, model: VAE, x: Tensor, context: Tensor | None) -> VAEOutput:
        return model(x, context, self.sample_shape)


class AdaGVAE(_Pairs):
    r"""The adaptive group VAE: a β-VAE of pairs that share some, unknown, factors.

    Dimension d is shared where the posteriors of the pair differ by less than half-way between the
    closest and the farthest dimension,

    .. math::

        \delta_d = KL\big(q(z_d|x_1) \| q(z_d|x_2)\big) <
        \tfrac12\big(\min_e \delta_e + \max_e \delta_e\big)

    and there both posteriors become their average :math:`\tilde q`, of the mean of both means and
    the mean of both variances:

    .. math::

        L = \tfrac12 \sum_{i=1}^2 E_{\tilde q(z|x_i)}[-\log p(x_i|z)]
        + \beta\,KL(\tilde q(z|x_i) \| p(z))

    Its terms are ``reconstruction`` and ``kl``, in nats per datum, the mean over both members.
    The posterior must be a normal one with independent dimensions. With one dimension nothing is
    ever shared.

    Args:
        beta: The weight of the KL, a number or a schedule.

    Shape:
        ``x`` of shape ``(B, 2, *event)``.

    Raises:
        ValueError: If ``x`` is no batch of pairs, or the weight is negative, NaN or infinite.
        TypeError: If the posterior is another.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> objective = AdaGVAE(beta=4.0)
        >>> print(objective)
        reconstruction + 4·kl
        >>> list(objective(model, torch.rand(16, 2, 8)).terms)
        ['reconstruction', 'kl']

    References:
        Locatello et al., Weakly-Supervised Disentanglement Without Compromises, 2020,
        https://arxiv.org/abs/2002.02886.
    """

    paper = (
        "Locatello et al., Weakly-Supervised Disentanglement Without Compromises, 2020, "
        "https://arxiv.org/abs/2002.02886"
    )

    def __init__(self, beta: Weight = 1.0) -> None:
        super().__init__(reconstruction=(1.0, terms.Reconstruction()), kl=(beta, terms.KL()))

    def _pass(self, model: VAE, x: Tensor, context: Tensor | None) -> VAEOutput:
        base = _normal(model.encode(x, context))
        loc, variance = (v.unflatten(0, (-1, 2)) for v in (base.loc, base.scale.square()))
        with torch.no_grad():
            # twice the KL, less a constant
            gap = (loc[:, 0] - loc[:, 1]).square() + variance[:, 0]
            gap = gap / variance[:, 1] - (variance[:, 0] / variance[:, 1]).log()
            shared = gap < 0.5 * (gap.amin(-1, keepdim=True) + gap.amax(-1, keepdim=True))
            shared = shared.unsqueeze(1)
        new_loc, new_variance = self._average(loc, variance)
        loc = torch.where(shared, new_loc, loc).flatten(0, 1)
        scale = torch.where(shared, new_variance, variance).sqrt().flatten(0, 1)
        q = Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
        return model(x, context, self.sample_shape, posterior=q)

    def _average(self, loc: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the average of each pair, ``(B, 2, D)`` to ``(B, 1, D)``."""
        return loc.mean(1, keepdim=True), variance.mean(1, keepdim=True)


class AdaMLVAE(AdaGVAE):
    r"""The adaptive multi-level VAE: as :class:`AdaGVAE`, with the product of both posteriors.

    Where a dimension is shared, the precisions add up, and the mean is weighted by them:

    .. math::

        \tilde\sigma_d^{-2} = \sigma_{1d}^{-2} + \sigma_{2d}^{-2}, \quad
        \tilde\mu_d = \tilde\sigma_d^2 (\sigma_{1d}^{-2}\mu_{1d} + \sigma_{2d}^{-2}\mu_{2d})

    This is the product of experts of the multi-level VAE. (The authors' code takes its square root,
    a variance twice as large.) All else is as in :class:`AdaGVAE`.

    Args:
        beta: The weight of the KL, a number or a schedule.

    Shape:
        ``x`` of shape ``(B, 2, *event)``.

    Raises:
        ValueError: If ``x`` is no batch of pairs, or the weight is negative, NaN or infinite.
        TypeError: If the posterior is no normal one with independent dimensions.

    Example:
        >>> print(AdaMLVAE(beta=4.0))
        reconstruction + 4·kl

    References:
        Locatello et al., Weakly-Supervised Disentanglement Without Compromises, 2020,
        https://arxiv.org/abs/2002.02886. Bouchacourt et al., Multi-Level Variational
        Autoencoder, 2018, https://arxiv.org/abs/1705.08841.
    """

    def _average(self, loc: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        precision = variance.reciprocal()
        product = precision.sum(1, keepdim=True).reciprocal()
        return product * (precision * loc).sum(1, keepdim=True), product


class SlowVAE(_Pairs):
    r"""The slow VAE: pairs of frames, whose latents change rarely, by a Laplace transition.

    .. math::

        L = \tfrac12 \Big\{ E_q[-\log p(x_0|z_0) - \log p(x_1|z_1)] + \beta\,KL(q(z_0|x_0) \| p(z))
        + \gamma\,E_{q(z_0|x_0)}\big[KL(q(z_1|x_1) \| p(z_1|z_0))\big] \Big\}

    with :math:`p(z_1|z_0) = \prod_d \frac\lambda2 \exp(-\lambda|z_{1d} - z_{0d}|)`. With
    :math:`\beta = \gamma = 1` it is the negative ELBO of a pair, in nats per frame. The
    expectations are closed: under both posteriors the change is normal. (The authors' code puts the
    mean of :math:`z_0` in place of its expectation, and takes all terms in both directions of
    time.)

    Its terms are ``reconstruction``, ``kl``, of first frames, and ``transition``, of second ones;
    each a mean over all frames, in nats. The posterior must be a normal one with independent
    dimensions; the prior is that of first frames.

    Args:
        gamma: The weight of the transition, a number or a schedule.
        rate: The rate :math:`\lambda` of the transition, per unit of the latent space.
        beta: The weight of the KL of first frames, a number or a schedule.

    Shape:
        ``x`` of shape ``(B, 2, *event)``: frames and those that follow.

    Raises:
        ValueError: If ``x`` is no batch of pairs, the rate is not positive, or a weight is
            negative, NaN or infinite.
        TypeError: If the posterior is another.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> objective = SlowVAE()
        >>> print(objective)
        reconstruction + kl + 10·transition
        >>> list(objective(model, torch.rand(16, 2, 8)).terms)
        ['reconstruction', 'kl', 'transition']

    References:
        Klindt et al., Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse
        Coding, 2021, https://arxiv.org/abs/2007.10930.
    """

    paper = (
        "Klindt et al., Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse "
        "Coding, 2021, https://arxiv.org/abs/2007.10930"
    )

    def __init__(self, gamma: Weight = 10.0, *, rate: float = 6.0, beta: Weight = 1.0) -> None:
        super().__init__(
            reconstruction=(1.0, terms.Reconstruction()),
            kl=(beta, _FirstKL()),
            transition=(gamma, _LaplaceTransition(rate)),
        )


class _FirstKL(nn.Module):
    """The KL of first members, as a mean over all members."""

    def forward(self, out: VAEOutput) -> Tensor:
        return kl(out.posterior, out.prior, out.z)[..., ::2].mean() / 2


class _LaplaceTransition(nn.Module):
    """The KL of second members to a Laplace distribution around first ones, a mean over all."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check_number(rate, "rate")
        if not self.rate:
            raise ValueError(
                "Expected rate to be positive, but got 0; pass gamma=0.0 for no transition."
            )

    def forward(self, out: VAEOutput) -> Tensor:
        base = _normal(out.posterior)
        loc, scale = base.loc.unflatten(0, (-1, 2)), base.scale.unflatten(0, (-1, 2))
        # E|z₁ - z₀| is that of one normal of the summed variance; its entropy is exchanged after
        spread = torch.hypot(scale[:, 0], scale[:, 1])
        change = Normal(loc[:, 1], spread, validate_args=False)
        transition = Laplace(loc[:, 0], 1 / self.rate, validate_args=False)
        value = kl_divergence(change, transition) + (spread / scale[:, 1]).log()
        return value.sum(-1).mean() / 2


def _normal(q: Distribution) -> torch.distributions.Normal:
    base = base_of(q)
    if base is q or not is_normal(base):
        raise TypeError(
            f"Expected a normal posterior with independent dimensions, but got "
            f"{type(base).__name__}; end the encoder with posteriors.DiagonalNormal."
        )
    return base
