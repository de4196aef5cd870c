"""multiple-choice: a text and any number of texts to choose from in, the choice that fits best out.

Each choice is a row of the model's, so that rows with different numbers of choices run in one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.choices import read_choices
from octavo.data.examples import DataFile, Example
from octavo.encoding import tokenizing as encoding
from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.errors import DataError
from octavo.metrics.scores import kl_rows, softmax
from octavo.schema.comparison import Answer
from octavo.tasks.task import Task


@dataclass(frozen=True)
class Chosen:
    """What a model says of a row: a logit for each choice, [choices]."""

    choices: tuple[str, ...]
    logits: NDArray[np.float32]

    @property
    def best(self) -> int:
        """The position of the choice with the largest logit."""
        return int(self.logits.argmax())


class MultipleChoice(Task[Sequence[Chosen]]):
    """The choice that fits a text best."""

    name = "multiple-choice"
    auto_class = "AutoModelForMultipleChoice"
    scores = ("accuracy",)
    onnx_output = ("the model does not take a choice a row", "input_ids [batch, length], logits [batch, 1]", (2,))
    keys = ("text", "choices")

    @classmethod
    @override
    def adapt_model(cls, model: Any) -> None:
        """Let the model take [rows, length] and answer [rows, 1], a choice a row: texts may have any number."""
        forward = model.forward

        def one_choice(input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, **more: Any) -> Any:
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return forward(**{name: array[:, None] for name, array in given.items() if array is not None}, **more)

        model.forward = one_choice

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts with their choices; see `choices.read_choices`."""
        return read_choices(file)

    @override
    def from_texts(self, texts: Sequence[str]) -> list[Row]:
        """Each text with the next two to choose from."""
        count = len(texts)
        return [(text, (texts[(i + 1) % count], texts[(i + 2) % count])) for i, text in enumerate(texts)]

    @override
    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Each text with its choices."""
        return [(example.text, example.choices) for example in examples]

    @override
    def parse_row(self, row: Any) -> Row:
        """A text and its choices: a mapping with `text` and `choices`, or a tuple `(text, [choice, ...])`.

        Raises:
            DataError: it is not, or there are fewer than two choices.
        """
        if isinstance(row, Mapping) and set(row) == {"text", "choices"}:
            row = row["text"], row["choices"]
        choices = row[1] if isinstance(row, tuple) and len(row) == 2 else None
        given = choices if isinstance(choices, list | tuple) else ()
        if len(given) < 2 or not all(isinstance(one, str) for one in given):
            got = (
                f"keys {', '.join(map(str, row))}" if isinstance(row, Mapping) else f"{type(row).__name__} {row!r:.80}"
            )
            allowed = '{"text": ..., "choices": [two or more]}, or a tuple (text, choices)'
            raise DataError("a row is a text with choices", got=got, allowed=allowed)
        checked = [encoding.parse_row((row[0], choice)) for choice in given]
        return row[0], tuple(str(choice) for _, choice in checked)

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Each row's text paired with each of its choices."""
        owners = [(index, (text, choice)) for index, (text, choices) in enumerate(rows) for choice in choices or ()]
        found = super().encode(tokenizer, [pair for _, pair in owners], options)
        return [
            Encoded(one.ids, one.type_ids, one.truncated, one.unknown, row=index)
            for one, (index, _) in zip(found, owners, strict=True)
        ]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Chosen]:
        """The logits of each row's choices together."""
        found = []
        for row, group in groupby(zip(asked.encoded, outputs, strict=True), key=lambda one: one[0].row):
            assert row is not None
            logits = np.concatenate([output for _, output in group])
            found.append(Chosen(tuple(asked.rows[row][1] or ()), logits))
        return found

    @override
    def decode(self, outputs: Sequence[Chosen], options: Options = NO_OPTIONS) -> list[dict[str, Any]]:
        """Of each row `{"index", "choice", "score", "scores"}`: the best choice, and the probabilities of all."""
        found = []
        for one in outputs:
            scores = softmax(one.logits).tolist()
            best = {"index": one.best, "choice": one.choices[one.best], "score": scores[one.best]}
            found.append({**best, "scores": scores})
        return found

    @override
    def judged(
        self, outputs: Sequence[Chosen], examples: Sequence[Example]
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The positions of the right choices that are known, and of the chosen ones."""
        known = [(example.label, one.best) for one, example in zip(outputs, examples, strict=True)]
        pairs = np.array([pair for pair in known if pair[0] is not None], np.int64).reshape(-1, 2)
        return (pairs[:, 0], pairs[:, 1]) if len(pairs) else None

    @override
    def fidelity(self, reference: Sequence[Chosen], outputs: Sequence[Chosen], rows: Sequence[Row]) -> dict[str, float]:
        """`agreement`, the share of rows with the baseline's choice, and `kl`, the mean divergence over the choices."""
        pairs = list(zip(reference, outputs, strict=True))
        return {
            "agreement": float(np.mean([one.best == other.best for one, other in pairs])),
            "kl": float(np.mean([kl_rows(one.logits[None], other.logits[None])[0] for one, other in pairs])),
        }

    @override
    def gold(self, outputs: Sequence[Chosen], examples: Sequence[Example]) -> list[str | float | None]:
        """The right choice of each row."""
        return [None if example.label is None else example.choices[example.label] for example in examples]

    @override
    def answers(self, outputs: Sequence[Chosen], examples: Sequence[Example]) -> list[Answer]:
        """Each row's choice and its probability."""
        return [Answer(one.choices[one.best], float(softmax(one.logits)[one.best])) for one in outputs]

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest difference of a choice's logit."""
        return max(float(np.abs(one - other).max()) for one, other in zip(alone, among, strict=True))
