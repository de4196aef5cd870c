"""Ids of a model that writes -> texts: batches, stop strings, and the pieces of a text that cannot change any more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from octavo.encoding.batching import Encoded, plan_batches
from octavo.engines import Writer
from octavo.generation.beam import search
from octavo.generation.loop import write
from octavo.inference.answers import FiniteSteps
from octavo.schema.signature import Generation, Signature
from octavo.tasks import find_task

ROWS = 8  # of a batch: more have a higher throughput, and wait for the longest
CUT = "\ufffd"  # a tokenizer's letter for an incomplete UTF-8 sequence


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of input and output, which differ only for some text2text models."""

    read: Tokenizer
    written: Tokenizer


def make_tokenizers(tokenizer_json: str, target_json: str | None, signature: Signature) -> Tokenizers:
    """The tokenizers of an artifact or a checkpoint.

    They do not truncate prompts: that depends on the number of new tokens.
    """
    task = find_task(signature)
    read = task.make_tokenizer(tokenizer_json)
    if task.continues:
        read.no_truncation()
    return Tokenizers(read, Tokenizer.from_str(target_json) if target_json else read)


def write_texts(  # noqa: PLR0913 - each is one thing to say
    writer: Writer,
    tokenizers: Tokenizers,
    signature: Signature,
    rows: Sequence[Encoded],
    generation: Generation,
    *,
    first: int = 0,
    batch_size: int | None = None,
) -> list[list[int]]:
    """The new ids of each row, written in batches of rows of similar length, of `ROWS` by default; end tokens included.

    `first` is the number of the first row among all that a user gave: samples depend on it.
    """
    written: list[list[int]] = [[] for _ in rows]
    for batch in plan_batches([len(row.ids) for row in rows], most_rows=batch_size or ROWS):
        numbers = [first + row for row in batch]
        prepared = PreparedBatch(writer, signature, [rows[row].ids for row in batch], generation, numbers)
        texts = [Text(tokenizers, prompt, generation) for prompt in prepared.prompts]
        ended = (lambda row, ids, texts=texts: texts[row].stops(ids)) if generation.sampling.stop else None
        if generation.sampling.num_beams > 1:
            for row, ids in zip(batch, search(prepared.steps, prepared.prompts, generation, ended), strict=True):
                written[row] = ids
            continue
        for step in write(prepared.steps, prepared.prompts, generation, ended, numbers):
            for row, token in zip(batch, step, strict=True):
                if token is not None:
                    written[row].append(token)
    return written


class PreparedBatch:
    """A batch whose texts the model has read: its `steps`, and the ids that each row's output begins with."""

    def __init__(
        self,
        writer: Writer,
        signature: Signature,
        texts: Sequence[Sequence[int]],
        generation: Generation,
        numbers: Sequence[int] = (0,),
    ) -> None:
        """Pad on the left, or on the right where an encoder reads; `numbers` are those of the rows in messages."""
        answers, longest = find_task(signature).is_encoder_decoder, max(len(ids) for ids in texts)
        ids = np.full((len(texts), longest), signature.pad_token_id, np.int64)
        mask = np.zeros(ids.shape, np.int64)
        for row, text in enumerate(texts):
            place = slice(0, len(text)) if answers else slice(longest - len(text), longest)
            ids[row, place], mask[row, place] = text, 1
        start = [generation.decoder_start_token_id or 0]
        self.prompts: list[list[int]] = [start if answers else list(text) for text in texts]
        steps = writer.begin(ids, mask, np.array([start] * len(texts), np.int64) if answers else None)
        self.steps = FiniteSteps(steps, numbers)


class Text:
    """The text of one row while it is written: its letters, where it ends, and which part is final."""

    def __init__(self, tokenizers: Tokenizers, prompt: Sequence[int], generation: Generation) -> None:
        """`prompt`: the ids before the new ones, decoded with them: a first word may be decoded differently."""
        self._decode, self._prompt = tokenizers.written, list(prompt)
        self._before = len(self._decode.decode(self._prompt, skip_special_tokens=True))
        self._stop = generation.sampling.stop
        self._shown = 0

    def text(self, ids: Sequence[int]) -> str:
        """The text of new ids, up to the first stop string."""
        whole = self._whole(ids)
        ends = [place for place in (whole.find(stop) for stop in self._stop) if place >= 0]
        return whole[: min(ends)] if ends else whole

    def stops(self, ids: Sequence[int]) -> bool:
        """Whether a stop string has come."""
        whole = self._whole(ids)
        return any(stop in whole for stop in self._stop)

    def piece(self, ids: Sequence[int], *, last: bool) -> str:
        """The letters that became final since the last call; `last`: nothing follows."""
        text = self.text(ids)
        end = len(text)
        if not last:
            overlap = max((_overlap(text, stop) for stop in self._stop), default=0)
            end = min(len(text.rstrip(CUT)), len(text) - overlap)
        piece, self._shown = text[self._shown : max(end, self._shown)], max(end, self._shown)
        return piece

    def _whole(self, ids: Sequence[int]) -> str:
        return str(self._decode.decode([*self._prompt, *ids], skip_special_tokens=True))[self._before :]


def _overlap(text: str, stop: str) -> int:
    """How many letters at the end of the text may be the beginning of a stop string."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
