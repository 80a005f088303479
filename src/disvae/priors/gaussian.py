"""Normal priors whose dimensions depend on one another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from disvae.distributions import MultivariateNormal
from disvae.nn import CholeskyFactor, ScaleParameter, as_constant, check_int, full_precision
from disvae.nn.layers import SCALE_FLOOR


class FullNormal(nn.Module):
    r"""The normal prior with a full covariance, learnt or given.

    .. math::

        p(z) = N(z; 0, L L^T)

    A learnt Cholesky factor L starts at the identity, or at that of the given covariance; its
    diagonal stays above 1e-4. A factor that is not learnt is kept as it is.

    Args:
        latent_dim: The number D of latent dimensions.
        covariance: The covariance, ``(D, D)``, in float32 or float64; the identity by default.
        learn: Whether the covariance is learnt, starting from there. By default it is, unless one
            is given.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        TypeError: If the covariance is no tensor of float32 or float64.
        ValueError: If it is not symmetric and positive definite, or of another shape, or learnt
            and its factor's diagonal not above 1e-4.

    Example:
        >>> import torch
        >>> FullNormal(2, torch.tensor([[1.0, 0.5], [0.5, 1.0]]))().covariance_matrix
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """

    context_dim = 0
    entries: nn.Parameter | None
    fixed: Tensor
    loc: Tensor

    def __init__(
        self, latent_dim: int, covariance: Tensor | None = None, *, learn: bool | None = None
    ) -> None:
        super().__init__()
        self.latent_dim = dim = check_int(latent_dim, "latent_dim")
        self.factor = CholeskyFactor(dim)
        tril = torch.eye(dim) if covariance is None else _cholesky(covariance, dim)
        if covariance is None if learn is None else learn:
            least = tril.diagonal().amin().item()
            if least <= SCALE_FLOOR:
                raise ValueError(
                    f"Expected a learnt covariance whose Cholesky factor has a diagonal above "
                    f"{SCALE_FLOOR:g}, but got {least:g}; pass a larger one, or learn=False."
                )
            self.entries = nn.Parameter(self.factor.inverse(tril))
            self.register_buffer("fixed", None)
        else:
            self.register_parameter("entries", None)
            self.register_buffer("fixed", tril)
        self.register_buffer("loc", torch.zeros(dim))

    def forward(self, context: Tensor | None = None) -> MultivariateNormal:
        """The prior, of batch shape ``()``."""
        tril = self.fixed if self.entries is None else self.factor(self.entries)
        loc, tril = full_precision(self.loc), full_precision(tril)
        return MultivariateNormal(loc, scale_tril=tril, validate_args=False)


class GaussianGraph(nn.Module):
    r"""Latent dimensions that cause one another: a linear directed acyclic graph.

    .. math::

        z_d = \sum_{a \in \mathrm{pa}(d)} w_{da} z_a + \sigma_d \varepsilon_d, \quad
        \varepsilon \sim N(0, I)

    The joint distribution is normal, so its KL to any normal posterior is closed. All weights start
    at 0, where the dimensions are independent. For dependencies that are not linear take a flow
    of zuko, such as ``zuko.flows.MAF(features=D, adjacency=...)``.

    Args:
        parents: For each dimension the dimensions it depends on, such as ``[(), (0,), (0, 1)]``.
        weights: The weights, ``(D, D)``, row d those of the parents of d; 0 by default.
        scale: The standard deviation of the noise: a number, or a tensor of shape ``(D,)``.
        learn: Whether the weights are learnt, starting from there. By default they are, unless
            they are given.
        learn_scale: Whether the scale is learnt. It stays above 1e-4.

    Shape:
        Batch shape ``()``, event shape ``(D,)``. A context is accepted and ignored.

    Raises:
        ValueError: If the graph has a cycle, or a weight where there is no edge.

    Example:
        >>> import torch
        >>> chain = GaussianGraph([(), (0,)], weights=torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        >>> chain().covariance_matrix
        tensor([[1., 2.],
                [2., 5.]])

    References:
        Koller and Friedman, Probabilistic Graphical Models, 2009, section 7.2,
        https://mitpress.mit.edu/9780262013192.
    """

    context_dim = 0
    edges: Tensor
    edge_weights: Tensor
    loc: Tensor

    def __init__(
        self,
        parents: Sequence[Sequence[int]],
        *,
        weights: Tensor | None = None,
        scale: float | Tensor = 1.0,
        learn: bool | None = None,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        pairs = _edges(parents)
        self.latent_dim = dim = len(parents)
        self.scale = ScaleParameter(scale, (dim,), learn=learn_scale)
        edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
        self.register_buffer("edges", edges)
        values = torch.zeros(len(pairs))
        if weights is not None:
            values = _edge_weights(weights, edges, dim)
        if weights is None if learn is None else learn:
            self.edge_weights = nn.Parameter(values)
        else:
            self.register_buffer("edge_weights", values)
        self.register_buffer("loc", torch.zeros(dim))

    def weights(self) -> Tensor:
        """The weights, ``(D, D)``: row d holds those of the parents of d."""
        values = full_precision(self.edge_weights)
        empty = values.new_zeros(self.latent_dim, self.latent_dim)
        return empty.index_put((self.edges[0], self.edges[1]), values)

    def forward(self, context: Tensor | None = None) -> MultivariateNormal:
        """The prior, of batch shape ``()``."""
        scale, weights = self.scale(), self.weights()
        identity = torch.eye(self.latent_dim, dtype=weights.dtype, device=weights.device)
        # z = A ε with A = (I - W)⁻¹ diag σ; A Aᵀ = Rᵀ R for Aᵀ = Q R, and Rᵀ is lower triangular:
        # squaring A first, as a Cholesky factorisation would, doubles its condition number
        root = torch.linalg.solve(identity - weights, torch.diag_embed(scale))
        factor = torch.linalg.qr(root.mT).R.mT
        factor = factor * factor.diagonal().sign()
        loc = full_precision(self.loc)
        return MultivariateNormal(loc, scale_tril=factor, validate_args=False)


def _cholesky(covariance: Tensor, dim: int) -> Tensor:
    if not isinstance(covariance, Tensor) or covariance.shape != (dim, dim):
        named = isinstance(covariance, Tensor)
        given = tuple(covariance.shape) if named else type(covariance).__name__
        raise ValueError(
            f"Expected covariance to be a tensor of shape ({dim}, {dim}), but got {given}; "
            f"pass one row for each latent dimension."
        )
    if covariance.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"Expected covariance in float32 or float64, but got {covariance.dtype}; convert it "
            f"with covariance.double(), and best compute it in that precision."
        )
    covariance = covariance.detach()
    factor, info = torch.linalg.cholesky_ex(covariance)
    # a difference counts beside the standard deviations of its row and column
    deviations = covariance.diagonal().sqrt()
    difference = (covariance - covariance.mT).abs()
    symmetric = (difference <= 1e-5 * deviations.outer(deviations)).all()
    factor = as_constant(factor)
    if info or not symmetric or not (torch.isfinite(factor).all() and factor.diagonal().all()):
        raise ValueError(
            "Expected covariance to be symmetric and positive definite, but got one that is not; "
            "add a small multiple of the identity."
        )
    return factor


def _edges(parents: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Pairs (child, parent), if they make no cycle."""
    if not isinstance(parents, Sequence) or not parents or isinstance(parents, str):
        raise ValueError(
            f"Expected parents to be a sequence with the parents of each dimension, but got "
            f"{parents!r:.60}; write e.g. parents=[(), (0,), (0, 1)]."
        )
    dim = len(parents)
    edges = []
    for child, given in enumerate(parents):
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise TypeError(
                f"Expected each entry of parents to be a sequence of dimensions, but got "
                f"{given!r:.60} for dimension {child}; write () for none and e.g. (0,) for one."
            )
        for value in given:
            parent = check_int(value, "each of parents", minimum=0)
            if parent >= dim:
                raise ValueError(
                    f"Expected parents between 0 and {dim - 1}, but got {parent} for dimension "
                    f"{child}; give one entry of parents for each dimension."
                )
            edges.append((child, parent))
    if len(set(edges)) < len(edges):
        raise ValueError(
            "Expected each parent of a dimension once, but got one twice; remove the repetition."
        )
    left = set(range(dim))
    while left:
        roots = {d for d in left if not any((d, a) in set(edges) for a in left)}
        if not roots:
            raise ValueError(
                f"Expected an acyclic graph, but the dimensions {sorted(left)} contain a cycle; "
                f"remove one of its edges."
            )
        left -= roots
    return edges


def _edge_weights(weights: Tensor, edges: Tensor, dim: int) -> Tensor:
    if not isinstance(weights, Tensor) or weights.shape != (dim, dim):
        given = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(
            f"Expected weights to be a tensor of shape ({dim}, {dim}), but got {given}; "
            f"pass one row for each dimension, with the weights of its parents."
        )
    table = as_constant(weights)
    values = table[edges[0], edges[1]]
    if not torch.isfinite(values).all() or table.count_nonzero() != values.count_nonzero():
        raise ValueError(
            "Expected weights to be finite, and 0 where there is no edge, but got others; "
            "name the parent in parents, or set its weight to 0."
        )
    return values
