"""Text written by an artifact (ONNX Runtime) or a checkpoint (torch), in the shapes of Hugging Face's pipelines."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from octavo.batching import Counts, Encoded, plan_batches
from octavo.errors import DataError, InputError
from octavo.generation import FloatArray, IntArray, Steps
from octavo.generation.beam import search
from octavo.generation.loop import write
from octavo.signature import Generation, Signature, change_sampling
from octavo.tasks import find_task
from octavo.tasks.text2text_generation import points

ROWS = 8  # that are written together: more are faster in all, and wait for the longest
WINDOW = 256  # rows of a generator that are held at once
LETTERS = 16  # of a token, at the most, in an answer that is compared
CUT = "\ufffd"  # what a tokenizer gives for bytes that are no letter yet


class Writer(Protocol):
    """A model that writes: `engines.writing.OnnxWriter`, `engines.torch_writing.TorchWriter`."""

    name: str
    threads: int
    streams: int

    def logits(self, inputs: dict[str, IntArray]) -> FloatArray:
        """The logits behind every token, [batch, length, vocabulary]."""

    def begin(self, ids: IntArray, mask: IntArray, prompts: IntArray | None = None) -> Steps:
        """Begin with texts [rows, length]; with an encoder answers begin with `prompts` [rows, tokens]."""


@dataclass(frozen=True)
class Tokenizers:
    """Of what is read, and of what is written, which is the same but for some text2text models."""

    read: Tokenizer
    written: Tokenizer


def make_tokenizers(tokenizer_json: str, target_json: str | None, signature: Signature) -> Tokenizers:
    """The tokenizers of an artifact or a checkpoint.

    Prompts are not cut by them: what is left of one depends on how much is to be written.
    """
    read = find_task(signature.task).make_tokenizer(tokenizer_json, signature)
    if signature.task == "text-generation":
        read.no_truncation()
    return Tokenizers(read, Tokenizer.from_str(target_json) if target_json else read)


def write_texts(
    writer: Writer,
    tokenizers: Tokenizers,
    signature: Signature,
    rows: Sequence[Encoded],
    generation: Generation,
    *,
    first: int = 0,
) -> list[list[int]]:
    """The new ids of each row, written in batches of rows of similar length; end tokens included.

    `first` is the number of the first row among all that a user gave: samples depend on it.
    """
    found: list[list[int]] = [[] for _ in rows]
    plan = [batch for whole in plan_batches([len(row.ids) for row in rows]) for batch in _parts(whole, ROWS)]
    for batch in plan:
        begun = Begun(writer, signature, [rows[row].ids for row in batch], generation)
        texts = [Text(tokenizers, begun.prompts[place], generation) for place in range(len(batch))]
        if generation.sampling.num_beams > 1:
            stops = generation.sampling.stop
            ended = (lambda row, ids, texts=texts: texts[row].stops(ids)) if stops else None
            for row, ids in zip(batch, search(begun.steps, begun.prompts, generation, ended), strict=True):
                found[row] = ids
            continue
        ended = (lambda row, ids, texts=texts: texts[row].stops(ids)) if generation.sampling.stop else None
        for step in write(begun.steps, begun.prompts, generation, ended, [first + row for row in batch]):
            for row, token in zip(batch, step, strict=True):
                if token is not None:
                    found[row].append(token)
    return found


class AnsweringSession:
    """A model that answers texts with texts, in a comparison: texts as code points (`tasks.text2text_generation`)."""

    def __init__(self, generator: Generator) -> None:
        """Take the model with its own settings; answers are cut at `LETTERS` a token."""
        self.name, self.threads, self.streams = generator.session.name, generator.session.threads, 1
        self._generator, self._width = generator, LETTERS * generator.generation.sampling.max_new_tokens

    def run(self, inputs: dict[str, IntArray]) -> FloatArray:
        """Answer one batch; `input_ids` and `attention_mask` [batch, length] -> [batch, letters]."""
        kept = [
            ids[mask != 0].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        ]
        one = self._generator
        rows = [Encoded(ids, ()) for ids in kept]
        found = write_texts(one.session, one.tokenizers, one.signature, rows, one.generation)
        prompt = [one.generation.decoder_start_token_id or 0]
        return points([Text(one.tokenizers, prompt, one.generation).text(ids) for ids in found], self._width)


class Begun:
    """A batch whose texts the model has been given: its `steps`, and the ids that each row's writing begins with."""

    def __init__(
        self, writer: Writer, signature: Signature, texts: Sequence[Sequence[int]], generation: Generation
    ) -> None:
        """Pad on the left, or on the right where an encoder reads."""
        answers, longest = signature.task == "text2text-generation", max(len(ids) for ids in texts)
        ids = np.full((len(texts), longest), signature.pad_token_id, np.int64)
        mask = np.zeros(ids.shape, np.int64)
        for row, text in enumerate(texts):
            place = slice(0, len(text)) if answers else slice(longest - len(text), longest)
            ids[row, place], mask[row, place] = text, 1
        start = [generation.decoder_start_token_id or 0]
        self.prompts: list[list[int]] = [start if answers else list(text) for text in texts]
        self.steps = writer.begin(ids, mask, np.array([start] * len(texts), np.int64) if answers else None)


class Text:
    """The text of one row while it is written: what its ids mean, where it ends, and what of it is certain."""

    def __init__(self, tokenizers: Tokenizers, prompt: Sequence[int], generation: Generation) -> None:
        """`prompt`: the ids that writing begins with; a tokenizer may write a word otherwise at the very beginning."""
        self._decode, self._prompt = tokenizers.written, list(prompt)
        self._before = len(self._decode.decode(self._prompt, skip_special_tokens=True))
        self._stop = generation.sampling.stop
        self._shown = 0

    def text(self, ids: Sequence[int]) -> str:
        """What new ids mean, up to the first stop string."""
        whole = self._whole(ids)
        ends = [place for place in (whole.find(stop) for stop in self._stop) if place >= 0]
        return whole[: min(ends)] if ends else whole

    def stops(self, ids: Sequence[int]) -> bool:
        """Whether a stop string has come."""
        whole = self._whole(ids)
        return any(stop in whole for stop in self._stop)

    def piece(self, ids: Sequence[int], *, last: bool) -> str:
        """What has become certain since the last call; `last`: nothing follows."""
        text = self.text(ids)
        end = len(text)
        if not last:
            end -= len(text) - len(text.rstrip(CUT))
            held = max((_overlap(text, stop) for stop in self._stop), default=0)
            end = min(end, len(text) - held)
        piece, self._shown = text[self._shown : max(end, self._shown)], max(end, self._shown)
        return piece

    def _whole(self, ids: Sequence[int]) -> str:
        return str(self._decode.decode([*self._prompt, *ids], skip_special_tokens=True))[self._before :]


def _overlap(text: str, stop: str) -> int:
    """How many letters at the end of the text may be the beginning of a stop string."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)


def _parts(batch: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(batch), size):
        yield tuple(batch[start : start + size])


class Generator:
    """Writes; may be called from several threads at once.

    `generator("text")` gives `[{"generated_text": ...}]`, a list of texts a list of such lists for text-generation and
    of dictionaries for text2text-generation, any other iterable an iterator: what Hugging Face's pipelines return.
    Settings are those of `octavo.signature.Sampling`, by default the model's own; `return_full_text = False` leaves the
    prompt out.
    """

    def __init__(self, writer: Writer, tokenizers: Tokenizers, signature: Signature) -> None:
        """Join a writer with the tokenizers and signature that belong to its model."""
        assert signature.generation is not None
        self.session, self.signature, self.tokenizers = writer, signature, tokenizers
        self.generation = signature.generation
        own, limit = self.generation.sampling, signature.max_length  # what nobody asked for has to fit small models
        most = max(1, limit // 2) if signature.task == "text-generation" else limit
        if own.max_new_tokens > most:
            shorter = own.model_copy(update={"max_new_tokens": most})
            self.generation = self.generation.model_copy(update={"sampling": shorter})
        self.counts = Counts()
        self._lock = threading.Lock()

    def __call__(self, inputs: Any, *, return_full_text: bool = True, **settings: Any) -> Any:
        """Write; see the class for what comes back.

        Raises:
            DataError: an input is no text; the message names its position.
            InputError: a setting is unknown or out of its range, or texts cannot be as long.
        """
        generation = self._with(settings)
        if isinstance(inputs, (str, tuple, Mapping)):
            return [next(self.stream([inputs], generation, full=return_full_text))]
        if isinstance(inputs, list):
            found = list(self.stream(inputs, generation, full=return_full_text))
            return [[one] for one in found] if self.signature.task == "text-generation" else found
        if isinstance(inputs, Iterable) and not isinstance(inputs, bytes):
            return self.stream(inputs, generation, full=return_full_text)
        return find_task(self.signature.task).parse_row(inputs)  # raises, with what is allowed

    def pieces(self, text: str, **settings: Any) -> Iterator[str]:
        """The text that follows, piece by piece as it is written; together they are the new text of a call.

        Raises:
            InputError: as calls do; and beams are not known before the end.
        """
        generation = self._with(settings)
        if generation.sampling.num_beams > 1:
            raise InputError("beam search gives its text at the end", got=f"num_beams {generation.sampling.num_beams}")
        return self._pieces(text, generation)

    def stream(self, rows: Iterable[Any], generation: Generation | None = None, *, full: bool = True) -> Iterator[Any]:
        """Predictions in the order of the rows; `full`: a continued text with its prompt."""
        generation, source, position = generation or self.generation, iter(rows), 0
        full = full and self.signature.task == "text-generation"
        while window := list(islice(source, WINDOW)):
            texts = [self._parse(row, position + offset) for offset, row in enumerate(window)]
            encoded = self._encode(texts, generation)
            found = write_texts(self.session, self.tokenizers, self.signature, encoded, generation, first=position)
            for text, row, ids in zip(texts, encoded, found, strict=True):
                prompt = self._prompt(row, generation)
                new = Text(self.tokenizers, prompt, generation).text(ids)
                yield {"generated_text": text + new if full else new}
            position += len(window)

    def _pieces(self, text: str, generation: Generation) -> Iterator[str]:
        (row,) = self._encode([self._parse(text, 0)], generation)
        begun = Begun(self.session, self.signature, [row.ids], generation)
        state, ids = Text(self.tokenizers, begun.prompts[0], generation), list[int]()
        ended = (lambda _, ids: state.stops(ids)) if generation.sampling.stop else None
        for (token,) in write(begun.steps, begun.prompts, generation, ended):
            assert token is not None
            ids.append(token)
            piece = state.piece(ids, last=False)
            if piece:
                yield piece
        rest = state.piece(ids, last=True)
        if rest:
            yield rest

    def _with(self, settings: Mapping[str, Any]) -> Generation:
        sampling = change_sampling(self.generation.sampling, dict(settings))
        if sampling.num_beams > 1 and sampling.do_sample:
            raise InputError("beams are searched, not drawn", got=f"num_beams {sampling.num_beams} and samples")
        return self.generation.model_copy(update={"sampling": sampling})

    def _parse(self, row: Any, position: int) -> str:
        try:
            text, second = find_task(self.signature.task).parse_row(row)
        except DataError as error:
            raise DataError(f"row {position}: {error}") from None
        if second is not None:
            raise DataError(f"row {position}: a text is continued or answered, and this is a pair", got=f"{row!r:.80}")
        return text

    def _encode(self, texts: Sequence[str], generation: Generation) -> list[Encoded]:
        """The ids of each text, cut (a prompt at its beginning) so that what is to be written has its place.

        Raises:
            InputError: the model cannot read and write as much.
        """
        continues, limit = self.signature.task == "text-generation", self.signature.max_length
        new = generation.sampling.max_new_tokens
        room = limit - new if continues else limit
        if new > limit - continues:
            allowed = f"up to {limit - continues}"
            raise InputError("more new tokens than the model has places", got=new, allowed=allowed)
        found = []
        for encoding in self.tokenizers.read.encode_batch(list(texts)):
            ids = (encoding.ids[-room:] or [self._first()]) if continues else encoding.ids
            cut = len(ids) < len(encoding.ids) or bool(encoding.overflowing)
            unknown = self.signature.unk_token_id
            found.append(Encoded(ids, [0] * len(ids), cut, 0 if unknown is None else ids.count(unknown)))
        with self._lock:
            self.counts.rows += len(found)
            self.counts.truncated += sum(row.truncated for row in found)
            self.counts.tokens += sum(len(row.ids) for row in found)
            self.counts.unknown += sum(row.unknown for row in found)
        return found

    def _first(self) -> int:
        """What an empty text begins with."""
        ends = self.generation.eos_token_ids
        return ends[0] if ends else 0

    def _prompt(self, row: Encoded, generation: Generation) -> list[int]:
        if self.signature.task == "text-generation":
            return list(row.ids)
        return [generation.decoder_start_token_id or 0]
