"""Which way the class of a digit goes: through the codes, or through the condition."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

import disvae
from disvae import evaluation, metrics
from disvae.distributions import point
from examples.experiments import Results

CLASSES = 10


def one_hot(labels: Tensor) -> Tensor:
    """What a conditional model is given."""
    return F.one_hot(labels, CLASSES).to(torch.get_default_dtype())


def trained_judge(images: Tensor, labels: Tensor) -> nn.Module:
    """A classifier of images, which sees what a decoder makes of a label; 97 % on test digits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, CLASSES))
        optimizer = torch.optim.Adam(judge.parameters(), lr=1e-3)
        for _ in range(5):
            for rows in torch.randperm(len(images)).split(100):
                loss = F.cross_entropy(judge(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return judge.requires_grad_(False)


@torch.no_grad()
def in_codes(model: disvae.VAE, images: Tensor, labels: Tensor, context: Tensor | None) -> float:
    """The accuracy of boosted trees that read the class off a sample of each posterior.

    They are trained on every second image and tested on the others. Always to say the class of most
    images is right in 11 % of cases. (Means would not do: an encoder that is told the class leaves
    traces of it in the means of collapsed dimensions, far below the posterior's scale.)
    """
    codes = model.encode(images, context).sample().cpu().numpy()
    targets = labels.cpu().numpy()
    trees = HistGradientBoostingClassifier(max_iter=50, early_stopping=False, random_state=0)
    return float(trees.fit(codes[::2], targets[::2]).score(codes[1::2], targets[1::2]))


def gaps_given(codes: Tensor, attributes: Tensor, labels: Tensor) -> list[float]:
    r"""The gap of each attribute given the class.

    .. math:: (I(z_d; a | c) - \max_{e \ne d} I(z_e; a | c)) / H(a | c)

    with d the best code. Some of an attribute goes with the class: ones are narrow. The codes of a
    model that is told the class need not tell it again, which the gap among all images counts for a
    lack. Bins are those of :func:`disvae.alignment.align`, within each class.

    Args:
        codes: Those of dimensions that carry a signal, (N, A).
        attributes: Shape (N, K).
        labels: The classes, (N,).
    """
    z, a, known = (part.cpu().numpy() for part in (codes, attributes, labels))
    information, entropy, sizes = [], [], []
    for digit in np.unique(known):
        rows = known == digit
        binned = metrics.EqualFrequency(10).bin(a[rows].T).T
        found = metrics.mig(z[rows], binned, discrete=True, estimator=metrics.EqualFrequency())
        information.append(found.information)
        entropy.append(found.entropy)
        sizes.append(rows.sum())
    given = np.average(information, axis=0, weights=sizes)
    shares = given / np.average(entropy, axis=0, weights=sizes)
    second, best = np.sort(np.pad(shares, ((1, 0), (0, 0))), axis=0)[-2:]
    return (best - second).tolist()


@torch.no_grad()
def through_condition(
    model: disvae.VAE, images: Tensor, labels: Tensor, judge: nn.Module
) -> Results:
    """What a conditional model does with labels that are not those of the images.

    The mean code of each image under its own label is decoded with that and with another one, every
    other one equally often; the judge says what it sees. Then encoder and decoder are both given
    the labels of other images.
    """
    codes = point(model.encode(images, one_hot(labels)))
    turn = 1 + torch.arange(len(labels), device=labels.device) % (CLASSES - 1)
    others = (labels + turn) % CLASSES
    seen_own, seen_other = (
        judge(point(model.decode(codes, one_hot(given)))).argmax(-1) for given in (labels, others)
    )
    shuffled = one_hot(labels[torch.randperm(len(labels))])
    return {
        "judge_accuracy": _share(judge(images).argmax(-1) == labels),
        "own_label_seen": _share(seen_own == labels),
        "other_label_seen": _share(seen_other == others),
        "class_kept_under_other_label": _share(seen_other == labels),
        "reconstruction_with_shuffled_labels": evaluation.summary(
            model, images, context=shuffled
        ).reconstruction,
    }


def _share(mask: Tensor) -> float:
    return mask.double().mean().item()
