"""Train a β-TCVAE, measure what it learnt, and look at it: the pictures go to quickstart/."""

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

import disvae
from disvae import data, decoders, encoders, evaluation, metrics, objectives, plotting, priors

SETS = {"sprites": data.Sprites, "mnist": data.MNIST, "fashion-mnist": data.FashionMNIST}
SETS["dsprites"] = lambda **options: data.DSprites(size=32, **options)
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", choices=SETS, default="sprites")
parser.add_argument("--download", action="store_true", help="fetch the data where missing")
parser.add_argument("--epochs", type=int, default=20)
arguments = parser.parse_args()

torch.manual_seed(0)
dataset = SETS[arguments.data](**({"download": True} if arguments.download else {}))
held_out, kept = dataset.images[torch.randperm(len(dataset))].tensor_split([1000])
loader = DataLoader(TensorDataset(kept), batch_size=256, shuffle=True, drop_last=True)

encoder = encoders.Conv(dataset.image_shape, latent_dim=10)
decoder = decoders.Conv(10, dataset.image_shape)
model = disvae.VAE(encoder, decoder, prior=priors.Normal(10))
objective = objectives.BetaTCVAE(dataset_size=len(kept), beta=8.0)
untrained, _ = evaluation.encode(model, dataset)

train = disvae.TrainStep(model, objective)
optimizer = torch.optim.Adam(train.parameters(), lr=1e-3)
for epoch in range(arguments.epochs):
    progress = tqdm(loader, desc=f"epoch {epoch + 1}/{arguments.epochs}")
    for (x,) in progress:
        losses = train(x)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        progress.set_postfix({name: f"{value:.1f}" for name, value in losses.terms.items()})

found = evaluation.summary(model, held_out)
print(f"\n{objective}\n\nOn {len(held_out)} held-out images:\n{found}\n")
labels = [f"z{d}" for d in found.order]
if hasattr(dataset, "factors"):
    codes, factors = evaluation.encode(model, dataset)
    print(metrics.report(codes, factors, dataset.factor_names, compare={"untrained": untrained}))
    carried = metrics.carried_factors(codes, factors, dataset.factor_names)
    labels = [f"z{d} {(found.active.mask[d] and carried[d]) or '–'}" for d in found.order]

Path("quickstart").mkdir(exist_ok=True)
pairs = torch.stack([held_out[:12], model.reconstruct(held_out[:12])])
plotting.grid(pairs, row_labels=["image", "model"]).savefig("quickstart/reconstructions.png")
rows = disvae.traversals.traverse(model, held_out[:1], dims=found.order)
plotting.grid(rows, row_labels=labels).savefig("quickstart/traversals.png")
print("\nPictures: quickstart/reconstructions.png and quickstart/traversals.png")
