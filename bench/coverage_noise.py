"""Worlds in which every row moves, by a little or a lot, and how often 95 % intervals hold what is true of them.

`bench/coverage.py --noise` runs them.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import stats

from octavo.metrics import correlations
from octavo.metrics.correlations import correlation_difference
from octavo.metrics.differences import accuracy_difference, macro_f1_difference
from octavo.metrics.movement import Margins, classifier_margins, modelled_accuracy
from octavo.metrics.scores import SCORES

NOISES, SIZES = (1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.3, 1.0), (50, 300, 1000, 5000)
RESAMPLES = 400  # of the bootstrap, instead of 2,000: there are many samples
# Margins of the gold label, as normal distributions (weight, mean, deviation): of a classifier that is right in 75 % of
# the rows; one that has three of ten rows within 0.2 of the border; one that is sure of nearly all, right or wrong.
MARGINS = {
    "plain": ((1.0, 1.0, 1.5),),
    "crowded": ((0.7, 2.0, 1.0), (0.3, 0.0, 0.1)),
    "confident": ((0.75, 2.5, 0.8), (0.25, -2.5, 0.8)),
}
# What the second model adds to a margin s, in units of the noise: -shrink s + shift + a normal number, or Student's of
# five degrees of freedom. `jumps`: 97 of 100 rows move 1,000 times less, and three ten times more.
MOVEMENTS = {
    "even": {"shrink": 0, "shift": 0, "tails": False},
    "biased": {"shrink": 0, "shift": 0.7, "tails": True},
    "shrinking": {"shrink": 1, "shift": 0, "tails": False},
    "jumps": {"shrink": 0, "shift": -0.7, "tails": False},
}
JUMPING, STILL, LEAP = 0.03, 1e-3, 10


def below(margins: str, x: np.ndarray) -> np.ndarray:
    return sum(weight * stats.norm.cdf(x, mean, deviation) for weight, mean, deviation in MARGINS[margins])


def drop(margins: str, movement: str, noise: float) -> float:
    """The true difference of accuracies: P(s <= 0) - P(s' <= 0)."""
    how = MOVEMENTS[movement]
    points = (np.arange(20000) + 0.5) / 20000
    added = how["shift"] + (stats.t.ppf(points, 5) if how["tails"] else stats.norm.ppf(points))
    kept = 1 - how["shrink"] * min(noise, 0.9)

    def of(scale: float) -> float:
        return float(np.mean(below(margins, np.zeros(1)) - below(margins, -noise * scale * added / kept)))

    return (1 - JUMPING) * of(STILL) + JUMPING * of(LEAP) if movement == "jumps" else of(1.0)


def draw_margins(margins: str, movement: str, noise: float, n: int, generator: np.random.Generator):
    weights, means, deviations = (np.array(one) for one in zip(*MARGINS[margins], strict=True))
    kind, how = generator.choice(len(weights), n, p=weights), MOVEMENTS[movement]
    before = generator.normal(means[kind], deviations[kind])
    added = how["shift"] + (generator.standard_t(5, n) if how["tails"] else generator.normal(size=n))
    if movement == "jumps":
        added *= np.where(generator.random(n) < JUMPING, LEAP, STILL)
    return before, before * (1 - how["shrink"] * min(noise, 0.9)) + noise * added


def draw_classes(noise: float, n: int, generator: np.random.Generator, sign: int = 1):
    """Three classes of 60, 25 and 15 %, their logits, and those with normal noise."""
    gold = generator.choice(3, n, p=(0.6, 0.25, 0.15))
    first = generator.normal(0, 1.2, (n, 3)) + 2 * np.eye(3)[gold]
    return gold, first, first + sign * noise * generator.normal(size=(n, 3))


def draw_scores(world: str, noise: float, n: int, generator: np.random.Generator, sign: int = 1):
    """Gold scores and two models' ones.

    `even`: normal ones of correlation 0.65, and normal noise. `biased`: noise that takes half of the gold score with
    it. `cosines`: gold scores in fifths, answers between 0 and 1 that move less the nearer they are to 1.
    `jumps`: as in bench/coverage.py, 3 of 100 rows move by 1.5 deviations and the others a million times less.
    """
    if world == "cosines":
        gold = np.round(generator.uniform(0, 5, n) * 5) / 5
        first = 1 / (1 + np.exp(-0.5 * (gold - 2.5) - generator.normal(0, 0.8, n)))
        return gold, first, first + sign * noise * 0.5 * (1 - first) * generator.normal(size=n)
    if world == "jumps":
        gold = np.round(generator.uniform(0, 5, n), 1)
        first, moved = gold + generator.normal(0, 1.5, n), generator.random(n) < JUMPING
        return gold, first, first + sign * noise * np.where(moved, 1.5, 1.5e-6) * generator.normal(size=n)
    gold = generator.normal(size=n)
    first = 0.65 * gold + math.sqrt(1 - 0.65**2) * generator.normal(size=n)
    return gold, first, first + noise * (generator.normal(size=n) - (0.5 * gold if world == "biased" else 0))


def change(name: str, world: str, noise: float) -> float:
    """The true difference of scores: of normal ones by formula, else of two million rows.

    Small noise without a bias changes a score by its square: that of 0.1 is scaled.
    """
    if world in {"even", "biased"} and name != "macro_f1":
        bias = -0.5 if world == "biased" else 0
        r = (0.65 + noise * bias) / math.sqrt(1 + noise**2 * (1 + bias**2) + 2 * noise * bias * 0.65)
        first, second = (r if name == "pearson" else 6 / math.pi * math.asin(r / 2) for r in (0.65, r))
        return second - first
    large = max(noise, 0.1)
    return of_many(name, world, large) * (noise / large) ** 2


@lru_cache
def of_many(name: str, world: str, noise: float) -> float:
    """The difference of two million rows, each with its noise and with the opposite one."""
    found = []
    for sign in (1, -1):
        generator = np.random.default_rng(12345)
        if name == "macro_f1":
            gold, first, second = draw_classes(noise, 2_000_000, generator, sign)
            first, second = first.argmax(axis=1), second.argmax(axis=1)
        else:
            gold, first, second = draw_scores(world, noise, 2_000_000, generator, sign)
        found.append(SCORES[name](gold, second) - SCORES[name](gold, first))
    return float(np.mean(found))


def estimates(name: str, world: str, noise: float, n: int, generator: np.random.Generator):
    """The estimates of one sample by name, the one without margins, and whether a row that jumps was seen."""
    if name in {"spearman", "pearson"}:
        sample = draw_scores(world, noise, n, generator)
        moved = np.abs(sample[2] - sample[1])
        return {name: correlation_difference(*sample, ranked=name == "spearman")}, None, moved.max() > 1e-3 * noise
    if name == "macro_f1":
        gold, first, second = draw_classes(noise, n, generator)
        labels = gold, first.argmax(axis=1), second.argmax(axis=1)
        found = macro_f1_difference(*labels, margins=classifier_margins(first, second))
        return {name: found}, macro_f1_difference(*labels), True
    before, after = draw_margins(*world.split(", "), noise, n, generator)
    margins = Margins(np.abs(before), np.abs(after - before), before, after)
    labels = np.ones(n, np.int64), (before > 0).astype(np.int64), (after > 0).astype(np.int64)
    found = {"accuracy": accuracy_difference(*labels, margins=margins), "modelled": modelled_accuracy(margins)}
    return found, accuracy_difference(*labels), margins.moved.max() > 0.05 * noise


def cover(name: str, world: str, noise: float, n: int, repetitions: int) -> list[dict]:
    """The shares of samples whose interval holds the truth, and whose one-sided bounds do.

    `width` is the mean, `without_margins` that of intervals that only count. `seen`: the samples in which a row jumps.
    """
    correlations.RESAMPLES = RESAMPLES
    repetitions //= 6 if name in {"spearman", "pearson"} and n >= 1000 else 1
    truth = drop(*world.split(", "), noise) if name == "accuracy" else change(name, world, noise)
    samples = [estimates(name, world, noise, n, np.random.default_rng([n, seed])) for seed in range(repetitions)]
    seen = np.array([one[2] for one in samples])
    counted = [one.high - one.low for _, one, _ in samples if one is not None]
    rows = []
    for kind in samples[0][0]:
        found = [one[0][kind] for one in samples]
        held = np.array([(e.low <= truth <= e.high, e.lower <= truth, truth <= e.upper) for e in found])
        coverage, lower, upper = held.mean(axis=0).tolist()
        row = {
            "score": kind,
            "rows": world,
            "noise": noise,
            "n": n,
            "truth": truth,
            "coverage": coverage,
            "lower": lower,
            "upper": upper,
            "width": float(np.mean([one.high - one.low for one in found])),
            "without_margins": float(np.mean(counted)) if counted else None,
            "changed": float(np.mean([one.changed for one in found])),
            "bootstrapped": float(np.mean([one.method == "bca" for one in found])),
            "seen": float(seen.mean()),
            "coverage_if_seen": held[seen].mean(axis=0).tolist() if seen.any() else None,
            "repetitions": repetitions,
        }
        rows.append(row)
    return rows


def cases() -> list[tuple[str, str, float, int]]:
    predicted = [f"{margins}, {how}" for margins in MARGINS for how in ("even", "biased", "shrinking")]
    found = [("accuracy", world, s, n) for world in predicted for n in SIZES for s in NOISES]
    found += [("macro_f1", "even", s, n) for n in SIZES for s in NOISES]
    worlds = ("even", "biased", "cosines")
    found += [("spearman", world, s, n) for world in worlds for n in SIZES for s in NOISES]
    found += [("pearson", world, s, n) for world in worlds for n in SIZES for s in NOISES if s not in {1e-6, 0.3}]
    found += [("accuracy", "plain, jumps", 1.0, n) for n in SIZES]
    found += [("spearman", "jumps", 1.0, n) for n in SIZES]
    return sorted(found, key=lambda case: -case[3])


def lowest(rows: list[dict]) -> list[str]:
    """Cells that hold less than 93 %, by more than two deviations of as many repetitions."""
    found = []
    for row in rows:
        slack = 2 * math.sqrt(0.07 * 0.93 / row["repetitions"])
        if "jumps" not in row["rows"] and min(row["coverage"], row["lower"], row["upper"]) < 0.93 - slack:
            found.append("{score} {rows} n={n} noise={noise:g}: {coverage:.3f} {lower:.3f} {upper:.3f}".format(**row))
    return found
