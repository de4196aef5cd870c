"""Paired statistics: how much better or worse one model scores than another on the same rows, and how sure that is.

The difference D of two scores is written as the mean of one effect d_i per row, which is 0 for rows whose predictions
agree: for accuracy d_i is -1, 0 or 1; for macro-F1 it is the change of the score along the way from the first model's
predictions to the second's; for a correlation the difference of the two influence functions. Where few rows differ, as
int8 brings it about, D is bounded by a score interval (`score_interval`), elsewhere by the bootstrap (`bca_interval`).
What rows that were not seen can do is bounded by how far outputs moved: of a correlation the scores tell it, of
predictions the margins, where they are given (`movement.within`).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.metrics import scores as metrics
from octavo.metrics.correlations import auc_difference, correlation_difference
from octavo.metrics.estimates import RESAMPLES, Estimate
from octavo.metrics.intervals import BEYOND, FEW, FloatArray, bca_interval, making, score_interval, size, tango_bound
from octavo.metrics.movement import Margins, within

LabelArray = NDArray[np.int64]
OF_THE_RARER = 0.15  # of a row that changed the rarer way, more than were seen; chosen by simulation
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def accuracy_difference(
    gold: LabelArray, first: LabelArray, second: LabelArray, *, margins: Margins | None = None
) -> Estimate:
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

    estimate = Estimate((better - worse) / n, *ends(0.95), *ends(0.90), "score", int(np.sum(first != second)))
    return estimate if margins is None else within(estimate, margins)


def macro_f1_difference(
    gold: LabelArray, first: LabelArray, second: LabelArray, *, margins: Margins | None = None, seed: int = 0
) -> Estimate:
    """Of the means over the labels of F1 = 2 tp / (predicted + gold); labels are [rows] each, from 0.

    The effect of a row is the change of its two cells' derivatives, integrated over the straight way from the first
    confusion matrix to the second (Aumann and Shapley 1974): the effects of all rows add up to the difference. Of
    several labels at once, [rows, labels] each, see `_macro_of_several`.
    """
    if gold.ndim == 2:
        return _macro_of_several(gold, first, second, margins, seed)
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

    def resampled() -> FloatArray:
        return difference(np.random.default_rng(seed).multinomial(len(gold), numbers / len(gold), RESAMPLES))

    estimate = _bounded(value, effects, unseen, resampled, int(np.sum(first != second)))
    most = max(BEYOND * unseen, math.sqrt(float(changes.max())))
    return estimate if margins is None else within(estimate, margins, most)


def ratio_difference(
    name: str,
    gold: NDArray[Any],
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    margins: Margins | None = None,
    seed: int = 0,
) -> Estimate:
    """Of two scores that are ratios of sums over the rows, A / B (`metrics.RATIOS`).

    The effect of a row is da / B - db A / B^2, the derivatives being their means on the straight way from the first
    model's sums to the second's (Aumann and Shapley 1974): the effects of all rows add up to the difference.
    """
    (a, b), (c, d) = (metrics.RATIOS[name](gold, predicted) for predicted in (first, second))
    sums = np.stack([a, b, c, d], axis=1).astype(np.float64)
    effects, by_above = _ratio_effects(sums)
    unseen = by_above * (
        2.0 if name in {"entity_f1", "micro_f1"} else 1.0
    )  # an entity, tag, label, answer more is lost
    changed = int(np.sum(np.any(first != second, axis=1)))
    value = metrics.ratio(name, gold, second) - metrics.ratio(name, gold, first)
    estimate = _bounded(value, effects, unseen, _ratio_resamples(sums, seed), changed)
    most = max(BEYOND * unseen, by_above * float(max(a.max(), c.max())))  # all that a row has, where that is more
    return estimate if margins is None else within(estimate, margins, most)


def _ratio_effects(sums: FloatArray) -> tuple[FloatArray, float]:
    """What rows do to C / D - A / B, and what one more in A or C does; `sums` [rows, (a, b, c, d)]."""
    a, b, c, d = sums.T
    ends = np.array([[a.mean(), b.mean()], [c.mean(), d.mean()]])
    ways = (1 + NODES[:, None]) / 2 * (ends[1] - ends[0]) + ends[0]
    below = np.maximum(ways[:, 1], 1e-12)
    by_above, by_below = float(WEIGHTS @ (1 / below)) / 2, -float(WEIGHTS @ (ways[:, 0] / below**2)) / 2
    return np.asarray(by_above * (c - a) + by_below * (d - b), np.float64), by_above


def _ratio_resamples(sums: FloatArray, seed: int) -> Callable[[], FloatArray]:
    """What gives the differences of `RESAMPLES` resamples; of several ratios, [rows, 4 x ratios], the mean."""
    rows, counts = np.unique(sums, axis=0, return_counts=True)

    def resampled() -> FloatArray:
        drawn = np.random.default_rng(seed).multinomial(len(sums), counts / len(sums), RESAMPLES)
        before, below, after, above = np.moveaxis((drawn @ rows).reshape(RESAMPLES, -1, 4), 2, 0)
        differences = after / np.maximum(above, 1e-12) - before / np.maximum(below, 1e-12)
        return np.asarray(differences.mean(axis=1), np.float64)

    return resampled


def _macro_of_several(
    gold: LabelArray, first: LabelArray, second: LabelArray, margins: Margins | None, seed: int
) -> Estimate:
    """Of the means over all labels of F1, rows having several: the mean of the effects on each label's ratio.

    A row that was not seen changes one of its labels, which are as frequent there as in the file.
    """
    count = gold.shape[1]
    parts = [
        np.stack([2 * (g & a), a + g, 2 * (g & b), b + g], axis=1).astype(np.float64)
        for g, a, b in zip(gold.T, first.T, second.T, strict=True)
    ]
    ratios = [_ratio_effects(part) for part in parts if part.any()]
    effects = np.sum([own for own, _ in ratios], axis=0) / count if ratios else np.zeros(len(gold))
    sizes = np.array([2 * by_above / count for _, by_above in ratios] or [1.0])
    shares = np.array([part[:, (1, 3)].sum() for part in parts if part.any()] or [1.0])
    unseen = math.sqrt(float(sizes**2 @ shares / shares.sum()))
    changed = int(np.sum(np.any(first != second, axis=1)))
    resampled = _ratio_resamples(np.concatenate(parts, axis=1), seed)
    value = metrics.macro_f1(gold, second) - metrics.macro_f1(gold, first)
    bounded = _bounded(value, effects, unseen, resampled, changed)
    most = max(BEYOND * unseen, float(sizes.sum()))
    return bounded if margins is None else within(bounded, margins, most)


def subset_accuracy_difference(
    gold: LabelArray, first: LabelArray, second: LabelArray, *, margins: Margins | None = None
) -> Estimate:
    """Of the shares of rows whose labels are all right, [rows, labels] each; as `accuracy_difference`."""
    right = [(predicted == gold).all(axis=1).astype(np.int64) for predicted in (first, second)]
    estimate = accuracy_difference(np.ones(len(gold), np.int64), right[0], right[1])
    estimate = replace(estimate, changed=int(np.sum(np.any(first != second, axis=1))))
    return estimate if margins is None else within(estimate, margins)


def binary_accuracy_difference(
    gold: FloatArray, first: FloatArray, second: FloatArray, *, margins: Margins | None = None
) -> Estimate:
    """Of the shares of rows whose one logit is on the right side of 0, [rows] each; as `accuracy_difference`."""
    sides = [(values > 0).astype(np.int64) for values in (gold, first, second)]
    return accuracy_difference(sides[0], sides[1], sides[2], margins=margins)


def error_difference(gold: FloatArray, first: FloatArray, second: FloatArray, *, seed: int = 0) -> Estimate:
    """Of two mean absolute errors, in the unit of gold and with the sign of a score: below 0 where it rose."""
    effects, n = np.abs(first - gold) - np.abs(second - gold), len(gold)
    unseen = size((first - second).astype(np.float64))  # no row's error changes by more than its score moves
    resampled = _resamples(lambda rows: float(effects[rows].mean()), n, seed)
    return _bounded(float(effects.mean()), effects, unseen, resampled, int(np.sum(first != second)))


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
    unseen = float(np.abs(effects).max(initial=0))

    def difference(rows: LabelArray) -> float:
        return 1 - math.exp(lost[rows].sum() / counts[rows].sum())

    return _bounded(value, effects, unseen, _resamples(difference, n, seed), int(np.sum(first != second)))


# Of what is right and what two models predicted; those of predictions also take `margins`.
MARGINED = frozenset({"accuracy", "macro_f1", "subset_accuracy", "binary_accuracy", *metrics.RATIOS})
DIFFERENCES: dict[str, Callable[..., Estimate]] = {
    "accuracy": accuracy_difference,
    "macro_f1": macro_f1_difference,
    "subset_accuracy": subset_accuracy_difference,
    "binary_accuracy": binary_accuracy_difference,
    "auc": auc_difference,
    "mae": error_difference,
    "perplexity": perplexity_difference,
    "spearman": partial(correlation_difference, ranked=True),
    "pearson": partial(correlation_difference, ranked=False),
    **{name: partial(ratio_difference, name) for name in metrics.RATIOS},
}


def _resamples(difference: Callable[[LabelArray], float], n: int, seed: int) -> Callable[[], FloatArray]:
    """What gives the differences of `RESAMPLES` resamples, each of n positions of rows."""
    generator = np.random.default_rng(seed)
    return lambda: np.array([difference(generator.integers(0, n, n)) for _ in range(RESAMPLES)], np.float64)


def _bounded(
    value: float, effects: FloatArray, unseen: float, resampled: Callable[[], FloatArray], changed: int
) -> Estimate:
    """The difference with its bounds.

    `unseen` is the size of an effect that a row might have had that did not change, as a root of a mean square.
    """
    if making(effects) < FEW:
        off = value - float(effects.mean())  # of labels that one model alone predicts: they enter its mean only
        ends = (score_interval(effects, unseen, confidence) for confidence in (0.95, 0.90))
        (low, high), (lower, upper) = ((min(low + off, value), max(high + off, value)) for low, high in ends)
        return Estimate(value, low, high, lower, upper, "score", changed)
    interval = partial(bca_interval, value, resampled(), effects)
    return Estimate(value, *interval(0.95), *interval(0.90), "bca", changed)


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
