"""What codes know of attributes, against closed forms, scipy, and figures computed otherwise."""

import math

import numpy as np
import pytest
from scipy import stats

from disvae import metrics
from disvae.alignment.codes import Codes, partial
from disvae.alignment.finding import Resampled


def ranked(values):
    return stats.rankdata(values, axis=0)


def residual(y, others):
    design = np.column_stack([np.ones(len(y)), others])
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


def gaussian(rng, correlation, n):
    return rng.multivariate_normal(np.zeros(len(correlation)), correlation, size=n)


def spearman_of_normals(r):
    """Spearman's correlation of two normal variables of Pearson's correlation r."""
    return 6 / math.pi * np.arcsin(np.asarray(r) / 2)


def test_a_monotone_code_has_a_gap_near_one_and_mixed_codes_near_zero():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(8000, 2))
    alone = Codes(np.stack([np.exp(-a[:, 1]), a[:, 0] ** 3], axis=1), a).figures()
    # the best knows all, the second what bins show by chance: 19 · 9 / 2N nats
    chance = 19 * 9 / (2 * 8000) / math.log(10)
    np.testing.assert_allclose(alone.gap, 1 - chance, atol=0.002)
    assert alone.share.argmax(axis=0).tolist() == [1, 0]
    mixed = Codes(a @ np.array([[1.0, 1.0], [-1.0, 1.0]]), a).figures()
    assert (mixed.gap < 0.02).all()
    assert (mixed.share > 0.1).all()


def test_the_gap_is_that_of_mig_with_attributes_in_quantiles():
    rng = np.random.default_rng(1)
    a = rng.gamma(1.0, size=(997, 3))
    z = a @ rng.normal(size=(3, 4)) + rng.normal(size=(997, 4))
    classes = (10 * (ranked(a) - 1) / 997).astype(int)
    estimator = metrics.EqualFrequency(20)
    oracle = metrics.mig(z, classes, discrete=True, estimator=estimator)
    found = Codes(z, a).figures()
    # 997 is no multiple of 10: a few data at the edges may fall on either side
    np.testing.assert_allclose(found.gap, oracle.per_factor, atol=0.005)
    np.testing.assert_allclose(found.share, oracle.information / oracle.entropy, atol=0.005)


def test_one_code_alone_has_its_share_as_gap():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(500, 1))
    found = Codes(a + rng.normal(size=a.shape), a).figures()
    assert found.gap == found.share[0]


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_are_those_of_scipy(ties):
    rng = np.random.default_rng(3)
    z, a = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    a[:, 0] += np.exp(z[:, 1])
    if ties:
        z, a = z.round(0), a.round(0)
    found = Codes(z, a).figures().correlation
    expected = stats.spearmanr(z, a).statistic[:3, 3:]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_partial_correlations_are_those_of_residuals():
    rng = np.random.default_rng(4)
    a = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))
    z = a @ rng.normal(size=(4, 2)) + rng.normal(size=(400, 2))
    found = Codes(z, a).figures().partial
    for d in range(2):
        for k in range(4):
            others = np.delete(ranked(a), k, axis=1)
            sides = residual(ranked(z)[:, d], others), residual(ranked(a)[:, k], others)
            assert found[d, k] == pytest.approx(stats.pearsonr(*sides).statistic, abs=1e-9)


def test_what_a_confounder_explains_is_gone_from_the_partial_correlation():
    """A normal chain z - a - c: z knows of c through a only."""
    r = np.array([[1.0, 0.8, 0.64], [0.8, 1.0, 0.8], [0.64, 0.8, 1.0]])
    x = gaussian(np.random.default_rng(5), r, 20_000)
    found = Codes(x[:, :1], x[:, 1:]).figures()
    np.testing.assert_allclose(found.correlation[0], spearman_of_normals([0.8, 0.64]), atol=0.01)
    ranks = spearman_of_normals(r)
    expected = partial(ranks, codes=1)[0]
    # by hand, of three variables
    first = (ranks[0, 1] - ranks[0, 2] * ranks[1, 2]) / math.sqrt(
        (1 - ranks[0, 2] ** 2) * (1 - ranks[1, 2] ** 2)
    )
    assert expected[0] == pytest.approx(first)
    assert abs(expected[1]) < 0.02  # 0 for values, nearly for ranks
    np.testing.assert_allclose(found.partial[0], expected, atol=0.02)


def test_an_attribute_that_others_determine_has_no_partial_correlation():
    rng = np.random.default_rng(6)
    a = rng.normal(size=(200, 3))
    a[:, 2] = np.exp(a[:, 0])  # the same ranks
    z = a[:, :1] + a[:, 1:2] + rng.normal(size=(200, 1))
    found = Codes(z, a).figures().partial[0]
    assert np.isnan(found[[0, 2]]).all()
    # the one that is not determined is related given what the other two span
    expected = Codes(z, a[:, :2]).figures().partial[0, 1]
    assert found[1] == pytest.approx(expected, abs=1e-9)


def test_resamples_are_figures_of_the_rows_drawn():
    rng = np.random.default_rng(7)
    a = rng.normal(size=(150, 2)).round(1)
    z = a + rng.normal(size=(150, 2)).round(1)
    codes = Codes(z, a)
    drawn = codes.resampled(np.random.default_rng(8), 3)
    again = np.random.default_rng(8)
    for replicate in range(3):
        rows = again.integers(150, size=150)
        expected = stats.spearmanr(z[rows], a[rows]).statistic[:2, 2:]
        np.testing.assert_allclose(drawn.correlation[replicate], expected, atol=1e-12)
        own = Codes(z[rows], a[rows]).figures()
        np.testing.assert_allclose(drawn.partial[replicate], own.partial, atol=1e-12)
        # the bins stay those of all data
        np.testing.assert_allclose(drawn.share[replicate], own.share, atol=0.08)
    assert drawn.gap.shape == (3, 2)


def test_intervals_cover_the_truth():
    r = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.5], [0.2, 0.5, 1.0]])
    truth = spearman_of_normals(r[0, 1]), partial(spearman_of_normals(r), codes=1)[0, 0]
    rng, hits, times = np.random.default_rng(9), np.zeros(2), 100
    for _ in range(times):
        x = gaussian(rng, r, 120)
        codes = Codes(x[:, :1], x[:, 1:])
        found, drawn = codes.figures(), codes.resampled(rng, 40)
        for i, (value, several) in enumerate(
            [(found.correlation, drawn.correlation), (found.partial, drawn.partial)]
        ):
            figure = Resampled.of(value[0, 0], several[:, 0, 0], (-1.0, 1.0))
            hits[i] += figure.low <= truth[i] <= figure.high
            assert figure.low < figure.value < figure.high
    assert (hits >= 0.87 * times).all(), hits
    assert (hits < times).any()  # 95 %, not all


def test_a_resample_that_leaves_one_value_is_no_fault():
    z = np.arange(20.0)[:, None]
    a = np.zeros((20, 1))
    a[7] = 1.0
    drawn = Codes(z, a).resampled(np.random.default_rng(0), 50)
    for values in (drawn.share, drawn.correlation, drawn.gap):
        assert np.isfinite(values).all()
    assert (drawn.gap == 0).any()


def test_an_interval_is_cut_to_the_bounds_and_unknown_without_resamples():
    drawn = np.array([0.8, 1.0, 0.9, np.nan])
    figure = Resampled.of(0.95, drawn, (0.0, 1.0))
    assert (figure.value, figure.high) == (0.95, 1.0)
    assert figure.low == pytest.approx(0.95 - 1.96 * 0.1)
    assert isinstance(figure + 1, float)
    assert str(figure) == "0.950 [0.754, 1.000]"
    for unknown in (Resampled.of(0.5, drawn[:1], (0, 1)), Resampled.of(np.nan, drawn, (0, 1))):
        assert math.isnan(unknown.low)
        assert unknown.interval() == ""
