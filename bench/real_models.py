"""Counted and modelled differences of accuracy and of entity F1 on outputs of real models.

    .venv/bin/python bench/real_models.py FOLDER [--repetitions 400] [--only nsmc]

The folder has `kornli.npz`, `klue_nli.npz`, `nsmc.npz`: `gold` [rows] labels, `torch` [rows, labels] logits of the
checkpoint, and those of each artifact in `KINDS`; and `ner.npz`: `gold`, and of each model `*_judged` (what
`TokenClassification.judged` gives) and `*_logits` [tokens, tags], `ends` being where each text's tokens end.

Rows of a data set are the population that samples are drawn from. It is made smooth: each drawn row's two margins are
shifted by the same normal number of deviation 0.05, so that what is true is a mean over all rows, not the count of the
few that happen to have changed. Entities are as they are. Writes bench/results/real-models.json and a table.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from scipy.stats import norm

from octavo.metrics.differences import accuracy_difference, ratio_difference
from octavo.metrics.movement import Margins, classifier_margins, leads, modelled_accuracy
from octavo.metrics.scores import SCORES

ROOT = Path(__file__).parents[1]
TITLES = ("kornli", "klue_nli", "nsmc", "ner")
KINDS, SIZES, SHIFT, LIMIT = ("float", "half", "dynamic", "tensor", "static", "weight4"), (100, 339, 1500), 0.05, -0.005


def held(found: list, truth: float) -> list[float]:
    """The shares of intervals and of one-sided bounds that hold the truth, the mean half-width, the share that pass."""
    sides = [(e.low <= truth <= e.high, e.lower <= truth, truth <= e.upper) for e in found]
    width = float(np.mean([one.high - one.low for one in found])) / 2
    return [*np.mean(sides, axis=0).tolist(), width, float(np.mean([one.lower >= LIMIT for one in found]))]


def classified(title: str, data: dict, repetitions: int) -> list[dict]:
    rows = []
    for kind in KINDS:
        margins = classifier_margins(data["torch"], data[kind], data["gold"])
        before, after, total = margins.before, margins.after, len(margins.lead)
        truth = float(np.mean(norm.cdf(after / SHIFT) - norm.cdf(before / SHIFT)))
        for n in SIZES:
            found: dict[str, list] = {"without margins": [], "counted": [], "modelled": []}
            for seed in range(repetitions):
                generator = np.random.default_rng([n, seed])
                drawn, shift = generator.integers(0, total, n), generator.normal(0, SHIFT, n)
                one, other = before[drawn] + shift, after[drawn] + shift
                part = Margins(np.abs(one), np.abs(other - one), one, other)
                labels = np.ones(n, np.int64), (one > 0).astype(np.int64), (other > 0).astype(np.int64)
                found["without margins"].append(accuracy_difference(*labels))
                found["counted"].append(accuracy_difference(*labels, margins=part))
                found["modelled"].append(modelled_accuracy(part))
            for how, estimates in found.items():
                rows.append(row(title, kind, n, how, truth, held(estimates, truth)))
        rows.append(against_the_rest(title, kind, data, repetitions))
    return rows


def against_the_rest(title: str, kind: str, data: dict, repetitions: int) -> dict:
    """The modelled difference of 339 rows, nothing shifted, less the counted one of all others, by both errors."""
    labels = [data["gold"], data["torch"].argmax(axis=1), data[kind].argmax(axis=1)]
    margins, effects = classifier_margins(data["torch"], data[kind], labels[0]), (labels[2] == labels[0]) * 1.0
    effects -= labels[1] == labels[0]
    inside = []
    for seed in range(repetitions):
        drawn = np.zeros(len(effects), bool)
        drawn[np.random.default_rng(seed).choice(len(effects), 339, replace=False)] = True
        one, rest = modelled_accuracy(margins.at(drawn)), effects[~drawn]
        error = math.hypot((one.high - one.low) / 2, 1.96 * rest.std() / math.sqrt(len(rest)))
        inside.append(abs(one.value - rest.mean()) <= error)
    return row(title, kind, 339, "modelled, against the rest", float(effects.mean()), [float(np.mean(inside))])


def row(title: str, kind: str, n: int, how: str, truth: float, figures: list[float]) -> dict:
    names = ("coverage", "lower", "upper", "half_width", "pass")
    return {"data": title, "model": kind, "n": n, "how": how, "truth": truth} | dict(zip(names, figures, strict=False))


def tagged(data: dict, repetitions: int) -> list[dict]:
    """Entities: of a text the smallest lead of any token and the farthest movement."""
    rows = []
    logits, starts = data["torch_logits"], np.r_[0, data["ends"][:-1]]
    said = logits.argmax(axis=1)
    lead = leads(logits, said)
    for kind in KINDS:
        moved = np.abs(leads(data[f"{kind}_logits"], said) - lead)
        margins = Margins(np.minimum.reduceat(lead, starts), np.maximum.reduceat(moved, starts))
        judged = data["gold"], data["torch_judged"], data[f"{kind}_judged"]
        truth = SCORES["entity_f1"](judged[0], judged[2]) - SCORES["entity_f1"](judged[0], judged[1])
        for n in (100, 339):
            found: dict[str, list] = {"without margins": [], "counted": []}
            for seed in range(repetitions):
                drawn = np.random.default_rng([n, seed]).integers(0, len(lead[starts]), n)
                part = [one[drawn] for one in judged]
                found["without margins"].append(ratio_difference("entity_f1", *part))
                found["counted"].append(ratio_difference("entity_f1", *part, margins=margins.at(drawn)))
            for how, estimates in found.items():
                rows.append(row("ner", kind, n, how, truth, held(estimates, truth)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--only", nargs="*", help="these data sets; the others stay as they are stored")
    arguments = parser.parse_args()
    count, path, wanted = (
        arguments.repetitions,
        ROOT / "bench" / "results" / "real-models.json",
        arguments.only or TITLES,
    )
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if arguments.only and path.exists() else []
    rows = [one for one in stored if one["data"] not in wanted]
    for title in wanted:
        data = np.load(arguments.folder / f"{title}.npz")
        rows += tagged(data, count) if title == "ner" else classified(title, data, count)
    rows.sort(key=lambda one: TITLES.index(one["data"]))
    path.write_text(json.dumps({"repetitions": count, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("| data | model | n | how | truth, points | held (lower, upper) | +- points | PASS at 0.5 |")
    print("|---|---|---:|---|---:|---:|---:|---:|")
    for one in rows:
        sides = f" ({100 * one['lower']:.1f}, {100 * one['upper']:.1f})" if "lower" in one else ""
        rest = f"{100 * one['half_width']:.2g} | {100 * one['pass']:.0f} %" if "pass" in one else "- | -"
        start = f"| {one['data']} | {one['model']} | {one['n']:,} | {one['how']} | {100 * one['truth']:+.3f} "
        print(f"{start}| {100 * one['coverage']:.1f}{sides} | {rest} |")


if __name__ == "__main__":
    main()
