"""Rotated and scaled models, and an objective's gap: what is shared, kept, drawn and refused."""

import copy
import functools
import io
import json

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Independent

from disvae import (
    VAE,
    TrainStep,
    decoders,
    encoders,
    evaluation,
    objectives,
    posteriors,
    priors,
    testing,
    traversals,
)
from disvae import distributions as dist
from disvae.nn import Unconditional
from disvae.objectives import WeightedSum, kernels, schedules, terms

D, B, FEATURES = 3, 8, 6
SWAP = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


def rotation(dim=D, seed=0):
    return evaluation.random_rotation(dim, generator=torch.Generator().manual_seed(seed))


def build(head=posteriors.DiagonalNormal, prior=None):
    encoder = nn.Sequential(nn.Linear(FEATURES, 7), nn.Tanh(), head(7, D))
    decoder = decoders.MLP(D, FEATURES, hidden=(5,), activation=nn.Tanh)
    return VAE(encoder, decoder, prior=priors.Normal(D) if prior is None else prior).double()


def data(rows=B):
    return torch.rand(rows, FEATURES, generator=torch.Generator().manual_seed(1)).double()


class TestRotate:
    def test_nothing_is_copied(self):
        model = build()
        rotated = evaluation.rotate(model, rotation())
        assert {id(p) for p in rotated.parameters()} == {id(p) for p in model.parameters()}
        assert rotated.prior is model.prior
        assert set(rotated.state_dict()) == {
            name.replace("encoder.", "encoder.part.").replace("decoder.", "decoder.part.")
            for name in model.state_dict()
        }
        x = data()
        before = model.encode(x).mean.detach()
        optimizer = torch.optim.SGD(rotated.parameters(), lr=0.5)
        TrainStep(rotated, objectives.ELBO())(x).total.backward()
        optimizer.step()
        after = model.encode(x).mean
        assert not torch.allclose(after, before)
        torch.testing.assert_close(rotated.encode(x).mean, after @ rotation().T)

    def test_modes_stay_those_of_the_parts(self):
        model = build()
        model.encoder[0].eval()
        rotated = evaluation.rotate(model.eval(), rotation())
        assert not any(module.training for module in rotated.modules())
        model.train()
        model.encoder.eval()
        rotated = evaluation.rotate(model, rotation())
        assert rotated.training
        assert not rotated.encoder.training
        assert not model.encoder[0].training
        assert model.decoder.training

    def test_data_are_checked_where_the_model_checks_them(self):
        model, x = build(), 2 * data()  # outside of a Bernoulli's support
        with pytest.raises(ValueError, match="inside"):
            evaluation.rotate(model, rotation())(x)
        model.check_values = False
        evaluation.rotate(model, rotation())(x)

    def test_it_can_be_copied_and_stored(self):
        rotated, x = evaluation.rotate(build(), rotation()), data()
        buffer = io.BytesIO()
        torch.save(rotated, buffer)
        buffer.seek(0)
        for again in (copy.deepcopy(rotated), torch.load(buffer, weights_only=False)):
            assert torch.equal(again.encode(x).mean, rotated.encode(x).mean)

    def test_rotations_compose(self):
        model, x = build(), data()
        one, two = rotation(seed=1), rotation(seed=2)
        twice = evaluation.rotate(evaluation.rotate(model, one), two)
        once = evaluation.rotate(model, two @ one)
        z = torch.randn(4, B, D).double()
        torch.testing.assert_close(twice.encode(x).log_prob(z), once.encode(x).log_prob(z))
        p, q = twice.decode(z), once.decode(z)
        torch.testing.assert_close(p.log_prob(x), q.log_prob(x))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_model_is_converted_before_or_after(self, dtype):
        """A rotation in float32 is made orthogonal in float64, whatever the model's dtype is."""
        model, x = build().float(), data()
        rotated = evaluation.rotate(model, rotation().to(dtype)).double()
        with dist.seeded(0):
            before = objectives.BetaVAE(4.0)(model, x).total
        with dist.seeded(0):
            after = objectives.BetaVAE(4.0)(rotated, x).total
        assert abs(after - before) < 1e-14 * before
        assert rotated.float().encode(x.float()).mean.dtype == torch.float32

    def test_a_context_reaches_the_parts(self):
        encoder = encoders.MLP(FEATURES, D, context_dim=2)
        decoder = decoders.MLP(D, FEATURES, context_dim=2)
        model = VAE(encoder, decoder, prior=priors.ClassConditional(D, num_classes=2)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter))
        x, context = data(), torch.eye(2).double()[torch.arange(B) % 2]
        rotated = evaluation.rotate(model, rotation())
        assert rotated.encoder.context_dim == 2
        torch.testing.assert_close(
            rotated.reconstruct(x, context), model.reconstruct(x, context), rtol=1e-9, atol=1e-12
        )
        assert not torch.allclose(
            rotated.reconstruct(x, context.flip(1)), model.reconstruct(x, context)
        )
        with pytest.raises(ValueError, match="context"):
            rotated.encode(x)
        gap = evaluation.rotation_gap(model, objectives.ELBO(), x, rotations=2, context=context)
        assert gap.largest > 1e-3  # the prior of a class has its own place

    def test_foreign_parts(self):
        class Tuned(nn.Module):
            """It tells no latent_dim, and takes no context."""

            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(FEATURES, D)

            def forward(self, x):
                return Independent(torch.distributions.Normal(self.layer(x), 1.0), 1)

        class Prior(nn.Module):
            def forward(self, context):
                return Independent(torch.distributions.Normal(context, 1.0), 1)

        decoder = Unconditional(nn.Sequential(decoders.MLP(D, FEATURES)))
        model = VAE(Unconditional(Tuned()), decoder, prior=Prior()).double()
        x, context = data(), torch.randn(B, D).double()
        rotated = evaluation.rotate(model, rotation())
        mean = model.encode(x, context).mean
        torch.testing.assert_close(rotated.encode(x, context).mean, mean @ rotation().T)
        with dist.seeded(0):
            before = objectives.IWAE(3)(model, x, context=context).terms["reconstruction"]
        with dist.seeded(0):
            after = objectives.IWAE(3)(rotated, x, context=context).terms["reconstruction"]
        torch.testing.assert_close(after, before)

    def test_a_context_that_no_part_uses_is_still_refused(self, is_clear):
        with pytest.raises(ValueError, match="no part of this model") as raised:
            evaluation.rotate(
                VAE(encoders.MLP(6, D), decoders.MLP(D, 6), prior=priors.Normal(D)), rotation()
            ).encode(torch.rand(B, 6), torch.rand(B, 2))
        is_clear(raised.value)

    @pytest.mark.parametrize(
        ("head", "matrix"),
        [
            (posteriors.DiagonalNormal, rotation()),
            (posteriors.DiagonalNormal, SWAP),
            (posteriors.FullNormal, rotation()),
            (posteriors.Laplace, rotation()),
            (posteriors.Deterministic, SWAP),
        ],
    )
    def test_the_parts_keep_the_contracts(self, head, matrix):
        rotated = evaluation.rotate(build(head).float(), matrix)
        testing.check_encoder(rotated.encoder, data().float())
        testing.check_decoder(rotated.decoder, torch.randn(B, D), data().float())

    @pytest.mark.parametrize("head", [posteriors.DiagonalNormal, posteriors.FullNormal])
    @pytest.mark.parametrize("objective", [objectives.BetaVAE(3.0), objectives.DReG(4)])
    def test_gradients_are_those_of_the_model(self, head, objective):
        model, x = build(head), data()
        found = []
        for m in (model, evaluation.rotate(model, rotation())):
            with dist.seeded(0):
                total = objective(m, x).total
            found.append(torch.autograd.grad(total, list(model.parameters())))
        for before, after in zip(*found, strict=True):
            torch.testing.assert_close(after, before, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("matrix", [rotation(), SWAP], ids=["mixed", "swapped"])
    @pytest.mark.parametrize(
        "objective",
        [objectives.BetaTCVAE(100, beta=2.0), objectives.HFVAE([(2, 0), (1,)], 100, beta=2.0)],
        ids=["β-TCVAE", "HFVAE"],
    )
    def test_a_rotated_model_compiles_from_a_cold_start(self, matrix, objective):
        train = TrainStep(evaluation.rotate(build(), matrix), objective)
        torch._dynamo.reset()
        with dist.seeded(0):
            compiled = torch.compile(train, fullgraph=True, backend="eager")(data()).total
        with dist.seeded(0):
            torch.testing.assert_close(compiled, train(data()).total)

    def test_a_subclass_that_only_adds_to_a_vae_becomes_a_plain_one(self):
        class Named(VAE):
            def __init__(self, model):
                super().__init__(model.encoder, model.decoder, prior=model.prior)
                self.name = "mine"

            def codes(self, x):
                return self.encode(x).mean

        model, x = build(), data()
        rotated = evaluation.rotate(Named(model), rotation())
        assert type(rotated) is VAE
        expected = evaluation.rotate(model, rotation()).encode(x).mean
        assert torch.equal(rotated.encode(x).mean, expected)

    def test_a_model_with_a_method_of_its_own_is_refused(self, is_clear):
        """What it does with the codes would be dropped."""

        class Shifted(VAE):
            def encode(self, x, context=None):
                return super().encode(x + 1, context)

            def _likelihood(self, z, context):
                return super()._likelihood(z + 1, context)

        def shifted():
            model = build()
            return Shifted(model.encoder, model.decoder, prior=model.prior)

        def patched():
            model = build()
            model.encode = lambda x, context=None: VAE.encode(model, x + 1, context)
            return model

        for make, names in ((shifted, "own encode, _likelihood;"), (patched, "own encode;")):
            for function in (
                lambda model: evaluation.rotate(model, rotation()),
                lambda model: evaluation.rescale(model, 2.0),
                lambda model: evaluation.rotation_gap(model, ELBO, data()),
            ):
                with pytest.raises(TypeError, match=names) as raised:
                    function(make())
                is_clear(raised.value)

    def test_what_else_evaluates_a_model_takes_it(self):
        model, x = build(), data(50)
        rotated, swapped = evaluation.rotate(model, rotation()), evaluation.rotate(model, SWAP)
        codes, _ = evaluation.encode(model, x)
        torch.testing.assert_close(
            torch.from_numpy(evaluation.encode(rotated, x)[0]),
            torch.from_numpy(codes) @ rotation().T,
        )
        before, mixed, moved = (evaluation.summary(m, x) for m in (model, rotated, swapped))
        assert mixed.kl_per_dimension is None
        assert mixed.kl == pytest.approx(before.kl, rel=1e-12)
        expected = (SWAP.abs().double() @ before.kl_per_dimension.double()).tolist()
        assert moved.kl_per_dimension.tolist() == pytest.approx(expected, rel=1e-9)
        assert traversals.traverse(rotated, x[:1], steps=4).shape[:2] == (D, 4)


class TestRescale:
    def test_numbers_and_tensors(self):
        model, x = build(), data()
        q = model.encode(x)
        for scale in (
            2,
            -0.5,
            np.float32(0.25),
            torch.tensor(3.0),
            torch.tensor([1.0, -2.0, 0.25]),
        ):
            factor = torch.as_tensor(scale, dtype=torch.float64)
            scaled = evaluation.rescale(model, scale)
            torch.testing.assert_close(scaled.encode(x).mean, factor * q.mean)
            torch.testing.assert_close(scaled.encode(x).stddev, factor.abs() * q.stddev)
            assert dist.is_factorised(scaled.encode(x))
            torch.testing.assert_close(scaled.reconstruct(x), model.reconstruct(x))

    def test_float32_factors_are_exact_in_float64(self):
        model, x = build(), data()
        scaled = evaluation.rescale(model, 0.1)  # not rounded to float32 on the way
        assert torch.equal(scaled.encode(x).mean, 0.1 * model.encode(x).mean)

    def test_a_number_needs_a_model_that_tells_its_size(self, is_clear):
        class Silent(nn.Module):
            def forward(self, x=None):
                return Independent(dist.Normal(torch.zeros(D), 1.0), 1)

        model = VAE(Silent(), Silent(), prior=Unconditional(Silent()))
        assert model.latent_dim == D  # the prior was asked

        class Conditional(nn.Module):
            def forward(self, context):
                return Independent(dist.Normal(context, 1.0), 1)

        model = VAE(Silent(), Silent(), prior=Conditional())
        assert model.latent_dim is None
        with pytest.raises(ValueError, match="one factor for each") as raised:
            evaluation.rescale(model, 2.0)
        is_clear(raised.value)
        assert evaluation.rescale(model, torch.full((D,), 2.0)).latent_dim == D


class TestRandomRotation:
    @pytest.mark.parametrize("dim", [1, 2, 5, 40])
    def test_they_are_orthogonal(self, dim):
        matrix = rotation(dim)
        assert matrix.dtype == torch.float64
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(dim).double(), rtol=0, atol=1e-14)

    @pytest.mark.parametrize("dim", [2, 4])
    def test_they_are_uniform(self, dim):
        """Every entry has the moments of a coordinate of a uniform direction; half reflect."""
        g = torch.Generator().manual_seed(0)
        n = 4000
        many = torch.stack([evaluation.random_rotation(dim, generator=g) for _ in range(n)])
        fourth = 3 / (dim * (dim + 2))
        assert many.mean(0).abs().max() < 5 * (1 / dim / n) ** 0.5
        second = many.square().mean(0)
        assert (second - 1 / dim).abs().max() < 5 * ((fourth - dim**-2) / n) ** 0.5
        assert (many.pow(4).mean(0) - fourth).abs().max() < 0.05
        reflects = (torch.linalg.det(many) < 0).double().mean()
        assert abs(reflects - 0.5) < 0.04
        trace = many.diagonal(dim1=1, dim2=2).sum(-1)  # E tr² = 1 for uniform matrices
        assert abs(trace.square().mean() - 1) < 0.12
        assert abs(trace.mean()) < 0.1

    def test_a_generator_decides_and_the_global_one_is_left_alone(self):
        state = torch.get_rng_state()
        assert torch.equal(rotation(seed=3), rotation(seed=3))
        assert not torch.equal(rotation(seed=3), rotation(seed=4))
        assert torch.equal(state, torch.get_rng_state())
        torch.manual_seed(1)
        first = evaluation.random_rotation(D)
        torch.manual_seed(1)
        assert torch.equal(first, evaluation.random_rotation(D))
        assert not torch.equal(first, evaluation.random_rotation(D))


class TestRotationGap:
    def test_its_numbers_are_those_of_the_divergences(self):
        """Under an anisotropic normal prior everything is closed, so nothing is left to chance."""
        scale = torch.tensor([0.5, 1.0, 2.0])
        model, x, beta = build(prior=priors.Normal(D, scale=scale)), data(), 3.0
        gap = evaluation.rotation_gap(model, objectives.BetaVAE(beta), x, rotations=6, samples=2)
        q, p = model.encode(x), model.prior()
        base, old = dist.MultivariateNormal(q.mean, torch.diag_embed(q.variance)), dist.kl(q, p)
        expected = []
        for matrix in gap.rotations:
            covariance = matrix @ base.covariance_matrix @ matrix.T
            turned = dist.MultivariateNormal(q.mean @ matrix.T, covariance)
            expected.append((dist.kl(turned, p) - old).mean().item())
        each = beta * torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(gap.each, each, rtol=1e-9, atol=1e-9)
        assert gap.mean == pytest.approx(each.mean().item())
        assert gap.mean.standard_error == pytest.approx(each.std().item() / 6**0.5)
        low, high = scipy.stats.t.interval(0.95, 5, each.mean(), each.std() / 6**0.5)
        assert gap.interval == pytest.approx((low, high))
        assert gap.largest == pytest.approx(each.abs().max().item())
        assert gap.noise < 1e-13
        torch.testing.assert_close(gap.terms["kl"].each, each / beta, rtol=1e-9, atol=1e-9)
        assert gap.terms["reconstruction"].largest < 1e-13
        assert list(gap.terms) == ["reconstruction", "kl"]
        found = [objectives.BetaVAE(beta)(model, x).total.item() for _ in range(300)]
        assert gap.objective == pytest.approx(sum(found) / 300, rel=0.01)
        assert (gap.samples, len(gap.rotations)) == (2, 6)

    def test_the_noise_is_that_of_the_samples(self):
        """Under a Laplace prior both sides are sampled, though one of them has a closed form."""
        model, x = build(prior=priors.Laplace(D)), data()
        assert dist.has_closed_form(model.encode(x), model.prior())
        few, many = (
            evaluation.rotation_gap(
                model, objectives.ELBO(), x, rotations=rotation(), samples=n, seed=n
            )
            for n in (30, 480)
        )
        assert few.noise / many.noise == pytest.approx(4, rel=0.4)
        assert few.mean.standard_error == pytest.approx(few.noise)
        assert few.interval == pytest.approx(scipy.stats.t.interval(0.95, 29, few.mean, few.noise))
        assert abs(few.mean - many.mean) < 4 * few.noise
        # as the integrands at one and the same samples
        q, p = model.encode(x), model.prior()
        z = q.sample((4000,))
        change = (p.log_prob(z) - p.log_prob(z @ rotation().T)).mean(1)
        error = change.std() / 4000**0.5
        assert abs(many.mean - change.mean()) < 4 * (many.noise**2 + error**2) ** 0.5
        assert many.noise == pytest.approx(change.std().item() / 480**0.5, rel=0.2)

    @pytest.mark.parametrize("matrix", [torch.eye(D), SWAP], ids=["identity", "signed permutation"])
    @pytest.mark.parametrize(
        "head", [posteriors.DiagonalNormal, posteriors.FullNormal, posteriors.Laplace]
    )
    @pytest.mark.parametrize(
        "prior", [priors.Laplace(D), priors.Sparse(D)], ids=["Laplace", "sparse"]
    )
    def test_what_changes_nothing_shows_no_noise(self, prior, head, matrix):
        gap = evaluation.rotation_gap(
            build(head, prior), objectives.ELBO(), data(), rotations=matrix
        )
        assert gap.largest < 1e-13
        assert gap.noise < 1e-13

    @pytest.mark.parametrize(
        "divergence",
        [
            terms.MMD(kernels.InverseMultiquadratic()),
            terms.InclusiveKL(),
            terms.SlicedWasserstein(projections=20),
        ],
        ids=["MMD", "inclusive KL", "sliced"],
    )
    def test_terms_that_draw_from_the_prior_change_by_noise_only(self, divergence):
        objective = WeightedSum(divergence=(1.0, divergence))
        gap = evaluation.rotation_gap(build(), objective, data(32), rotations=8, samples=8)
        assert gap.noise > 1e-4
        assert gap.largest < 4.5 * gap.noise
        assert abs(gap.mean) < 4 * gap.mean.standard_error

    def test_every_weight_and_step_and_label_arrives(self):
        objective = WeightedSum(
            kl=(schedules.Linear(0.0, 4.0, steps=10), terms.KL()),
        )
        model, x = build(prior=priors.Normal(D, scale=torch.tensor([0.5, 1.0, 2.0]))), data()
        gaps = [
            evaluation.rotation_gap(model, objective, x, rotations=2, step=step).mean
            for step in (0, 5, None)
        ]
        assert gaps[0] == 0
        assert gaps[2] == pytest.approx(2 * gaps[1])
        encoder, decoder = (
            encoders.MLP(FEATURES, D, context_dim=2),
            decoders.MLP(D, FEATURES, context_dim=2),
        )
        conditional = VAE(encoder, decoder, prior=priors.Normal(D)).double()
        m2 = objectives.SemiSupervisedVAE(nn.Linear(FEATURES, 2), num_classes=2).double()
        known, unknown = (
            evaluation.rotation_gap(conditional, m2, x, rotations=2, labels=labels)
            for labels in (torch.arange(B) % 2, None)
        )
        assert known.largest < 1e-13
        assert known.objective != unknown.objective

    def test_nothing_is_changed(self):
        class Counting(objectives.Objective):
            def __init__(self):
                super().__init__()
                self.register_buffer("calls", torch.zeros(()))

            def loss(self, out, step=None):
                if self.training:
                    self.calls += 1
                assert not torch.is_grad_enabled()
                assert not out.z.requires_grad
                return objectives.ELBO().loss(out, step)

        norm = nn.BatchNorm1d(7)
        encoder = nn.Sequential(nn.Linear(FEATURES, 7), norm, posteriors.DiagonalNormal(7, D))
        model = VAE(encoder, decoders.MLP(D, FEATURES), prior=priors.Normal(D)).double()
        model.decoder.eval()
        for objective in (Counting(), objectives.GECO(2.0), objectives.ControlVAE(2.0)):
            states = [copy.deepcopy(m.state_dict()) for m in (model, objective)]
            modes = [[m.training for m in part.modules()] for part in (model, objective)]
            generator = torch.get_rng_state()
            evaluation.rotation_gap(model, objective, data(), rotations=2)
            assert torch.equal(generator, torch.get_rng_state())
            assert modes == [[m.training for m in part.modules()] for part in (model, objective)]
            for before, part in zip(states, (model, objective), strict=True):
                for name, value in part.state_dict().items():
                    assert torch.equal(value, before[name]), name
            assert all(p.grad is None for p in model.parameters())

    def test_modes_come_back_after_an_error(self):
        class Failing(objectives.Objective):
            def loss(self, out, step=None):
                raise RuntimeError("mine")

        model, objective = build(), Failing()
        with pytest.raises(RuntimeError, match="mine"):
            evaluation.rotation_gap(model, objective, data())
        assert model.training
        assert objective.training
        assert torch.is_grad_enabled()

    def test_a_seed_decides(self):
        model = build(prior=priors.Laplace(D))
        gap = functools.partial(
            evaluation.rotation_gap, model, objectives.ELBO(), data(), rotations=2
        )
        first, again, other = gap(), gap(), gap(seed=1)
        assert torch.equal(first.each, again.each)
        assert torch.equal(first.rotations, again.rotations)
        assert not torch.equal(first.each, other.each)
        assert not torch.equal(first.rotations, other.rotations)
        # every comparison has noise of its own
        same = evaluation.rotation_gap(
            model, objectives.ELBO(), data(), rotations=rotation().expand(3, D, D), samples=1
        )
        assert len(set(same.each.tolist())) == 3

    def test_one_value_has_no_error(self):
        gap = evaluation.rotation_gap(
            build(), objectives.ELBO(), data(), rotations=rotation(), samples=1
        )
        assert gap.mean.standard_error != gap.mean.standard_error
        assert gap.interval[0] != gap.interval[0]
        assert "nan" in str(gap)
        assert gap.to_dict()["noise"] is None

    def test_it_prints_and_goes_into_json(self):
        model = build(prior=priors.Laplace(D))
        gap = evaluation.rotation_gap(model, objectives.BetaVAE(2.0), data(), rotations=3)
        lines = str(gap).splitlines()
        assert lines[0] == f"3 rotations of an objective of {gap.objective:.5g}"
        assert lines[1].split() == ["mean", "largest", "noise"]
        assert [line.split("  ")[0] for line in lines[2:]] == [
            "rotation gap",
            "reconstruction",
            "kl",
        ]
        assert lines[2].split()[2:] == [
            f"{float(gap.mean):+.3g}",
            "±",
            f"{gap.mean.standard_error:.2g}",
            f"{gap.largest:.3g}",
            f"{gap.noise:.2g}",
        ]
        held = json.loads(json.dumps(gap.to_dict(), allow_nan=False))
        assert held["mean"]["value"] == pytest.approx(gap.mean)
        assert held["each"] == pytest.approx(gap.each.tolist())
        assert held["terms"]["kl"]["mean"]["value"] == pytest.approx(gap.terms["kl"].mean)

    def test_a_foreign_model_that_tells_no_size_is_asked_by_its_codes(self):
        class Conditional(nn.Module):
            def forward(self, context):
                return Independent(dist.Normal(torch.zeros_like(context), 1.0), 1)

        class Encoder(nn.Module):
            def forward(self, x, context):
                return Independent(dist.Normal(x[:, :D], torch.ones_like(x[:, :D])), 1)

        decoder = Unconditional(nn.Sequential(decoders.MLP(D, FEATURES), nn.Identity()))
        model = VAE(Encoder(), decoder, prior=Conditional()).double()
        assert model.latent_dim is None
        context = torch.zeros(B, D).double()
        gap = evaluation.rotation_gap(model, objectives.ELBO(), data(), context=context)
        assert gap.rotations.shape == (16, D, D)
        assert gap.largest < 1e-13


def gap_of(objective, **keywords):
    return lambda: evaluation.rotation_gap(build(), objective, data(), **keywords)


def held_decoder():
    model = build()
    objective = WeightedSum(orthogonality=(1.0, terms.JacobianOrthogonality(model.decoder)))
    return evaluation.rotation_gap(model, objective, data())


ELBO = objectives.ELBO()
WEIGHT, X = torch.ones(4, 2), torch.zeros(3, 4)
BAD = {
    "no model": lambda: evaluation.rotate(nn.Linear(2, 2), torch.eye(2)),
    "a train step": lambda: evaluation.rescale(TrainStep(build(), ELBO), 2.0),
    "a list": lambda: evaluation.rotate(build(), torch.eye(3).tolist()),
    "whole numbers": lambda: evaluation.rotate(build(), torch.eye(3).long()),
    "wrong size": lambda: evaluation.rotate(build(), torch.eye(2)),
    "not square": lambda: evaluation.rotate(build(), torch.eye(3)[:2]),
    "several": lambda: evaluation.rotate(build(), torch.eye(3).expand(2, 3, 3)),
    "empty": lambda: evaluation.rotate(build(), torch.ones(0, 0)),
    "stretched": lambda: evaluation.rotate(build(), 2 * torch.eye(3)),
    "sheared": lambda: evaluation.rotate(build(), torch.ones(3, 3)),
    "rounded": lambda: evaluation.rotate(build(), (rotation() * 1e3).round() / 1e3),
    "nan": lambda: evaluation.rotate(build(), torch.full((3, 3), torch.nan)),
    "scale 0": lambda: evaluation.rescale(build(), 0.0),
    "a factor 0": lambda: evaluation.rescale(build(), torch.tensor([1.0, 0.0, 1.0])),
    "infinite scale": lambda: evaluation.rescale(build(), float("inf")),
    "scale matrix": lambda: evaluation.rescale(build(), torch.eye(3)),
    "too few factors": lambda: evaluation.rescale(build(), torch.ones(2)),
    "scale of whole numbers": lambda: evaluation.rescale(build(), torch.ones(3).long()),
    "scale text": lambda: evaluation.rescale(build(), "2"),
    "scale flag": lambda: evaluation.rescale(build(), True),
    "no dimension": lambda: evaluation.random_rotation(0),
    "half a dimension": lambda: evaluation.random_rotation(2.5),
    "a seed for a generator": lambda: evaluation.random_rotation(3, generator=0),
    "gap of no model": lambda: evaluation.rotation_gap(nn.Linear(2, 2), ELBO, data()),
    "an objective's class": gap_of(objectives.ELBO),
    "a function": gap_of(lambda model, x: None),
    "no data": lambda: evaluation.rotation_gap(build(), ELBO, None),
    "wrong data": lambda: evaluation.rotation_gap(build(), ELBO, data().long()),
    "no rotations": gap_of(ELBO, rotations=0),
    "no samples": gap_of(ELBO, samples=0),
    "half a sample": gap_of(ELBO, samples=0.5),
    "labels for none": gap_of(objectives.GECO(1.0), labels=torch.zeros(B)),
    "rotations in an array": gap_of(ELBO, rotations=rotation().numpy()),
    "a negative seed": gap_of(ELBO, seed=-1),
    "rotations in a list": gap_of(ELBO, rotations=[rotation()]),
    "rotations of a wrong size": gap_of(ELBO, rotations=torch.eye(2)),
    "rotations that stretch": gap_of(ELBO, rotations=2 * torch.eye(D)),
    "an empty stack": gap_of(ELBO, rotations=torch.ones(0, D, D)),
    "a vector": gap_of(ELBO, rotations=torch.ones(D)),
    "the decoder held": held_decoder,
    "independent dimensions needed": gap_of(WeightedSum(kl=(1.0, terms.FreeBits(0.5)))),
    "weight list": lambda: evaluation.best_diagonal_gap([[1.0]], X),
    "weight vector": lambda: evaluation.best_diagonal_gap(torch.ones(4), X),
    "weight nan": lambda: evaluation.best_diagonal_gap(WEIGHT * torch.nan, X),
    "data of another size": lambda: evaluation.best_diagonal_gap(WEIGHT, torch.zeros(3, 5)),
    "one datum alone": lambda: evaluation.best_diagonal_gap(WEIGHT, torch.zeros(4)),
    "no datum": lambda: evaluation.best_diagonal_gap(WEIGHT, X[:0]),
    "bias of another size": lambda: evaluation.best_diagonal_gap(WEIGHT, X, bias=torch.ones(2)),
    "noise 0": lambda: evaluation.best_diagonal_gap(WEIGHT, X, noise_scale=0.0),
    "noise tensor": lambda: evaluation.best_diagonal_gap(WEIGHT, X, noise_scale=torch.ones(4)),
    "prior nan": lambda: evaluation.best_diagonal_gap(WEIGHT, X, prior_scale=float("nan")),
    "beta 0": lambda: evaluation.best_diagonal_gap(WEIGHT, X, beta=0),
    "dependent columns": lambda: evaluation.best_diagonal_gap(1e11 * WEIGHT, X),
    "infinite squares": lambda: evaluation.best_diagonal_gap(1e200 * WEIGHT.double(), X),
    "infinite lengths": lambda: evaluation.best_diagonal_gap(1e200 * torch.eye(4).double(), X),
    "no prior": lambda: evaluation.best_diagonal_gap(WEIGHT, X, prior_scale=1e-200),
    "no noise": lambda: evaluation.best_diagonal_gap(
        0 * WEIGHT, X, noise_scale=1e-200, beta=1e-300
    ),
    "beta flag": lambda: evaluation.best_diagonal_gap(WEIGHT, X, beta=True),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_clear(name, is_clear):
    with pytest.raises((TypeError, ValueError)) as raised:
        BAD[name]()
    is_clear(raised.value)


def test_best_diagonal_gap_prints_and_goes_into_json():
    found = evaluation.best_diagonal_gap(WEIGHT, X, noise_scale=0.5)
    assert str(found).splitlines()[2] == f"gap       {found.gap:.4f} nats"
    assert json.loads(json.dumps(found.to_dict()))["gap"] == found.gap


def test_best_diagonal_gap_of_wide_and_collapsed_decoders():
    """More latents than features, columns of zeros, and weights so large that nothing is left."""
    for weight in (torch.randn(2, 7), torch.zeros(4, 3), 1e6 * torch.randn(4, 3)):
        x = torch.randn(3, len(weight))
        found = evaluation.best_diagonal_gap(weight, x)
        assert found.gap >= 0
        assert found.optimum >= found.diagonal
        assert torch.tensor([found.optimum, found.diagonal, found.gap]).isfinite().all()
    for weight in (torch.zeros(4, 3), torch.rand(7).diag(), torch.rand(9).diag()[:, :4]):
        x = torch.randn(2, len(weight))
        assert evaluation.best_diagonal_gap(weight, x, noise_scale=0.3, beta=0.7).gap == 0


def by_definition(weight, x, noise_scale=1.0, prior_scale=1.0, beta=1.0):
    """The optimum, from its expectations, and the gap, from its precision, in 80 digits."""
    with mpmath.workdps(80):
        noise, prior = mpmath.mpf(noise_scale) ** 2, mpmath.mpf(prior_scale) ** 2
        beta, w = mpmath.mpf(beta), mpmath.matrix(weight.tolist())
        features, dim = w.rows, w.cols
        precision = w.T * w / (beta * noise) + mpmath.eye(dim) / prior
        covariance, log_det = precision**-1, mpmath.log(mpmath.det(precision))
        trace = sum((w * covariance * w.T)[i, i] for i in range(features))
        total = mpmath.mpf(0)
        for row in x.tolist():
            mean = covariance * (w.T * mpmath.matrix(row)) / (beta * noise)
            error = sum(v**2 for v in mpmath.matrix(row) - w * mean) + trace
            likelihood = -(features * mpmath.log(2 * mpmath.pi * noise) + error / noise) / 2
            second = sum(v**2 for v in mean) + sum(covariance[d, d] for d in range(dim))
            total += (
                likelihood - beta * (second / prior - dim + dim * mpmath.log(prior) + log_det) / 2
            )
        diagonal = sum(mpmath.log(precision[d, d]) for d in range(dim))
        return float(total / len(x)), float(beta / 2 * (diagonal - log_det))


G = torch.Generator().manual_seed(4)
ONE = torch.randn(4, 1, generator=G).double()
TWICE = torch.cat((ONE, ONE, torch.randn(4, 1, generator=G).double()), 1)
WIDE = torch.randn(4, 6, generator=G).double()
GRADED = torch.randn(4, 3, generator=G).double() * torch.tensor([1e-9, 1e9, 1.0]).double()
# only the first feature, and hardly, tells the columns apart
HARDLY = torch.tensor([[1.0, 0.0], [1e8, 1e8], [1e8, 1e8]]).double()


@pytest.mark.parametrize(
    ("weight", "setting"),
    [
        (ONE, {}),
        (WIDE, {"noise_scale": 0.3, "prior_scale": 2.0, "beta": 4.0}),
        (1e6 * torch.ones(4, 2).double(), {}),
        (1e9 * torch.ones(4, 2).double(), {}),
        (TWICE, {"noise_scale": 1e-6, "beta": 0.3}),
        (TWICE, {"noise_scale": 1e-8}),
        (TWICE, {"noise_scale": 1e-3, "prior_scale": 1e4, "beta": 1e-4}),
        (1e8 * WIDE, {}),
        (GRADED, {}),
        (HARDLY, {"prior_scale": 100.0}),
    ],
    ids=["one", "wide", "1e6", "1e9", "1e-6", "1e-8", "all", "large", "graded", "hardly"],
)
def test_best_diagonal_gap_keeps_its_digits(weight, setting):
    """Of nearly dependent columns the squares of the weight hold nothing."""
    x = torch.randn(3, len(weight), generator=torch.Generator().manual_seed(5)).double()
    found = evaluation.best_diagonal_gap(weight, x, **setting)
    optimum, gap = by_definition(weight, x, **setting)
    assert found.gap == pytest.approx(gap, rel=1e-12, abs=1e-15)
    # this small feature is known no better beside the large ones
    assert found.optimum == pytest.approx(optimum, rel=1e-7 if weight is HARDLY else 1e-12)
    assert found.diagonal == pytest.approx(optimum - gap, rel=1e-7 if weight is HARDLY else 1e-12)
