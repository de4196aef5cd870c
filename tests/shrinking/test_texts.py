"""Which texts are held out: those that share a text are on one side, and what chooses and tells is drawn from all."""

from types import SimpleNamespace

import pytest

import octavo
from octavo.data.examples import Example
from octavo.errors import DataError
from octavo.shrinking import distilling
from octavo.shrinking.distilling import split_texts
from octavo.shrinking.texts import read_texts
from octavo.tasks.question_answering import QuestionAnswering
from octavo.tasks.text_classification import TextClassification


def read(examples, tmp_path, group_by):
    file = tmp_path / "자료.txt"
    file.write_text("읽지 않는 글\n", encoding="utf-8")
    task = SimpleNamespace(group_by=group_by, read_examples=lambda *_: tuple(examples))
    return read_texts([octavo.DataFile(file)], task)


@pytest.mark.parametrize("shared", ["text", "text_pair"])
def test_examples_that_share_a_text_are_on_one_side(shared, tmp_path):
    own = "text_pair" if shared == "text" else "text"
    examples = [
        Example(**{shared: f"문단 {number}", own: f"질문 {number} {turn}"})
        for number in range(300)
        for turn in range(3)
    ]
    texts = read(examples, tmp_path, shared)
    assert 0.05 < texts.held_out.mean() < 0.15
    sides = {(getattr(one, shared), bool(out)) for one, out in zip(examples, texts.held_out, strict=True)}
    assert len(sides) == 300
    parts = split_texts(texts, 10_000)
    told = [{getattr(one, shared) for one in part} for part in (parts.learnt, parts.choosing, parts.telling)]
    assert sum(map(len, told)) == len(set.union(*told)) == 300


def test_a_task_says_which_text_is_shared():
    assert (TextClassification.group_by, QuestionAnswering.group_by) == ("text", "text_pair")


def test_what_chooses_and_tells_is_drawn_from_all_and_the_rest_is_learnt(tmp_path, monkeypatch):
    monkeypatch.setattr(distilling, "EXAMINED", 50)
    monkeypatch.setattr(distilling, "JUDGED", 80)
    examples = [Example(text=f"문장 {number}") for number in range(3000)]
    parts = split_texts(read(examples, tmp_path, "text"), 10_000)
    assert (len(parts.choosing), len(parts.telling), len(parts.learnt)) == (50, 80, 2870)
    for part in (parts.choosing, parts.telling):
        places = [int(one.text.split()[1]) for one in part]
        assert min(places) < 300
        assert max(places) > 2700
    assert len(split_texts(read(examples, tmp_path, "text"), 20).telling) == 20


def test_too_few_are_an_error(tmp_path):
    with pytest.raises(DataError, match="too few texts"):
        split_texts(read([Example(text=f"문장 {number}") for number in range(3)], tmp_path, "text"), 10)
