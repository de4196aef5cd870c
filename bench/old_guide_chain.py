"""All steps on the old guides' job: the vocabulary trimmed, half of the layers, int8, against the padded torch run.

    .venv/bin/python bench/old_guide_chain.py [--shared ../shared] [--quick]

The job, the shape (multilingual BERT, random weights) and the runs are those of bench/old_guide.py. Its checkpoint is
trimmed to the tokens of the 5,010 pairs; of its layers every second stays, as `octavo distill` makes a student, but
not trained: random weights have nothing to be taught, and speed and size do not depend on it. What such a student
answers is measured elsewhere (docs/smaller.md). Then int8: dynamic and static, calibrated on 300 pairs, also with
4-bit rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import octavo
import old_guide
from dynamic import ROOT, Steps
from machine import machine, results_file
from octavo.schema.recipe import Recipe
from publish import publish

LAYERS, ROUNDS, SAMPLE = 12, 2, 96  # of the teacher; turns; rows of a run whose batches all cost the same
STATIC = Recipe(method="static")
INT8 = {  # what is made of the student
    "int8, dynamic": Recipe(),
    "int8, static": STATIC,
    "int8, static, rows of 4 bits": Recipe(method="static", embedding="int4"),
}
RUNS = {  # how it is run, on what, and the rows that are timed (None: all), as in old_guide
    "torch fp32": ("torch", "teacher", "padded", SAMPLE),
    "torch fp32, not padded": ("torch", "teacher", "sorted", 4 * SAMPLE),
    "int8, dynamic": ("octavo", "teacher-int8", "sorted", None),
    "trimmed, half of the layers, float": ("octavo", "float", "sorted", 4 * SAMPLE),
    **{f"trimmed, half of the layers, {name}": ("octavo", name, "sorted", None) for name in INT8},
}


def pairs_file(shared: Path, folder: Path) -> Path:
    rows = old_guide.read_pairs(shared)
    text = "".join(json.dumps({"text": a, "text_pair": b}, ensure_ascii=False) + "\n" for a, b in rows)
    (folder / "pairs.jsonl").write_text(text, encoding="utf-8")
    return folder / "pairs.jsonl"


def halved(checkpoint: Path, folder: Path) -> None:
    """The checkpoint with every second of its layers, the last one among them."""
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(checkpoint)
    layers = model.bert.encoder.layer
    model.bert.encoder.layer = type(layers)(list(layers)[1::2])
    model.config.num_hidden_layers = len(model.bert.encoder.layer)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder)


def make(shared: Path, folder: Path, layers: int, vocabulary: int) -> dict:
    """The teacher, and all that is made of it; what trimming says."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(vocab_size=vocabulary, num_labels=3, num_hidden_layers=layers)
    BertForSequenceClassification(config).save_pretrained(folder / "teacher")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(old_guide.DEMO / name, folder / "teacher")
    pairs = pairs_file(shared, folder)
    record = octavo.trim(folder / "teacher", folder / "trimmed", data=pairs).record
    halved(folder / "trimmed", folder / "student")
    octavo.quantize(folder / "teacher", folder / "teacher-int8", progress=Steps())
    floats, examples = octavo.export(folder / "student", progress=Steps()), octavo.DataFile(pairs, limit=300)
    for name, recipe in ({"float": Recipe(method="float")} | INT8).items():
        calibrate = examples if recipe.calibrates else None
        octavo.quantize(floats, folder / name, recipe=recipe, calibrate=calibrate, progress=Steps())
    return {"rows_before": record.rows_before, "rows": record.rows}


def measure(shared: Path, folder: Path, rounds: int, most: int | None) -> list[dict]:
    """Seconds of each run for all rows, every run a process of its own, in turns; and the size of what it loads."""
    seconds: dict[str, list[float]] = {title: [] for title in RUNS}
    for _ in range(rounds):
        for title, (kind, place, batching, count) in RUNS.items():
            print(f"  {title}", file=sys.stderr, flush=True)
            timed = min(count or most or 0, most or count or 0)  # 0: all
            command = [sys.executable, old_guide.__file__, "--shared", str(shared), "--child", kind]
            done = subprocess.run(
                [*command, str(folder / place), batching, str(timed)], check=True, capture_output=True, text=True
            )
            seconds[title].append(json.loads(done.stdout.splitlines()[-1]))
    size = old_guide.size_of("torch", folder / "teacher")
    return [
        {
            "name": title,
            "engine": "torch" if kind == "torch" else octavo.open_artifact(folder / place).engine(),
            "mib": old_guide.size_of(kind, folder / place) / 2**20,
            "size": old_guide.size_of(kind, folder / place) / size,
            "seconds": statistics.median(seconds[title]),
            "runs": seconds[title],
            "timed_rows": count or 5010,
        }
        for title, (kind, place, _, count) in RUNS.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where data/ is")
    parser.add_argument("--quick", action="store_true", help="two layers and few rows, to see that it works")
    quick, shared = (arguments := parser.parse_args()).quick, arguments.shared
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        layers, vocabulary = (2, 20_000) if quick else (LAYERS, old_guide.VOCABULARY)
        trimmed = make(shared, Path(name), layers, vocabulary)
        rows = measure(shared, Path(name), 1 if quick else ROUNDS, 32 if quick else None)
    minutes = (time.perf_counter() - start) / 60
    found = {"rows": rows, "trim": trimmed, "minutes": minutes}
    document = {"chain": found | {"machine": machine("openvino", "torch", "transformers")}}
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    if quick:
        print(text)
        return
    (results_file("old-guide-chain")).write_text(text, encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
