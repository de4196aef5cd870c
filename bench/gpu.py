"""What runs on a GPU and how fast: BERT-base's shape by every way that `docs/torch.md` names, and KorNLI.

    .venv/bin/python bench/gpu.py --name h100      # ten minutes on a machine with a GPU, shared/ beside the repository
    .venv/bin/python bench/gpu.py --name h100 --table-only      # anywhere: a stored run's table into docs/torch.md

Milliseconds through `octavo.load(...).session.run`, copies of inputs and answers included, the median of 20; what the
GPU holds behind loading. Writes bench/results/gpu-NAME.json, and the table in docs/torch.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PAGE = ROOT / "docs" / "torch.md"
BEGIN, END = "<!-- gpu: made by bench/gpu.py -->\n", "<!-- end of gpu -->"
SHAPES = ((1, 128), (32, 128), (256, 128))
WAYS = {  # title -> what is loaded, and how
    "float checkpoint, torch": ("checkpoint", "torch"),
    "float checkpoint, torch:bf16": ("checkpoint", "torch:bf16"),
    "float checkpoint, torch:bf16,compile": ("checkpoint", "torch:bf16,compile"),
    "float checkpoint, torch:fp8": ("checkpoint", "torch:fp8"),
    "float checkpoint, torch:fp8,compile": ("checkpoint", "torch:fp8,compile"),
    "dynamic int8, torch": ("dynamic", "torch"),
    "dynamic int8, torch:bf16": ("dynamic", "torch:bf16"),
    "dynamic int8, torch:torchao": ("dynamic", "torch:torchao"),
    "dynamic int8, torch:torchao,compile": ("dynamic", "torch:torchao,compile"),
    "weight-only int8, torch:bf16": ("weight-only", "torch:bf16"),
    "weight-only int8, torch:torchao": ("weight-only", "torch:torchao"),
}


def make(checkpoint: Path, folder: Path) -> dict[str, Path]:
    import octavo

    made = {"checkpoint": checkpoint}
    for method in ("dynamic", "weight-only"):
        recipe = octavo.Recipe(method=method, format="torch")
        made[method] = octavo.quantize(checkpoint, folder / method, recipe=recipe).folder
    return made


def milliseconds(session: Any) -> dict[str, float]:
    found = {}
    for rows, length in SHAPES:
        ids = np.random.default_rng(0).integers(5, 7000, (rows, length))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        for _ in range(5):
            session.run(inputs)
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            session.run(inputs)  # its answer is on the CPU, so that the GPU is done
            seconds.append(time.perf_counter() - start)
        found[f"{rows} x {length}"] = round(1000 * median(seconds), 2)
    return found


def measure(models: dict[str, Path], take: Any) -> dict[str, dict[str, float | str]]:
    """What `take` finds of each way; a way that fails has its error, and the others go on."""
    import torch

    import octavo

    found: dict[str, dict[str, float | str]] = {}
    for title, (model, engine) in WAYS.items():
        torch.cuda.empty_cache()
        try:
            predictor = octavo.load(models[model], device="cuda", engine=engine)
            held = round(torch.cuda.memory_allocated() / 2**20)
            found[title] = {"held_mib": held} | take(predictor)
        except Exception as error:
            found[title] = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(title, found[title], flush=True)
        predictor = None
    return found


def run(name: str) -> dict[str, Any]:
    import torch

    from float_graphs import make_base

    ko_nli = SHARED / "models" / "ko-nli"
    lines = next((SHARED / "data" / "kornli").rglob("xnli.test.ko.tsv")).read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines if line.strip()]
    pairs, gold, first = [(row[0], row[1]) for row in rows], [row[2].strip() for row in rows], list[str]()

    def answers(predictor: Any) -> dict[str, float]:
        predictor(pairs[:512])
        start = time.perf_counter()
        said = [one["label"] for one in predictor(pairs)]
        seconds = time.perf_counter() - start
        first.extend(said if not first else ())
        share = [float(np.mean([a == b for a, b in zip(said, other, strict=True)])) for other in (gold, first)]
        return {"accuracy": round(share[0], 4), "agreement": round(share[1], 4), "seconds": round(seconds, 2)}

    with tempfile.TemporaryDirectory() as work:
        base = make(make_base(Path(work) / "base", ko_nli), Path(work) / "of-base")
        found = {"base_ms": measure(base, lambda predictor: milliseconds(predictor.session))}
        found["kornli"] = measure(make(ko_nli, Path(work) / "of-ko-nli"), answers)
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {"gpu": torch.cuda.get_device_name(), "name": name},
        "versions": {package: version(package) for package in ("octavo", "torch", "torchao", "transformers")},
    } | found


def table(result: dict[str, Any]) -> str:
    """The table of a run in Markdown."""
    shapes = [f"{rows} x {length}" for rows, length in SHAPES]
    head = ["BERT-base's shape", *(f"{shape}, ms" for shape in shapes), "held, MiB", "KorNLI: agreement"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for title in dict.fromkeys([*result["base_ms"], *result["kornli"]]):
        one, agreed = result["base_ms"].get(title, {}), result["kornli"].get(title, {}).get("agreement")
        figures = [str(one.get(name, "-")) for name in (*shapes, "held_mib")]
        if title in result["base_ms"] and not set(shapes) & one.keys():
            figures[0] = "failed"
        lines.append(f"| {' | '.join([title, *figures, '-' if agreed is None else f'{100 * agreed:.2f} %'])} |")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    note = f"; {result['note']}" if "note" in result else ""
    return "\n".join([*lines, "", f"{result['machine']['gpu']}, {result['date']}, {versions}{note}."]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="h100")
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    file = ROOT / "bench" / "results" / f"gpu-{options.name}.json"
    if not options.table_only:
        file.write_text(json.dumps(run(options.name), indent=2) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    result = json.loads(file.read_text(encoding="utf-8"))
    PAGE.write_text(before + BEGIN + table(result) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
