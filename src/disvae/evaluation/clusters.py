"""How the data fall into the components of a mixture prior."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Size, Tensor
from torch.distributions import Distribution, MixtureSameFamily
from torch.utils.data import Dataset

from disvae.distributions import GaussianMixture, base_of
from disvae.evaluation.aggregate import Aggregate
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Finding, listing
from disvae.evaluation.points import encoded
from disvae.model import VAE, evaluating
from disvae.nn import check_int

# the part of an equal share from which on a component is used
_USED = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters(Finding):
    r"""What :func:`clusters` finds; it prints as a table. Entropies and information are in nats.

    Attributes:
        data: The number N of data.
        components: The number K of the prior's components.
        assignment_entropy: The mean of :math:`H(r(x))`: 0 where every datum belongs to one
            component, at most :math:`\log K`.
        mean_entropy: :math:`H(E_x r(x))`: 0 where all data belong to the same component.
        information: Their difference, what the component tells of the datum.
        used: How many components have at least a tenth of an equal share :math:`1/K` of the data.
        weights: The data's share of each component, :math:`E_x r(x)`, ``(K,)``.
        purity: The part of the data whose label is the most frequent one in their component, or
            None without labels.
        majority: The part of the data that has the most frequent label: the purity of one cluster.
        classes: The number of labels, or None.
        not_defined: Why fields are None, by the name of the field.
    """

    data: int
    components: int
    assignment_entropy: float
    mean_entropy: float
    information: float
    used: int
    weights: Tensor
    purity: float | None
    majority: float | None
    classes: int | None
    not_defined: Mapping[str, str]

    def __str__(self) -> str:
        """A table for the terminal."""
        if self.purity is None:
            purity = f"not defined ({self.not_defined['purity']})"
        else:
            purity = f"{self.purity:.3f} ({self.classes} labels, majority {self.majority:.3f})"
        rows = [
            ("data", f"{self.data:,}"),
            ("components used", f"{self.used} of {self.components}"),
            ("assignment entropy", f"{self.assignment_entropy:z.3f} nats"),
            ("entropy of the mean", f"{self.mean_entropy:z.3f} nats"),
            ("information", f"{self.information:z.3f} nats"),
            ("purity", purity),
        ]
        return listing(rows)


def clusters(
    model: VAE,
    data: Data,
    labels: ArrayLike | Tensor | None = None,
    *,
    samples: int = 16,
    context: Context = None,
    batch_size: int = 512,
) -> Clusters:
    r"""How the data fall into the components of a mixture prior: the structure of clusters.

    .. math::

        r_k(x) = E_{q(z|x)}[p(k|z)], \qquad p(k|z) = \frac{w_k\,p_k(z)}{\sum_j w_j\,p_j(z)}

    Clusters that are used and told apart have a high entropy of the mean and a low mean entropy.
    The purity rises with the number of components by itself, so compare it at equal K, and with the
    share of the most frequent label.

    The mean over samples stands for :math:`E_q`; it makes the mean entropy too low, by at most
    about :math:`(K - 1)/(2S)`.

    Args:
        model: The model; its prior is a mixture over vectors: ``priors.Mixture``,
            ``priors.TreeMixture``, ``priors.Vamp``, or one that returns a ``MixtureSameFamily``.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        labels: Class labels of the data in their order, ``(N,)``; by default the second items y,
            where they are whole numbers, one for each datum.
        samples: How many samples of each posterior are averaged.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If the prior is no mixture over vectors, there is not one label for each datum,
            or the data are empty or do not fit the model.
        TypeError: If labels are no whole numbers, or given beside a loader, which may shuffle.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> prior = priors.Mixture(2, components=4)
        >>> model = disvae.VAE(encoders.MLP(8, 2), decoders.MLP(2, 8), prior=prior)
        >>> found = evaluation.clusters(model, torch.rand(100, 8), torch.arange(100) % 2)
        >>> found.majority
        0.5

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 3. Manning, Raghavan and Schütze, Introduction to
        Information Retrieval, 2008, https://nlp.stanford.edu/IR-book, section 16.3, for purity.
    """
    shape = Size((check_int(samples, "samples"),))
    given = None if labels is None else _checked(labels, data)
    with evaluating(model):
        q, p, y = encoded(model, data, context, batch_size)
        priors = p.parts if isinstance(p, Aggregate) else [p] * len(q.parts)
        responsibilities = torch.cat(
            [
                _log_components(prior, part.sample(shape)).softmax(-1).mean(0).cpu()
                for part, prior in zip(q.parts, priors, strict=True)
            ]
        )
    if given is None:
        given = _of_second_items(y)
    elif len(given) != q.size:
        raise ValueError(
            f"Expected one label for each of the {q.size} data, but got {len(given)}; pass labels "
            f"in the order of the data."
        )
    weights = responsibilities.mean(0)
    conditional = torch.special.entr(responsibilities).sum(-1).mean().item()
    marginal = torch.special.entr(weights).sum().item()
    purity = majority = classes = None
    if given is not None:
        purity, majority, classes = _purity(responsibilities.argmax(-1).numpy(), given)
    missing = dict.fromkeys(("purity", "majority", "classes"), "the data have no class labels")
    return Clusters(
        data=q.size,
        components=len(weights),
        assignment_entropy=conditional,
        mean_entropy=marginal,
        information=marginal - conditional,
        used=int((weights >= _USED / len(weights)).sum()),
        weights=weights,
        purity=purity,
        majority=majority,
        classes=classes,
        not_defined=missing if given is None else {},
    )


def _log_components(p: Distribution, z: Tensor) -> Tensor:
    """Log densities of weighted components, ``(S, B, K)``, in float64.

    Raises:
        ValueError: If it is no mixture over vectors.
    """
    if isinstance(p, GaussianMixture):
        return p.component_log_probs(z)
    if isinstance(p, MixtureSameFamily) and len(p.event_shape) == 1:
        weights = p.mixture_distribution.logits.log_softmax(-1)
        each = z.unsqueeze(-2).expand(*z.shape[:-1], weights.shape[-1], z.shape[-1])
        return (p.component_distribution.log_prob(each) + weights).double()
    raise ValueError(
        f"Expected a prior that is a mixture over vectors, but got {type(base_of(p)).__name__}; "
        f"clusters are the components of priors.Mixture, priors.TreeMixture or priors.Vamp."
    )


def _checked(labels: ArrayLike | Tensor, data: Data) -> NDArray[np.integer]:
    """Given labels as an array ``(N,)``, if they are whole numbers and the data keep an order."""
    if not isinstance(data, Tensor | Dataset):
        raise TypeError(
            "Expected labels beside a tensor or a data set only, but got a loader, which may "
            "shuffle; let its batches be pairs (x, label)."
        )
    try:
        array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError:  # rows of unequal length
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"Expected labels to be whole numbers, one for each datum, but got dtype "
            f"{array.dtype}; numpy.unique(labels, return_inverse=True)[1] numbers any classes."
        )
    if array.shape not in ((array.size,), (array.size, 1)):
        raise ValueError(
            f"Expected labels of shape (N,), but got {array.shape}; choose one column of factors."
        )
    return array.reshape(-1)


def _of_second_items(items: Sequence[Any]) -> NDArray[np.integer] | None:
    """Labels from the second items of all batches, or None where they are no class labels."""
    if not all(
        isinstance(y, Tensor)
        and not (y.is_floating_point() or y.is_complex())
        and y.shape[:1] == (y.numel(),)
        for y in items
    ):
        return None
    return np.concatenate([y.reshape(-1).cpu().numpy() for y in items])


def _purity(component: NDArray[np.integer], label: NDArray[np.integer]) -> tuple[float, float, int]:
    """Of an assignment, the share of the most frequent label, and the number of labels."""
    names, number = np.unique(label, return_inverse=True)
    table = np.zeros((component.max() + 1, len(names)), dtype=np.int64)
    np.add.at(table, (component, number), 1)
    correct, most = int(table.max(1).sum()), int(table.sum(0).max())
    return correct / len(label), most / len(label), len(names)
