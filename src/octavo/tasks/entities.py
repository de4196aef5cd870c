"""Tokens with tags -> words and entities, as Hugging Face's pipeline groups them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from octavo.encoding.batching import FloatArray
from octavo.metrics.scores import softmax

OF_WORDS: dict[str, Callable[[FloatArray], FloatArray]] = {  # by strategy: scores [tokens, labels] -> [labels]
    "first": lambda scores: scores[0],
    "max": lambda scores: scores[int(scores.max(axis=1).argmax())],
    "average": lambda scores: np.nanmean(scores, axis=0),
}


def overlapping(words: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int | None]:
    """The first token (start, end) of each word, None where it has none. Both are in the order of the text.

    What stands between two words belongs to the second: a token that is only the blank before a word is its first, as
    SentencePiece makes them and as models are trained.
    """
    first_tokens: list[int | None] = []
    token = 0
    for (_, before), (_, end) in pairwise([(0, 0), *words]):
        while token < len(spans) and spans[token][1] <= before:
            token += 1
        ahead = token
        while ahead < len(spans) and spans[ahead][0] == spans[ahead][1]:  # a token of no characters
            ahead += 1
        first_tokens.append(ahead if ahead < len(spans) and spans[ahead][0] < end else None)
    return first_tokens


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
    logits: FloatArray
    first: int
    labels: tuple[str, ...]
    tokenizer: Tokenizer

    @property
    def tags(self) -> list[str]:
        """The likeliest tag of each token."""
        return [self.labels[index] for index in self.logits.argmax(axis=1).tolist()]


@dataclass(frozen=True)
class TaggedWords:
    """What a model says of a text by the words of the text, and not by its own tokens.

    `words` are their characters (start, end), `tags` theirs, `logits` [words, labels] those of each one's first token:
    NaN where it has none, as behind the limit.
    """

    text: str
    words: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    logits: FloatArray


def tokens_of(row: Tagged, strategy: str) -> list[dict[str, Any]]:
    """Each token, or each word where the strategy is one of words, with its tag."""
    scores, predictions = softmax(row.logits), []
    if strategy in {"none", "simple"}:
        for index, (piece, (start, end)) in enumerate(zip(row.pieces, row.spans, strict=True)):
            best = int(scores[index].argmax())
            token = {"score": float(scores[index, best]), "index": row.first + index, "word": piece}
            predictions.append({"entity": row.labels[best]} | token | {"start": start, "end": end})
        return predictions
    for word in words_of(row):
        shares = OF_WORDS[strategy](scores[word])
        best = int(shares.argmax())
        piece, place = _joined([row.pieces[index] for index in word], row.tokenizer), row.spans[word[0]][0]
        prediction = {"entity": row.labels[best], "score": float(shares[best]), "word": piece}
        predictions.append(prediction | {"start": place, "end": row.spans[word[-1]][1]})
    return predictions


def words_of(row: Tagged) -> list[list[int]]:
    """The tokens of each word."""
    words: list[list[int]] = []
    for index, inside in enumerate(row.continues):
        if inside and words:
            words[-1].append(index)
        else:
            words.append([index])
    return words


def grouped(tokens: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Neighbours of one type as one: all but B- go on with what stands before, as the pipeline of transformers does."""
    groups: list[list[dict[str, Any]]] = []
    for token in tokens:
        tag = token["entity"]
        if groups and not tag.startswith("B-") and _type(tag) == _type(groups[-1][-1]["entity"]):
            groups[-1].append(token)
        else:
            groups.append([token])
    return [
        {
            "entity_group": group[0]["entity"].split("-", 1)[-1],
            "score": float(np.mean([np.float32(token["score"]) for token in group])),
            "word": _joined([token["word"] for token in group], tokenizer),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _type(tag: str) -> str:
    return tag[2:] if tag.startswith(("B-", "I-")) else tag


def _joined(pieces: list[str], tokenizer: Tokenizer) -> str:
    return str(tokenizer.decoder.decode(pieces)) if tokenizer.decoder is not None else " ".join(pieces)
