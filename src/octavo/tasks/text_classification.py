"""text-classification: one text or a pair in, a label and its score out, as Hugging Face's pipeline returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.tokenizing import NO_OPTIONS, Options, Row
from octavo.errors import InputError
from octavo.metrics.scores import mean_kl, median_margin
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.label_order import better_assignment
from octavo.tasks.task import Task


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


def predicted_labels(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The label id of each row of logits [rows, labels]."""
    return np.asarray(outputs.argmax(axis=1), np.int64)


class TextClassification(Task[NDArray[np.float32]]):
    """A label for each text or pair, or several, or a number."""

    name = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    scores = ("accuracy", "macro_f1")
    labelled = True
    onnx_output = ("the output has no row of classes", "logits [batch, classes]", (2,))

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts or pairs with a label; see `data.read_examples`."""
        return file.read(labels)

    @override
    def decode(self, outputs: NDArray[np.float32], options: Options = NO_OPTIONS) -> list[dict[str, Any]]:
        """One `{"label", "score"}` per row of logits [rows, labels]."""
        values = scores(outputs, self.signature)
        best = values.argmax(axis=1)
        return [
            {"label": self.signature.labels[label], "score": float(row[label])}
            for row, label in zip(values, best, strict=True)
        ]

    @override
    def require_comparable(self) -> None:
        """See that the model chooses one of several labels.

        Raises:
            InputError: it has one output, or several labels at once.
        """
        problem = self.signature.problem_type
        several = problem == "multi_label_classification"
        if len(self.signature.labels) < 2 or several or problem == "regression":
            raise InputError(
                "compare scores models that choose one of several labels",
                got="several labels at once" if several else "a model with one output",
                then="compare such models by their own score",
            )

    @override
    def judged(
        self, outputs: NDArray[np.float32], examples: Sequence[Example]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The labels of the examples that have one, and the predicted ones of these; None where none has."""
        labelled = [index for index, example in enumerate(examples) if example.label is not None]
        gold = np.array([examples[index].label for index in labelled], np.int64)
        return (gold, predicted_labels(outputs)[labelled]) if labelled else None

    @override
    def fidelity(
        self, reference: NDArray[np.float32], outputs: NDArray[np.float32], rows: Sequence[Row]
    ) -> dict[str, float]:
        """How near the outputs are to the baseline's, labels unseen.

        `agreement`, the share of rows with the baseline's label; `kl`, the mean divergence (see `metrics.mean_kl`);
        `margin`, the median over the rows of the margin of the baseline's label over its next one, in logits, divided
        by the same margin of the baseline: below 1 where margins shrink.
        """
        same = predicted_labels(reference) == predicted_labels(outputs)
        found = {"agreement": float(np.mean(same)), "kl": mean_kl(reference, outputs)}
        if reference.shape[1] > 1:
            found["margin"] = median_margin(reference, outputs)
        return found

    @override
    def judged_by_class(
        self, reference: NDArray[np.float32], outputs: NDArray[np.float32], examples: Sequence[Example]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """The labels of the examples of each, and the predicted ones."""
        first, second = self.judged(reference, examples), self.judged(outputs, examples)
        if first is None or second is None:
            return {}
        masks = {name: first[0] == label for label, name in enumerate(self.signature.labels)}
        return {name: (first[0][inside], first[1][inside], second[1][inside]) for name, inside in masks.items()}

    @override
    def gold(self, outputs: NDArray[np.float32], examples: Sequence[Example]) -> list[str | float | None]:
        """The label of each example."""
        return [None if example.label is None else self.signature.labels[example.label] for example in examples]

    @override
    def answers(self, outputs: NDArray[np.float32], examples: Sequence[Example]) -> list[Answer]:
        """Each row's label and score."""
        return [Answer(**one) for one in self.decode(outputs)]

    @override
    def distances(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
        """The largest difference of a score in each row."""
        return np.asarray(
            np.abs(scores(first, self.signature) - scores(second, self.signature)).max(axis=1), np.float64
        )

    @override
    def doubt_labels(self, outputs: NDArray[np.float32], examples: Sequence[Example]) -> str | None:
        """A warning where the model's labels, in another order, would score far better; see `better_assignment`."""
        found = self.judged(outputs, examples)
        return None if found is None else better_assignment(found[1], found[0], self.signature.labels)
