"""How often the 95 % intervals of `octavo compare` hold what they should: simulation, on data whose truth is known.

    .venv/bin/python bench/coverage.py [--repetitions 2000] [--metric accuracy] [--workers 2]
    .venv/bin/python bench/coverage.py --noise [--repetitions 200] [--metric accuracy]
    .venv/bin/python bench/coverage.py --heads [--repetitions 400]

In the first few predictions change, nothing being known of margins; writes bench/results/coverage-any.json. In the
second every row moves (coverage_noise.py), correlations too; writes bench/results/coverage-noise.json. The third are
scores of several labels, one logit, numbers and rankings (coverage_heads.py), a part of the first file. All write the
tables of docs/comparison.md.
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

import coverage_heads
import coverage_noise
from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.scores import SCORES
from publish import publish

ROOT = Path(__file__).parents[1]
SIZES, SHARES, METRICS = (50, 300, 3000), (0.01, 0.03, 0.1), ("accuracy", "macro_f1")


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


def run(arguments: argparse.Namespace, stored: list[dict]) -> list[dict]:
    """All cells, or those of one score: the others stay as they are stored."""
    metric, noise = arguments.metric, arguments.noise
    cases = coverage_noise.cases() if noise else list(product(DRAWS, METRICS, SIZES, SHARES))
    which, work = (0, coverage_noise.cover) if noise else (1, cover)
    wanted = [case for case in cases if metric in {None, case[which]}]
    rows = [row for row in stored if (row["score"] if noise else row["metric"]) not in {metric, _with(metric)}]
    rows = rows if metric else []
    with ProcessPoolExecutor(arguments.workers) as pool:
        waiting = [pool.submit(work, *case, arguments.repetitions) for case in sorted(wanted, key=lambda one: -one[-1])]
        for index, one in enumerate(waiting, 1):
            rows += one.result() if noise else [one.result()]
            print(f"{index} of {len(waiting)} cells", file=sys.stderr, flush=True)
    return rows


def run_heads(repetitions: int, workers: int | None, metric: str | None) -> None:
    """The cells of the further scores, or of one of them, into their own part of coverage-any.json."""
    metrics = [metric] if metric else coverage_heads.METRICS
    cases = list(product(metrics, coverage_heads.SIZES, coverage_heads.SHARES))
    with ProcessPoolExecutor(workers) as pool:
        waiting = [pool.submit(coverage_heads.cover, *case, repetitions) for case in cases]
        rows = []
        for one in waiting:
            rows.append(one.result())
            print(rows[-1], file=sys.stderr, flush=True)
    path = ROOT / "bench" / "results" / "coverage-any.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    rows += [row for row in stored.get("heads", {"rows": []})["rows"] if row["metric"] not in metrics]
    rows.sort(key=lambda row: (coverage_heads.METRICS.index(row["metric"]), row["n"], row["share"]))
    stored["heads"] = {"repetitions": repetitions, "rows": rows}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    publish()


def _with(metric: str | None) -> str | None:
    """What is estimated along with a score."""
    return "modelled" if metric == "accuracy" else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    scores = tuple(dict.fromkeys((*METRICS, "spearman", "pearson", *coverage_heads.METRICS)))
    parser.add_argument("--metric", choices=scores, help="this one; the others stay as they are stored")
    parser.add_argument("--noise", action="store_true", help="every row moves")
    parser.add_argument("--heads", action="store_true", help="scores of several labels, logits, numbers, rankings")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if arguments.heads:
        run_heads(arguments.repetitions, arguments.workers, arguments.metric)
        return
    name = "noise" if arguments.noise else "coverage"
    path = ROOT / "bench" / "results" / f"coverage-{'noise' if arguments.noise else 'any'}.json"
    stored = json.loads(path.read_text(encoding="utf-8"))[name]["rows"] if path.exists() else []
    rows = run(arguments, stored)
    if arguments.noise:
        order = ("accuracy", "modelled", "macro_f1", "spearman", "pearson")
        rows.sort(key=lambda row: (order.index(row["score"]), row["rows"], row["n"], row["noise"]))
        print("\n".join(coverage_noise.lowest(rows)) or "no cell is below 93 %", file=sys.stderr)
    else:
        rows.sort(key=lambda row: (row["rows"], METRICS.index(row["metric"]), row["n"], row["share"]))
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found[name] = {"repetitions": arguments.repetitions, "rows": rows}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
