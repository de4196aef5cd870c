"""token-classification: a text in, its tokens' tags or its entities out, as Hugging Face's pipeline returns them.

Scores are of entities: those that the first token of each word marks, against those of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.data.tagged import read_tagged
from octavo.data.tags import as_iob2, entities, spread
from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, settings
from octavo.errors import InputError, did_you_mean
from octavo.metrics.scores import kl_rows
from octavo.schema.comparison import Answer
from octavo.tasks.entities import Tagged, grouped, overlapping, tokens_of, words_of
from octavo.tasks.task import Task

STRATEGIES = ("none", "simple", "first", "average", "max")


def _has_prefix(tokenizer: Tokenizer) -> bool:
    """Whether the vocabulary marks pieces that go on with a word, as WordPiece does with ##."""
    return bool(getattr(tokenizer.model, "continuing_subword_prefix", None))


def word_tags(row: Tagged, words: Sequence[tuple[int, int]]) -> list[str]:
    """The tag of each word (start, end): that of its first token, O where it has none, as behind the limit."""
    tags, found = row.tags, []
    for token, group in groupby(overlapping(words, row.spans)):
        count = len(list(group))
        found += ["O"] * count if token is None else spread(tags[token], count)
    return found


@lru_cache(maxsize=1)
def _gold(examples: tuple[Example, ...]) -> list[list[tuple[str, int, int]]]:
    return [entities(example.tags or ()) for example in examples]


def _judged(
    outputs: Sequence[Tagged], examples: Sequence[Example], kind: str | None
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The same of entities of one type; None where no text has tags. In a text without there is nothing to find."""
    gold, found = [], []
    for row, example, right in zip(outputs, examples, _gold(tuple(examples)), strict=True):
        if example.tags is None:
            gold.append((0, 0))
            found.append((0, 0, 0))
            continue
        tags = word_tags(row, example.words)
        wanted = {one for one in right if kind is None or one[0] == kind}
        named = {one for one in entities(tags) if kind is None or one[0] == kind}
        gold.append((len(wanted), len(tags)))
        right_tags = sum(one == other for one, other in zip(as_iob2(tags), as_iob2(example.tags), strict=True))
        found.append((len(wanted & named), len(named), right_tags))
    known = any(example.tags is not None for example in examples)
    return (np.array(gold, np.int64), np.array(found, np.int64)) if known else None


def spans_of(row: Tagged) -> list[tuple[str, int, int]]:
    """The entities of a text as type and characters (start, end), by the first token of each word."""
    words, tags = words_of(row), row.tags
    tags = [tags[word[0]] for word in words]
    return [(kind, row.spans[words[a][0]][0], row.spans[words[b][-1]][1]) for kind, a, b in entities(tags)]


def _told(text: str, found: Sequence[tuple[str, int, int]]) -> str:
    return "; ".join(f"{text[start:end]} ({kind})" for kind, start, end in found) or "-"


class TokenClassification(Task[Sequence[Tagged]]):
    """A tag for each token of a text, and the entities that they mark."""

    name = "token-classification"
    auto_class = "AutoModelForTokenClassification"
    scores = ("entity_f1", "precision", "recall", "tag_accuracy")
    labelled = True
    one_text = "tags are those of one text"
    onnx_output = ("the output has no tags for each token", "logits [batch, length, tags]", (3,))
    keys = ("text",)
    options: ClassVar[Options] = {"aggregation_strategy": "none", "ignore_labels": ("O",)}

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Sentences of tagged words; see `tagged.read_tagged`."""
        return read_tagged(file, labels)

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Token ids of each row, cut at the tokenizer's limit, with the characters of each token."""
        unknown = self.signature.unk_token_id
        return [
            Encoded(
                ids=one.ids,
                type_ids=one.type_ids,
                truncated=bool(one.overflowing),
                unknown=0 if unknown is None else one.ids.count(unknown),
                spans=one.offsets,
                sides=[-1 if side is None else side for side in one.sequence_ids],
            )
            for one in tokenizer.encode_batch([text for text, _ in rows])
        ]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Tagged]:
        """The tokens of each row with their logits."""
        prefixed, unknown = _has_prefix(asked.tokenizer), self.signature.unk_token_id
        found = []
        for logits, one, (text, _) in zip(outputs, asked.encoded, asked.rows, strict=True):
            kept = [index for index, side in enumerate(one.sides) if side >= 0]
            spans = tuple(one.spans[index] for index in kept)
            pieces, continues = [], []
            for index, (start, end) in zip(kept, spans, strict=True):
                piece = asked.tokenizer.id_to_token(one.ids[index]) or ""
                # As the pipeline of transformers tells it: a piece with a mark is longer than what it stands for.
                inside = len(piece) != end - start if prefixed else start > 0 and " " not in text[start - 1 : start + 1]
                is_unknown = one.ids[index] == unknown
                pieces.append(text[start:end] if is_unknown else piece)
                continues.append(inside and not is_unknown)
            known = (spans, tuple(pieces), tuple(continues), logits[kept], kept[0] if kept else 0)
            found.append(Tagged(text, *known, self.signature.labels, asked.tokenizer))
        return found

    @override
    def decode(self, outputs: Sequence[Tagged], options: Options = NO_OPTIONS) -> list[list[dict[str, Any]]]:
        """The tokens (`none`) or entities of each text, those with a label of `ignore_labels` left out.

        Raises:
            InputError: there is no such strategy.
        """
        chosen = settings(options, self.options)
        strategy = str(chosen["aggregation_strategy"]).lower()
        if strategy not in STRATEGIES:
            allowed = did_you_mean(strategy, STRATEGIES)
            raise InputError("unknown aggregation_strategy", got=chosen["aggregation_strategy"], allowed=allowed)
        ignored = set(chosen["ignore_labels"])
        found = [tokens_of(row, strategy) for row in outputs]
        if strategy == "none":
            return [[one for one in row if one["entity"] not in ignored] for row in found]
        groups = [grouped(tokens, row.tokenizer) for tokens, row in zip(found, outputs, strict=True)]
        return [[one for one in row if one["entity_group"] not in ignored] for row in groups]

    @override
    def gather(self, predictions: list[Any], *, single: bool = False) -> Any:
        """A list for each text, or the one of a single text."""
        return predictions[0] if single else predictions

    @override
    def to_json(self, prediction: list[dict[str, Any]]) -> dict[str, Any]:
        """`{"entities": [...]}`."""
        return {"entities": prediction}

    @override
    def judged(
        self, outputs: Sequence[Tagged], examples: Sequence[Example]
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Of each text: the entities and words that there are; those found, those named, and the right tags."""
        return _judged(outputs, examples, None)

    @override
    def judged_by_class(
        self, reference: Sequence[Tagged], outputs: Sequence[Tagged], examples: Sequence[Example]
    ) -> dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """By type of entity, over all texts."""
        if self.judged(outputs, examples) is None:
            return {}
        found = {}
        for kind in sorted({one[0] for right in _gold(tuple(examples)) for one in right}):
            first, second = _judged(reference, examples, kind), _judged(outputs, examples, kind)
            assert first is not None
            assert second is not None
            found[kind] = (first[0], first[1], second[1])
        return found

    @override
    def fidelity(self, reference: Sequence[Tagged], outputs: Sequence[Tagged], rows: Sequence[Row]) -> dict[str, float]:
        """How near the outputs are to the baseline's, tags unseen.

        `agreement`, the share of texts with exactly the baseline's entities; `span_agreement`, the F1 of the entities
        with the baseline's for the right ones; `tag_agreement`, the share of words, and `kl` the mean divergence of
        their first tokens' tags.
        """
        same = both = words = equal = 0
        total = 0.0
        counts = 0
        for before, after in zip(reference, outputs, strict=True):
            first, second = set(spans_of(before)), set(spans_of(after))
            same += first == second
            both += len(first & second)
            counts += len(first) + len(second)
            heads = [word[0] for word in words_of(before)]
            words += len(heads)
            if heads:
                one, other = before.logits[heads], after.logits[heads]
                equal += int(np.sum(one.argmax(axis=1) == other.argmax(axis=1)))
                total += float(kl_rows(one, other).sum())
        return {
            "agreement": same / len(outputs),
            "span_agreement": 2 * both / counts if counts else 1.0,
            "tag_agreement": equal / max(1, words),
            "kl": total / max(1, words),
        }

    @override
    def gold(self, outputs: Sequence[Tagged], examples: Sequence[Example]) -> list[str | float | None]:
        """The entities of each text."""
        return [
            None
            if example.tags is None
            else _told(example.text, [(kind, example.words[a][0], example.words[b][1]) for kind, a, b in right])
            for example, right in zip(examples, _gold(tuple(examples)), strict=True)
        ]

    @override
    def answers(self, outputs: Sequence[Tagged], examples: Sequence[Example]) -> list[Answer]:
        """The entities that were found in each text."""
        return [Answer(_told(row.text, spans_of(row)), None) for row in outputs]
