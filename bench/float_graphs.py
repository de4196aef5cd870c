"""What `octavo quantize` costs by both roads to a float graph, and what a second recipe of one checkpoint costs.

    .venv/bin/python bench/float_graphs.py [CHECKPOINT] [--rounds 3]

CPU seconds of fresh processes (user and system, all threads): where torch cannot be imported, as in a plain install;
where it is installed; and by transformers' exporter. Of the checkpoint, and of random weights of BERT-base's shape.
Then seconds in one process, for graphs that Octavo writes and for those of the exporter: the whole road, and from float
graphs that are there, which have to give the same bytes; the first round has the imports. Writes
bench/results/float-graphs-<kind of CPU>.json. Ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from safetensors.numpy import save_file

import octavo
from machine import machine, results_file
from octavo.exporting.families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
KO_NLI = ROOT.parent / "shared" / "models" / "ko-nli"
PACKAGES = ("torch", "transformers", "onnx-ir", "onnxscript", "onnxruntime")
BLOCK = (
    "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'onnxscript', 'sentencepiece', 'peft']))"
)
ROADS = {  # what a fresh process runs, with the checkpoint and the folder to write
    "without_torch": f"{BLOCK}; import octavo; octavo.quantize(*sys.argv[1:])",
    "with_torch": "import sys, octavo; octavo.quantize(*sys.argv[1:])",
    "by_the_exporter": "import sys, octavo; octavo.quantize(octavo.export(sys.argv[1], exporter=True), sys.argv[2])",
}


def make_base(folder: Path, like: Path) -> Path:
    """Random weights of BERT-base's shape with the tokenizer of another checkpoint; no torch."""
    config = json.loads((like / "config.json").read_text(encoding="utf-8")) | {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "max_position_embeddings": 512,
    }  # fmt: skip
    width, inner = config["hidden_size"], config["intermediate_size"]
    layer, generator, shapes = FAMILIES["bert"].layer, np.random.default_rng(5), dict[str, tuple[int, ...]]()

    def linear(path: str, outputs: int, inputs: int) -> None:
        shapes.update({f"{path}.weight": (outputs, inputs), f"{path}.bias": (outputs,)})

    for name, rows in (("word", config["vocab_size"]), ("position", 512), ("token_type", 2)):
        shapes[f"bert.embeddings.{name}_embeddings.weight"] = (rows, width)
    norms = ["bert.embeddings.LayerNorm"]
    for index in range(config["num_hidden_layers"]):
        place = f"bert.encoder.layer.{index}"
        for part in (layer.query, layer.key, layer.value, layer.output):
            linear(f"{place}.{part}", width, width)
        linear(f"{place}.{layer.up}", inner, width)
        linear(f"{place}.{layer.down}", width, inner)
        norms += [f"{place}.{layer.norm}", f"{place}.{layer.last_norm}"]
    linear("bert.pooler.dense", width, width)
    linear("classifier", 3, width)
    weights = {name: generator.normal(0, 0.04, shape).astype(np.float32) for name, shape in shapes.items()}
    for norm in norms:
        weights |= {f"{norm}.weight": np.ones(width, np.float32), f"{norm}.bias": np.zeros(width, np.float32)}
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    settings = json.loads((like / "tokenizer_config.json").read_text(encoding="utf-8")) | {"model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    shutil.copy(like / "tokenizer.json", folder)
    return folder


def cpu_seconds(code: str, checkpoint: Path, output: Path) -> float:
    """CPU seconds of a fresh process that quantizes a checkpoint."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "ignore", "-c", code, str(checkpoint), str(output)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_fresh(checkpoint: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of CPU seconds: checkpoint -> road -> seconds; the two graphs of a checkpoint have to answer alike."""
    found = {}
    with tempfile.TemporaryDirectory() as work:
        for folder in (checkpoint, make_base(Path(work) / "bert-base-shaped", checkpoint)):
            runs: dict[str, list[float]] = {road: [] for road in ROADS}
            for index in range(rounds):
                for road, code in ROADS.items():
                    runs[road].append(cpu_seconds(code, folder, Path(work) / f"{folder.name}-{road}-{index}"))
            found[folder.name] = {road: round(median(seconds), 2) for road, seconds in runs.items()}
            print(folder.name, found[folder.name], flush=True)
    return found


def measure(checkpoint: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of seconds by who makes the graph: `quantize` from the checkpoint, and from graphs that are there."""
    medians = {}
    with tempfile.TemporaryDirectory() as work:
        for road, exporter in (("written", False), ("exporter", True)):
            whole, second = [], []
            for index in range(rounds):
                start = time.perf_counter()
                graphs = octavo.export(checkpoint, exporter=exporter)
                first = octavo.quantize(graphs, Path(work) / f"{road}{index}")
                whole.append(time.perf_counter() - start)
                start = time.perf_counter()
                again = octavo.quantize(graphs, Path(work) / f"{road}{index}-again")
                second.append(time.perf_counter() - start)
                if first.model_file.read_bytes() != again.model_file.read_bytes():
                    raise SystemExit("the two ways give different bytes")
            medians[road] = {"from_checkpoint": round(median(whole), 3), "from_float_graphs": round(median(second), 3)}
            print(road, medians[road], flush=True)
    return medians


def main() -> None:
    """Measure, write the result, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=KO_NLI)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    fresh = measure_fresh(options.checkpoint, options.rounds)
    found = {
        "seconds_in_one_process": measure(options.checkpoint, options.rounds),
        "cpu_seconds_of_fresh_processes": fresh,
        "checkpoint": options.checkpoint.name,
        "rounds": options.rounds,
        "machine": machine(*PACKAGES, threads=None),
    }
    file = results_file("float-graphs")
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
