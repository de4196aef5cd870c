"""Intervals from the effects of rows, from resamples and from counts, and the quantiles that they need."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FEW = 50  # rows that make the difference, below which the bootstrap sees too little: its intervals may have no width
HALVINGS = 30  # of an interval that a bound is looked for in
PRIOR = 2  # rows for which the size of an effect counts that was not seen; this and the next were chosen by simulation
BEYOND = 1.7  # times the size of the effects that were seen: the largest ones are rare


def making(effects: FloatArray) -> float:
    """How many rows make the mean: (sum d^2)^2 / sum d^4, which is k for k equal effects and n / 3 for normal ones."""
    return float(np.sum(effects**2) ** 2 / max(float(np.sum(effects**4)), 1e-300))


def size(effects: FloatArray) -> float:
    """Of the effects that make the mean: sum |d|^3 / sum d^2, which is d for equal ones."""
    return float(np.sum(np.abs(effects) ** 3)) / max(float(np.sum(effects**2)), 1e-300)


def score_interval(effects: FloatArray, unseen: float, confidence: float) -> tuple[float, float]:
    """An interval of the mean of effects [n], most of them 0; `unseen` is the size of an effect that was not seen.

    To the effects that were seen comes, for each end on its own side, w = 1 / (1 + k) of one that was not, after k rows
    (`making`), of size u: Fay and Feuer 1997, "Confidence intervals for directly standardized rates" (Statistics in
    Medicine 16), who take the largest. For u the sizes that were seen count as k rows, and `unseen` as `PRIOR`.

    Effects of any sizes are then taken for b rows that change by a and c that change by -a, and a shift, with the same
    mean, variance and third moment, as Seal 1977 ("Approximations to risk theory's F(x, t) by means of the gamma
    distribution", ASTIN Bulletin 9) shifts and scales a gamma distribution: a = sum |d|^3 / sum d^2, b + c =
    sum d^2 / a^2 and b - c = sum d^3 / a^3. Their bounds are those of Tango 1998 (`tango_bound`).

    Where sizes vary, their variance is known from few of them only: the quantile is Student's, with the degrees of
    freedom at which the variance of sum d^2 is what it is beyond the counts' own (Satterthwaite 1946, Biometrics
    Bulletin 2). It never has no width while u > 0.
    """
    n, k = len(effects), making(effects)
    observed, cubes, signed = float(np.sum(effects**2)), float(np.sum(np.abs(effects) ** 3)), float(np.sum(effects**3))
    weight = 1 / (1 + k)
    u = BEYOND * (k * cubes / max(observed, 1e-300) + PRIOR * unseen) / (k + PRIOR)
    if u <= 0:
        return 0.0, 0.0
    squares = observed + weight * u**2
    a = (cubes + weight * u**3) / squares
    count = squares / a**2
    excess = max(0.0, 1 / k - 1 / count) if k else 0.0
    z = student(NormalDist().inv_cdf(0.5 + confidence / 2), 2 / max(excess, 1e-9))
    ends = []
    for side in (-1, 1):
        more = (side * signed + weight * u**3) / a**3
        bound = tango_bound((count + more) / 2, (count - more) / 2, n, z * z) - more / n
        ends.append(float(effects.mean()) + side * a * bound)
    return ends[0], ends[1]


def tango_bound(b: float, c: float, n: int, z2: float) -> float:
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
    moved = [bias + normal.inv_cdf(quantile) for quantile in ((1 - confidence) / 2, (1 + confidence) / 2)]
    low, high = np.quantile(resampled, [normal.cdf(bias + z / (1 - acceleration * z)) for z in moved])
    return float(low), float(high)


def student(z: float, freedom: float) -> float:
    """Student's quantile from that of the normal (Cornish and Fisher; Abramowitz and Stegun 1964, 26.7.5)."""
    v = max(freedom, 2.0)
    terms = (z**3 + z) / (4 * v), (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return z + sum(terms) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)


def chi_squared(z: float, freedom: float) -> float:
    """Its quantile from that of the normal: v (1 - 2 / 9v + z sqrt(2 / 9v))^3 (Wilson and Hilferty 1931, PNAS 17)."""
    part = 2 / (9 * freedom)
    return float(freedom * max(1e-3, 1 - part + z * math.sqrt(part)) ** 3)
