"""The sparsity of codes and of posterior samples, beside that of the prior."""

import dataclasses
import numbers
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from disvae.distributions import point
from disvae.evaluation.divergences import Signal
from disvae.evaluation.feeding import Context, Data
from disvae.evaluation.findings import Estimate, PartlyDefined, listing
from disvae.evaluation.points import encoded
from disvae.metrics import NotDefinedError, hoyer_sparsity
from disvae.model import VAE, evaluating
from disvae.nn import full_precision

_PRIOR_SAMPLES = 10_000


@dataclasses.dataclass(frozen=True, eq=False)
class Sparsity(PartlyDefined):
    """What :func:`sparsity` finds; it prints as a table.

    Attributes:
        data: The number N of data.
        dimensions: The latent dimensions that carry a signal.
        codes: The Hoyer sparsity of the codes in these dimensions, or None where fewer than two
            carry one.
        codes_gaussian: That of as many independent normal numbers, or None.
        samples: That of one posterior sample of each datum in all dimensions, or None where fewer
            than two vary.
        gaussian: That of normal numbers in all dimensions, or None.
        prior: That of the prior's own draws: what ``samples`` have where q(z) is the prior; or
            None.
        not_defined: Why fields are None, by the name of the field.
    """

    data: int
    dimensions: tuple[int, ...]
    codes: Estimate | None
    codes_gaussian: float | None
    samples: Estimate | None
    gaussian: float | None
    prior: Estimate | None
    not_defined: Mapping[str, str]

    def __str__(self) -> str:
        """A table for the terminal."""
        kept = f"{len(self.dimensions)} dimensions with a signal"
        rows = [
            ("data", f"{self.data:,}"),
            ("codes", f"{self.cell('codes')}, {kept}"),
            ("  Gaussian", self.cell("codes_gaussian")),
            ("samples", f"{self.cell('samples')}, all dimensions"),
            ("  Gaussian", self.cell("gaussian")),
            ("  prior", self.cell("prior")),
        ]
        return listing(rows)


def sparsity(
    model: VAE,
    data: Data,
    *,
    threshold: float = 0.01,
    context: Context = None,
    batch_size: int = 512,
) -> Sparsity:
    r"""How sparse the latents are: the structure of a sparse prior.

    .. math::

        \mathrm{Hoyer}(z) = \frac{\sqrt D - \|\bar z\|_1 / \|\bar z\|_2}{\sqrt D - 1}, \qquad
        \bar z_d = z_d / \sigma(z_d)

    the mean over the data, by :func:`disvae.metrics.hoyer_sparsity`: 1 where each datum uses one
    dimension. It divides every dimension by its standard deviation, so the codes of a collapsed
    one, which differ by a thousandth of its posterior's scale, would be blown up to full noise.
    Codes are therefore measured in the dimensions that carry a signal, a part
    :math:`\mathrm{Var}_x(\mu) / (\mathrm{Var}_x(\mu) + E_x \sigma^2)` of their variance that lies
    between data; posterior samples, where a collapsed dimension is noise of the size of the prior,
    in all. Normal numbers are not at 0 and their value depends on D, so each stands beside its own.

    Args:
        model: The model.
        data: A tensor ``(N, *event)``, a data set, or a loader, of data x or of pairs (x, y).
        threshold: The signal from which on a dimension's codes count, from 0 to 1.
        context: As in :func:`encode`.
        batch_size: How many data are taken at once (a loader brings its own).

    Raises:
        ValueError: If ``threshold`` is not between 0 and 1, or the data are empty or do not fit.

    Example:
        >>> import torch, disvae
        >>> from disvae import decoders, encoders, evaluation, priors
        >>> model = disvae.VAE(encoders.MLP(8, 5), decoders.MLP(5, 8), prior=priors.Sparse(5))
        >>> found = evaluation.sparsity(model, torch.rand(100, 8))
        >>> found.samples < found.prior  # untrained posteriors are not sparse
        True

    References:
        Mathieu et al., Disentangling Disentanglement in Variational Autoencoders, 2019,
        https://arxiv.org/abs/1812.02833, section 5.3. Hurley and Rickard, Comparing Measures of
        Sparsity, 2009, https://arxiv.org/abs/0811.4706.
    """
    if not isinstance(threshold, numbers.Real) or not 0 <= threshold <= 1:
        raise ValueError(
            f"Expected threshold to be a number from 0 to 1, but got {threshold!r:.60}; 0.01 "
            f"leaves out dimensions whose posteriors hardly differ between data."
        )
    with evaluating(model):
        q, p, _ = encoded(model, data, context, batch_size)
        kept = Signal.of(q).signal >= threshold
        codes = torch.cat([full_precision(point(part)).cpu() for part in q.parts])
        samples = torch.cat([full_precision(part.sample()).cpu() for part in q.parts])
        prior = full_precision(p.sample(torch.Size((_PRIOR_SAMPLES,)))).cpu()
    reasons: dict[str, str] = {}
    few = "one dimension carries a signal" if kept.any() else "0 dimensions carry a signal"
    of_codes, gaussian_of_codes = _hoyer(codes[:, kept], reasons, few, "codes", "codes_gaussian")
    few = "there is one dimension"
    of_samples, gaussian = _hoyer(samples, reasons, few, "samples", "gaussian")
    of_prior, _ = _hoyer(prior, reasons, few, "prior")
    return Sparsity(
        data=q.size,
        dimensions=tuple(torch.nonzero(kept).flatten().tolist()),
        codes=None if of_codes is None else Estimate(of_codes),
        codes_gaussian=gaussian_of_codes,
        samples=of_samples,
        gaussian=gaussian,
        prior=of_prior,
        not_defined=reasons,
    )


def _hoyer(
    values: Tensor, reasons: dict[str, str], few: str, *fields: str
) -> tuple[Estimate | None, float | None]:
    """The sparsity of rows and its baseline, or the reason why there is none, for some fields."""
    if values.shape[1] < 2:
        reasons.update(dict.fromkeys(fields, few))
        return None, None
    try:
        found = hoyer_sparsity(values.numpy())
    except NotDefinedError as undefined:
        reasons.update(dict.fromkeys(fields, undefined.reason))
        return None, None
    rows = found.per_row[~np.isnan(found.per_row)]
    error = float(rows.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else float("nan")
    return Estimate(float(found), error), found.gaussian
