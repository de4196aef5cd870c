"""Texts of a user: read, split by hash into those that are counted and those held out, and tokenized twice."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from octavo.data.examples import DataFile, Example
from octavo.errors import DataError, OctavoError
from octavo.files import sha256_of
from octavo.metrics.estimates import Estimate, clustered_share, share_estimate
from octavo.schema.lineage import Changes, Share, TextsRecord
from octavo.tasks.task import Task

HELD_OUT = 10  # one text of so many
CHUNK = 2000  # texts that are tokenized at once
SHOWN = 5


@dataclass(frozen=True)
class SplitTexts:
    """Examples, which of them are held out, and a number by which these can be drawn, both [examples].

    Examples that share a text have the same number.
    """

    examples: tuple[Example, ...]
    held_out: NDArray[np.bool_]
    draw: NDArray[np.uint64]
    files: tuple[TextsRecord, ...]

    @property
    def sha256(self) -> str:
        """The hash of all texts and labels: files can be read by other columns."""
        rows = [(*strings_of(example), example.label) for example in self.examples]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def read_texts(files: Sequence[DataFile], task: Task[Any], labels: Sequence[str] = ()) -> SplitTexts:
    """The examples of all files; one of ten is held out, by the hash of the text that several may share.

    So all questions of a context, and all pairs with the same first text, are on the same side. Labels are read where
    those of the model are given.

    Raises:
        DataError: a file cannot be read.
    """
    examples, records = list[Example](), list[TextsRecord]()
    for file in files:
        rows = task.read_examples(file, labels)
        examples += rows
        path = Path(file.path)
        records.append(TextsRecord(name=path.name, sha256=sha256_of(path), rows=len(rows)))
    hashes = np.array([_hash(getattr(example, task.group_by) or example.text) for example in examples], np.uint64)
    held_out = hashes % HELD_OUT == 0
    if held_out.all():
        raise DataError(
            "too few texts: all of them are held out", got=len(examples), then="give some thousand of yours"
        )
    return SplitTexts(tuple(examples), held_out, hashes // HELD_OUT, tuple(records))


def _hash(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def strings_of(example: Example) -> tuple[str, ...]:
    """All texts of an example."""
    return (example.text, *([example.text_pair] if example.text_pair else []), *example.choices)


def token_ids(tokenizer: Tokenizer, examples: Sequence[Example]) -> Iterator[list[list[int]]]:
    """The ids of each text of each example, without those that a post-processor adds."""
    for start in range(0, len(examples), CHUNK):
        rows = [strings_of(example) for example in examples[start : start + CHUNK]]
        encoded = iter(tokenizer.encode_batch_fast([text for row in rows for text in row], add_special_tokens=False))
        for row in rows:
            yield [next(encoded).ids for _ in row]


def count_tokens(ids: Sequence[list[list[int]]], held_out: NDArray[np.bool_]) -> Counter[int]:
    """How often each token comes in the texts that are not held out."""
    counts = Counter[int]()
    for row, out in zip(ids, held_out, strict=True):
        if not out:
            for text in row:
                counts.update(text)
    return counts


@dataclass(frozen=True)
class TokenComparison:
    """Of each example: tokens before, those of them that are gone, tokens after, unknown ones before and after.

    `changed`: whether one of its texts is split otherwise, [examples].
    """

    table: NDArray[np.int64]
    changed: NDArray[np.bool_]

    def changes(self, chosen: NDArray[np.bool_]) -> Changes | None:
        """Of some examples; None of none."""
        table, changed = self.table[chosen], self.changed[chosen]
        if not table[:, 0].sum():
            return None
        tokens, gone, after, unknown, unknown_after = table.T
        return Changes(
            texts=len(table),
            changed_texts=_share(share_estimate(int(changed.sum()), len(table))),
            tokens=int(tokens.sum()),
            changed_tokens=_share(clustered_share(gone.astype(np.float64), tokens.astype(np.float64))),
            tokens_after=int(after.sum()),
            unknown=int(unknown.sum()),
            unknown_after=int(unknown_after.sum()),
        )


def compare_tokens(
    before: Sequence[list[list[int]]], after: Sequence[list[list[int]]], new_ids: Mapping[int, int], unknown: int | None
) -> TokenComparison:
    """The tokens of the same texts by both tokenizers; `unknown` is the old id of the unknown token.

    Raises:
        OctavoError: a text whose tokens all stay is split otherwise.
    """
    rows, changed = [], []
    unknown_after = None if unknown is None else new_ids[unknown]
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        mapped = [[new_ids.get(index) for index in text] for text in old]
        gone = sum(text.count(None) for text in mapped)
        if mapped != new and any(None not in text and text != other for text, other in zip(mapped, new, strict=True)):
            raise OctavoError("a text whose tokens all stay is split otherwise: a defect", got=f"example {number + 1}")
        unknowns = (_count(old, unknown), _count(new, unknown_after))
        rows.append((sum(map(len, old)), gone, sum(map(len, new)), *unknowns))
        changed.append(mapped != new)
    return TokenComparison(np.array(rows, np.int64), np.array(changed, np.bool_))


def _count(texts: Sequence[Sequence[int]], token: int | None) -> int:
    return 0 if token is None else sum(text.count(token) for text in texts)


def _share(estimate: Estimate) -> Share:
    return Share(value=estimate.value, low=estimate.low, high=estimate.high)


def otherwise(
    before: Tokenizer, after: Tokenizer, examples: Sequence[Example], new_ids: Mapping[int, int]
) -> list[tuple[str, str, str]]:
    """Words that are split otherwise now: each with its tokens before and after; of each token that is gone one."""
    words, seen = list[tuple[str, str, str]](), set[int]()
    for text in (text for example in examples for text in strings_of(example)):
        old = before.encode(text, add_special_tokens=False)
        gone = [place for place, index in enumerate(old.ids) if index not in new_ids and index not in seen]
        if not gone:
            continue
        new = after.encode(text, add_special_tokens=False)
        seen |= {old.ids[place] for place in gone}
        start, end = old.offsets[gone[0]]
        pieces = [token for token, (a, b) in zip(new.tokens, new.offsets, strict=True) if a < end and b > start]
        words.append((text[start:end], old.tokens[gone[0]], " ".join(pieces)))
        if len(words) == SHOWN:
            break
    return words
