"""Predictions from an artifact (ONNX Runtime) or a checkpoint (torch): session, tokenizer and task in one callable."""

import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

from tokenizers import Tokenizer

from octavo.arithmetic.vectors import Ranges
from octavo.artifact.agreement import require_labels
from octavo.data.examples import Example
from octavo.encoding.batching import MAX_ROWS, Counts, Encoded, Outputs, in_order, make_batches
from octavo.encoding.tokenizing import Asked, Options, Row, settings
from octavo.engines import Session, run_batches
from octavo.engines.watched import RangesLeft
from octavo.errors import DataError, InputError, OctavoWarning
from octavo.inference.ahead import ahead as made_ahead
from octavo.inference.answers import require_finite
from octavo.inference.inputs import (
    as_rows,
    reduced,
    require_batch_size,
    require_ranking,
    require_several,
    require_texts,
    with_pairs,
)
from octavo.inference.storing import Storage, require_whole
from octavo.schema.signature import Signature
from octavo.tasks import find_task
from octavo.tasks.task import Task

ROWS_AT_ONCE = 2048  # of an iterator in memory: enough to sort by length
UNKNOWN_SHARE = 0.1  # of all tokens; above it the tokenizer is probably not for these texts
_ENOUGH_TOKENS = 50
_Window = tuple[int, list[Row], list[Encoded]]


class Predictor:
    """Answers texts; may be called from several threads at once.

    `predictor("text")` gives a list with one prediction, a pair (a tuple, or a mapping with `text` and `text_pair`) one
    prediction, a list of these a list (an array of numpy and a column of pandas or polars are lists), any other
    iterable an iterator that holds `ROWS_AT_ONCE` rows at a time: the shapes of Hugging Face's pipelines. Sentence
    embeddings come as sentence-transformers gives them: a text is an array [dimension], a list of texts an array
    [texts, dimension]. Pickled it is the path and the settings that it was loaded with, and loaded again.

    `session` runs the model, `task` says what its rows and answers are, `tokenizer` cuts at the limit of `signature`;
    `counts` are the rows and tokens that were read; `ranges_left`, where ranges are watched, what left them
    (`octavo.engines.watched.RangesLeft`: `rows`, `left`, `farthest`).
    """

    def __init__(self, session: Session, tokenizer_json: str, signature: Signature) -> None:
        """Join a session with the tokenizer and signature that belong to its model."""
        self.session, self.signature, self.counts = session, signature, Counts()
        self.task: Task[Any] = find_task(signature)
        self._tokenizer = self.task.make_tokenizer(tokenizer_json)
        self.verified: bool | None = None  # whether its files' hashes were checked; a checkpoint has none to check
        self.reopen: Callable[[], Predictor] | None = None  # opens the same in another process; see `octavo.load`
        self.ranges_left: RangesLeft | None = None  # what left the ranges of static int8, where these are watched
        self.ranges: Mapping[int, Ranges] = {}  # of an embedder's numbers, by how many of them are kept
        self._lock = threading.Lock()
        self._warned = False

    @property
    def tokenizer(self) -> Tokenizer:
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

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return reduced("predictor", self.reopen)

    def __call__(self, inputs: Any, *, text_pair: Any = None, **options: Any) -> Any:
        """Predict; see the class for what comes back.

        Args:
            inputs: a row or several.
            text_pair: the second text of a text, or as many second texts as there are texts.
            options: `batch_size`, how many rows run at once at most (by default as many as suit the CPU; answers are
                the same); `prompt`, the name of one of a sentence embedder's prompts; and those of the task (its
                `options`), such as the `top_k` of labels, None for all, or the `aggregation_strategy` of tags.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            InputError: there is no such prompt or option.
            OctavoError: an answer is not finite; the message names its row.
        """
        inputs = as_rows(inputs)
        if isinstance(inputs, str):
            rows = [inputs] if text_pair is None else [(inputs, text_pair)]
            return self.task.gather(list(self.stream(rows, **options)), single=True)
        if isinstance(inputs, list):
            return self.task.gather(list(self.stream(inputs, text_pair=text_pair, **options)))
        if isinstance(inputs, (tuple, Mapping)):
            if text_pair is not None:
                raise DataError("text_pair goes with a text, and this row has its own", got=f"{inputs!r:.80}")
            return next(self.stream([inputs], **options))
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, text_pair=text_pair, **options)
        return self.task.parse_row(inputs)  # raises, with what is allowed

    def stream(
        self,
        rows: Iterable[Any],
        *,
        text_pair: Any = None,
        batch_size: int | None = None,
        prompt: str | None = None,
        ahead: bool | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Predictions in the order of the rows; the settings are those of a call, and it raises what a call does.

        `ahead`: rows are drawn and cut into tokens in another thread while the model runs on the window before them. By
        default lists are; an iterator is drawn when its answers are asked for, since these may decide what it gives.
        """
        rows = as_rows(rows)
        require_several(rows)
        rows = rows if text_pair is None else with_pairs(rows, text_pair)
        behind, chosen = self.task.behind(prompt), settings(options, self.task.options)
        windows = self._windows(iter(rows), behind, chosen)
        if ahead or (ahead is None and isinstance(rows, list) and len(rows) > ROWS_AT_ONCE):
            windows = made_ahead(windows)
        return self._stream(windows, chosen, require_batch_size(batch_size))

    def rank(
        self, query: str, passages: Iterable[str], *, top_k: int | None = None, return_documents: bool = False
    ) -> list[dict[str, Any]]:
        """The passages by how well they answer a query, best first, as sentence-transformers' `CrossEncoder.rank` does.

        `[{"corpus_id": position, "score": ...}, ...]`, of `top_k` passages, all where it is None; with
        `return_documents` also their `text`. Of a reranker the score is that of the pair, and passages stand by their
        logits, also where scores are the same; of an embedder the similarity, each text behind its prompt.

        Raises:
            InputError: the model has neither one score for a pair nor vectors.
            DataError: a passage is no text; the message names its position.
        """
        ranking, texts = require_ranking(self.task), require_texts(as_rows(passages))
        if top_k is not None:
            require_batch_size(top_k, "top_k is how many passages are told")
        if not texts:
            return []
        self.task.parse_row(query)
        _, rows, encoded = ranking.prepare(self.tokenizer, [Example(query, choices=texts, relevance=())])
        self._count(len(encoded), encoded)
        outputs = self.run(encoded)
        require_finite(outputs, [replace(row, row=0) for row in encoded], [(query, None)])
        ranked = ranking.decode(ranking.read(outputs, Asked(rows, encoded, self.tokenizer)))[0][:top_k]
        return [hit | {"text": texts[hit["corpus_id"]]} for hit in ranked] if return_documents else list(ranked)

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        dimensions: int | None = None,
        precision: str = "float32",
        ranges: Any = None,
        **options: Any,
    ) -> Any:
        """The vectors of texts as they are to be stored; an array [texts, numbers], or [numbers] of one text.

        Of a model for late-interaction a list with an array [tokens, numbers] of each text, whole and in float32.

        Args:
            texts: one or several.
            dimensions: so many numbers of each, brought to length 1 again where the model normalizes.
            precision: `float32`, `float16`, `int8`, `uint8`, `binary` or `ubinary`, as sentence-transformers'
                `quantize_embeddings` has them.
            ranges: of int8 and uint8, [2, dimensions]: the smallest and the largest number of each place; by default
                those that the artifact learnt from the examples it was calibrated on.
            options: those of a call: `prompt` (of late-interaction `query` or `document`), `batch_size`.

        Raises:
            InputError: the model gives no vectors, or there are no ranges.
        """
        single, rows = isinstance(texts, str), as_rows(texts)
        if self.signature.token_vectors is not None:
            require_whole(dimensions=dimensions, precision=precision, ranges=ranges)
            return self.task.gather(list(self.stream([rows] if single else rows, **options)), single=single)
        storage = Storage(self.signature, dimensions, precision, self.ranges if ranges is None else ranges)
        vectors = list(self.stream([rows] if single else rows, **options))
        stored = storage.stored(self.task.gather(vectors))
        return stored[0] if single else stored

    def logits(self, rows: Iterable[Any]) -> Outputs:
        """The model's raw outputs for rows as a call takes them: in their order, float32.

        [rows, labels] of logits, or [rows, dimension] of vectors; of models that answer each token, or each mask, an
        array [answers, k] for each row. A row that is read as several, such as windows, has several.

        Raises:
            DataError: an input is not what the task reads; the message names its position.
            OctavoError: an answer is not finite; likewise.
        """
        rows = as_rows(rows)
        require_several(rows)
        parsed = self._parse(list(rows))
        encoded = self.task.encode(self.tokenizer, parsed)
        outputs = self.run(encoded)
        require_finite(outputs, encoded, parsed)
        return outputs

    def _windows(self, source: Iterator[Any], behind: Callable[[Row], Row], options: Options) -> Generator[_Window]:
        """The rows that are in memory together, as texts and as tokens, with the number of the first."""
        position = 0
        while window := list(islice(source, ROWS_AT_ONCE)):
            parsed = [behind(row) for row in self._parse(window, position)]
            yield position, parsed, self.task.encode(self.tokenizer, parsed, options)
            position += len(window)

    def _stream(self, windows: Generator[_Window], options: Options, batch_size: int | None) -> Iterator[Any]:
        with closing(windows):
            for position, parsed, encoded in windows:
                self._count(len(parsed), encoded)
                outputs = self.run(encoded, batch_size)
                require_finite(outputs, encoded, parsed, position)
                answers = self.task.read(outputs, Asked(parsed, encoded, self.tokenizer))
                yield from self.task.decode(answers, options)

    def _parse(self, rows: list[Any], position: int = 0) -> list[Row]:
        parsed = []
        for offset, row in enumerate(rows):
            try:
                parsed.append(self.task.parse_row(row))
            except DataError as error:
                raise DataError(f"row {position + offset}: {error}") from None
        return parsed

    def run(self, encoded: list[Encoded], batch_size: int | None = None) -> Outputs:
        """The model's outputs for encoded rows, run in length-sorted batches, in the order given.

        `batch_size` is how many run at once at most, by default `MAX_ROWS`; a task's token budget holds with either.

        Raises:
            ArtifactError: the model has another number of outputs than its signature has labels.
        """
        batches = make_batches(encoded, self.signature, self.task.token_budget, batch_size or MAX_ROWS)
        parts = run_batches(self.session, [batch.inputs for batch in batches])
        if self.ranges_left is not None:
            self.ranges_left.tell()
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
