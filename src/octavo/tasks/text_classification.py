"""text-classification: one text or a pair in, a label and its score out, as Hugging Face's pipeline returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import DataFile, Example
from octavo.encoding.tokenizing import NO_OPTIONS, Options, Row
from octavo.metrics.scores import accuracy, macro_f1, mean_kl, median_margin
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.defaults import pair_rows as rows

__all__ = [
    "batch_effect",
    "encode",
    "from_texts",
    "gather",
    "make_tokenizer",
    "movement",
    "parse_row",
    "read",
    "rows",
    "to_json",
]
SCORED = False
KEYS = ("text", "text_pair")
OPTIONS = NO_OPTIONS


def read_examples(file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    """Texts or pairs with a label; see `data.read_examples`."""
    return file.read(labels)


def scores(logits: NDArray[np.float32], signature: Signature) -> NDArray[np.float32]:
    """Logits [rows, labels] as the scores that Hugging Face gives: unchanged for regression, sigmoid for one output or
    several labels at once, softmax otherwise.
    """  # noqa: D205 - one sentence
    if signature.problem_type == "regression":
        return logits
    shifted = logits.astype(np.float32)
    if signature.problem_type == "multi_label_classification" or logits.shape[1] == 1:
        # The logistic function 1 / (1 + exp(-x)), written so that it cannot overflow.
        return np.asarray(0.5 * (1 + np.tanh(0.5 * shifted)), np.float32)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def decode(
    outputs: NDArray[np.float32],
    signature: Signature,
    options: Options = NO_OPTIONS,  # noqa: ARG001 - the task's signature
) -> list[dict[str, Any]]:
    """One `{"label", "score"}` per row of logits [rows, labels]."""
    values = scores(outputs, signature)
    best = values.argmax(axis=1)
    return [
        {"label": signature.labels[label], "score": float(row[label])} for row, label in zip(values, best, strict=True)
    ]


def predicted_labels(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The label id of each row of logits [rows, labels]."""
    return np.asarray(outputs.argmax(axis=1), np.int64)


def quality(outputs: NDArray[np.float32], examples: Sequence[Example]) -> dict[str, float]:
    """Accuracy and macro-F1 over the examples that have a label."""
    found = judged(outputs, examples)
    return {} if found is None else {"accuracy": accuracy(*found), "macro_f1": macro_f1(*found)}


def judged(
    outputs: NDArray[np.float32], examples: Sequence[Example]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The labels of the examples that have one, and the predicted ones of these; None where none has."""
    labelled = [index for index, example in enumerate(examples) if example.label is not None]
    gold = np.array([examples[index].label for index in labelled], np.int64)
    return (gold, predicted_labels(outputs)[labelled]) if labelled else None


def fidelity(
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    rows: Sequence[Row],  # noqa: ARG001
    signature: Signature,  # noqa: ARG001
) -> dict[str, float]:
    """How near the outputs are to the baseline's, labels unseen.

    `agreement`, the share of rows with the baseline's label; `kl`, the mean divergence (see `metrics.mean_kl`);
    `margin`, the median over the rows of the margin of the baseline's label over its next one, in logits, divided by
    the same margin of the baseline: below 1 where margins shrink.
    """
    same = predicted_labels(reference) == predicted_labels(outputs)
    found = {"agreement": float(np.mean(same)), "kl": mean_kl(reference, outputs)}
    if reference.shape[1] > 1:
        found["margin"] = median_margin(reference, outputs)
    return found


def judged_by_class(
    reference: NDArray[np.float32], outputs: NDArray[np.float32], examples: Sequence[Example], signature: Signature
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """The labels of the examples of each, and the predicted ones."""
    first, second = judged(reference, examples), judged(outputs, examples)
    if first is None or second is None:
        return {}
    masks = {name: first[0] == label for label, name in enumerate(signature.labels)}
    return {name: (first[0][inside], first[1][inside], second[1][inside]) for name, inside in masks.items()}


def gold(
    outputs: NDArray[np.float32],  # noqa: ARG001 - the task's signature
    examples: Sequence[Example],
    signature: Signature,
) -> list[str | float | None]:
    """The label of each example."""
    return [None if example.label is None else signature.labels[example.label] for example in examples]


def answers(
    outputs: NDArray[np.float32],
    examples: Sequence[Example],  # noqa: ARG001
    signature: Signature,
) -> list[Answer]:
    """Each row's label and score."""
    return [Answer(**one) for one in decode(outputs, signature)]


def distances(first: NDArray[np.float32], second: NDArray[np.float32], signature: Signature) -> NDArray[np.float64]:
    """The largest difference of a score in each row."""
    return np.asarray(np.abs(scores(first, signature) - scores(second, signature)).max(axis=1), np.float64)
