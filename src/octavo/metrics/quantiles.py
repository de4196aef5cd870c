"""The lowest percentile of a figure of rows, and how far it can be trusted."""

import math

import numpy as np

from octavo.metrics.estimates import Estimate
from octavo.metrics.intervals import FloatArray

SHARE = 0.01
LOWEST = -1.0  # of a cosine
FEWEST = 299  # rows from which on the smallest of them bounds the 1st percentile from below: 0.99^299 < 5 %


def low_percentile_estimate(values: FloatArray, lowest: float = LOWEST, highest: float = 1.0) -> Estimate:
    """The 1st percentile of [rows] values between `lowest` and `highest`, bounded by values that were seen.

    How many of n rows lie below the true percentile is binomial, whatever the values are, so an order statistic
    bounds it with at least the confidence that is asked for (David and Nagaraja 2003, "Order Statistics", 7.1). Where
    there are too few rows, the bound is the end of the range: nothing is known of texts worse than the worst.
    """
    ordered, n = np.sort(values), len(values)
    most = min(n, math.ceil(n * SHARE + 9 * math.sqrt(n * SHARE) + 9))
    chosen = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(most + 1)]
    counts = np.arange(most + 1)
    at_most = np.cumsum(np.exp(chosen + counts * math.log(SHARE) + (n - counts) * math.log1p(-SHARE)))  # P(K <= k)

    def ends(confidence: float) -> tuple[float, float]:
        below = int(np.searchsorted(at_most, 1 - confidence, side="right"))  # most k with P(K < k) <= 1 - confidence
        above = int(np.searchsorted(at_most, confidence))  # least k with P(K <= k) >= confidence
        low = float(ordered[below - 1]) if below > 0 else lowest
        return low, float(ordered[above]) if above < n else highest

    value = float(np.percentile(values, 100 * SHARE))
    (low, high), (lower, upper) = (ends(confidence) for confidence in (0.975, 0.95))
    return Estimate(value, min(low, value), max(high, value), min(lower, value), max(upper, value), "order")
