"""What a model is for: one file per task, one table. A task encodes rows, decodes outputs and scores predictions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from octavo.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from octavo.batching import Encoded
    from octavo.data import Example
    from octavo.signature import Signature

MODULES = {
    "text-classification": "octavo.tasks.text_classification",
    "feature-extraction": "octavo.tasks.feature_extraction",
    "text-generation": "octavo.tasks.text_generation",
    "text2text-generation": "octavo.tasks.text2text_generation",
}
Row = tuple[str, str | None]


@dataclass(frozen=True)
class Answer:
    """What a model says of an example: a label and its score, or a number that has no name (a cosine), or neither."""

    label: str | None
    score: float | None


class Task(Protocol):
    """What the module of a task offers; `SCORED`: whether its examples have a number and not a label."""

    SCORED: bool

    def rows(self, examples: Sequence[Example], signature: Signature) -> list[Row]:
        """What the model reads of each example; one example may be several rows."""

    def parse_row(self, row: Any) -> Row:
        """What a user gave for one row, as texts."""

    def make_tokenizer(self, tokenizer_json: str, signature: Signature) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""

    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], signature: Signature) -> list[Encoded]:
        """Rows of texts as token ids."""

    def decode(self, outputs: NDArray[Any], signature: Signature) -> Sequence[Any]:
        """The model's outputs as predictions."""

    def gather(self, predictions: list[Any], signature: Signature, *, single: bool = False) -> Any:
        """Predictions as one answer; `single`: to a text that was given alone."""

    def to_json(self, prediction: Any) -> dict[str, Any]:
        """A prediction as JSON takes it."""

    def quality(self, outputs: NDArray[Any], examples: Sequence[Example]) -> dict[str, float]:
        """Scores of the outputs [rows, ...], the one to decide by first; none where the examples tell nothing."""

    def fidelity(
        self, reference: NDArray[Any], outputs: NDArray[Any], rows: Sequence[Row], signature: Signature
    ) -> dict[str, float]:
        """How near outputs are to those of the baseline, labels unseen."""

    def judged(self, outputs: NDArray[Any], examples: Sequence[Example]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """What the scores of `quality` compare, [examples] each: what is right, and what the outputs say."""

    def answers(self, outputs: NDArray[Any], examples: Sequence[Example], signature: Signature) -> list[Answer]:
        """What the outputs say of each example."""

    def movement(
        self, reference: NDArray[Any], outputs: NDArray[Any], examples: Sequence[Example], signature: Signature
    ) -> NDArray[np.float64]:
        """How far the two answers to each example lie apart, [examples], 0 where they are the same."""

    def distances(self, first: NDArray[Any], second: NDArray[Any], signature: Signature) -> NDArray[np.float64]:
        """How far each row's answer lies from that of another run, 0 where it is the same."""


def find_task(name: str) -> Task:
    """The module of a task, imported on first use.

    Raises:
        InputError: the task is known to the Hub and not yet to Octavo.
    """
    if name not in MODULES:
        raise InputError("this task is not supported yet", got=name, allowed=", ".join(MODULES))
    module: Any = import_module(MODULES[name])
    return module  # type: ignore[no-any-return]
