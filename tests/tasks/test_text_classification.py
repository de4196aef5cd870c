import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import expit, softmax
from transformers import AutoTokenizer, BertConfig, TextClassificationPipeline
from transformers.pipelines.text_classification import ClassificationFunction

from octavo.data.examples import Example
from octavo.errors import DataError, InputError
from octavo.schema.signature import Signature
from octavo.tasks import find_task, task_class
from octavo.tasks.text_classification import TextClassification, predicted_labels, scores

DEMO = Path(__file__).parents[2] / "examples" / "korean-nli"
TOKENIZER_JSON = (DEMO / "tokenizer.json").read_text(encoding="utf-8")
SIGNATURE = Signature(
    task="text-classification",
    input_names=("input_ids", "attention_mask", "token_type_ids"),
    output_names=("logits",),
    max_length=256,
    pad_token_id=0,
    unk_token_id=1,
    labels=("entailment", "contradiction", "neutral"),
)
TASK = find_task(SIGNATURE)
WORDS = [
    "설악산",
    "정상",
    "부근에는",
    "지난밤",
    "내린",
    "눈이",
    "아직",
    "않고",
    "The",
    "quick",
    "brown",
    "fox",
    "12",
    "☕",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
LOGITS = st.integers(1, 5).flatmap(
    lambda columns: arrays.arrays(np.float32, (3, columns), elements=st.floats(-20, 20, width=32))
)
PROBLEMS = st.sampled_from([None, "regression", "single_label_classification", "multi_label_classification"])


def signature_of(labels, problem_type=None):
    return SIGNATURE.model_copy(
        update={"labels": tuple(f"이름{index}" for index in range(labels)), "problem_type": problem_type}
    )


@cache
def auto_tokenizer():
    return AutoTokenizer.from_pretrained(DEMO)


@pytest.mark.parametrize(
    ("row", "parsed"),
    [
        ("글", ("글", None)),
        ("", ("", None)),
        (("가", "나"), ("가", "나")),
        (("가", None), ("가", None)),
        ({"text": "가"}, ("가", None)),
        ({"text": "가", "text_pair": "나"}, ("가", "나")),
        ({"text": "가", "text_pair": None}, ("가", None)),
    ],
)
def test_rows_that_are_understood(row, parsed):
    assert TASK.parse_row(row) == parsed


@pytest.mark.parametrize(
    ("row", "got"),
    [
        (3, "int 3"),
        (None, "NoneType None"),
        (b"bytes", "bytes b'bytes'"),
        (("a",), r"tuple \('a',\)"),
        (("a", "b", "c"), "tuple"),
        (("a", 3), "tuple"),
        ((None, "b"), "tuple"),
        (["a", "b"], "list"),
        ({"text_pair": "b"}, "keys text_pair"),
        ({"text": "a", "label": "x"}, "keys text, label"),
        ({"text": None}, "keys text"),
        ({"text": "a", "text_pair": 3}, "keys text, text_pair"),
    ],
)
def test_rows_that_are_not_understood(row, got):
    with pytest.raises(DataError, match=f"a row is a text or a pair; got: {got}.*; allowed: a string, a tuple"):
        TASK.parse_row(row)


def test_a_long_wrong_row_is_shown_shortened():
    with pytest.raises(DataError) as caught:
        TASK.parse_row(["x" * 100_000])
    assert len(str(caught.value)) < 300


def test_half_of_a_surrogate_pair_is_a_data_error():
    with pytest.raises(DataError):
        TASK.parse_row("글 \ud83d")


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=4), limit=st.integers(4, 40))
def test_tokens_are_those_of_transformers(rows, limit):
    task = find_task(SIGNATURE.model_copy(update={"max_length": limit}))
    for row, found in zip(rows, task.encode(task.make_tokenizer(TOKENIZER_JSON), rows), strict=True):
        # Two strings, as its pipeline gives them: an empty second one is none (in lists it is the second of a pair).
        expected = auto_tokenizer()(*row, truncation=True, max_length=limit)
        assert list(found.ids) == expected["input_ids"]
        assert list(found.type_ids) == expected["token_type_ids"]
        assert found.truncated == (len(auto_tokenizer()(*row)["input_ids"]) > limit)
        assert found.unknown == expected["input_ids"].count(auto_tokenizer().unk_token_id)


def test_a_pair_with_an_empty_second_text_is_the_first_alone():
    tokenizer = TASK.make_tokenizer(TOKENIZER_JSON)
    rows = [("설악산 정상", ""), ("설악산 정상", None), ("설악산 정상", " ")]
    empty, alone, blank = TASK.encode(tokenizer, rows)
    assert empty == alone
    assert list(blank.ids) == [*alone.ids, auto_tokenizer().sep_token_id]  # a pair with nothing in it
    data = find_task(SIGNATURE).rows([Example("설악산 정상", ""), Example("설악산 정상", "눈이")])
    assert TASK.encode(tokenizer, data)[0] == alone


def test_unknown_tokens_are_counted():
    tokenizer = TASK.make_tokenizer(TOKENIZER_JSON)
    one, two = TASK.encode(tokenizer, [("𐍈", None), ("𐍈 그 𐍉", None)])
    assert (one.unknown, two.unknown) == (1, 2)
    without = find_task(SIGNATURE.model_copy(update={"unk_token_id": None}))
    assert [row.unknown for row in without.encode(tokenizer, [("𐍈", None)])] == [0]


def test_no_rows_are_no_tokens():
    assert TASK.encode(TASK.make_tokenizer(TOKENIZER_JSON), []) == []


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_that_leaves_no_room_is_refused(limit):
    with pytest.raises(InputError, match=f"max_length leaves no room for text; got: {limit}; allowed: above 3"):
        find_task(SIGNATURE.model_copy(update={"max_length": limit})).make_tokenizer(TOKENIZER_JSON)


def test_the_lowest_limit_keeps_one_token():
    task = find_task(SIGNATURE.model_copy(update={"max_length": 4}))
    single, pair = task.encode(task.make_tokenizer(TOKENIZER_JSON), [("그 남자", None), ("그 남자", "이 여자")])
    assert [len(single.ids), len(pair.ids)] == [4, 4]
    assert (single.truncated, pair.truncated) == (len(auto_tokenizer()("그 남자")["input_ids"]) > 4, True)


@given(logits=LOGITS, problem=PROBLEMS)
def test_decode_answers_as_the_pipeline_of_transformers(logits, problem):
    assume(problem != "single_label_classification" or logits.shape[1] > 1)  # no config of transformers is so
    signature = signature_of(logits.shape[1], problem)
    config = BertConfig(problem_type=problem, id2label=dict(enumerate(signature.labels)))
    pipeline = SimpleNamespace(model=SimpleNamespace(config=config))
    for row, found in zip(logits, find_task(signature).decode(logits), strict=True):
        outputs = {"logits": torch.from_numpy(row[None].copy())}
        best, *others = TextClassificationPipeline.postprocess(pipeline, outputs, top_k=None, _legacy=False)
        # Sigmoids of large logits differ by less than float32 shows: any of the best is right then.
        tied = {best["label"]} | {other["label"] for other in others if best["score"] - other["score"] < 1e-6}
        assert found["label"] in tied
        assert found["score"] == pytest.approx(best["score"], abs=1e-6)


@given(logits=LOGITS)
def test_scores_by_scipy(logits):
    columns = logits.shape[1]
    sigmoid = expit(logits)
    assert scores(logits, signature_of(columns, "multi_label_classification")) == pytest.approx(sigmoid, abs=1e-6)
    assert np.array_equal(scores(logits, signature_of(columns, "regression")), logits)
    if columns > 1:
        assert scores(logits, signature_of(columns)) == pytest.approx(softmax(logits, axis=1), abs=1e-6)
    else:
        assert scores(logits, signature_of(1)) == pytest.approx(sigmoid, abs=1e-6)
        single = signature_of(1, "single_label_classification")
        assert scores(logits, single) == pytest.approx(sigmoid, abs=1e-6)


@pytest.mark.parametrize("problem", [None, "regression", "single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("columns", [1, 2])
def test_large_logits_give_sure_scores_and_no_warning(problem, columns):
    logits = np.array([[200.0, -200.0], [-200.0, 200.0]], np.float32)[:, :columns]
    found = scores(logits, signature_of(columns, problem))
    assert found.dtype == np.float64
    expected = logits if problem == "regression" else (logits > 0).astype(np.float64)
    assert found == pytest.approx(expected, abs=1e-30)


def test_decode_by_hand():
    logits = np.log(np.array([[1, 2, 1], [6, 3, 1]], np.float32))
    assert TASK.decode(logits) == [
        {"label": "contradiction", "score": pytest.approx(0.5)},
        {"label": "entailment", "score": pytest.approx(0.6)},
    ]
    several = SIGNATURE.model_copy(update={"problem_type": "multi_label_classification"})
    assert find_task(several).decode(logits)[0] == {"label": "contradiction", "score": pytest.approx(2 / 3)}


def test_scores_of_one_logit_keep_the_order_of_the_logits():
    """float32 has no number between the sigmoids of 17 and of 30, and its 1 + tanh(-9) is 0."""
    logits = np.array([-90, -40, -30, -18, -17.5, 0, 17.5, 18, 20, 25, 30, 36], np.float32)[:, None]
    found = [row["score"] for row in find_task(signature_of(1)).decode(logits)]
    assert found == sorted(set(found))
    assert found == pytest.approx(expit(logits[:, 0].astype(np.float64)), rel=1e-14)
    assert json.loads(json.dumps(found)) == found
    without = find_task(signature_of(1)).decode(logits * 10, {"function_to_apply": "none"})
    assert [row["score"] for row in without] == (logits[:, 0] * 10).tolist()


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_the_largest_logit_wins_where_scores_are_the_same(problem):
    logits = np.array([[60.0, 90.0, 70.0], [-900.0, -950.0, -800.0]], np.float32)
    found = find_task(signature_of(3, problem)).decode(logits)
    assert [row["label"] for row in found] == ["이름1", "이름2"]


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
def test_a_function_is_that_of_the_pipeline(function):
    logits = np.array([[0.5, -1.25, 2.0]], np.float32)
    signature = signature_of(3, "regression" if function != "none" else None)
    (found,) = find_task(signature).decode(logits, {"function_to_apply": function})
    pipeline = SimpleNamespace(model=SimpleNamespace(config=BertConfig(id2label=dict(enumerate(signature.labels)))))
    expected = TextClassificationPipeline.postprocess(
        pipeline, {"logits": torch.from_numpy(logits)}, function_to_apply=ClassificationFunction(function)
    )
    assert found == {"label": expected["label"], "score": pytest.approx(expected["score"], abs=1e-6)}
    with pytest.raises(InputError, match="unknown function_to_apply; got: tanh; allowed: sigmoid, softmax, none"):
        TASK.decode(logits, {"function_to_apply": "tanh"})


def test_predictions_are_json():
    (found,) = TASK.decode(np.zeros((1, 3), np.float32))
    assert [type(value) for value in found.values()] == [str, float]


def test_the_first_of_equal_labels_wins():
    logits = np.array([[1, 1, 0], [0, 2, 2]], np.float32)
    assert [row["label"] for row in TASK.decode(logits)] == ["entailment", "contradiction"]
    assert predicted_labels(logits).tolist() == [0, 1]
    assert predicted_labels(logits).dtype == np.int64


def test_the_task_is_found_by_name():
    assert task_class("text-classification") is TextClassification
    found = find_task(SIGNATURE)
    assert (type(found), found.signature) == (TextClassification, SIGNATURE)
    told = r"not supported yet; got: summarization; allowed: text-classification"
    with pytest.raises(InputError, match=told):
        task_class("summarization")
    with pytest.raises(InputError, match=told):
        find_task(SIGNATURE.model_copy(update={"task": "summarization"}))
