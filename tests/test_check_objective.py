"""The contract of objectives: shipped ones keep it, and each clause catches what breaks it."""

import pytest
import torch
from torch import nn

from disvae import VAE, decoders, encoders, objectives, priors
from disvae.objectives import Losses, Objective, WeightedSum, schedules, terms
from disvae.testing import ContractError, check_objective

RAMP = schedules.Linear(0.0, 4.0, steps=10)
BATCH_KL = terms.AggregateKL(100)
SHIPPED = [
    objectives.ELBO(),
    objectives.Autoencoder(),
    objectives.BetaVAE(RAMP),
    objectives.BetaTCVAE(100, beta=2.0, estimator="stratified"),
    objectives.CapacityVAE(10.0, RAMP),
    objectives.Decomposition(beta=1.0, alpha=2.0, divergence=BATCH_KL),
    objectives.InfoVAE(0.5, 3.0, BATCH_KL),
    objectives.WAE(2.0, BATCH_KL),
    objectives.DIPVAE("I", lambda_od=1.0, lambda_d=10.0),
    objectives.DIPVAE("II", lambda_od=RAMP, lambda_d=1.0),
    WeightedSum(
        reconstruction=(1.0, terms.OptimalSigmaReconstruction()),
        free_bits=(schedules.Cyclical(0.0, 1.0, 10), terms.FreeBits(0.1)),
        l1=(schedules.Sigmoid(0.0, 1.0, 10, 2), terms.Sparsity()),
        hoyer=(schedules.Step((0.0, 1.0), (5,)), terms.Sparsity(terms.hoyer)),
    ),
]


@pytest.mark.parametrize("objective", SHIPPED, ids=lambda o: f"{type(o).__name__}: {o}"[:60])
def test_shipped_objectives_keep_it(objective):
    check_objective(objective)


def test_a_model_of_ones_own_with_labels_and_context():
    decoder = decoders.MLP(2, (1, 4, 4), context_dim=3)
    model = VAE(
        encoders.MLP((1, 4, 4), 2, context_dim=3), decoder, prior=priors.Normal(2, context_dim=3)
    )
    objective = WeightedSum(
        reconstruction=(1.0, terms.Reconstruction()),
        kl=(1.0, terms.KL()),
        classes=(1.0, terms.Classification(nn.Linear(2, 3))),
        orthogonality=(1.0, terms.JacobianOrthogonality(decoder)),
    )
    x, labels = torch.rand(12, 1, 4, 4), torch.arange(12) % 4 - 1
    check_objective(objective, model, x, context=torch.rand(12, 3), labels=labels)


class Broken(Objective):
    """The negative evidence lower bound, to be broken in one way."""

    def loss(self, out, step=None):
        return self.made(self.elbo(out))

    def elbo(self, out):
        return (terms.Reconstruction()(out) + terms.KL()(out)).mean()

    def made(self, total):
        return Losses(total, {"elbo": total.detach()})


class ReturnsATensor(Broken):
    def made(self, total):
        return total


class ForEachDatum(Broken):
    def elbo(self, out):
        return terms.Reconstruction()(out)


class KeepsTheGraph(Broken):
    def made(self, total):
        return Losses(total, {"elbo": total})


class NotANumber(Broken):
    def made(self, total):
        return Losses(total + torch.log(-total.detach().abs()), {})


class TermsByMode(Broken):
    def made(self, total):
        return Losses(total, {"elbo": total.detach()} if self.training else {})


class TermsByStep(Broken):
    def loss(self, out, step=None):
        total = self.elbo(out)
        return Losses(total, {} if step is not None and step == 0 else {"elbo": total.detach()})


class NeedsAStep(Broken):
    def loss(self, out, step=None):
        return self.made(self.elbo(out) * (1 + step))


class NeedsAnInt(Broken):
    def loss(self, out, step=None):
        if isinstance(step, torch.Tensor):
            raise TypeError("no tensors")
        return self.made(self.elbo(out))


class RoundsTensors(Broken):
    def loss(self, out, step=None):
        scale = 1.0 if step is None else 2.0 if isinstance(step, int) else 1.0
        return self.made(scale * self.elbo(out))


class Detached(Broken):
    def elbo(self, out):
        return super().elbo(out).detach()


class MovesItselfOnly(Broken):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def elbo(self, out):
        return self.weight * super().elbo(out).detach()


class UnusedParameter(Broken):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


class InfiniteGradient(Broken):
    def elbo(self, out):
        return super().elbo(out) + (0 * out.z).abs().sqrt().sum()


class CountsInEvaluation(Broken):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def elbo(self, out):
        self.count += 1
        return super().elbo(out)


class CountsOnTheSide(Broken):
    count = 0

    def elbo(self, out):
        self.count += self.training
        return super().elbo(out) * (1 + self.count)


class Optimises(Broken):
    def forward(self, model, x, *, context=None, step=None):
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * self.training
        return super().forward(model, x, context=context, step=step)


class CallsBackward(Broken):
    def elbo(self, out):
        total = super().elbo(out)
        if total.requires_grad and self.training:
            total.backward(retain_graph=True)
        return total


class SwitchesModes(Broken):
    def forward(self, model, x, *, context=None, step=None):
        return super().forward(model.eval(), x, context=context, step=step)


class ChangesData(Broken):
    def elbo(self, out):
        total = super().elbo(out)
        out.x.mul_(0.5)
        return total


class DerivesFromParameters(Broken):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.plain = [torch.rand(()).item()]

    def elbo(self, out):
        return super().elbo(out) * self.weight * self.plain[0]

    def __deepcopy__(self, memo):
        other = DerivesFromParameters()
        other.load_state_dict(self.state_dict())
        return other.train(self.training)


class OneSampleOnly(Broken):
    def elbo(self, out):
        batch, _ = out.z.shape
        return super().elbo(out) / batch


class NoSentence(Broken):
    def elbo(self, out):
        if len(out.x) < 2:
            raise ValueError("too few")
        return super().elbo(out)


class NaNForOne(Broken):
    def elbo(self, out):
        return super().elbo(out) + 0 * (out.z - out.z.mean(0)).sum() / (len(out.z) - 1)


class Overflows(Broken):
    def elbo(self, out):
        return super().elbo(out) + (out.posterior.stddev**12).mean()


class HalfPrecision(Broken):
    def made(self, total):
        if torch.is_autocast_enabled("cpu"):
            total = total.bfloat16()
        return super().made(total)


class Prints(Broken):
    def elbo(self, out):
        total = super().elbo(out)
        return total * (2.0 if total.item() > 0 else 1.0)


@pytest.mark.parametrize(
    ("kind", "clause"),
    [
        (ReturnsATensor, "call"),
        (ForEachDatum, "call"),
        (KeepsTheGraph, "call"),
        (NotANumber, "call"),
        (SwitchesModes, "call"),
        (ChangesData, "call"),
        (TermsByMode, "names"),
        (TermsByStep, "names"),
        (NeedsAStep, "call"),
        (NeedsAnInt, "step"),
        (RoundsTensors, "step"),
        (Detached, "gradients"),
        (MovesItselfOnly, "gradients"),
        (UnusedParameter, "gradients"),
        (InfiniteGradient, "gradients"),
        (CountsInEvaluation, "state"),
        (CountsOnTheSide, "state"),
        (Optimises, "state"),
        (CallsBackward, "state"),
        (DerivesFromParameters, "state"),
        (OneSampleOnly, "samples"),
        (NoSentence, "batch"),
        (NaNForOne, "batch"),
        (Overflows, "extremes"),
        (HalfPrecision, "extremes"),
        (Prints, "compile"),
    ],
    ids=lambda v: v if isinstance(v, str) else v.__name__,
)
def test_what_breaks_a_clause_is_told_in_one_sentence(kind, clause):
    with pytest.raises(ContractError, match=f"^objective {kind.__name__} breaks '{clause}'") as e:
        check_objective(kind())
    assert 25 <= len(str(e.value)) <= 400
    assert "\n" not in str(e.value)
    assert "; " in str(e.value)


def test_the_unbroken_one_passes_and_is_left_alone():
    objective = Broken().eval()
    objective.register_buffer("count", torch.zeros(()))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_objective(objective, compiles=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert not objective.training
    assert objective.count == 0


def test_state_that_changes_in_training_and_is_told_is_allowed():
    class MovingAverage(Broken):
        def __init__(self):
            super().__init__()
            self.register_buffer("average", torch.zeros(()))

        def elbo(self, out):
            total = super().elbo(out)
            if self.training:
                self.average = 0.9 * self.average + 0.1 * total.detach()
            return total * (1 + 0.01 * self.average)

    check_objective(MovingAverage())


def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match=r"instance of disvae.objectives.Objective, but got KL"):
        check_objective(terms.KL())
    with pytest.raises(TypeError, match=r"instance of disvae.objectives.Objective, but got ELBO"):
        check_objective(objectives.ELBO)
    model = VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2))
    with pytest.raises(ValueError, match="Expected data for the model"):
        check_objective(objectives.ELBO(), model)
    with pytest.raises(ValueError, match="two or more rows"):
        check_objective(objectives.ELBO(), model, torch.rand(1, 6))
    with pytest.raises(TypeError, match="Expected x to be floating point"):
        check_objective(objectives.ELBO(), model, torch.zeros(4, 6).long())
