"""Terms that compare the code with labels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from disvae.nn import full_precision
from disvae.objectives.batches import mean_of_known
from disvae.output import VAEOutput


class Classification(nn.Module):
    r"""The cross-entropy of labels that a head predicts from the code.

    .. math::

        -\frac{1}{|L|} \sum_{n \in L} \log p(y_n | z_n), \quad L = \{n : y_n \text{ is known}\}

    It is for supervised factors, some of which may be missing; the mean is over those that are
    known in the batch, on all processes, and 0 where none is. Labels come with the call:
    ``objective(model, x, labels=y)``, or ``train(x, labels=y)``.

    Args:
        head: What predicts the labels from codes ``(..., D)``. Either it returns logits
            ``(..., *label_shape, K)``; then labels are class numbers, integers ``(B,
            *label_shape)``, and -1 is a missing one. Or it returns a distribution of event shape
            ``label_shape``, such as ``nn.Sequential(nn.Linear(D, 1), likelihoods.Normal(1))`` for
            one continuous factor; then labels are floating-point numbers, and a row with NaN is a
            missing one.

    Shape:
        ``()``, in nats per known label, summed over the event of a distribution.

    Raises:
        TypeError: If the head is no module, or labels are of another kind than it predicts.
        ValueError: If there are no labels, or their shape or number of classes is another.

    Example:
        >>> import torch, disvae
        >>> from torch import nn
        >>> from disvae import decoders, encoders, objectives, priors
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=priors.Normal(2))
        >>> objective = objectives.WeightedSum(
        ...     reconstruction=(1.0, objectives.terms.Reconstruction()),
        ...     kl=(1.0, objectives.terms.KL()),
        ...     classification=(10.0, Classification(nn.Linear(2, 3))),
        ... )
        >>> labels = torch.tensor([0, 2, -1, 1])
        >>> list(objective(model, torch.rand(4, 8), labels=labels).terms)
        ['reconstruction', 'kl', 'classification']

    References:
        Kingma et al., Semi-supervised Learning with Deep Generative Models, 2014,
        https://arxiv.org/abs/1406.5298, equation 9, of which it is the last term. Locatello et al.,
        Disentangling Factors of Variation Using Few Labels, 2020,
        https://arxiv.org/abs/1905.01258.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        if not isinstance(head, nn.Module):
            raise TypeError(
                f"Expected head to be an nn.Module, but got {type(head).__name__}; "
                f"pass an instance, such as nn.Linear(latent_dim, classes)."
            )
        self.head = head

    def forward(self, out: VAEOutput) -> Tensor:
        """The value of the batch."""
        if not isinstance(out.labels, Tensor):
            kind = "none" if out.labels is None else type(out.labels).__name__
            raise ValueError(
                f"Expected labels to compare with, but got {kind}; "
                f"pass them with the call, as in objective(model, x, labels=y)."
            )
        prediction = self.head(out.z)
        if isinstance(prediction, Distribution):
            cost, known = _cost_of_values(prediction, out.labels, out.z.shape[:-1])
        else:
            cost, known = _cost_of_classes(full_precision(prediction), out.labels, out.z.ndim - 2)
        samples = cost.numel() // known.numel()
        total = torch.where(known, cost, 0.0).sum() / samples
        return mean_of_known(total, known.sum())


def _cost_of_classes(logits: Tensor, labels: Tensor, sample_axes: int) -> tuple[Tensor, Tensor]:
    """The cost of each label, and which are known."""
    if labels.is_floating_point():
        raise TypeError(
            f"Expected class numbers as integers, because the head returns logits, but got "
            f"{labels.dtype}; pass labels.long(), or a head that returns a distribution."
        )
    if logits.shape[sample_axes:-1] != labels.shape:
        raise ValueError(
            f"Expected labels of shape {tuple(logits.shape[sample_axes:-1])}, one for each row of "
            f"logits {tuple(logits.shape)}, but got {tuple(labels.shape)}; let the head return "
            f"(..., *label_shape, K)."
        )
    known = labels >= 0
    target = labels.long().expand(logits.shape[:-1])
    try:
        cost = F.cross_entropy(
            logits.flatten(0, -2), target.flatten(), ignore_index=-1, reduction="none"
        )
    except IndexError:  # on a CPU; a GPU stops the program
        raise ValueError(
            f"Expected class numbers from 0 to {logits.shape[-1] - 1}, or -1 where missing, but "
            f"got {int(labels.min())} to {int(labels.max())}; let the head return as many logits "
            f"as there are classes."
        ) from None
    return cost.reshape(target.shape), known


def _cost_of_values(
    prediction: Distribution, labels: Tensor, lead: torch.Size
) -> tuple[Tensor, Tensor]:
    """The cost of each row of values, and which are known."""
    if not labels.is_floating_point():
        raise TypeError(
            f"Expected labels as floating-point numbers, because the head returns a distribution, "
            f"but got {labels.dtype}; pass labels.float(), with NaN where one is missing."
        )
    shape = lead[-1:] + prediction.event_shape
    if prediction.batch_shape != lead or labels.shape != shape:
        raise ValueError(
            f"Expected labels of shape (B, *event) for a head of batch shape "
            f"{tuple(prediction.batch_shape)} and event shape {tuple(prediction.event_shape)}, but "
            f"got {tuple(labels.shape)}; give one column a shape of (B, 1)."
        )
    missing = labels.isnan()
    known = ~missing.flatten(1).any(1) if missing.ndim > 1 else ~missing
    # a value inside the support, so that no NaN reaches a gradient
    return -prediction.log_prob(torch.where(missing, 0.5, labels)), known
