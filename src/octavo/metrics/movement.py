"""What classifiers' margins and their movements say of changes that were not seen, and of the drop itself.

A prediction changes where the first model's margin is smaller than what the second one takes from it. Changed
predictions are few, but how far margins move is seen in every row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from octavo.metrics.estimates import Estimate, share_estimate
from octavo.metrics.intervals import FloatArray, score_interval, size

FAR = 10  # times the farthest movement that was seen: of 50 rows of a real model at most 8 (docs/design/statistics.md)
BLUR = 10  # times the movement that a margin is blurred by at most, and
WITHIN = 0.3  # of the margin of the sqrt(n)-th nearest row; both were chosen by simulation (`modelled_accuracy`)
EPSILON = float(np.finfo(np.float64).eps)
FEWEST = 20  # rows whose margins tell of a drop


@dataclass(frozen=True)
class Margins:
    """Of each row, in logits: how near the first model was to another prediction, and how far it moved.

    `lead` [rows] is how far the first model's prediction leads the next best, `moved` [rows] how far that lead moved to
    the second model, up or down. A row of several predictions has the smallest lead and the farthest movement of any.
    `before` and `after` [rows] lead the gold label over the best other one in the first model and in the second, and
    are below 0 where that is wrong; None without labels, and where a row is not simply right or wrong.
    """

    lead: FloatArray
    moved: FloatArray
    before: FloatArray | None = None
    after: FloatArray | None = None

    def at(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Margins":
        """Those of some of the rows."""
        before, after = (None if part is None else part[rows] for part in (self.before, self.after))
        return Margins(self.lead[rows], self.moved[rows], before, after)


def leads(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> FloatArray:
    """How far a label of each row leads the best other one, [rows, two labels or more] of logits -> [rows]."""
    others, rows = logits.astype(np.float64), np.arange(len(labels))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return np.asarray(own - others.max(axis=1), np.float64)


def classifier_margins(
    first: NDArray[np.floating], second: NDArray[np.floating], gold: NDArray[np.int64] | None = None
) -> Margins | None:
    """Those of two classifiers' logits [rows, labels]; None where there is one label only, which no row can change."""
    if first.shape[1] < 2 or not len(first):
        return None
    said = first.argmax(axis=1)
    lead = leads(first, said)
    known = (None, None) if gold is None else (leads(first, gold), leads(second, gold))
    return Margins(lead, np.abs(leads(second, said) - lead), *known)


def row_margins(
    first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]], gold: NDArray[np.int64]
) -> Margins | None:
    """The same of rows with labels of their own, [labels] of logits each; None where one has fewer than two."""
    triples = zip(first, second, gold[:, None], strict=True)
    rows = [row for a, b, right in triples if (row := classifier_margins(a[None], b[None], right))]
    if not rows or len(rows) < len(gold):
        return None
    parts = zip(*((row.lead, row.moved, row.before, row.after) for row in rows), strict=True)
    return Margins(*(np.concatenate(part) for part in parts))


def furthest_margins(first: Sequence[NDArray[np.floating]], second: Sequence[NDArray[np.floating]]) -> Margins | None:
    """Those of rows of several predictions, [predictions, labels] of logits each; a row without any never changes."""
    lead, moved = np.full(len(first), np.inf), np.zeros(len(first))
    for index, (before, after) in enumerate(zip(first, second, strict=True)):
        if len(before):
            row = classifier_margins(before, after)
            if row is None:
                return None
            lead[index], moved[index] = row.lead.min(), row.moved.max()
    return Margins(lead, moved)


def changing(margins: Margins, confidence: float) -> float:
    """An upper bound of the share of rows, of all there might be, whose prediction changes; 1 where nothing tells.

    A row changes with the chance H(m) that a margin is smaller than its movement m. H(m) <= d m, where d is the density
    of the margins over the nearest k = n^(2/3) rows, at the upper end of Wilson's interval: it is bounded as long as
    margins do not crowd at 0 closer than that. The rows' chances have a mean, which `score_interval` bounds from above;
    of all rows, or of the nearest ones, which may move more, whichever is larger.

    What no row showed, up to z^2 / (n + z^2) of all rows can be (Tango's bound with nothing changed; the rule of three
    of Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything all right?", JAMA 249). These are taken to
    move `FAR` times as far as the farthest row that was seen, instead of changing all.
    """
    lead, moved, n = margins.lead, margins.moved, len(margins.lead)
    nearest = np.argpartition(lead, math.ceil(n ** (2 / 3)) - 1)[: math.ceil(n ** (2 / 3))]
    edge = float(lead[nearest].max())
    if edge <= 0 or math.isinf(edge):
        return 1.0
    moved = np.maximum(moved, EPSILON * edge)  # outputs that are not the same may differ behind the last digits
    share = share_estimate(len(nearest), n)
    density = (share.high if confidence > 0.9 else share.upper) / edge
    chances = np.minimum(1.0, density * moved)
    seen = max(score_interval(part, size(part), confidence)[1] for part in (chances, chances[nearest]))
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    return seen + z2 / (n + z2) * min(1.0, FAR * density * float(moved.max()))


def within(estimate: Estimate, margins: Margins, effect: float = 1.0) -> Estimate:
    """The estimate with its bounds no farther out than the rows that can change allow, each by at most `effect`.

    Where more predictions changed than the bound allows, or the movements of clearly more rows reached their leads (as
    where many leads are exactly 0), density and movements do not tell how rows change: nothing is cut.
    """
    wide, narrow = (changing(margins, confidence) for confidence in (0.95, 0.90))
    n, reached = len(margins.lead), int(np.sum(margins.moved >= margins.lead))
    if (estimate.changed or 0) > narrow * n or share_estimate(reached, n).lower > narrow:
        return estimate

    def inside(low: float, high: float, reach: float) -> tuple[float, float]:
        return max(low, min(estimate.value, -reach)), min(high, max(estimate.value, reach))

    ends = inside(estimate.low, estimate.high, wide * effect)
    return Estimate(
        estimate.value,
        *ends,
        *inside(estimate.lower, estimate.upper, narrow * effect),
        estimate.method,
        estimate.changed,
    )


def modelled_accuracy(margins: Margins) -> Estimate | None:
    """The difference of two accuracies as the gold label's margins tell it: each row counts by how near it is to 0.

    A row is right where its margin s is above 0. In the place of that step stands a ramp K(s / h), as in Horowitz 1992,
    "A smoothed maximum score estimator for the binary response model" (Econometrica 60); K is the integral of
    Epanechnikov's kernel. The effect of a row is K(s' / h) - K(s / h): what its movement would be worth, on average,
    if its margin were anywhere within h of where it is.

    The variance is to that of counting as the movement to h; but what lies within h is taken for what lies at 0, and
    the error, h^2 / 10 times the change of the density's slope there, does not fall with the number of rows. So h is
    `BLUR` mean movements of the sqrt(n) nearest rows, or `WITHIN` of the margin of the last of them if that is less.
    With h as wide as all of these, one-sided bounds held 85 % on real models, and none at all of margins that avoid 0.
    As h goes with the movement, what did not change is bounded as for counted rows (`within`).

    None of fewer than `FEWEST` rows, and where as many margins are 0, or do not move.
    """
    before, after = margins.before, margins.after
    if before is None or after is None or len(before) < FEWEST:
        return None
    apart, moved, count = np.abs(before), np.abs(after - before), math.ceil(math.sqrt(len(before)))
    nearest = np.argpartition(apart, count - 1)[:count]
    h = min(BLUR * float(moved[nearest].mean()), WITHIN * float(apart[nearest].max()))
    if h <= 0:
        return None
    effects = ramp(after / h) - ramp(before / h)
    unseen = size(np.minimum(1.0, moved / (2 * h)))
    wide, narrow = (score_interval(effects, unseen, confidence) for confidence in (0.95, 0.90))
    changed = int(np.sum((before > 0) != (after > 0)))
    return within(Estimate(float(effects.mean()), *wide, *narrow, "modelled", changed), margins)


def ramp(x: FloatArray) -> FloatArray:
    """The integral of Epanechnikov's kernel: 0 up to -1, 1 from 1 on."""
    inside = np.clip(x, -1, 1)
    return np.asarray(0.5 + 0.75 * (inside - inside**3 / 3), np.float64)
