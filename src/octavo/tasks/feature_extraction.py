"""feature-extraction: a text in, its sentence embedding out; pairs with a score measure it (STS)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import FloatArray
from octavo.encoding.tokenizing import NO_OPTIONS, Options, Row
from octavo.metrics.scores import cosine, neighbour_recall, paired_similarity
from octavo.schema.comparison import Answer
from octavo.tasks.ranking import Retrieval
from octavo.tasks.task import Judged, Task

NEIGHBOURS = 10
MOST_TEXTS = 2000  # whose neighbours are looked for: all pairs of them are compared
POOLED = {"squeezebert", "layoutlm"}


def without_pooler(model: Any) -> None:
    """Take off BERT's pooler: what it makes of [CLS] is no part of the answer, and many checkpoints have none.

    SqueezeBERT and LayoutLM do not run without.
    """
    if getattr(model, "pooler", None) is not None and model.config.model_type not in POOLED:
        model.pooler = None


class FeatureExtraction(Task[FloatArray]):
    """A vector for each text."""

    name = "feature-extraction"
    auto_class = "AutoModel"
    scores = ("spearman", "pearson")
    output_names = ("last_hidden_state",)
    pools = True
    unread_weights = ("pooler.",)
    one_text = "an embedding is of one text"
    onnx_output = (
        "the output is neither tokens' vectors nor texts'",
        "[batch, length, width] or [batch, dimension]",
        (2, 3),
    )
    scored = True
    keys = ("text",)

    @override
    def adapt_model(self, model: Any) -> None:
        """See `without_pooler`."""
        without_pooler(model)

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts, or pairs with a score; see `data.read_examples`."""
        return file.read(labels, scored=True)

    @override
    def ranking(self) -> Task[Any]:
        """The passages that a query finds."""
        return Retrieval(self.signature)

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each text is a row of its own: first texts of all examples, then second ones of those that have one."""
        prompt = self.signature.prompt()
        seconds = [example.text_pair for example in examples if example.text_pair is not None]
        return [(prompt + text, None) for text in [*(example.text for example in examples), *seconds]]

    @override
    def decode(self, outputs: FloatArray, options: Options = NO_OPTIONS) -> list[FloatArray]:
        """The vectors, one by one."""
        return list(outputs)

    @override
    def gather(self, predictions: list[FloatArray], *, single: bool = False) -> FloatArray:
        """An array [texts, dimension], or [dimension] for a single text."""
        assert self.signature.pooling is not None
        if single:
            return predictions[0]
        return np.stack(predictions) if predictions else np.empty((0, self.signature.pooling.dimension), np.float32)

    @override
    def to_json(self, prediction: FloatArray) -> dict[str, Any]:
        """`{"embedding": [...]}`, with the nine digits that a float32 has."""
        return {"embedding": [float(f"{value:.9g}") for value in prediction.tolist()]}

    def _similarity(self, outputs: FloatArray, pairs: int) -> NDArray[np.float64]:
        """Of each pair, by the model's own: outputs are those of all first texts, then of all second ones."""
        assert self.signature.pooling is not None
        return paired_similarity(outputs[:pairs], outputs[pairs:], self.signature.pooling.similarity)

    @override
    def judged(self, outputs: FloatArray, examples: Sequence[Example]) -> Judged | None:
        """The scores of the pairs, and their similarities; None where one is none, has no score, or all are one."""
        if not all(example.text_pair is not None and example.score is not None for example in examples):
            return None
        gold = np.array([example.score for example in examples], np.float64)
        return (gold, self._similarity(outputs, len(examples))) if len(set(gold.tolist())) > 1 else None

    @override
    def fidelity(self, reference: FloatArray, outputs: FloatArray, rows: Sequence[Row]) -> dict[str, float]:
        """Cosine of each text's vector to the baseline's, and how many of its nearest neighbours it keeps.

        No cosine of vectors of two widths.
        """
        scores = {}
        if reference.shape[1] == outputs.shape[1]:
            near = cosine(reference, outputs)
            scores = {"cosine_mean": near.mean(), "cosine_p1": np.percentile(near, 1), "cosine_min": near.min()}
        distinct = list({row: index for index, row in reversed(list(enumerate(rows)))}.values())[::-1][:MOST_TEXTS]
        if len(distinct) > NEIGHBOURS:
            scores["recall_at_10"] = neighbour_recall(reference[distinct], outputs[distinct], NEIGHBOURS)
        return {name: float(score) for name, score in scores.items()}

    @override
    def gold(self, outputs: FloatArray, examples: Sequence[Example]) -> list[str | float | None]:
        """The score of each example."""
        return [example.score for example in examples]

    @override
    def answers(self, outputs: FloatArray, examples: Sequence[Example]) -> list[Answer]:
        """The similarity of each pair; nothing of texts that stand alone."""
        if any(example.text_pair is None for example in examples):
            return [Answer(None, None) for _ in examples]
        return [Answer(None, value) for value in self._similarity(outputs, len(examples)).tolist()]

    @override
    def movement(self, reference: FloatArray, outputs: FloatArray, examples: Sequence[Example]) -> NDArray[np.float64]:
        """How far the similarity of each pair moved; where a text stands alone, 1 - cosine of its two vectors.

        0 of single texts with vectors of two widths: nothing is known of them.
        """
        single = any(example.text_pair is None for example in examples)
        if single and reference.shape[1] != outputs.shape[1]:
            return np.zeros(len(examples))
        if single:
            return self.distances(reference, outputs)[: len(examples)]
        return np.abs(self._similarity(reference, len(examples)) - self._similarity(outputs, len(examples)))

    @override
    def distances(self, first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
        """1 - cosine of each row."""
        return 1 - cosine(first, second)
