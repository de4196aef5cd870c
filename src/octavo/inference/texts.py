"""Ids of a model that writes -> texts: batches that are written, stop strings, pieces that are certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from octavo.encoding.batching import Encoded, plan_batches
from octavo.engines import Writer
from octavo.generation.beam import search
from octavo.generation.loop import write
from octavo.schema.signature import Generation, Signature
from octavo.tasks import find_task

ROWS = 8  # that are written together: more are faster in all, and wait for the longest
CUT = "\ufffd"  # what a tokenizer gives for bytes that are no letter yet


@dataclass(frozen=True)
class Tokenizers:
    """Of what is read, and of what is written, which is the same but for some text2text models."""

    read: Tokenizer
    written: Tokenizer


def make_tokenizers(tokenizer_json: str, target_json: str | None, signature: Signature) -> Tokenizers:
    """The tokenizers of an artifact or a checkpoint.

    Prompts are not cut by them: what is left of one depends on how much is to be written.
    """
    task = find_task(signature)
    read = task.make_tokenizer(tokenizer_json)
    if task.continues:
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


class Begun:
    """A batch whose texts the model has been given: its `steps`, and the ids that each row's writing begins with."""

    def __init__(
        self, writer: Writer, signature: Signature, texts: Sequence[Sequence[int]], generation: Generation
    ) -> None:
        """Pad on the left, or on the right where an encoder reads."""
        answers, longest = find_task(signature).is_encoder_decoder, max(len(ids) for ids in texts)
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
