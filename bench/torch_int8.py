"""The format torch against torch itself, torch.ao's quantize_dynamic and torchao, in one run.

    .venv/bin/python bench/torch_int8.py [--shared ../shared] [--only base kornli compile]

Writes bench/results/torch-<kind of CPU>.json and the tables of docs/torch.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import transformers

import octavo
import worker
from dynamic import ROOT, Steps, at_shapes, make_base
from machine import THREADS, machine, results_file
from octavo.evaluation import benchmark
from octavo.evaluation.benchmark import Contender
from octavo.evaluation.comparison import compare_entries
from octavo.evaluation.entries import find_entries
from octavo.hardware import this_cpu
from octavo.methods.torch_modules import quantize_modules
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task
from publish import publish

PACKAGES = ("torch", "torchao", "transformers")
RECIPES = {
    "Octavo torch int8": Recipe(format="torch"),
    "Octavo torch int8, one scale per token": Recipe(format="torch", granularity="token"),
    "Octavo torch weight-only int8": Recipe(format="torch", method="weight-only"),
    "Octavo ONNX int8": Recipe(),
}
ROUNDS = 4
TORCHAO = "the same folder, from_pretrained (torchao)"
SHAPES = ((32, 128, 2), (1, 32, 12))
EAGER = {"torch fp32": "torch", "torch bf16": "torch:bf16", "torch.ao quantize_dynamic": "torch-int8"}


def made(checkpoint: Path, folder: Path, recipes: dict[str, Recipe] = RECIPES) -> dict[str, Path]:
    for title, recipe in recipes.items():
        octavo.quantize(checkpoint, folder / title, recipe=recipe, progress=Steps())
    return {title: folder / title for title in recipes}


def contenders(checkpoint: Path, paths: dict[str, Path]) -> dict[str, Contender]:
    """torch's own (engines of the bench are given a config.json), Octavo's, and its folder in plain transformers."""
    signature = find_entries(checkpoint)[0].signature
    found = {}
    for title, engine in EAGER.items():
        path = checkpoint / "config.json" if engine == "torch-int8" else checkpoint
        found[title] = Contender(path, engine, signature, checkpoint)
    for title, path in paths.items():
        found[title] = Contender(path, "onnxruntime" if "ONNX" in title else "torch", signature, path)
    saved = paths["Octavo torch int8"]
    found[TORCHAO] = Contender(saved / "config.json", "torch-ao", signature, saved)
    return found


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.suffix in {".safetensors", ".onnx"})


def base() -> dict:
    """BERT-base at 32 x 128 in one process, models in turns: milliseconds, the median of the rounds after the first."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and what the old guide uses
        stock = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, torch.qint8)
    models = {"torch fp32": model, "torch.ao quantize_dynamic": stock}
    for title, recipe in list(RECIPES.items())[:2]:
        models[title] = quantize_modules(model, recipe, saturates=this_cpu().saturates).model
    ids, seconds = torch.randint(5, 30000, (32, 128)), {title: [] for title in models}
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            for title, one in models.items():
                start = time.perf_counter()
                one(input_ids=ids, attention_mask=torch.ones_like(ids))
                seconds[title].append(time.perf_counter() - start)
    ms = {title: 1000 * statistics.median(found[1:]) for title, found in seconds.items()}
    rows = [{"shape": "32 x 128", "name": title, "ms": ms[title], "seconds": seconds[title]} for title in models]
    return {"rows": rows}


def kornli(shared: Path) -> dict:
    """KorNLI's test set: what each loses."""
    checkpoint = shared / "models" / "ko-nli"
    with tempfile.TemporaryDirectory() as name:
        paths = made(checkpoint, Path(name))
        (reference,) = find_entries(checkpoint)
        data = octavo.read_examples(shared / "data/kornli/xnli.test.ko.tsv", labels=reference.signature.labels)
        entries = [
            replace(reference, name=title, contender=contender, bytes=size_of(paths[title]) if title in paths else 1)
            for title, contender in contenders(checkpoint, paths).items()
        ]
        return compare_entries(
            entries, data, find_task(reference.signature), threads=THREADS, progress=Steps()
        ).to_dict()


def compiled() -> dict:
    """BERT-base with torch.compile, which takes a minute or two before the first answer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = make_base(folder / "base")
        saved = folder / "int8"
        octavo.quantize(checkpoint, saved, recipe=Recipe(format="torch"), progress=Steps())
        signature = find_entries(checkpoint)[0].signature
        found = {
            "torch fp32": Contender(checkpoint, "torch", signature, checkpoint),
            "torch fp32, torch.compile": Contender(checkpoint, "torch:compile", signature, checkpoint),
            "Octavo torch int8": Contender(saved, "torch", signature, saved),
            "Octavo torch int8, torch.compile": Contender(saved, "torch:compile", signature, saved),
            "from_pretrained (torchao), torch.compile": Contender(
                saved / "config.json", "torch-ao-compiled", signature, saved
            ),
        }
        return {"rows": at_shapes(found, 119547, SHAPES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", nargs="*", default=["base", "kornli", "compile"])
    arguments = parser.parse_args()
    benchmark.WORKER[:] = [sys.executable, worker.__file__]  # and its engines are known here too
    benchmark.SINGLE_ROWS = 10  # the shapes say what a single row takes
    kept = results_file("torch")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    parts = {"base": base, "kornli": lambda: kornli(arguments.shared.resolve()), "compile": compiled}
    for name in arguments.only:
        results[name] = parts[name]() | {"machine": machine(*PACKAGES)}
        kept.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
