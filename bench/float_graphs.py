"""What a second recipe of one checkpoint costs, when its float graphs were exported once: seconds, in one process.

    .venv/bin/python bench/float_graphs.py [CHECKPOINT] [--rounds 3]

Writes bench/results/float-graphs-<kind of CPU>.json. Imports, and a first export that loads what exports, are not
counted.
The two ways take turns, and have to give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import octavo
from octavo.hardware import this_cpu, usable_cores

ROOT = Path(__file__).resolve().parents[1]
KO_NLI = ROOT.parent / "shared" / "models" / "ko-nli"
PACKAGES = ("torch", "transformers", "onnx-ir", "onnxscript", "onnxruntime")


def measure(checkpoint: Path, rounds: int) -> dict[str, float]:
    """Medians of the seconds: `quantize` from the checkpoint, and from float graphs that are there."""
    whole, second = [], []
    with tempfile.TemporaryDirectory() as work:
        graphs = octavo.export(checkpoint)
        for index in range(rounds):
            for seconds, source, name in ((whole, checkpoint, "whole"), (second, graphs, "second")):
                start = time.perf_counter()
                artifact = octavo.quantize(source, Path(work) / f"{name}{index}")
                seconds.append(time.perf_counter() - start)
                if artifact.model_file.read_bytes() != (Path(work) / "whole0" / "model.onnx").read_bytes():
                    raise SystemExit("the two ways give different bytes")
    return {"from_checkpoint": median(whole), "from_float_graphs": median(second)}


def main() -> None:
    """Measure, write the result, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path, default=KO_NLI)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cpu, kind = this_cpu().name, this_cpu().kind
    found = measure(options.checkpoint, options.rounds) | {
        "checkpoint": options.checkpoint.name,
        "rounds": options.rounds,
        "machine": {"cpu": cpu, "kind": kind, "cores": usable_cores(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("octavo", *PACKAGES)},
    }
    file = ROOT / "bench" / "results" / f"float-graphs-{kind}.json"
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    share = found["from_float_graphs"] / found["from_checkpoint"]
    print(f"{found['from_checkpoint']:.2f} s, then {found['from_float_graphs']:.2f} s: {share:.3f} of it")


if __name__ == "__main__":
    main()
