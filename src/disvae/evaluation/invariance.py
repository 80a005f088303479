"""Whether an objective is invariant to rotations of the latent space, measured."""

import dataclasses
import inspect
import math
from typing import Any

import numpy as np
import scipy.special
import torch
from torch import Tensor, nn

from disvae.distributions import LinearMap, seeded
from disvae.evaluation.findings import Estimate, Finding
from disvae.evaluation.rotation import mapped, orthogonal, random_rotation
from disvae.model import VAE, evaluating, evaluation_mode
from disvae.nn import check_float, check_int
from disvae.objectives import Objective
from disvae.objectives.schedules import StepNumber


@dataclasses.dataclass(frozen=True, eq=False)
class Gap(Finding):
    """How a value changes under rotations: rotated minus original, so a cost where positive.

    Attributes:
        mean: The mean over rotations and samples. Its standard error is from the spread over
            rotations, which holds that over samples; over samples where there is one rotation.
        each: The mean over samples under each rotation, ``(R,)``.
        noise: The standard error of one of ``each``, from the spread over samples: what they would
            differ by if nothing but noise changed. Not a number where there is one sample.
    """

    mean: Estimate
    each: Tensor
    noise: float

    @property
    def largest(self) -> float:
        """The largest size of a change under one rotation."""
        return self.each.abs().max().item()


@dataclasses.dataclass(frozen=True, eq=False)
class RotationGap(Gap):
    """What :func:`rotation_gap` finds; it prints as a table.

    The objective is invariant where the largest change is rounding, or no more than a few times the
    noise. The mean alone does not tell: under axes that mean nothing yet, rotations raise and lower
    the objective alike.

    Attributes:
        interval: The 95 % interval of the mean over all rotations, by Student's t.
        terms: The change of each term of the objective, unweighted.
        objective: The mean of the objective without a rotation, to compare with.
        samples: The number of samples under each rotation.
        rotations: The rotations, ``(R, D, D)``.
    """

    interval: tuple[float, float]
    terms: dict[str, Gap]
    objective: float
    samples: int
    rotations: Tensor

    def __str__(self) -> str:
        """A table for the terminal."""
        cells = [("", "mean", "largest", "noise")]
        for name, gap in {"rotation gap": self, **self.terms}.items():
            mean = f"{float(gap.mean):+.3g} ± {gap.mean.standard_error:.2g}"
            cells.append((name, mean, f"{gap.largest:.3g}", f"{gap.noise:.2g}"))
        widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
        lines = [
            "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        count = len(self.each)
        title = f"{count} rotation{'s' * (count > 1)} of an objective of {self.objective:.5g}"
        return "\n".join([title, *lines])


def rotation_gap(
    model: VAE,
    objective: Objective,
    x: Tensor,
    *,
    rotations: int | Tensor = 16,
    samples: int = 4,
    context: Tensor | None = None,
    labels: Tensor | None = None,
    step: StepNumber = None,
    seed: int = 0,
) -> RotationGap:
    r"""By how much an objective changes when the latent space is rotated, with common noise.

    .. math::

        \Delta = L(q_R, p_R) - L(q, p), \quad
        q_R(z|x) = q(R^\top z|x),\ p_R(x|z) = p(x|R^\top z)

    For an isotropic normal prior it is 0 up to rounding, for the ELBO with any β and any posterior:
    such an objective cannot prefer one set of axes. A prior that breaks this symmetry gives another
    value for each rotation, and a positive mean where the model has found axes that suit it.

    Both sides see the same random numbers, so no noise of the reconstruction is left, and take the
    same estimator: closed forms where the pair of prior and *rotated* posterior has one, as two
    normals do, else the integrand at the same samples (a normal posterior under a Laplace prior has
    a closed form as long as its dimensions are independent, and is sampled here on both sides).
    What needs a posterior with independent dimensions, free bits for instance, is refused. Terms
    that compare with draws from the prior (MMD, the inclusive KL, the sliced Wasserstein distance)
    are invariant in distribution only: their changes are no larger than their noise, which falls
    with more samples.

    Nothing changes: not the model, the objective or their modes, nor the global generators. A
    term's own network, such as FactorVAE's discriminator, is not rotated with the model.

    Args:
        model: The model. In float64 rounding is 1e-15 of the objective, in float32 1e-6.
        objective: Any objective that holds no part of the model itself.
        x: The data, ``(B, *event)``, or what else the objective takes.
        rotations: How many random rotations are drawn, uniform among all orthogonal matrices
            (see :func:`random_rotation`), or the rotations, ``(D, D)`` or ``(R, D, D)``.
        samples: How many times each rotation is compared, every time with other noise.
        context: What the model is conditioned on, ``(B, C)``.
        labels: What supervised terms compare with, ``(B, ...)``.
        step: The number of the step; None means the final value of every schedule.
        seed: Of rotations and noise.

    Raises:
        TypeError: If ``model`` is no VAE or changes a method of it (see :func:`rotate`), the
            objective no module, or ``rotations`` neither a number nor a tensor.
        ValueError: If a rotation is not orthogonal or of the size of the latent space, or the
            objective holds the encoder or decoder of the model, which it would use unrotated.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, objectives, priors
        >>> encoder, decoder, x = encoders.MLP(8, 3), decoders.MLP(3, 8), torch.rand(64, 8)
        >>> isotropic = disvae.VAE(encoder, decoder, prior=priors.Normal(3)).double()
        >>> gap = evaluation.rotation_gap(isotropic, objectives.BetaVAE(4.0), x.double())
        >>> gap.largest < 1e-12
        True
        >>> sparse = disvae.VAE(encoder, decoder, prior=priors.Sparse(3)).double()
        >>> gap = evaluation.rotation_gap(sparse, objectives.BetaVAE(4.0), x.double())
        >>> gap.largest > 0.01
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 4.
    """
    check_float(x, "x")
    samples = check_int(samples, "samples")
    _check_objective(objective, model)
    keywords = {"context": context, "step": step}
    if labels is not None:
        _check_labels(objective)
        keywords["labels"] = labels
    generator = torch.Generator().manual_seed(check_int(seed, "seed", minimum=0))
    values: list[list[list[float]]] = []
    with evaluating(model), evaluation_mode(objective):
        matrices = _rotations(rotations, model, x, context, generator)
        # the identity as a rotation like any other, so that both sides take the same estimators
        original = mapped(model, _unstructured(torch.eye(matrices.shape[-1])))
        rotated = [mapped(model, _unstructured(matrix)) for matrix in matrices]
        for turned in rotated:
            for number in torch.randint(2**62, (samples,), generator=generator).tolist():
                sides = [_losses(m, objective, x, keywords, number) for m in (original, turned)]
                values.append([list(side.values()) for side in sides])
    before, after = torch.tensor(values, dtype=torch.float64).unbind(1)  # (R·samples, terms)
    changes = (after - before).unflatten(0, (len(matrices), samples))
    total, *terms = (_gap(values) for values in changes.unbind(-1))
    count = len(matrices) if len(matrices) > 1 else samples
    quantile = float(scipy.special.stdtrit(max(count - 1, 1), 0.975))
    radius = quantile * total.mean.standard_error
    return RotationGap(
        total.mean,
        total.each,
        total.noise,
        interval=(total.mean - radius, total.mean + radius),
        terms=dict(zip(list(sides[0])[1:], terms, strict=True)),
        objective=before[:, 0].mean().item(),
        samples=samples,
        rotations=matrices,
    )


def _check_objective(objective: Objective, model: VAE) -> None:
    if not isinstance(objective, nn.Module):
        kind = objective.__name__ if isinstance(objective, type) else type(objective).__name__
        raise TypeError(
            f"Expected objective to be a module of disvae.objectives, but got {kind}; pass an "
            f"instance, such as objectives.BetaVAE(4.0)."
        )
    inside = set(objective.modules())
    for name in ("encoder", "decoder"):
        if getattr(model, name, None) in inside:
            raise ValueError(
                f"Expected an objective that holds no part of the model, but it holds the {name}, "
                f"which it would use without the rotation; leave that term out."
            )


def _check_labels(objective: Objective) -> None:
    parameters = inspect.signature(objective.forward).parameters
    if "labels" not in parameters and all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(
            f"Expected no labels, because {type(objective).__name__} takes none, but got some; "
            f"leave labels= out."
        )


def _rotations(
    rotations: int | Tensor,
    model: VAE,
    x: Tensor,
    context: Tensor | None,
    generator: torch.Generator,
) -> Tensor:
    """The rotations that are given, or so many random ones: ``(R, D, D)``, in float64."""
    if isinstance(rotations, list | tuple | np.ndarray):
        raise TypeError(
            f"Expected rotations to be a number or a tensor of shape (R, D, D), but got "
            f"{type(rotations).__name__}; stack matrices with torch.stack."
        )
    if not isinstance(rotations, Tensor):
        count = check_int(rotations, "rotations")
        dim = model.latent_dim or model.encode(x, context).event_shape[0]
        return torch.stack([random_rotation(dim, generator=generator) for _ in range(count)])
    if rotations.ndim not in (2, 3) or rotations.shape[0] == 0:
        raise ValueError(
            f"Expected rotations to be a number or a tensor of shape (R, D, D), but got shape "
            f"{tuple(rotations.shape)}; stack the matrices with torch.stack."
        )
    several = rotations if rotations.ndim == 3 else rotations.unsqueeze(0)
    return torch.stack([orthogonal(rotation) for rotation in several])


def _unstructured(matrix: Tensor) -> LinearMap:
    return LinearMap(matrix, structured=False)


def _losses(
    model: VAE, objective: Objective, x: Tensor, keywords: dict[str, Any], seed: int
) -> dict[str, float]:
    """The total and the terms of an objective, with the noise of a seed."""
    with seeded(seed):
        losses = objective(model, x, **keywords)
    values = {"total": losses.total, **losses.terms}
    return {name: value.item() for name, value in values.items()}


def _gap(values: Tensor) -> Gap:
    """The mean of changes ``(R, samples)``, and how well it is known."""
    each, noise, error = values.mean(1), math.nan, math.nan
    if values.shape[1] > 1:
        noise = math.sqrt(values.var(1).mean().item() / values.shape[1])
    independent = each if len(each) > 1 else values[0]
    if len(independent) > 1:
        error = math.sqrt(independent.var().item() / len(independent))
    return Gap(Estimate(values.mean().item(), error), each, noise)
