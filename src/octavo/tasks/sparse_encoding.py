"""sparse-encoding: a text in, weights of the words of the vocabulary out, nearly all of them 0 (SPLADE).

The weight of a word is log(1 + relu(x)) of the largest logit x that a masked-LM head gives it at any token of the text
(Formal et al. 2021, SPLADE v2); all of it is in the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import WIDE_BUDGET, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, settings
from octavo.errors import InputError
from octavo.metrics.scores import cosine, paired_similarity
from octavo.schema.comparison import Answer
from octavo.tasks.task import Judged, Task

TOP = 10  # terms of a text whose overlap is told


@dataclass(frozen=True)
class Terms:
    """The weights of texts, [texts, vocabulary], and the tokenizer that has their words."""

    weights: FloatArray
    tokenizer: Tokenizer

    def of(self, row: int, most: int | None = None) -> list[dict[str, Any]]:
        """The words of a text that weigh something, heaviest first."""
        weights = self.weights[row]
        order = np.argsort(-weights, kind="stable")[: int(np.count_nonzero(weights > 0))][:most]
        return [
            {"token": token, "token_str": self.tokenizer.id_to_token(token), "weight": float(weights[token])}
            for token in order.tolist()
        ]


def top_overlap(first: FloatArray, second: FloatArray) -> float:
    """The mean share of each text's `TOP` heaviest words that are among the other's as many; of texts that have some.

    [texts, vocabulary] each; 1 where no text has any.
    """
    shares = []
    for before, after in zip(first, second, strict=True):
        count = min(TOP, int(np.count_nonzero(before > 0)))
        if count:
            best = (
                set(np.argsort(-weights, kind="stable")[:count].tolist()) for weights in (before, np.maximum(after, 0))
            )
            shares.append(len(set.intersection(*best)) / count)
    return float(np.mean(shares)) if shares else 1.0


class SparseEncoding(Task[Terms]):
    """Weights of words for each text."""

    name = "sparse-encoding"
    auto_class = "AutoModelForMaskedLM"
    scores = ("spearman", "pearson")
    formats = ("onnx",)
    weighs = True
    of_tokens = True
    lists = True
    scored = True
    token_budget = WIDE_BUDGET
    one_text = "a sparse embedding is of one text"
    keys = ("text",)
    options: ClassVar[Options] = {"top_k": None}

    @override
    def adapt_model(self, model: Any) -> None:
        """Let the model answer [rows, vocabulary] of weights, as sentence-transformers' SpladePooling makes them.

        The largest logit is taken first: log(1 + relu(x)) grows with x, so that it is the same number.
        """
        forward, sparse = model.forward, self.signature.sparse
        assert sparse is not None

        def weights(input_ids: Any, attention_mask: Any, token_type_ids: Any = None, **more: Any) -> Any:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            answer = forward(input_ids=input_ids, attention_mask=attention_mask, **types, **more)
            logits = answer.logits * attention_mask[:, :, None].to(answer.logits.dtype)
            largest = logits.amax(dim=1).relu().log1p()
            return type(answer)(logits=largest.log1p() if sparse.activation == "log1p_relu" else largest)

        model.forward = weights

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts, or pairs with a score; see `data.read_examples`."""
        return file.read(labels, scored=True)

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each text is a row of its own: first texts of all examples, then second ones of those that have one."""
        prompt = self.signature.prompt()
        seconds = [example.text_pair for example in examples if example.text_pair is not None]
        return [(prompt + text, None) for text in [*(example.text for example in examples), *seconds]]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> Terms:
        """The weights."""
        return Terms(np.asarray(outputs, np.float32), asked.tokenizer)

    @override
    def decode(self, outputs: Terms, options: Options = NO_OPTIONS) -> list[list[dict[str, Any]]]:
        """Of each text a list of `{"token", "token_str", "weight"}`, heaviest first; `top_k` of them, None: all.

        Raises:
            InputError: `top_k` is below 1.
        """
        most = settings(options, self.options)["top_k"]
        if most is not None and (type(most) is not int or most < 1):
            raise InputError("top_k is 1 or more, or None", got=repr(most))
        return [outputs.of(row, most) for row in range(len(outputs.weights))]

    @override
    def to_json(self, prediction: list[dict[str, Any]]) -> dict[str, Any]:
        """`{"terms": [...]}`."""
        return {"terms": prediction}

    def _similarity(self, outputs: Terms, pairs: int) -> NDArray[np.float64]:
        assert self.signature.sparse is not None
        return paired_similarity(outputs.weights[:pairs], outputs.weights[pairs:], self.signature.sparse.similarity)

    @override
    def judged(self, outputs: Terms, examples: Sequence[Example]) -> Judged | None:
        """The scores of the pairs, and their similarities; None where one is no pair, has no score, or all are one."""
        if not all(example.text_pair is not None and example.score is not None for example in examples):
            return None
        gold = np.array([example.score for example in examples], np.float64)
        return (gold, self._similarity(outputs, len(examples))) if len(set(gold.tolist())) > 1 else None

    @override
    def fidelity(self, reference: Terms, outputs: Terms, rows: Sequence[Row]) -> dict[str, float]:
        """Cosine of each text's weights to the baseline's; `top_10`, see `top_overlap`."""
        near = 1 - _apart(reference.weights, outputs.weights)
        scores = {"cosine_mean": near.mean(), "cosine_p1": np.percentile(near, 1), "cosine_min": near.min()}
        scores["top_10"] = top_overlap(reference.weights, outputs.weights)
        return {name: float(score) for name, score in scores.items()}

    @override
    def gold(self, outputs: Terms, examples: Sequence[Example]) -> list[str | float | None]:
        """The score of each example."""
        return [example.score for example in examples]

    @override
    def answers(self, outputs: Terms, examples: Sequence[Example]) -> list[Answer]:
        """The similarity of each pair; of a text that stands alone its three heaviest words."""
        if any(example.text_pair is None for example in examples):
            words = [", ".join(str(word["token_str"]) for word in outputs.of(row, 3)) for row in range(len(examples))]
            return [Answer(text or "-", None) for text in words]
        return [Answer(None, value) for value in self._similarity(outputs, len(examples)).tolist()]

    @override
    def movement(self, reference: Terms, outputs: Terms, examples: Sequence[Example]) -> NDArray[np.float64]:
        """1 - cosine of the two answers to each example; of a pair the larger of its texts'."""
        apart, count = self.distances(reference, outputs), len(examples)
        pairs = len(apart) == 2 * count
        return np.maximum(apart[:count], apart[count:]) if pairs else apart[:count]

    @override
    def distances(self, first: Terms, second: Terms) -> NDArray[np.float64]:
        """1 - cosine of each row; 0 where both weigh nothing."""
        return _apart(first.weights, second.weights)

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest 1 - cosine of a text."""
        return float(_apart(np.asarray(alone), np.asarray(among)).max())


def _apart(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    empty = ~first.any(axis=1) & ~second.any(axis=1)
    return np.where(empty, 0.0, 1 - cosine(first, second))
