"""Artifacts that earlier versions wrote are opened as they are, and answer as they did."""

import json
from pathlib import Path

import pytest

import octavo
from octavo.artifact.folder import open_artifact
from octavo.schema.manifest import SCHEMA

HERE = Path(__file__).parent


def test_an_artifact_of_0_1_0_is_read_whole(made_before):
    artifact = open_artifact(made_before)
    stored = (made_before / "octavo.json").read_text(encoding="utf-8")
    assert artifact.manifest.version == "0.1.0"
    # What came later is unset, and not written.
    again = artifact.manifest.model_dump_json(indent=1, exclude_none=True, exclude_unset=True)
    assert again + "\n" == stored


def test_it_answers_as_it_did(made_before, sentences):
    answers = json.loads(Path(f"{made_before}.answers.json").read_text(encoding="utf-8"))
    assert octavo.verify(open_artifact(made_before)) < 1e-5
    for answer, said in zip(octavo.load(made_before)(list(sentences)), answers, strict=True):
        assert answer["label"] == said["label"]
        assert answer["score"] == pytest.approx(said["score"], abs=1e-5)


def test_there_is_an_artifact_of_every_schema():
    """What is written to `octavo.json` has a version: a number that grows when an older Octavo could not read it."""
    known = [json.loads(path.read_text(encoding="utf-8"))["octavo"] for path in HERE.glob("made-by-*/octavo.json")]
    assert set(known) == set(range(1, SCHEMA + 1)), "commit a small artifact that the last version wrote"
