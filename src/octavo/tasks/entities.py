"""Tokens with tags -> words and entities, as Hugging Face's pipeline groups them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from octavo.metrics.scores import softmax


def overlapping(words: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int | None]:
    """The first token (start, end) of each word, None where it has none. Both are in the order of the text.

    What stands between two words belongs to the second: a token that is only the blank before a word is its first, as
    SentencePiece makes them and as models are trained.
    """
    found: list[int | None] = []
    token = 0
    for (_, before), (_, end) in pairwise([(0, 0), *words]):
        while token < len(spans) and spans[token][1] <= before:
            token += 1
        ahead = token
        while ahead < len(spans) and spans[ahead][0] == spans[ahead][1]:  # a token of no characters
            ahead += 1
        found.append(ahead if ahead < len(spans) and spans[ahead][0] < end else None)
    return found


@dataclass(frozen=True)
class Tagged:
    """What a model says of a text: of each token, special ones apart, the logits of its tags [tokens, labels].

    `spans` are its characters, `pieces` what it is in the vocabulary, `continues` whether it goes on with the word of
    the token before, `first` the position of the first one among all tokens.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    pieces: tuple[str, ...]
    continues: tuple[bool, ...]
    logits: NDArray[np.float32]
    first: int
    labels: tuple[str, ...]
    tokenizer: Tokenizer

    @property
    def tags(self) -> list[str]:
        """The likeliest tag of each token."""
        return [self.labels[index] for index in self.logits.argmax(axis=1).tolist()]


def tokens_of(row: Tagged, strategy: str) -> list[dict[str, Any]]:
    """Each token, or each word where the strategy is one of words, with its tag."""
    scores, found = softmax(row.logits), []
    if strategy in {"none", "simple"}:
        for index, (piece, (start, end)) in enumerate(zip(row.pieces, row.spans, strict=True)):
            best = int(scores[index].argmax())
            place = {"score": float(scores[index, best]), "index": row.first + index, "word": piece}
            found.append({"entity": row.labels[best]} | place | {"start": start, "end": end})
        return found
    for word in words_of(row):
        shares = scores[word]
        if strategy == "first":
            shares = shares[0]
        elif strategy == "max":
            shares = shares[int(shares.max(axis=1).argmax())]
        else:
            shares = np.nanmean(shares, axis=0)
        best = int(shares.argmax())
        found.append(
            {
                "entity": row.labels[best],
                "score": float(shares[best]),
                "word": _joined([row.pieces[index] for index in word], row.tokenizer),
                "start": row.spans[word[0]][0],
                "end": row.spans[word[-1]][1],
            }
        )
    return found


def words_of(row: Tagged) -> list[list[int]]:
    """The tokens of each word."""
    words: list[list[int]] = []
    for index, inside in enumerate(row.continues):
        if inside and words:
            words[-1].append(index)
        else:
            words.append([index])
    return words


def grouped(found: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Neighbours of one type as one: all but B- go on with what stands before, as the pipeline of transformers does."""
    groups: list[list[dict[str, Any]]] = []
    for one in found:
        begins = one["entity"].startswith("B-")
        if groups and not begins and _type(one["entity"]) == _type(groups[-1][-1]["entity"]):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [
        {
            "entity_group": group[0]["entity"].split("-", 1)[-1],
            "score": float(np.mean([np.float32(one["score"]) for one in group])),
            "word": _joined([one["word"] for one in group], tokenizer),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _type(tag: str) -> str:
    return tag[2:] if tag.startswith(("B-", "I-")) else tag


def _joined(pieces: list[str], tokenizer: Tokenizer) -> str:
    return str(tokenizer.decoder.decode(pieces)) if tokenizer.decoder is not None else " ".join(pieces)
