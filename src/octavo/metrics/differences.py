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
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.metrics import scores as metrics
from octavo.metrics.correlations import correlation_difference
from octavo.metrics.estimates import RESAMPLES, Estimate
from octavo.metrics.intervals import BEYOND, FEW, FloatArray, bca_interval, making, score_interval, tango_bound
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

    found = Estimate((better - worse) / n, *ends(0.95), *ends(0.90), "score", int(np.sum(first != second)))
    return found if margins is None else within(found, margins)


def macro_f1_difference(
    gold: LabelArray, first: LabelArray, second: LabelArray, *, margins: Margins | None = None, seed: int = 0
) -> Estimate:
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

    def resampled() -> FloatArray:
        return difference(np.random.default_rng(seed).multinomial(len(gold), numbers / len(gold), RESAMPLES))

    found = _bounded(value, effects, unseen, resampled, int(np.sum(first != second)))
    most = max(BEYOND * unseen, math.sqrt(float(changes.max())))
    return found if margins is None else within(found, margins, most)


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
    rows, counts = np.unique(np.stack([a, b, c, d], axis=1).astype(np.float64), axis=0, return_counts=True)

    def difference(drawn: NDArray[np.int64]) -> FloatArray:
        """Of resamples of the rows, [resamples, different rows] -> [resamples]."""
        before, below, after, above = (drawn @ rows).T
        return np.asarray(after / np.maximum(above, 1e-12) - before / np.maximum(below, 1e-12), np.float64)

    n = len(gold)
    ends = np.array([[a.mean(), b.mean()], [c.mean(), d.mean()]])
    ways = (1 + NODES[:, None]) / 2 * (ends[1] - ends[0]) + ends[0]
    below = np.maximum(ways[:, 1], 1e-12)
    by_above, by_below = float(WEIGHTS @ (1 / below)) / 2, -float(WEIGHTS @ (ways[:, 0] / below**2)) / 2
    effects = by_above * (c - a) + by_below * (d - b).astype(np.float64)
    unseen = by_above * (2.0 if name == "entity_f1" else 1.0)  # one entity, or tag, or answer more that is lost

    def resampled() -> FloatArray:
        return difference(np.random.default_rng(seed).multinomial(n, counts / n, RESAMPLES))

    changed = int(np.sum(np.any(first != second, axis=1)))
    found = _bounded(float(difference(counts[None])[0]), effects, unseen, resampled, changed)
    most = max(BEYOND * unseen, by_above * float(max(a.max(), c.max())))  # all that a row has, where that is more
    return found if margins is None else within(found, margins, most)


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
MARGINED = frozenset({"accuracy", "macro_f1", *metrics.RATIOS})
DIFFERENCES: dict[str, Callable[..., Estimate]] = {
    "accuracy": accuracy_difference,
    "macro_f1": macro_f1_difference,
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
