"""Figures with their bounds: shares, means, ratios of times; and how many rows would decide."""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from octavo.metrics.intervals import FloatArray, bca_interval, chi_squared, student
from octavo.metrics.scores import concordances, kendall_tau

RESAMPLES = 2000


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
    method: Literal["identical", "score", "bca", "bootstrap", "t", "modelled", "order"]
    changed: int | None = None


def identical(value: float = 0.0) -> Estimate:
    """Of models whose outputs are the same to the last bit in every row: there is nothing to doubt."""
    return Estimate(value, value, value, value, value, "identical", 0)


def mcnemar(worse: int, better: int) -> float:
    """The exact two-sided p of McNemar 1947: that rows right in one model alone fall to either with the same chance."""
    n, k = worse + better, min(worse, better)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


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


def clustered_share(counts: FloatArray, totals: FloatArray) -> Estimate:
    """A share of parts that come in clusters, as tokens do in texts: `counts` of `totals` of each cluster.

    Wilson's interval for as many independent parts as would vary as much: n' = p (1 - p) / V, with V the linearized
    variance of the ratio (Kish 1965, "Survey Sampling"; Korn and Graubard 1998, Survey Methodology 24). Where no part
    counts, or all do, each cluster is one part.
    """
    n, whole = len(counts), float(totals.sum())
    share = float(counts.sum()) / whole
    spread = float(np.sum((counts - share * totals) ** 2)) * n / max(1, n - 1) / whole**2
    parts = share * (1 - share) / spread if spread > 0 else n
    parts = max(1, math.floor(min(parts, whole)))
    return replace(share_estimate(share * parts, parts), value=share)


def cosine_estimate(distances: FloatArray, *, seed: int = 0) -> Estimate:
    """The mean cosine of [rows] pairs of vectors, whose distances 1 - cosine are given.

    By the bootstrap, or as if the sum of distances were gamma distributed where that is wider: 2 k mean / true mean is
    then chi-squared with 2 k degrees of freedom. k = n is that of exponential distances (Epstein and Sobel 1953, "Life
    testing", JASA 48), and k = n (mean / deviation)^2 of those that vary more. So rows that happen to be alike, or a
    single one, do not make it sure.
    """
    generator = np.random.default_rng(seed)
    n, mean = len(distances), float(distances.mean())
    at_once = max(1, 2**13 // n)  # resamples of few rows are drawn together, which is quicker and the same
    shapes = [(min(at_once, RESAMPLES - start), n) for start in range(0, RESAMPLES, at_once)]
    drawn = np.concatenate([distances[generator.integers(0, n, shape)].mean(axis=1) for shape in shapes])
    freedom = 2 * n * min(1.0, mean**2 / max(float(distances.var()), 1e-300))

    def ends(confidence: float) -> tuple[float, float]:
        near, far = bca_interval(mean, drawn, distances, confidence)
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        nearest, farthest = (freedom * mean / chi_squared(side, freedom) for side in (z, -z))
        return max(-1.0, 1 - max(far, farthest)), 1 - min(near, nearest)

    return Estimate(1 - mean, *ends(0.95), *ends(0.90), "bca")


def tau_estimate(x: FloatArray, y: FloatArray, most: int = 2000, *, seed: int = 0) -> Estimate:
    """Kendall's tau-b of [rows] pairs of numbers, of the first `most`; see `metrics.scores.kendall_tau`.

    By the bootstrap of the rows' influence on tau, which is that of a U-statistic (Hoeffding 1948, "A class of
    statistics with asymptotically normal distribution", Annals of Mathematical Statistics 19), as distances from 1 are
    bounded in `cosine_estimate`. Where no pair changed its order, each of the rows that might have (Wilson) is taken to
    stand otherwise to all others.
    """
    x, y = x[:most], y[:most]
    same, of_x, of_y = concordances(x, y)
    n, tau, spread = len(x), kendall_tau(x, y), math.sqrt(float(of_x.sum() * of_y.sum()))
    influence = np.zeros(n)
    if spread:
        influence = n * (2 * same / spread - tau * (of_x / of_x.sum() + of_y / of_y.sum()))
    if tau < 1 and bool(np.any(np.abs(influence) > 1e-9)):
        return cosine_estimate(1 - tau - influence, seed=seed)
    most_changed = share_estimate(0, n)
    low, lower = (max(-1.0, tau - 4 * end) for end in (most_changed.high, most_changed.upper))
    return Estimate(tau, low, 1.0, lower, 1.0, "score")


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
        wide, narrow = map(math.exp, reach)
        return Estimate(value, value / wide, value * wide, value / narrow, value * narrow, "t")
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, rounds, (RESAMPLES, parts, rounds))
    line = np.arange(parts)[None, :, None]
    above, below = (np.median(times[line, drawn], axis=2).sum(axis=1) for times in (numerators, denominators))
    low, lower, upper, high = (float(end) for end in np.quantile(above / below, [0.025, 0.05, 0.95, 0.975]))
    return Estimate(value, min(low, value), max(high, value), min(lower, value), max(upper, value), "bootstrap")
