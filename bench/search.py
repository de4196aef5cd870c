"""What `octavo search` finds within a drop of one point, beside the defaults, ten random recipes, and NNCF.

    .venv/bin/python bench/search.py [--shared ../shared] [--only ko-nli ko-ner ko-sts outliers feed-forward] [--quick]
    .venv/bin/pip install --target extra --no-deps nncf ninja narwhals pydot tabulate cloudpickle threadpoolctl
    PYTHONPATH=extra .venv/bin/python bench/search.py --only ko-nli

Each search has one file; what it finds is compared with the float graph and the defaults on another file, which
nothing was chosen or calibrated by (ko-ner: the sentences of one file, parted by their hashes). `outliers` is ko-nli
with sixteen channels of every value projection a hundred times as large, and the columns of the output projection a
hundredth: in float the same model. `feed-forward` is ko-nli whose third block has pairs of intermediate channels that
are a hundred times too large and cancel out exactly, so that int8 destroys what its down projection reads, and no
smoothing mends it. Each part is written into bench/results/search-<kind of CPU>.json when it ends, beside those of
other days, and bench/publish.py makes the document's table of them: by estimate some 25 minutes a part on two quiet
cores; --quick takes some hundred rows and two candidates, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

import octavo
from machine import THREADS, machine, results_file
from octavo.data.examples import DataFile
from octavo.evaluation import benchmark
from octavo.inference.opening import open_artifact_model
from octavo.metrics.differences import accuracy_difference
from octavo.schema.recipe import Recipe, recipe_from
from octavo.schema.search import Candidate
from octavo.tuning import measuring
from octavo.tuning.splits import split_examples

ROOT = Path(__file__).resolve().parents[1]
BUDGET = octavo.Budget(max_drop=1.0)
LIKE_FLOAT = octavo.Budget(min_agreement=0.98)  # of the hard models, which are near to chance on KLUE-NLI in float too
FILES = {  # to search with, and to check on
    "ko-nli": ("klue_nli/dev.tsv", "kornli/xnli.test.ko.tsv"),
    "ko-ner": ("panx/dev-ko.tsv", None),  # its test file has no tags: `halves`
    "ko-sts": ("korsts/sts-dev.tsv", "korsts/sts-test.tsv"),
    "outliers": ("klue_nli/dev.tsv", "kornli/xnli.test.ko.tsv"),
    "feed-forward": ("klue_nli/dev.tsv", "kornli/xnli.test.ko.tsv"),
}
PLAIN = {  # and whether it is given examples
    "static": (Recipe(method="static"), True),
    "static, unsmoothed": (Recipe(method="static", smoothing="none"), True),
    "dynamic": (Recipe(), False),
    "dynamic, with examples": (Recipe(), True),
}
FACTOR, COLUMN, CHANNELS, RANDOM = 100.0, 10.0, 16, 10  # with columns of 40 rounding alone moved float's answers


def make_hard(kind: str, source: Path, folder: Path) -> Path:
    """A checkpoint that int8 is bad for; see above."""
    shutil.copytree(source, folder)
    weights, draw = load_file(folder / "model.safetensors"), np.random.default_rng(0)
    numbers = sorted({int(name.split(".")[3]) for name in weights if ".encoder.layer." in name})
    for number in numbers if kind == "outliers" else numbers[2:3]:
        block = f"bert.encoder.layer.{number}"
        if kind == "outliers":
            value, output = f"{block}.attention.self.value", f"{block}.attention.output.dense.weight"
            weights[f"{value}.weight"][:CHANNELS] *= FACTOR
            weights[f"{value}.bias"][:CHANNELS] *= FACTOR
            weights[output][:, :CHANNELS] /= FACTOR
            continue
        up, down = f"{block}.intermediate.dense", f"{block}.output.dense.weight"
        for first in range(0, 2 * CHANNELS, 2):  # of each pair the second becomes the first, with the other sign behind
            weights[f"{up}.weight"][first] *= FACTOR
            weights[f"{up}.weight"][first + 1] = weights[f"{up}.weight"][first]
            weights[f"{up}.bias"][first + 1] = weights[f"{up}.bias"][first]
            column = COLUMN * weights[down].std() * draw.choice([-1.0, 1.0], len(weights[down]))
            weights[down][:, first], weights[down][:, first + 1] = column, -column
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "model.safetensors")
    return folder


def halves(source: Path, folder: Path) -> tuple[Path, Path]:
    """The sentences of a tagged file in two files, by the hashes of their words."""
    parts: tuple[list[str], list[str]] = ([], [])
    for block in source.read_text(encoding="utf-8").strip().split("\n\n"):
        words = "\0".join(line.split("\t")[0] for line in block.splitlines())
        parts[sha256(words.encode()).digest()[0] % 2].append(block)
    files = folder / "search.tsv", folder / "check.tsv"
    for file, blocks in zip(files, parts, strict=True):
        file.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return files


def told(trial: Any, speed: Any = None) -> dict[str, Any]:
    quality = trial.quality
    likeness = quality.differences | quality.closeness
    figures = {name: [one.value, one.low, one.high] for name, one in likeness.items()}
    return {"rows": trial.rows, "figures": figures, "bytes": quality.bytes, "verdict": trial.verdict} | (
        {"speedup": [speed.speedup.value, speed.speedup.low, speed.speedup.high], "busy": speed.busy} if speed else {}
    )


def searched(checkpoint: Path, data: DataFile, output: Path, budget: octavo.Budget, *, quick: bool) -> dict[str, Any]:
    """The search itself, and the seconds it took."""
    start = time.perf_counter()
    space = [Candidate(Recipe()), Candidate(Recipe(method="static"))] if quick else None
    found = octavo.search(checkpoint, output, data=data, budget=budget, space=space, threads=THREADS)
    steps: dict[str, int] = {}
    for trial in found:
        steps[trial.step] = steps.get(trial.step, 0) + 1
        print(f"{checkpoint.name}, {trial.step}, {trial.candidate.name}: {trial.verdict}", file=sys.stderr)
    outcome = found.outcome
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "chosen": outcome.chosen.name,
        "recipe": outcome.chosen.recipe.to_toml(),
        "engine": outcome.chosen.engine,
        "verdict": outcome.verdict,
        "trials": steps,
        "selected": told(outcome.selected),
        "confirmed": told(outcome.confirmed, outcome.speed),
        "float layers": [rule.match for rule in outcome.chosen.recipe.layers],
        "rank correlation": [one.correlation for one in outcome.sensitivity],
    }


def random_recipes(seed: int, count: int) -> list[Recipe]:
    """Recipes as anybody might guess them."""
    draw, found = random.Random(seed), []
    while len(found) < count:
        method = draw.choice(["static", "static", "dynamic", "weight-only"])
        settings: dict[str, Any] = {"method": method}
        if method == "static":
            settings |= {
                "observer": draw.choice(["minmax", "percentile", "mse"]),
                "smoothing": draw.choice(["auto", "none", 0.25, 0.5, 0.75]),
                "bias_correction": draw.choice([True, False]),
            }
        elif method == "dynamic":
            settings["granularity"] = draw.choice(["token", "tensor"])
        else:
            settings |= {"bits": draw.choice([4, 8]), "block": draw.choice([32, 64, 128])}
        recipe = recipe_from(settings)
        found += [recipe] if recipe not in found else []
    return found


def compared(
    baseline: Path, folders: dict[str, Path], data: DataFile, engines: list[str], budget: octavo.Budget
) -> dict[str, Any]:
    """Each artifact on the file that nothing was chosen by; a row for each engine that runs it."""
    found = octavo.compare(baseline, list(folders.values()), data=data, engines=engines, threads=THREADS).under(budget)
    names = {str(folder.resolve().name): name for name, folder in folders.items()}
    rows = {}
    for row in found.rows[1:]:
        if row.name not in names:
            continue
        score, difference = next(iter(row.differences.items()))
        speed = row.speedup
        rows[f"{names[row.name]}, {row.engine}"] = {
            "verdict": row.judgement.verdict if row.judgement else None,
            score: [100 * difference.value, 100 * difference.low, 100 * difference.high],
            "fidelity": row.fidelity,
            "speedup": [speed.value, speed.low, speed.high],
            "size": 1 / row.smaller,
        }
    return {"rows": found.n, "busy": found.was_busy, "models": rows}


def best_random(
    floats: tuple[Any, Path, DataFile], data: DataFile, work: Path, budget: octavo.Budget, count: int
) -> tuple[Path, dict]:
    """The fastest of random recipes that keeps the budget on the searched file; the first where none does."""
    (graphs, baseline, calibration), start, folders = floats, time.perf_counter(), {}
    for number, recipe in enumerate(random_recipes(0, count)):
        folders[work / f"random-{number}"] = recipe
        examples = calibration if recipe.calibrates else None
        octavo.quantize(graphs, work / f"random-{number}", recipe=recipe, calibration=examples)
    found = octavo.compare(baseline, list(folders), data=data, threads=THREADS).under(budget)
    rows = [row for row in found.rows[1:] if row.judgement and row.judgement.verdict == "PASS"]
    best = max(rows, key=lambda row: row.speedup.value) if rows else found.rows[1]
    folder = next(path for path in folders if path.name == best.name)
    facts = {"seconds": round(time.perf_counter() - start, 1), "recipe": Candidate(folders[folder], best.engine).name}
    return folder, facts | {"passed": len(rows), "tried": count}


def nncf_found(
    baseline: Path, searched: tuple[Path, str], splits: Any, check: Sequence[Any], output: Path
) -> dict[str, Any] | None:
    """NNCF's `quantize_with_accuracy_control` on the same float graph and examples; None where it is not installed.

    It and what the search found are scored on the same other examples, and timed row by row, in turns.
    """
    if find_spec("nncf") is None:
        return None
    import nncf
    import openvino

    artifact, task = octavo.open_artifact(baseline), octavo.load(baseline)
    model, names = openvino.Core().read_model(artifact.model_file), artifact.manifest.signature.input_names

    def inputs(example: Any) -> dict[str, np.ndarray]:
        encoded = task.task.encode(task.tokenizer, task.task.rows([example]))[0]
        columns = {"input_ids": encoded.ids, "token_type_ids": encoded.type_ids}
        columns["attention_mask"] = [1] * len(encoded.ids)
        return {name: np.array([columns[name]], np.int64) for name in names}

    def right(compiled: Any, examples: Any) -> tuple[float, list[float]]:
        hits = [float(np.argmax(compiled(inputs(one))[0]) == one.label) for one in examples]
        return float(np.mean(hits)), hits

    start = time.perf_counter()
    found = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(list(splits.calibration), inputs),
        validation_dataset=nncf.Dataset(list(splits.selection)),
        validation_fn=right,
        max_drop=BUDGET.max_drop / 100,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    seconds = time.perf_counter() - start
    openvino.save_model(found, output / "nncf.xml")
    size = sum(file.stat().st_size for file in output.glob("nncf.*")) / artifact.model_file.stat().st_size
    settings = {"INFERENCE_NUM_THREADS": THREADS}
    opened = {
        name: openvino.Core().compile_model(one, "CPU", settings) for name, one in (("float", model), ("nncf", found))
    }
    runs = {name: (lambda row, one=one: one(row)) for name, one in opened.items()}
    for name, (folder, engine) in {"octavo float": (baseline, "onnxruntime"), "octavo": searched}.items():
        session = open_artifact_model(octavo.open_artifact(folder), engine, THREADS)
        runs[name] = session.run
    times: dict[str, list[float]] = {name: [] for name in runs}
    batch = [inputs(one) for one in check[:200]]
    for _ in range(5):
        for name, run in runs.items():
            begin = time.perf_counter()
            for row in batch:
                run(row)
            times[name].append(time.perf_counter() - begin)
    scores = {name: right(one, check) for name, one in opened.items()}
    labels, before, after = ([one.label for one in check], *(scores[name][1] for name in ("float", "nncf")))
    drop = accuracy_difference(np.ones(len(labels), np.int64), *(np.array(one, np.int64) for one in (before, after)))
    medians = {name: float(np.median(one)) for name, one in times.items()}
    return {
        "seconds": round(seconds, 1),
        "accuracy": [100 * drop.value, 100 * drop.low, 100 * drop.high],
        "rows": len(labels),
        "size": size,
        "row by row, ms": {name: 1000 * one / len(batch) for name, one in medians.items()},
        "speedup, row by row": {name: medians["octavo float"] / one for name, one in medians.items()},
    }


def defaults(graphs: Any, calibration: DataFile, work: Path) -> dict[str, Path]:
    """What nobody searches for."""
    folders = {}
    for title, (recipe, calibrated) in PLAIN.items():
        folders[title] = work / title.replace(", ", "-")
        octavo.quantize(graphs, folders[title], recipe=recipe, calibration=calibration if calibrated else None)
    return folders


def measure(name: str, shared: Path, work: Path, *, quick: bool) -> dict[str, Any]:
    searching, checking = FILES[name]
    limit, budget = 400 if quick else None, BUDGET if name.startswith("ko") else LIKE_FLOAT
    if quick:  # so few rows decide no finer limit
        budget = octavo.Budget(max_drop=8.0) if name.startswith("ko") else octavo.Budget(min_agreement=0.9)
    model = shared / "models" / (name if name.startswith("ko") else "ko-nli")
    checkpoint = model if name.startswith("ko") else make_hard(name, model, work / f"{name}-checkpoint")
    files = (
        (shared / "data" / searching, shared / "data" / checking)
        if checking
        else halves(shared / "data" / searching, work)
    )
    data, check = (DataFile(file, limit=limit) for file in files)
    result = {"search": searched(checkpoint, data, work / "found", budget, quick=quick)}
    graphs, baseline = octavo.export(checkpoint), work / "float"
    octavo.quantize(graphs, baseline, recipe="float")
    calibration = DataFile(data.path, limit=300)
    folders = {"search": work / "found"} | defaults(graphs, calibration, work)
    floats = (graphs, baseline, calibration)
    folders["best random"], result["random"] = best_random(floats, data, work, budget, 2 if quick else RANDOM)
    folders = {title: folder for title, folder in folders.items() if folder.exists()}
    engine = result["search"]["engine"]
    result["check"] = compared(baseline, folders, check, list(dict.fromkeys(["auto", "onnxruntime", engine])), budget)
    source = octavo.open_artifact(baseline).manifest.signature
    if source.task == "text-classification" and "search" in folders:
        splits = split_examples(data.read(source.labels), 0, None)
        found = nncf_found(baseline, (folders["search"], engine), splits, check.read(source.labels), work)
        result |= {"nncf": found} if found else {}
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    stored = results_file("search")
    if asked.quick:  # to see that it runs, on any machine
        measuring.TRIES, benchmark.ROUNDS_SECONDS, benchmark.SINGLE_ROWS = 1, 5.0, 10
    for name in asked.only:
        with tempfile.TemporaryDirectory() as work:
            measured = measure(name, asked.shared.resolve(), Path(work), quick=asked.quick)
            found = {name: measured | {"machine": machine("openvino", "nncf")}}
        if asked.quick:
            print(json.dumps(found, ensure_ascii=False, indent=1))
            continue
        known = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
        stored.write_text(json.dumps(known | found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
