"""text-classification: one text or a pair in, a label and its score out, as Hugging Face's pipeline returns them."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import FloatArray
from octavo.encoding.tokenizing import NO_OPTIONS, UNSAID, Options, Row, settings
from octavo.errors import InputError
from octavo.metrics.movement import Margins, classifier_margins
from octavo.metrics.scores import mean_kl, median_margin, softmax
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.label_order import better_assignment
from octavo.tasks.task import Judged, Task

FUNCTIONS = ("sigmoid", "softmax", "none")


def scores(logits: FloatArray, signature: Signature, function: str | None = None) -> NDArray[np.float64]:
    """Logits [rows, labels] as the scores that Hugging Face gives: unchanged for regression, sigmoid for one output or
    several labels at once, softmax otherwise; or by one of `FUNCTIONS`.

    In float64, where sigmoids become 1 above 36, and not above 17 as in float32.
    """  # noqa: D205 - one sentence
    problem, wide = signature.problem_type, np.asarray(logits, np.float64)
    if function is None:
        single = problem == "multi_label_classification" or wide.shape[1] == 1
        function = "none" if problem == "regression" else "sigmoid" if single else "softmax"
    if function != "sigmoid":
        return softmax(wide) if function == "softmax" else wide
    small = np.exp(-np.abs(wide))  # 1 / (1 + exp(-x)), written so that it neither overflows nor cancels
    return np.asarray(np.where(wide < 0, small, 1.0) / (1 + small), np.float64)


def predicted_labels(outputs: FloatArray) -> NDArray[np.int64]:
    """The label id of each row of logits [rows, labels]."""
    return np.asarray(outputs.argmax(axis=1), np.int64)


class TextClassification(Task[FloatArray]):
    """A label for each text or pair, or several, or a number."""

    name = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    scores = ("accuracy", "macro_f1")
    labelled = True
    onnx_output = ("the output has no row of classes", "logits [batch, classes]", (2,))
    options: ClassVar[Options] = {"function_to_apply": None, "top_k": UNSAID}

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts or pairs with a label; see `data.read_examples`."""
        return file.read(labels)

    @override
    def decode(self, outputs: FloatArray, options: Options = NO_OPTIONS) -> list[Any]:
        """One `{"label", "score"}` per row of logits [rows, labels]: the largest logit's, as scores may saturate.

        `function_to_apply` makes the score of the logits, in the place of what the config says; `none` leaves them.
        With `top_k` a list for each row: of so many labels, of all where it is None, the largest logit first.

        Raises:
            InputError: there is no such function, or `top_k` is no number above 0.
        """
        chosen = settings(options, self.options)
        function, count, labels = chosen["function_to_apply"], chosen["top_k"], self.signature.labels
        if function not in (None, *FUNCTIONS):
            raise InputError("unknown function_to_apply", got=function, allowed=", ".join(FUNCTIONS))
        found = scores(outputs, self.signature, function)
        if count is UNSAID:
            pairs = zip(predicted_labels(outputs).tolist(), found, strict=True)
            return [{"label": labels[best], "score": float(row[best])} for best, row in pairs]
        if count is not None and (type(count) is not int or count < 1):
            raise InputError("top_k is how many labels are told", got=count, allowed="1 or more, or None for all")
        orders = np.argsort(-outputs, axis=1, kind="stable")[:, :count].tolist()
        return [
            [{"label": labels[index], "score": float(row[index])} for index in order]
            for order, row in zip(orders, found, strict=True)
        ]

    @override
    def gather(self, predictions: list[Any], *, single: bool = False) -> Any:
        """A list of predictions; with `top_k`, of a text given alone, its list."""
        return predictions[0] if single and isinstance(predictions[0], list) else predictions

    @override
    def to_json(self, prediction: Any) -> dict[str, Any]:
        """The prediction; with `top_k` the first one, and all of them as its `scores`."""
        return prediction if isinstance(prediction, dict) else {**prediction[0], "scores": prediction}

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
    def judged(self, outputs: FloatArray, examples: Sequence[Example]) -> Judged | None:
        """The labels of the examples that have one, and the predicted ones of these; None where none has."""
        labelled = [index for index, example in enumerate(examples) if example.label is not None]
        gold = np.array([examples[index].label for index in labelled], np.int64)
        return (gold, predicted_labels(outputs)[labelled]) if labelled else None

    @override
    def margins(self, reference: FloatArray, outputs: FloatArray, examples: Sequence[Example]) -> Margins | None:
        """Of the rows that have a label."""
        known = np.array([example.label is not None for example in examples])
        gold = np.array([example.label for example in examples if example.label is not None], np.int64)
        return classifier_margins(reference[known], outputs[known], gold)

    @override
    def fidelity(self, reference: FloatArray, outputs: FloatArray, rows: Sequence[Row]) -> dict[str, float]:
        """How near the outputs are to the baseline's, labels unseen.

        `agreement`, the share of rows with the baseline's label; `kl`, the mean divergence (see `metrics.mean_kl`);
        `margin`, the median over the rows of the margin of the baseline's label over its next one, in logits, divided
        by the same margin of the baseline: below 1 where margins shrink.
        """
        same = predicted_labels(reference) == predicted_labels(outputs)
        scores = {"agreement": float(np.mean(same)), "kl": mean_kl(reference, outputs)}
        return scores | ({"margin": median_margin(reference, outputs)} if reference.shape[1] > 1 else {})

    @override
    def classes(self, gold: NDArray[Any], examples: Sequence[Example]) -> dict[str, NDArray[np.bool_]]:
        """The examples of each label."""
        return {name: gold == label for label, name in enumerate(self.signature.labels)}

    @override
    def gold(self, outputs: FloatArray, examples: Sequence[Example]) -> list[str | float | None]:
        """The label of each example."""
        return [None if example.label is None else self.signature.labels[example.label] for example in examples]

    @override
    def answers(self, outputs: FloatArray, examples: Sequence[Example]) -> list[Answer]:
        """Each row's label and score."""
        return [Answer(**prediction) for prediction in self.decode(outputs)]

    @override
    def distances(self, first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
        """The largest difference of a score in each row."""
        change = scores(first, self.signature) - scores(second, self.signature)
        return np.asarray(np.abs(change).max(axis=1), np.float64)

    @override
    def doubt_labels(self, outputs: FloatArray, examples: Sequence[Example]) -> str | None:
        """A warning where the model's labels, in another order, would score far better; see `better_assignment`."""
        judged = self.judged(outputs, examples)
        return None if judged is None else better_assignment(judged[1], judged[0], self.signature.labels)
