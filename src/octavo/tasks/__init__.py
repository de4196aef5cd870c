"""What a model is for: one file per task, one table. A task encodes rows, decodes outputs and scores predictions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.errors import InputError
from octavo.schema.comparison import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from octavo.data.examples import DataFile, Example
    from octavo.encoding.batching import Encoded, Outputs
    from octavo.schema.signature import Signature

    Judged = tuple[NDArray[Any], NDArray[Any]]

MODULES = {
    "text-classification": "octavo.tasks.text_classification",
    "feature-extraction": "octavo.tasks.feature_extraction",
    "token-classification": "octavo.tasks.token_classification",
    "question-answering": "octavo.tasks.question_answering",
    "multiple-choice": "octavo.tasks.multiple_choice",
    "fill-mask": "octavo.tasks.fill_mask",
    "text-generation": "octavo.tasks.text_generation",
    "text2text-generation": "octavo.tasks.text2text_generation",
}


class Task(Protocol):
    """What the module of a task offers.

    `SCORED`: whether its examples have a number and not a label; `KEYS`: what a row of JSON may have; `OPTIONS`: what
    a call may set, with its defaults. Where a function takes `outputs`, these are what `read` made of the session's.
    """

    SCORED: bool
    KEYS: tuple[str, ...]
    OPTIONS: Options

    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """The examples of a file, with their labels where the model's are given."""

    def from_texts(self, texts: Sequence[str]) -> list[Row]:
        """Rows made of any texts, to run a model on."""

    def rows(self, examples: Sequence[Example], signature: Signature) -> list[Row]:
        """What the model reads of each example; one example may be several rows."""

    def parse_row(self, row: Any) -> Row:
        """What a user gave for one row, as texts."""

    def make_tokenizer(self, tokenizer_json: str, signature: Signature) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""

    def encode(
        self, tokenizer: Tokenizer, rows: Sequence[Row], signature: Signature, options: Options = NO_OPTIONS
    ) -> list[Encoded]:
        """Rows of texts as token ids; one row may become several, which follow each other and name it."""

    def read(self, outputs: Outputs, asked: Asked) -> Any:
        """What the session's outputs say of each row that was asked, a sequence."""

    def decode(self, outputs: Any, signature: Signature, options: Options = NO_OPTIONS) -> Sequence[Any]:
        """The model's outputs as predictions."""

    def gather(self, predictions: list[Any], signature: Signature, *, single: bool = False) -> Any:
        """Predictions as one answer; `single`: to a text that was given alone."""

    def to_json(self, prediction: Any) -> dict[str, Any]:
        """A prediction as JSON takes it."""

    def quality(self, outputs: Any, examples: Sequence[Example]) -> dict[str, float]:
        """Scores of the outputs, the one to decide by first; none where the examples tell nothing."""

    def fidelity(self, reference: Any, outputs: Any, rows: Sequence[Row], signature: Signature) -> dict[str, float]:
        """How near outputs are to those of the baseline, labels unseen."""

    def judged(self, outputs: Any, examples: Sequence[Example]) -> Judged | None:
        """What the scores of `quality` compare, [examples, ...] each: what is right, and what the outputs say."""

    def judged_by_class(
        self, reference: Any, outputs: Any, examples: Sequence[Example], signature: Signature
    ) -> dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """The same by the class of what is right: what is right, what the baseline says, what the outputs say."""

    def gold(self, outputs: Any, examples: Sequence[Example], signature: Signature) -> list[str | float | None]:
        """What is right of each example, to be shown; None where nothing is known."""

    def answers(self, outputs: Any, examples: Sequence[Example], signature: Signature) -> list[Answer]:
        """What the outputs say of each example."""

    def movement(
        self, reference: Any, outputs: Any, examples: Sequence[Example], signature: Signature
    ) -> NDArray[np.float64]:
        """How far the two answers to each example lie apart, [examples], 0 where they are the same."""

    def distances(self, first: Any, second: Any, signature: Signature) -> NDArray[np.float64]:
        """How far each row's answer lies from that of another run, 0 where it is the same."""

    def batch_effect(self, alone: Outputs, among: Outputs, signature: Signature) -> float:
        """The largest change of an answer in the session's outputs of the same rows, run by themselves and in batches.

        [rows, k] or [answers, k] of each row.
        """


def find_task(name: str) -> Task:
    """The module of a task, imported on first use.

    Raises:
        InputError: the task is known to the Hub and not yet to Octavo.
    """
    if name not in MODULES:
        raise InputError("this task is not supported yet", got=name, allowed=", ".join(MODULES))
    module: Any = import_module(MODULES[name])
    return module  # type: ignore[no-any-return]
