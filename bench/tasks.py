"""What int8 costs real models of the newer tasks: entity F1, perplexity, exact match, each with its interval.

    .venv/bin/python bench/tasks.py [--shared ../shared] [--only ner stories spelling]

Writes bench/results/tasks-<kind of CPU>.json and the tables of docs/tasks and docs/generation.md.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import octavo
from dynamic import Steps
from machine import THREADS, machine, results_file
from octavo.data.examples import DataFile
from octavo.schema.recipe import Recipe
from publish import publish

ROOT = Path(__file__).resolve().parents[1]
WORDS = 1000  # of a dictionary of 90,217
LEARNT = 3000  # lines at the beginning of the stories, which 4-bit weights are rounded on and which are not scored
WEIGHTS = {
    "weight-only, 8 bits": Recipe(method="weight-only"),
    "weight-only, 4 bits": Recipe(method="weight-only", bits=4),
}


def measure(models: dict[str, Path], data: DataFile) -> dict[str, Any]:
    """Compare artifacts, the first being the baseline; what the tables need of it."""
    baseline, *others = models.values()
    found = octavo.compare(baseline, others, data=data, threads=THREADS, progress=Steps())
    rows = [
        {
            "name": name,
            "engine": row.engine,
            "bytes": row.bytes,
            "rows_per_second": row.rows_per_second,
            "speedup": row.speedup.value,
            "quality": row.quality,
            "differences": {score: [one.value, one.low, one.high] for score, one in row.differences.items()},
            "fidelity": row.fidelity,
        }
        for name, row in zip(models, found.rows, strict=True)
    ]
    return {"n": found.n, "rows": rows}


def make(checkpoint: Any, work: Path, recipes: dict[str, Recipe], calibration: dict[str, Any]) -> dict[str, Path]:
    """An artifact for each recipe, by name; `calibration` are the examples of those that have some."""
    made, exported = {}, octavo.export(checkpoint, progress=Steps())
    for number, (name, recipe) in enumerate(recipes.items()):
        made[name] = work / str(number)
        octavo.quantize(exported, made[name], recipe=recipe, calibration=calibration.get(name), progress=Steps())
    return made


def ner(shared: Path, work: Path) -> dict[str, Any]:
    """ko-ner on PAN-X; the model's author trained on train-ko, static int8 learns from 300 of its sentences."""
    recipes = {name: Recipe(method=name) for name in ("float", "dynamic", "static")}
    learnt = DataFile(shared / "data" / "panx" / "train-ko.tsv", limit=300)
    models = make(shared / "models" / "ko-ner", work, recipes, {"static": learnt})
    return measure(models, DataFile(shared / "data" / "panx" / "dev-ko.tsv"))


def stories(shared: Path, work: Path) -> dict[str, Any]:
    """stories260k in windows of 256 tokens."""
    lines = (shared / "data" / "tinystories_sample" / "tinystories_sample.txt").read_text(encoding="utf-8").split("\n")
    (work / "learnt.txt").write_text("\n".join(lines[:LEARNT]), encoding="utf-8")
    (work / "scored.txt").write_text("\n".join(lines[LEARNT:]), encoding="utf-8")
    recipes = {"float": Recipe(method="float"), **WEIGHTS}
    recipes["weight-only, 4 bits, calibrated"] = WEIGHTS["weight-only, 4 bits"]
    recipes |= {"dynamic": Recipe(method="dynamic"), "static": Recipe(method="static")}
    learnt = DataFile(work / "learnt.txt", limit=LEARNT)
    calibration = dict.fromkeys(("weight-only, 4 bits, calibrated", "static"), learnt)
    models = make(shared / "models" / "stories260k" / "hf", work, recipes, calibration)
    return measure(models, DataFile(work / "scored.txt", max_length=256))


def spelling(shared: Path, work: Path) -> dict[str, Any]:
    """misaki_g2p: letters to sounds, a sample of the dictionary's words of one pronunciation."""
    folder = shared / "models" / "misaki_g2p"
    known = json.loads((folder / "us_gold.json").read_text(encoding="utf-8"))
    words = sorted(word for word, sound in known.items() if isinstance(sound, str) and word.isalpha())
    chosen = random.Random(0).sample(words, WORDS)
    rows = [json.dumps({"text": word, "target": known[word]}, ensure_ascii=False) for word in chosen]
    (work / "words.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    checkpoint = octavo.Checkpoint(folder / "hf_us", target_tokenizer=folder / "hf_us" / "phoneme_tokenizer.json")
    recipes = {"float": Recipe(method="float"), **WEIGHTS, "dynamic": Recipe(method="dynamic")}
    return measure(make(checkpoint, work, recipes, {}), DataFile(work / "words.jsonl"))


PARTS = {"ner": ner, "stories": stories, "spelling": spelling}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    asked = parser.parse_args()
    stored = results_file("tasks")
    results = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    for name in asked.only:
        with tempfile.TemporaryDirectory() as work:
            found = PARTS[name](asked.shared.resolve(), Path(work))
        results[name] = found | {"machine": machine("torch", "transformers", "openvino", "numpy")}
        stored.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
