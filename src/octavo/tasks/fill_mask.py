"""fill-mask: a text with masks in, the likeliest words for them out, as Hugging Face's pipeline returns them.

Texts of a comparison have no masks: one token of each is hidden, the same whenever the text is the same, and the score
is how often the model finds it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import WIDE_BUDGET, Encoded, FloatArray, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, as_encoded, encode_texts, settings
from octavo.errors import DataError, InputError
from octavo.metrics.movement import Margins, row_margins
from octavo.metrics.scores import kl_rows, softmax
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.task import Judged, Task


@dataclass(frozen=True)
class Filled:
    """What a model says of a text: the logits [masks, vocabulary]; `hidden` is the token behind a mask of Octavo's."""

    text: str
    ids: tuple[int, ...]
    logits: FloatArray
    hidden: int | None
    tokenizer: Tokenizer

    def word(self, token: int) -> str:
        """A token as text."""
        return str(self.tokenizer.decode([token], skip_special_tokens=False))


def _targets(tokenizer: Tokenizer, words: Sequence[str] | str | None, signature: Signature) -> list[int] | None:
    if words is None:
        return None
    words, tokens = [words] if isinstance(words, str) else words, []
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise InputError("targets are of another kind", got=f"{words!r:.40}", allowed="a word, or a list of words")
    for word in words:
        token = tokenizer.token_to_id(word)
        ids = tokenizer.encode(word, add_special_tokens=False).ids if token is None else [token]
        if len(ids) != 1 or ids[0] == signature.unk_token_id:
            raise InputError("a target is no single token of the vocabulary", got=word)
        tokens.append(int(ids[0]))
    return list(dict.fromkeys(tokens))


def _proposals(row: Filled, place: int, logits: FloatArray, targets: list[int] | None, count: int) -> list[Any]:
    """The likeliest tokens for the mask at `place`, each with the text that it makes."""
    scores, predictions = softmax(logits), []
    among = np.arange(len(scores)) if targets is None else np.array(targets)
    for token in among[np.argsort(-scores[among], kind="stable")[:count]].tolist():
        ids = [*row.ids[:place], token, *row.ids[place + 1 :]]
        sequence = row.tokenizer.decode(ids, skip_special_tokens=len(row.logits) == 1)
        fill = {"score": float(scores[token]), "token": token, "token_str": row.word(token), "sequence": sequence}
        predictions.append(fill)
    return predictions


class FillMask(Task[Sequence[Filled]]):
    """The likeliest words for the masks of a text."""

    name = "fill-mask"
    auto_class = "AutoModelForMaskedLM"
    scores = ("accuracy",)
    fills = True
    of_tokens = True
    lists = True
    token_budget = WIDE_BUDGET
    onnx_output = ("the output has no vocabulary for each token", "logits [batch, length, vocabulary]", (3,))
    options: ClassVar[Options] = {"top_k": 5, "targets": None}

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts or pairs, without labels; see `data.read_examples`."""
        return file.read()

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Token ids of each row, cut at the limit; of a text without a mask one token is hidden behind one."""
        mask = self.signature.mask_token_id
        assert mask is not None
        encoded = []
        for (text, pair), encoding in zip(rows, encode_texts(tokenizer, rows), strict=True):
            ids, hidden = list(encoding.ids), None
            own = [index for index, side in enumerate(encoding.sequence_ids) if side is not None]
            if mask not in ids and own:
                place = own[zlib.crc32(f"{text}\0{pair or ''}".encode()) % len(own)]
                ids[place], hidden = mask, ids[place]
            encoded.append(as_encoded(encoding, self.signature, ids=ids, hidden=hidden))
        return encoded

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Filled]:
        """The logits of each row's masks."""
        return [
            Filled(text, tuple(encoded.ids), logits, encoded.hidden, asked.tokenizer)
            for logits, encoded, (text, _) in zip(outputs, asked.encoded, asked.rows, strict=True)
        ]

    @override
    def decode(self, outputs: Sequence[Filled], options: Options = NO_OPTIONS) -> list[list[Any]]:
        """Of each text a list of `top_k` `{"score", "token", "token_str", "sequence"}`, or one for each of its masks.

        `targets` are the only words to choose from.

        Raises:
            DataError: a text has no mask.
            InputError: `top_k` is below 1, or a target is no token of the vocabulary.
        """
        chosen = settings(options, self.options)
        if chosen["top_k"] < 1:
            raise InputError("top_k is 1 or more", got=chosen["top_k"])
        predictions: list[list[Any]] = []
        for row in outputs:
            if row.hidden is not None or not len(row.logits):
                allowed = f"a {row.tokenizer.id_to_token(self.signature.mask_token_id or 0)} in each"
                raise DataError("a text has no mask, or is cut before it", got=f"{row.text!r:.80}", allowed=allowed)
            targets = _targets(row.tokenizer, chosen["targets"], self.signature)
            places = [index for index, token in enumerate(row.ids) if token == self.signature.mask_token_id]
            pairs = zip(places, row.logits, strict=True)
            masks = [_proposals(row, place, logits, targets, chosen["top_k"]) for place, logits in pairs]
            predictions.append(masks[0] if len(masks) == 1 else masks)
        return predictions

    @override
    def to_json(self, prediction: list[Any]) -> dict[str, Any]:
        """`{"fills": [...]}`."""
        return {"fills": prediction}

    @override
    def judged(self, outputs: Sequence[Filled], examples: Sequence[Example]) -> Judged | None:
        """The hidden tokens and those that the model puts first; None where a text came with masks of its own.

        An empty text counts as wrong.
        """
        if any(row.hidden is None and len(row.logits) for row in outputs):
            return None  # and not the others alone: scores by length hold a row for each example, or its label
        gold = [-1 if row.hidden is None else row.hidden for row in outputs]
        predicted = [int(row.logits[0].argmax()) if len(row.logits) else -2 for row in outputs]
        return np.array(gold, np.int64), np.array(predicted, np.int64)

    @override
    def margins(
        self, reference: Sequence[Filled], outputs: Sequence[Filled], examples: Sequence[Example]
    ) -> Margins | None:
        """Of the hidden tokens; None where a text has none, as an empty one."""
        if any(row.hidden is None for row in outputs):
            return None
        gold = np.array([row.hidden for row in outputs], np.int64)
        return row_margins([row.logits[0] for row in reference], [row.logits[0] for row in outputs], gold)

    @override
    def fidelity(self, reference: Sequence[Filled], outputs: Sequence[Filled], rows: Sequence[Row]) -> dict[str, float]:
        """`agreement`, the share of texts with the baseline's tokens at all masks; `kl`, the mean divergence there."""
        pairs = list(zip(reference, outputs, strict=True))
        same = [np.array_equal(a.logits.argmax(axis=1), b.logits.argmax(axis=1)) for a, b in pairs]
        parts = [kl_rows(a.logits, b.logits) for a, b in pairs if len(a.logits)]
        return {"agreement": float(np.mean(same)), "kl": float(np.concatenate(parts).mean()) if parts else 0.0}

    @override
    def gold(self, outputs: Sequence[Filled], examples: Sequence[Example]) -> list[str | float | None]:
        """The hidden token of each text."""
        return [None if row.hidden is None else row.word(row.hidden) for row in outputs]

    @override
    def answers(self, outputs: Sequence[Filled], examples: Sequence[Example]) -> list[Answer]:
        """What the model puts first, with its probability where there is one mask."""
        answers = []
        for row in outputs:
            tokens = row.logits.argmax(axis=1).tolist()
            score = float(softmax(row.logits[0]).max()) if len(tokens) == 1 else None
            answers.append(Answer(" ".join(map(row.word, tokens)) or "-", score))
        return answers
