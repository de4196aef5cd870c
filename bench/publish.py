"""Writes the tables of the documents from bench/results: what stands between `<!-- bench: NAME -->` and the end mark.

.venv/bin/python bench/publish.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from machine import results_file
from octavo.schema.comparison import json_schema
from publish_quality import coverage, fidelity, generation, noise, search, task_scores
from publish_serving import large, peers, retrieval, scale, serving
from publish_smaller import chain, four_bit_rows, frontier, students, taught, trims, xlm_r
from publish_speed import (
    base,
    compared,
    engines,
    first,
    making,
    oldguide,
    saturation,
    scores,
    torch_scores,
    torch_shapes,
    weights,
    why,
)
from publish_words import ENGLISH, KOREAN

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md",
    "README.ko.md",
    "docs/benchmarks.md",
    "docs/benchmarks.ko.md",
    "docs/comparison.md",
    "docs/from-the-old-guide.md",
    "docs/from-the-old-guide.ko.md",
    "docs/torch.md",
    "docs/generation.md",
    "docs/smaller.md",
    "docs/scale.md",
    "docs/serving.md",
    "docs/search.md",
    "docs/search.ko.md",
    "docs/design/dynamic.md",
    "docs/tasks/token-classification.md",
    "docs/tasks/ranking.md",
)
WHOLE = ("generation", "search", "fidelity", "large", "serving", "peers")  # files that are one table

RENDER = {
    "why": why,
    "saturation": saturation,
    "torch_base": torch_shapes,
    "torch_compile": torch_shapes,
    "torch_kornli": torch_scores,
    "tasks_ner": task_scores,
    "tasks_stories": task_scores,
    "tasks_spelling": task_scores,
    "generation": generation,
    "coverage": coverage,
    "heads": coverage,
    "noise": noise,
    "oldguide": oldguide,
    "chain": chain,
    "search": search,
    "fidelity": fidelity,
    "smaller": trims,
    "scale": scale,
    "large": large,
    "serving": serving,
    "peers": peers,
    "retrieval_minilm": retrieval,
    "retrieval_ko": retrieval,
    "retrieval_reranker": retrieval,
    "retrieval_labels": retrieval,
    "smaller_rows": four_bit_rows,
    "smaller_xlm_r": xlm_r,
    "smaller_sentiment": students,
    "smaller_nli": frontier,
    "smaller_nli_labels": taught,
    "demo": compared,
    "kornli": compared,
    "nsmc": compared,
    "base": base,
    "first": first,
    "weights": weights,
    "engines_base": engines,
    "engines_making": making,
    "engines_minilm": scores,
    "engines_ko_sts": scores,
    "engines_ko_nli": scores,
}


def stored_results(kind: str) -> dict:
    """Everything that was measured on a kind of CPU, by the names that marks have."""
    results: dict = {}
    for script in (
        "dynamic",
        "old-guide",
        "coverage",
        "why",
        "engines",
        "torch",
        "tasks",
        "generation",
        "old-guide-chain",
        "smaller",
        "scale",
        "large",
        "serving",
        "retrieval",
        "peers",
        "search",
        "fidelity",
    ):
        stored = results_file(script, kind)
        found = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
        if script in {"engines", "torch", "tasks", "retrieval"}:
            found = {f"{script}_{name.replace('-', '_')}": value for name, value in found.items()}
        if script == "smaller" and found:
            parts = {f"smaller_{name.replace('-', '_')}": value for name, value in found.items()}
            found = {"smaller": found} | parts
        results |= {script: found} if script in WHOLE and found else found
    return results | ({"saturation": results["engines_ko_nli"]} if "engines_ko_nli" in results else {})


def filled(name: str) -> str:
    """A document with its marked places filled; `<!-- bench: kornli avx2 -->` is the part and the kind of CPU."""
    words = KOREAN if name.endswith(".ko.md") else ENGLISH

    def fill(match: re.Match) -> str:
        part, kind = match[2].split()
        results = stored_results(kind)
        return f"{match[1]}\n{RENDER[part](results[part], words)}\n{match[4]}" if part in results else match[0]

    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"(<!-- bench: (\w+ \w+) -->)(.*?)(<!-- end -->)", fill, text, flags=re.DOTALL)


def publish() -> None:
    """Fill the marked places of all documents, and write the schema."""
    schema = json.dumps(json_schema(), ensure_ascii=False, indent=1)
    (ROOT / "docs" / "comparison.schema.json").write_text(schema + "\n", encoding="utf-8")
    for name in DOCUMENTS:
        (ROOT / name).write_text(filled(name), encoding="utf-8")


if __name__ == "__main__":
    publish()
