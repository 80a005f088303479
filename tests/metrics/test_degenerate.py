"""Arrays at the edge of what is defined: a value, or one sentence, and never a surprise."""

import functools
import inspect
import json
import warnings
from typing import get_type_hints

import numpy as np
import pytest

from disvae import metrics


def metric_functions():
    """Every function of codes that returns one or more values, by name."""
    found = {}
    for name in metrics.__all__:
        function = getattr(metrics, name)
        if inspect.isfunction(function) and "codes" in inspect.signature(function).parameters:
            returned = get_type_hints(function)["return"]
            if isinstance(returned, type) and issubclass(returned, metrics.Score | tuple):
                found[name] = function
    return found


METRICS = metric_functions()
LABELLED = {name for name in METRICS if "factors" in inspect.signature(METRICS[name]).parameters}
VOTES = {"beta_vae_score", "factor_vae_score"}
PAIRS = {"rf_vae_score", "omes"}  # of rows that differ in one factor alone
CLASSES = {"sap", "explicitness"}  # of two rows, one to fit on and one to test on
FITS = {"dci", "dci_es"}
CHOICES = VOTES | {"rf_vae_score", "modularity", "mir", "infomec"}  # between factors
ALIKE = VOTES | PAIRS | CLASSES | {"infomec"}  # rows that share a value

METRICS["dci, lasso"] = functools.partial(metrics.dci, estimator="lasso")
METRICS["mig, neighbours"] = functools.partial(metrics.mig, estimator=metrics.Neighbours())
METRICS["dci_es"] = functools.partial(metrics.dci_es, depths=(1, 2, 4))

N = 36
RNG = np.random.default_rng(0)
FACTORS = RNG.permutation(np.tile(np.indices((3, 4)).reshape(2, -1).T, (3, 1)))
CODES = np.column_stack([FACTORS + 0.3 * RNG.normal(size=(N, 2)), RNG.normal(size=N)])
FIRST = np.arange(N)[:, None] == 0
COUNT = np.arange(N)[:, None]
GAPS = FACTORS.astype(float)
GAPS[::5, 0] = GAPS[2::7, 1] = np.nan

REGULAR = {
    "constant code": (np.insert(CODES, 1, 0.7, axis=1), FACTORS),
    "copies": (np.hstack([CODES, CODES, 2 * CODES]), FACTORS),
    "one code several times": (CODES[:, [0, 0, 0]], FACTORS),
    "missing values": (CODES, GAPS),
    "codes of two values": (CODES > 1, FACTORS),
    "codes of one value but for a row": (np.hstack([CODES, FIRST]), FACTORS),
    "code of rounding noise": (
        np.column_stack([CODES, 1 + np.spacing(1) * RNG.integers(2, size=N)]),
        FACTORS,
    ),
    "one-hot codes": (FACTORS[:, :1] == np.arange(3), FACTORS),
    "outlier": (np.where(FIRST, 1e100, CODES), FACTORS),
    "codes of all scales": (CODES * [1e300, 1e-300, 1], FACTORS),
    "codes of 1e300": (CODES * 1e300, FACTORS),
    "codes of 1e-300": (CODES * 1e-300, FACTORS),
    "subnormal codes": (np.rint(9 * CODES) * 5e-324, FACTORS),
    "factors of 1e300": (CODES, FACTORS * 1e300),
    "factors of 1e-300": (CODES, FACTORS * 1e-300),
    "factors beyond 2**53": (CODES, FACTORS * 2**61),
    "continuous factors of 1e-300": (CODES, RNG.integers(900, size=(N, 2)) * 1e-300),
    "more codes than rows": (RNG.normal(size=(N, 40)), FACTORS),
}
"""What every metric takes, but for the cases below."""

THIN = {
    "constant factor": (CODES, FACTORS * [1, 0]),
    "factor never known": (CODES, np.where([True, False], FACTORS, np.nan)),
    "one row": (CODES[:1], FACTORS[:1]),
    "two rows": (CODES[:2], np.array([[0, 1], [1, 0]])),
    "three rows": (CODES[:3], np.array([[0, 1], [1, 0], [1, 1]])),
    "fewer rows than bins": (CODES[:15], FACTORS[:15]),
    "class of one row": (CODES, np.where(FIRST, 9, FACTORS)),
    "classes of two rows": (CODES, np.hstack([FACTORS[:, :1], COUNT // 2])),
    "whole numbers, all different": (CODES, np.hstack([FACTORS[:, :1], COUNT])),
    "fractions, all different": (CODES, np.hstack([FACTORS[:, :1], COUNT / 7])),
    "never known together": (CODES, np.where((COUNT % 2 == 0) == [True, False], FACTORS, np.nan)),
    "known at three rows": (CODES, np.where((COUNT < 3) | [True, False], COUNT % 3, np.nan)),
    "code constant where known": (
        (COUNT < 10) * CODES[:, :1],
        np.where((COUNT >= 10) | [True, False], FACTORS, np.nan),
    ),
    "one factor twice": (CODES, FACTORS[:, [0, 0]]),
    "one factor": (CODES, FACTORS[:, :1]),
    "one code": (CODES[:, :1], FACTORS),
    "one code, one factor": (CODES[:, :1], FACTORS[:, :1]),
    "all codes constant": (np.full((N, 3), 0.7), FACTORS),
}
CASES = REGULAR | THIN

REFUSED = {
    "constant factor": LABELLED,
    "factor never known": LABELLED,
    "one row": LABELLED | {"hoyer_sparsity"},
    "two rows": ALIKE | FITS,
    "three rows": CLASSES | FITS,
    "whole numbers, all different": ALIKE,
    "never known together": PAIRS,
    "known at three rows": ALIKE | FITS,
    "one factor twice": PAIRS,
    "one factor": CHOICES,
    "one code": {"hoyer_sparsity"},
    "code constant where known": {"hoyer_sparsity"},
    "one code, one factor": CHOICES | {"hoyer_sparsity"},
    "all codes constant": {"hoyer_sparsity", "dci_es"},
}
"""Who refuses: those whose definition asks for what is not there. All others give a value."""

WITHOUT_NEIGHBOURS = {"two rows", "known at three rows", "whole numbers, all different"}

INFINITE = {
    ("copies", "gaussian_total_correlation"),
    ("one code several times", "gaussian_total_correlation"),
    ("more codes than rows", "gaussian_total_correlation"),
    ("one-hot codes", "gaussian_total_correlation"),
    ("outlier", "gaussian_total_correlation"),
    ("two rows", "gaussian_total_correlation"),
    ("three rows", "gaussian_total_correlation"),
    ("codes of 1e300", "gaussian_wasserstein"),
}
"""Where infinity is the documented value."""


def run(name, codes, factors):
    arrays = (
        (codes, factors) if "factors" in inspect.signature(METRICS[name]).parameters else (codes,)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return METRICS[name](*arrays)


def floats(result):
    parts = result if isinstance(result, tuple) else [result]
    return [float(part) for part in parts if isinstance(part, float)]


def details(result):
    named = result._asdict() if isinstance(result, tuple) else vars(result)
    return {key: part for key, part in named.items() if isinstance(part, np.ndarray)}


def refuses(case, name):
    refused = REFUSED.get(case, ())
    if name == "mig, neighbours":
        return "mig" in refused or case in WITHOUT_NEIGHBOURS
    return name.split(",")[0] in refused


@pytest.mark.parametrize(
    ("case", "name"),
    [
        # of forests: a quarter of a second each
        pytest.param(
            case, name, marks=[pytest.mark.slow] if (case in REGULAR) & (name == "dci_es") else []
        )
        for case in CASES
        for name in METRICS
    ],
)
def test_a_value_or_a_sentence(name, case, is_clear):
    codes, factors = (np.array(array) for array in CASES[case])
    if refuses(case, name):
        with pytest.raises(metrics.NotDefinedError) as caught:
            run(name, codes, factors)
        is_clear(caught.value)
        assert len(caught.value.reason) <= 60
    else:
        result = run(name, codes, factors)
        values = floats(result)
        if (case, name) in INFINITE:
            assert np.inf in values
            values.remove(np.inf)
        assert np.isfinite(values).all()
        for key, array in details(result).items():
            # a row of zeros is neither sparse nor dense
            assert key == "per_row" or not np.isnan(array).any(), key
        # S of DCI-ES is factors over codes
        low, high = getattr(result, "bounds", (0, np.inf if name == "dci_es" else 1))
        assert all(low <= value <= high for value in values)
        json.dumps(result.provenance, allow_nan=False)
    for given, original in zip((codes, factors), CASES[case], strict=True):
        np.testing.assert_array_equal(given, original)


WRITTEN = {
    "float32": (lambda codes, factors: (codes.astype(np.float32), factors.astype(np.float32))),
    "int8": (lambda codes, factors: (codes.astype(np.int8), factors.astype(np.uint8))),
    "lists": (lambda codes, factors: (codes.tolist(), factors.tolist())),
    "columns in a row": (
        lambda codes, factors: (np.asfortranarray(codes), np.asfortranarray(factors))
    ),
    "every second of a mirror image": (
        lambda codes, factors: (
            np.repeat(codes[::-1, ::-1], 2, axis=0)[::-2, ::-1],
            np.repeat(factors, 2, axis=0)[::2],
        )
    ),
    "read-only": (lambda codes, factors: tuple(map(read_only, (codes, factors)))),
}


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n == "dci_es" else []) for n in METRICS],
)
def test_how_arrays_are_held_changes_nothing(name):
    codes = np.rint(9 * CODES)
    expected = floats(run(name, codes, FACTORS.astype(float)))
    for written in WRITTEN.values():
        assert floats(run(name, *written(codes, FACTORS))) == pytest.approx(expected, abs=1e-9)
    assert floats(run(name, codes > 4, FACTORS > 1)) == pytest.approx(
        floats(run(name, (codes > 4) * 1.0, (FACTORS > 1) * 1.0)), abs=1e-9
    )


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"beta_vae_score", "gaussian_wasserstein"}))
@pytest.mark.parametrize("scale", [2.0**990, 2.0**-990])
def test_no_common_scale_is_too_large_or_too_small(name, scale):
    """By a power of two, so that nothing is rounded."""
    expected = floats(run(name, CODES, FACTORS))
    assert floats(run(name, scale * CODES, FACTORS)) == pytest.approx(expected, abs=1e-9)


IN_A_REPORT = {
    "constant code",
    "copies",
    "missing values",
    "one-hot codes",
    "codes of all scales",
    "codes of 1e-300",
    *THIN,
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in IN_A_REPORT else [pytest.mark.slow]) for case in CASES],
)
def test_a_report_of_everything(case, is_clear):
    codes, factors = CASES[case]
    everything = {"metrics": "all", "intervals": True, "replicates": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if refuses(case, "mig"):
            with pytest.raises(metrics.NotDefinedError) as caught:
                metrics.report(codes, factors, **everything)
            is_clear(caught.value)
            return
        found = metrics.report(codes, factors, **everything)
    stored = json.loads(found.to_json())
    assert "nan" not in str(found).lower().split()
    for row in found.metrics:
        assert (row.score is None) == (row.reason is not None)
        if row.interval is not None:
            assert row.interval[0] <= row.score <= row.interval[1]
        assert stored["metrics"][row.name]["score"] == row.score
