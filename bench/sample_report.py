"""The sample reports of the documentation: KorNLI's figures, and sentences of this repository only.

    .venv/bin/python bench/sample_report.py [--shared ../shared] [--chromium chromium]

Writes docs/sample-report.html (English) and docs/sample-report.ko.html, and, where there is a Chromium, their pictures.
KorNLI's test set decides the figures; the most changed examples are those of examples/korean-nli/pairs.tsv.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import octavo
from dynamic import Steps
from octavo.evaluation.result import Comparison
from octavo.hardware import this_cpu

ROOT = Path(__file__).parents[1]
PAIRS = ROOT / "examples" / "korean-nli" / "pairs.tsv"
CALIBRATION, TEST = "xnli.dev.ko.tsv", "xnli.test.ko.tsv"
BUDGET = octavo.Budget(max_drop=1.5, max_size=0.3, min_speedup=1.2)


def make(shared: Path, work: Path) -> Comparison:
    model, data = shared / "models" / "ko-nli", shared / "data" / "kornli"
    checkpoint = octavo.Checkpoint(model, labels=("entailment", "contradiction", "neutral"))
    dynamic, static = work / "ko-nli-int8", work / "ko-nli-static"
    octavo.quantize(checkpoint, dynamic, recipe="dynamic", progress=Steps())
    octavo.quantize(checkpoint, static, calibration=data / CALIBRATION, progress=Steps())
    models = checkpoint, (dynamic, static)
    figures = octavo.compare(*models, data=data / TEST, progress=Steps()).under(BUDGET)
    sentences = octavo.compare(*models, data=PAIRS, progress=Steps())
    rows = [replace(row, changed=other.changed) for row, other in zip(figures.rows, sentences.rows, strict=True)]
    limits = "--max-drop 1.5 --max-size 30% --min-speedup 1.2"
    command = f"octavo compare ko-nli ko-nli-int8 ko-nli-static --data {TEST} {limits} --report sample-report.html"
    return replace(figures, rows=tuple(rows), command=command)


def picture(page: Path, chromium: str) -> None:
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1500"]
    target = page.with_suffix(".png")
    subprocess.run([chromium, *arguments, f"--screenshot={target}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--chromium", default="chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        comparison = make(arguments.shared.resolve(), Path(work))
    octavo.report(comparison, ROOT / "bench" / "results" / f"sample-report-{this_cpu().kind}.json")
    for language, name in (("en", "sample-report.html"), ("ko", "sample-report.ko.html")):
        page = ROOT / "docs" / name
        octavo.report(comparison, page, language=language)
        if shutil.which(arguments.chromium):
            picture(page, arguments.chromium)


if __name__ == "__main__":
    main()
