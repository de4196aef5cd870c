"""Dynamic int8 against torch and against ONNX Runtime's own quantize_dynamic, in one run.

    .venv/bin/python bench/dynamic.py [--shared ../shared] [--only demo kornli nsmc base weights first]

Writes bench/results/dynamic-<kind of CPU>.json and the tables of README.md and README.ko.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
import onnx_ir as ir

import octavo
from machine import THREADS, machine, results_file
from octavo.artifact.folder import open_artifact
from octavo.encoding.batching import Batch
from octavo.evaluation.benchmark import Contender, run_benchmark
from octavo.evaluation.comparison import compare_entries
from octavo.evaluation.entries import Entry, find_entries
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task
from publish import publish

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "korean-nli"
PER_TENSOR = Recipe(granularity="tensor")
EXPORTED = Recipe(method="float", optimize=False)  # what the exporter gives: the stock tool's users have no more


class Steps:
    """Progress as lines on stderr."""

    def start(self, task, total=None):
        print(f"  {task}" + (f" ({total})" if total else ""), file=sys.stderr, flush=True)

    def advance(self, amount=1):
        pass


def quantize_all(checkpoint: Path | octavo.Checkpoint, folder: Path, recipes: Mapping[str, Recipe]) -> None:
    """An artifact for each recipe, in a folder of its name; recipes that ask for the same float graphs share them."""

    def graphs(one: tuple[str, Recipe]) -> tuple[bool, bool]:
        return one[1].optimize, one[1].merge_qkv

    for _, same in groupby(sorted(recipes.items(), key=graphs), graphs):
        exported = None
        for title, recipe in same:
            exported = exported or octavo.export(checkpoint, recipe=recipe, progress=Steps())
            octavo.quantize(exported, folder / title, recipe=recipe, progress=Steps())


def stock(float_model: Path, folder: Path, *, reduce_range: bool) -> Path:
    """ONNX Runtime's quantize_dynamic, with its best settings, on a float graph."""
    from onnxruntime.quantization import quantize_dynamic

    folder.mkdir(parents=True)
    quantize_dynamic(
        float_model,
        folder / "model.onnx",
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        per_channel=True,
        reduce_range=reduce_range,
    )
    return folder


def unsigned(model: ir.Model) -> ir.Model:
    """The same integers, stored as u8 around 128: u8 x u8 products are exact on every CPU."""
    zero = ir.Value(name="weight_zero", const_value=ir.tensor(np.array(128, np.uint8), name="weight_zero"))
    model.graph.register_initializer(zero)
    for node in list(model.graph):
        if node.op_type == "MatMulInteger":
            weight = node.inputs[1]
            codes = (weight.const_value.numpy().astype(np.int16) + 128).astype(np.uint8)
            moved = ir.Value(name=f"{weight.name}_u8", const_value=ir.tensor(codes, name=f"{weight.name}_u8"))
            model.graph.register_initializer(moved)
            inputs = [node.inputs[0], moved, node.inputs[2], zero]
            new = ir.node("MatMulInteger", inputs, name=node.name)
            model.graph.insert_before(node, new)
            ir.convenience.replace_all_uses_with(node.outputs[0], new.outputs[0])
            new.outputs[0].name = node.outputs[0].name + "_u8"
            model.graph.remove(node, safe=True)
    return model


def entries_for(checkpoint: Path, folder: Path) -> list[Entry]:
    """torch, our float and int8 (one scale per token and per tensor), the stock tool's with reduce_range off and on."""
    recipes = {"float": Recipe(method="float"), "int8": Recipe(), "int8, one scale per tensor": PER_TENSOR}
    quantize_all(checkpoint, folder, recipes | {"plain": EXPORTED})
    entries = [entry for path in (checkpoint, *(folder / title for title in recipes)) for entry in find_entries(path)]
    reference = open_artifact(folder / "plain")
    beside = reference.bytes - reference.manifest.files["model.onnx"].bytes
    for reduce_range in (False, True):
        name = f"stock, reduce_range={reduce_range}"
        where = stock(reference.model_file, folder / name, reduce_range=reduce_range)
        signature = reference.manifest.signature
        contender = Contender(where, "onnxruntime", signature, where)
        size = (where / "model.onnx").stat().st_size + beside
        entries.append(Entry(name, "dynamic", size, signature, reference.tokenizer_json, contender))
    return entries


def on_data(checkpoint: Path, data: Path) -> dict:
    print(f"{checkpoint.name} on {data.name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        entries = entries_for(checkpoint, Path(folder))
        signature = entries[0].signature
        examples = octavo.read_examples(data, labels=signature.labels)
        return compare_entries(entries, examples, find_task(signature), threads=THREADS, progress=Steps()).to_dict()


def make_base(folder: Path) -> Path:
    """BERT-base with random weights and the vocabulary of multilingual BERT: speed and size only."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=119547, num_labels=3))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((DEMO / name).read_bytes())
    return folder


SHAPES = ((32, 128, 8), (1, 32, 80))  # rows, tokens, batches of a round


def at_shapes(contenders: dict[str, Contender], vocabulary: int, shapes: tuple = SHAPES) -> list[dict]:
    """Milliseconds at some shapes, interleaved; every contender in a process of its own."""
    generator = np.random.default_rng(0)
    tables = []
    for rows, length, repeats in shapes:
        inputs = {
            "input_ids": generator.integers(5, vocabulary, (rows, length)),
            "attention_mask": np.ones((rows, length), np.int64),
            "token_type_ids": np.zeros((rows, length), np.int64),
        }
        batches = [Batch(tuple(range(rows * index, rows * (index + 1))), inputs) for index in range(repeats)]
        timings = run_benchmark(
            list(contenders.values()), [batches] * len(contenders), threads=THREADS, seed=0, progress=Steps()
        )
        for name, timing in zip(contenders, timings, strict=True):
            tables.append({"shape": f"{rows} x {length}", "name": name, "ms": 1000 * timing.seconds / repeats})
    return tables


def base() -> dict:
    """BERT-base: torch, our float and int8, the stock tool's, and the other ways to keep products from saturating."""
    print("BERT-base", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = make_base(folder / "base")
        recipes = {
            "exported": EXPORTED,
            "octavo float": Recipe(method="float"),
            "octavo float, q/k/v merged": Recipe(method="float", merge_qkv=True),
            "octavo int8": Recipe(),
            "octavo int8, q/k/v merged": Recipe(merge_qkv=True),
            "octavo int8, one scale per tensor": PER_TENSOR,
        }
        quantize_all(checkpoint, folder, recipes)
        paths = {title: folder / title for title in recipes if title != "exported"}
        for title, graph, reduce_range in (
            ("stock, reduce_range=False", "exported", False),
            ("stock, reduce_range=True", "exported", True),
            ("stock on Octavo's float graph", "octavo float", True),
        ):
            paths[title] = stock(folder / graph / "model.onnx", folder / title, reduce_range=reduce_range)
        signature = open_artifact(folder / "octavo float").manifest.signature
        contenders = {"torch fp32": Contender(checkpoint, "torch", signature, checkpoint)}
        contenders |= {title: Contender(path, "onnxruntime", signature, path) for title, path in paths.items()}
        sizes = {"torch fp32": find_entries(checkpoint)[0].bytes}
        sizes |= {title: (path / "model.onnx").stat().st_size for title, path in paths.items()}
        return {"rows": at_shapes(contenders, 119547), "bytes": sizes}


def weights(shared: Path | None) -> dict:
    """Three ways to store the weights of a Linear, on any CPU: pairs that leave room, 8 bits, and u8."""
    print("weights: in pairs, 8 bits, u8", file=sys.stderr)
    result: dict = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, checkpoint in (("base", make_base(folder / "base")), ("ko-nli", DEMO)):
            place = folder / label
            exported = octavo.export(checkpoint, progress=Steps())
            octavo.quantize(exported, place / "float", recipe="float", progress=Steps())
            octavo.quantize(exported, place / "in pairs", target="any", progress=Steps())
            octavo.quantize(exported, place / "8-bit", target="avx512_vnni", progress=Steps())
            (place / "u8").mkdir()
            ir.save(unsigned(ir.load(place / "8-bit" / "model.onnx")), place / "u8" / "model.onnx")
            reference = open_artifact(place / "float")
            signature = reference.manifest.signature
            paths = {title: place / title for title in ("float", "in pairs", "8-bit", "u8")}
            contenders = {title: Contender(path, "onnxruntime", signature, path) for title, path in paths.items()}
            if label == "base":
                result["base"] = at_shapes(contenders, 119547)
            elif shared is not None:
                examples = octavo.read_examples(shared / "data/kornli/xnli.test.ko.tsv", labels=signature.labels)
                entries = [
                    Entry(title, "dynamic", 1, signature, reference.tokenizer_json, contender)
                    for title, contender in contenders.items()
                ]
                compared = compare_entries(entries, examples, find_task(signature), threads=THREADS, progress=Steps())
                result["kornli"] = compared.to_dict()
    return result


TORCH = """
import torch, transformers, sys
m = transformers.AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
t = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.inference_mode(): m(**t("가을이 왔다.", "겨울이다.", return_tensors="pt"))
"""
OCTAVO = """
import octavo, sys
octavo.load(sys.argv[1])(("가을이 왔다.", "겨울이다."))
"""


def first() -> dict:
    """Seconds from starting Python to the first answer, in pairs; the first pair compiles modules and is left out."""
    print("first answer", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "int8"
        octavo.quantize(DEMO, artifact, progress=Steps())
        seconds: dict[str, list[float]] = {"torch": [], "octavo": []}
        kept = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # as pip leaves them
        for _ in range(6):
            for name, code, path in (("torch", TORCH, DEMO), ("octavo", OCTAVO, artifact)):
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, env=kept)
                seconds[name].append(time.perf_counter() - start)
    return {name: {"seconds": values[1:], "median": statistics.median(values[1:])} for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", help="demo, kornli, nsmc, base, weights, first")
    arguments = parser.parse_args()
    shared = arguments.shared if (arguments.shared / "data").is_dir() else None
    kept = results_file("dynamic")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    random.seed(0)
    parts = {"demo": lambda: on_data(DEMO, DEMO / "pairs.tsv"), "base": base, "first": first}
    parts["weights"] = lambda: weights(shared)
    if shared is not None:
        models, data = shared / "models", shared / "data"
        parts["kornli"] = lambda: on_data(models / "ko-nli", data / "kornli/xnli.test.ko.tsv")
        parts["nsmc"] = lambda: on_data(models / "ko-sentiment", data / "nsmc/test.tsv")
    for name in arguments.only or parts:
        results[name] = parts[name]() | {"machine": machine("torch", "transformers")}
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
