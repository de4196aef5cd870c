"""The types of transformers that docs/architectures.md has by bench/architectures.py: what it says is what happens.

A few of them, which have code of their own; all with OCTAVO_SWEEP=1 (about half an hour of one core).
"""

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import architectures  # noqa: E402

sys.path.pop(0)
STORED = json.loads(architectures.RESULTS.read_text("utf-8"))
SAID = {(row["type"], row["task"]): row for row in STORED["rows"]}
EVERY = [(kind, task) for task, (_, kinds) in architectures.HEADS.items() for kind in kinds]
SOME = [("layoutlm", "feature-extraction"), ("mbart", "text-classification"), ("openai-gpt", "text-generation")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "task"), EVERY if os.environ.get("OCTAVO_SWEEP") else SOME)
def test_a_type_answers_as_torch_or_is_refused_as_the_page_says(kind, task, tmp_path):
    found, said = architectures.tried(kind, task, tmp_path), SAID[kind, task]
    assert found["result"] == said["result"], found
    assert found.get("exact_lengths") == said.get("exact_lengths")
    if found["result"] == "refused":
        assert len(found["reason"]) > 20


def test_every_type_was_tried_and_none_answers_wrongly_or_breaks():
    assert SAID.keys() == set(EVERY)
    assert {row["result"] for row in STORED["rows"]} == {"yes", "refused", "not tried"}
    page = (ROOT / "docs" / "architectures.md").read_text("utf-8")
    assert architectures.page(STORED) in page
