"""Predictions from an artifact (ONNX Runtime) or a checkpoint (torch): session, tokenizer and task in one callable."""

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from octavo.artifact.agreement import require_labels
from octavo.encoding.batching import Counts, Encoded, Outputs, in_order, make_batches
from octavo.encoding.tokenizing import Asked, Options, Row, settings
from octavo.engines import Session, run_batches
from octavo.errors import DataError, InputError, OctavoWarning
from octavo.inference.answers import require_finite
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.task import Task

ROWS_AT_ONCE = 2048  # of an iterator in memory: enough to sort by length
UNKNOWN_SHARE = 0.1  # of all tokens; above it the tokenizer is probably not for these texts
_ENOUGH_TOKENS = 50


class Predictor:
    """Answers texts; may be called from several threads at once.

    `predictor("text")` gives a list with one prediction, a pair (a tuple, or a mapping with `text` and `text_pair`) one
    prediction, a list of these a list, any other iterable an iterator that holds `ROWS_AT_ONCE` rows at a time: the
    shapes of Hugging Face's pipelines. Sentence embeddings come as sentence-transformers gives them: a text is an array
    [dimension], a list of texts an array [texts, dimension].

    `session` runs the model, `task` says what its rows and answers are, `tokenizer` cuts at the limit of `signature`;
    `counts` are the rows and tokens that were read.
    """

    def __init__(self, session: Session, tokenizer_json: str, signature: Signature) -> None:
        """Join a session with the tokenizer and signature that belong to its model."""
        self.session, self.signature, self.counts = session, signature, Counts()
        self.task: Task[Any] = find_task(signature)
        self._tokenizer = self.task.make_tokenizer(tokenizer_json)
        self.verified: bool | None = None  # whether its files' hashes were checked; a checkpoint has none to check
        self._lock = threading.Lock()
        self._warned = False

    @property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` that cuts at the limit of `signature`."""
        return self._tokenizer

    @property
    def model(self) -> Any:
        """The torch module behind it, an ordinary model of transformers.

        Raises:
            InputError: an ONNX model has none.
        """
        module = getattr(self.session, "model", None)
        if module is None:
            raise InputError("there is no torch module behind an ONNX model", then="octavo quantize --format torch")
        return module

    def __repr__(self) -> str:
        where = f"{self.session.name}, {self.session.threads} threads"
        return f"<Predictor of {self.signature.task} on {where}, verified={self.verified}>"

    def __call__(self, inputs: Any, *, prompt: str | None = None, **options: Any) -> Any:
        """Predict; see the class for what comes back.

        `prompt` names one of a sentence embedder's prompts; `options` are the task's (its `options`), such as the
        `aggregation_strategy` of tags.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            InputError: there is no such prompt or option.
            OctavoError: an answer is not finite; the message names its row.
        """
        if isinstance(inputs, str):
            return self.task.gather(list(self.stream([inputs], prompt=prompt, **options)), single=True)
        if isinstance(inputs, (tuple, Mapping)):
            return next(self.stream([inputs], prompt=prompt, **options))
        if isinstance(inputs, list):
            return self.task.gather(list(self.stream(inputs, prompt=prompt, **options)))
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, prompt=prompt, **options)
        return self.task.parse_row(inputs)  # raises, with what is allowed

    def stream(self, rows: Iterable[Any], *, prompt: str | None = None, **options: Any) -> Iterator[Any]:
        """Predictions in the order of the rows."""
        return self._stream(rows, self.signature.prompt(prompt), settings(options, self.task.options))

    def logits(self, rows: Iterable[Any]) -> Outputs:
        """The model's raw outputs for rows as a call takes them: in their order, float32.

        [rows, labels] of logits, or [rows, dimension] of vectors; of models that answer each token, or each mask, an
        array [answers, k] for each row. A row that is read as several, such as windows, has several.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            OctavoError: an answer is not finite; likewise.
        """
        parsed = self._parse(list(rows))
        encoded = self.task.encode(self.tokenizer, parsed)
        outputs = self.run(encoded)
        require_finite(outputs, encoded, parsed)
        return outputs

    def _stream(self, rows: Iterable[Any], prefix: str, options: Options) -> Iterator[Any]:
        source, position = iter(rows), 0
        while window := list(islice(source, ROWS_AT_ONCE)):
            parsed = [(prefix + text, pair) for text, pair in self._parse(window, position)]
            encoded = self.task.encode(self.tokenizer, parsed, options)
            self._count(len(parsed), encoded)
            outputs = self.run(encoded)
            require_finite(outputs, encoded, parsed, position)
            answers = self.task.read(outputs, Asked(parsed, encoded, self.tokenizer))
            yield from self.task.decode(answers, options)
            position += len(window)

    def _parse(self, rows: list[Any], position: int = 0) -> list[Row]:
        parsed = []
        for offset, row in enumerate(rows):
            try:
                parsed.append(self.task.parse_row(row))
            except DataError as error:
                raise DataError(f"row {position + offset}: {error}") from None
        return parsed

    def run(self, encoded: list[Encoded]) -> Outputs:
        """The model's outputs for encoded rows, run in length-sorted batches, in the order given.

        Raises:
            ArtifactError: the model has another number of outputs than its signature has labels.
        """
        batches = make_batches(encoded, self.signature, self.task.token_budget)
        parts = run_batches(self.session, [batch.inputs for batch in batches])
        for part in parts:
            require_labels(part, self.signature)
        return in_order(parts, batches, self.signature)

    def _count(self, rows: int, encoded: list[Encoded]) -> None:
        with self._lock:
            self.counts.add(rows, encoded)
            share = self.counts.unknown / max(1, self.counts.tokens)
            warn = not self._warned and self.counts.tokens >= _ENOUGH_TOKENS and share > UNKNOWN_SHARE
            self._warned |= warn
        if warn:
            warnings.warn(unknown_warning(share), OctavoWarning, stacklevel=4)


def unknown_warning(share: float) -> str:
    """The warning of a high share of unknown tokens."""
    return (
        f"{share:.0%} of the tokens are unknown to the tokenizer: is it this model's, and are the texts in its "
        "language and normalized as it expects (lower-casing with strip_accents takes Hangul apart)?"
    )
