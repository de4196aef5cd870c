"""Differences of two correlations with the same gold scores: Spearman's and Pearson's, and what a row does to them.

The difference is the mean of one effect per row, the difference of the two influence functions (Croux and Dehon 2010,
"Influence functions of the Spearman and Kendall correlation measures", Statistical Methods & Applications 19).

Ranks hide movements smaller than the distance to the next row, though each of them would have been seen among more
rows. So a rank correlation is also taken of ranks that are smoothed (`smooth_shares`), which answer to a movement of
any size in proportion to it: Nadaraya 1964, "Some new estimates for distribution functions" (Theory of Probability and
its Applications 9), a kernel in the place of each step of the empirical distribution. The interval holds what both say.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.metrics.estimates import RESAMPLES, Estimate
from octavo.metrics.intervals import FEW, FloatArray, bca_interval, making, score_interval, size
from octavo.metrics.scores import midranks

LabelArray = NDArray[np.int64]
FURTHER = 2  # times the size of the movements that were seen; chosen by simulation
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Shares:
    """Of each row the share of rows with lower values, less a half, and what a row adds to those of others.

    `above`: of numbers of the rows, E[1(each row's value >= this one's) number], at each row.
    """

    centred: FloatArray
    above: Callable[[FloatArray], FloatArray]


def auc_difference(gold: FloatArray, first: FloatArray, second: FloatArray, *, seed: int = 0) -> Estimate:
    """Of the areas under two models' ROC curves; gold [rows] is 0 or 1, the scores are [rows] each.

    With F the share of rows with lower scores, G the gold and p its mean, the area is 1/2 + E[(G - p) F] / p (1 - p): a
    covariance with ranks, bounded as Spearman's correlation is. Where all rows have one gold it is 1/2.
    """
    if gold.min() == gold.max():
        return Estimate(0.0, -1.0, 1.0, -1.0, 1.0, "score", int(np.sum(first != second)))
    values = [scores.astype(np.float64) for scores in (gold, first, second)]
    value, effects = _auc_effects(values[0], *map(step_shares, values[1:]))
    if making(effects) >= FEW:

        def difference(drawn: list[FloatArray], weights: FloatArray) -> float:
            return _area(drawn[0], drawn[2], weights) - _area(drawn[0], drawn[1], weights)

        return _bootstrapped(value, values, effects, seed, difference)
    smoothed = [smooth_shares(scores) for scores in level_scores(*values[1:])]
    means = [effects, _auc_effects(values[0], *smoothed)[1]]
    spread = math.sqrt(1 / 12) / float(gold.std())  # of a correlation to a covariance over p (1 - p)
    unseen = spread * unseen_effect(values[0], *(shares.centred for shares in smoothed))
    return _scored(value, means, unseen, int(np.sum(first != second)))


def correlation_difference(
    gold: FloatArray, first: FloatArray, second: FloatArray, *, ranked: bool, seed: int = 0
) -> Estimate:
    """Of the correlations of two models' scores with the gold ones, [rows] each; Spearman's if `ranked`, or Pearson's.

    Where fewer than `FEW` rows make the difference, by score intervals: a row that was not seen is taken to move about
    as far as the farthest of those that were (`unseen_effect`), and ranks are also smoothed. Elsewhere by the
    bootstrap; every resample is ranked anew.
    """
    values = [scores.astype(np.float64) for scores in (gold, first, second)]
    value, effects = rank_effects(*map(step_shares, values)) if ranked else pearson_effects(*values)
    if making(effects) >= FEW:
        codes = [_codes(scores) for scores in values] if ranked else None

        def difference(drawn: list[FloatArray], weights: FloatArray) -> float:
            drawn = drawn if codes is None else [midranks(code, weights) for code in codes]
            return _correlation(drawn[0], drawn[2], weights) - _correlation(drawn[0], drawn[1], weights)

        return _bootstrapped(value, values, effects, seed, difference)
    means, measured = [effects], values
    if ranked:
        shares = [step_shares(values[0]), *map(smooth_shares, level_scores(*values[1:]))]
        means.append(rank_effects(*shares)[1])
        measured = [part.centred for part in shares]
    return _scored(value, means, unseen_effect(*measured), int(np.sum(first != second)))


def _bootstrapped(
    value: float,
    values: list[FloatArray],
    effects: FloatArray,
    seed: int,
    difference: Callable[[list[FloatArray], FloatArray], float],
) -> Estimate:
    """By resamples of the rows; `difference` is of the values and how often each row was drawn."""
    generator, n, drawn = np.random.default_rng(seed), len(values[0]), np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        weights = np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64)
        drawn[index] = difference(values, weights)
    wide, narrow = (bca_interval(value, drawn, effects, confidence) for confidence in (0.95, 0.90))
    return Estimate(value, *wide, *narrow, "bca", int(np.sum(values[1] != values[2])))


def _scored(value: float, means: list[FloatArray], unseen: float, changed: int) -> Estimate:
    """By score intervals, which hold what all of the effects' means say."""

    def ends(confidence: float) -> tuple[float, float]:
        lows, highs = zip(*(score_interval(mean, unseen, confidence) for mean in means), strict=True)
        return min(value, *lows), max(value, *highs)

    return Estimate(value, *ends(0.95), *ends(0.90), "score", changed)


def unseen_effect(gold: FloatArray, first: FloatArray, second: FloatArray) -> float:
    """The effect of a row that moves further than those that were seen to move most; 1 where nothing can tell.

    In units of deviations a movement m changes the influence of a row (a, b) on Pearson's r by m (a - r b) - r m^2 / 2,
    and that on Spearman's, a and b being smoothed ranks, by about as much. m is `FURTHER` times the size of the
    movements that were seen, and a - r b has its size (`size`: what is large weighs more). No movement does more than
    an exchange with any other row (c, d), of which the mean square is E[(a d - r d^2 / 2 - q)^2] for q = a b -
    r b^2 / 2, or 1 + r^2 E[b^4] / 4 + E[q^2] + r^2 / 2. Scores that are the same may differ behind their last digits.
    """
    if not (gold.std() and first.std() and second.std()):
        return 1.0
    a, b, moved = ((v - v.mean()) / v.std() for v in (gold, first, second))
    r = float(np.mean(a * b))
    m = FURTHER * max(EPSILON, size(moved - b))
    own = a * b - r * b * b / 2
    exchange = math.sqrt(1 + r * r * (float(np.mean(b**4)) / 4 + 0.5) + float(np.mean(own**2)))
    return min(exchange, m * size(a - r * b) + m * m / 2)


def level_scores(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both models' scores on one scale on which the first one's are spread evenly over 0 to 1.

    The second's are brought to the first's mean and deviation, which ranks do not see. Then both go through the first's
    distribution function, which is a polygon through every n^(2/3) / 2-th of its values, and goes on at both ends.
    """
    n = len(first)
    if first.std() and second.std():
        second = (second - second.mean()) * (first.std() / second.std()) + first.mean()
    step = max(2, round(n ** (2 / 3) / 2))
    ordered = np.sort(first)
    places = np.unique(np.r_[0:n:step, n - 1])
    knots, which = np.unique(ordered[places], return_index=True)
    heights = (places[which] + 0.5) / n
    if len(knots) < 2:
        return first, second
    reach, slopes = 100 * (knots[-1] - knots[0]), np.diff(heights) / np.diff(knots)
    knots = np.r_[knots[0] - reach, knots, knots[-1] + reach]
    heights = np.r_[heights[0] - slopes[0] * reach, heights, heights[-1] + slopes[-1] * reach]
    return np.interp(first, knots, heights), np.interp(second, knots, heights)


def step_shares(values: FloatArray) -> Shares:
    """Those of the sample; equal values count half."""
    n, code = len(values), _codes(values)

    def above(numbers: FloatArray) -> FloatArray:
        sums = np.bincount(code, numbers)
        return np.asarray((numbers.sum() - np.cumsum(sums) + sums / 2)[code] / n, np.float64)

    return Shares((midranks(code, np.ones(n)) - 0.5) / n - 0.5, above)


def smooth_shares(values: FloatArray) -> Shares:
    """Those of values from 0 to 1, each step being a ramp of half-width h = n^(-1/3) / 2, over about n^(2/3) rows.

    A ramp is the difference of two hinges, ((u + h)_+ - (u - h)_+) / 2h, and a sum of hinges follows from the sums of
    what lies below.
    """
    n, order = len(values), np.argsort(values, kind="stable")
    h, ordered = n ** (-1 / 3) / 2, values[order]
    ends = [(values + side * h, np.searchsorted(ordered, values + side * h)) for side in (1, -1)]

    def below(numbers: FloatArray) -> FloatArray:
        sums = np.r_[0.0, np.cumsum(numbers[order])]
        moments = np.r_[0.0, np.cumsum((numbers * values)[order])]
        upper, lower = (end * sums[count] - moments[count] for end, count in ends)
        return np.asarray((upper - lower) / (2 * h * n), np.float64)

    return Shares(below(np.ones(n)) - 0.5, lambda numbers: numbers.mean() - below(numbers))


def rank_effects(gold: Shares, first: Shares, second: Shares) -> tuple[float, FloatArray]:
    """The difference of the rank correlations, and the effects of the rows, of which it is the mean."""
    value = _correlation(gold.centred, second.centred) - _correlation(gold.centred, first.centred)
    effects = _rank_influence(gold, second) - _rank_influence(gold, first)
    return value, effects + (value - float(effects.mean()))


def _rank_influence(x: Shares, y: Shares) -> FloatArray:
    """Of each row, up to a constant: that of E[F G], by those of E[F F] and E[G G], which ties make less than 1 / 12.

    That of E[F G] is F G + E[1(X >= x) G(Y)] + E[F(X) 1(Y >= y)]; F and G are the shares of lower values, less a half.
    """
    f, g = x.centred, y.centred
    own = [(v.centred**2 + 2 * v.above(v.centred)) / (float(np.mean(v.centred**2)) or 1.0) for v in (x, y)]
    spread = math.sqrt(float(np.mean(f * f)) * float(np.mean(g * g))) or 1.0
    r = float(np.mean(f * g)) / spread
    return np.asarray((f * g + x.above(g) + y.above(f)) / spread - r * (own[0] + own[1]) / 2, np.float64)


def pearson_effects(gold: FloatArray, first: FloatArray, second: FloatArray) -> tuple[float, FloatArray]:
    """The same of Pearson's; the influence of a row on r is a b - r (a^2 + b^2) / 2, in units of deviations."""
    value = _correlation(gold, second) - _correlation(gold, first)
    a, *compared = ((v - v.mean()) / (v.std() or 1.0) for v in (gold, first, second))
    before, after = (a * b - float(np.mean(a * b)) * (a * a + b * b) / 2 for b in compared)
    effects = after - before
    return value, np.asarray(effects + (value - float(effects.mean())), np.float64)


def _auc_effects(gold: FloatArray, first: Shares, second: Shares) -> tuple[float, FloatArray]:
    """The difference of the areas, and the effects of the rows, of which it is the mean."""
    g = gold - gold.mean()
    value = float(np.mean(g * (second.centred - first.centred))) / float(np.mean(g * g))
    effects = _auc_influence(g, second) - _auc_influence(g, first)
    return value, effects + (value - float(effects.mean()))


def _auc_influence(g: FloatArray, y: Shares) -> FloatArray:
    """Of each row on E[g F] / V, up to a constant; V = E[g^2], and what a row adds to V is g^2."""
    spread = float(np.mean(g * g))
    area = float(np.mean(g * y.centred)) / spread
    return np.asarray((g * y.centred + y.above(g) - area * g * g) / spread, np.float64)


def _area(gold: FloatArray, scores: FloatArray, weights: FloatArray) -> float:
    """`metrics.auc` of rows that occur as often as their weights say."""
    ones = weights * gold
    pairs = float(ones.sum() * (weights.sum() - ones.sum()))
    above = float(ones @ midranks(_codes(scores), weights)) - ones.sum() * (ones.sum() + 1) / 2
    return above / pairs if pairs else 0.5


def _codes(values: FloatArray) -> LabelArray:
    """Each value's place among the different ones."""
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def _correlation(x: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> float:
    weights = np.ones(len(x)) if weights is None else weights
    total = weights.sum()
    a, b = x - weights @ x / total, y - weights @ y / total
    spread = math.sqrt(float(weights @ (a * a)) * float(weights @ (b * b)))
    return float(weights @ (a * b)) / spread if spread else 0.0
