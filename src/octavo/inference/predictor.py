"""Predictions from an artifact (ONNX Runtime) or a checkpoint (torch): session, tokenizer and task in one callable."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from octavo.encoding.batching import Counts, Encoded, Outputs, in_order, make_batches
from octavo.encoding.tokenizing import Asked, Options, settings
from octavo.engines import Session, run_batches
from octavo.errors import DataError, InputError, OctavoWarning
from octavo.schema.signature import Signature
from octavo.tasks import Task, find_task

WINDOW = 2048  # rows of a generator that are held at once: enough to sort by length, small enough for memory
UNKNOWN_SHARE = 0.1  # of all tokens; above it the tokenizer and the texts hardly belong together
_ENOUGH_TOKENS = 50


class Predictor:
    """Answers texts; may be called from several threads at once.

    `predictor("text")` gives a list with one prediction, a pair (a tuple, or a mapping with `text` and `text_pair`) one
    prediction, a list of these a list, any other iterable an iterator that holds `WINDOW` rows at a time: the shapes of
    Hugging Face's pipelines. Sentence embeddings come as sentence-transformers gives them: a text is an array
    [dimension], a list of texts an array [texts, dimension].
    """

    def __init__(self, session: Session, tokenizer_json: str, signature: Signature) -> None:
        """Join a session with the tokenizer and signature that belong to its model."""
        self.session = session
        self.signature = signature
        self.counts = Counts()
        self._task: Task = find_task(signature.task)
        self._tokenizer = self._task.make_tokenizer(tokenizer_json, signature)
        self._lock = threading.Lock()
        self._warned = False

    @property
    def model(self) -> Any:
        """The torch module behind it, an ordinary model of transformers.

        Raises:
            InputError: an ONNX model has none.
        """
        found = getattr(self.session, "model", None)
        if found is None:
            raise InputError("there is no torch module behind an ONNX model", then="octavo quantize --format torch")
        return found

    def __call__(self, inputs: Any, *, prompt: str | None = None, **options: Any) -> Any:
        """Predict; see the class for what comes back.

        `prompt` names one of a sentence embedder's prompts; `options` are the task's (its `OPTIONS`), such as the
        `aggregation_strategy` of tags.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            InputError: there is no such prompt or option.
        """
        if isinstance(inputs, str):
            found = list(self.stream([inputs], prompt=prompt, **options))
            return self._task.gather(found, self.signature, single=True)
        if isinstance(inputs, (tuple, Mapping)):
            return next(self.stream([inputs], prompt=prompt, **options))
        if isinstance(inputs, list):
            return self._task.gather(list(self.stream(inputs, prompt=prompt, **options)), self.signature)
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, prompt=prompt, **options)
        return self._task.parse_row(inputs)  # raises, with what is allowed

    def stream(self, rows: Iterable[Any], *, prompt: str | None = None, **options: Any) -> Iterator[Any]:
        """Predictions in the order of the rows."""
        return self._stream(rows, self.signature.prompt(prompt), settings(options, self._task.OPTIONS))

    def _stream(self, rows: Iterable[Any], prefix: str, options: Options) -> Iterator[Any]:
        source, position = iter(rows), 0
        while window := list(islice(source, WINDOW)):
            parsed = []
            for offset, row in enumerate(window):
                try:
                    text, pair = self._task.parse_row(row)
                    parsed.append((prefix + text, pair))
                except DataError as error:
                    raise DataError(f"row {position + offset}: {error}") from None
            encoded = self._task.encode(self._tokenizer, parsed, self.signature, options)
            self._count(len(parsed), encoded)
            asked = Asked(parsed, encoded, self._tokenizer, self.signature)
            found = self._task.read(self.run(encoded), asked)
            yield from self._task.decode(found, self.signature, options)
            position += len(window)

    def run(self, encoded: list[Encoded]) -> Outputs:
        """The model's outputs for encoded rows, run in length-sorted batches, in the order given."""
        batches = make_batches(encoded, self.signature)
        parts = run_batches(self.session, [batch.inputs for batch in batches])
        return in_order(parts, batches, self.signature)

    def _count(self, rows: int, encoded: list[Encoded]) -> None:
        with self._lock:
            self.counts.rows += rows
            self.counts.truncated += sum(row.truncated for row in encoded)
            self.counts.tokens += sum(len(row.ids) for row in encoded)
            self.counts.unknown += sum(row.unknown for row in encoded)
            share = self.counts.unknown / max(1, self.counts.tokens)
            warn = not self._warned and self.counts.tokens >= _ENOUGH_TOKENS and share > UNKNOWN_SHARE
            self._warned |= warn
        if warn:
            warnings.warn(unknown_warning(share), OctavoWarning, stacklevel=4)


def unknown_warning(share: float) -> str:
    """What to say about a high share of unknown tokens."""
    return (
        f"{share:.0%} of the tokens are unknown to the tokenizer: is it this model's, and are the texts in its "
        "language and normalized as it expects (lower-casing with strip_accents takes Hangul apart)?"
    )
