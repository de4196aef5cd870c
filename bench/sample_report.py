"""The sample reports of the documentation: KorNLI's figures, and sentences of this repository only.

    .venv/bin/python bench/sample_report.py [--shared ../shared] [--chromium chromium]
    .venv/bin/python bench/sample_report.py --render bench/results/sample-report-avx512_vnni.json

Writes docs/sample-report.html (English) and docs/sample-report.ko.html, and, where there is a Chromium, their pictures.
KorNLI's test set decides the figures; the most changed examples are those of examples/korean-nli/pairs.tsv. With
`--render` the pages are made of figures that were measured before.
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
from machine import results_file
from octavo.evaluation.comparison import Comparison
from octavo.schema.comparison import read_comparison

ROOT = Path(__file__).parents[1]
PAIRS = ROOT / "examples" / "korean-nli" / "pairs.tsv"
CALIBRATION, TEST = "xnli.dev.ko.tsv", "xnli.test.ko.tsv"
NOTES = {
    "en": "The figures are those of KorNLI's test set. The most changed examples are not: they are sentences of "
    "examples/korean-nli/pairs.tsv, run through the same models.",
    "ko": "수치는 모두 KorNLI 테스트 데이터로 측정했습니다. 다만 '가장 많이 달라진 예문'은 KorNLI의 문장이 아니라 같은 "
    "모델에 examples/korean-nli/pairs.tsv를 넣어 얻은 결과입니다.",
}
BUDGET = octavo.Budget(max_drop=1.5, max_size=0.3, min_speedup=1.2)


def make(shared: Path, work: Path) -> Comparison:
    model, data = shared / "models" / "ko-nli", shared / "data" / "kornli"
    checkpoint = octavo.Checkpoint(model, labels=("entailment", "contradiction", "neutral"))
    dynamic, static = work / "ko-nli-int8", work / "ko-nli-static"
    exported = octavo.export(checkpoint, progress=Steps())
    octavo.quantize(exported, dynamic, recipe="dynamic", progress=Steps())
    octavo.quantize(exported, static, recipe="static", calibration=data / CALIBRATION, progress=Steps())
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
    parser.add_argument("--render", type=Path, help="the JSON of a comparison, to be drawn again and not measured")
    arguments = parser.parse_args()
    if arguments.render:
        comparison = read_comparison(arguments.render)
    else:
        with tempfile.TemporaryDirectory() as work:
            comparison = make(arguments.shared.resolve(), Path(work))
    stored = arguments.render or results_file("sample-report")
    octavo.report(replace(comparison, note=NOTES["en"]), stored)
    for language, name in (("en", "sample-report.html"), ("ko", "sample-report.ko.html")):
        page = ROOT / "docs" / name
        octavo.report(replace(comparison, note=NOTES[language]), page, language=language)
        if shutil.which(arguments.chromium):
            picture(page, arguments.chromium)


if __name__ == "__main__":
    main()
