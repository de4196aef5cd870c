"""multiple-choice: a text and any number of texts to choose from in, the choice that fits best out.

Each choice is a row of the model's, so that rows with different numbers of choices run in one batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from octavo.data.choices import choice_columns, choices_of, read_choices
from octavo.data.examples import DataFile, Example
from octavo.data.rows import without
from octavo.encoding import tokenizing as encoding
from octavo.encoding.batching import Encoded, Outputs
from octavo.encoding.tokenizing import NO_OPTIONS, Asked, Options, Row
from octavo.errors import DataError
from octavo.metrics.movement import Margins, row_margins
from octavo.metrics.scores import kl_rows, softmax
from octavo.schema.comparison import Answer
from octavo.tasks.task import Judged, Task


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
    chooses = True

    @property
    @override
    def takes_labels(self) -> bool:
        """Always: the right choice."""
        return True

    @override
    def adapt_model(self, model: Any) -> None:
        """Let the model take [rows, length] and answer [rows, 1], a choice a row: texts may have any number."""
        forward = model.forward

        def one_choice(input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, **more: Any) -> Any:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            return forward(**{name: array[:, None] for name, array in inputs.items() if array is not None}, **more)

        model.forward = one_choice

    @override
    def read_examples(self, file: DataFile, labels: Sequence[str] = ()) -> tuple[Example, ...]:
        """Texts with their choices; see `choices.read_choices`."""
        return read_choices(file)

    @override
    def split_row(
        self, row: Mapping[str, Any], columns: Mapping[str, str], place: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The text and its choices, by the names that `read_examples` knows; see `Task`.

        Raises:
            DataError: the row has none.
        """
        named = choice_columns(list(row), columns, place)
        text, choices, _ = choices_of(row, named, place)
        return {"text": text, "choices": list(choices)}, without(row, named.read)

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
        choices = choices if isinstance(choices, list | tuple) else ()
        if len(choices) < 2 or not all(isinstance(choice, str) for choice in choices):
            allowed = '{"text": ..., "choices": [two or more]}, or a tuple (text, choices)'
            raise DataError("a row is a text with choices", got=encoding.describe_row(row), allowed=allowed)
        return row[0], tuple(str(encoding.parse_row((row[0], choice))[1]) for choice in choices)

    @override
    def encode(self, tokenizer: Tokenizer, rows: Sequence[Row], options: Options = NO_OPTIONS) -> list[Encoded]:
        """Each row's text paired with each of its choices; with an empty one too, as these models are trained."""
        owners = [(index, (text, choice)) for index, (text, choices) in enumerate(rows) for choice in choices or ()]
        encodings = tokenizer.encode_batch([pair for _, pair in owners])
        pairs = zip(encodings, owners, strict=True)
        return [encoding.as_encoded(tokens, self.signature, row=index) for tokens, (index, _) in pairs]

    @override
    def read(self, outputs: Outputs, asked: Asked) -> list[Chosen]:
        """The logits of each row's choices together."""
        answers = []
        for row, group in groupby(zip(asked.encoded, outputs, strict=True), key=lambda pair: pair[0].row):
            assert row is not None
            answers.append(Chosen(tuple(asked.rows[row][1] or ()), np.concatenate([output for _, output in group])))
        return answers

    @override
    def decode(self, outputs: Sequence[Chosen], options: Options = NO_OPTIONS) -> list[dict[str, Any]]:
        """Of each row `{"index", "choice", "score", "scores"}`: the best choice, and the probabilities of all."""
        rows = [(row.best, row.choices[row.best], softmax(row.logits).tolist()) for row in outputs]
        return [{"index": i, "choice": choice, "score": scores[i], "scores": scores} for i, choice, scores in rows]

    @override
    def judged(self, outputs: Sequence[Chosen], examples: Sequence[Example]) -> Judged | None:
        """The positions of the right choices that are known, and of the chosen ones."""
        pairs = zip(outputs, examples, strict=True)
        known = np.array([(example.label, row.best) for row, example in pairs if example.label is not None], np.int64)
        return (known[:, 0], known[:, 1]) if len(known) else None

    @override
    def margins(
        self, reference: Sequence[Chosen], outputs: Sequence[Chosen], examples: Sequence[Example]
    ) -> Margins | None:
        """Of the rows whose right choice is known."""
        rows = zip(reference, outputs, examples, strict=True)
        known = [(a.logits, b.logits, example.label) for a, b, example in rows if example.label is not None]
        gold = np.array([label for _, _, label in known], np.int64)
        return row_margins([before for before, _, _ in known], [after for _, after, _ in known], gold)

    @override
    def fidelity(self, reference: Sequence[Chosen], outputs: Sequence[Chosen], rows: Sequence[Row]) -> dict[str, float]:
        """`agreement`, the share of rows with the baseline's choice, and `kl`, the mean divergence over the choices."""
        pairs = list(zip(reference, outputs, strict=True))
        return {
            "agreement": float(np.mean([a.best == b.best for a, b in pairs])),
            "kl": float(np.mean([kl_rows(a.logits[None], b.logits[None])[0] for a, b in pairs])),
        }

    @override
    def gold(self, outputs: Sequence[Chosen], examples: Sequence[Example]) -> list[str | float | None]:
        """The right choice of each row."""
        return [None if example.label is None else example.choices[example.label] for example in examples]

    @override
    def answers(self, outputs: Sequence[Chosen], examples: Sequence[Example]) -> list[Answer]:
        """Each row's choice and its probability."""
        return [Answer(row.choices[row.best], float(softmax(row.logits)[row.best])) for row in outputs]

    @override
    def batch_effect(self, alone: Outputs, among: Outputs) -> float:
        """The largest difference of a choice's logit."""
        return max(float(np.abs(a - b).max()) for a, b in zip(alone, among, strict=True))
