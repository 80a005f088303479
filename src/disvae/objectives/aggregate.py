r"""The aggregate posterior :math:`q(z) = \frac1N \sum_n q(z|x_n)`, estimated from one batch."""

import math

from torch import Tensor

from disvae.output import VAEOutput


def aggregate_log_density(out: VAEOutput, dataset_size: int) -> tuple[Tensor, Tensor]:
    r"""Log densities of the aggregate posterior at the samples, joint and for each dimension.

    Minibatch-weighted sampling:

    .. math::

        \log q(z_i) \approx \log \frac{1}{BN} \sum_{j=1}^{B} q(z_i | x_j), \qquad
        \log q(z_{i,d}) \approx \log \frac{1}{BN} \sum_{j=1}^{B} q(z_{i,d} | x_j)

    **Bias.** Both log densities come out too low: by log B where posteriors do not overlap (the
    only summand that counts, :math:`q(z_i|x_i)`, is divided by BN for N), and by log N where they
    all coincide. The total correlation, with one joint density and D marginals, is therefore too
    high by (D - 1) log B to D log N - log B, about (D - 1) log N in practice. In the sum of
    mutual information, total correlation and dimension-wise KL the estimates cancel.

    What several terms need is computed once for each pass.

    Args:
        out: One forward pass. The posterior must have marginals in closed form.
        dataset_size: The number N of data points in the whole data set.

    Raises:
        ValueError: If the batch is larger than the data set, or the posterior has no marginals.

    Shape:
        ``sample_shape + (B,)`` and ``sample_shape + (B, D)``, in nats.

    References:
        Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
        https://arxiv.org/abs/1802.04942, section 4.1 and appendix C.1.
    """
    batch = len(out.x)
    if batch > dataset_size:
        raise ValueError(
            f"Expected dataset_size to be the size of the whole training set, but got "
            f"{dataset_size} for a batch of {batch}; pass e.g. dataset_size=len(dataset)."
        )
    joint, each = out.aggregate_log_sums
    normaliser = math.log(batch * dataset_size)
    return joint - normaliser, each - normaliser
