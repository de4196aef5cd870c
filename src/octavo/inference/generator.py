"""Text written by an artifact (ONNX Runtime) or a checkpoint (torch), in the shapes of Hugging Face's pipelines."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from octavo.encoding.batching import Counts, Encoded
from octavo.engines import Writer
from octavo.errors import DataError, InputError
from octavo.generation.loop import write
from octavo.inference.inputs import as_rows, reduced, require_batch_size, require_several
from octavo.inference.texts import PreparedBatch, Text, Tokenizers, write_texts
from octavo.schema.signature import Generation, Signature, change_generation_config
from octavo.tasks import find_task
from octavo.tasks.task import Task

ROWS_AT_ONCE = 256  # rows of a generator that are held at once


class Generator:
    """Writes; may be called from several threads at once.

    `generator("text")` gives `[{"generated_text": ...}]`, a list of texts a list of such lists for text-generation and
    of dictionaries for text2text-generation, any other iterable an iterator: what Hugging Face's pipelines return.
    Settings are those of `octavo.schema.signature.GenerationConfig`, by default the model's own; `return_full_text =
    False` leaves the prompt out.
    """

    def __init__(self, writer: Writer, tokenizers: Tokenizers, signature: Signature) -> None:
        """Join a writer with the tokenizers and signature that belong to its model."""
        self.session, self.signature, self.tokenizers = writer, signature, tokenizers
        self.task: Task[Any] = find_task(signature)
        self.generation = self.task.generation
        limit = max(1, signature.max_length // 2) if self.task.continues else signature.max_length
        generation_config = self.generation.sampling
        if generation_config.max_new_tokens > limit:  # the default has to fit small models
            generation_config = generation_config.model_copy(update={"max_new_tokens": limit})
            self.generation = self.generation.model_copy(update={"sampling": generation_config})
        self.counts = Counts()
        self.verified: bool | None = None  # whether its files' hashes were checked; a checkpoint has none to check
        self.reopen: Callable[[], Generator] | None = None  # opens the same in another process; see `octavo.load`
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        where = f"{self.session.name}, {self.session.threads} threads"
        return f"<Generator of {self.signature.task} on {where}, verified={self.verified}>"

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return reduced("generator", self.reopen)

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """Write; see the class for what comes back, and `stream` for the settings.

        Raises:
            DataError: an input is no text; the message names its position.
            InputError: a setting is unknown or out of its range, or texts cannot be as long.
            OctavoError: the model's logits are not finite; the message names the row.
        """
        inputs = as_rows(inputs)
        if isinstance(inputs, (str, tuple, Mapping)):
            return [next(self.stream([inputs], **settings))]
        if isinstance(inputs, list):
            predictions = list(self.stream(inputs, **settings))
            return [[prediction] for prediction in predictions] if self.task.continues else predictions
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, **settings)
        return self.task.parse_row(inputs)  # raises, with what is allowed

    def pieces(self, text: str, **settings: Any) -> Iterator[str]:
        """The text that follows, piece by piece as it is written; together they are the new text of a call.

        Raises:
            InputError: as calls do; and beams are not known before the end.
        """
        generation = self._with(settings)
        if generation.sampling.num_beams > 1:
            raise InputError("beam search gives its text at the end", got=f"num_beams {generation.sampling.num_beams}")
        return self._pieces(text, generation)

    def stream(
        self,
        rows: Iterable[Any],
        *,
        return_full_text: bool = True,
        batch_size: int | None = None,
        first: int = 0,
        **settings: Any,
    ) -> Iterator[Any]:
        """Predictions in the order of the rows; it raises what a call does.

        `return_full_text`: a continued text with its prompt; `batch_size`: how many rows are written at once, by
        default 8; `first`: the number of the first row, on which samples depend, where rows come in several calls;
        `settings`: those of the generation config.
        """
        if settings.pop("text_pair", None) is not None:
            raise DataError("a text is continued or answered, and has no text_pair")
        rows, generation = as_rows(rows), self._with(settings)
        require_several(rows)
        full = return_full_text and self.task.continues
        return self._stream(rows, generation, require_batch_size(batch_size), full=full, position=first)

    def _stream(
        self, rows: Iterable[Any], generation: Generation, batch_size: int | None, *, full: bool, position: int
    ) -> Iterator[Any]:
        source, read = iter(rows), (self.session, self.tokenizers, self.signature)
        while window := list(islice(source, ROWS_AT_ONCE)):
            texts = [self._parse(row, position + offset) for offset, row in enumerate(window)]
            encoded = self._encode(texts, generation)
            written = write_texts(*read, encoded, generation, first=position, batch_size=batch_size)
            for text, row, ids in zip(texts, encoded, written, strict=True):
                prompt = list(row.ids) if self.task.continues else [generation.decoder_start_token_id or 0]
                new = Text(self.tokenizers, prompt, generation).text(ids)
                yield {"generated_text": text + new if full else new}
            position += len(window)

    def _pieces(self, text: str, generation: Generation) -> Iterator[str]:
        (row,) = self._encode([self._parse(text, 0)], generation)
        prepared = PreparedBatch(self.session, self.signature, [row.ids], generation)
        state, ids = Text(self.tokenizers, prepared.prompts[0], generation), list[int]()
        ended = (lambda _, ids: state.stops(ids)) if generation.sampling.stop else None
        for (token,) in write(prepared.steps, prepared.prompts, generation, ended):
            assert token is not None
            ids.append(token)
            if piece := state.piece(ids, last=False):
                yield piece
        if piece := state.piece(ids, last=True):
            yield piece

    def _with(self, settings: Mapping[str, Any]) -> Generation:
        generation_config = change_generation_config(self.generation.sampling, dict(settings))
        if generation_config.num_beams > 1 and generation_config.do_sample:
            raise InputError(
                "beams are searched, not drawn", got=f"num_beams {generation_config.num_beams} and samples"
            )
        return self.generation.model_copy(update={"sampling": generation_config})

    def _parse(self, row: Any, position: int) -> str:
        try:
            text, second = self.task.parse_row(row)
        except DataError as error:
            raise DataError(f"row {position}: {error}") from None
        if second:  # an empty one is none
            raise DataError(f"row {position}: a text is continued or answered, and this is a pair", got=f"{row!r:.80}")
        return text

    def _encode(self, texts: Sequence[str], generation: Generation) -> list[Encoded]:
        """The ids of each text, cut (a prompt at its beginning) so that the new tokens fit.

        Raises:
            InputError: the model cannot read and write as much.
        """
        continues, limit = self.task.continues, self.signature.max_length
        new = generation.sampling.max_new_tokens
        room = limit - new if continues else limit
        if new > limit - continues:
            allowed = f"up to {limit - continues}"
            raise InputError("more new tokens than the model has places", got=new, allowed=allowed)
        start, unknown = [*self.generation.eos_token_ids, 0][:1], self.signature.unk_token_id  # of an empty prompt
        rows = []
        for encoding in self.tokenizers.read.encode_batch(list(texts)):
            ids = (encoding.ids[-room:] or start) if continues else encoding.ids
            truncated = len(ids) < len(encoding.ids) or bool(encoding.overflowing)
            rows.append(Encoded(ids, [0] * len(ids), truncated, 0 if unknown is None else ids.count(unknown)))
        with self._lock:
            self.counts.add(len(rows), rows)
        return rows
