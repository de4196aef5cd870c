"""How often the 95 % intervals of `octavo compare` hold what they should: simulation, on data whose truth is known.

    .venv/bin/python bench/coverage.py [--repetitions 2000] [--metric accuracy]

Writes bench/results/coverage-any.json and the tables of docs/comparison.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np

from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.scores import SCORES
from publish import publish

ROOT = Path(__file__).parents[1]
SIZES, SHARES, METRICS = (50, 300, 3000), (0.01, 0.03, 0.1), ("accuracy", "macro_f1", "spearman")


def draw(metric: str, n: int, share: float, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Rows of gold, the first model's predictions and the second's, of which about `share` are others, mostly worse.

    Three classes of 60, 25 and 15 %, the first model right in 70 % of the rows; a changed prediction is another class.
    For Spearman scores of 0 to 5 in tenths, and predictions with normal noise; a changed one has as much again, and all
    of the second model's differ in the last digits.
    """
    changed = generator.random(n) < share
    if metric == "spearman":
        gold = np.round(generator.uniform(0, 5, n), 1)
        first = gold + generator.normal(0, 1.5, n)
        return gold, first, first + generator.normal(0, np.where(changed, 1.5, 1e-6))
    gold = generator.choice(3, n, p=(0.6, 0.25, 0.15))
    first = np.where(generator.random(n) < 0.7, gold, (gold + generator.integers(1, 3, n)) % 3)
    return gold, first, np.where(changed, (first + generator.integers(1, 3, n)) % 3, first)


def draw_others(metric: str, n: int, share: float, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """The same of other rows, which no constant of the intervals was chosen by.

    Six classes of 40, 25, 15, 10, 6 and 4 %, the first model right in 80 %; a changed prediction is the next class. For
    Spearman more high scores than low ones, and Student's noise of five degrees of freedom, which has long tails.
    """
    changed = generator.random(n) < share
    if metric == "spearman":
        gold = np.round(5 * generator.beta(2, 1.5, n), 1)
        first = gold + 0.8 * generator.standard_t(5, n)
        return gold, first, first + np.where(changed, 1.0, 1e-3) * generator.standard_t(5, n)
    gold = generator.choice(6, n, p=(0.4, 0.25, 0.15, 0.1, 0.06, 0.04))
    first = np.where(generator.random(n) < 0.8, gold, (gold + generator.integers(1, 6, n)) % 6)
    return gold, first, np.where(changed, (first + 1) % 6, first)


DRAWS = {"first": draw, "second": draw_others}


def cover(rows: str, metric: str, n: int, share: float, repetitions: int) -> dict:
    """The shares of samples whose interval has the truth in it, and whose one-sided bounds are on their side of it."""
    sample = DRAWS[rows]
    gold, first, second = sample(metric, 4_000_000, share, np.random.default_rng(12345))
    truth = SCORES[metric](gold, second) - SCORES[metric](gold, first)
    found = [
        DIFFERENCES[metric](*sample(metric, n, share, np.random.default_rng([n, seed]))) for seed in range(repetitions)
    ]
    return {
        "rows": rows,
        "metric": metric,
        "n": n,
        "share": share,
        "truth": truth,
        "coverage": float(np.mean([one.low <= truth <= one.high for one in found])),
        "lower": float(np.mean([one.lower <= truth for one in found])),
        "upper": float(np.mean([truth <= one.upper for one in found])),
        "width": float(np.mean([one.high - one.low for one in found])),
        "bootstrapped": float(np.mean([one.method == "bca" for one in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--metric", choices=METRICS, help="this one only; the others stay as they are stored")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    path, metrics, rows = ROOT / "bench" / "results" / "coverage-any.json", METRICS, []
    if arguments.metric:
        metrics = (arguments.metric,)
        stored = json.loads(path.read_text(encoding="utf-8"))["coverage"]["rows"]
        rows = [row for row in stored if row["metric"] != arguments.metric]
    cases = sorted(product(DRAWS, metrics, SIZES, SHARES), key=lambda case: -case[2])
    with ProcessPoolExecutor() as pool:
        waiting = [pool.submit(cover, *case, arguments.repetitions) for case in cases]
        for one in waiting:
            rows.append(one.result())
            print(
                "{rows} {metric} n={n} {share:.0%}: {coverage:.4f} {lower:.4f} {upper:.4f}".format(**rows[-1]),
                file=sys.stderr,
            )
    rows.sort(key=lambda row: (row["rows"], METRICS.index(row["metric"]), row["n"], row["share"]))
    stored = {"coverage": {"repetitions": arguments.repetitions, "rows": rows}}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
