"""multiple-choice, held against AutoModelForMultipleChoice, row by row."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import octavo
from octavo.data.examples import Example, read_examples
from octavo.errors import DataError
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.multiple_choice import Chosen

SIGNATURE = Signature(
    task="multiple-choice",
    input_names=("input_ids", "attention_mask"),
    output_names=("logits",),
    max_length=64,
    pad_token_id=0,
)


def reference(folder, rows, max_length):
    import torch
    import transformers

    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text, choices in rows:
        limits = {"padding": True, "truncation": True, "max_length": max_length, "return_tensors": "pt"}
        inputs = tokenizer([text] * len(choices), list(choices), **limits)
        with torch.no_grad():
            yield model(**{name: array[None] for name, array in inputs.items()}).logits[0].softmax(0).numpy()


def test_as_the_reference_on_200_rows(shared, made, headed):
    texts = [one.text for one in read_examples(shared / "data/klue_nli/dev.tsv")][:1000]
    rows = [(texts[i], tuple(texts[200 + 4 * i : 202 + 4 * i + i % 3])) for i in range(200)]
    folder = headed("multiple-choice")
    predictor = octavo.load(made(folder, "float"))
    found = predictor(rows)
    assert {len(one["scores"]) for one in found} == {2, 3, 4}  # in one call
    assert len({one["index"] for one in found}) >= 3
    for one, expected, (_, choices) in zip(found, reference(folder, rows, 256), rows, strict=True):
        np.testing.assert_allclose(one["scores"], expected, atol=2e-5)
        assert one["score"] == max(one["scores"]) == one["scores"][one["index"]]
        assert one["choice"] == choices[one["index"]]


def test_rows(made, tiny, sentences):
    predictor = octavo.load(made(tiny("multiple-choice"), "float"))
    one = predictor({"text": sentences[0], "choices": list(sentences[1:4])})
    assert predictor([(sentences[0], list(sentences[1:4]))]) == [one]
    assert predictor.counts.rows == 2
    for row in ("text", ("a", "b"), {"text": "a", "choices": ["x"]}, {"text": "a"}):
        with pytest.raises(DataError, match="a row is a text with choices"):
            predictor([row])


def test_scores():
    task = find_task(SIGNATURE)
    outputs = [
        Chosen(("x", "y", "z")[:n], np.array(z, np.float32)) for n, z in ((2, [1, 0]), (3, [0, 1, 2]), (2, [0, 1]))
    ]
    examples = [Example("a", label=label, choices=one.choices) for label, one in zip((0, 1, 1), outputs, strict=True)]
    assert task.quality(outputs, examples) == {"accuracy": accuracy_score([0, 1, 1], [0, 2, 1])}
    assert task.judged(outputs, [Example("a")] * 3) is None
    moved = [Chosen(one.choices, one.logits * np.float32(0.5)) for one in outputs]
    margins = task.margins(outputs, moved, [replace(examples[0], label=None), *examples[1:]])
    assert (margins.lead.tolist(), margins.moved.tolist()) == ([1, 1], [0.5, 0.5])
    assert (margins.before.tolist(), margins.after.tolist()) == ([-1, 1], [-0.5, 0.5])
    assert task.margins(outputs, moved, [Example("a")] * 3) is None
    assert task.fidelity(outputs, outputs, []) == {"agreement": 1.0, "kl": 0.0}
