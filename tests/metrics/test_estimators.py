"""The estimators to choose from: what they bin, what moves them, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from disvae import metrics
from disvae.metrics import EqualFrequency, EqualWidth, Estimator, Neighbours, mig
from disvae.metrics.arrays import check_arrays
from disvae.metrics.discretise import equal_frequency, label_factors

ESTIMATORS = [EqualWidth(), EqualFrequency(), Neighbours()]
CODES = np.random.default_rng(0).normal(size=(60, 3))
FACTORS = np.arange(60).reshape(-1, 1) % np.array([[2, 3]])
ACCEPTING = [
    metrics.mig,
    metrics.mig_sup,
    metrics.dcimig,
    metrics.aam,
    metrics.modularity,
    metrics.mir,
    metrics.mutual_information,
    metrics.infomec,
]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(2, 90), st.integers(2, 25), st.booleans())
def test_equal_frequency_bins_are_those_of_the_quantiles(seed, N, bins, ties):
    rng = np.random.default_rng(seed)
    values = rng.integers(6, size=(2, N)) / 7 if ties else rng.normal(size=(2, N))
    edges = np.quantile(values, np.arange(1, bins) / bins, axis=1, method="inverted_cdf")
    expected = (values > edges[:, :, None]).sum(axis=0)
    binned = equal_frequency(values, bins)
    np.testing.assert_array_equal(binned, expected)
    if not ties:
        sizes = np.bincount(binned[0], minlength=bins)
        assert sizes.max() - sizes.min() <= 1


def test_equal_frequency_is_blind_to_increasing_maps(noisy):
    codes, factors = noisy
    plain = mig(codes, factors, estimator=EqualFrequency(7))
    curved = mig(np.exp(codes / 3) - 20, factors, estimator=EqualFrequency(7))
    np.testing.assert_array_equal(curved.information, plain.information)


def test_equal_frequency_matrix_equals_scikit_learn(noisy):
    codes, factors = noisy
    found = metrics.mutual_information(codes, factors, estimator=EqualFrequency(9))
    order = codes.argsort(axis=0).argsort(axis=0) + 1
    edges = -(-np.arange(1, 10) * len(codes) // 9)  # bin b holds ranks up to bN/9
    binned = np.searchsorted(edges, order)
    expected = [[mutual_info_score(c, f) for f in factors.T] for c in binned.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_more_bins_than_one_byte_holds(noisy):
    codes, factors = noisy
    for estimator, bins in ((EqualWidth(300), "width"), (EqualFrequency(300), "rank")):
        column = codes[:, 0] if bins == "width" else codes[:, 0].argsort().argsort() + 1.0
        edges = (
            np.histogram_bin_edges(column, 300)[1:-1]
            if bins == "width"
            else -(-np.arange(1, 300) * len(codes) // 300) + 0.5
        )
        expected = mutual_info_score(np.searchsorted(edges, column, "right"), factors[:, 0])
        found = metrics.mutual_information(codes, factors, estimator=estimator)
        assert found[0, 0] == pytest.approx(expected, abs=1e-12)


def test_outliers_move_equal_widths_only():
    """Five outliers in 4,000 rows, as in the list of known traps."""
    rng = np.random.default_rng(0)
    factors = rng.integers(8, size=(4000, 2))
    codes = factors + 0.4 * rng.normal(size=(4000, 2))
    outlying = codes.copy()
    outlying[:5] *= 1e4
    fall = {
        e: mig(codes, factors, estimator=e) - mig(outlying, factors, estimator=e)
        for e in (EqualWidth(10), EqualFrequency(10), Neighbours())
    }
    assert fall[EqualWidth(10)] > 0.5
    assert abs(fall[EqualFrequency(10)]) < 0.01
    assert abs(fall[Neighbours()]) < 0.01


def test_neighbours_have_no_bias_to_speak_of():
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(1000, 20)), rng.integers(8, size=(1000, 4))
    counted = metrics.mutual_information(codes, factors)
    near = metrics.mutual_information(codes, factors, estimator=Neighbours())
    assert counted.mean() > 0.04
    assert near.mean() < 0.01


def test_bins_is_the_shorthand_of_equal_widths(noisy):
    assert mig(*noisy, bins=11) == mig(*noisy, estimator=EqualWidth(11))
    assert mig(*noisy) == mig(*noisy, estimator=EqualWidth())


@pytest.mark.parametrize("metric", ACCEPTING)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_metric_takes_every_estimator_and_puts_it_on_record(metric, estimator):
    found = metric(CODES, FACTORS, estimator=estimator, rng=3)
    if metric is metrics.mutual_information:
        assert found.shape == (3, 2)
        return
    record = found.provenance
    assert estimator.settings().items() <= record.items()
    assert record["seed"] == (3 if estimator == Neighbours() else None)
    assert record["n"] == 60
    json.dumps(record)


@pytest.mark.parametrize("metric", ACCEPTING)
@pytest.mark.parametrize("wrong", ["kde", 20, Neighbours, object()])
def test_another_object_is_refused(metric, wrong):
    with pytest.raises(TypeError, match=r"Expected estimator to be a metrics\.Estimator") as caught:
        metric(CODES, FACTORS, estimator=wrong)
    assert 25 <= len(str(caught.value)) <= 400
    assert "\n" not in str(caught.value)


def test_bins_beside_an_estimator_are_refused():
    with pytest.raises(ValueError, match="both bins=10 and EqualFrequency"):
        mig(CODES, FACTORS, bins=10, estimator=EqualFrequency())


def test_counts_need_binned_factors():
    continuous = CODES[:, :1]
    with pytest.raises(ValueError, match="pass factor_bins=10, or estimator") as caught:
        metrics.mutual_information(CODES, continuous, factor_bins=None)
    assert 25 <= len(str(caught.value)) <= 400
    # Without a continuous factor there is nothing to bin.
    np.testing.assert_array_equal(
        metrics.mutual_information(CODES, FACTORS, factor_bins=None),
        metrics.mutual_information(CODES, FACTORS),
    )


@pytest.mark.parametrize("make", [EqualWidth, EqualFrequency, Neighbours])
@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_counts_out_of_range(make, count, error):
    with pytest.raises(error, match=r"Expected (bins|k) to be"):
        make(count)


def test_an_estimator_of_ones_own():
    class Squared(Estimator):
        """The information of a bivariate normal with the same correlation."""

        def information(self, codes, factors, rng):
            assert len(codes) == 2  # the constant code stays out
            r = [[np.corrcoef(c[f.rows], f.classes)[0, 1] for f in factors] for c in codes]
            return -0.5 * np.log(1 - np.square(r))

        def between(self, codes, rng):
            raise NotImplementedError

        def settings(self):
            return {"estimator": "normal"}

    codes = np.column_stack([CODES[:, 0], np.ones(60), CODES[:, 1] + FACTORS[:, 0]])
    score = mig(codes, FACTORS, estimator=Squared())
    assert score.provenance["estimator"] == "normal"
    r = np.corrcoef(codes[:, 2], FACTORS[:, 0])[0, 1]
    assert score.information[2, 0] == pytest.approx(-0.5 * np.log(1 - r**2))
    assert score.information[1, 0] == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_counted_classes_are_those_of_unique(data):
    """Whatever the dtype, the offset, the gaps and the fractions."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(
        st.sampled_from([bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float64])
    )
    values = rng.integers(data.draw(st.sampled_from([2, 5, 60, 200])), size=30)
    if dtype is np.int8:
        values = values - 128
    if dtype in (np.int64, np.float64):
        offset = data.draw(st.sampled_from([0, -7, 2**53, -(2**60), 10**9]))
        values = values * data.draw(st.sampled_from([1, 1000, 10**7])) + offset
    if dtype is np.uint64:
        values = values.astype(np.uint64) + np.uint64(2**63)
    column = values.astype(dtype)
    if dtype is np.float64 and data.draw(st.booleans()):
        column = column / 8
    column[:2] = column.min(), column.max()
    if column.min() == column.max():
        return
    arrays = check_arrays(np.arange(30.0)[:, None], column[:, None], True)
    (found,) = label_factors(arrays, 10)
    _, classes, sizes = np.unique(column, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(found.classes, classes.reshape(-1))
    np.testing.assert_array_equal(found.sizes, sizes)


def test_whole_numbers_beyond_a_machine_integer_are_classes():
    """Floats there are 2,048 apart, which is close in so many rows, but no integer."""
    column = 2.0**63 + 2048 * (np.arange(1500) % 3)
    arrays = check_arrays(np.arange(1500.0)[:, None], column[:, None], True)
    (found,) = label_factors(arrays, 10)
    np.testing.assert_array_equal(found.classes, np.arange(1500) % 3)


def test_a_factor_wider_than_float64_is_refused():
    column = 1.7e308 * np.linspace(-1, 1, 60)[:, None]
    with pytest.raises(ValueError, match="factors whose range fits a float64") as caught:
        mig(CODES, column)
    assert 25 <= len(str(caught.value)) <= 400
