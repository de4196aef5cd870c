"""token-classification: a text in, its tokens' tags or its entities out, as Hugging Face's pipeline returns them.

Scores are of entities: those that the first token of each word marks, against those of the file.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example, has_texts
from octavo.data.rows import Rows, without
from octavo.data.tagged import COLUMNED, read_tagged, words_as_text
from octavo.data.tags import as_iob2, entities, spread
from octavo.encoding.batching import Encoded, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, as_encoded, characters_of, settings
from octavo.errors import InputError, did_you_mean
from octavo.metrics.movement import Margins, furthest_margins
from octavo.metrics.scores import kl_rows, largest_change
from octavo.schema.comparison import Answer
from octavo.tasks.entities import Tagged, TaggedWords, grouped, overlapping, tokens_of, words_of
from octavo.tasks.task import Judged, JudgedByClass, Task

STRATEGIES = ("none", "simple", "first", "average", "max")


def word_tags(row: Tagged, words: Sequence[tuple[int, int]]) -> list[str]:
    """The tag of each word (start, end): that of its first token, O where it has none, as behind the limit."""
    tags, of_words = row.tags, []
    for token, group in groupby(overlapping(words, row.spans)):
        count = len(list(group))
        of_words += ["O"] * count if token is None else spread(tags[token], count)
    return of_words


def as_words(row: Tagged, words: Sequence[tuple[int, int]]) -> TaggedWords:
    """The same by words (start, end)."""
    logits = np.full((len(words), len(row.labels)), np.nan, np.float32)
    for word, token in enumerate(overlapping(words, row.spans)):
        if token is not None:
            logits[word] = row.logits[token]
    return TaggedWords(row.text, tuple(words), tuple(word_tags(row, words)), logits)


@lru_cache(maxsize=1)
def _gold(examples: tuple[Example, ...]) -> list[list[tuple[str, int, int]]]:
    return [entities(example.tags or ()) for example in examples]


def _judged(outputs: Sequence[Tagged], examples: Sequence[Example], kind: str | None) -> Judged | None:
    """`TokenClassification.judged` of the entities of one type, or of all; in a text without tags there are none."""
    if all(example.tags is None for example in examples):
        return None
    gold, predicted = [], []
    for row, example, spans in zip(outputs, examples, _gold(tuple(examples)), strict=True):
        tags = [] if example.tags is None else word_tags(row, example.words)
        expected = {span for span in spans if kind in {None, span[0]}}
        named = {span for span in entities(tags) if kind in {None, span[0]}}
        right_tags = sum(a == b for a, b in zip(as_iob2(tags), as_iob2(example.tags or ()), strict=True))
        gold.append((len(expected), len(tags)))
        predicted.append((len(expected & named), len(named), right_tags))
    return np.array(gold, np.int64), np.array(predicted, np.int64)


def spans_of(row: Tagged | TaggedWords) -> list[tuple[str, int, int]]:
    """The entities of a text as type and characters (start, end), by the first token of each word."""
    if isinstance(row, TaggedWords):
        return [(kind, row.words[a][0], row.words[b][1]) for kind, a, b in entities(row.tags)]
    words, tags = words_of(row), row.tags
    spans = entities([tags[word[0]] for word in words])
    return [(kind, row.spans[words[a][0]][0], row.spans[words[b][-1]][1]) for kind, a, b in spans]


def _of_words(before: Tagged | TaggedWords, after: Tagged | TaggedWords) -> tuple[FloatArray, FloatArray]:
    """The logits of the first tokens of the words that both models read."""
    if isinstance(before, TaggedWords):
        read = ~np.isnan(before.logits[:, 0]) & ~np.isnan(after.logits[:, 0])
        return before.logits[read], after.logits[read]
    heads = [word[0] for word in words_of(before)]
    return before.logits[heads], after.logits[heads]


def _shown(text: str, spans: Sequence[tuple[str, int, int]]) -> str:
    return "; ".join(f"{text[start:end]} ({kind})" for kind, start, end in spans) or "-"


class TokenClassification(Task[Sequence[Tagged]]):
    """A tag for each token of a text, and the entities that they mark."""

    name = "token-classification"
    auto_class = "AutoModelForTokenClassification"
    scores = ("entity_f1", "precision", "recall", "tag_accuracy")
    labelled = True
    tags = True
    lists = True
    one_text = "tags are those of one text"
    onnx_output = ("the output has no tags for each token", "logits [batch, length, tags]", (3,))
    keys = ("text",)
    options: ClassVar[Options] = {"aggregation_strategy": "none", "ignore_labels": ("O",)}

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Sentences of tagged words; see `tagged.read_tagged`."""
        return read_tagged(file, labels)

    @override
    def read_rows(self, file: DataFile) -> Rows:
        """The sentences of a file in columns, or the rows of another; a `.tsv` with a column of texts is a table."""
        path = Path(file.path)
        rows = path.suffix.lower() not in COLUMNED or (path.suffix.lower() == ".tsv" and has_texts(path, file.encoding))
        if rows:
            return super().read_rows(file)
        sentences = read_tagged(file)
        return [(f"{path}, sentence {number}", {"text": row.text}) for number, row in enumerate(sentences, start=1)]

    @override
    def split_row(
        self, row: Mapping[str, Any], columns: Mapping[str, str], place: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The text, or that of a list of words; see `Task`.

        Raises:
            DataError: a word is no text.
        """
        whole = None if columns or "text" in row else words_as_text(row, place)
        return (
            super().split_row(row, columns, place) if whole is None else ({"text": whole[0]}, without(row, whole[1:]))
        )

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Token ids of each row, cut at the tokenizer's limit, with the characters of each token."""
        encodings = tokenizer.encode_batch([text for text, _ in rows])
        return [as_encoded(encoding, self.signature, **characters_of(encoding)) for encoding in encodings]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Tagged]:
        """The tokens of each row with their logits."""
        # Whether the vocabulary marks pieces that go on with a word, as WordPiece does with ##.
        prefixed = bool(getattr(asked.tokenizer.model, "continuing_subword_prefix", None))
        tagged = []
        for logits, encoded, (text, _) in zip(outputs, asked.encoded, asked.rows, strict=True):
            positions = [index for index, side in enumerate(encoded.sides) if side >= 0]
            spans = tuple(encoded.spans[index] for index in positions)
            pieces, continues = [], []
            for index, (start, end) in zip(positions, spans, strict=True):
                piece = asked.tokenizer.id_to_token(encoded.ids[index]) or ""
                # As the pipeline of transformers decides it: a piece with a mark is longer than what it stands for.
                inside = len(piece) != end - start if prefixed else start > 0 and " " not in text[start - 1 : start + 1]
                is_unknown = encoded.ids[index] == self.signature.unk_token_id
                pieces.append(text[start:end] if is_unknown else piece)
                continues.append(inside and not is_unknown)
            tokens = (spans, tuple(pieces), tuple(continues), logits[positions], positions[0] if positions else 0)
            tagged.append(Tagged(text, *tokens, self.signature.labels, asked.tokenizer))
        return tagged

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
        if strategy == "none":
            return [[token for token in tokens_of(row, strategy) if token["entity"] not in ignored] for row in outputs]
        groups = [grouped(tokens_of(row, strategy), row.tokenizer) for row in outputs]
        return [[group for group in row if group["entity_group"] not in ignored] for row in groups]

    @override
    def to_json(self, prediction: list[dict[str, Any]]) -> dict[str, Any]:
        """`{"entities": [...]}`."""
        return {"entities": prediction}

    @override
    def judged(self, outputs: Sequence[Tagged], examples: Sequence[Example]) -> Judged | None:
        """Of each text: the entities and words that there are; those found, those named, and the right tags."""
        return _judged(outputs, examples, None)

    @override
    def margins(
        self, reference: Sequence[Tagged], outputs: Sequence[Tagged], examples: Sequence[Example]
    ) -> Margins | None:
        """Of each text the smallest lead of any token, and the farthest movement; None where tokens are others."""
        if any(before.spans != after.spans for before, after in zip(reference, outputs, strict=True)):
            return None
        return furthest_margins([row.logits for row in reference], [row.logits for row in outputs])

    @override
    def judged_by_class(
        self, reference: Sequence[Tagged], outputs: Sequence[Tagged], examples: Sequence[Example]
    ) -> JudgedByClass:
        """By type of entity, over all texts."""
        by_class = {}
        for kind in sorted({span[0] for spans in _gold(tuple(examples)) for span in spans}):
            before, after = _judged(reference, examples, kind), _judged(outputs, examples, kind)
            assert before is not None
            assert after is not None
            by_class[kind] = (*before, after[1])
        return by_class

    @override
    def by_text(self, outputs: Sequence[Tagged], examples: Sequence[Example]) -> Sequence[Any]:
        """By the words of the file, or what stands between blanks."""
        return [
            as_words(row, example.words or [word.span() for word in re.finditer(r"\S+", row.text)])
            for row, example in zip(outputs, examples, strict=True)
        ]

    @override
    def distances(self, first: Sequence[Any], second: Sequence[Any]) -> NDArray[np.float64]:
        """The largest difference of a tag's probability; of words, of those that both models read."""
        pairs = [
            _of_words(a, b) if isinstance(a, TaggedWords) else (a.logits, b.logits)
            for a, b in zip(first, second, strict=True)
        ]
        return np.array([largest_change(*pair) for pair in pairs])

    @override
    def fidelity(self, reference: Sequence[Tagged], outputs: Sequence[Tagged], rows: Sequence[Row]) -> dict[str, float]:
        """How near the outputs are to the baseline's, tags unseen.

        `agreement`, the share of texts with exactly the baseline's entities; `span_agreement`, the F1 of the entities
        with the baseline's for the right ones; `tag_agreement`, the share of words, and `kl` the mean divergence of
        their first tokens' tags.
        """
        same = both = counts = words = equal = 0
        total = 0.0
        for before, after in zip(reference, outputs, strict=True):
            first, second = set(spans_of(before)), set(spans_of(after))
            same += first == second
            both += len(first & second)
            counts += len(first) + len(second)
            p, q = _of_words(before, after)
            words += len(p)
            if len(p):
                equal += int(np.sum(p.argmax(axis=1) == q.argmax(axis=1)))
                total += float(kl_rows(p, q).sum())
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
            else _shown(example.text, [(kind, example.words[a][0], example.words[b][1]) for kind, a, b in spans])
            for example, spans in zip(examples, _gold(tuple(examples)), strict=True)
        ]

    @override
    def answers(self, outputs: Sequence[Tagged], examples: Sequence[Example]) -> list[Answer]:
        """The entities that were found in each text."""
        return [Answer(_shown(row.text, spans_of(row)), None) for row in outputs]
