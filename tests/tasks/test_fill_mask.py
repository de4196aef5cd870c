"""fill-mask, held against the pipeline of transformers."""

import random

import numpy as np
import pytest

import octavo
from octavo.data.examples import DataFile, Example
from octavo.data.tagged import read_tagged
from octavo.engines.pooled import MaskedSession
from octavo.errors import DataError, InputError
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.fill_mask import Filled

SIGNATURE = Signature(
    task="fill-mask",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=64,
    pad_token_id=0,
    mask_token_id=4,
)


def pipeline_of(folder, **options):
    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    return transformers.pipeline(
        "fill-mask", model=model, tokenizer=transformers.AutoTokenizer.from_pretrained(folder), **options
    )


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, list):
            same(one, other)
            continue
        assert one.keys() == other.keys()
        assert one["score"] == pytest.approx(other["score"], abs=2e-5)
        if one["token"] != other["token"]:  # a tie to the last digits
            assert any(abs(other["score"] - near["score"]) < 1e-6 for near in found if near["token"] == other["token"])
        else:
            assert (one["token_str"], one["sequence"]) == (other["token_str"], other["sequence"])


def masked(texts, masks):
    """Each text with so many of its words behind masks."""
    chance = random.Random(5)
    found = []
    for text in texts:
        words = text.split()
        for place in chance.sample(range(len(words)), min(masks, len(words))):
            words[place] = "[MASK]"
        found.append(" ".join(words))
    return found


@pytest.mark.parametrize("masks", [1, 2])
def test_as_the_pipeline_on_200_rows(shared, made, masks):
    folder = shared / "models/ko-encoder"
    examples = read_tagged(DataFile(shared / "data/panx/dev-ko.tsv", limit=400))
    rows = masked([one.text for one in examples if len(one.text.split()) > 4][:200], masks)
    assert len(rows) == 200
    found, expected = octavo.load(made(folder, "float"))(rows), pipeline_of(folder)(rows)
    for one, other in zip(found, expected, strict=True):
        same(one, other)


def test_shapes_targets_and_errors(made, tiny):
    folder = tiny("fill-mask")
    predictor = octavo.load(made(folder, "float"))
    text = "아이들이 [MASK] 놀고 있다."
    one = predictor(text)
    assert len(one) == 5
    assert predictor([text]) == [one]
    same(predictor(text, top_k=2), pipeline_of(folder, top_k=2)(text))
    same(predictor(text, targets=["공원에서", "fox"]), pipeline_of(folder, targets=["공원에서", "fox"])(text))
    with pytest.raises(InputError, match="no single token of the vocabulary; got: 없는단어"):
        predictor(text, targets=["없는단어"])
    with pytest.raises(DataError, match=r"a text has no mask.*got: '아이들이'; allowed: a \[MASK\] in each"):
        predictor("아이들이")
    with pytest.raises(InputError, match="top_k is 1 or more"):
        predictor(text, top_k=0)


def test_one_token_of_each_text_is_hidden_always_the_same(made, tiny, sentences):
    predictor = octavo.load(made(tiny("fill-mask"), "float"))
    task, rows = predictor.task, [(text, None) for text in sentences]
    first, second = (task.encode(predictor.tokenizer, rows) for _ in range(2))
    assert first == second
    for (text, _), one in zip(rows, first, strict=True):
        plain = predictor.tokenizer.encode(text).ids
        place = list(one.ids).index(predictor.signature.mask_token_id)
        assert [*one.ids[:place], one.hidden, *one.ids[place + 1 :]] == plain
        assert 0 < place < len(plain) - 1
    alone = task.encode(predictor.tokenizer, [("", None)])[0]
    assert alone.hidden is None
    given = task.encode(predictor.tokenizer, [("아이들이 [MASK]", None)])[0]
    assert given.hidden is None
    assert list(given.ids).count(predictor.signature.mask_token_id) == 1


def test_only_masked_positions_are_kept():
    class Counting:
        name, threads, streams = "x", 1, 1

        def run(self, inputs):
            rows, length = inputs["input_ids"].shape
            return np.arange(rows * length * 3, dtype=np.float32).reshape(rows, length, 3)

    ids = np.array([[9, 4, 9, 4], [1, 1, 1, 4], [1, 2, 3, 5]])
    found = MaskedSession(Counting(), 4).run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    np.testing.assert_array_equal(found[0], [[3, 4, 5], [9, 10, 11]])
    np.testing.assert_array_equal(found[1], [[21, 22, 23], [0, 0, 0]])
    np.testing.assert_array_equal(found[2], np.zeros((2, 3)))


def test_scores():
    task = find_task(SIGNATURE)

    def filled(logits, hidden):
        return Filled("x", (1,), np.array(logits, np.float32).reshape(-1, 3), hidden, None)

    outputs = [filled([0, 0, 1], 2), filled([0, 1, 0], 2), filled([], None)]
    assert task.quality(outputs, [Example("x")] * 3) == {"accuracy": 1 / 3}
    assert task.quality([filled([0, 0, 1], None)], [Example("x")]) == {}
    margins = task.margins(outputs[:2], [filled([0, 0, 3], 2), filled([0, 1, 0.5], 2)], [Example("x")] * 2)
    assert (margins.lead.tolist(), margins.moved.tolist()) == ([1, 1], [2, 0.5])
    assert (margins.before.tolist(), margins.after.tolist()) == ([1, -1], [3, -0.5])
    assert task.margins(outputs, outputs, [Example("x")] * 3) is None


@pytest.mark.parametrize(
    "options", [{"top_k": "abc"}, {"top_k": None}, {"top_k": True}, {"targets": [3]}, {"targets": 3}, {"targets": []}]
)
def test_options_of_another_kind(made, tiny, options):
    with pytest.raises(InputError, match=r"(top_k is|targets are) of another kind"):
        octavo.load(made(tiny("fill-mask"), "float"))("[MASK] x", **options)
