"""What a model is for: one file per task, one table. A task encodes rows, decodes outputs and scores predictions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from octavo.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from octavo.batching import Encoded
    from octavo.data import Example
    from octavo.signature import Signature

MODULES = {"text-classification": "octavo.tasks.text_classification"}


class Task(Protocol):
    """What the module of a task offers."""

    def rows(self, examples: Sequence[Example]) -> list[tuple[str, str | None]]:
        """What the model reads of each example; one example may be several rows."""

    def parse_row(self, row: Any) -> tuple[str, str | None]:
        """What a user gave for one row, as texts."""

    def make_tokenizer(self, tokenizer_json: str, signature: Signature) -> Tokenizer:
        """A tokenizer that cuts at the signature's limit."""

    def encode(
        self, tokenizer: Tokenizer, rows: Sequence[tuple[str, str | None]], signature: Signature
    ) -> list[Encoded]:
        """Rows of texts as token ids."""

    def decode(self, outputs: NDArray[Any], signature: Signature) -> list[dict[str, Any]]:
        """The model's outputs as predictions."""


def find_task(name: str) -> Task:
    """The module of a task, imported on first use.

    Raises:
        InputError: the task is known to the Hub and not yet to Octavo.
    """
    if name not in MODULES:
        raise InputError("this task is not supported yet", got=name, allowed=", ".join(MODULES))
    module: Any = import_module(MODULES[name])
    return module  # type: ignore[no-any-return]
