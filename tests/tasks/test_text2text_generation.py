"""Texts as code points, and the scores of texts against their targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.data.examples import DataFile, Example, target_columns
from octavo.evaluation.breakdown import score_groups
from octavo.tasks import text2text_generation as task

WORDS = st.lists(st.sampled_from(["고양이가", "잔다", "the", "cat", "sleeps", "soundly", "."]), min_size=1, max_size=9)
TEXTS = st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), min_size=1, max_size=8)


@given(
    st.lists(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5)
)
@settings(max_examples=60, deadline=None)
def test_texts_come_back_from_their_code_points(texts):
    outputs = task.points(texts, 20)
    assert outputs.dtype == np.float32
    assert [one["generated_text"] for one in task.decode(outputs, None)] == texts


@given(TEXTS)
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_sacrebleu(pairs):
    sacrebleu = pytest.importorskip("sacrebleu")
    texts, targets = (list(side) for side in zip(*pairs, strict=True))
    examples = [Example("x", target) for target in targets]
    found = task.quality(task.points(texts, 80), examples)
    assert found["exact_match"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    assert found["chrf"] == pytest.approx(sacrebleu.CHRF().corpus_score(texts, [targets]).score)
    assert found["bleu"] == pytest.approx(sacrebleu.BLEU().corpus_score(texts, [targets]).score)


def test_agreement_is_of_whole_texts():
    first, second = task.points(["ab", "cd", "e"], 4), task.points(["ab", "cx", "e"], 4)
    assert task.fidelity(first, second, (), None) == {"agreement": pytest.approx(2 / 3)}
    assert task.distances(first, second, None).tolist() == [0, 1, 0]
    wider = task.points(["ab", "cx", "e"], 9)  # another model's answers may be longer
    assert task.distances(first, wider, None).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("text\ttarget\na\tb\n", {"text": "text", "text_pair": "target"}),
        ("source\ttranslation\na\tb\n", {"text": "source", "text_pair": "translation"}),
        ("text\tlabel\na\tb\n", None),
    ],
)
def test_the_columns_of_texts_and_targets_are_found_by_their_names(tmp_path, content, columns):
    path = tmp_path / "data.tsv"
    path.write_text(content, encoding="utf-8")
    assert target_columns(path, "utf-8") == columns
    if columns:
        assert DataFile(path, columns=columns).read() == (Example("a", "b"),)


def test_texts_without_a_target_are_left_out_of_the_scores():
    examples = [Example(f"text {row}", None if row % 3 else "yes") for row in range(180)]
    before, after = task.points(["yes"] * 180, 4), task.points(["no" if row < 60 else "yes" for row in range(180)], 4)
    assert task.quality(before, examples)["exact_match"] == 1
    assert task.quality(after, examples)["exact_match"] == pytest.approx(2 / 3)
    groups = score_groups(task, before, after, examples, np.arange(180), None)
    assert groups[0].value == 0
    assert sum(group.n for group in groups) == 60
    assert task.judged(before, [Example("text")] * 180) is None
