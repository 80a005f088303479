"""Bad input gets one sentence; what a score carries; what the package imports."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from disvae.metrics import (
    NotDefinedError,
    carried_factors,
    factor_vae_score,
    mig,
    report,
)

CODES = np.random.default_rng(0).normal(size=(30, 3))
FACTORS = np.arange(30).reshape(-1, 1) % np.array([[2, 3]])
NAN, INF = CODES.copy(), CODES.copy()
NAN[4, 1], INF[7, 2] = np.nan, np.inf
INFINITE_FACTORS = FACTORS.astype(float)
INFINITE_FACTORS[3, 1] = -np.inf

BAD_ARRAYS = {
    "one-dimensional codes": (CODES[:, 0], FACTORS, {}, ValueError, r"codes\.reshape\(-1, 1\)"),
    "one-dimensional factors": (CODES, FACTORS[:, 0], {}, ValueError, r"factors\.reshape\(-1, 1\)"),
    "three-dimensional codes": (CODES[None], FACTORS, {}, ValueError, r"\(1, 30, 3\)"),
    "different length": (CODES[:20], FACTORS, {}, ValueError, "20 and 30"),
    "no rows": (CODES[:0], FACTORS[:0], {}, ValueError, r"\(0, 3\)"),
    "no codes": (CODES[:, :0], FACTORS, {}, ValueError, r"\(30, 0\)"),
    "no factors": (CODES, FACTORS[:, :0], {}, ValueError, r"\(30, 0\)"),
    "NaN in codes": (NAN, FACTORS, {}, ValueError, "row 4, column 1"),
    "infinity in codes": (INF, FACTORS, {}, ValueError, "row 7, column 2"),
    "infinity in factors": (CODES, INFINITE_FACTORS, {}, ValueError, "row 3, column 1"),
    "strings": (CODES, np.full((30, 2), "a"), {}, TypeError, "dtype <U1"),
    "objects": (np.full((30, 2), None), FACTORS, {}, TypeError, "dtype object"),
    "complex codes": (CODES + 0j, FACTORS, {}, TypeError, "complex128"),
    "ragged rows": ([[1.0], [1.0, 2.0]], FACTORS, {}, TypeError, "list"),
    "gradient": (torch.ones(30, 3, requires_grad=True), FACTORS, {}, TypeError, "detach"),
    "range beyond float64": (CODES / abs(CODES).max() * 1.7e308, FACTORS, {}, ValueError, "range"),
    "constant factor": (CODES, FACTORS * [1, 0], {}, ValueError, "only the value 0 in .* column 1"),
    "unknown factor": (CODES, FACTORS * [np.nan, 1], {}, ValueError, "no value at all in .* col"),
    "one row": (CODES[:1], FACTORS[:1], {}, ValueError, "factor column 0"),
    "too few flags": (CODES, FACTORS, {"discrete": [True]}, ValueError, "2 factors"),
    "flags that are no bools": (CODES, FACTORS, {"discrete": [0, 1]}, TypeError, "one bool per"),
    "negative seed": (CODES, FACTORS, {"rng": -1}, ValueError, "rng"),
    "seed that is no int": (CODES, FACTORS, {"rng": 0.5}, TypeError, "float"),
    "no seed": (CODES, FACTORS, {"rng": None}, TypeError, "NoneType"),
}


@pytest.mark.parametrize("metric", [mig, factor_vae_score, carried_factors, report])
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_input_gets_one_sentence(metric, case):
    codes, factors, settings, error, words = BAD_ARRAYS[case]
    with pytest.raises(error, match=words) as caught:
        metric(codes, factors, **settings)
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert "\n" not in message
    assert 25 <= len(message) <= 400


@pytest.mark.parametrize(("bins", "error"), [(1, ValueError), (20.0, TypeError), (True, TypeError)])
def test_bins_out_of_range(bins, error):
    for name in ("bins", "factor_bins"):
        with pytest.raises(error, match=rf"Expected {name} to be"):
            mig(CODES, FACTORS, **{name: bins})


@pytest.mark.parametrize("metric", [mig, factor_vae_score])
def test_tensors_and_lists_are_arrays(metric):
    score = metric(CODES, FACTORS)
    assert metric(torch.from_numpy(CODES), torch.from_numpy(FACTORS)) == score
    assert metric(CODES.tolist(), FACTORS.tolist()) == score


def test_half_precision_tensor_that_numpy_lacks():
    with pytest.raises(TypeError, match=r"float\(\)\.numpy\(\)"):
        mig(torch.ones(30, 3, dtype=torch.bfloat16), FACTORS)


@pytest.mark.parametrize("metric", [mig, factor_vae_score])
def test_a_score_is_a_float(metric):
    score = metric(CODES, FACTORS)
    assert isinstance(score, float)
    assert type(score.score) is float
    assert type(float(score)) is float
    assert score == score.score
    assert {score: 1}[score.score] == 1
    assert type(score + 1) is float
    assert json.loads(json.dumps(score)) == score.score
    assert np.asarray([score]).dtype == np.float64
    assert f"{score:.2f}" == f"{score.score:.2f}"
    assert repr(score) == f"{score.name} {score.score:.4f} (N=30, D=3, K=2)"


@pytest.mark.parametrize("metric", [mig, factor_vae_score])
@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_a_score_keeps_its_details_when_copied(metric, clone):
    score = metric(CODES, FACTORS)
    again = clone(score)
    assert type(again) is type(score)
    assert again == score
    assert again.provenance == score.provenance
    for field in ("per_factor", "information", "entropy", "votes", "factor_of_code"):
        if hasattr(score, field):
            np.testing.assert_array_equal(getattr(again, field), getattr(score, field))


def test_a_score_cannot_be_changed():
    score = mig(CODES, FACTORS)
    with pytest.raises(AttributeError):
        score.per_factor = np.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        score.per_factor[0] = 1.0


def test_provenance_says_how_it_was_made():
    entry = mig(np.column_stack([CODES, np.ones(30)]), FACTORS, bins=7).provenance
    expected = {"metric": "mig", "bins": 7, "normaliser": "factor entropy", "n": 30, "codes": 4}
    assert expected.items() <= entry.items()
    assert entry["dropped"] == [3]
    assert entry["versions"]["numpy"] == np.__version__
    entry = factor_vae_score(CODES, FACTORS, rng=np.int64(5), eval_votes=100).provenance
    assert {
        "seed": 5,
        "eval_votes": 100,
        "batch_size": 64,
        "min_std": None,
    }.items() <= entry.items()
    json.dumps(entry)


def test_not_defined_is_a_value_error_that_pickles():
    error = pickle.loads(pickle.dumps(NotDefinedError("Expected more.", reason="too few")))
    assert isinstance(error, ValueError)
    assert (str(error), error.reason) == ("Expected more.", "too few")


def test_importing_the_metrics_does_not_load_torch():
    program = (
        "import sys, disvae.metrics; "
        "sys.exit(str([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
