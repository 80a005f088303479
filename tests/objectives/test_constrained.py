"""GECO and ControlVAE: their equations step by step, and their targets on toy problems."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Independent

from disvae import VAE, TrainStep, VAEOutput, param_groups, priors, testing
from disvae import distributions as dist
from disvae.objectives import GECO, ControlVAE, schedules

SCALE = 0.5


def pass_of(reconstruction=None, kl=0.0):
    """A pass of one datum with this reconstruction (at σ = 1, if any) and this KL."""
    loc = torch.tensor([[math.sqrt(2 * kl)]]).double()
    q = Independent(dist.Normal(loc, torch.ones(1, 1).double()), 1)
    p = Independent(dist.Normal(torch.zeros(1).double(), 1.0), 1)
    x = torch.zeros(1, 1).double()
    square = 2 * ((reconstruction or 10.0) - 0.5 * math.log(2 * math.pi))
    mean = torch.tensor([[math.sqrt(square)]]).double().requires_grad_()
    return VAEOutput(x, loc, q, p, Independent(dist.Normal(mean, 1.0), 1))


class Amortised(nn.Module):
    def __init__(self, features, latent_dim):
        super().__init__()
        self.loc = nn.Linear(features, latent_dim)
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x):
        return Independent(dist.Normal(self.loc(x), self.log_scale.exp()), 1)


class Linear(nn.Module):
    def __init__(self, latent_dim, features, scale):
        super().__init__()
        self.loc, self.scale = nn.Linear(latent_dim, features), scale

    def forward(self, z):
        return Independent(dist.Normal(self.loc(z), self.scale), 1)


def problem():
    """Data with three directions of unequal size, and a linear model of it."""
    x = torch.randn(256, 3) * torch.tensor([2.0, 1.0, 0.5])
    return VAE(Amortised(3, 3), Linear(3, 3, SCALE), prior=priors.Normal(3), check_values=False), x


def fit(model, objective, x, steps, lr):
    train = TrainStep(model, objective)
    optimizer = torch.optim.Adam(param_groups(train, {objective: {"lr": 0.03}}), lr=lr)
    history = []
    for step in range(steps):
        losses = train(x, step=torch.tensor(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        history.append(losses.terms)
    last = history[-200:]
    return {name: torch.stack([h[name] for h in last]).mean().item() for name in last[0]}


class TestGECO:
    def test_the_total_is_the_lagrangian_and_its_gradients_those_of_the_paper(self):
        objective = GECO(target=7.0).double()
        with torch.no_grad():
            objective.log_multiplier.fill_(math.log(3.0))
        out = pass_of(reconstruction=12.0, kl=2.0)
        losses = objective.loss(out)
        assert losses.total.item() == pytest.approx(2.0 + 3.0 * 5.0)
        assert {k: pytest.approx(v.item()) for k, v in losses.terms.items()} == {
            "reconstruction": 12.0,
            "kl": 2.0,
            "multiplier": 3.0,
        }
        mean = out.likelihood.base_dist.loc
        by_mean, by_log = torch.autograd.grad(losses.total, [mean, objective.log_multiplier])
        torch.testing.assert_close(by_mean, 3.0 * mean.detach())
        assert by_log.item() == pytest.approx(-5.0)  # descent raises a multiplier that is broken

    def test_the_multiplier_follows_the_moving_average_of_the_constraint(self):
        objective = GECO(target=5.0, decay=0.8).double()
        average = None
        for reconstruction in (11.0, 6.0, 2.0, 1.0):
            total = objective.loss(pass_of(reconstruction)).total
            violation = reconstruction - 5.0
            average = violation if average is None else 0.8 * average + 0.2 * violation
            gradient = torch.autograd.grad(total, objective.log_multiplier)[0]
            assert gradient.item() == pytest.approx(-average)
            assert objective.average.item() == pytest.approx(average)

    @pytest.mark.parametrize("target", [1.8, 3.0])
    def test_it_meets_its_constraint_with_the_multiplier_of_the_linear_model(self, target):
        """Of a direction of variance v, min(v, σ²/λ) is left over: that gives λ for a target."""
        model, x = problem()
        found = fit(model, GECO(target=target, decay=0.9), x, steps=800, lr=0.02)
        assert found["reconstruction"] == pytest.approx(target, abs=0.05)
        variances = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
        constant = 1.5 * math.log(2 * math.pi * SCALE**2)

        def left_over(multiplier):
            return (variances.clamp(max=SCALE**2 / multiplier) / (2 * SCALE**2)).sum() + constant

        low, high = 0.01, 100.0
        for _ in range(50):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if left_over(middle) > target else (low, middle)
        assert found["multiplier"] == pytest.approx(low, rel=0.1)

    @pytest.mark.parametrize("log_multiplier", [-20.0, -14.0, 14.0, 20.0])
    @pytest.mark.parametrize("reconstruction", [1.0, 20.0])
    def test_at_its_limit_the_multiplier_can_only_turn_back(self, log_multiplier, reconstruction):
        objective = GECO(target=10.0).double()
        with torch.no_grad():
            objective.log_multiplier.fill_(log_multiplier)
        losses = objective.loss(pass_of(reconstruction))
        push = -torch.autograd.grad(losses.total, objective.log_multiplier)[0].item()
        violation = reconstruction - 10.0
        assert push == pytest.approx(0.0 if violation * log_multiplier > 0 else violation)
        assert math.exp(-14.01) < losses.terms["multiplier"] < math.exp(14.01)

    def test_a_resumed_run_goes_on_and_evaluation_moves_nothing(self):
        whole, resumed = GECO(target=5.0).double(), GECO(target=5.0).double()
        whole.loss(pass_of(reconstruction=11.0))
        whole.eval()
        state = copy.deepcopy(whole.state_dict())
        losses = whole.loss(pass_of(reconstruction=2.0))
        assert state == whole.state_dict()
        assert losses.total.item() == pytest.approx(-3.0)
        resumed.load_state_dict(state)
        for objective in (whole.train(), resumed):
            objective.loss(pass_of(reconstruction=9.0))
        assert whole.state_dict() == resumed.state_dict()


def controller(kls, target, kp, ki, low, high):
    """The controller as an ordinary loop over numbers."""
    integral, found = 0.0, []
    for kl in kls:
        error = target - kl
        integral = min(max(integral - ki * error, -kp), high - low)
        found.append(min(max(kp / (1 + math.exp(error)) + integral + low, low), high))
    return found


class TestControlVAE:
    def test_beta_follows_the_equation_step_by_step(self):
        kls = [0.0, 1.0, 9.0, 12.0, 6.0, 5.0, 4.0, 30.0, 0.1]
        settings = {"kp": 0.5, "ki": 0.1, "min_beta": 0.2, "max_beta": 2.0}
        objective = ControlVAE(target=5.0, **settings).double()
        expected = controller(kls, 5.0, 0.5, 0.1, 0.2, 2.0)
        assert 2.0 in expected  # both bounds are tried
        assert pytest.approx(expected[0], abs=0.01) == 0.2
        for kl, beta in zip(kls, expected, strict=True):
            losses = objective.loss(pass_of(kl=kl))
            assert losses.terms["beta"].item() == pytest.approx(beta)
            assert losses.total.item() == pytest.approx(10.0 + beta * kl)
        assert objective.beta.item() == pytest.approx(expected[-1])

    def test_a_large_first_error_does_not_leave_it_at_its_bound_for_ever(self):
        objective = ControlVAE(target=100.0, ki=0.01).double()
        objective.loss(pass_of(kl=0.0))
        for _ in range(10):
            beta = objective.loss(pass_of(kl=130.0)).terms["beta"]
        assert beta > 2.5

    @pytest.mark.parametrize("target", [1.0, 3.0])
    def test_it_reaches_its_target(self, target):
        model, x = problem()
        objective = ControlVAE(target, kp=0.1, ki=0.01)
        found = fit(model, objective, x, steps=800, lr=0.02)
        assert found["kl"] == pytest.approx(target, abs=0.05)

    def test_the_target_may_follow_a_schedule(self):
        target = schedules.Linear(2.0, 6.0, steps=10)
        for step, value in ((0, 2.0), (torch.tensor(5), 4.0), (None, 6.0)):
            scheduled, fixed = ControlVAE(target, kp=1.0), ControlVAE(value, kp=1.0)
            a, b = (o.loss(pass_of(kl=3.0), step) for o in (scheduled, fixed))
            torch.testing.assert_close(a.total, b.total)

    def test_a_resumed_run_goes_on_as_it_would_have(self):
        whole = ControlVAE(5.0, kp=0.5, ki=0.1)
        for kl in (1.0, 8.0, 9.0):
            whole.loss(pass_of(kl=kl))
        resumed = ControlVAE(5.0, kp=0.5, ki=0.1)
        resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
        for kl in (7.0, 4.0):
            assert whole.loss(pass_of(kl=kl)).terms == resumed.loss(pass_of(kl=kl)).terms

    def test_evaluation_takes_the_last_beta_and_moves_nothing(self):
        objective = ControlVAE(5.0, kp=0.5, ki=0.1)
        beta = objective.loss(pass_of(kl=8.0)).terms["beta"]
        state = copy.deepcopy(objective.state_dict())
        objective.eval()
        losses = objective.loss(pass_of(kl=50.0))
        assert losses.terms["beta"] == beta
        assert losses.total.item() == pytest.approx(10.0 + beta.item() * 50.0)
        assert state == objective.state_dict()


@pytest.mark.parametrize("objective", [GECO(4.0), ControlVAE(4.0)], ids=str)
def test_the_contract_of_objectives_holds(objective):
    testing.check_objective(objective)


@pytest.mark.parametrize(
    ("objective", "formula"),
    [
        (GECO(90.0), "kl + λ·(reconstruction - 90)"),
        (GECO(-1.5), "kl + λ·(reconstruction + 1.5)"),
        (ControlVAE(16.0), "reconstruction + β(kl → 16)·kl"),
    ],
)
def test_prints_as_its_formula_and_tells_its_paper(objective, formula):
    assert str(objective) == formula
    assert "https://" in objective.paper


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GECO(math.nan), ValueError, "target to be finite"),
        (lambda: GECO("90"), TypeError, "target to be a number"),
        (lambda: GECO(90.0, decay=1.0), ValueError, "below 1"),
        (lambda: ControlVAE(-1.0), ValueError, "target to be finite and at least 0"),
        (lambda: ControlVAE(1.0, ki=-0.1), ValueError, "ki to be finite and at least 0"),
        (lambda: ControlVAE(1.0, min_beta=2.0, max_beta=1.0), ValueError, "above min_beta"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
