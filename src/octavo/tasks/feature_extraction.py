"""feature-extraction: a text in, its sentence embedding out; pairs with a score measure it (STS)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import DataFile, Example
from octavo.encoding import tokenizing as encoding
from octavo.encoding.tokenizing import NO_OPTIONS, Options, Row
from octavo.errors import DataError
from octavo.metrics.scores import cosine, neighbour_recall, pearson, spearman
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature

__all__ = ["batch_effect", "encode", "from_texts", "judged_by_class", "make_tokenizer", "read"]
SCORED = True
KEYS = ("text",)
OPTIONS = NO_OPTIONS
NEIGHBOURS = 10
MOST_TEXTS = 2000  # whose neighbours are looked for: all pairs of them are compared


def read_examples(file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
    """Texts, or pairs with a score; see `data.read_examples`."""
    return file.read(labels, scored=True)


def rows(examples: Sequence[Example], signature: Signature) -> list[Row]:
    """Each text is a row of its own: the first texts of all examples, then the second ones of those that have one."""
    prompt = signature.prompt()
    seconds = [example.text_pair for example in examples if example.text_pair is not None]
    return [(prompt + text, None) for text in [*(example.text for example in examples), *seconds]]


def parse_row(row: Any) -> Row:
    """A text, alone or in a mapping with `text`.

    Raises:
        DataError: it is not, or is a pair.
    """
    text, pair = encoding.parse_row(row)
    if pair is not None:
        raise DataError("an embedding is of one text, and this is a pair", got=f"{row!r:.80}")
    return text, None


def decode(
    outputs: NDArray[np.float32],
    signature: Signature,  # noqa: ARG001 - the task's signature
    options: Options = NO_OPTIONS,  # noqa: ARG001
) -> list[NDArray[np.float32]]:
    """The vectors, one by one."""
    return list(outputs)


def gather(
    predictions: list[NDArray[np.float32]], signature: Signature, *, single: bool = False
) -> NDArray[np.float32]:
    """An array [texts, dimension], or [dimension] for a single text."""
    assert signature.pooling is not None
    if single:
        return predictions[0]
    return np.stack(predictions) if predictions else np.empty((0, signature.pooling.dimension), np.float32)


def to_json(prediction: NDArray[np.float32]) -> dict[str, Any]:
    """`{"embedding": [...]}`, with the nine digits that a float32 has."""
    return {"embedding": [float(f"{value:.9g}") for value in prediction.tolist()]}


def quality(outputs: NDArray[np.float32], examples: Sequence[Example]) -> dict[str, float]:
    """Spearman's and Pearson's correlation of the pairs' cosine with their scores, over one file: scales differ."""
    found = judged(outputs, examples)
    return {} if found is None else {"spearman": spearman(*found), "pearson": pearson(*found)}


def judged(
    outputs: NDArray[np.float32], examples: Sequence[Example]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The scores of the pairs, and the cosines; None where an example is no pair, has no score, or all are the same."""
    if not all(example.text_pair is not None and example.score is not None for example in examples):
        return None
    gold = np.array([example.score for example in examples], np.float64)
    if len(set(gold.tolist())) < 2:
        return None
    return gold, _similarity(outputs, len(examples))


def fidelity(
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    rows: Sequence[Row],
    signature: Signature,  # noqa: ARG001
) -> dict[str, float]:
    """Cosine of each text's vector to the baseline's, and how many of its nearest neighbours it keeps."""
    near = cosine(reference, outputs)
    found = {
        "cosine_mean": float(near.mean()),
        "cosine_p1": float(np.percentile(near, 1)),
        "cosine_min": float(near.min()),
    }
    distinct = list({row: index for index, row in reversed(list(enumerate(rows)))}.values())[::-1][:MOST_TEXTS]
    if len(distinct) > NEIGHBOURS:
        found["recall_at_10"] = neighbour_recall(reference[distinct], outputs[distinct], NEIGHBOURS)
    return found


def gold(
    outputs: NDArray[np.float32],  # noqa: ARG001 - the task's signature
    examples: Sequence[Example],
    signature: Signature,  # noqa: ARG001
) -> list[str | float | None]:
    """The score of each example."""
    return [example.score for example in examples]


def answers(
    outputs: NDArray[np.float32],
    examples: Sequence[Example],
    signature: Signature,  # noqa: ARG001
) -> list[Answer]:
    """The cosine of each pair; nothing of texts that stand alone."""
    if any(example.text_pair is None for example in examples):
        return [Answer(None, None) for _ in examples]
    return [Answer(None, value) for value in _similarity(outputs, len(examples)).tolist()]


def movement(
    reference: NDArray[np.float32], outputs: NDArray[np.float32], examples: Sequence[Example], signature: Signature
) -> NDArray[np.float64]:
    """How far the cosine of each pair moved; where a text stands alone, 1 - cosine of its two vectors."""
    if any(example.text_pair is None for example in examples):
        return distances(reference, outputs, signature)[: len(examples)]
    return np.abs(_similarity(reference, len(examples)) - _similarity(outputs, len(examples)))


def _similarity(outputs: NDArray[np.float32], pairs: int) -> NDArray[np.float64]:
    """Of each pair: outputs are those of all first texts, then of all second ones."""
    return cosine(outputs[:pairs], outputs[pairs:])


def distances(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    signature: Signature,  # noqa: ARG001
) -> NDArray[np.float64]:
    """1 - cosine of each row."""
    return 1 - cosine(first, second)
