"""One real search of a tiny model, and what can be made of its study: an artifact, its card, reports, another point."""

import json
import random
import re
import shutil
import sys

import numpy as np
import pytest

import octavo
from octavo.checkpoint.source import read_source
from octavo.cli import main
from octavo.data.examples import read_examples
from octavo.errors import DataError, InputError, OctavoError
from octavo.hardware import find_target
from octavo.reporting.search_page import search_html, search_markdown
from octavo.schema.recipe import Recipe
from octavo.schema.search import FLOAT, Candidate, read_study
from octavo.tasks import find_task
from octavo.tuning.measuring import Settings, Workshop
from octavo.tuning.splits import split_examples

SPACE = [Candidate(Recipe(method="dynamic")), Candidate(Recipe(method="static"))]
ROWS = 640


@pytest.fixture(scope="module")
def data(sentences, tmp_path_factory):
    """Rows of words that the tiny tokenizers know, in two columns, with labels that mean nothing."""
    words, draw = sorted({word for text in sentences for word in text.split()}), random.Random(3)
    lines = [f"{' '.join(draw.sample(words, 6))}\t{' '.join(draw.sample(words, 4))}\t{n % 3}" for n in range(ROWS)]
    path = tmp_path_factory.mktemp("data") / "문장.tsv"
    path.write_text("\n".join(["sentence1\tsentence2\tlabel", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(checkpoint, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("search") / "int8"
    budget = octavo.Budget(max_drop=30.0)
    found = octavo.search(checkpoint("bert"), output, data=data, budget=budget, space=SPACE, threads=1)
    return found, list(found)


def test_it_ends_with_the_artifact_that_was_measured(finished, data):
    found, trials = finished
    assert found.outcome.chosen in SPACE
    assert found.outcome.verdict == "PASS"
    assert found.artifact.manifest.recipe == found.outcome.chosen.recipe
    octavo.verify(found.artifact)
    record = read_study(found.study)
    assert list(record.trials) == trials
    assert record.outcome == found.outcome
    (float_trial,) = [one for one in trials if one.candidate == FLOAT]
    assert float_trial.quality.differences["accuracy"].method == "identical"
    static = next(one for one in trials if one.candidate == SPACE[1] and one.quality)
    assert len(static.quality.answers) == len(static.quality.distances) == static.rows
    assert {one.dtype for one in static.quality.layers} == {"int8", "float32"}


def test_no_example_that_was_calibrated_on_was_selected_by_or_confirmed_with(finished, data):
    found, _ = finished
    splits = read_study(found.study).identity.splits
    assert sum(map(len, splits.values())) == ROWS
    used = [set(hashes) for hashes in splits.values()]
    assert not used[0] & used[1] | used[0] & used[2] | used[1] & used[2]
    artifact = found.artifact.manifest
    if artifact.calibration:
        assert set(artifact.calibration.examples) == used[0]


def test_its_confirmed_figure_is_that_of_the_artifact(finished, data):
    """Predictions of the written artifact, by the usual way, on the examples of the confirmation split."""
    found, _ = finished
    identity, hashes = read_study(found.study).identity, octavo.read_examples(data, labels=("0", "1", "2"))
    from octavo.data.examples import example_hashes

    wanted = set(identity.splits["confirmation"])
    rows = [one for one, key in zip(hashes, example_hashes(hashes), strict=True) if key in wanted]
    predictor = octavo.load(found.output, engine=found.outcome.chosen.engine)
    logits = predictor.logits([(one.text, one.text_pair) for one in rows])
    right = np.mean(logits.argmax(axis=1) == [one.label for one in rows])
    assert right == pytest.approx(found.outcome.confirmed.quality.scores["accuracy"])


def test_the_card_says_it(finished):
    card = (finished[0].output / "README.md").read_text(encoding="utf-8")
    assert "examples that the search never saw" in card
    assert 'method = "' in card


@pytest.mark.parametrize("language", ["en", "ko"])
def test_reports(finished, language):
    record = finished[0].record()
    page, text = search_html(record, language), search_markdown(record, language)
    for one in SPACE:
        assert one.name in page
    assert "<svg" in page
    assert "http" not in page
    assert ("신뢰구간" in page) == (language == "ko")
    assert f'method = "{finished[0].outcome.chosen.recipe.method}"' in text


def test_another_point_of_the_front_is_written_without_measuring(finished, checkpoint, data, tmp_path, monkeypatch):
    found, _ = finished
    front = found.outcome.front
    number, other = next((n, one) for n, one in enumerate(front, 1) if one != FLOAT)
    monkeypatch.setattr("octavo.tuning.measuring.run_benchmark", None)
    monkeypatch.setattr("octavo.tuning.measuring.open_contender", None)
    budget = octavo.Budget(max_drop=30.0)
    settings = {"data": data, "budget": budget, "space": SPACE, "threads": 1, "study": found.study}
    again = octavo.search(checkpoint("bert"), tmp_path / "other", **settings)
    assert again.pick(number).manifest.recipe == other.recipe
    before = found.study.read_bytes()
    loose = octavo.search(checkpoint("bert"), tmp_path / "loose", **settings | {"budget": octavo.Budget(max_drop=40.0)})
    assert loose.pick(number).manifest.recipe == other.recipe
    missing = octavo.search(checkpoint("bert"), tmp_path / "none", **settings | {"study": tmp_path / "없음.jsonl"})
    with pytest.raises(DataError, match="cannot be read"):
        missing.pick(1)
    assert not (tmp_path / "없음.jsonl").exists()
    assert found.study.read_bytes() == before  # no other budget hides the outcome
    third = octavo.search(checkpoint("bert"), tmp_path / "third", **settings)
    with pytest.raises(InputError, match="no such point"):
        third.pick(9)


def test_a_model_that_was_not_measured_takes_no_place(finished, checkpoint, data, tmp_path):
    found, trials = finished
    study, output = tmp_path / "연구.jsonl", tmp_path / "old"
    text = found.study.read_text(encoding="utf-8")
    for hashed in {one.quality.sha256 for one in trials if one.quality}:
        text = text.replace(hashed, "0" * 64)
    study.write_text(text, encoding="utf-8")
    shutil.copytree(found.artifact.folder, output)
    before = (output / "octavo.json").read_bytes()
    settings = {"data": data, "budget": octavo.Budget(max_drop=30.0), "space": SPACE, "threads": 1, "study": study}
    number = next(n for n, one in enumerate(found.outcome.front, 1) if one != FLOAT)
    with pytest.raises(OctavoError, match="not the one that was measured"):
        octavo.search(checkpoint("bert"), output, **settings, force=True).pick(number)
    assert (output / "octavo.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "연구.jsonl"]


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["octavo", "search", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main.run()
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


def test_the_command_line_takes_up_a_study(finished, checkpoint, data, tmp_path, monkeypatch, capsys):
    found, _ = finished
    space = tmp_path / "space.toml"
    space.write_text("[[space]]\nmethod = ['dynamic', 'static']\nengine = 'onnxruntime'\n", encoding="utf-8")
    words = [checkpoint("bert"), "--data", data, "-o", tmp_path / "cli", "--max-drop", "30", "--space", space]
    words += ["--study", found.study, "--threads", 1, "--report", tmp_path / "탐색.html"]
    code, out, err = run(monkeypatch, capsys, *words, "--json")
    assert code == 0, err
    assert re.search(r"^step +rows verdict +left +candidate$", err, re.MULTILINE)
    assert re.search(r"^baseline +\d+ PASS +\d+ s  float, onnxruntime", err, re.MULTILINE)
    assert json.loads(out)["verdict"] == "PASS"
    assert json.loads(out)["chosen"]["recipe"]["method"] == found.outcome.chosen.recipe.method
    assert (tmp_path / "cli" / "octavo.json").exists()
    assert "<svg" in (tmp_path / "탐색.html").read_text(encoding="utf-8")


def test_a_dry_run_writes_nothing(checkpoint, data, tmp_path, monkeypatch, capsys):
    words = [checkpoint("bert"), "--data", data, "-o", tmp_path / "dry", "--max-drop", "1", "--dry-run"]
    code, out, _ = run(monkeypatch, capsys, *words)
    assert code == 0
    assert "minutes on this machine" in out
    assert "  dynamic, onnxruntime" in out
    assert list(tmp_path.iterdir()) == []


def test_a_budget_without_a_limit_on_quality_is_refused(checkpoint, data, tmp_path):
    with pytest.raises(InputError, match="worst model wins"):
        octavo.search(checkpoint("bert"), tmp_path / "x", data=data, budget=octavo.Budget(min_speedup=2.0))
    with pytest.raises(InputError, match="no candidate"):
        octavo.search(checkpoint("bert"), tmp_path / "x", data=data, budget=octavo.Budget(max_drop=2.0), space=[])
    seeded = octavo.DataFile(data, seed=-1)
    with pytest.raises(InputError, match="seed that makes no sense"):
        octavo.search(checkpoint("bert"), tmp_path / "x", data=seeded, budget=octavo.Budget(max_drop=2.0))


def test_more_models_than_are_kept_are_timed_together(checkpoint, data, tmp_path, monkeypatch):
    monkeypatch.setattr("octavo.tuning.measuring.KEPT", 1)
    there = []

    def run_benchmark(contenders, *_, **__):
        there.extend(one.path.exists() for one in contenders)
        return ["너무 큼"] * len(contenders)

    monkeypatch.setattr("octavo.tuning.measuring.run_benchmark", run_benchmark)
    source = read_source(checkpoint("bert"))
    examples = read_examples(data, columns={"text": "sentence1", "text_pair": "sentence2"}, labels=("0", "1", "2"))
    settings = Settings(find_target("any"), 1)
    shop = Workshop(source, find_task(source.signature), split_examples(examples, 0, None), settings)
    both = [Candidate(Recipe(method="dynamic")), Candidate(Recipe(method="weight-only"))]
    assert shop.speeds(both, "selection") == ["너무 큼"] * 2  # the float graph's reason, where it is that one
    shop.close()
    assert there == [True] * 3


def test_without_labels_agreement_decides(checkpoint, data, tmp_path, monkeypatch):
    """And a drop is refused, before a candidate is made."""
    bare = tmp_path / "라벨없음.tsv"
    lines = data.read_text(encoding="utf-8").splitlines()
    bare.write_text("\n".join(line.rpartition("\t")[0] for line in lines) + "\n", encoding="utf-8")
    wanted = {"data": bare, "space": SPACE[:1], "threads": 1, "jobs": 2}
    with pytest.raises(InputError, match="decide nothing"):
        octavo.search(checkpoint("bert"), tmp_path / "a", budget=octavo.Budget(max_drop=1.0), **wanted).run()
    monkeypatch.setattr("octavo.tuning.measuring.Workshop.speeds", lambda *_: ["not timed here"])
    found = octavo.search(checkpoint("bert"), tmp_path / "b", budget=octavo.Budget(min_agreement=0.5), **wanted)
    measured = [one.quality for one in found if one.quality]
    assert "agreement" in search_markdown(found.record())
    assert measured[1].scores == {}
    assert 0.5 < measured[1].closeness["agreement"].value <= 1
    assert found.outcome.chosen == FLOAT
    told = search_markdown(found.record())
    assert "Nothing could be timed, so nothing was chosen: not timed here" in told
    assert "Do not quantize" not in told
