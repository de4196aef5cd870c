import importlib.util
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import f1_score

from octavo.metrics import estimates
from octavo.metrics.correlations import correlation_difference
from octavo.metrics.differences import DIFFERENCES, accuracy_difference, macro_f1_difference
from octavo.metrics.estimates import cosine_estimate, identical, mcnemar, ratio_estimate, rows_to_decide, share_estimate
from octavo.metrics.intervals import bca_interval, score_interval

BENCH = Path(__file__).parents[2] / "bench"
LEAST = 0.93  # of what an interval of 95 % should hold


def outcomes(n, better, worse):
    """Labels of which the second model has `better` right that the first had not, and the other way round."""
    gold = np.zeros(n, np.int64)
    first, second = gold.copy(), gold.copy()
    first[:better] = 1
    second[better : better + worse] = 1
    return gold, first, second


def tango(n, b, c, limit):
    """The score statistic of the paper, with its closed form of the restricted estimate."""
    last = -c * limit * (1 - limit)
    middle = -b - c + (2 * n - b + c) * limit
    q = (np.sqrt(middle**2 - 8 * n * last) - middle) / (4 * n)
    return (b - c - n * limit) / np.sqrt(n * (2 * q + limit * (1 - limit)))


@pytest.mark.parametrize(("n", "better", "worse"), [(44, 9, 1), (50, 0, 3), (300, 5, 4), (5010, 21, 17), (30, 30, 0)])
def test_the_interval_of_accuracy_is_tangos_but_for_part_of_a_row(n, better, worse):
    found = accuracy_difference(*outcomes(n, better, worse))
    assert found.value == pytest.approx((better - worse) / n)
    up, down = 0.15 * (better < worse), 0.15 * (worse < better)  # of a row that changed the rarer way
    for share, low, high in ((0.975, found.low, found.high), (0.95, found.lower, found.upper)):
        z = scipy.stats.norm.ppf(share)
        assert tango(n, better, worse + down, low - down / n) == pytest.approx(z, abs=1e-4)
        if better < n:
            assert tango(n, better + up, worse, high + up / n) == pytest.approx(-z, abs=1e-4)
    assert found.changed == better + worse


def test_no_changed_row_does_not_mean_no_doubt():
    found = accuracy_difference(*outcomes(100, 0, 0))
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    assert (found.low, found.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-6)
    assert identical().low == identical().high == 0


def test_effects_of_any_size_turn_around_with_their_sign():
    effects = np.r_[np.zeros(95), 0.4, 0.5, -0.2, 1.3, 0.1]
    low, high = score_interval(effects, 2.0, 0.95)
    assert low < effects.mean() < high
    assert score_interval(-effects, 2.0, 0.95) == pytest.approx((-high, -low))
    narrower = score_interval(effects, 2.0, 0.9)
    assert low < narrower[0] < narrower[1] < high


def labels(n, seed=0, classes=3, changed=0.1):
    generator = np.random.default_rng(seed)
    gold = generator.choice(classes, n, p=np.r_[0.6, np.full(classes - 1, 0.4 / (classes - 1))])
    first = np.where(generator.random(n) < 0.7, gold, generator.integers(0, classes, n))
    second = np.where(generator.random(n) < changed, generator.integers(0, classes, n), first)
    return gold, first, second


@pytest.mark.parametrize("n", [40, 400, 4000])
def test_macro_f1_is_sklearns_and_its_effects_add_up(n):
    gold, first, second = labels(n)
    found = macro_f1_difference(gold, first, second)
    expected = f1_score(gold, second, average="macro") - f1_score(gold, first, average="macro")
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high
    assert found.changed == np.sum(first != second)
    assert found.method == ("bca" if n == 4000 else "score")


def test_macro_f1_of_a_label_that_one_model_invents():
    gold, first, second = labels(60, changed=0)
    second = second.copy()
    second[0] = 3
    found = macro_f1_difference(gold, first, second)
    expected = f1_score(gold, second, average="macro") - f1_score(gold, first, average="macro")
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def scored(n, seed=0, noise=0.3, share=1.0):
    generator = np.random.default_rng(seed)
    gold = np.round(generator.uniform(0, 5, n), 1)
    first = gold / 5 + generator.normal(0, 0.3, n)
    moved = generator.random(n) < share
    return gold, first, first + moved * generator.normal(0, noise, n)


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize(("n", "share"), [(40, 1.0), (500, 1.0), (500, 0.02)])
def test_correlations_are_scipys(ranked, n, share):
    gold, first, second = scored(n, share=share)
    reference = scipy.stats.spearmanr if ranked else scipy.stats.pearsonr
    found = correlation_difference(gold, first, second, ranked=ranked)
    assert found.value == pytest.approx(reference(gold, second)[0] - reference(gold, first)[0], abs=1e-12)
    assert found.low < found.lower < found.value < found.upper < found.high


@pytest.mark.parametrize("ranked", [True, False])
def test_the_bootstrap_of_a_correlation_is_scipys(ranked):
    gold, first, second = scored(800)

    def correlation(x, y, axis):
        x, y = (scipy.stats.rankdata(one, axis=axis) if ranked else one for one in (x, y))
        return scipy.stats.pearsonr(x, y, axis=axis).statistic

    found = correlation_difference(gold, first, second, ranked=ranked)
    expected = scipy.stats.bootstrap(
        (gold, first, second),
        lambda x, y, z, axis: correlation(x, z, axis) - correlation(x, y, axis),
        paired=True,
        vectorized=True,
        batch=100,
        n_resamples=2000,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    width = expected.high - expected.low
    assert found.method == "bca"
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), atol=0.12 * width)


def test_the_accelerated_interval_is_scipys_for_a_mean():
    x = np.random.default_rng(0).exponential(size=60)
    generator = np.random.default_rng(1)
    drawn = x[generator.integers(0, 60, (20000, 60))].mean(axis=1)
    expected = scipy.stats.bootstrap((x,), np.mean, n_resamples=20000, random_state=2).confidence_interval
    found = bca_interval(float(x.mean()), drawn, x, 0.95)
    np.testing.assert_allclose(found, (expected.low, expected.high), atol=0.02)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (3, 0), (5, 5), (12, 3), (400, 350)])
def test_mcnemar_is_the_binomial_test(worse, better):
    expected = scipy.stats.binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "worse"), [(20, 0), (200, 2), (1000, 4), (1000, 8), (3000, 20)])
def test_rows_that_would_decide_do_and_fewer_do_not(n, worse):
    limit, found = -0.005, accuracy_difference(*outcomes(n, 0, worse))
    assert found.lower < limit < found.upper, "nothing is decided yet"
    needed = rows_to_decide(found, n, limit)

    def decided(rows, whole=math.ceil):
        """With rows enough, or few enough, for a whole number of changed ones."""
        rows = round(whole(rows * worse / n) * n / worse) if worse else rows
        again = accuracy_difference(*outcomes(rows, 0, round(worse * rows / n)))
        return again.lower > limit if found.value > limit else again.upper < limit

    assert decided(needed)
    assert not decided(round(0.8 * needed), math.floor)
    assert rows_to_decide(found, n, found.value) is None


@pytest.mark.parametrize(("count", "n"), [(20, 20), (99, 100), (395, 400), (194, 200)])
def test_rows_that_would_decide_on_a_share(count, n):
    limit, found = 0.98, share_estimate(count, n)
    assert found.lower < limit < found.upper
    needed = rows_to_decide(found, n, limit)

    def decided(rows):
        again = share_estimate(rows * count / n, rows)
        return again.lower > limit if found.value > limit else again.upper < limit

    assert decided(needed)
    assert not decided(round(0.8 * needed))


def test_ratios_of_pairs_taken_side_by_side():
    generator = np.random.default_rng(0)
    slow_minutes = generator.lognormal(0, 0.5, (8, 5))
    first, second = 2.0 * slow_minutes, slow_minutes * generator.lognormal(0, 0.01, (8, 5))
    found = ratio_estimate(first, second)
    assert 1.97 < found.low <= found.lower < found.value < found.upper <= found.high < 2.03
    with pytest.raises(ValueError, match="three pairs"):
        ratio_estimate(first[:1, :2], second[:1, :2])


@pytest.mark.parametrize(("parts", "rounds"), [(8, 1), (8, 2), (1, 3), (3, 5), (8, 3), (8, 5)])
def test_ratios_are_covered_however_few_rounds_there_were(parts, rounds):
    generator = np.random.default_rng(0)
    found = [ratio_estimate(2 * times[0], times[1]) for times in generator.lognormal(0, 0.1, (400, 2, parts, rounds))]
    assert np.mean([one.low <= 2 <= one.high for one in found]) > 0.91
    for side in ([one.lower <= 2 for one in found], [one.upper >= 2 for one in found]):
        assert np.mean(side) > 0.91


@pytest.mark.parametrize(("count", "n"), [(0, 20), (20, 20), (4961, 5010)])
def test_shares_are_scipys(count, n):
    found = share_estimate(count, n)
    test = scipy.stats.binomtest(count, n)
    np.testing.assert_allclose((found.low, found.high), test.proportion_ci(0.95, method="wilson"), atol=1e-12)
    np.testing.assert_allclose((found.lower, found.upper), test.proportion_ci(0.90, method="wilson"), atol=1e-12)


@pytest.mark.parametrize("n", [1, 3, 20, 300])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_a_mean_cosine_is_as_sure_as_its_rows_are_many(n, spread):
    generator = np.random.default_rng(n)
    true = np.exp(-5 + spread**2 / 2)
    found = [cosine_estimate(generator.lognormal(-5, spread, n)) for _ in range(60)]
    assert np.mean([one.lower <= 1 - true <= one.upper for one in found]) > 0.8
    least, most = scipy.stats.chi2.ppf([0.05, 0.95], 2 * n)  # of exponential distances
    for one in found:
        distance = 1 - one.value
        assert -1 <= one.low < one.lower < one.value < one.upper <= one.high < 1
        assert one.lower < max(-1, 1 - 0.99 * 2 * n * distance / least) + 1e-12
        assert one.upper > 1 - 1.01 * 2 * n * distance / most


@pytest.mark.parametrize("n", [1, 7, 300, 9000])
def test_resamples_that_are_drawn_together_are_those_drawn_one_by_one(n, monkeypatch):
    seen, real = [], estimates.bca_interval
    monkeypatch.setattr(estimates, "bca_interval", lambda *given: seen.append(given[1]) or real(*given))
    distances = np.random.default_rng(1).lognormal(-5, 1, n)
    cosine_estimate(distances, seed=3)
    generator = np.random.default_rng(3)
    expected = [distances[generator.integers(0, n, n)].mean() for _ in range(2000)]
    assert all(np.array_equal(drawn, expected) for drawn in seen)
    assert len(seen) == 2


def test_few_rows_show_no_cosine_above_a_limit():
    assert cosine_estimate(np.array([0.005])).lower < 0.99
    assert cosine_estimate(1 - np.array([0.9952, 0.9955, 0.9960])).lower < 0.99
    assert cosine_estimate(np.full(100, 0.005)).lower > 0.99


@pytest.mark.parametrize("ranked", [True, False])
def test_no_interval_is_without_width_while_outputs_differ(ranked):
    one = np.zeros(30, np.int64)
    scores = np.linspace(0, 5, 30)
    for found in (
        macro_f1_difference(one, one, one),
        correlation_difference(scores, np.ones(30), np.ones(30), ranked=ranked),
        correlation_difference(np.ones(30), scores, scores + 1e-6, ranked=ranked),
        correlation_difference(scores, scores, scores, ranked=ranked),
    ):
        assert found.low < found.lower < found.value == 0 < found.upper < found.high


def test_ties_are_ties_to_the_influence_on_a_rank_correlation():
    gold = np.random.default_rng(0).integers(0, 2, 400).astype(float)
    generator = np.random.default_rng(1)
    first = gold + generator.normal(0, 1, 400)
    second = np.where(generator.random(400) < 0.2, first + generator.normal(0, 1, 400), first)
    found = correlation_difference(gold, first, second, ranked=True)
    drawn = []
    for _ in range(1000):
        rows = generator.integers(0, 400, 400)
        before, after = (scipy.stats.spearmanr(gold[rows], scores[rows])[0] for scores in (first, second))
        drawn.append(after - before)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.2)


@pytest.fixture
def drawn():
    """A metric, how many rows and the share that changed -> the samples' estimates, and the truth."""
    spec = importlib.util.spec_from_file_location("coverage", BENCH / "coverage.py")
    sys.path.insert(0, str(BENCH))
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    sys.path.remove(str(BENCH))

    def draw(kind, metric, n, share, repetitions):
        gold, first, second = bench.DRAWS[kind](metric, 400_000, share, np.random.default_rng(1))
        truth = bench.SCORES[metric](gold, second) - bench.SCORES[metric](gold, first)
        samples = (bench.DRAWS[kind](metric, n, share, np.random.default_rng([7, seed])) for seed in range(repetitions))
        return [DIFFERENCES[metric](*sample) for sample in samples], truth

    return draw


WIDTHS = {"accuracy": (0.21, 0.044, 0.0073), "macro_f1": (0.29, 0.053, 0.0080), "spearman": (0.24, 0.053, 0.0063)}


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize(("n", "share"), [(50, 0.1), (300, 0.03), (3000, 0.01)])
def test_intervals_cover_what_they_say(drawn, name, n, share):
    """A small seeded case, and how wide they may be at most; bench/coverage.py has the full table."""
    found, truth = drawn("first", name, n, share, 150)
    for held in (
        [one.low <= truth <= one.high for one in found],
        [one.lower <= truth for one in found],
        [truth <= one.upper for one in found],
    ):
        assert np.mean(held) > 0.9
    assert np.mean([one.high - one.low for one in found]) < WIDTHS[name][(50, 300, 3000).index(n)]


def test_what_is_published_holds_what_it_says():
    stored = json.loads((BENCH / "results" / "coverage-any.json").read_text(encoding="utf-8"))["coverage"]
    assert stored["repetitions"] >= 2000
    assert {(row["rows"], row["metric"]) for row in stored["rows"]} >= {
        (rows, metric) for rows in ("first", "second") for metric in ("accuracy", "macro_f1")
    }
    for row in stored["rows"]:
        assert min(row["coverage"], row["lower"], row["upper"]) >= LEAST, row
        if row["n"] * row["share"] > 20:
            assert row["coverage"] <= 0.97, row


def test_what_is_published_of_noise_holds_what_it_says_and_is_monotone():
    rows = json.loads((BENCH / "results" / "coverage-noise.json").read_text(encoding="utf-8"))["noise"]["rows"]
    every = [row for row in rows if "jumps" not in row["rows"]]
    assert {row["score"] for row in every} == {"accuracy", "modelled", "macro_f1", "spearman", "pearson"}
    assert {row["n"] for row in every} >= {50, 5000}
    assert {row["noise"] for row in every} >= {1e-8, 1.0}
    for row in every:
        chance = 3.5 * math.sqrt(0.05 * 0.95 / row["repetitions"])  # of several hundred cells
        assert min(row["coverage"], row["lower"], row["upper"]) >= 0.95 - chance, row
        if row["score"] in {"accuracy", "macro_f1"}:
            assert row["width"] <= row["without_margins"], "margins only narrow it"
    for kind in {(row["score"], row["rows"], row["n"]) for row in every}:
        widths = [row["width"] for row in every if (row["score"], row["rows"], row["n"]) == kind]
        # Macro-F1 of 50 rows is counted from a noise of 0.1 on: no changed row tells less of its size than a few do.
        assert all(wider >= 0.95 * narrower for narrower, wider in itertools.pairwise(widths)), kind
        assert widths[0] < 1e-5, kind
