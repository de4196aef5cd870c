"""text-generation: a text in, the same text continued out; texts measure it by their perplexity.

An example is a text. Texts of a file are read as one long text, line after line, and cut into windows of tokens; a
window's tokens are scored given those before them in it. The outputs are scores: log p of each token [rows, length],
`UNSCORED` where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from octavo.batching import Encoded
from octavo.data import Example
from octavo.signature import Signature
from octavo.tasks import Answer, Row, encoding
from octavo.tasks.encoding import make_tokenizer, parse_row

__all__ = ["make_tokenizer", "parse_row"]

SCORED = False
UNSCORED = 1.0  # no logarithm of a probability


def rows(examples: Sequence[Example], signature: Signature) -> list[Row]:  # noqa: ARG001 - the task's signature
    """One row for each text."""
    return [(example.text, None) for example in examples]


def encode(tokenizer: Tokenizer, rows: Sequence[Row], signature: Signature) -> list[Encoded]:
    """Token ids of each text, cut at the tokenizer's limit."""
    return encoding.encode(tokenizer, rows, signature)


def decode(outputs: NDArray[np.float32], signature: Signature) -> list[dict[str, Any]]:  # noqa: ARG001
    """The perplexity of each row."""
    return [{"perplexity": perplexity(row[None])} for row in outputs]


def gather(predictions: list[Any], signature: Signature, *, single: bool = False) -> list[Any]:  # noqa: ARG001
    """The list of predictions."""
    return predictions


def to_json(prediction: dict[str, Any]) -> dict[str, Any]:
    """The prediction itself."""
    return prediction


def perplexity(outputs: NDArray[np.float32]) -> float:
    """Exp of the mean negative log-probability of all scored tokens."""
    scored = outputs[outputs < UNSCORED]
    return float(np.exp(-scored.astype(np.float64).mean())) if scored.size else float("nan")


def quality(outputs: NDArray[np.float32], examples: Sequence[Example]) -> dict[str, float]:  # noqa: ARG001
    """The perplexity of all rows together."""
    return {"perplexity": perplexity(outputs)}


def judged(outputs: NDArray[np.float32], examples: Sequence[Example]) -> None:
    """Nothing: a text is its own label."""


def fidelity(
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    rows: Sequence[Row],  # noqa: ARG001
    signature: Signature,  # noqa: ARG001
) -> dict[str, float]:
    """The mean change of a token's log-probability, in nats, whatever its sign."""
    known = reference < UNSCORED
    return {"log_probability_change": float(np.abs(reference - outputs)[known].mean())}


def answers(
    outputs: NDArray[np.float32],
    examples: Sequence[Example],  # noqa: ARG001
    signature: Signature,  # noqa: ARG001
) -> list[Answer]:
    """The perplexity of each row."""
    return [Answer(None, perplexity(row[None])) for row in outputs]


def movement(
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    examples: Sequence[Example],  # noqa: ARG001
    signature: Signature,
) -> NDArray[np.float64]:
    """The mean change of a token's log-probability in each row."""
    return distances(reference, outputs, signature)


def distances(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    signature: Signature,  # noqa: ARG001
) -> NDArray[np.float64]:
    """The mean change of a token's log-probability in each row."""
    known = first < UNSCORED
    moved = np.where(known, np.abs(first - second), 0).sum(axis=1, dtype=np.float64)
    return np.asarray(moved / np.maximum(known.sum(axis=1), 1), np.float64)
