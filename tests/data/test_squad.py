"""Files of questions."""

import json
from pathlib import Path

import pytest

from octavo.data.examples import DataFile
from octavo.data.squad import read_squad
from octavo.errors import DataError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def squad(*questions, context="서울은 한국의 수도이다."):
    return json.dumps(
        {"version": "x", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": questions}]}]}
    )


@pytest.fixture
def read(tmp_path):
    def write(content, name="a.json"):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return read_squad(DataFile(tmp_path / name))

    return write


def test_answers_none_and_impossible(read):
    found = read(
        squad(
            {"id": 1, "question": "수도는?", "answers": [{"text": "서울", "answer_start": 0}] * 2},
            {"id": 2, "question": "왕은?", "answers": [], "is_impossible": True},
            {"id": 3, "question": "왕은?", "answers": [{"text": "서울", "answer_start": 0}], "is_impossible": True},
            {"id": 4, "question": "모름?", "answers": [{"text": "", "answer_start": 0}]},
            {"id": 5, "question": "모름?"},
        )
    )
    assert [one.answers for one in found] == [("서울",), (), (), None, None]
    assert {one.text_pair for one in found} == {"서울은 한국의 수도이다."}


def test_columns_are_not_named(tmp_path):
    with pytest.raises(DataError, match="columns by name; got: text=q; allowed: no --columns"):
        read_squad(DataFile(tmp_path / "a.json", columns={"text": "q"}))


def test_rows(read):
    row = {"question": "수도는?", "context": "서울이다.", "answers": {"text": ["서울"], "answer_start": [0]}}
    assert read(json.dumps(row), "a.jsonl")[0].answers == ("서울",)
    assert read(json.dumps([row]))[0].answers == ("서울",)
    assert read(json.dumps({"question": "a?", "context": "b", "answers": ["b"]}), "a.jsonl")[0].answers == ("b",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"data": []}', "no rows"),
        (squad({"id": "q7", "question": "왕은?", "answers": [{"text": "세종"}]}), "q7; got: '세종'; next"),
        (squad({"id": "q7", "answers": []}), "a question and a context"),
        (squad({"id": "q7", "question": "a", "answers": 3}), "answers are no list"),
        ('{"data": [{"paragraphs": [{"qas": [{"question": "a"}]}]}]}', "not as SQuAD writes it in .*article 1"),
        ('[{"question": "a", "context": "\\ud800"}]', "half of a surrogate pair"),
        ('[{"question": "a"}]', "a question and a context in .*row 1"),
    ],
)
def test_errors(read, content, told):
    with pytest.raises(DataError, match=told):
        read(content)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared")
def test_the_real_files():
    counts = {
        "korquad/KorQuAD_v1.0_dev.json": 5774,
        "tydiqa/tydiqa.goldp.ko.train.json": 1625,
        "tydiqa/tydiqa.goldp.ko.dev.json": 276,
        "xquad_en/xquad.en.json": 1190,
    }
    for name, count in counts.items():
        found = read_squad(DataFile(DATA / name))
        assert len(found) == count
        assert all((one.answers is None) == ("dev.json" in name and "tydiqa" in name) for one in found)
