"""How often the 95 % intervals of `octavo compare` hold what they should: simulation, on data whose truth is known.

    .venv/bin/python bench/coverage.py [--repetitions 2000]

Writes bench/results/coverage-any.json and the table of docs/comparison.md.
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

from octavo.evaluation.stats import DIFFERENCES
from octavo.tasks.metrics import SCORES
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


def cover(metric: str, n: int, share: float, repetitions: int) -> dict:
    """The share of samples whose interval has the truth in it."""
    gold, first, second = draw(metric, 4_000_000, share, np.random.default_rng(12345))
    truth = SCORES[metric](gold, second) - SCORES[metric](gold, first)
    found = [
        DIFFERENCES[metric](*draw(metric, n, share, np.random.default_rng([n, seed]))) for seed in range(repetitions)
    ]
    return {
        "metric": metric,
        "n": n,
        "share": share,
        "truth": truth,
        "coverage": float(np.mean([one.low <= truth <= one.high for one in found])),
        "one_sided": float(np.mean([one.lower <= truth for one in found])),
        "width": float(np.mean([one.high - one.low for one in found])),
        "bootstrapped": float(np.mean([one.method == "bca" for one in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    cases = sorted(product(METRICS, SIZES, SHARES), key=lambda case: -case[1])
    with ProcessPoolExecutor() as pool:
        waiting = [pool.submit(cover, *case, arguments.repetitions) for case in cases]
        rows = []
        for one in waiting:
            rows.append(one.result())
            print("{metric} n={n} {share:.0%}: {coverage:.4f}".format(**rows[-1]), file=sys.stderr)
    rows.sort(key=lambda row: (METRICS.index(row["metric"]), row["n"], row["share"]))
    stored = {"coverage": {"repetitions": arguments.repetitions, "rows": rows}}
    (ROOT / "bench" / "results" / "coverage-any.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
