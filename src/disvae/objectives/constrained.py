"""Objectives that reach a target: a multiplier or a controller finds the weight while training."""

import math

import torch
from torch import Tensor, nn

from disvae.objectives import terms
from disvae.objectives.base import Losses, Objective, checked_weight
from disvae.objectives.batches import gathered_mean
from disvae.objectives.schedules import Schedule, StepNumber, check_number, check_step, value_at
from disvae.output import VAEOutput


class GECO(Objective):
    r"""The smallest KL at which the reconstruction is as good as demanded.

    .. math::

        \min_{\theta,\phi} \max_{\lambda > 0}\;
        KL(q(z|x) \| p(z)) + \lambda \big(E_{q(z|x)}[-\log p(x|z)] - \kappa\big)

    Its terms are ``reconstruction`` and ``kl``, in nats per datum, and ``multiplier``, which is
    :math:`\lambda`.

    The logarithm of :math:`\lambda` is the parameter ``log_multiplier``. The one optimiser that
    trains the model moves it too: its gradient is minus the constraint's moving average, so it
    climbs while the constraint is broken and sinks while there is room. Under Adam it changes by
    about the learning rate at each step; a larger one for it alone comes from
    ``disvae.param_groups(train, {objective: {"lr": 0.01}})``. It stays inside
    :math:`e^{\pm 14}`, so a target that cannot be reached leaves everything finite. The average is
    a buffer and moves in training mode only; a batch over several processes is averaged whole.

    Args:
        target: The reconstruction :math:`\kappa` to reach, in nats per datum. It is a negative log
            likelihood: for a normal decoder of fixed scale :math:`\sigma` an affine function of the
            squared error, :math:`\tfrac12 |x - \hat x|^2 / \sigma^2 + D \log(\sqrt{2\pi}\sigma)`.
        decay: How much of the moving average is kept at each step.

    Raises:
        ValueError: If ``target`` is NaN or infinite, or ``decay`` is not in [0, 1).
        TypeError: If one is no number.

    Example:
        >>> print(GECO(target=90.0))
        kl + λ·(reconstruction - 90)

    References:
        Rezende and Viola, Taming VAEs, 2018, https://arxiv.org/abs/1810.00597, algorithm 1.
    """

    paper = "Rezende and Viola, Taming VAEs, 2018, https://arxiv.org/abs/1810.00597"
    average: Tensor
    started: Tensor

    def __init__(self, target: float, *, decay: float = 0.99) -> None:
        super().__init__()
        self.target = check_number(target, "target", least=-math.inf)
        self.decay = check_number(decay, "decay")
        if self.decay >= 1:
            raise ValueError(
                f"Expected decay to be at least 0 and below 1, but got {decay}; "
                f"0.99 averages over about 100 steps."
            )
        self.reconstruction, self.kl = terms.Reconstruction(), terms.KL()
        self.log_multiplier = nn.Parameter(torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def loss(self, out: VAEOutput, step: StepNumber = None) -> Losses:
        """The Lagrangian of one pass."""
        reconstruction, kl = self.reconstruction(out).mean(), self.kl(out).mean()
        violation = reconstruction - self.target
        log_multiplier = self.log_multiplier
        multiplier = log_multiplier.detach().clamp(-_LIMIT, _LIMIT).exp()
        total = kl + multiplier * violation
        if self.training:
            push = self._push(violation.detach(), len(out.x))
            # of value 0: only the gradient counts, with its sign flipped
            total = total - (log_multiplier - log_multiplier.detach()) * push
        values = {
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
            "multiplier": multiplier,
        }
        return Losses(total, values)

    def _push(self, violation: Tensor, rows: int) -> Tensor:
        """The moving average of the constraint; 0 where the multiplier is at its limit already."""
        violation = gathered_mean(violation, rows).to(self.average.dtype)
        moved = torch.where(
            self.started, torch.lerp(violation, self.average, self.decay), violation
        )
        # one bad batch would stay in the average for ever
        moved = torch.where(violation.isfinite(), moved, self.average)
        self.average.copy_(moved)
        self.started.logical_or_(violation.isfinite())
        log_multiplier = self.log_multiplier.detach()
        outwards = (log_multiplier.abs() >= _LIMIT) & (log_multiplier * moved > 0)
        return torch.where(outwards, 0.0, moved)

    def __str__(self) -> str:
        sign = "-" if self.target >= 0 else "+"
        return f"kl + λ·(reconstruction {sign} {abs(self.target):g})"


# of the logarithm of a multiplier: a factor of about a million either way
_LIMIT = 14.0


class ControlVAE(Objective):
    r"""A β-VAE whose β a controller sets, so that the KL reaches a target.

    .. math::

        L = E_{q(z|x)}[-\log p(x|z)] + \beta(t)\,KL(q(z|x) \| p(z)), \qquad
        \beta(t) = \beta_{min} + \frac{K_p}{1 + \exp(e(t))} - K_i \sum_{j \le t} e(j), \quad
        e = C - KL

    clipped to :math:`[\beta_{min}, \beta_{max}]`. The integral starts at 0 and is kept inside
    :math:`[-K_p, \beta_{max} - \beta_{min}]`, so that it does not wind up while β is at a bound,
    and turns back at once.

    Its terms are ``reconstruction`` and ``kl``, in nats per datum, and ``beta``. The state, buffers
    ``integral`` and ``beta``, changes in training mode only, and a run that is resumed from its
    state goes on as it would have; in evaluation mode the last β is used. A batch over several
    processes is averaged whole.

    Args:
        target: The KL :math:`C` to reach, in nats per datum: a number or a schedule.
        kp: The weight :math:`K_p` of the present error.
        ki: The weight :math:`K_i` of the sum of all errors.
        min_beta: The smallest β.
        max_beta: The largest β.

    Raises:
        ValueError: If a number is negative, NaN or infinite, or ``max_beta`` is not above
            ``min_beta``.
        TypeError: If one is no number.

    Example:
        >>> print(ControlVAE(target=16.0))
        reconstruction + β(kl → 16)·kl

    References:
        Shao et al., ControlVAE: Controllable Variational Autoencoder, 2020,
        https://arxiv.org/abs/2004.05988, algorithm 1.
    """

    paper = (
        "Shao et al., ControlVAE: Controllable Variational Autoencoder, 2020, "
        "https://arxiv.org/abs/2004.05988"
    )
    integral: Tensor
    beta: Tensor

    def __init__(
        self,
        target: float | Schedule,
        *,
        kp: float = 0.01,
        ki: float = 0.001,
        min_beta: float = 0.0,
        max_beta: float = 100.0,
    ) -> None:
        super().__init__()
        self.target = checked_weight(target, "target")
        self.kp, self.ki = check_number(kp, "kp"), check_number(ki, "ki")
        self.min_beta = check_number(min_beta, "min_beta")
        self.max_beta = check_number(max_beta, "max_beta")
        if self.max_beta <= self.min_beta:
            raise ValueError(
                f"Expected max_beta to be above min_beta, but got {max_beta} and {min_beta}; "
                f"pass e.g. min_beta=0.0, max_beta=100.0."
            )
        self.reconstruction, self.kl = terms.Reconstruction(), terms.KL()
        self.register_buffer("integral", torch.zeros(()))
        self.register_buffer("beta", torch.full((), self.min_beta))

    def loss(self, out: VAEOutput, step: StepNumber = None) -> Losses:
        """The reconstruction and the KL of one pass, weighted by the controller."""
        check_step(step)
        reconstruction, kl = self.reconstruction(out).mean(), self.kl(out).mean()
        beta = self.beta.clone()
        if self.training:
            beta = self._controlled(kl.detach(), len(out.x), step)
        values = {"reconstruction": reconstruction.detach(), "kl": kl.detach(), "beta": beta}
        return Losses(reconstruction + beta * kl, values)

    def _controlled(self, kl: Tensor, rows: int, step: StepNumber) -> Tensor:
        """The β of this step, which moves the state of the controller."""
        target = value_at(self.target, step, "target")
        error = (target - gathered_mean(kl, rows)).to(self.integral.dtype)
        # one bad batch would stay in the integral for ever
        error = torch.where(error.isfinite(), error, 0.0)
        room = self.max_beta - self.min_beta
        integral = (self.integral - self.ki * error).clamp(-self.kp, room)
        beta = (self.kp * torch.sigmoid(-error) + integral).clamp(0.0, room) + self.min_beta
        self.integral.copy_(integral)
        self.beta.copy_(beta)
        return beta

    def __str__(self) -> str:
        target = self.target if callable(self.target) else f"{self.target:g}"
        return f"reconstruction + β(kl → {target})·kl"
