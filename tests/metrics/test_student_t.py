"""Student-t codes made normal, against arithmetic of sixty digits and closed forms."""

import numpy as np
import pytest
from scipy import stats

from disvae.metrics import student_t_to_normal

mpmath = pytest.importorskip("mpmath")  # comes with torch


def one(t, df):
    return student_t_to_normal([[t]], df)[0, 0]


def error(t, df):
    """How far the result is from the true one, relative to it."""
    with mpmath.workdps(60):
        exact, half = mpmath.mpf(t), mpmath.mpf(1) / 2
        x = mpmath.mpf(df) / (mpmath.mpf(df) + exact**2)
        expected = mpmath.log(mpmath.betainc(mpmath.mpf(df) / 2, half, 0, x, regularized=True) / 2)
        z = mpmath.mpf(float(one(t, df)))
        tail = mpmath.erfc(z / mpmath.sqrt(2)) / 2
        # One Newton step from the result to where the log tail is the expected one.
        return float(abs((mpmath.log(tail) - expected) * tail / mpmath.npdf(z) / z))


@pytest.mark.parametrize("df", [0.1, 0.5, 1.0, 2.0, 3.5, 10.0, 300.0, 1e4, 1e9])
def test_every_digit_from_the_middle_to_the_tails(df):
    for t in (1e-9, 1e-3, 0.5, 0.6744, 0.7, 1.0, 3.0, 8.0, 37.0, 39.0, 1e3, 1e9, 1e100):
        if t >= 1e3 and df > 1e5:
            continue  # beyond the reach of the oracle
        assert error(t, df) < 1e-12, t


def test_closed_forms():
    """Cauchy: F(1) = 3/4. Two degrees of freedom: F(t) = 1/2 + t / (2 √(2 + t²))."""
    assert one(1.0, 1.0) == pytest.approx(stats.norm.ppf(0.75), rel=1e-14)
    t = np.linspace(-3, 3, 13)
    expected = stats.norm.ppf(0.5 + t / (2 * np.sqrt(2 + t**2)))
    np.testing.assert_allclose(student_t_to_normal(t[:, None], 2.0)[:, 0], expected, atol=1e-13)


@pytest.mark.parametrize("df", [1e-3, 0.3, 1.0, 4.0, 50.0, 1e3, 1e6, 1e12])
def test_finite_odd_and_increasing_over_the_whole_range(df):
    t = np.concatenate([[0.0], np.logspace(-307, 308, 3000), [np.finfo(float).max]])
    y = student_t_to_normal(t[:, None], df)[:, 0]
    assert np.isfinite(y).all()
    assert (np.diff(y) >= 0).all()
    assert y[0] == 0.0
    np.testing.assert_array_equal(student_t_to_normal(-t[:, None], df)[:, 0], -y)
    # The tail is heavier than the normal one, so that the map draws it in.
    assert (y[t > 1] <= t[t > 1] + 1e-12 * y[t > 1]).all()


def test_samples_become_normal():
    rng = np.random.default_rng(0)
    t = rng.standard_t([2.0, 7.0], size=(20_000, 2)) * [3.0, 0.1] + [5.0, -1.0]
    y = student_t_to_normal(t, df=[2.0, 7.0], loc=[5.0, -1.0], scale=[3.0, 0.1])
    for column in y.T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    with_wrong_scale = student_t_to_normal(t, df=[2.0, 7.0], loc=[5.0, -1.0], scale=[0.1, 3.0])
    assert stats.kstest(with_wrong_scale[:, 0], "norm").pvalue < 1e-6


def test_infinite_degrees_of_freedom_only_standardise():
    t = np.linspace(-1e3, 1e3, 7).reshape(-1, 1)
    np.testing.assert_allclose(student_t_to_normal(t, np.inf, loc=2.0, scale=4.0), (t - 2) / 4)
    np.testing.assert_allclose(student_t_to_normal(t / 1e3, 1e15), t / 1e3, atol=1e-12)


def test_a_scale_so_small_that_the_ratio_overflows():
    y = student_t_to_normal([[1e300, -1e300]], 3.0, scale=1e-300)
    assert np.isfinite(y).all()
    assert y[0, 0] == -y[0, 1] > 40


def test_the_argument_is_left_alone():
    t = np.ones((3, 2), dtype=np.float32)
    t.setflags(write=False)
    assert student_t_to_normal(t, 3.0).dtype == np.float64


@pytest.mark.parametrize(
    ("settings", "error_", "words"),
    [
        ({"df": 0.0}, ValueError, "df to be positive"),
        ({"df": -1.0}, ValueError, "df to be positive"),
        ({"df": float("nan")}, ValueError, "df to be positive"),
        ({"df": 3.0, "scale": [1.0, 0.0]}, ValueError, "scale to be positive"),
        ({"df": 3.0, "scale": np.inf}, ValueError, "scale to be positive"),
        ({"df": 3.0, "loc": np.nan}, ValueError, "loc to be finite"),
        ({"df": [3.0, 3.0, 3.0]}, ValueError, r"shape \(2,\)"),
        ({"df": "3"}, TypeError, "dtype"),
    ],
)
def test_settings_out_of_range(settings, error_, words):
    with pytest.raises(error_, match=words) as caught:
        student_t_to_normal(np.ones((4, 2)), **settings)
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert 25 <= len(message) <= 400


def test_codes_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        student_t_to_normal([[np.inf]], 3.0)
