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

FloatArray = NDArray[np.float64]
LabelArray = NDArray[np.int64]
RESAMPLES = 2000
HALVINGS = 30  # of an interval that a bound is looked for in
FEW = 50  # rows that make the difference, below which the bootstrap sees too little: its intervals may have no width
OF_AN_EXCHANGE = 0.45  # of what a row's exchanging its score with another moves; chosen by bench/coverage.py
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
    method: Literal["identical", "score", "bca", "bootstrap"]
    changed: int | None = None


def identical(value: float = 0.0) -> Estimate:
    """Of models whose outputs are the same to the last bit in every row: there is nothing to doubt."""
    return Estimate(value, value, value, value, value, "identical", 0)


def accuracy_difference(gold: LabelArray, first: LabelArray, second: LabelArray) -> Estimate:
    """Of the shares of rows that are right, by Tango's score interval; labels are [rows] each."""
    effects = (second == gold).astype(np.float64) - (first == gold)
    return _bounded(float(effects.mean()), effects, 1.0, None, int(np.sum(first != second)))


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
    changes = np.abs(slopes[:, :, None] - slopes[:, None, :])[np.ix_(gold_labels, present, present)]
    unseen = float(np.mean(changes, axis=(1, 2)) @ shares) * len(present) / max(1, len(present) - 1)
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
    unseen = OF_AN_EXCHANGE * float(np.sqrt(np.mean(np.square(exchanged))))
    return _bounded(float(after - before), effects, unseen, resampled, int(np.sum(first != second)))


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
    "exact_match": accuracy_difference,
    "spearman": partial(correlation_difference, ranked=True),
    "pearson": partial(correlation_difference, ranked=False),
}


def _bounded(
    value: float,
    effects: FloatArray,
    unseen: float,
    resampled: Callable[[], FloatArray] | None,
    changed: int,
) -> Estimate:
    """The difference with its bounds; without `resampled` always by the score interval.

    How many rows make the difference: k = (sum d^2)^2 / sum d^4, which is k for k equal effects and n / 3 for normal
    ones. `unseen` is the effect that a row might have had that did not change.
    """
    squares = effects**2
    making = float(squares.sum() ** 2 / max((squares**2).sum(), 1e-300))
    if resampled is None or making < FEW:
        off = value - float(effects.mean())  # of labels that one model alone predicts: they enter its mean only
        low, high = score_interval(effects, unseen, 0.95)
        lower, upper = score_interval(effects, unseen, 0.90)
        return Estimate(value, low + off, high + off, lower + off, upper + off, "score", changed)
    drawn = resampled()
    low, high = bca_interval(value, drawn, effects, 0.95)
    lower, upper = bca_interval(value, drawn, effects, 0.90)
    return Estimate(value, low, high, lower, upper, "bca", changed)


def score_interval(effects: FloatArray, unseen: float, confidence: float) -> tuple[float, float]:
    """An interval of the mean of effects [n], most of them 0; `unseen` is the size of an effect that was not seen.

    Effects d are taken for b = sum of the positive d / a rows that changed by a and c = sum of the negative |d| / a
    that changed by -a, with a = (sum d^2 + w u^2) / (sum |d| + w u): so they have the same mean, and the same variance
    but for w rows more that change by u, w = 1 / (1 + k) after k rows (`_bounded`). Then it is Tango 1998, "Equivalence
    test and confidence interval for the difference in proportions for the paired-sample design" (Statistics in Medicine
    17), and for effects of -1, 0 and 1 and u = 1 exactly that. Weights as counts of equal weight, and one more event:
    Fay and Feuer 1997, "Confidence intervals for directly standardized rates" (Statistics in Medicine 16).

    Where sizes vary, their variance is known from few of them only: the quantile is Student's, with the degrees of
    freedom at which the variance of sum d^2 is what it is beyond the counts' own (Satterthwaite 1946, Biometrics
    Bulletin 2). It never has no width while u > 0.
    """
    n, sizes = len(effects), np.abs(effects)
    total, squares = float(sizes.sum()), float(np.sum(sizes**2))
    if unseen <= 0 and not total:
        return 0.0, 0.0
    making = squares**2 / max(float(np.sum(sizes**4)), 1e-300)
    weight = 1 / (1 + making)
    a = (squares + weight * unseen**2) / (total + weight * unseen)
    better, worse = float(sizes[effects > 0].sum()) / a, float(sizes[effects < 0].sum()) / a
    excess = max(0.0, 1 / making - squares / total**2) if total else 0.0
    z = _student(NormalDist().inv_cdf(0.5 + confidence / 2), 2 / max(excess, 1e-9))
    return -a * _tango_bound(worse, better, n, z * z), a * _tango_bound(better, worse, n, z * z)


def _student(z: float, freedom: float) -> float:
    """Student's quantile from that of the normal (Cornish and Fisher; Abramowitz and Stegun 1964, 26.7.5)."""
    v = max(freedom, 2.0)
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def _tango_bound(b: float, c: float, n: int, z2: float) -> float:
    """The largest D with (b / n - c / n - D)^2 <= z^2 V(D), V being the variance of the likeliest shares b', c' of
    difference D: c' is the root of 2 n q^2 + (-b - c + (2 n - b + c) D) q - c D (1 - D) = 0 (Tango 1998, section 3).
    """  # noqa: D205 - one sentence
    mean = (b - c) / n
    inner, outer = mean, 1.0
    for _ in range(HALVINGS):
        d = (inner + outer) / 2
        linear = -b - c + (2 * n - b + c) * d
        q = (math.sqrt(max(0.0, linear**2 + 8 * n * c * d * (1 - d))) - linear) / (4 * n)
        inside = (mean - d) ** 2 <= z2 * max(0.0, 2 * q + d * (1 - d)) / n
        inner, outer = (d, outer) if inside else (inner, d)
    return inner


def bca_interval(value: float, resampled: FloatArray, influence: FloatArray, confidence: float) -> tuple[float, float]:
    """The bias-corrected and accelerated interval of Efron 1987, "Better bootstrap confidence intervals" (JASA 82).

    `resampled` [resamples] are the statistic's values, `influence` [rows] the rows' influence on it, for the
    acceleration a = sum u^3 / (6 (sum u^2)^1.5).
    """
    normal = NormalDist()
    share = float(np.mean(resampled < value) + np.mean(resampled == value) / 2)
    half = 0.5 / len(resampled)
    bias = normal.inv_cdf(min(max(share, half), 1 - half))
    centred = influence - influence.mean()
    spread = float(np.sum(centred**2))
    acceleration = float(np.sum(centred**3)) / (6 * spread**1.5) if spread else 0.0
    ends = []
    for quantile in ((1 - confidence) / 2, (1 + confidence) / 2):
        moved = bias + normal.inv_cdf(quantile)
        ends.append(normal.cdf(bias + moved / (1 - acceleration * moved)))
    low, high = np.quantile(resampled, ends)
    return float(low), float(high)


def mcnemar(worse: int, better: int) -> float:
    """The exact two-sided p of McNemar 1947: that rows right in one model alone fall to either with the same chance."""
    n, k = worse + better, min(worse, better)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(math.exp(one) for one in logs))


def rows_to_decide(difference: Estimate, n: int, limit: float) -> int | None:
    """How many rows would decide on which side of `limit` the difference lies, if it stays what it is; None: never.

    The one-sided bound's distance shrinks as 1 / sqrt(rows).
    """
    distance = abs(difference.value - limit)
    reach = (difference.value - difference.lower) if difference.value > limit else (difference.upper - difference.value)
    return None if distance == 0 else math.ceil(n * (reach / distance) ** 2)


def share_estimate(count: int, n: int) -> Estimate:
    """A share of n rows with the score interval of Wilson 1927, "Probable inference" (JASA 22)."""
    share = count / n

    def ends(confidence: float) -> tuple[float, float]:
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    return Estimate(share, *ends(0.95), *ends(0.90), "score")


def mean_estimate(values: FloatArray, *, seed: int = 0) -> Estimate:
    """The mean of one value per row, [rows], by the bootstrap."""
    generator = np.random.default_rng(seed)
    n, mean = len(values), float(values.mean())
    drawn = np.array([values[generator.integers(0, n, n)].mean() for _ in range(RESAMPLES)])
    low, high = bca_interval(mean, drawn, values, 0.95)
    lower, upper = bca_interval(mean, drawn, values, 0.90)
    return Estimate(mean, low, high, lower, upper, "bca")


def ratio_estimate(numerators: FloatArray, denominators: FloatArray, *, seed: int = 0) -> Estimate:
    """The ratio of the sums of pairs [parts, rounds] that were taken side by side; medians over each part's rounds.

    The bootstrap draws rounds anew within each part, both of a pair together; percentiles (Efron 1979). With one round,
    parts are drawn.
    """
    value = float(np.median(numerators, axis=1).sum() / np.median(denominators, axis=1).sum())
    generator = np.random.default_rng(seed)
    if numerators.shape[1] == 1:
        drawn = generator.integers(0, len(numerators), (RESAMPLES, len(numerators)))
        ratios = numerators[drawn, 0].sum(axis=1) / denominators[drawn, 0].sum(axis=1)
    else:
        parts, rounds = numerators.shape
        drawn = generator.integers(0, rounds, (RESAMPLES, parts, rounds))
        line = np.arange(parts)[None, :, None]
        above, below = (np.median(one[line, drawn], axis=2).sum(axis=1) for one in (numerators, denominators))
        ratios = above / below
    low, lower, upper, high = (float(end) for end in np.quantile(ratios, [0.025, 0.05, 0.95, 0.975]))
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
    """12 (F G + E[1(X >= x) G(Y)] + E[F(X) 1(Y >= y)]) up to a constant; F and G are the shares of lower values.

    With `others` as if each row had their y.
    """
    n = len(x)
    f, g = ((_midranks(np.unique(v, return_inverse=True)[1], np.ones(n)) - 0.5) / n for v in (x, y))

    def above(of: FloatArray, other: FloatArray) -> FloatArray:
        """E[1(of >= each) other], ties counted half."""
        codes = np.unique(of, return_inverse=True)[1]
        sums = np.bincount(codes, other)
        return np.asarray((other.sum() - np.cumsum(sums) + sums / 2)[codes] / n, np.float64)

    over_x, over_y = above(f, g), above(g, f)
    if others is not None:
        g, over_y = g[others], over_y[others]
    return 12 * (f * g + over_x + over_y)
