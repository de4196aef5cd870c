"""An answer that is not finite never becomes a score, in whatever way it was asked for."""

import json
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.encoding.batching import Encoded
from octavo.errors import OctavoError
from octavo.inference.answers import FiniteSteps, require_finite
from octavo.inference.predictor import Predictor
from octavo.schema.signature import Signature

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=256,
    pad_token_id=0,
    labels=("긍정", "부정"),
)
LONG = "설악산 정상 부근에는 지난밤 내린 눈이 아직 남아 있다."


class Broken:
    """Answers a text of more than six tokens with a number that is not finite."""

    name, threads, streams = "broken", 1, 1

    def __init__(self, number):
        self.number = number

    def run(self, inputs):
        lengths = inputs["attention_mask"].sum(axis=1)
        logits = np.tile(np.array([[0.5, -0.5]], np.float32), (len(lengths), 1))
        logits[lengths > 6, 1] = self.number
        return logits


@pytest.fixture(params=[np.nan, np.inf, -np.inf])
def predictor(request):
    return Predictor(Broken(request.param), (DEMO / "tokenizer.json").read_text(encoding="utf-8"), SIGNATURE)


def test_the_row_is_named(predictor):
    assert predictor("눈")[0]["label"] == "긍정"
    told = f"row 3: the model's answer is NaN or infinite; got: '{LONG[:10]}"
    for ask in (predictor, lambda rows: list(predictor.stream(rows)), predictor.logits):
        with pytest.raises(OctavoError, match=told) as caught:
            ask(["눈", "비", "눈", LONG, "비"])
        assert caught.value.exit_code == 3


def test_rows_of_an_iterator_are_counted_from_its_beginning(predictor, monkeypatch):
    monkeypatch.setattr("octavo.inference.predictor.ROWS_AT_ONCE", 4)
    with pytest.raises(OctavoError, match="row 9: the model's answer is NaN or infinite"):
        list(predictor(iter(["눈"] * 9 + [LONG])))


def test_a_file_of_predictions_is_not_written(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("octavo.inference.jsonl.load", lambda *_, **__: predictor)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("눈", LONG)), encoding="utf-8")
    with pytest.raises(OctavoError, match="row 1: the model's answer is NaN or infinite"):
        octavo.predict("model", rows, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_part_of_a_row_is_told_by_the_row():
    encoded = [Encoded([1], [0], row=0), Encoded([1], [0], row=1), Encoded([1], [0], row=1)]
    outputs = [np.zeros((4, 2), np.float32), np.zeros((0, 2), np.float32), np.full((3, 2), np.nan, np.float32)]
    require_finite(outputs[:2], encoded[:2], [("a", None), ("b", None)])
    with pytest.raises(OctavoError, match=r"row 8: .*; got: 'b'"):
        require_finite(outputs, encoded, [("a", None), ("b", None)], 7)


class Steps:
    """Logits as they were given, step by step."""

    def __init__(self, *logits):
        self.logits, self.selected = iter(logits), []

    def advance(self, tokens):
        return np.array(next(self.logits), np.float32)

    def select(self, rows):
        self.selected.append(rows.tolist())


def test_steps_that_write_name_the_row_too():
    inner = Steps([[0, -np.inf], [1, 2], [3, 4]], [[0, 1], [0, np.nan]])
    steps, nothing = FiniteSteps(inner, [10, 11, 12]), np.empty((3, 0), np.int64)
    assert steps.advance(nothing)[0].tolist() == [0, -np.inf]  # a token that is never written
    steps.select(np.array([0, 2]))
    assert inner.selected == [[0, 2]]
    with pytest.raises(OctavoError, match="row 12: the model's answer is NaN or infinite"):
        steps.advance(nothing)


@pytest.mark.parametrize("row", [[np.inf, 0], [-np.inf, -np.inf], [np.nan, 0]])
def test_logits_that_choose_no_token(row):
    with pytest.raises(OctavoError, match="row 0"):
        FiniteSteps(Steps([row]), [0]).advance(np.empty((1, 0), np.int64))
