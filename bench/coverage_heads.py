"""Rows of the scores that are neither of one label nor of a pair: several labels, one logit, numbers, rankings.

`bench/coverage.py --heads` counts how often 95 % intervals hold what is true of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.ranking import OF_A_QUERY, query_scores, ranks_of
from octavo.metrics.scores import SCORES

METRICS = ("micro_f1", "macro_f1", "subset_accuracy", "auc", "mae", "ndcg_at_10", "mrr_at_10")
SIZES, SHARES = (50, 300, 1000), (0.01, 0.03, 0.1)
FREQUENT = (0.4, 0.25, 0.15, 0.08, 0.03)  # of five labels
QUERIES = 40_000  # that queries are drawn from


def draw(metric: str, n: int, share: float, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Rows of gold, the first model's answers and the second's, of which about `share` are others, mostly worse.

    Several labels: the first model has 8 % of them wrong, a changed row one more or less. One logit: scores with normal
    noise, numbers too; there all rows move, by normal numbers of `share` deviations (rows that jump while others stand
    still are in coverage_noise.py).
    """
    changed = generator.random(n) < share
    if metric in {"micro_f1", "macro_f1", "subset_accuracy"}:
        gold = (generator.random((n, len(FREQUENT))) < FREQUENT).astype(np.int64)
        first = np.where(generator.random(gold.shape) < 0.08, 1 - gold, gold)
        second = first.copy()
        label = generator.choice(len(FREQUENT), n, p=np.array(FREQUENT) / sum(FREQUENT))
        second[np.flatnonzero(changed), label[changed]] ^= 1
        return gold, first, second
    if metric in OF_A_QUERY:
        before, after = queries()
        rows = generator.integers(0, len(before), n)
        return np.ones(n), before[rows], np.where(changed[:, None], after[rows], before[rows])
    gold = (generator.random(n) < 0.3).astype(float) if metric == "auc" else generator.uniform(0, 5, n)
    first = 1.2 * gold + generator.normal(size=n)
    return gold, first, first + share * generator.normal(size=n)


@lru_cache(maxsize=1)
def queries() -> tuple[np.ndarray, np.ndarray]:
    """Scores of queries with 20 passages, 1 to 3 of them relevant, and of the same with as much noise again."""
    generator, found = np.random.default_rng(99), np.empty((2, QUERIES, len(OF_A_QUERY)))
    for query in range(QUERIES):
        relevant = np.arange(generator.integers(1, 4))
        scores = generator.normal(size=20)
        scores[relevant] += 1.5
        for model, one in enumerate((scores, scores + generator.normal(size=20))):
            found[model, query] = query_scores(ranks_of(np.argsort(-one), relevant), np.ones(len(relevant)))
    return found[0], found[1]


def truth(metric: str, share: float) -> float:
    """The difference over all rows there might be."""
    if metric in OF_A_QUERY:
        before, after = queries()
        return share * float((after - before)[:, OF_A_QUERY.index(metric)].mean())
    gold, first, second = draw(metric, 2_000_000, share, np.random.default_rng(12345))
    risen = SCORES[metric](gold, second) - SCORES[metric](gold, first)
    return -risen if metric == "mae" else risen  # an error has the sign of a score


def cover(metric: str, n: int, share: float, repetitions: int) -> dict:
    """As `coverage.cover`."""
    true = truth(metric, share)
    samples = (draw(metric, n, share, np.random.default_rng([n, seed])) for seed in range(repetitions))
    found = [DIFFERENCES[metric](*sample) for sample in samples]
    return {
        "rows": "further",
        "metric": metric,
        "n": n,
        "share": share,
        "truth": true,
        "coverage": float(np.mean([one.low <= true <= one.high for one in found])),
        "lower": float(np.mean([one.lower <= true for one in found])),
        "upper": float(np.mean([true <= one.upper for one in found])),
        "width": float(np.mean([one.high - one.low for one in found])),
        "bootstrapped": float(np.mean([one.method == "bca" for one in found])),
    }
