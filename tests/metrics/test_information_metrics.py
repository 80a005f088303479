"""MIG-sup, DCIMIG, JEMMIG, AAM, modularity and MIR: reference values, slow loops, properties."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from disvae.metrics import (
    EqualFrequency,
    Neighbours,
    NotDefinedError,
    aam,
    dcimig,
    infomec,
    jemmig,
    mig,
    mig_sup,
    mir,
    modularity,
    mutual_information,
)

SCORES = [mig_sup, dcimig, jemmig, aam, modularity]


def values_of(metric, codes, factors, **settings):
    """The values of a metric, one or several."""
    found = metric(codes, factors, **settings)
    return (found.modularity, found.compactness) if metric is mir else (float(found),)


REFERENCE = {
    "mig_sup": lambda c, f: mig_sup(c, f),
    "dcimig": lambda c, f: dcimig(c, f),
    "jemmig_norm": lambda c, f: jemmig(c, f),
    "aam": lambda c, f: aam(c, f),
    "modularity": lambda c, f: modularity(c, f),
    "mir_modularity": lambda c, f: mir(c, f).modularity,
    "mir_compactness": lambda c, f: mir(c, f).compactness,
}


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values(reference, name):
    entries = reference.entries(name)
    assert len(entries) == 7
    for entry in entries:
        case = reference.case(entry["case"])
        expected = entry["value"]
        if (name, entry["case"]) == ("modularity", "aligned_const_dims"):
            # The published value counts each of the five constant codes as 0.
            assert expected == 0.5
            expected = 1.0
        found = REFERENCE[name](case["codes"], case["factors"])
        assert found == pytest.approx(expected, abs=entry["tol"]), entry["case"]


def histogram_bins(column, bins):
    return np.digitize(column, np.histogram_bin_edges(column, bins)[1:-1])


def joint_entropy(a, b):
    _, counts = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    p = counts / counts.sum()
    return -(p * np.log(p)).sum()


def by_loops(codes, factors, bins, factor_bins, discrete):
    """Every metric by plain loops over pairs, in the words of its definition."""
    z = [histogram_bins(c, bins) for c in codes.T]
    v = [
        f if d else histogram_bins(f, factor_bins) for f, d in zip(factors.T, discrete, strict=True)
    ]
    D, K = len(z), len(v)
    I = np.array([[mutual_info_score(a, b) for b in v] for a in z])  # noqa: E741
    H = np.array([mutual_info_score(b, b) for b in v])
    share = I / H
    expected = {}
    gaps = []
    for d in range(D):
        first, second = sorted(share[d], reverse=True)[:2]
        gaps.append(first - second)
    expected[mig_sup] = (np.mean(gaps),)

    best = np.zeros(K)
    for d in range(D):
        order = sorted(range(K), key=lambda k: I[d, k])
        best[order[-1]] = max(best[order[-1]], I[d, order[-1]] - I[d, order[-2]])
    expected[dcimig] = (best.sum() / H.sum(),)

    costs = []
    for k in range(K):
        order = sorted(range(D), key=lambda d: I[d, k])
        cost = joint_entropy(z[order[-1]], v[k]) - I[order[-1], k] + I[order[-2], k]
        costs.append(1 - cost / (H[k] + np.log(bins)))
    expected[jemmig] = (np.mean(costs),)

    leads = [max(0.0, 2 * c.max() - c.sum()) / c.max() for c in I.T]
    expected[aam] = (np.mean(leads),)

    ratios = [1 - (np.sum(r**2) - r.max() ** 2) / (r.max() ** 2 * (K - 1)) for r in I]
    expected[modularity] = (np.mean(ratios),)

    m = np.mean([r.max() / r.sum() for r in share])
    c = np.mean([r.max() / r.sum() for r in share.T])
    expected[mir] = ((m - 1 / K) / (1 - 1 / K), (c - 1 / D) / (1 - 1 / D))
    return expected


@pytest.mark.parametrize("seed", range(6))
def test_slow_loops_agree(seed):
    rng = np.random.default_rng(seed)
    N, D, K = rng.integers(100, 400), rng.integers(2, 6), rng.integers(2, 5)
    factors = rng.integers(rng.integers(2, 9, size=K), size=(N, K)).astype(float)
    discrete = rng.uniform(size=K) < 0.6
    factors[:, ~discrete] += rng.normal(size=(N, (~discrete).sum()))
    codes = factors @ rng.normal(size=(K, D)) + rng.normal(size=(N, D))
    bins, factor_bins = int(rng.integers(3, 25)), int(rng.integers(3, 12))
    expected = by_loops(codes, factors, bins, factor_bins, discrete)
    for metric, values in expected.items():
        found = values_of(
            metric, codes, factors, bins=bins, factor_bins=factor_bins, discrete=discrete
        )
        np.testing.assert_allclose(found, values, atol=1e-12, err_msg=metric.__name__)


def test_factors_get_as_many_bins_as_codes_where_the_review_has_it_so(noisy):
    codes, _ = noisy
    for metric in (dcimig, jemmig):
        assert metric(codes, codes[:, :2]) == metric(codes, codes[:, :2], factor_bins=20)
        assert metric(codes, codes[:, :2]) != metric(codes, codes[:, :2], factor_bins=10)


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_aligned_codes_score_one(grid, metric):
    aligned = -3.0 * grid[:, ::-1] + 7.0
    np.testing.assert_allclose(values_of(metric, aligned, grid), 1.0, atol=1e-12)


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_rotation_lowers_it(grid, metric):
    # Off the bin edges, where a rotated grid would fall by rounding.
    grid = grid + 0.01 * np.random.default_rng(0).normal(size=grid.shape)
    c = np.sqrt(0.5)
    rotated = grid @ np.array([[c, -c, 0], [c, c, 0], [0, 0, 1]])
    factors = np.rint(grid)
    straight, turned = (values_of(metric, x, factors) for x in (grid, rotated))
    assert all(t < s - 0.15 for s, t in zip(straight, turned, strict=True))


@pytest.mark.parametrize("metric", [*SCORES, mir])
@pytest.mark.parametrize("constant", [0.0, -1e30, np.float32(0.1)])
def test_dead_codes_at_either_end_change_nothing(noisy, metric, constant):
    codes, factors = noisy
    dead = np.full((len(codes), 1), constant)
    padded = metric(np.hstack([dead, codes, dead]), factors)
    plain = metric(codes, factors)
    assert values_of(metric, codes, factors) == (
        (padded.modularity, padded.compactness) if metric is mir else (float(padded),)
    )
    assert padded.provenance["dropped"] == [0, codes.shape[1] + 1]
    name = "share" if metric is mir else "information"
    np.testing.assert_array_equal(getattr(padded, name)[1:-1], getattr(plain, name))


@pytest.mark.parametrize("metric", [*SCORES, mir])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_order_sign_and_scale_of_codes_and_factors(noisy, metric, data):
    codes, factors = noisy
    D, K = codes.shape[1], factors.shape[1]
    order = data.draw(st.permutations(range(D)))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D))
    exponents = data.draw(st.lists(st.integers(-60, 60), min_size=D, max_size=D))
    columns = data.draw(st.permutations(range(K)))
    changed = (codes * np.array(signs) * 2.0 ** np.array(exponents))[:, order]
    found = values_of(metric, changed, factors[:, columns])
    np.testing.assert_allclose(found, values_of(metric, codes, factors), atol=1e-12)


@pytest.mark.parametrize("metric", [*SCORES, mir])
@pytest.mark.parametrize("estimator", [None, EqualFrequency(4), Neighbours(2)])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 4), st.integers(2, 60))
def test_always_between_nought_and_one(metric, estimator, seed, D, K, N):
    """Ties, few rows, classes of one, independent and constant codes; and never a warning."""
    if metric is jemmig and isinstance(estimator, Neighbours):
        return
    rng = np.random.default_rng(seed)
    factors = rng.integers(3, size=(N, K))
    factors[:2] = [[0], [1]]
    codes = rng.integers(rng.integers(1, 6), size=(N, D)) / 7
    try:
        found = values_of(metric, codes, factors, estimator=estimator)
    except NotDefinedError as error:
        assert "no two rows alike" in error.reason  # noqa: PT017
        return
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in found)


def test_duplicated_codes():
    """Each metric that asks how many codes a factor has falls, each other one does not."""
    rng = np.random.default_rng(0)
    factors = rng.integers(4, size=(2000, 3))
    codes = factors + 0.2 * rng.normal(size=(2000, 3))
    twice = np.hstack([codes, -2 * codes])
    for metric in (mig_sup, dcimig, modularity):
        assert metric(twice, factors) == pytest.approx(float(metric(codes, factors)), abs=1e-3)
    assert mir(twice, factors).modularity == pytest.approx(mir(codes, factors).modularity, abs=1e-3)
    assert aam(twice, factors) == pytest.approx(0.0, abs=1e-3)
    # Of six codes two share the information: (1/2 − 1/6) / (1 − 1/6).
    assert mir(twice, factors).compactness == pytest.approx(0.4, abs=0.03)
    assert jemmig(twice, factors) < jemmig(codes, factors) - 0.2


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_all_codes_constant(noisy, metric):
    _, factors = noisy
    assert set(values_of(metric, np.ones((len(factors), 3)), factors)) == {0.0}


def test_one_code():
    """What a second code would know is nothing."""
    factors = np.stack(np.meshgrid(range(4), range(2)), axis=-1).reshape(-1, 2)
    code = factors[:, :1]
    assert mig_sup(code, factors) == pytest.approx(1.0)
    assert dcimig(code, factors) == pytest.approx(2 / 3)
    assert aam(code, factors) == 0.5
    assert modularity(code, factors) == 1.0
    # H(z, v) − I(z; v): ln 4 − ln 4 for its own factor; ln 8 − 0 for the other.
    np.testing.assert_allclose(jemmig(code, factors).nats, [0, np.log(8)], atol=1e-12)
    expected = [1, 1 - np.log(8) / (np.log(2) + np.log(20))]
    np.testing.assert_allclose(jemmig(code, factors).per_factor, expected, atol=1e-12)
    found = mir(code, factors)
    assert (found.modularity, found.compactness) == (1.0, 0.5)


def test_one_factor():
    factors = np.arange(40).reshape(-1, 1) % 4
    codes = np.hstack([factors, factors // 2])
    assert mig_sup(codes, factors) == pytest.approx(0.75)
    assert dcimig(codes, factors) == pytest.approx(1.0)
    for metric in (modularity, mir):
        with pytest.raises(NotDefinedError, match="at least two factors") as caught:
            metric(codes, factors)
        assert caught.value.reason == "one factor"
        assert 25 <= len(str(caught.value)) <= 400


@pytest.mark.parametrize("sizes", [(3, 5, 7), (2, 8, 11), (4, 6, 8), (3, 8, 13)])
def test_a_code_that_knows_nothing_is_modular_in_no_sense(sizes):
    """On a full grid a third factor is exactly independent; rounding must not be a preference."""
    axes = np.meshgrid(*map(np.arange, sizes), indexing="ij")
    rows = np.stack(axes, axis=-1).reshape(-1, 3)
    codes, factors = rows * 0.1, rows[:, :2]
    score = modularity(codes, factors)
    assert score == 1.0
    np.testing.assert_array_equal(score.counted, [True, True, False])
    np.testing.assert_array_equal(score.per_code, [1, 1, 0])
    assert score.provenance["counted"] == [0, 1]
    found = mir(codes, factors)
    assert found.modularity == pytest.approx(1.0)
    np.testing.assert_allclose(found.per_code, [1, 1, 0])
    # It does count as a code that could have been informative.
    assert found.compactness == pytest.approx(1.0)
    assert mig_sup(codes, factors) == pytest.approx(2 / 3)
    # A factor that no code knows counts as nought.
    unknown = mir(codes[:, :2], rows)
    np.testing.assert_allclose(unknown.per_factor, [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(aam(codes[:, :2], rows).per_factor, [1, 1, 0], atol=1e-12)


def test_modularity_by_hand():
    """A code of both of two factors, with ln 2 and ln 4 nats: 1 − (ln 2 / ln 4)² = 3/4."""
    factors = np.stack(np.meshgrid(range(4), range(2)), axis=-1).reshape(-1, 2)
    both = factors[:, :1] + 4 * factors[:, 1:]
    assert modularity(both, factors) == pytest.approx(0.75)
    assert dcimig(both, factors) == pytest.approx((np.log(4) - np.log(2)) / np.log(8))
    # As shares of the entropies they are equal.
    assert mig_sup(both, factors) == pytest.approx(0.0, abs=1e-12)
    assert mir(both, factors).modularity == pytest.approx(0.0, abs=1e-12)


def test_jemmig_of_codes_that_know_equally_much():
    """The code without entropy of its own, wherever it stands."""
    rng = np.random.default_rng(0)
    factors = np.repeat(np.arange(4), 50).reshape(-1, 1)
    exact, finer = factors[:, 0], factors[:, 0] * 4 + rng.integers(4, size=200)
    for codes in ([exact, finer], [finer, exact]):
        score = jemmig(np.column_stack(codes), factors)
        # H(z, v) = ln 4 (about ln 16 for the finer code), and the other code knows as much again.
        assert score.nats[0] == pytest.approx(np.log(4), abs=1e-12)


def test_jemmig_needs_bins(noisy):
    with pytest.raises(TypeError, match="needs the entropy of a binned code") as caught:
        jemmig(*noisy, estimator=Neighbours())
    assert 25 <= len(str(caught.value)) <= 400
    assert jemmig(*noisy, estimator=EqualFrequency(8)).provenance["bins"] == 8


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_missing_values_leave_out_their_rows_for_that_factor_only(noisy, metric):
    codes, factors = noisy
    holed = factors.astype(float)
    holed[::4, 1] = np.nan
    # Codes whose extremes stay known, so that the bins are those of all rows.
    codes = codes.copy()
    codes[1], codes[2] = codes.max(axis=0) + 0.1, codes.min(axis=0) - 0.1
    found, whole = metric(codes, holed), metric(codes, factors)
    kept = ~np.isnan(holed[:, 1])
    part = metric(codes[kept], factors[kept])
    name = "share" if metric is mir else "information"
    matrix = getattr(found, name)
    np.testing.assert_allclose(matrix[:, [0, 2]], getattr(whole, name)[:, [0, 2]], atol=1e-12)
    np.testing.assert_allclose(matrix[:, 1], getattr(part, name)[:, 1], atol=1e-12)
    assert found.provenance["missing"][1] == np.isnan(holed[:, 1]).sum()


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_values_lie_near_chance_for_independent_codes(metric):
    """Chance is nought for the gaps, and not for what compares a code's noise with itself."""
    rng = np.random.default_rng(0)
    found = values_of(metric, rng.normal(size=(5000, 8)), rng.integers(6, size=(5000, 4)))
    low, high = {
        modularity: (0.25, 0.6),
        jemmig: (0.05, 0.2),
        mir: (0.0, 0.2),
    }.get(metric, (0.0, 0.01))
    assert all(low <= value <= high for value in found)


def test_mir_is_a_tuple_whose_arrays_cannot_be_changed(noisy):
    found = mir(*noisy)
    assert found[:2] == (found.modularity, found.compactness)
    assert all(type(value) is float for value in found[:2])
    for array in found[2:5]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    assert found.provenance["metric"] == "mir"


@pytest.mark.parametrize("metric", SCORES)
def test_each_score_has_its_own_class_and_record(noisy, metric):
    score = metric(*noisy)
    assert score.provenance["metric"] == metric.__name__
    assert type(score).__name__.lower() == metric.__name__.replace("_", "") + "score"
    assert repr(score).startswith(f"{score.name} {score.score:.4f} (N=1500, D=4, K=3)")
    with pytest.raises(ValueError, match="read-only"):
        score.information[0, 0] = 1.0


@pytest.mark.parametrize("metric", [*SCORES, mir, infomec, mutual_information])
@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda c, f: (np.where(c > 2, np.nan, c), f), ValueError, "codes to be finite"),
        (lambda c, f: (c[:-1], f), ValueError, "1499 and 1500"),
        (lambda c, f: (c, f * [1, 0, 1]), NotDefinedError, "only the value 0 in factor column 1"),
        (lambda c, f: (c, f * np.nan), NotDefinedError, "no value at all in factor column 0"),
        (lambda c, f: (c[:1], f[:1]), NotDefinedError, "factor column 0"),
    ],
)
def test_bad_input_gets_one_sentence(noisy, metric, spoil, error, words):
    with pytest.raises(error, match=words) as caught:
        metric(*spoil(*noisy))
    assert 25 <= len(str(caught.value)) <= 400
    with pytest.raises(TypeError, match="Expected rng"):
        metric(*noisy, rng=0.5)


@pytest.mark.parametrize("metric", [*SCORES, mir])
def test_values_keep_their_details_when_pickled(noisy, metric):
    found = metric(*noisy)
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)
    assert again.provenance == found.provenance
    name = "share" if metric is mir else "information"
    np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_factor_scores_average_to_the_score(noisy):
    assert mig(*noisy).per_factor.mean() == pytest.approx(mig(*noisy).score)
    assert aam(*noisy).per_factor.mean() == pytest.approx(aam(*noisy).score)
    assert jemmig(*noisy).per_factor.mean() == pytest.approx(jemmig(*noisy).score)
    assert mig_sup(*noisy).per_code.mean() == pytest.approx(mig_sup(*noisy).score)
    assert modularity(*noisy).per_code.mean() == pytest.approx(modularity(*noisy).score)
    gap = dcimig(*noisy)
    assert gap.per_factor.sum() / gap.entropy.sum() == pytest.approx(gap.score)
