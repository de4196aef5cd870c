"""token-classification, held against the pipeline of transformers and against seqeval."""

import dataclasses
import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from tokenizers import Tokenizer, models, pre_tokenizers

import octavo
from octavo.data.examples import DataFile, Example, sample
from octavo.data.tagged import read_tagged
from octavo.data.tags import as_iob2
from octavo.encoding.tokenizing import Asked
from octavo.errors import DataError, InputError
from octavo.metrics.differences import DIFFERENCES
from octavo.metrics.scores import ratio
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.entities import Tagged
from octavo.tasks.token_classification import word_tags

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TASK = find_task(
    Signature(
        task="token-classification",
        input_names=("input_ids", "attention_mask"),
        output_names=("logits",),
        max_length=64,
        pad_token_id=0,
        labels=LABELS,
    )
)
STRATEGIES = ("none", "simple", "first", "average", "max")


@cache
def reference(folder):
    """The model in torch, which is asked once about a text, and its tokenizer."""
    import transformers

    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    forward, known = model.forward, {}

    def remembered(input_ids, **inputs):
        key = tuple(input_ids[0].tolist())
        if key not in known:
            known[key] = forward(input_ids=input_ids, **inputs)
        return known[key]

    model.forward = remembered
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def pipeline_of(folder, strategy):
    import transformers

    model, tokenizer = reference(folder)
    return transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy
    )


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert one["score"] == pytest.approx(float(other["score"]), abs=2e-5)
        assert {**one, "score": 0} == {**other, "score": 0}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("data", ["panx/dev-ko.tsv", "klue_ner/klue-ner-v1.1_dev.tsv"])
def test_as_the_pipeline_on_200_rows(shared, made, headed, data, strategy):
    folder = shared / "models/ko-ner" if data.startswith("panx") else headed("token-classification")
    rows = [one.text for one in read_tagged(DataFile(shared / "data" / data, limit=200))]
    found = octavo.load(made(folder, "float"))(rows, aggregation_strategy=strategy)
    expected = pipeline_of(folder, strategy)(rows)
    assert sum(map(len, expected)) > 100
    for one, other in zip(found, expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_tokenizers_without_marks_inside_words(family, write_tiny, tmp_path, sentences):
    head = {"roberta": "RobertaForTokenClassification", "xlm-roberta": "XLMRobertaForTokenClassification"}[family]
    folder = write_tiny(family, head, tmp_path / "checkpoint")
    predictor = octavo.load(octavo.quantize(folder, tmp_path / "float", recipe="float").folder)
    for strategy in ("none", "simple", "first"):
        expected = pipeline_of(folder, strategy)(list(sentences))
        for one, other in zip(predictor(list(sentences), aggregation_strategy=strategy), expected, strict=True):
            same(one, other)


def test_shapes_and_options(made, tiny):
    predictor = octavo.load(made(tiny("token-classification"), "float"))
    one = predictor("아이들이 공원에서 놀고 있다.")
    assert predictor(["아이들이 공원에서 놀고 있다."]) == [one]
    assert predictor({"text": "아이들이 공원에서 놀고 있다."}) == one
    assert predictor("") == []
    everything = predictor("아이들이 공원에서 놀고 있다.", ignore_labels=())
    assert [part["index"] for part in everything] == list(range(1, len(everything) + 1))
    with pytest.raises(InputError, match=r"unknown aggregation_strategy; got: maximum; allowed: .*did you mean 'max'"):
        predictor("x", aggregation_strategy="maximum")
    with pytest.raises(InputError, match="unknown option; got: aggregation; allowed: aggregation_strategy"):
        predictor("x", aggregation="max")
    with pytest.raises(DataError, match="this is a pair"):
        predictor(("a", "b"))


def words_as_tokens(gold, predicted):
    """Examples, and what a model would say of them that reads each word as one token, with these tags."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    examples, outputs = [], []
    for right, said in zip(gold, predicted, strict=True):
        spans = tuple((2 * index, 2 * index + 1) for index in range(len(right)))
        text = " ".join("x" * len(right))
        examples.append(Example(text, words=spans, tags=tuple(right)))
        logits = np.array([[float(one == label) for label in LABELS] for one in said], np.float32).reshape(
            -1, len(LABELS)
        )
        extra = spans, ("x",) * len(right), (False,) * len(right), logits, 1
        outputs.append(Tagged(text, *extra, LABELS, tokenizer))
    return examples, outputs


def test_a_text_is_as_near_to_another_tag_as_its_nearest_token():
    _, (first, second) = words_as_tokens([["O"] * 3, []], [["O"] * 3, []])
    logits = first.logits.copy()
    logits[1] *= 0.25
    logits[2] *= 3
    before, after = [dataclasses.replace(first, logits=logits), second], [first, second]
    margins = TASK.margins(before, after, [])
    assert (margins.lead.tolist(), margins.moved.tolist()) == ([0.25, np.inf], [2, 0])
    assert margins.before is None


tags = st.lists(st.lists(st.tuples(*[st.sampled_from(LABELS)] * 3), min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=150)
@given(tags)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore::UserWarning")
def test_scores_as_seqeval(rows):
    gold, said = ([[one[place] for one in row] for row in rows] for place in (0, 1))
    examples, outputs = words_as_tokens(gold, said)
    found = TASK.quality(outputs, examples)
    assert found["entity_f1"] == pytest.approx(seqeval.f1_score(gold, said, zero_division=0), abs=1e-12)
    assert found["precision"] == pytest.approx(seqeval.precision_score(gold, said, zero_division=0), abs=1e-12)
    assert found["recall"] == pytest.approx(seqeval.recall_score(gold, said, zero_division=0), abs=1e-12)
    assert found["tag_accuracy"] == pytest.approx(
        seqeval.accuracy_score(*([as_iob2(row) for row in rows] for rows in (gold, said))), abs=1e-12
    )


@settings(max_examples=100)
@given(tags)
def test_the_difference_of_scores_is_the_mean_of_effects(rows):
    gold, first, second = ([[one[place] for one in row] for row in rows] for place in range(3))
    examples, before = words_as_tokens(gold, first)
    _, after = words_as_tokens(gold, second)
    one, other = TASK.judged(before, examples), TASK.judged(after, examples)
    for name in TASK.quality(before, examples):
        found = DIFFERENCES[name](one[0], one[1], other[1])
        value = ratio(name, *other) - ratio(name, *one)
        assert found.value == pytest.approx(value, abs=1e-9)
        assert found.low - 1e-9 <= found.lower <= found.upper <= found.high + 1e-9


def test_the_interval_of_entity_f1_is_that_of_the_bootstrap_where_many_rows_differ():
    chance = random.Random(3)
    draw = lambda: [[chance.choice(LABELS) for _ in range(5)] for _ in range(800)]  # noqa: E731
    gold = draw()
    first = [[one if chance.random() < 0.8 else chance.choice(LABELS) for one in row] for row in gold]
    second = [[one if chance.random() < 0.7 else chance.choice(LABELS) for one in row] for row in gold]
    examples, before = words_as_tokens(gold, first)
    _, after = words_as_tokens(gold, second)
    one, other = TASK.judged(before, examples), TASK.judged(after, examples)
    found = DIFFERENCES["entity_f1"](one[0], one[1], other[1])
    assert found.method == "bca"
    drawn = []
    generator = np.random.default_rng(1)
    for _ in range(1500):
        rows = generator.integers(0, 800, 800)
        drawn.append(ratio("entity_f1", one[0][rows], other[1][rows]) - ratio("entity_f1", one[0][rows], one[1][rows]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_words_that_no_token_reaches_are_outside(made, tiny):
    predictor = octavo.load(made(tiny("token-classification"), "float"), max_length=8)
    text = "아이들이 공원에서 놀고 있다 . " * 5
    words = tuple((start, start + 1) for start in range(0, len(text) - 1, 2))
    rows = predictor.task.rows([Example(text)])
    encoded = predictor.task.encode(predictor.tokenizer, rows)
    (one,) = predictor.task.read(predictor.run(encoded), Asked(rows, encoded, predictor.tokenizer))
    assert len(one.logits) == 6
    assert word_tags(one, words)[-1] == "O"


def test_int8_keeps_the_entities(shared, made):
    """A sample; the whole file is measured in the documentation."""
    folder = shared / "models/ko-ner"
    examples = sample(read_tagged(DataFile(shared / "data/panx/dev-ko.tsv"), (*LABELS, "B-ORG", "I-ORG")), 1000)
    scores = {}
    for method in ("float", "dynamic"):
        predictor = octavo.load(made(folder, method))
        task = predictor.task
        rows = task.rows(examples)
        encoded = task.encode(predictor.tokenizer, rows)
        asked = Asked(rows, encoded, predictor.tokenizer)
        scores[method] = task.quality(task.read(predictor.run(encoded), asked), examples)["entity_f1"]
    assert scores["float"] == pytest.approx(0.78, abs=0.03)  # 0.7848 on all rows, as the card says
    assert abs(scores["float"] - scores["dynamic"]) < 0.007


def test_texts_without_tags_are_left_out_of_the_scores():
    examples, outputs = words_as_tokens([["B-PER", "O"], ["O", "O"]], [["B-PER", "O"], ["B-PER", "O"]])
    bare = Example(examples[1].text, words=examples[1].words)
    assert TASK.quality(outputs, [examples[0], bare])["entity_f1"] == 1
    assert TASK.quality(outputs, examples)["entity_f1"] == pytest.approx(2 / 3)
    assert TASK.judged(outputs, [bare, bare]) is None
    assert [len(one) for one in TASK.judged(outputs, [examples[0], bare])] == [2, 2]  # a row for each example
