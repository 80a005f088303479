r"""β of other code bases on disvae's scale.

disvae's β multiplies the KL summed over latent dimensions, against log densities summed over the
values of the datum. Losses of other code bases weigh the two parts otherwise, so the same objective
has another β there. With :math:`D_x` values in a datum and D latent dimensions, a β of 1 elsewhere
is here

=====================  ======================  =================  ============================
source                 ``"normal"``            ``"bernoulli"``    its reconstruction and KL
=====================  ======================  =================  ============================
pythae (0.1.2)         1                       1                  ½ squared error, sum; sum
pythae-0.1.1           1/2                     1                  squared error, sum; sum
disentanglement_lib    1/2                     1                  squared error, sum; sum
Beta-VAE (1Konny)      1/2                     1                  squared error, sum; sum
disentangling-vae      1/510                   1                  squared error × 255, sum; sum
disent                 :math:`D_x/(2D)`        :math:`D_x/D`      squared error, mean; mean
PyTorch-VAE            :math:`D_x k/2`         none               squared error, mean; sum × k
higgins2017            :math:`D_x/D`           :math:`D_x/D`      the paper's normalised β
=====================  ======================  =================  ============================

with ``"normal"`` a normal likelihood of scale 1, and k the KL's weight in the configuration of
PyTorch-VAE, 0.00025 in those that it ships. The factor multiplies β, and the whole loss is another
multiple of disvae's, which Adam hardly sees, but weight decay and gradient clipping do.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from disvae.nn import as_shape, check_int
from disvae.objectives.schedules import check_number

Source = Literal[
    "pythae",
    "pythae-0.1.1",
    "disentanglement_lib",
    "Beta-VAE",
    "disentangling-vae",
    "disent",
    "PyTorch-VAE",
    "higgins2017",
]

# from the numbers of values and of latent dimensions to the factors of normal and Bernoulli
_FACTORS: dict[str, Callable[[int, int], tuple[float, float | None]]] = {
    "pythae": lambda values, latents: (1.0, 1.0),
    "pythae-0.1.1": lambda values, latents: (1 / 2, 1.0),
    "disentanglement_lib": lambda values, latents: (1 / 2, 1.0),
    "Beta-VAE": lambda values, latents: (1 / 2, 1.0),
    "disentangling-vae": lambda values, latents: (1 / 510, 1.0),
    "disent": lambda values, latents: (values / (2 * latents), values / latents),
    "PyTorch-VAE": lambda values, latents: (0.00025 * values / 2, None),
    "higgins2017": lambda values, latents: (values / latents, values / latents),
}


def convert_beta(
    value: float,
    *,
    source: Source,
    data_shape: int | Sequence[int],
    latent_dim: int,
    likelihood: Literal["normal", "bernoulli"] = "normal",
) -> float:
    r"""The β of disvae that has the same optimum as a β of another code base.

    The table is in :mod:`disvae.objectives.conversion`. It holds for data on the same scale on both
    sides, and for the β in front of the whole KL.

    Args:
        value: β there. For ``"PyTorch-VAE"`` it is the β in front of a ``kld_weight`` of 0.00025;
            a plain VAE there has 1.
        source: The code base: ``"pythae"`` (0.1.2), ``"pythae-0.1.1"``, ``"disentanglement_lib"``,
            ``"Beta-VAE"`` (1Konny), ``"disentangling-vae"`` (YannDubs), ``"disent"`` (its default,
            ``loss_reduction="mean"``), ``"PyTorch-VAE"`` (AntixK), or ``"higgins2017"`` for the
            normalised :math:`\beta_{norm} = \beta D / D_x` of the β-VAE paper.
        data_shape: The shape of one datum; an integer means a vector.
        latent_dim: The number of latent dimensions.
        likelihood: ``"normal"`` for a squared error there and ``likelihoods.Normal`` of scale 1
            here, or ``"bernoulli"`` for a cross-entropy there and ``likelihoods.Bernoulli`` here.

    Raises:
        ValueError: If there is no such source or likelihood, or the source has no such loss.

    Example:
        >>> convert_beta(4.0, source="Beta-VAE", data_shape=(1, 64, 64), latent_dim=10)
        2.0
        >>> convert_beta(1.0, source="PyTorch-VAE", data_shape=(3, 64, 64), latent_dim=128)
        1.536

    References:
        Higgins et al., β-VAE: Learning Basic Visual Concepts with a Constrained Variational
        Framework, 2017, https://openreview.net/forum?id=Sy2fzU9gl, section 4.2.
    """
    value = check_number(value, "value")
    if not isinstance(source, str) or source not in _FACTORS:
        raise ValueError(
            f"Expected source to be one of {', '.join(map(repr, _FACTORS))}, but got "
            f"{source!r:.60}; for others compare one loss by hand."
        )
    if not isinstance(likelihood, str) or likelihood not in ("normal", "bernoulli"):
        raise ValueError(
            f"Expected likelihood to be 'normal' or 'bernoulli', but got {likelihood!r:.60}; "
            f"it says which loss of {source} is meant."
        )
    latents = check_int(latent_dim, "latent_dim")
    normal, bernoulli = _FACTORS[source](math.prod(as_shape(data_shape)), latents)
    factor = normal if likelihood == "normal" else bernoulli
    if factor is None:
        raise ValueError(
            f"Expected a loss that {source} has, but it has no Bernoulli likelihood; "
            f"take likelihood='normal'."
        )
    return value * factor
