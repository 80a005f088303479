"""Which metrics a report takes, by name, by function or as published."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper
from typing import Any

from numpy.typing import ArrayLike

from disvae.metrics.arrays import Discrete, Rng, check_arrays, resolve_rng
from disvae.metrics.axis_alignment import aam
from disvae.metrics.beta_vae import beta_vae_score
from disvae.metrics.code_gap import dcimig, mig_sup
from disvae.metrics.dci import dci
from disvae.metrics.dci_es import dci_es
from disvae.metrics.encoding import omes
from disvae.metrics.explicitness import explicitness
from disvae.metrics.factor_vae import factor_vae_score
from disvae.metrics.gap import mig
from disvae.metrics.info_mec import infomec
from disvae.metrics.joint_gap import jemmig
from disvae.metrics.med import med
from disvae.metrics.modular import modularity
from disvae.metrics.ratio import mir
from disvae.metrics.rf_vae import rf_vae_score
from disvae.metrics.robustness import irs
from disvae.metrics.sap import sap

Metric = Callable[..., Any]
"""Called as ``metric(codes, factors, discrete=flags, rng=seed)``; gives a float, or a NamedTuple
whose floats are its values."""

STANDARD: dict[str, Metric] = {
    "MIG": mig,
    "modularity": modularity,
    "SAP": sap,
    "DCI": dci,
    "β-VAE score": beta_vae_score,
    "FactorVAE score": factor_vae_score,
}
"""The six of the large comparison of 2019, and rows of the standard report."""

ALL: dict[str, Metric] = STANDARD | {
    "MIG-sup": mig_sup,
    "DCIMIG": dcimig,
    "JEMMIG": jemmig,
    "AAM": aam,
    "MIR": mir,
    "InfoMEC": infomec,
    "explicitness": explicitness,
    "MED": med,
    "IRS": irs,
    "RF-VAE score": rf_vae_score,
    "OMES": omes,
}
"""Every metric of codes and factors but DCI-ES, which fits models of growing size for seconds."""

_TITLES: dict[str, Metric] = ALL | {"DCI-ES": dci_es}

_TRAIN, _TEST = 10_000, 5_000


class _OnRows:
    """A metric on some rows drawn at random, all different."""

    def __init__(self, metric: Metric, rows: int) -> None:
        self.metric, self.rows = metric, rows
        update_wrapper(self, metric)

    def __call__(
        self, codes: ArrayLike, factors: ArrayLike, *, discrete: Discrete, rng: Rng
    ) -> Any:
        arrays = check_arrays(codes, factors, discrete)
        generator, _ = resolve_rng(rng)
        chosen = generator.permutation(len(arrays.codes))[: self.rows]
        flags = arrays.discrete
        return self.metric(arrays.codes[chosen], arrays.factors[chosen], discrete=flags, rng=rng)


def locatello2019() -> dict[str, Metric]:
    """The standard metrics with the settings of the large comparison of 2019.

    SAP alone differs: that study's linear support vector machine depends on the scale of a code
    and fails on perfect ones, so that :func:`sap` keeps its threshold classifier, on as many rows.

    References:
        - Challenging Common Assumptions in the Unsupervised Learning of Disentangled
          Representations (Locatello et al., 2019), https://arxiv.org/abs/1811.12359, appendix B
    """
    return {
        "MIG": _OnRows(partial(mig, bins=20), _TRAIN),
        "modularity": _OnRows(partial(modularity, bins=20), _TRAIN),
        "SAP": _OnRows(partial(sap, test_share=_TEST / (_TRAIN + _TEST)), _TRAIN + _TEST),
        "DCI": partial(dci, estimator="gbt-exact", train_rows=_TRAIN, test_rows=_TEST),
        "β-VAE score": partial(beta_vae_score, train_votes=_TRAIN, eval_votes=_TEST, batch_size=64),
        "FactorVAE score": partial(
            factor_vae_score,
            train_votes=_TRAIN,
            eval_votes=_TEST,
            batch_size=64,
            min_std=0.05,
        ),
    }


def chosen(
    metrics: str | Mapping[str, Metric] | Sequence[str | Metric], preset: str | None
) -> dict[str, Metric]:
    """The metrics of a report by the names of their rows.

    Raises:
        TypeError: If an entry is no metric.
        ValueError: If a name is unknown, or two metrics have one name.
    """
    if preset is not None:
        if preset != "locatello2019":
            raise ValueError(
                f"Expected preset to be 'locatello2019' or None, but got {preset!r:.60}; "
                "choose metrics= instead."
            )
        if metrics != "standard":
            raise ValueError(
                "Expected either preset or metrics, but got both; a preset chooses the metrics "
                "and their settings, so leave metrics= out."
            )
        return locatello2019()
    if isinstance(metrics, str):
        suites = {"standard": STANDARD, "all": ALL}
        if metrics not in suites:
            raise ValueError(
                f"Expected metrics to be 'standard', 'all', or a list, but got {metrics!r:.40}; "
                f"pass a list such as ['mig'] from {_names()}."
            )
        return dict(suites[metrics])
    if isinstance(metrics, Mapping):
        named = [(str(name), metric) for name, metric in metrics.items()]
    elif isinstance(metrics, list | tuple):
        named = [_named(metric) for metric in metrics]
    else:
        named = []
    if not named:
        raise TypeError(
            "Expected metrics to be 'standard', 'all', a list of metrics or a mapping to them, "
            f"but got {metrics!r:.60}; pass for instance [metrics.mig]."
        )
    found: dict[str, Metric] = {}
    for name, metric in named:
        if not callable(metric):
            raise TypeError(
                "Expected functions metric(codes, factors, *, discrete, rng), but got "
                f"{metric!r:.80}; pass for instance [metrics.mig]."
            )
        if name in found:
            raise ValueError(
                f"Expected metrics of different names, but got {name!r} twice; pass a mapping "
                "such as {'MIG, 50 bins': functools.partial(mig, bins=50)}."
            )
        found[name] = metric
    return found


def _names() -> str:
    return ", ".join(metric.__name__ for metric in _TITLES.values())


def _named(metric: str | Metric) -> tuple[str, Metric]:
    """The row's name and the function of an entry that is either."""
    titles = {function: title for title, function in _TITLES.items()}
    if isinstance(metric, str):
        functions = {function.__name__: function for function in titles} | _TITLES
        if metric not in functions:
            raise ValueError(
                f"Expected the name of a metric, but got {metric!r:.40}; there are {_names()}."
            )
        return titles[functions[metric]], functions[metric]
    if callable(metric):
        name = titles.get(metric) or getattr(metric, "__name__", None)
        if name is None:
            raise ValueError(
                "Expected metric functions with names, but got "
                f"{metric!r:.80} without one; pass a mapping such as "
                "{'MIG, 50 bins': functools.partial(mig, bins=50)}."
            )
        return str(name), metric
    return repr(metric), metric
