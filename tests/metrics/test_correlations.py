"""Intervals of correlations that are as wide as scores moved."""

import math

import numpy as np
import pytest
import scipy.stats

from octavo.metrics.correlations import (
    correlation_difference,
    level_scores,
    pearson_effects,
    rank_effects,
    smooth_shares,
    step_shares,
    unseen_effect,
)

NOISES = (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


def scored(n, noise, seed=0):
    generator = np.random.default_rng(seed)
    gold = np.round(generator.uniform(0, 5, n), 1)
    first = gold / 5 + generator.normal(0, 0.3, n)
    return gold, first, first + noise * generator.normal(size=n)


def width(found):
    return found.high - found.low


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("noise", "most"), [(1e-12, 1e-11), (1e-7, 5e-5), (1e-5, 3e-4), (1e-4, 6e-4)])
def test_scores_that_moved_by_little_have_a_narrow_interval(noise, most, seed):
    """An exchange with a random row, of 800, made of the last three +-0.0141, +-0.0041 and +-0.0007."""
    found = correlation_difference(*scored(800, noise, seed), ranked=True)
    assert found.low < found.lower < found.upper < found.high
    assert found.low <= found.value <= found.high
    assert width(found) < most
    assert found.lower > -0.005, "PASS under --max-drop 0.5"


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_the_interval_is_about_a_paired_bootstraps(noise):
    gold, first, second = scored(800, noise)
    found = correlation_difference(gold, first, second, ranked=True)

    def spearman(x, y, axis):
        ranks = (scipy.stats.rankdata(one, axis=axis) for one in (x, y))
        return scipy.stats.pearsonr(*ranks, axis=axis).statistic

    expected = scipy.stats.bootstrap(
        (gold, first, second),
        lambda x, y, z, axis: spearman(x, z, axis) - spearman(x, y, axis),
        paired=True,
        vectorized=True,
        n_resamples=500,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    assert 0.7 < width(found) / (expected.high - expected.low) < 2


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("n", [20, 50, 300, 800])
@pytest.mark.parametrize("seed", range(3))
def test_less_noise_never_makes_an_interval_wider(n, ranked, seed):
    widths = [width(correlation_difference(*scored(n, noise, seed), ranked=ranked)) for noise in NOISES]
    assert widths == sorted(widths)
    assert widths[0] < 1e-10


@pytest.mark.parametrize("ranked", [True, False])
def test_a_scale_that_moved_moves_no_correlation(ranked):
    gold, first, _ = scored(200, 0)
    found = correlation_difference(gold, first, 3 * first - 7, ranked=ranked)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert width(found) < 1e-10


def test_what_ranks_do_not_show_is_held_where_it_leans_one_way():
    """The second model loses a hundred-millionth of the gold score: no rank of 200 rows changes, among more they do."""
    held, excluded = 0, 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        gold = generator.normal(size=200)
        first = 0.65 * gold + math.sqrt(1 - 0.65**2) * generator.normal(size=200)
        found = correlation_difference(gold, first, first - 1e-8 * gold, ranked=True)
        after = (0.65 - 1e-8) / math.sqrt(1 - 2 * 0.65e-8 + 1e-16)
        truth = 6 / math.pi * (math.asin(after / 2) - math.asin(0.65 / 2))
        held += found.low <= truth <= found.high
        excluded += truth < 0.5 * found.high < 0 or found.low < 2 * truth
        assert found.value == 0
        assert width(found) < 1e-7
    assert held > 0.93 * 60


def ramped(values, weights, h):
    """The smoothed distribution function at each value, by all pairs."""
    steps = np.clip((values[:, None] - values[None, :]) / (2 * h) + 0.5, 0, 1)
    return steps @ weights / weights.sum()


def test_smoothed_shares_are_those_of_all_pairs():
    values, numbers = np.random.default_rng(0).random(300), np.random.default_rng(1).normal(size=300)
    h, found = 300 ** (-1 / 3) / 2, smooth_shares(values)
    np.testing.assert_allclose(found.centred, ramped(values, np.ones(300), h) - 0.5, atol=1e-12)
    steps = np.clip((values[None, :] - values[:, None]) / (2 * h) + 0.5, 0, 1)
    np.testing.assert_allclose(found.above(numbers), steps @ numbers / 300, atol=1e-12)


def weighted_correlation(a, b, weights):
    a, b = a - np.average(a, weights=weights), b - np.average(b, weights=weights)
    return weights @ (a * b) / math.sqrt((weights @ (a * a)) * (weights @ (b * b)))


@pytest.mark.parametrize("row", [0, 7, 50])
@pytest.mark.parametrize("smooth", [False, True])
def test_the_effect_of_a_row_is_the_slope_by_its_weight(row, smooth):
    """The influence function by its definition (Hampel 1974): how the statistic answers to a row's weight."""
    gold, first, second = scored(120, 0.05)
    first, second = level_scores(first, second)
    h = 120 ** (-1 / 3) / 2

    def shares(values, weights):
        below = (values[:, None] > values[None, :]) + 0.5 * (values[:, None] == values[None, :])
        return below @ weights / weights.sum()

    def statistic(weights):
        ranks = (lambda v: ramped(v, weights, h)) if smooth else (lambda v: shares(v, weights))
        x = shares(gold, weights)
        return weighted_correlation(x, ranks(second), weights) - weighted_correlation(x, ranks(first), weights)

    step, ones = 1e-4, np.ones(120)
    more, less = ones.copy(), ones.copy()
    more[row] += step
    less[row] -= step
    slope = (statistic(more) - statistic(less)) / (2 * step) * 120
    make = smooth_shares if smooth else step_shares
    value, effects = rank_effects(step_shares(gold), make(first), make(second))
    assert effects.mean() == pytest.approx(value)
    assert value == pytest.approx(statistic(ones))
    assert effects[row] - effects.mean() == pytest.approx(slope, abs=2e-3 * np.abs(effects).max())


def test_levelled_scores_are_even_and_keep_their_order():
    _, first, second = scored(500, 1e-3)
    for one, other in ((first, second), (np.exp(3 * first), np.exp(3 * second)), (np.round(first, 1), first)):
        even, moved = level_scores(one, other)
        np.testing.assert_array_equal(np.argsort(even, kind="stable"), np.argsort(one, kind="stable"))
        assert scipy.stats.spearmanr(moved, other)[0] == pytest.approx(1)
    even, moved = level_scores(first, np.r_[-9, 9, second[2:]])
    assert moved[0] < even.min() - 0.2
    assert moved[1] > even.max() + 0.2
    assert scipy.stats.kstest(even, "uniform").statistic < 0.03


def test_what_a_row_may_do_goes_with_the_movement_up_to_an_exchange():
    gold, first, _ = scored(500, 0)
    noise = np.random.default_rng(2).normal(size=500)
    sizes = [unseen_effect(gold, first, first + s * noise) for s in (1e-9, 1e-6, 1e-3, 1e3)]
    assert sizes[1] == pytest.approx(1000 * sizes[0], rel=1e-3)
    assert sizes[2] == pytest.approx(1000 * sizes[1], rel=0.02)
    a, b = ((v - v.mean()) / v.std() for v in (gold, first))
    r = np.mean(a * b)
    own = a * b - r * b * b / 2
    exchanged = (a[:, None] * b[None, :] - r * b[None, :] ** 2 / 2) - own[:, None]
    assert sizes[3] == pytest.approx(np.sqrt(np.mean(exchanged**2)), rel=1e-9)


def test_pearsons_effects_add_up_to_its_slope():
    gold, first, second = scored(300, 0.1)
    value, effects = pearson_effects(gold, first, second)
    assert effects.mean() == pytest.approx(value)
    step = 1e-5
    for row in (0, 100):
        more, less = np.ones(300), np.ones(300)
        more[row] += step
        less[row] -= step
        slope = [weighted_correlation(gold, second, w) - weighted_correlation(gold, first, w) for w in (more, less)]
        assert effects[row] - effects.mean() == pytest.approx((slope[0] - slope[1]) / (2 * step) * 300, abs=1e-4)


def test_one_row_that_jumped_is_as_wide_as_before():
    """Where one of 300 rows changed by much and the others by 1e-6, the next may too: as wide as by an exchange."""
    gold, first, second = scored(300, 1e-6)
    second[17] += 1.5
    found = correlation_difference(gold, first, second, ranked=True)
    assert width(found) > 0.02


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize(("n", "noise"), [(50, 1e-8), (50, 0.1), (300, 1e-8), (300, 1e-3)])
def test_intervals_hold_what_they_say_whatever_the_noise(n, noise, ranked):
    """A small seeded case; bench/coverage.py has the full table."""
    r = (0.65 - 0.5 * noise) / math.sqrt(1 + 1.25 * noise**2 - 0.65 * noise)
    before, after = (6 / math.pi * math.asin(one / 2) if ranked else one for one in (0.65, r))
    found = []
    for seed in range(80):
        generator = np.random.default_rng([n, seed])
        gold = generator.normal(size=n)
        first = 0.65 * gold + math.sqrt(1 - 0.65**2) * generator.normal(size=n)
        second = first + noise * (generator.normal(size=n) - 0.5 * gold)
        found.append(correlation_difference(gold, first, second, ranked=ranked))
    assert np.mean([one.low <= after - before <= one.high for one in found]) > 0.9
    assert np.mean([one.lower <= after - before for one in found]) > 0.89
    assert np.mean([after - before <= one.upper for one in found]) > 0.89
