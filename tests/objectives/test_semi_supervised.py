"""The model M2 against enumeration by hand, and against log p(x, y) and log p(x)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import kl_divergence

from disvae import VAE, decoders, encoders, priors, testing
from disvae import distributions as dist
from disvae.objectives import ELBO, SemiSupervisedVAE, batches, schedules

CLASSES, B = 3, 7
LABELS = torch.tensor([0, -1, 2, -1, -1, 1, 2])


def model_of(extra=0):
    size = CLASSES + extra
    model = VAE(
        encoders.MLP(6, 2, context_dim=size),
        decoders.MLP(2, 6, context_dim=size),
        prior=priors.Normal(2),
    )
    return model.double()


def objective_of(**keywords):
    return SemiSupervisedVAE(nn.Linear(6, CLASSES), CLASSES, **keywords).double()


def silent(sampler, shape, *, dtype, device):
    return torch.zeros(shape, dtype=dtype, device=device)


def bound(model, row, label, context=None):
    """Reconstruction and KL of one datum and one class, without noise."""
    given = F.one_hot(torch.tensor([label]), CLASSES).double()
    if context is not None:
        given = torch.cat((context, given), dim=-1)
    q = model.encode(row, given)
    reconstruction = -model.decode(q.mean, given).log_prob(row)
    return reconstruction.squeeze(), kl_divergence(q, model.latent_prior(given)).squeeze()


@pytest.fixture
def x():
    return torch.rand(B, 6).double()


def by_hand(model, objective, x, labels, log_prior):
    names = ("reconstruction", "kl", "label_kl", "classification")
    parts = {name: torch.zeros(()).double() for name in names}
    for row, label in zip(x.split(1), labels.tolist(), strict=True):
        log_q = objective.classifier(row).log_softmax(-1)[0]
        for y in range(CLASSES):
            if label not in (-1, y):
                continue
            share = log_q[y].exp() if label == -1 else torch.ones(())
            reconstruction, kl = bound(model, row, y)
            parts["reconstruction"] = parts["reconstruction"] + share * reconstruction / B
            parts["kl"] = parts["kl"] + share * kl / B
            entropy = share * log_q[y] if label == -1 else 0.0
            parts["label_kl"] = parts["label_kl"] + (entropy - share * log_prior[y]) / B
        if label >= 0:
            count = (labels >= 0).sum()
            parts["classification"] = parts["classification"] - log_q[label] / count
    return parts


@pytest.mark.parametrize("probs", [None, [0.2, 0.5, 0.3]])
@pytest.mark.parametrize("labels", [LABELS, torch.full((B,), -1), LABELS.clamp(min=0)])
def test_every_term_is_the_enumeration_by_hand(x, labels, probs):
    model, objective = model_of(), objective_of(alpha=2.5, class_probs=probs)
    with dist.replace_noise(silent):
        losses = objective(model, x, labels=labels)
        expected = by_hand(
            model, objective, x, labels, torch.tensor(probs or [1 / CLASSES] * CLASSES).log()
        )
    for name, value in expected.items():
        assert losses.terms[name].item() == pytest.approx(float(value.detach()), rel=1e-6), name
    weights = {"reconstruction": 1, "kl": 1, "label_kl": 1, "classification": 2.5}
    total = sum(weights[name] * value for name, value in expected.items())
    assert losses.total.item() == pytest.approx(float(total.detach()), rel=1e-6)
    parameters = [*model.parameters(), *objective.parameters()]
    gradients = (
        torch.autograd.grad(v, parameters, allow_unused=True) for v in (losses.total, total)
    )
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_with_all_labels_known_it_is_the_conditional_elbo_and_two_cross_entropies(x):
    model, objective, labels = model_of(), objective_of(alpha=0.7), LABELS.clamp(min=0)
    torch.manual_seed(1)
    found = objective(model, x, labels=labels).total
    torch.manual_seed(1)
    elbo = ELBO()(model, x, context=F.one_hot(labels, CLASSES).double()).total
    cross_entropy = F.cross_entropy(objective.classifier(x), labels)
    torch.testing.assert_close(found, elbo + math.log(CLASSES) + 0.7 * cross_entropy)


class Ideal(nn.Module):
    """The classifier that knows the bounds of all classes: q(y|x) ∝ exp(-L(x, y))."""

    def __init__(self, model):
        super().__init__()
        self.model, self.error = model, torch.zeros(())

    def forward(self, x):
        rows = []
        for row in x.split(1):
            rows.append(torch.stack([-sum(bound(self.model, row, y)) for y in range(CLASSES)]))
        return torch.stack(rows) + self.error


def test_the_unlabelled_bound_is_tight_for_the_ideal_classifier_only(x):
    """Σ q (L + log q) ≥ -log Σ exp(-L), with equality at q ∝ exp(-L)."""
    model = model_of()
    ideal = Ideal(model)
    with dist.replace_noise(silent), torch.no_grad():
        exact = -(ideal(x) - math.log(CLASSES)).logsumexp(-1).mean()
        objective = SemiSupervisedVAE(ideal, CLASSES)
        torch.testing.assert_close(objective(model, x).total, exact, rtol=1e-6, atol=0)
        ideal.error = torch.tensor([0.5, -0.5, 0.0])
        assert objective(model, x).total > exact + 1e-3


def test_only_the_classes_that_count_pass_through_the_model(x):
    model, seen = model_of(), []
    model.decoder.register_forward_hook(lambda module, args, p: seen.append(len(args[0])))
    objective_of()(model, x, labels=LABELS)
    assert seen == [4 + 3 * CLASSES]


def test_compiled_where_no_label_is_looked_at_the_values_are_the_same(x):
    model, objective = model_of(), objective_of()
    with dist.replace_noise(silent):
        expected = objective(model, x, labels=LABELS)
        compiled = torch.compile(objective, backend="eager", fullgraph=True)
        found = compiled(model, x, labels=LABELS)
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(found.terms, expected.terms)


def test_the_contract_of_objectives_holds():
    model = VAE(
        encoders.MLP(6, 2, context_dim=CLASSES),
        decoders.MLP(2, 6, context_dim=CLASSES),
        prior=priors.Normal(2),
    )
    objective = SemiSupervisedVAE(nn.Linear(6, CLASSES), CLASSES)
    testing.check_objective(objective, model, torch.rand(8, 6))
    labels = torch.tensor([0, -1, 2, -1, -1, 1, 2, 0])
    # compiled, the pairs and so the noise are others
    testing.check_objective(objective, model, torch.rand(8, 6), labels=labels, compiles=False)


def test_a_context_stands_before_the_class(x):
    model, objective = model_of(extra=2), objective_of(alpha=0.0)
    context = torch.rand(B, 2).double()
    labels = LABELS.clamp(min=0)
    with dist.replace_noise(silent):
        found = objective(model, x, context=context, labels=labels).terms["reconstruction"]
        rows = zip(x.split(1), labels.tolist(), context.split(1), strict=True)
        values = [bound(model, row, y, context=c)[0] for row, y, c in rows]
    torch.testing.assert_close(found, torch.stack(values).mean().detach())


def test_several_samples_are_averaged(x):
    model, objective = model_of(), objective_of()
    one = torch.stack([objective(model, x, labels=LABELS).total.detach() for _ in range(200)])
    objective.sample_shape = torch.Size((5, 10))
    many = objective(model, x, labels=LABELS).total.detach()
    assert abs(many - one.mean()) < 5 * one.std() / 7


def test_classification_is_the_mean_over_the_known_labels_of_all_processes(x, monkeypatch):
    objective = objective_of()
    alone = objective(model_of(), x, labels=LABELS).terms["classification"]
    # another process with a sum of 6 nats over 2 known labels
    other = torch.tensor([[6.0, 2.0]]).double()
    monkeypatch.setattr(batches, "gather", lambda v: torch.cat((v, other)))
    shared = objective(model_of(), x, labels=LABELS).terms["classification"]
    torch.testing.assert_close(shared, (4 * alone + 6.0) / 6)


def test_without_any_known_label_nothing_is_classified(x):
    objective = objective_of(alpha=1e9)
    assert objective(model_of(), x).terms["classification"] == 0


def test_prints_as_its_formula_with_schedules():
    objective = objective_of(alpha=schedules.Constant(2.0))
    assert str(objective) == "reconstruction + kl + label_kl + 2·classification"
    assert "https://" in objective.paper


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.zeros(B), TypeError, "labels to be integers"),
        ([0] * B, TypeError, "labels to be integers"),
        (torch.zeros(B, CLASSES).long(), ValueError, "one class for each datum"),
        (torch.full((B,), CLASSES), ValueError, "labels from 0 to 2"),
        (torch.full((B,), -2), ValueError, "labels from 0 to 2"),
    ],
)
def test_bad_labels_are_refused(x, labels, error, message):
    with pytest.raises(error, match=message):
        objective_of()(model_of(), x, labels=labels)


def test_bad_arguments_are_refused(x):
    with pytest.raises(TypeError, match=r"classifier to be an nn\.Module"):
        SemiSupervisedVAE(nn.Linear, CLASSES)
    with pytest.raises(ValueError, match="num_classes to be an integer of at least 2"):
        SemiSupervisedVAE(nn.Linear(6, 1), 1)
    for probs in ([0.5, 0.5], [0.5, 0.5, 0.0]):
        with pytest.raises(ValueError, match="class_probs to be 3 positive numbers"):
            objective_of(class_probs=probs)
    with pytest.raises(ValueError, match=r"logits of shape \(7, 4\), but got shape \(7, 3\)"):
        SemiSupervisedVAE(nn.Linear(6, 3).double(), 4)(
            VAE(
                encoders.MLP(6, 2, context_dim=4),
                decoders.MLP(2, 6, context_dim=4),
                prior=priors.Normal(2),
            ).double(),
            x,
        )
