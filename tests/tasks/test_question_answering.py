"""question-answering, held against a reference on the outputs of AutoModelForQuestionAnswering."""

import json

import numpy as np
import pytest

import octavo
from octavo.data.examples import DataFile, Example
from octavo.data.squad import read_squad
from octavo.errors import DataError, InputError
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.question_answering import AnswerWindows, likeliest

TASK = find_task(
    Signature(
        task="question-answering",
        input_names=("input_ids", "attention_mask"),
        output_names=("start_logits", "end_logits"),
        max_length=64,
        pad_token_id=0,
    )
)


class Reference:
    """The answers of a checkpoint: windows by AutoTokenizer, one softmax over all windows, every span looked at."""

    def __init__(self, folder, max_length, stride):
        import transformers

        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.limits = {"max_length": max_length, "stride": stride, "truncation": "only_second"}

    def __call__(self, question, context, longest=30):
        import torch

        inputs = self.tokenizer(
            question,
            context,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
            **self.limits,
        )
        offsets = inputs.pop("offset_mapping").tolist()
        inputs.pop("overflow_to_sample_mapping")
        with torch.no_grad():
            outputs = self.model(**inputs)
        starts, ends = outputs.start_logits.double().numpy(), outputs.end_logits.double().numpy()
        allowed = np.array(
            [[index == 0 or side == 1 for index, side in enumerate(inputs.sequence_ids(w))] for w in range(len(starts))]
        )
        p, q = (np.exp(z) / np.exp(z)[allowed].sum() for z in (starts, ends))
        best = max(
            (p[w, i] * q[w, j], w, i, j)
            for w in range(len(starts))
            for i in range(1, starts.shape[1])
            for j in range(i, min(i + longest, starts.shape[1]))
            if allowed[w, i] and allowed[w, j]
        )
        score, w, i, j = best
        start, end = offsets[w][i][0], offsets[w][j][1]
        nothing = min(p[w, 0] * q[w, 0] for w in range(len(starts)))
        return {"score": score, "start": start, "end": end, "answer": context[start:end]}, nothing, len(starts)


def test_as_the_reference_on_200_rows(shared, made, headed):
    folder = headed("question-answering")
    files = ("korquad/KorQuAD_v1.0_dev.json", "tydiqa/tydiqa.goldp.ko.train.json")
    examples = [one for name in files for one in read_squad(DataFile(shared / "data" / name, limit=100))]
    predictor = octavo.load(made(folder, "float"), max_length=160)
    reference = Reference(folder, 160, 40)
    found = predictor([(one.text, one.text_pair) for one in examples])
    windows = 0
    for one, example in zip(found, examples, strict=True):
        expected, _, count = reference(example.text, example.text_pair)
        windows += count
        assert one["score"] == pytest.approx(expected["score"], rel=1e-3)
        if one["start"] != expected["start"] or one["end"] != expected["end"]:  # a tie to the last digits
            again = predictor({"question": example.text, "context": example.text_pair}, top_k=3)
            assert (expected["start"], expected["end"]) in [(span["start"], span["end"]) for span in again]
        else:
            assert one["answer"] == expected["answer"] == example.text_pair[one["start"] : one["end"]]
    assert windows > 300


CONTEXT = "아이들이 공원에서 놀고 있다. 그 남자는 어제 서울에서 친구를 만났다. 오늘 날씨는 춥지만 하늘은 맑다. "


def test_shapes_options_and_impossible_answers(made, tiny):
    folder = tiny("question-answering")
    predictor = octavo.load(made(folder, "float"))
    row = {"question": "아이들이 공원에서 놀고 있다?", "context": CONTEXT * 3}
    one = predictor(row)
    assert one.keys() == {"score", "start", "end", "answer"}
    assert predictor([row]) == [one]
    assert predictor((row["question"], row["context"])) == one
    best = predictor(row, top_k=5)
    assert len(best) == 5
    assert best[0] == one
    assert [span["score"] for span in best] == sorted((span["score"] for span in best), reverse=True)
    assert len({(span["start"], span["end"]) for span in best}) == 5
    many = predictor(row, top_k=100_000, handle_impossible_answer=True)
    (nothing,) = [span for span in many if span["answer"] == ""]
    assert nothing["score"] == pytest.approx(Reference(folder, 64, 16)(row["question"], row["context"])[1], rel=1e-3)
    for options, reference in (
        ({"max_answer_len": 1}, Reference(folder, 64, 16)(row["question"], row["context"], longest=1)),
        ({"doc_stride": 2}, Reference(folder, 64, 2)(row["question"], row["context"])),
    ):
        answer = predictor(row, **options)
        assert answer | {"score": 0} == reference[0] | {"score": 0}
        assert answer["score"] == pytest.approx(reference[0]["score"], rel=1e-3)
        assert answer["score"] != pytest.approx(one["score"], rel=1e-3)
    with pytest.raises(InputError, match="doc_stride is out of range; got: 60; allowed: 0 to"):
        predictor(row, doc_stride=60)
    with pytest.raises(InputError, match="are 1 or more"):
        predictor(row, top_k=0)


def test_a_question_longer_than_the_limit_is_cut(made, tiny):
    predictor = octavo.load(made(tiny("question-answering"), "float"))
    assert predictor({"question": CONTEXT * 5, "context": CONTEXT})["answer"] in CONTEXT
    assert predictor.counts.truncated == predictor.counts.rows == 1


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("text", "a question with its context; got: str"),
        ({"question": "x"}, "got: keys question"),
        ({"question": "x", "context": " "}, "one is empty"),
        (("", "x"), "one is empty"),
    ],
)
def test_rows_that_are_none(made, tiny, row, told):
    predictor = octavo.load(made(tiny("question-answering"), "float"))
    with pytest.raises(DataError, match=told):
        predictor(row)


def test_predicting_a_file(made, tiny, tmp_path):
    lines = [json.dumps({"question": "누가?", "context": CONTEXT, "id": 3}, ensure_ascii=False)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    folder = made(tiny("question-answering"), "float")
    octavo.predict(folder, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    (found,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(found) == {"id": 3} | octavo.load(folder)({"question": "누가?", "context": CONTEXT})
    (tmp_path / "bad.jsonl").write_text("\n".join([*lines, '{"text": "x"}']), encoding="utf-8")
    with pytest.raises(DataError, match=r"a line needs a question in \S+bad.jsonl, line 2"):
        octavo.predict(folder, tmp_path / "bad.jsonl", tmp_path / "bad.out")


def found_of(windows, nothing):
    spans = np.array([place for window in windows for place, _, _ in window], np.int64)
    logits = np.array([[s, e] for window in windows for _, s, e in window], np.float32)
    return AnswerWindows("abcdefghij", tuple(map(len, windows)), spans, logits, np.array(nothing, np.float32))


def test_spans_do_not_cross_windows_and_are_told_once():
    first = [((0, 1), 5, 0), ((1, 2), 0, 0)]
    second = [((1, 2), 0, 4), ((2, 3), 0, 9)]
    one = found_of([first, second], [[0, 0], [0, 0]])
    best = likeliest(one, 10, 30)
    assert (0, 3) not in [(span.start, span.end) for span in best]
    assert len(best) == 5  # (0,1) (0,2) (1,2) (1,3) (2,3): (1,2) is in both windows
    assert [(span.start, span.end) for span in likeliest(one, 1, 1)] == [(2, 3)]


@pytest.mark.parametrize("seed", range(20))
def test_the_likeliest_spans_are_those_of_all_that_there_are(seed):
    generator = np.random.default_rng(seed)
    windows, texts = [], []
    for start in (0, 5, 12):
        places = [(start + 2 * index, start + 2 * index + 2) for index in range(generator.integers(1, 9))]
        windows.append([(place, *generator.normal(size=2)) for place in places])
        texts.append(places)
    one = found_of(windows, generator.normal(size=(3, 2)))
    logits = np.concatenate([one.nothing, one.logits]).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    every, begin = {}, 3
    for places in texts:
        for i, (first, _) in enumerate(places):
            for j in range(i, min(i + 4, len(places))):
                score = p[begin + i, 0] * p[begin + j, 1]
                where = first, places[j][1]
                every[where] = max(every.get(where, 0), score)
        begin += len(places)
    wanted = sorted(every.items(), key=lambda span: -span[1])[:5]
    found = likeliest(one, 5, 4)
    assert [(span.start, span.end) for span in found] == [where for where, _ in wanted]
    assert [span.score for span in found] == pytest.approx([score for _, score in wanted], rel=1e-5)


def test_no_answer_counts_where_the_data_has_impossible_questions():
    sure = found_of([[((0, 3), 9, 9)]], [[0, 0]])
    none = found_of([[((0, 3), 0, 0)]], [[9, 9]])
    asked = [Example("who?", "abc def", answers=("abc",)), Example("who?", "abc def", answers=())]
    assert TASK.quality([sure, none], asked) == {"exact_match": 1.0, "answer_f1": 1.0}
    assert TASK.quality([none, sure], asked) == {"exact_match": 0.0, "answer_f1": 0.0}
    assert TASK.quality([none], asked[:1]) == {"exact_match": 1.0, "answer_f1": 1.0}
    unknown = Example("who?", "abc def")
    assert TASK.judged([sure], [unknown]) is None
    assert TASK.quality([sure, none], [asked[0], unknown]) == {"exact_match": 1.0, "answer_f1": 1.0}
    assert [one.tolist() for one in TASK.judged([sure, none], [asked[0], unknown])] == [[1, 0], [[1, 1], [0, 0]]]


def test_no_answer_is_an_answer_of_its_own():
    sure, none = found_of([[((0, 3), 9, 9)]], [[0, 0]]), found_of([[((0, 3), 0, 0)]], [[9, 9]])
    rows = [("who?", "abc def")] * 2
    assert TASK.fidelity([sure, none], [sure, none], rows)["agreement"] == 1
    moved = TASK.fidelity([sure, none], [none, none], rows)
    assert (moved["agreement"], moved["answer_overlap"]) == (0.5, 0.5)
    assert [one.label for one in TASK.answers([sure, none], [Example("who?", "abc def")] * 2)] == ["abc", "-"]


def test_the_language_of_a_file_decides_how_its_answers_are_scored():
    sure = found_of([[((0, 3), 9, 9)]], [[0, 0]])  # "abc"
    korean = Example("누가 그것을 만들었는가?", "abc def", answers=("abcd",))
    english = Example("Who made it? 누가?", "abc def", answers=("abcd",))
    assert TASK.quality([sure] * 3, [korean, korean, english])["answer_f1"] == pytest.approx(6 / 7)
    assert TASK.quality([sure] * 3, [english, english, korean])["answer_f1"] == 0


def test_classes_of_questions():
    sure, none = found_of([[((0, 3), 9, 9)]], [[0, 0]]), found_of([[((0, 3), 0, 0)]], [[9, 9]])
    asked = [Example("who?", "abc def", answers=("abc",)), Example("who?", "abc def", answers=())]
    unknown = Example("who?", "abc def")
    found = TASK.judged_by_class([sure, none, sure], [sure, none, none], [*asked, unknown])
    assert {name: len(parts[0]) for name, parts in found.items()} == {"answerable": 1, "impossible": 1}
    assert TASK.judged_by_class([sure], [none], asked[:1]) == {}
