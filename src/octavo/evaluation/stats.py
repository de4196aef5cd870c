"""Paired statistics: how much better or worse one model scores than another on the same rows, and how sure that is.

The difference D of two scores is written as the mean of one effect d_i per row, which is 0 for rows whose predictions
agree: for accuracy d_i is -1, 0 or 1; for macro-F1 it is the change of the score along the way from the first model's
predictions to the second's; for a correlation the difference of the two influence functions. Where few rows differ, as
int8 brings it about, D is bounded by a score interval (`score_interval`), elsewhere by the bootstrap (`bca_interval`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from octavo.evaluation.intervals import (
    FloatArray,
    bca_interval,
    chi_squared,
    making,
    score_interval,
    student,
    tango_bound,
)
from octavo.tasks import metrics

LabelArray = NDArray[np.int64]
RESAMPLES = 2000
OF_THE_RARER = 0.15  # of a row that changed the rarer way, more than were seen; chosen by simulation
FEW = 50  # rows that make the difference, below which the bootstrap sees too little: its intervals may have no width
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it can be trusted.

    `low` and `high` bound it with 95 % confidence; `lower` and `upper` are one-sided bounds of 95 % each. `method`: how
    it was bounded. `changed`: of differences, the rows whose predictions differ.
    """

    value: float
    low: float
    high: float
    lower: float
    upper: float
    method: Literal["identical", "score", "bca", "bootstrap", "t"]
    changed: int | None = None


def identical(value: float = 0.0) -> Estimate:
    """Of models whose outputs are the same to the last bit in every row: there is nothing to doubt."""
    return Estimate(value, value, value, value, value, "identical", 0)


def accuracy_difference(gold: LabelArray, first: LabelArray, second: LabelArray) -> Estimate:
    """Of the shares of rows that are right, by Tango's score interval; labels are [rows] each.

    Where few rows changed, and most of them one way, its one-sided bound on the other way's side holds 91 %, as bounds
    of few counts go in steps: a part of a row more that changed that way makes it 94 (bench/coverage.py).
    """
    n, effects = len(gold), (second == gold).astype(np.int64) - (first == gold)
    better, worse = int(np.sum(effects > 0)), int(np.sum(effects < 0))

    def bound(b: int, c: int, confidence: float) -> float:
        more = OF_THE_RARER if b < c else 0.0
        return tango_bound(b + more, c, n, NormalDist().inv_cdf(0.5 + confidence / 2) ** 2) - more / n

    def ends(confidence: float) -> tuple[float, float]:
        return -bound(worse, better, confidence), bound(better, worse, confidence)

    return Estimate((better - worse) / n, *ends(0.95), *ends(0.90), "score", int(np.sum(first != second)))


def macro_f1_difference(gold: LabelArray, first: LabelArray, second: LabelArray, *, seed: int = 0) -> Estimate:
    """Of the means over the labels of F1 = 2 tp / (predicted + gold); labels are [rows] each, from 0.

    The effect of a row is the change of its two cells' derivatives, integrated over the straight way from the first
    confusion matrix to the second (Aumann and Shapley 1974): the effects of all rows add up to the difference.
    """
    count = int(max(gold.max(), first.max(), second.max())) + 1
    cells, index, numbers = np.unique((gold * count + first) * count + second, return_inverse=True, return_counts=True)
    g, a, b = cells // count**2, cells // count % count, cells % count

    def difference(drawn: NDArray[np.int64]) -> FloatArray:
        """Of resamples of the cells, [resamples, cells] -> [resamples]."""
        return _macro_f1(drawn, g, b, count) - _macro_f1(drawn, g, a, count)

    value = float(difference(numbers[None])[0])
    slopes = _slopes(numbers, g, a, b, count)
    effects = (slopes[g, b] - slopes[g, a])[index]
    present, gold_labels = np.union1d(np.union1d(g, a), b), np.unique(g)
    shares = np.bincount(g, numbers)[gold_labels] / len(gold)
    changes = np.square(slopes[:, :, None] - slopes[:, None, :])[np.ix_(gold_labels, present, present)]
    squares = np.mean(changes, axis=(1, 2)) @ shares * len(present) / max(1, len(present) - 1)
    unseen = math.sqrt(squares) if len(present) > 1 else 1.0  # a second label would halve the score
    generator = np.random.default_rng(seed)

    def resampled() -> FloatArray:
        return difference(generator.multinomial(len(gold), numbers / len(gold), RESAMPLES))

    return _bounded(value, effects, unseen, resampled, int(np.sum(first != second)))


def correlation_difference(
    gold: FloatArray, first: FloatArray, second: FloatArray, *, ranked: bool, seed: int = 0
) -> Estimate:
    """Of the correlations of two models' scores with the gold ones, [rows] each; Spearman's if `ranked`, or Pearson's.

    Influence functions are those of Croux and Dehon 2010 ("Influence functions of the Spearman and Kendall correlation
    measures"), with the sample's distribution for that of the population. Every resample is ranked anew.
    """
    codes = [np.unique(values, return_inverse=True)[1] for values in (gold, first, second)]
    values = [gold, first, second]

    def correlations(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        x, y, z = [_midranks(code, weights) for code in codes] if ranked else [v.astype(np.float64) for v in values]
        return _correlation(x, y, weights), _correlation(x, z, weights)

    ones = np.ones(len(gold))
    before, after = correlations(ones)
    influence = _spearman_influence if ranked else _pearson_influence
    effects = influence(gold, second) - influence(gold, first)
    effects += float(after - before) - effects.mean()
    generator = np.random.default_rng(seed)

    def resampled() -> FloatArray:
        found = np.empty(RESAMPLES)
        for index in range(RESAMPLES):
            rows = generator.integers(0, len(gold), len(gold))
            one, other = correlations(np.bincount(rows, minlength=len(gold)).astype(np.float64))
            found[index] = other - one
        return found

    others = np.random.default_rng(seed).permutation(len(gold))
    exchanged = influence(gold, first, others) - influence(gold, first)
    unseen = float(np.sqrt(np.mean(np.square(exchanged)))) or 1.0  # where one of the two does not vary: all of it
    return _bounded(float(after - before), effects, unseen, resampled, int(np.sum(first != second)))


def ratio_difference(
    name: str, gold: NDArray[Any], first: NDArray[Any], second: NDArray[Any], *, seed: int = 0
) -> Estimate:
    """Of two scores that are ratios of sums over the rows, A / B (`metrics.RATIOS`).

    The effect of a row is da / B - db A / B^2, the derivatives being their means on the straight way from the first
    model's sums to the second's (Aumann and Shapley 1974): the effects of all rows add up to the difference.
    """
    (a, b), (c, d) = (metrics.RATIOS[name](gold, found) for found in (first, second))
    rows, counts = np.unique(np.stack([a, b, c, d], axis=1).astype(np.float64), axis=0, return_counts=True)

    def difference(drawn: NDArray[np.int64]) -> FloatArray:
        """Of resamples of the rows, [resamples, different rows] -> [resamples]."""
        before, below, after, above = (drawn @ rows).T
        return np.asarray(after / np.maximum(above, 1e-12) - before / np.maximum(below, 1e-12), np.float64)

    n = len(gold)
    ends = np.array([[one.mean() for one in (a, b)], [one.mean() for one in (c, d)]])
    ways = (1 + NODES[:, None]) / 2 * (ends[1] - ends[0]) + ends[0]
    below = np.maximum(ways[:, 1], 1e-12)
    by_above, by_below = float(WEIGHTS @ (1 / below)) / 2, -float(WEIGHTS @ (ways[:, 0] / below**2)) / 2
    effects = by_above * (c - a) + by_below * (d - b).astype(np.float64)
    unseen = by_above * (2.0 if name == "entity_f1" else 1.0)  # one entity, or tag, or answer more that is lost
    generator = np.random.default_rng(seed)

    def resampled() -> FloatArray:
        return difference(generator.multinomial(n, counts / n, RESAMPLES))

    return _bounded(
        float(difference(counts[None])[0]), effects, unseen, resampled, int(np.sum(np.any(first != second, axis=1)))
    )


def perplexity_difference(counts: FloatArray, first: FloatArray, second: FloatArray, *, seed: int = 0) -> Estimate:
    """Of two perplexities, relative and with the sign of a score: 1 - second / first, below 0 where it rose.

    `counts` are the tokens of each window, `first` and `second` the sums of their -log p. With r the difference of
    sum losses / sum counts, D = 1 - exp(r), and a window's effect is linear in what it adds to r (Woodruff 1971, "A
    simple method for approximating the variance of a complicated estimate", JASA 66).
    """
    lost, n = (second - first).astype(np.float64), len(counts)
    rise = float(lost.sum() / counts.sum())
    value = 1 - math.exp(rise)
    effects = value - math.exp(rise) * n / float(counts.sum()) * (lost - rise * counts)
    generator = np.random.default_rng(seed)

    def resampled() -> FloatArray:
        found = np.empty(RESAMPLES)
        for index in range(RESAMPLES):
            rows = generator.integers(0, n, n)
            found[index] = 1 - math.exp(lost[rows].sum() / counts[rows].sum())
        return found

    unseen = float(np.abs(effects).max(initial=0))
    return _bounded(value, effects, unseen, resampled, int(np.sum(first != second)))


DIFFERENCES: dict[str, Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], Estimate]] = {
    "accuracy": accuracy_difference,
    "macro_f1": macro_f1_difference,
    "perplexity": perplexity_difference,
    "spearman": partial(correlation_difference, ranked=True),
    "pearson": partial(correlation_difference, ranked=False),
    **{name: partial(ratio_difference, name) for name in metrics.RATIOS},
}


def _bounded(
    value: float, effects: FloatArray, unseen: float, resampled: Callable[[], FloatArray], changed: int
) -> Estimate:
    """The difference with its bounds.

    `unseen` is the size of an effect that a row might have had that did not change, as a root of a mean square.
    """
    if making(effects) < FEW:
        off = value - float(effects.mean())  # of labels that one model alone predicts: they enter its mean only
        low, high = score_interval(effects, unseen, 0.95)
        lower, upper = score_interval(effects, unseen, 0.90)
        low, lower = (min(end + off, value) for end in (low, lower))
        high, upper = (max(end + off, value) for end in (high, upper))
        return Estimate(value, low, high, lower, upper, "score", changed)
    drawn = resampled()
    low, high = bca_interval(value, drawn, effects, 0.95)
    lower, upper = bca_interval(value, drawn, effects, 0.90)
    return Estimate(value, low, high, lower, upper, "bca", changed)


def mcnemar(worse: int, better: int) -> float:
    """The exact two-sided p of McNemar 1947: that rows right in one model alone fall to either with the same chance."""
    n, k = worse + better, min(worse, better)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(math.exp(one) for one in logs))


def rows_to_decide(difference: Estimate, n: int, limit: float) -> int | None:
    """About how many rows would decide on which side of `limit` the difference lies, if it stays what it is.

    None: never. A score bound's distance r from the value is taken for the root of (n + z^2) r^2 = z^2 (2 A r + B), as
    Wilson's is with 2 A = 1 - 2 p and B = p (1 - p), and Tango's where nothing changed with 2 A = 1 and B = 0; A and B
    follow from the bounds for two z. Others come nearer as 1 / sqrt(n): A = 0. 3 % more, rounded up to two digits.
    """
    distance = abs(difference.value - limit)
    if distance == 0:
        return None
    ends = (difference.low, difference.lower) if difference.value > limit else (difference.high, difference.upper)
    far, near = (abs(difference.value - end) for end in ends)
    z2 = [NormalDist().inv_cdf(share) ** 2 for share in (0.975, 0.95)]
    parts = [(n + z) * r * r / z for z, r in zip(z2, (far, near), strict=True)]
    twice_a = (parts[0] - parts[1]) / (far - near) if difference.method == "score" and far > near else 0.0
    rows = z2[1] * (twice_a * distance + max(0.0, parts[1] - twice_a * near)) / distance**2 - z2[1]
    digits: int = 10 ** max(0, math.floor(math.log10(max(rows, 1))) - 1)
    return math.ceil(1.03 * rows / digits) * digits


def share_estimate(count: float, n: int) -> Estimate:
    """A share of n rows with the score interval of Wilson 1927, "Probable inference" (JASA 22)."""
    share = count / n

    def ends(confidence: float) -> tuple[float, float]:
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    return Estimate(share, *ends(0.95), *ends(0.90), "score")


def cosine_estimate(distances: FloatArray, *, seed: int = 0) -> Estimate:
    """The mean cosine of [rows] pairs of vectors, whose distances 1 - cosine are given.

    By the bootstrap, or as if the sum of distances were gamma distributed where that is wider: 2 k mean / true mean is
    then chi-squared with 2 k degrees of freedom. k = n is that of exponential distances (Epstein and Sobel 1953, "Life
    testing", JASA 48), and k = n (mean / deviation)^2 of those that vary more. So rows that happen to be alike, or a
    single one, do not make it sure.
    """
    generator = np.random.default_rng(seed)
    n, mean = len(distances), float(distances.mean())
    drawn = np.array([distances[generator.integers(0, n, n)].mean() for _ in range(RESAMPLES)])
    freedom = 2 * n * min(1.0, mean**2 / max(float(distances.var()), 1e-300))

    def ends(confidence: float) -> tuple[float, float]:
        near, far = bca_interval(mean, drawn, distances, confidence)
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        nearest, farthest = (freedom * mean / chi_squared(side, freedom) for side in (z, -z))
        return max(-1.0, 1 - max(far, farthest)), 1 - min(near, nearest)

    return Estimate(1 - mean, *ends(0.95), *ends(0.90), "bca")


def ratio_estimate(numerators: FloatArray, denominators: FloatArray, *, seed: int = 0) -> Estimate:
    """The ratio of the sums of pairs [parts, rounds] that were taken side by side; medians over each part's rounds.

    The bootstrap draws rounds anew within each part, both of a pair together; percentiles (Efron 1979). Of two rounds
    it draws too little, and of fewer than four parts: then by Student's t of the logarithms of the parts' ratios, or of
    the rounds', of which there are more.

    Raises:
        ValueError: there are not three pairs to tell how sure it is.
    """
    parts, rounds = numerators.shape
    value = float(np.median(numerators, axis=1).sum() / np.median(denominators, axis=1).sum())
    if rounds < 3 or parts < 4:
        axis = 1 if parts > rounds else 0
        logs = np.log(numerators.sum(axis=axis) / denominators.sum(axis=axis))
        if len(logs) < 3:
            raise ValueError("fewer than three pairs of times have no interval")
        error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
        reach = [error * student(NormalDist().inv_cdf(share), len(logs) - 1) for share in (0.975, 0.95)]
        wide, narrow = (math.exp(one) for one in reach)
        return Estimate(value, value / wide, value * wide, value / narrow, value * narrow, "t")
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, rounds, (RESAMPLES, parts, rounds))
    line = np.arange(parts)[None, :, None]
    above, below = (np.median(one[line, drawn], axis=2).sum(axis=1) for one in (numerators, denominators))
    low, lower, upper, high = (float(end) for end in np.quantile(above / below, [0.025, 0.05, 0.95, 0.975]))
    return Estimate(value, min(low, value), max(high, value), min(lower, value), max(upper, value), "bootstrap")


def _macro_f1(drawn: NDArray[np.int64], gold: LabelArray, predicted: LabelArray, count: int) -> FloatArray:
    """Macro-F1 of each resample of cells, [resamples, cells] -> [resamples]; over the labels that occur in it."""
    labels = np.arange(count)
    hits = drawn @ ((gold == predicted)[:, None] & (gold[:, None] == labels))
    both = drawn @ ((gold[:, None] == labels).astype(np.int64) + (predicted[:, None] == labels))
    f1 = 2 * hits / np.maximum(both, 1)
    return np.asarray(f1.sum(axis=1) / np.maximum((both > 0).sum(axis=1), 1), np.float64)


def _slopes(
    numbers: NDArray[np.int64], gold: LabelArray, first: LabelArray, second: LabelArray, count: int
) -> FloatArray:
    """The derivatives of macro-F1 by the share of rows in each cell [gold, predicted], their mean on the way.

    F1_l = 2 C_ll / both_l, with both_l = C_l. + C_.l: a row of gold g and prediction p adds 2 / both_l for l = p = g,
    and takes F1_l / both_l for l = p. What it takes for l = g is the same for all predictions, and left out.
    """
    matrices = np.zeros((2, count, count))
    for matrix, predicted in zip(matrices, (first, second), strict=True):
        np.add.at(matrix, (gold, predicted), numbers)
    matrices /= numbers.sum()
    labels = int(np.count_nonzero(matrices.sum(axis=(0, 2)) + matrices.sum(axis=(0, 1))))
    slopes = np.zeros((count, count))
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        matrix = matrices[0] * (1 - node) / 2 + matrices[1] * (1 + node) / 2
        both = np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1e-12)
        hits = np.diag(matrix)
        slope = np.broadcast_to(-2 * hits / both**2, (count, count)).copy()
        slope[np.arange(count), np.arange(count)] += 2 / both
        slopes += weight / 2 * slope / labels
    return slopes


def _midranks(codes: LabelArray, weights: FloatArray) -> FloatArray:
    """The ranks, equal values sharing the mean of theirs, of rows that occur as often as their weights say."""
    together = np.bincount(codes, weights)
    return np.asarray((np.cumsum(together) - (together - 1) / 2)[codes], np.float64)


def _correlation(x: FloatArray, y: FloatArray, weights: FloatArray) -> FloatArray:
    total = weights.sum()
    a, b = x - weights @ x / total, y - weights @ y / total
    spread = math.sqrt(float(weights @ (a * a)) * float(weights @ (b * b)))
    return np.float64(weights @ (a * b) / spread if spread else 0.0)  # type: ignore[return-value]


def _pearson_influence(x: FloatArray, y: FloatArray, others: LabelArray | None = None) -> FloatArray:
    """Of each row on the correlation; with `others` as if it had their y."""
    a, b = ((v - v.mean()) / (v.std() or 1.0) for v in (x, y))
    r = float(np.mean(a * b))
    b = b if others is None else b[others]
    return np.asarray(a * b - r * (a * a + b * b) / 2, np.float64)


def _spearman_influence(x: FloatArray, y: FloatArray, others: LabelArray | None = None) -> FloatArray:
    """Of each row, up to a constant: that of E[F G], by those of E[F F] and E[G G], which ties make less than 1 / 12.

    That of E[F G] is F G + E[1(X >= x) G(Y)] + E[F(X) 1(Y >= y)]; F and G are the shares of lower values, less a half.
    With `others` as if each row had their y.
    """
    n = len(x)
    codes = [np.unique(v, return_inverse=True)[1] for v in (x, y)]
    f, g = ((_midranks(code, np.ones(n)) - 0.5) / n - 0.5 for code in codes)

    def above(code: LabelArray, other: FloatArray) -> FloatArray:
        """E[1(each of the coded >= this one) other], ties counted half."""
        sums = np.bincount(code, other)
        return np.asarray((other.sum() - np.cumsum(sums) + sums / 2)[code] / n, np.float64)

    own = [(v * v + 2 * above(code, v)) / (float(np.mean(v * v)) or 1.0) for code, v in zip(codes, (f, g), strict=True)]
    spread = math.sqrt(float(np.mean(f * f)) * float(np.mean(g * g))) or 1.0
    r, over_x, over_y = float(np.mean(f * g)) / spread, above(codes[0], g), above(codes[1], f)
    if others is not None:
        g, over_y, own[1] = g[others], over_y[others], own[1][others]
    return np.asarray((f * g + over_x + over_y) / spread - r * (own[0] + own[1]) / 2, np.float64)
