"""The report: its numbers are those of the metrics, its intervals cover, it prints and stores."""

import functools
import json

import numpy as np
import pytest

from disvae import metrics
from disvae.metrics import NotDefinedError, factor_vae_score, infomec, mig, mir, modularity, report
from disvae.metrics.suites import ALL, STANDARD

NAMES = ["shape", "scale", "x"]


@pytest.fixture(scope="module")
def found(noisy):
    codes, factors = noisy
    other = np.random.default_rng(9).normal(size=(len(codes), 2))
    chosen = ["mig", factor_vae_score]
    found = report(codes, factors, NAMES, chosen, compare={"untrained": other}, replicates=8, rng=3)
    return found, other


def test_scores_are_those_of_the_metrics(found, noisy):
    codes, factors = noisy
    result, other = found
    for row, metric in zip(result.metrics, (mig, factor_vae_score), strict=True):
        assert row.score == metric(codes, factors, rng=3)
        assert row.compare == {"untrained": metric(other, factors, rng=3)}
        assert row.score.provenance["seed"] in (3, None)


def test_chance_is_that_of_independent_codes(found):
    result, _ = found
    values = {row.name: row.chance for row in result.metrics}
    assert values["MIG"] < 0.02
    assert values["FactorVAE score"] == pytest.approx(1 / 3, abs=0.05)


def test_factors_are_permuted_together():
    """Factors that move together keep their joint distribution: one bit, whichever is fixed."""
    bit = np.arange(2000) % 2
    seen = []

    def both_alike(codes, factors, *, discrete, rng):
        seen.append((factors[:, 0] == factors[:, 1]).all() and (codes[:, 0] == bit).all())
        return float((factors[:, 0] == bit).mean())

    result = report(
        bit.reshape(-1, 1), np.column_stack([bit, bit]), metrics=[both_alike], intervals=False
    )
    assert all(seen)
    assert result.metrics[0].score == 1.0
    assert result.metrics[0].chance == pytest.approx(0.5, abs=0.05)


def test_interval_is_that_of_the_theory():
    """For the mean of a column the standard error is known: std / sqrt(N)."""
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(900, 1)), rng.integers(3, size=(900, 1))

    def mean(codes, factors, *, discrete, rng):
        return float(codes.mean())

    row = report(codes, factors, metrics=[mean], replicates=400).metrics[0]
    low, high = row.interval
    assert (low + high) / 2 == pytest.approx(codes.mean(), abs=1e-12)
    assert (high - low) / 2 == pytest.approx(1.96 * codes.std() / 30, rel=0.12)


def test_intervals_cover_the_value_of_many_rows():
    """Nominal 95 %, 30 data sets: fewer than 24 hits has probability 1e-4."""

    def draw(n, seed):
        rng = np.random.default_rng(seed)
        factors = rng.integers(4, size=(n, 2))
        return factors + rng.normal(size=(n, 2)), factors

    # The bias of few rows is no part of the interval, so the target is the mean over data sets.
    target = np.mean([mig(*draw(500, 1000 + seed)) for seed in range(60)])
    hits = 0
    for seed in range(30):
        row = report(*draw(500, seed), metrics=[mig], replicates=20).metrics[0]
        hits += row.interval[0] <= target <= row.interval[1]
    assert hits >= 24


def test_intervals_stay_within_bounds(found, grid):
    result, _ = found
    for row in result.metrics:
        assert 0 <= row.interval[0] <= row.score <= row.interval[1] <= 1
    perfect = report(grid, grid, metrics=["factor_vae_score"], replicates=2)
    assert perfect.metrics[0].interval == (1.0, 1.0)
    few_votes = functools.partial(factor_vae_score, train_votes=200, eval_votes=20, batch_size=8)
    blurred = grid + 2 * np.random.default_rng(0).normal(size=grid.shape)
    row = report(blurred, grid, metrics={"few votes": few_votes}, rng=2).metrics[0]
    assert 0.8 < row.score < 1
    assert row.interval[0] < 2 * row.score - 1
    assert row.interval[1] == 1.0


def test_factor_rows_say_which_code_carries_each(found, noisy):
    codes, factors = noisy
    result, _ = found
    score = mig(codes, factors)
    assert [row.name for row in result.factors] == NAMES
    assert [row.code for row in result.factors] == [0, 1, 2]
    np.testing.assert_allclose([row.gap for row in result.factors], score.per_factor)
    shares = (score.information / score.entropy).max(axis=0)
    np.testing.assert_allclose([row.share for row in result.factors], shares)


def test_no_code_is_named_for_noise():
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(600, 3)), rng.integers(4, size=(600, 2))
    result = report(codes, factors, None, ["mig"], intervals=False)
    assert [row.code for row in result.factors] == [None, None]


def test_one_seed_gives_one_report(noisy):
    codes, factors = (array[:300] for array in noisy)
    small = {"metrics": [factor_vae_score], "replicates": 3}
    first = report(codes, factors, rng=1, **small)
    assert report(codes, factors, rng=1, **small).to_dict() == first.to_dict()
    assert report(codes, factors, rng=2, **small).to_dict() != first.to_dict()
    again = report(codes, factors, rng=1, intervals=False, metrics=[factor_vae_score])
    assert again.metrics[0].chance == first.metrics[0].chance


def test_one_factor_leaves_the_votes_undefined(noisy):
    codes, factors = noisy
    chosen = [mig, factor_vae_score]
    result = report(codes, factors[:, :1], None, chosen, replicates=3, compare={"same": codes})
    row = result.metrics[1]
    assert (row.score, row.interval, row.chance, row.compare) == (None, None, None, {"same": None})
    assert "not defined (one factor)" in str(result)
    assert result.metrics[0].score == mig(codes, factors[:, :1])
    assert json.loads(result.to_json())["metrics"]["FactorVAE score"]["reason"] == "one factor"


def test_a_constant_factor_is_refused(noisy):
    codes, factors = noisy
    with pytest.raises(NotDefinedError, match="factor column 1"):
        report(codes, factors * [1, 0, 1])


def test_resamples_in_which_a_metric_is_not_defined():
    """A class of one row is missing from a third of them: the interval is made of the rest."""
    rare = np.zeros((40, 1), dtype=int)
    rare[7] = 1
    interval = report(rare + 0.5, rare, metrics=[mig]).metrics[0].interval
    assert interval == pytest.approx((1.0, 1.0))

    def needs_first_row_once(codes, factors, *, discrete, rng):
        if (codes == 0).sum() != 1:
            raise NotDefinedError("Expected the first row once.", reason="first row not once")
        return 0.5

    codes = np.arange(40.0).reshape(-1, 1)
    row = report(codes, rare, metrics=[needs_first_row_once]).metrics[0]
    assert (row.score, row.chance, row.interval) == (0.5, 0.5, None)


def test_note_on_few_rows(noisy):
    codes, factors = noisy
    few = report(codes[:100], factors[:100], NAMES, ["mig"], intervals=False)
    assert any("100 rows are few" in note for note in few.notes)
    many = report(codes, factors, NAMES, ["mig"], intervals=False)
    assert not any("few" in note for note in many.notes)


def test_note_on_constant_codes(noisy):
    codes, factors = noisy
    result = report(np.insert(codes, 2, 0.3, axis=1), factors, None, ["mig"], intervals=False)
    assert "Constant codes: 2." in result.notes
    assert [row.code for row in result.factors] == [0, 1, 3]


def test_text_lines_up(found):
    result, _ = found
    blocks = str(result).split("\n\n")
    assert blocks[0] == "4 codes, 3 factors, 1500 rows"
    for block in blocks[1:3]:
        assert len({len(line) for line in block.splitlines()}) == 1
    assert blocks[1].splitlines()[0].split("  ")[-2:] == ["chance", "untrained"]
    assert f"{result.metrics[0].score.score:.3f}" in blocks[1].splitlines()[1].split()


def test_markdown_and_html_hold_every_cell(found):
    result, _ = found
    html, markdown = result._repr_html_(), result.to_markdown()
    for row in result.metrics:
        for cell in (row.name, f"{row.score:.3f}", f"[{row.interval[0]:.3f}, "):
            assert cell in html
            assert cell in markdown
    assert all(
        line.count("|") == 6 for line in markdown.splitlines() if "score" in line and "|" in line
    )


def test_names_are_escaped(noisy):
    codes, factors = noisy
    result = report(codes, factors, ["<b>", "a|b", "&"], metrics=[mig], intervals=False)
    assert "<th>&lt;b&gt;</th>" in result._repr_html_()
    assert "<b>" not in result._repr_html_()
    assert r"| a\|b |" in result.to_markdown()


def test_json_gives_the_numbers_back(found):
    result, _ = found
    stored = json.loads(result.to_json())
    assert stored == result.to_dict()
    assert stored["metrics"]["MIG"]["score"] == result.metrics[0].score.score
    assert stored["metrics"]["MIG"]["interval"] == list(result.metrics[0].interval)
    assert stored["metrics"]["MIG"]["provenance"]["bins"] == 20
    assert stored["factors"]["scale"]["code"] == 1


def test_metrics_may_be_named(noisy):
    codes, factors = noisy
    chosen = {"fine": functools.partial(mig, bins=50), "MIG": mig}
    rows = report(codes, factors, metrics=chosen, intervals=False).metrics
    assert [row.name for row in rows] == ["fine", "MIG"]
    assert rows[0].score == mig(codes, factors, bins=50) != rows[1].score


def test_inferred_flags_hold_for_every_resample():
    """Values that repeat in the whole repeat otherwise in a resample; the flags stay."""
    seen = []

    def note_flags(codes, factors, *, discrete, rng):
        seen.append(tuple(discrete))
        return 0.0

    values = np.repeat(np.linspace(0, 1, 20), 5).reshape(-1, 1)
    report(values, values, metrics=[note_flags], replicates=4)
    assert set(seen) == {(True,)}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"metrics": "all-of-them"}, ValueError, "'standard'"),
        ({"metrics": []}, TypeError, "metrics.mig"),
        ({"metrics": mig}, TypeError, "metrics.mig"),
        ({"metrics": ["migg"]}, ValueError, "there are mig, modularity, sap"),
        ({"metrics": [3]}, TypeError, "functions metric"),
        ({"metrics": ["mig", mig]}, ValueError, "'MIG' twice"),
        ({"preset": "locatello2020"}, ValueError, "'locatello2019'"),
        ({"preset": "locatello2019", "metrics": "all"}, ValueError, "got both"),
        ({"metrics": [mig, mig]}, ValueError, "different names"),
        ({"metrics": [functools.partial(mig, bins=5)]}, ValueError, "mapping"),
        ({"metrics": {"pair": lambda c, f, discrete, rng: (1, 2)}}, TypeError, "tuple"),
        ({"names": "abc"}, TypeError, "3 strings"),
        ({"names": 3}, TypeError, "3 strings"),
        ({"names": ["a", "b"]}, ValueError, "3 different names"),
        ({"names": ["a", "b", "a"]}, ValueError, "2 differ"),
        ({"compare": np.zeros((9, 2))}, TypeError, "untrained"),
        ({"compare": {"short": np.zeros((9, 2))}}, ValueError, "9 and 1500"),
        ({"replicates": 1}, ValueError, "replicates"),
    ],
)
def test_settings_out_of_range(noisy, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        report(*noisy, **settings)
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert "\n" not in message
    assert 25 <= len(message) <= 400


def test_a_metric_of_several_values_has_a_row_for_each(noisy):
    codes, factors = noisy
    result = report(codes, factors, metrics=["mir", infomec], replicates=3, rng=2)
    rows = {row.name: row for row in result.metrics}
    whole = infomec(codes, factors, rng=2)
    assert rows["InfoMEC infoc"].score == whole.infoc
    assert rows["MIR modularity"].score == mir(codes, factors).modularity
    assert list(rows) == [f"MIR {x}" for x in ("modularity", "compactness")] + [
        f"InfoMEC {x}" for x in ("infom", "infoe", "infoc")
    ]
    for row in rows.values():
        assert 0 <= row.interval[0] <= row.score <= row.interval[1] <= 1
        assert row.chance < row.score
    stored = json.loads(result.to_json())["metrics"]["InfoMEC infom"]
    assert stored["provenance"]["metric"] == "infomec"


def test_what_is_fitted_is_fitted_for_the_value_and_one_permutation(noisy):
    """Its interval is that of its own resamples of the test rows: here those of a share p."""
    from typing import NamedTuple

    fits = []

    class Fit(NamedTuple):
        share: float
        of_the_fit: float

        def resampled(self, rng, replicates):
            return {"share": rng.binomial(400, self.share, size=replicates) / 400}

    def fitted(codes, factors, *, discrete, rng):
        fits.append(codes)
        return Fit(0.8, 0.5)

    share, of_the_fit = report(*noisy, metrics=[fitted], replicates=500).metrics
    assert len(fits) == 2
    reach = (share.interval[1] - share.interval[0]) / 2
    assert reach == pytest.approx(1.96 * (0.8 * 0.2 / 400) ** 0.5, rel=0.1)
    assert (of_the_fit.score, of_the_fit.interval) == (0.5, None)


def test_every_metric_sees_the_same_draws(noisy):
    codes, factors = (array[:200] for array in noisy)
    seen = {"first": [], "second": []}

    def watch(name):
        def metric(codes, factors, *, discrete, rng):
            seen[name].append((codes.sum(), factors.sum(), rng))
            return float(codes.mean())

        return metric

    report(codes, factors, metrics={name: watch(name) for name in seen}, replicates=3)
    assert len(set(seen["first"])) == 1 + 5 + 3
    assert seen["first"] == seen["second"]


def test_every_shipped_metric_of_codes_and_factors_is_in_the_table_of_all():
    functions = {metric.__name__ for metric in ALL.values()}
    assert functions <= set(metrics.__all__)
    of_codes = {
        "carried_factors",
        "code_mutual_information",
        "gaussian_total_correlation",
        "gaussian_wasserstein",
        "hoyer_sparsity",
        "match",
        "mutual_information",
        "report",
        "student_t_to_normal",
        "udr",
    }
    offered = {name for name in metrics.__all__ if name.islower()}
    assert offered - functions - of_codes == {"dci_es"}


def test_the_standard_report_is_that_of_the_comparison(noisy):
    codes, factors = (array[:600] for array in noisy)
    result = report(codes, factors, replicates=2)
    assert [row.name.split(" ")[0] for row in result.metrics if "DCI" not in row.name] == [
        name.split(" ")[0] for name in STANDARD if name != "DCI"
    ]
    settings = {row.name: row.provenance for row in result.metrics}
    assert "100 rounds of depth 3" in settings["DCI disentanglement"]["estimator"]
    assert modularity(codes, factors) == result.metrics[1].score


def test_the_preset_has_the_settings_of_the_study(monkeypatch):
    """With the costly estimator replaced: what is asked of each metric, and of how many rows."""
    rng = np.random.default_rng(0)
    factors = rng.integers(3, size=(16_000, 2))
    codes = factors + 0.3 * rng.normal(size=factors.shape)
    codes[:, 1] *= 0.05  # a standard deviation below 0.05
    from disvae.metrics import suites

    asked = {}

    def dci(codes, factors, *, discrete, rng, **settings):
        asked.update(settings)
        return 0.5

    monkeypatch.setattr(suites, "dci", dci)
    result = report(codes, factors, preset="locatello2019", intervals=False)
    assert asked == {"estimator": "gbt-exact", "train_rows": 10_000, "test_rows": 5_000}
    told = {row.name: row.provenance for row in result.metrics}
    assert (told["MIG"]["n"], told["MIG"]["bins"]) == (10_000, 20)
    assert (told["modularity"]["n"], told["modularity"]["bins"]) == (10_000, 20)
    assert told["SAP"]["n"] == 15_000
    votes = told["FactorVAE score"]
    assert (votes["train_votes"], votes["eval_votes"], votes["batch_size"]) == (10_000, 5_000, 64)
    assert (votes["min_std"], votes["dropped"]) == (0.05, [1])
    votes = told["β-VAE score"]
    assert (votes["train_votes"], votes["eval_votes"], votes["batch_size"]) == (10_000, 5_000, 64)


def test_other_codes_may_leave_a_metric_undefined(noisy):
    codes, factors = noisy

    def spread(codes, factors, *, discrete, rng):
        if (codes == codes[0]).all():
            raise NotDefinedError("Expected codes that vary.", reason="constant codes")
        return 0.5

    row = report(codes, factors, metrics=[spread], compare={"dead": np.ones_like(codes)}).metrics[0]
    assert (row.score, row.compare) == (0.5, {"dead": None})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused(noisy, value):
    with pytest.raises(ValueError, match="finite numbers, but 'bad' is"):
        report(*noisy, metrics={"bad": lambda c, f, discrete, rng: value})
