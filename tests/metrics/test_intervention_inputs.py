"""Bad and thin input to the interventions and to the metrics of codes alone."""

import contextlib
import copy
import io
import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from disvae.metrics import (
    NotDefinedError,
    Score,
    beta_vae_score,
    factor_vae_score,
    gaussian_total_correlation,
    gaussian_wasserstein,
    hoyer_sparsity,
    irs,
    match,
    omes,
    report,
    rf_vae_score,
    udr,
)

INTERVENTIONS = [beta_vae_score, factor_vae_score, rf_vae_score, irs, omes]
LABEL_FREE = [gaussian_total_correlation, gaussian_wasserstein, hoyer_sparsity]

CODES = np.random.default_rng(0).normal(size=(60, 3))
FACTORS = np.arange(60).reshape(-1, 1) // np.array([[1, 3]]) % np.array([[3, 4]])
NAN, INF = CODES.copy(), CODES.copy()
NAN[4, 1], INF[7, 2] = np.nan, np.inf
INFINITE_FACTORS = FACTORS.astype(float)
INFINITE_FACTORS[3, 1] = -np.inf

BAD_ARRAYS = {
    "one-dimensional codes": (CODES[:, 0], FACTORS, {}, ValueError, r"codes\.reshape\(-1, 1\)"),
    "different length": (CODES[:20], FACTORS, {}, ValueError, "20 and 60"),
    "no rows": (CODES[:0], FACTORS[:0], {}, ValueError, r"\(0, 3\)"),
    "no codes": (CODES[:, :0], FACTORS, {}, ValueError, r"\(60, 0\)"),
    "NaN in codes": (NAN, FACTORS, {}, ValueError, "row 4, column 1"),
    "infinity in factors": (CODES, INFINITE_FACTORS, {}, ValueError, "row 3, column 1"),
    "strings": (CODES, np.full((60, 2), "a"), {}, TypeError, "dtype <U1"),
    "constant factor": (CODES, FACTORS * [1, 0], {}, ValueError, "factor column 1"),
    "one row": (CODES[:1], FACTORS[:1], {}, ValueError, "factor column 0"),
    "too few flags": (CODES, FACTORS, {"discrete": [True]}, ValueError, "2 factors"),
    "seed that is no int": (CODES, FACTORS, {"rng": 0.5}, TypeError, "float"),
}


def check_sentence(error):
    message = str(error)
    assert message.startswith("Expected ")
    assert "\n" not in message
    assert 25 <= len(message) <= 400


@pytest.mark.parametrize("metric", INTERVENTIONS)
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_input_gets_one_sentence(metric, case):
    codes, factors, settings, error, words = BAD_ARRAYS[case]
    with pytest.raises(error, match=words) as caught:
        metric(codes, factors, **settings)
    check_sentence(caught.value)


@pytest.mark.parametrize("metric", LABEL_FREE)
@pytest.mark.parametrize(
    ("codes", "error", "words"),
    [
        (CODES[:, 0], ValueError, "one-dimensional"),
        (CODES[:0], ValueError, r"\(0, 3\)"),
        (NAN, ValueError, "row 4, column 1"),
        (INF, ValueError, "row 7, column 2"),
        (np.full((5, 2), "a"), TypeError, "dtype <U1"),
    ],
)
def test_bad_codes_get_one_sentence(metric, codes, error, words):
    with pytest.raises(error, match=words) as caught:
        metric(codes)
    check_sentence(caught.value)


def thin_arrays():
    rng = np.random.default_rng(0)
    factors = np.stack(np.meshgrid(range(2), range(3)), axis=-1).reshape(-1, 2)
    codes = rng.normal(size=(6, 3))
    lonely = np.vstack([factors, [[5, 7]]])
    return {
        "one code": (codes[:, :1], factors),
        "one code that is constant": (np.ones((6, 1)), factors),
        "one factor": (codes, factors[:, :1]),
        "two rows": (codes[:2], np.array([[0, 0], [1, 1]])),
        "two rows of one factor": (codes[:2], np.array([[0], [1]])),
        "fewer rows than bins": (codes, rng.uniform(size=(6, 2))),
        "a class with one member": (np.vstack([codes, [[9.0, 9, 9]]]), lonely),
        "duplicated codes": (np.hstack([codes, codes]), factors),
        "duplicated rows": (np.repeat(codes, 3, axis=0), np.repeat(factors, 3, axis=0)),
        "duplicated factors": (codes, factors[:, [0, 0]]),
        "codes of whole numbers": (rng.integers(2, size=(6, 2)), factors),
        "codes of both extremes": (codes * [1e-300, 1.0, 1e300], factors),
        "mostly missing": (
            np.vstack([codes, codes]),
            np.vstack([factors, np.full((6, 2), np.nan)]),
        ),
        "never known together": (codes, np.where([[1, 0]] * 3 + [[0, 1]] * 3, factors, np.nan)),
    }


@pytest.mark.parametrize("metric", INTERVENTIONS)
@pytest.mark.parametrize("case", thin_arrays())
def test_thin_input_gives_a_value_or_a_sentence(metric, case):
    codes, factors = thin_arrays()[case]
    try:
        score = metric(codes, factors)
    except NotDefinedError as error:
        check_sentence(error)
    else:
        low, high = score.bounds
        assert low <= score <= high
        json.dumps(score.provenance)


@pytest.mark.parametrize("metric", INTERVENTIONS)
def test_tensors_lists_and_half_precision_are_arrays(metric):
    score = metric(CODES, FACTORS)
    assert metric(torch.from_numpy(CODES), torch.from_numpy(FACTORS)) == score
    assert metric(CODES.tolist(), FACTORS.tolist()) == score
    assert 0 <= metric(CODES.astype(np.float16), FACTORS.astype(np.float32)) <= 1


@pytest.mark.parametrize("metric", INTERVENTIONS)
def test_arguments_are_left_alone(metric):
    codes, factors = CODES.copy(), FACTORS.astype(float)
    codes.setflags(write=False)
    factors.setflags(write=False)
    metric(codes, factors)
    np.testing.assert_array_equal(codes, CODES)


@pytest.mark.parametrize("metric", INTERVENTIONS)
def test_a_score_keeps_its_details_when_copied(metric):
    score = metric(CODES, FACTORS)
    assert isinstance(score, Score)
    for again in (copy.deepcopy(score), pickle.loads(pickle.dumps(score))):
        assert type(again) is type(score)
        assert again == score
        assert again.provenance == score.provenance
    arrays = [value for value in vars(score).values() if isinstance(value, np.ndarray)]
    assert arrays
    for array in arrays:
        assert array.flags.writeable is False
        assert not np.isnan(array).any()


def test_provenance_says_how_it_was_made():
    entry = beta_vae_score(CODES, FACTORS, rng=np.int64(5), eval_votes=100, standardise=True)
    expected = {"metric": "beta_vae_score", "seed": 5, "eval_votes": 100, "standardise": True}
    assert expected.items() <= entry.provenance.items()
    entry = irs(CODES, FACTORS, quantile=1).provenance
    assert {"metric": "irs", "quantile": 1.0, "seed": None, "n": 60}.items() <= entry.items()
    entry = omes(CODES, FACTORS, alpha=1, one_sided=True).provenance
    assert {"metric": "omes", "alpha": 1.0, "one_sided": True}.items() <= entry.items()
    entry = rf_vae_score(CODES, FACTORS, min_std=0.05).provenance
    assert {"metric": "rf_vae_score", "min_std": 0.05, "batch_size": 64}.items() <= entry.items()


def test_a_report_takes_them():
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(300, 2))
    result = report(factors + 0.1, factors, metrics=INTERVENTIONS, intervals=False)
    for row in result.metrics:
        assert row.score > 0.5
        assert row.chance < row.score - 0.05


def test_results_do_not_depend_on_the_process():
    """Nor on its hash seed and number of threads."""
    program = (
        "import numpy as np; from disvae.metrics import beta_vae_score, rf_vae_score, omes;"
        "rng = np.random.default_rng(0); v = rng.integers(4, size=(500, 3));"
        "z = v @ rng.normal(size=(3, 4)) + rng.normal(size=(500, 4));"
        "print([f(z, v).score for f in (beta_vae_score, rf_vae_score, omes)])"
    )
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(program, {})
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"},
    )
    assert elsewhere.stdout == here.getvalue()


def test_no_warning_escapes_where_the_classifier_has_work_to_do():
    """Mixed codes of unequal scale: scikit-learn's solver does not converge on them."""
    rng = np.random.default_rng(0)
    factors = rng.integers(6, size=(2000, 4))
    codes = (factors @ rng.normal(size=(4, 6)) + rng.normal(size=(2000, 6))) * [1, 1, 1, 50, 50, 9]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.25 < beta_vae_score(codes, factors) <= 1
        udr([codes, codes[:, ::-1], codes**3])
        match(codes, codes**3)
