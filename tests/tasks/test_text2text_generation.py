"""Texts as code points, and the scores of texts against their targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo.data.examples import DataFile, Example, target_columns
from octavo.evaluation.breakdown import score_groups
from octavo.schema.signature import Generation, Signature
from octavo.tasks import find_task
from octavo.tasks.text2text_generation import points

SIGNATURE = Signature(
    task="text2text-generation",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=64,
    pad_token_id=0,
    generation=Generation(),
)
TASK = find_task(SIGNATURE)

WORDS = st.lists(st.sampled_from(["고양이가", "잔다", "the", "cat", "sleeps", "soundly", "."]), min_size=1, max_size=9)
TEXTS = st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), min_size=1, max_size=8)


@given(
    st.lists(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5)
)
@settings(max_examples=60)
def test_texts_come_back_from_their_code_points(texts):
    outputs = points(texts, 20)
    assert outputs.dtype == np.float32
    assert [one["generated_text"] for one in TASK.decode(outputs)] == texts


@given(TEXTS)
@settings(max_examples=40)
def test_scores_are_those_of_sacrebleu(pairs):
    sacrebleu = pytest.importorskip("sacrebleu")
    texts, targets = (list(side) for side in zip(*pairs, strict=True))
    examples = [Example("x", target) for target in targets]
    found = TASK.quality(points(texts, 80), examples)
    assert found["exact_match"] == pytest.approx(np.mean([a == b for a, b in pairs]))
    assert found["chrf"] == pytest.approx(sacrebleu.CHRF().corpus_score(texts, [targets]).score)
    assert found["bleu"] == pytest.approx(sacrebleu.BLEU().corpus_score(texts, [targets]).score)


def test_agreement_is_of_whole_texts():
    first, second = points(["ab", "cd", "e"], 4), points(["ab", "cx", "e"], 4)
    assert TASK.fidelity(first, second, ()) == {"agreement": pytest.approx(2 / 3)}
    assert TASK.distances(first, second).tolist() == [0, 1, 0]
    wider = points(["ab", "cx", "e"], 9)  # another model's answers may be longer
    assert TASK.distances(first, wider).tolist() == [0, 1, 0]


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
    before, after = points(["yes"] * 180, 4), points(["no" if row < 60 else "yes" for row in range(180)], 4)
    assert TASK.quality(before, examples)["exact_match"] == 1
    assert TASK.quality(after, examples)["exact_match"] == pytest.approx(2 / 3)
    groups = score_groups(TASK, before, after, examples, np.arange(180))
    assert groups[0].value == 0
    assert sum(group.n for group in groups) == 60
    assert TASK.judged(before, [Example("text")] * 180) is None
