"""Data sets with and without known factors, as map-style PyTorch data sets.

Every data set is a `torch.utils.data.Dataset` whose item is a pair: an image in [0, 1] with its row
of factors, or with its label. The whole arrays stand beside the items as attributes: `images`,
`factors` or `labels`, `factor_names`, `factor_sizes`.
"""

from disvae.data.arrays import FactorArrays
from disvae.data.dsprites import DSprites
from disvae.data.mnist import MNIST, FashionMNIST
from disvae.data.morpho_mnist import MorphoMNIST
from disvae.data.morphology import MorphologyTable, morphology
from disvae.data.sprites import Sprites

__all__ = [
    "MNIST",
    "DSprites",
    "FactorArrays",
    "FashionMNIST",
    "MorphoMNIST",
    "MorphologyTable",
    "Sprites",
    "morphology",
]
