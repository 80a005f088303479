"""Penalties on codes and on the decoder: their covariance, sparsity, and orthogonal effects."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.distributions import Joint, is_factorised, noise
from disvae.nn import check_int, full_precision
from disvae.objectives.batches import whole_batch
from disvae.objectives.schedules import check_weight
from disvae.objectives.terms.likelihood import decoded_mean
from disvae.output import VAEOutput

Variant = Literal["I", "II"]


class CovariancePenalty(nn.Module):
    r"""The squared distance of the codes' covariance from the identity (DIP-VAE I and II).

    .. math::

        \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2, \qquad
        C^{I} = \mathrm{Cov}_x[\mu(x)], \quad
        C^{II} = \overline{\mathrm{Cov}[z|x]} + \mathrm{Cov}_x[\mu(x)]

    :math:`\mu(x)` is the mean of the posterior. By the law of total covariance :math:`C^{II}` is
    that of the aggregate posterior, so variant II is 0 for every aggregate with covariance I, such
    as N(0, I). The batch stands for the data set, on all processes together (sums are divided by
    B). Squares of a noisy estimate are too high: for independent codes of variance 1 the penalty is
    about :math:`(\lambda_{od} D(D - 1) + 2\lambda_d D) / B` too high.

    Args:
        variant: ``"I"``, the posterior means, or ``"II"``, the aggregate posterior.
        off_diagonal: The weight :math:`\lambda_{od}` of the off-diagonal part. At 0 the
            term is the diagonal part alone.
        diagonal: The weight :math:`\lambda_d` of the diagonal part. The paper takes
            :math:`\lambda_d = 10\lambda_{od}` in variant I and :math:`\lambda_d = \lambda_{od}` in
            variant II.

    Shape:
        ``()``. It has no unit: the codes are compared with a unit variance.

    Raises:
        ValueError: If the variant is another, a weight is negative, NaN or infinite, the batch has
            one datum, or the posterior has no mean (no covariance, for II) in closed form.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> CovariancePenalty("II")(model(torch.rand(16, 8))).shape
        torch.Size([])

    References:
        Kumar, Sattigeri and Balakrishnan, Variational Inference of Disentangled Latent Concepts
        from Unlabeled Observations, 2018, https://arxiv.org/abs/1711.00848, equations 6 and 7.
    """

    def __init__(
        self, variant: Variant, *, off_diagonal: float = 1.0, diagonal: float = 1.0
    ) -> None:
        super().__init__()
        if variant not in ("I", "II"):
            raise ValueError(
                f"Expected variant to be 'I' or 'II', but got {variant!r:.60}; "
                f"II regards the aggregate posterior, I the posterior means."
            )
        self.variant = variant
        self.off_diagonal = check_weight(off_diagonal, "off_diagonal")
        self.diagonal = check_weight(diagonal, "diagonal")

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        weights = f"off_diagonal={self.off_diagonal:g}, diagonal={self.diagonal:g}"
        return f"{self.variant!r}, {weights}"

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of the batch."""
        out = whole_batch(out)
        squares = out.shared(("covariance", self.variant), lambda: self._squares(out))
        off_diagonal, diagonal = squares
        return self.off_diagonal * off_diagonal + self.diagonal * diagonal

    def _squares(self, out: VAEOutput) -> tuple[Tensor, Tensor]:
        """Sums of squares off and on the diagonal of C - I."""
        mean = closed_form(out.posterior, "mean")
        if len(mean) < 2:
            raise ValueError(
                "Expected a batch of at least two data for a covariance, but got one; "
                "drop the last batch."
            )
        centred = mean - mean.mean(0)
        # autocast would take the product in half precision
        with torch.autocast(mean.device.type, enabled=False):
            covariance = centred.T @ centred / len(mean)
        if self.variant == "II":
            covariance = covariance + _mean_covariance(out.posterior)
        variance = covariance.diagonal()
        diagonal = (variance - 1).square().sum()
        return (covariance - variance.diag_embed()).square().sum(), diagonal


def closed_form(q: Distribution, what: str) -> Tensor:
    """The mean or variance of a posterior.

    Raises:
        ValueError: If it has none in closed form.
    """
    try:
        value = getattr(q, what)
    except NotImplementedError:
        raise ValueError(
            f"Expected a posterior with a {what} in closed form, but {type(q).__name__} has none; "
            f"use e.g. posteriors.DiagonalNormal or posteriors.FullNormal."
        ) from None
    return full_precision(value)


def _mean_covariance(q: Any) -> Tensor:
    """The mean over the batch of the posteriors' covariances, ``(D, D)``."""
    if isinstance(q, Joint) and not is_factorised(q):
        blocks = [_mean_covariance(block) for block in q.blocks]
        whole = torch.block_diag(*blocks)
        order = [d for dims in q.dims for d in dims]
        place = sorted(range(len(order)), key=order.__getitem__)  # of each dimension in the blocks
        return whole if place == order else whole[place][:, place]
    if is_factorised(q) or not hasattr(q, "covariance_matrix"):
        return closed_form(q, "variance").mean(0).diag_embed()
    return full_precision(q.covariance_matrix).mean(0)


def l1(z: Tensor) -> Tensor:
    r"""The sum of absolute values, :math:`\sum_d |z_d|`.

    Args:
        z: Codes ``(..., D)``.

    Shape:
        ``(...)``.

    Example:
        >>> import torch
        >>> l1(torch.tensor([1.0, -2.0]))
        tensor(3.)
    """
    return z.abs().sum(-1)


def hoyer(z: Tensor) -> Tensor:
    r"""One minus Hoyer's sparseness: 0 where one value is not zero, 1 where all are equally large.

    .. math::

        1 - \frac{\sqrt D - \|z\|_1 / \|z\|_2}{\sqrt D - 1}
        = \frac{\|z\|_1 / \|z\|_2 - 1}{\sqrt D - 1}

    It does not change with the length of a code, so unlike :func:`l1` it does not draw codes
    towards zero. A code of zeros gets 0, and no gradient.

    Args:
        z: Codes ``(..., D)`` of at least two dimensions.

    Shape:
        ``(...)``.

    Raises:
        ValueError: If there is one dimension only.

    Example:
        >>> import torch
        >>> hoyer(torch.tensor([[3.0, 3.0], [0.0, 3.0]]))
        tensor([1.0000, 0.0000])

    References:
        Hoyer, Non-negative Matrix Factorization with Sparseness Constraints, 2004,
        https://www.jmlr.org/papers/v5/hoyer04a.html, section 3.1.
    """
    dim = z.shape[-1]
    if dim < 2:
        raise ValueError(
            "Expected codes of at least two dimensions for a sparseness, but got one; "
            "use terms.l1, or a larger latent_dim."
        )
    # the measure does not depend on the length, so it is divided out before squares underflow
    z = z / z.detach().abs().amax(-1, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
    ratio = z.abs().sum(-1) / z.square().sum(-1).clamp(min=0.5).sqrt()
    return (ratio - 1).clamp(min=0.0) / (dim**0.5 - 1)


class Sparsity(nn.Module):
    r"""How many latents a datum uses, by a measure of its code.

    It is taken of the posterior's samples, which are what the decoder sees, so that it holds for
    every posterior and a dimension of nothing but noise counts as used.

    Args:
        measure: From codes ``(..., D)`` to ``(...)``, lower where they are sparser: :func:`l1`,
            :func:`hoyer`, or a function of one's own.

    Shape:
        ``sample_shape + (B,)``, in the unit of the measure.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(encoders.MLP(8, 4), decoders.MLP(4, 8), prior=priors.Laplace(4))
        >>> Sparsity(hoyer)(model(torch.rand(16, 8))).shape
        torch.Size([16])

    References:
        Hoyer, Non-negative Matrix Factorization with Sparseness Constraints, 2004,
        https://www.jmlr.org/papers/v5/hoyer04a.html.
    """

    def __init__(self, measure: Callable[[Tensor], Tensor] = l1) -> None:
        super().__init__()
        if not callable(measure) or isinstance(measure, type):
            raise TypeError(
                f"Expected measure to be a function of codes, but got {measure!r:.60}; "
                f"pass terms.l1, terms.hoyer or a function."
            )
        self.measure = measure

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return getattr(self.measure, "__name__", type(self.measure).__name__)

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        return self.measure(full_precision(out.z))


class JacobianOrthogonality(nn.Module):
    r"""How far from orthogonal the effects of the latents on the decoded datum are.

    .. math::

        \sum_{i \ne j} (J_i^\top J_j)^2, \qquad J_i = \frac{\partial \mu(z)}{\partial z_i}

    :math:`\mu(z)` is the mean of the likelihood. With signs v at random,
    :math:`\mathrm{Var}_v\,\|Jv\|^2 = 2 \sum_{i \ne j} (J_i^\top J_j)^2`, so half the sample
    variance over some draws of v is an unbiased estimate, from as many directional derivatives and
    without the Jacobian matrix. It is 0 where the columns are orthogonal, whatever v.

    The gradient moves the decoder only, at the posterior's samples as they are.

    Args:
        decoder: The decoder instance of the model. The term holds it, so its parameters are shared.
        probes: The number of draws of v for each sample, at least two.

    Shape:
        ``sample_shape + (B,)``, in units of the data to the fourth power for latents of unit scale.

    Raises:
        TypeError: If the decoder is no module.
        ValueError: If there are fewer than two probes, or the likelihood has no mean.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, priors
        >>> decoder = decoders.MLP(2, 8)
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoder, prior=priors.Normal(2))
        >>> JacobianOrthogonality(decoder)(model(torch.rand(16, 8))).shape
        torch.Size([16])

    References:
        Wei et al., Orthogonal Jacobian Regularization for Unsupervised Disentanglement in Image
        Generation, 2021, https://arxiv.org/abs/2108.07668. Peebles et al., The Hessian Penalty,
        2020, https://arxiv.org/abs/2008.10599, theorem 1, for the estimate.
    """

    def __init__(self, decoder: nn.Module, *, probes: int = 2) -> None:
        super().__init__()
        if not isinstance(decoder, nn.Module):
            raise TypeError(
                f"Expected decoder to be an nn.Module, but got {type(decoder).__name__}; "
                f"pass the model's decoder instance."
            )
        self.decoder = decoder
        self.probes = check_int(probes, "probes", minimum=2)

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of each sample."""
        z = out.z.detach()
        shape = (self.probes, *z.shape)
        u = noise(torch.rand, shape, dtype=z.dtype, device=z.device)
        signs = torch.where(u < 0.5, -1.0, 1.0).to(z.dtype)

        def decoded(z: Tensor) -> Tensor:
            p = self.decoder(z) if out.context is None else self.decoder(z, out.context)
            return decoded_mean(p)

        change = torch.func.jvp(decoded, (z.expand(shape).contiguous(),), (signs,))[1]
        squares = change.flatten(z.ndim).square().sum(-1)
        return 0.5 * squares.var(0)
