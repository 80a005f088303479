"""Several posterior heads side by side."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from disvae import distributions
from disvae.nn import call_part, check_int, check_vector, make_module

Head = Callable[[int, int], nn.Module]


class Joint(nn.Module):
    r"""Features to independent posteriors of several kinds, side by side in one latent vector.

    .. math::

        q(z|x) = \prod_b q_b(z_b|x)

    With a normal and a relaxed categorical block it is the posterior of JointVAE; its prior is a
    ``priors.Joint`` of the same blocks, and the KL is the sum of theirs.

    Args:
        features: The number of features that the backbone gives.
        latent_dim: The number D of all latent dimensions.
        heads: Pairs ``(dims, head)``: the number of dimensions of each block, and what makes its
            head from features and that number. Made with ``functools.partial(Joint, heads=...)``
            for an encoder's ``posterior=``.

    Shape:
        Features ``(B, features)`` to a distribution of batch shape ``(B,)``, event shape ``(D,)``.

    Raises:
        TypeError: If a head cannot be made of two integers, or returns no distribution.
        ValueError: If the blocks' dimensions do not add up to ``latent_dim``, or a head gives
            another number of them.

    Example:
        >>> import functools, torch
        >>> from disvae import encoders, posteriors
        >>> head = functools.partial(
        ...     posteriors.Joint,
        ...     heads=[(6, posteriors.DiagonalNormal), (10, posteriors.RelaxedCategorical)],
        ... )
        >>> encoders.MLP(784, 16, posterior=head)(torch.rand(4, 784)).event_shape
        torch.Size([16])

    References:
        Dupont, Learning Disentangled Joint Continuous and Discrete Representations, 2018,
        https://arxiv.org/abs/1804.00104.
    """

    def __init__(self, features: int, latent_dim: int, heads: Iterable[tuple[int, Head]]) -> None:
        super().__init__()
        self.latent_dim = check_int(latent_dim, "latent_dim")
        pairs = list(heads) if isinstance(heads, Iterable) else []
        if not pairs or not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
            raise TypeError(
                "Expected heads to be a list of pairs (dims, head), but got something else; write "
                "e.g. heads=[(6, posteriors.DiagonalNormal), (10, posteriors.RelaxedCategorical)]."
            )
        sizes = [check_int(size, "the dims of each head") for size, _ in pairs]
        if sum(sizes) != self.latent_dim:
            raise ValueError(
                f"Expected heads whose dimensions add up to latent_dim = {self.latent_dim}, but "
                f"got {sizes}; change one of the two."
            )
        self.sizes = tuple(sizes)
        self.heads = nn.ModuleList(
            make_module(head, "each of heads", features, size)
            for size, (_, head) in zip(sizes, pairs, strict=True)
        )

    def forward(self, h: Tensor) -> distributions.Joint:
        """The posterior for features ``h`` of shape ``(B, features)``."""
        found = []
        for number, (head, size) in enumerate(zip(self.heads, self.sizes, strict=True)):
            name = f"head of block {number}"
            d = call_part(head, name, h)
            check_vector(d, name, size)
            found.append(d)
        return distributions.Joint(found)
