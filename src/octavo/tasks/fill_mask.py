"""fill-mask: a text with masks in, the likeliest words for them out, as Hugging Face's pipeline returns them.

Texts of a comparison have no masks: one token of each is hidden, the same whenever the text is the same, and the score
is how often the model finds it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.examples import DataFile, Example
from octavo.encoding.batching import WIDE_BUDGET, Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row, settings
from octavo.errors import DataError, InputError
from octavo.metrics.scores import kl_rows, softmax
from octavo.schema.comparison import Answer
from octavo.schema.signature import Signature
from octavo.tasks.task import Task


@dataclass(frozen=True)
class Filled:
    """What a model says of a text: the logits [masks, vocabulary]; `hidden` is the token behind a mask of Octavo's."""

    text: str
    ids: tuple[int, ...]
    logits: NDArray[np.float32]
    hidden: int | None
    tokenizer: Tokenizer

    def word(self, token: int) -> str:
        """A token as text."""
        return str(self.tokenizer.decode([token], skip_special_tokens=False))


def _targets(tokenizer: Tokenizer, words: Sequence[str] | str | None, signature: Signature) -> list[int] | None:
    if words is None:
        return None
    words, found = [words] if isinstance(words, str) else words, []
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise InputError("targets are of another kind", got=f"{words!r:.40}", allowed="a word, or a list of words")
    for word in words:
        token = tokenizer.token_to_id(word)
        ids = tokenizer.encode(word, add_special_tokens=False).ids if token is None else [token]
        if len(ids) != 1 or ids[0] == signature.unk_token_id:
            raise InputError("a target is no single token of the vocabulary", got=word)
        found.append(int(ids[0]))
    return list(dict.fromkeys(found))


def _proposals(
    one: Filled, number: int, count: int, targets: list[int] | None, signature: Signature
) -> list[dict[str, Any]]:
    """The likeliest tokens for a mask, each with the text that it makes."""
    scores = softmax(one.logits[number])
    among = np.arange(len(scores)) if targets is None else np.array(targets)
    place = [index for index, token in enumerate(one.ids) if token == signature.mask_token_id][number]
    found = []
    for token in among[np.argsort(-scores[among], kind="stable")[:count]].tolist():
        ids = [token if index == place else old for index, old in enumerate(one.ids)]
        sequence = one.tokenizer.decode(ids, skip_special_tokens=len(one.logits) == 1)
        told = {"score": float(scores[token]), "token": token, "token_str": one.word(token)}
        found.append({**told, "sequence": sequence})
    return found


class FillMask(Task[Sequence[Filled]]):
    """The likeliest words for the masks of a text."""

    name = "fill-mask"
    auto_class = "AutoModelForMaskedLM"
    scores = ("accuracy",)
    fills = True
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
        unknown, mask = self.signature.unk_token_id, self.signature.mask_token_id
        assert mask is not None
        found = []
        for (text, pair), one in zip(
            rows, tokenizer.encode_batch([t if p is None else (t, p) for t, p in rows]), strict=True
        ):
            ids, hidden = list(one.ids), None
            own = [index for index, side in enumerate(one.sequence_ids) if side is not None]
            if mask not in ids and own:
                place = own[zlib.crc32(f"{text}\0{pair or ''}".encode()) % len(own)]
                ids[place], hidden = mask, ids[place]
            missing = 0 if unknown is None else ids.count(unknown)
            found.append(Encoded(ids, one.type_ids, bool(one.overflowing), missing, hidden=hidden))
        return found

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Filled]:
        """The logits of each row's masks."""
        return [
            Filled(text, tuple(one.ids), logits, one.hidden, asked.tokenizer)
            for logits, one, (text, _) in zip(outputs, asked.encoded, asked.rows, strict=True)
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
        found: list[list[Any]] = []
        for one in outputs:
            if one.hidden is not None or not len(one.logits):
                mask = one.tokenizer.id_to_token(self.signature.mask_token_id or 0)
                raise DataError(
                    "a text has no mask, or is cut before it", got=f"{one.text!r:.80}", allowed=f"a {mask} in each"
                )
            targets = _targets(one.tokenizer, chosen["targets"], self.signature)
            masks = [
                _proposals(one, number, chosen["top_k"], targets, self.signature) for number in range(len(one.logits))
            ]
            found.append(masks[0] if len(masks) == 1 else masks)
        return found

    @override
    def gather(self, predictions: list[Any], *, single: bool = False) -> Any:
        """A list for each text, or the one of a single text."""
        return predictions[0] if single else predictions

    @override
    def to_json(self, prediction: list[Any]) -> dict[str, Any]:
        """`{"fills": [...]}`."""
        return {"fills": prediction}

    @override
    def judged(
        self, outputs: Sequence[Filled], examples: Sequence[Example]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The hidden tokens and those that the model puts first; None where a text came with masks of its own.

        An empty text counts as wrong.
        """
        if any(one.hidden is None and len(one.logits) for one in outputs):
            return None  # and not the others alone: scores by length hold a row for each example, or its label
        gold = [-1 if one.hidden is None else one.hidden for one in outputs]
        said = [int(one.logits[0].argmax()) if len(one.logits) else -2 for one in outputs]
        return np.array(gold, np.int64), np.array(said, np.int64)

    @override
    def fidelity(self, reference: Sequence[Filled], outputs: Sequence[Filled], rows: Sequence[Row]) -> dict[str, float]:
        """`agreement`, the share of texts with the baseline's tokens at all masks; `kl`, the mean divergence there."""
        pairs = list(zip(reference, outputs, strict=True))
        same = [np.array_equal(one.logits.argmax(axis=1), two.logits.argmax(axis=1)) for one, two in pairs]
        parts = [kl_rows(one.logits, two.logits) for one, two in pairs if len(one.logits)]
        return {"agreement": float(np.mean(same)), "kl": float(np.concatenate(parts).mean()) if parts else 0.0}

    @override
    def gold(self, outputs: Sequence[Filled], examples: Sequence[Example]) -> list[str | float | None]:
        """The hidden token of each text."""
        return [None if one.hidden is None else one.word(one.hidden) for one in outputs]

    @override
    def answers(self, outputs: Sequence[Filled], examples: Sequence[Example]) -> list[Answer]:
        """What the model puts first, with its probability where there is one mask."""
        found = []
        for one in outputs:
            tokens = one.logits.argmax(axis=1).tolist()
            score = float(softmax(one.logits[0]).max()) if len(tokens) == 1 else None
            found.append(Answer(" ".join(one.word(token) for token in tokens) or "-", score))
        return found
