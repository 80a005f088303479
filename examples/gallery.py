"""Every prior in two dimensions: its density, and samples of it.

    python examples/gallery.py --out gallery.png

The structure that a prior carries is what it asks of the latent space: axes that mean something,
few dimensions switched on, clusters, dependent dimensions, a sphere.
"""

import argparse

import matplotlib
import numpy as np
import torch
import zuko
from matplotlib.figure import Figure

import disvae
from disvae import data, encoders, priors

REACH = 3.2  # each panel but one shows ±REACH in both dimensions


def trained_vamp() -> priors.Vamp:
    """A VampPrior after a short training on sprites, so that its components lie where codes do."""
    x = data.Sprites(16, samples=512).images
    encoder = encoders.MLP((1, 16, 16), 2, hidden=(64,))
    decoder = disvae.decoders.MLP(2, (1, 16, 16), hidden=(64,))
    prior = priors.Vamp(encoder, x[:12].clone())
    train = disvae.TrainStep(disvae.VAE(encoder, decoder, prior=prior), disvae.objectives.ELBO())
    optimizer = torch.optim.Adam(train.parameters(), lr=2e-3)
    for _ in range(300):
        optimizer.zero_grad()
        train(x).total.backward()
        optimizer.step()
    return prior


def bent_flow() -> torch.nn.Module:
    """A flow of zuko, fitted to points on two arcs."""
    angle = torch.rand(1024) * torch.pi
    side = torch.where(torch.arange(1024) % 2 == 0, 1.0, -1.0)
    points = torch.stack((side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)), dim=-1) * 1.5
    points = points + 0.12 * torch.randn(1024, 2)
    flow = zuko.flows.NSF(2, transforms=3, hidden_features=(32, 32))
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        (-flow().log_prob(points).mean()).backward()
        optimizer.step()
    return flow


def gallery() -> dict[str, torch.distributions.Distribution]:
    """The distributions by the call that makes each."""
    four = torch.tensor([[0.0, 1.5], [0.0, -1.5], [1.5, 0.0], [-1.5, 0.0]])
    weights = torch.tensor([[0.0, 0.0], [0.9, 0.0]])
    correlated = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    classes = priors.ClassConditional(2, num_classes=3)
    with torch.no_grad():  # as training would leave them
        classes.affine.weight.copy_(
            torch.tensor([[-1, 1.2, 0], [-1, -0.5, 1.5], [-1, 0, -1], [-1, -2, -1]])
        )
    modules = {
        "Normal(2)": priors.Normal(2),
        "Normal(2, scale=[1.4, 0.4])": priors.Normal(2, scale=torch.tensor([1.4, 0.4])),
        "FullNormal(2, covariance)": priors.FullNormal(2, correlated),
        "GaussianGraph([(), (0,)])": priors.GaussianGraph([(), (0,)], weights=weights, scale=0.8),
        "Laplace(2)": priors.Laplace(2, scale=0.8),
        "StudentT(2, df=1.5)": priors.StudentT(2, df=1.5, scale=0.6),
        "GeneralizedNormal(2, power=0.6)": priors.GeneralizedNormal(2, power=0.6, scale=0.4),
        "GeneralizedNormal(2, power=8)": priors.GeneralizedNormal(2, power=8.0, scale=2.0),
        "Sparse(2)": priors.Sparse(2, spike_probability=0.5, spike_scale=0.08),
        "Mixture(2, means=...)": priors.Mixture(2, means=four, scales=0.3),
        "TreeMixture(2, (3, 4))": priors.TreeMixture(2, (3, 4), spread=1.8),
        "Vamp(encoder, x[:12])": trained_vamp(),
        "LpSpherical(2, 1.0, 4.0)": priors.LpSpherical(2, 1.0, 4.0, scale=2.2),
        "Subspaces.lp_nested((1, 1))": priors.Subspaces.lp_nested((1, 1), outer_power=1.3),
        "Joint([Normal(1), Laplace(1)])": priors.Joint([priors.Normal(1), priors.Laplace(1, 0.5)]),
        "zuko.flows.NSF(2)": bent_flow(),
        "HypersphericalUniform(2)": priors.HypersphericalUniform(2),
        "Categorical(2)": priors.Categorical(2, probs=torch.tensor([0.35, 0.65])),
    }
    found = {name: module() for name, module in modules.items()}
    found["ClassConditional(2, 3)"] = classes(torch.eye(3))
    return found


def draw(axes: matplotlib.axes.Axes, name: str, prior: torch.distributions.Distribution) -> None:
    """The density as shades, where the prior has one on the plane, and 400 samples."""
    samples = prior.sample((400,)).reshape(-1, 2)
    centre, reach = torch.zeros(2), REACH
    if name.startswith("Vamp"):  # codes lie where training put them
        centre = samples.mean(0)
        reach = 1.1 * (samples - centre).abs().max().item()
    ticks = torch.linspace(-reach, reach, 241)
    grid = centre + torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)
    (left, right), (low, high) = ((c - reach, c + reach) for c in centre.tolist())
    on_a_line = name.startswith(("Hyperspherical", "Categorical"))
    if not on_a_line:
        log_density = prior.log_prob(grid.unsqueeze(-2) if prior.batch_shape else grid)
        density = log_density.exp()
        density = density.sum(-1) if prior.batch_shape else density
        # roots, so that tails and spikes can be seen together
        shades = density.numpy() ** 0.4
        axes.imshow(shades, extent=(left, right, low, high), origin="lower", cmap="magma", vmin=0)
    axes.set_facecolor("black")
    axes.scatter(*samples.T, s=3 if on_a_line else 1.2, c="#7fd3ff", alpha=0.7, linewidths=0)
    axes.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[], aspect="equal")
    axes.set_title(name, fontsize=8)


def main() -> None:
    """Draw all panels into one picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", default="gallery.png", help="where to write the picture")
    out = parser.parse_args().out
    torch.manual_seed(0)
    distributions = gallery()
    columns = 5
    rows = -(-len(distributions) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.3 * rows), dpi=90, layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).flatten()
    with torch.no_grad():
        for axes, (name, prior) in zip(panels, distributions.items(), strict=False):
            draw(axes, name, prior)
    for axes in panels[len(distributions) :]:
        axes.set_axis_off()
    figure.savefig(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
