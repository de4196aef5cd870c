"""What most tasks do alike: each imports from here what it has nothing of its own to say about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.data.examples import Example
from octavo.encoding.batching import Outputs
from octavo.encoding.tokenizing import Row
from octavo.schema.signature import Signature
from octavo.tasks import find_task


def text_rows(examples: Sequence[Example], signature: Signature) -> list[Row]:  # noqa: ARG001 - the task's signature
    """One row for each text."""
    return [(example.text, None) for example in examples]


def pair_rows(examples: Sequence[Example], signature: Signature) -> list[Row]:  # noqa: ARG001 - the task's signature
    """Each text, or pair."""
    return [(example.text, example.text_pair) for example in examples]


def gather(predictions: list[Any], signature: Signature, *, single: bool = False) -> Any:  # noqa: ARG001
    """The list of predictions."""
    return predictions


def gather_lists(predictions: list[Any], signature: Signature, *, single: bool = False) -> Any:  # noqa: ARG001
    """A list for each text, or the one of a single text."""
    return predictions[0] if single else predictions


def to_json(prediction: dict[str, Any]) -> dict[str, Any]:
    """The prediction itself."""
    return prediction


def judged_by_class(
    reference: Any,  # noqa: ARG001 - the task's signature
    outputs: Any,  # noqa: ARG001
    examples: Sequence[Example],  # noqa: ARG001
    signature: Signature,  # noqa: ARG001
) -> dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """None: texts, scores and a whole vocabulary are no classes."""
    return {}


def movement(
    reference: Any,
    outputs: Any,
    examples: Sequence[Example],  # noqa: ARG001 - the task's signature
    signature: Signature,
) -> NDArray[np.float64]:
    """The distance of each row's answers."""
    return find_task(signature.task).distances(reference, outputs, signature)


def batch_effect(alone: Outputs, among: Outputs, signature: Signature) -> float:
    """The largest distance of an answer, where the session's outputs are what the task reads."""
    return float(find_task(signature.task).distances(alone, among, signature).max())
