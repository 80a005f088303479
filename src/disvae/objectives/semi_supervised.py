"""Classes that are known for some data: the model M2."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from disvae.model import VAE
from disvae.nn import check_context_type, check_float, check_int, full_precision
from disvae.objectives import terms
from disvae.objectives.base import Losses, Weight, WeightedSum
from disvae.objectives.batches import mean_of_known
from disvae.objectives.schedules import StepNumber
from disvae.output import VAEOutput


class SemiSupervisedVAE(WeightedSum):
    r"""A conditional VAE of classes that are known for some data, and inferred for the others: M2.

    .. math::

        \mathcal L(x, y) &= E_{q(z|x,y)}[-\log p(x|y,z)] + KL(q(z|x,y) \| p(z|y)) - \log p(y) \\
        \mathcal U(x) &= \sum_y q(y|x)\,\big(\mathcal L(x, y) + \log q(y|x)\big) \\
        L &= \frac1B \Big(\sum_{known} \mathcal L(x, y) + \sum_{unknown} \mathcal U(x)\Big)
        + \alpha\,\overline{-\log q(y|x)}_{known}

    The sum over classes is exact. The class is the context of the model, one-hot, after a context
    that is given; so build its parts with ``context_dim=num_classes`` (plus that of the context).
    A datum of unknown class passes through the model once for each class, one of known class once.
    That takes labels on the CPU, wherever data and model are: labels on a device are not waited
    for, and under ``torch.compile`` no label is looked at; then every datum passes once for each
    class, to the same values in expectation.

    Its terms are ``reconstruction``, ``kl``, ``label_kl``, which is :math:`-\log p(y)` or
    :math:`KL(q(y|x) \| p(y))`, and ``classification``, the mean over the known labels of a batch
    (on all processes; 0 where none is). All are in nats, and the first three per datum.

    Args:
        classifier: What gives :math:`q(y|x)`: a module from data ``(B, *event)`` to logits
            ``(B, num_classes)``. It is trained as part of the objective.
        num_classes: The number of classes.
        alpha: The weight of the classification, a number or a schedule. The paper's own
            :math:`\alpha` is per data set, 0.1·N: here 0.1.
        class_probs: The prior :math:`p(y)`; uniform by default.

    Raises:
        ValueError: If labels are not of shape ``(B,)`` or out of range, the classifier returns
            another shape, or an argument is out of range.
        TypeError: If ``classifier`` is no module, or labels are no integers.

    Example:
        >>> import torch, disvae
        >>> from torch import nn
        >>> from disvae import decoders, encoders, priors
        >>> model = disvae.VAE(
        ...     encoders.MLP(8, 2, context_dim=3),
        ...     decoders.MLP(2, 8, context_dim=3),
        ...     prior=priors.Normal(2),
        ... )
        >>> objective = SemiSupervisedVAE(nn.Linear(8, 3), num_classes=3)
        >>> print(objective)
        reconstruction + kl + label_kl + 0.1·classification
        >>> labels = torch.tensor([0, 2, -1, 1])  # -1 is unknown
        >>> list(objective(model, torch.rand(4, 8), labels=labels).terms)
        ['reconstruction', 'kl', 'label_kl', 'classification']

    References:
        Kingma et al., Semi-supervised Learning with Deep Generative Models, 2014,
        https://arxiv.org/abs/1406.5298, equations 6 to 9.
    """

    paper = (
        "Kingma et al., Semi-supervised Learning with Deep Generative Models, 2014, "
        "https://arxiv.org/abs/1406.5298"
    )
    log_prior: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        num_classes: int,
        *,
        alpha: Weight = 0.1,
        class_probs: Sequence[float] | Tensor | None = None,
    ) -> None:
        super().__init__(
            reconstruction=(1.0, _Expected(terms.Reconstruction())),
            kl=(1.0, _Expected(terms.KL())),
            label_kl=(1.0, _Found("label_kl")),
            classification=(alpha, _Found("classification")),
        )
        if not isinstance(classifier, nn.Module):
            raise TypeError(
                f"Expected classifier to be an nn.Module, but got {type(classifier).__name__}; "
                f"pass an instance, such as nn.Sequential(nn.Flatten(), nn.Linear(784, 10))."
            )
        self.classifier = classifier
        self.num_classes = check_int(num_classes, "num_classes", minimum=2)
        self.register_buffer("log_prior", _log_prior(class_probs, self.num_classes))

    def forward(
        self,
        model: VAE,
        x: Tensor,
        *,
        context: Tensor | None = None,
        step: StepNumber = None,
        labels: Tensor | None = None,
    ) -> Losses:
        """The losses of one batch.

        Args:
            model: The model, whose context ends with the class.
            x: The data, ``(B, *event)``.
            context: What the model is conditioned on beside the class, ``(B, C)``.
            step: The number of the step; None means the final value of every schedule.
            labels: The classes, integers ``(B,)``; -1, or None for all, where unknown.
        """
        check_float(x, "x")
        batch = len(x)
        if context is not None:
            check_context_type(context)
            if context.ndim != 2 or len(context) != batch:
                raise ValueError(
                    f"Expected a context of shape ({batch}, C), one row for each datum, but got "
                    f"{tuple(context.shape)}; the class is joined to it here."
                )
        if labels is None:
            labels = torch.full((batch,), -1, device=x.device)
        seen = _is_on_host(labels)
        self._check_labels(labels, batch, values=seen)
        row, label = self._pairs(labels, seen)
        row, label, labels = (v.to(x.device) for v in (row, label, labels))

        classes = torch.arange(self.num_classes, device=x.device)
        one_hot = (label.unsqueeze(-1) == classes).to(x.dtype)
        given = one_hot if context is None else torch.cat((context[row], one_hot), dim=-1)
        out = model(x[row], given, self.sample_shape)

        log_q = self._log_posterior(x)
        chosen = labels.unsqueeze(-1) == classes  # (B, C)
        known = (labels >= 0).unsqueeze(-1)
        # how much each class of a datum counts, and log q - log p of it
        weight = torch.where(known, chosen.to(log_q.dtype), log_q.exp())
        log_ratio = torch.where(known, 0.0, log_q) - self.log_prior.to(log_q.dtype)
        enumerated = _Enumerated(
            out.x,
            out.z,
            out.posterior,
            out.prior,
            out.likelihood,
            out.context,
            weight=weight[row, label] / batch,
            label_kl=(weight * log_ratio).sum() / batch,
            classification=mean_of_known(torch.where(chosen, -log_q, 0.0).sum(), chosen.sum()),
        )
        return self.loss(enumerated, step)

    def _pairs(self, labels: Tensor, seen: bool) -> tuple[Tensor, Tensor]:
        """The number of a datum and a class, for each pair that the bound needs."""
        classes = torch.arange(self.num_classes, device=labels.device)
        if seen:
            column = labels.unsqueeze(-1)
            row, label = ((column == classes) | (column < 0)).nonzero().unbind(1)
            return row, label
        rows = torch.arange(len(labels), device=labels.device)
        return rows.repeat_interleave(self.num_classes), classes.repeat(len(labels))

    def _log_posterior(self, x: Tensor) -> Tensor:
        """The log probabilities of all classes, in float32 at least."""
        logits = self.classifier(x)
        expected = (len(x), self.num_classes)
        if not isinstance(logits, Tensor) or logits.shape != expected:
            kind = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits)
            raise ValueError(
                f"Expected the classifier to return logits of shape {expected}, but got {kind}; "
                f"end it with nn.Linear(features, {self.num_classes})."
            )
        return full_precision(logits).log_softmax(-1)

    def _check_labels(self, labels: Tensor, batch: int, *, values: bool) -> None:
        if not isinstance(labels, Tensor) or labels.is_floating_point():
            kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(
                f"Expected labels to be integers, class numbers or -1, but got {kind}; "
                f"pass labels.long()."
            )
        if labels.shape != (batch,):
            raise ValueError(
                f"Expected labels of shape ({batch},), one class for each datum, but got "
                f"{tuple(labels.shape)}; pass class numbers, not one-hot rows."
            )
        if values and not bool(((labels >= -1) & (labels < self.num_classes)).all()):
            raise ValueError(
                f"Expected labels from 0 to {self.num_classes - 1}, or -1 where unknown, but got "
                f"{int(labels.min())} to {int(labels.max())}; raise num_classes, or renumber them."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class _Enumerated(VAEOutput):
    """A pass of pairs of a datum and a class, with what is known of the classes."""

    weight: Tensor = dataclasses.field(kw_only=True)
    label_kl: Tensor = dataclasses.field(kw_only=True)
    classification: Tensor = dataclasses.field(kw_only=True)


class _Expected(nn.Module):
    """A term in expectation over the classes."""

    def __init__(self, term: nn.Module) -> None:
        super().__init__()
        self.term = term

    def forward(self, out: _Enumerated) -> Tensor:
        value = self.term(out)
        return (value.mean(tuple(range(value.ndim - 1))) if value.ndim > 1 else value) @ out.weight


class _Found(nn.Module):
    """A value that was found with the classes."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, out: _Enumerated) -> Tensor:
        return getattr(out, self.name)


def _is_on_host(labels: object) -> bool:
    """Whether labels can be looked at without a wait for a device or a break of the graph."""
    on_cpu = isinstance(labels, Tensor) and labels.device.type == "cpu"
    return on_cpu and not torch.compiler.is_compiling()


def _log_prior(class_probs: Sequence[float] | Tensor | None, num_classes: int) -> Tensor:
    if class_probs is None:
        return torch.full((num_classes,), 1 / num_classes).log()
    try:
        probs = torch.as_tensor(class_probs, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        probs = torch.zeros(0)
    if probs.shape != (num_classes,) or not bool((probs > 0).all() and probs.isfinite().all()):
        raise ValueError(
            f"Expected class_probs to be {num_classes} positive numbers, but got "
            f"{class_probs!r:.60}; pass one probability for each class."
        )
    return (probs / probs.sum()).log().to(torch.get_default_dtype())
