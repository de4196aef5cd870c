"""text-classification: one text or a pair in, a label and its score out, as Hugging Face's pipeline returns them."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import FloatArray
from octavo.encoding.tokenizing import NO_OPTIONS, UNSAID, Options, Row, settings
from octavo.errors import InputError
from octavo.metrics.movement import Margins, classifier_margins, furthest_margins
from octavo.metrics.scores import SCORES, kendall_tau, kl_rows, mean_kl, median_margin
from octavo.schema.comparison import Answer
from octavo.tasks.label_order import better_assignment
from octavo.tasks.logits import scores
from octavo.tasks.ranking import Reranking
from octavo.tasks.task import Judged, JudgedByClass, Task

FUNCTIONS = ("sigmoid", "softmax", "none")
MOST_ORDERED = 2000  # rows whose order is looked at: all pairs of them are compared
SCORED_BY = {  # the one to decide by first
    "one": ("accuracy", "macro_f1"),
    "several": ("micro_f1", "macro_f1", "subset_accuracy"),
    "binary": ("binary_accuracy", "auc"),
    "numbers": ("pearson", "spearman", "mae"),
}


def predicted_labels(outputs: FloatArray) -> NDArray[np.int64]:
    """The label id of each row of logits [rows, labels]."""
    return np.asarray(outputs.argmax(axis=1), np.int64)


def _is_binary(gold: NDArray[Any]) -> bool:
    return bool(np.isin(gold, (0, 1)).all())


def _against_none(logits: FloatArray) -> FloatArray:
    """Each label's logit beside 0, that of not having it: [rows, labels] -> [rows, labels, 2]."""
    return np.stack([np.zeros_like(logits), logits], axis=-1)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "-"


class TextClassification(Task[FloatArray]):
    """A label for each text or pair, or several, or a number."""

    name = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    scores = SCORED_BY["one"]
    labelled = True
    onnx_output = ("the output has no row of classes", "logits [batch, classes]", (2,))
    options: ClassVar[Options] = {"function_to_apply": None, "top_k": UNSAID}

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts or pairs with a label, labels, or a number; see `data.read_examples`."""
        scored = bool(labels) and self.kind in {"binary", "numbers"}
        return file.read(() if scored else labels, scored=scored, several=self.kind == "several")

    @override
    def ranking(self) -> Task[Any] | None:
        """The order of passages, by a single output."""
        return Reranking(self.signature) if len(self.signature.labels) == 1 else None

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
        scored = scores(outputs, self.signature, function)
        if count is UNSAID:
            pairs = zip(predicted_labels(outputs).tolist(), scored, strict=True)
            return [{"label": labels[best], "score": float(row[best])} for best, row in pairs]
        if count is not None and (type(count) is not int or count < 1):
            raise InputError("top_k is how many labels are told", got=count, allowed="1 or more, or None for all")
        orders = np.argsort(-outputs, axis=1, kind="stable")[:, :count].tolist()
        return [
            [{"label": labels[index], "score": float(row[index])} for index in order]
            for order, row in zip(orders, scored, strict=True)
        ]

    @override
    def gather(self, predictions: list[Any], *, single: bool = False) -> Any:
        """A list of predictions; with `top_k`, of a text given alone, its list."""
        return predictions[0] if single and isinstance(predictions[0], list) else predictions

    @override
    def to_json(self, prediction: Any) -> dict[str, Any]:
        """The prediction; with `top_k` the first one, and all of them as its `scores`."""
        return prediction if isinstance(prediction, dict) else {**prediction[0], "scores": prediction}

    @property
    def kind(self) -> Literal["one", "several", "binary", "numbers"]:
        """What a row is answered with: one of several labels, any of several, whether it has one, or a number each."""
        problem, several = self.signature.problem_type, len(self.signature.labels) > 1
        if problem == "regression":
            return "numbers"
        if problem == "multi_label_classification" and several:
            return "several"
        return "one" if several else "binary"

    @property
    @override
    def takes_labels(self) -> bool:
        """Whether a text has one label of several."""
        return len(self.signature.labels) > 1 and self.kind == "one"

    @override
    def require_comparable(self, baseline: Task[Any]) -> None:
        """See that the model answers with labels, or with one number, and as the baseline does.

        Raises:
            InputError: it does not.
        """
        assert isinstance(baseline, TextClassification)
        if self.kind == "numbers" and len(self.signature.labels) > 1:
            got = f"regression with {len(self.signature.labels)} outputs"
            raise InputError("compare scores one number a row", got=got, then="compare such models by their own score")
        if self.kind != baseline.kind:
            got, allowed = f"problem_type {self.signature.problem_type}", f"{baseline.signature.problem_type}"
            raise InputError("the models do not answer alike", got=got, allowed=allowed)

    @override
    def quality(self, outputs: FloatArray, examples: Sequence[Example]) -> dict[str, float]:
        """The scores of what the model answers with; of one logit, those of what is known of the rows."""
        judged = self.judged(outputs, examples)
        return {} if judged is None else {name: SCORES[name](*judged) for name in self._score_names(judged[0])}

    def _score_names(self, gold: NDArray[Any]) -> tuple[str, ...]:
        name = "numbers" if self.kind == "binary" and not _is_binary(gold) else self.kind
        return SCORED_BY[name]

    @override
    def judged(self, outputs: FloatArray, examples: Sequence[Example]) -> Judged | None:
        """What is known of the examples, and what is said of these; None where nothing is.

        One label: ids, [known]. Several: 0 or 1, [known, labels]. A number: it and the score, [known] each; the logit
        in the place of the score where all numbers are 0 and 1, and the model says which.
        """
        if self.kind in {"binary", "numbers"}:
            known = [index for index, example in enumerate(examples) if example.score is not None]
            numbers = np.array([examples[index].score for index in known], np.float64)
            logits = np.asarray(outputs[known, 0], np.float64)
            is_logit = self.kind == "binary" and _is_binary(numbers)
            said = logits if is_logit else scores(outputs[known], self.signature)[:, 0]
            return (numbers, said) if known and (is_logit or len(set(numbers.tolist())) > 1) else None
        if self.kind == "several":
            known = [index for index, example in enumerate(examples) if example.labels is not None]
            sets = np.zeros((len(known), outputs.shape[1]), np.int64)
            for row, index in enumerate(known):
                sets[row, list(examples[index].labels or ())] = 1
            return (sets, (outputs[known] > 0).astype(np.int64)) if known else None
        labelled = [index for index, example in enumerate(examples) if example.label is not None]
        gold = np.array([examples[index].label for index in labelled], np.int64)
        return (gold, predicted_labels(outputs)[labelled]) if labelled else None

    @override
    def margins(self, reference: FloatArray, outputs: FloatArray, examples: Sequence[Example]) -> Margins | None:
        """Of the rows whose labels are known: a label of its own stands against none, whose logit is 0."""
        if self.kind == "numbers":
            return None
        if self.kind == "several":
            known = np.array([example.labels is not None for example in examples])
            return furthest_margins(list(_against_none(reference[known])), list(_against_none(outputs[known])))
        if self.kind == "binary":
            scored = [example.score for example in examples]
            known, gold = np.array([score is not None for score in scored]), np.array([score or 0 for score in scored])
            if not _is_binary(gold[known]):
                return None
            before, after = (_against_none(logits[known])[:, 0] for logits in (reference, outputs))
            return classifier_margins(before, after, (gold[known] > 0).astype(np.int64))
        known = np.array([example.label is not None for example in examples])
        gold = np.array([example.label for example in examples if example.label is not None], np.int64)
        return classifier_margins(reference[known], outputs[known], gold)

    @override
    def orders(self, reference: FloatArray, outputs: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The one output of each row."""
        return np.asarray(reference[:, 0], np.float64), np.asarray(outputs[:, 0], np.float64)

    @override
    def fidelity(self, reference: FloatArray, outputs: FloatArray, rows: Sequence[Row]) -> dict[str, float]:
        """How near the outputs are to the baseline's, labels unseen.

        `agreement`, the share of rows with the baseline's label, or labels; `kl`, the mean divergence (see
        `metrics.mean_kl`), of several labels the sum of theirs; `margin`, the median over the rows of the margin of the
        baseline's label over its next one, in logits, divided by the same margin of the baseline: below 1 where margins
        shrink. Of numbers `tau`, Kendall's correlation with the baseline's, and `moved`, the mean movement in standard
        deviations of the baseline's.
        """
        if self.kind == "numbers":
            before, after = self.orders(reference, outputs)
            moved = float(np.mean(np.abs(after - before)) / (before.std() or 1.0))
            return {"tau": kendall_tau(before[:MOST_ORDERED], after[:MOST_ORDERED]), "moved": moved}
        if self.kind == "one":
            same = predicted_labels(reference) == predicted_labels(outputs)
            near = {"agreement": float(np.mean(same)), "kl": mean_kl(reference, outputs)}
            return near | {"margin": median_margin(reference, outputs)}
        same = ((reference > 0) == (outputs > 0)).all(axis=1)
        pairs = zip(_against_none(reference), _against_none(outputs), strict=True)
        return {"agreement": float(np.mean(same)), "kl": float(np.mean([kl_rows(*pair).sum() for pair in pairs]))}

    @override
    def judged_by_class(self, reference: FloatArray, outputs: FloatArray, examples: Sequence[Example]) -> JudgedByClass:
        """The same by label: of several at once each label alone, over all rows."""
        if self.kind != "several":
            return super().judged_by_class(reference, outputs, examples)
        before, after = self.judged(reference, examples), self.judged(outputs, examples)
        if before is None or after is None:
            return {}
        parts = (before[0], before[1], after[1])
        named = [(i, name) for i, name in enumerate(self.signature.labels) if before[0][:, i].any()]
        return {name: (parts[0][:, [i]], parts[1][:, [i]], parts[2][:, [i]]) for i, name in named}

    @override
    def classes(self, gold: NDArray[Any], examples: Sequence[Example]) -> dict[str, NDArray[np.bool_]]:
        """The examples of each label; of a model with one output those of 0 and of 1."""
        if self.kind == "binary" and _is_binary(gold):
            return {"0": gold == 0, "1": gold == 1}
        return {name: gold == label for label, name in enumerate(self.signature.labels)} if self.kind == "one" else {}

    @override
    def gold(self, outputs: FloatArray, examples: Sequence[Example]) -> list[str | float | None]:
        """The label, the labels, or the number of each example."""
        names = self.signature.labels
        if self.kind == "several":
            return [
                None if example.labels is None else _listed([names[index] for index in example.labels])
                for example in examples
            ]
        if self.kind != "one":
            return [example.score for example in examples]
        return [None if example.label is None else names[example.label] for example in examples]

    @override
    def answers(self, outputs: FloatArray, examples: Sequence[Example]) -> list[Answer]:
        """Each row's label and score, its labels, or its number."""
        if self.kind == "one":
            return [Answer(**prediction) for prediction in self.decode(outputs)]
        if self.kind == "several":
            names = np.array(self.signature.labels, object)
            return [Answer(_listed(names[row > 0].tolist()), None) for row in outputs]
        values = scores(outputs, self.signature)[:, 0].tolist()
        if self.kind == "numbers":
            return [Answer(None, score) for score in values]
        return [Answer(str(int(logit > 0)), score) for logit, score in zip(outputs[:, 0], values, strict=True)]

    @override
    def distances(self, first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
        """The largest difference of a score in each row."""
        change = scores(first, self.signature) - scores(second, self.signature)
        return np.asarray(np.abs(change).max(axis=1), np.float64)

    @override
    def doubt_labels(self, outputs: FloatArray, examples: Sequence[Example]) -> str | None:
        """A warning where the model's labels, in another order, would score far better; see `better_assignment`."""
        judged = self.judged(outputs, examples) if self.kind == "one" else None
        return None if judged is None else better_assignment(judged[1], judged[0], self.signature.labels)
