"""Length-sorted batches under a token budget, and padding. It knows token ids and nothing of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.schema.signature import Signature

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
Inputs = dict[str, IntArray]  # of one batch: name -> [batch, length]
Outputs = FloatArray | list[FloatArray]  # [rows, k], or of each row its own [answers, k]
TOKEN_BUDGET = 4096  # tokens of a batch, padding included
WIDE_BUDGET = 512  # where each token is answered with a number for every word of the vocabulary
MAX_ROWS = 256


@dataclass(frozen=True)
class Encoded:
    """One row as the model reads it. `ids` and `type_ids` have the row's own length; `unknown` counts [UNK].

    Tasks that answer more than whole texts keep more: `spans` the characters (start, end) of each token, `sides` the
    text that it belongs to (0, 1, or -1 for special tokens), `row` the position of the row that this is a part of (a
    window of a long text, one of several choices), `hidden` the id that was put behind a mask, `target_ids` what a
    text2text model is to have written.
    """

    ids: Sequence[int]
    type_ids: Sequence[int]
    truncated: bool = False
    unknown: int = 0
    spans: Sequence[tuple[int, int]] = ()
    sides: Sequence[int] = ()
    row: int | None = None
    hidden: int | None = None
    target_ids: Sequence[int] = ()


@dataclass
class Counts:
    """What a predictor has seen: rows, rows cut at the limit, tokens, and unknown ones among them."""

    rows: int = 0
    truncated: int = 0
    tokens: int = 0
    unknown: int = 0

    def add(self, rows: int, encoded: Sequence[Encoded]) -> None:
        """Count rows, and what they became as tokens."""
        self.rows += rows
        self.truncated += sum(row.truncated for row in encoded)
        self.tokens += sum(len(row.ids) for row in encoded)
        self.unknown += sum(row.unknown for row in encoded)


@dataclass(frozen=True)
class Batch:
    """Rows that run together: `rows` are their positions in the input, `inputs` name -> int64 [batch, length]."""

    rows: tuple[int, ...]
    inputs: Inputs


def plan_batches(
    lengths: Sequence[int], token_budget: int = TOKEN_BUDGET, most_rows: int = MAX_ROWS
) -> list[tuple[int, ...]]:
    """Group rows of similar length, shortest first, so that rows x longest row stays within the budget.

    A row longer than the budget is a batch of its own. Each row is in exactly one batch, with `most_rows` at most.
    """
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
        if current and ((len(current) + 1) * lengths[row] > token_budget or len(current) == most_rows):
            batches.append(tuple(current))
            current = []
        current.append(row)
    return [*batches, tuple(current)] if current else batches


def make_batches(
    encoded: Sequence[Encoded], signature: Signature, token_budget: int = TOKEN_BUDGET, most_rows: int = MAX_ROWS
) -> list[Batch]:
    """Plan and pad."""
    plan = plan_batches([len(row.ids) for row in encoded], token_budget, most_rows)
    return [Batch(rows, pad([encoded[row] for row in rows], signature)) for rows in plan]


def pad(rows: Sequence[Encoded], signature: Signature) -> Inputs:
    """The inputs that the model has, each int64 [batch, longest row], padded on the right."""
    shape = (len(rows), max(len(row.ids) for row in rows))
    target_shape = (len(rows), max(len(row.target_ids) for row in rows))
    arrays = {
        "decoder_input_ids": np.full(target_shape, signature.pad_token_id, np.int64),
        "decoder_attention_mask": np.zeros(target_shape, np.int64),
        "input_ids": np.full(shape, signature.pad_token_id, np.int64),
        "attention_mask": np.zeros(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    for index, row in enumerate(rows):
        length = len(row.ids)
        arrays["input_ids"][index, :length] = row.ids
        arrays["attention_mask"][index, :length] = 1
        arrays["token_type_ids"][index, :length] = row.type_ids
        arrays["decoder_input_ids"][index, : len(row.target_ids)] = row.target_ids
        arrays["decoder_attention_mask"][index, : len(row.target_ids)] = 1
    return {name: arrays[name] for name in signature.input_names}


def real_answers(outputs: FloatArray, inputs: Mapping[str, IntArray], signature: Signature) -> Outputs:
    """A batch's outputs without what belongs to padding: [rows, k] as they are, [rows, length, k] row by row.

    Of a model that fills masks, [rows, most masks, k], those of each row's masks are left.
    """
    if outputs.ndim == 2:
        return outputs
    real = inputs["attention_mask"] != 0
    if signature.mask_token_id is not None:
        real = inputs["input_ids"] == signature.mask_token_id
    return [output[:count].copy() for output, count in zip(outputs, real.sum(axis=1).tolist(), strict=True)]


def in_order(parts: Sequence[FloatArray], batches: Sequence[Batch], signature: Signature) -> Outputs:
    """The outputs of batches, of which there is one at least, in the order of the rows and without padding."""
    answers: list[FloatArray] = [parts[0][0]] * sum(len(batch.rows) for batch in batches)
    for batch, part in zip(batches, parts, strict=True):
        for row, answer in zip(batch.rows, real_answers(part, batch.inputs, signature), strict=True):
            answers[row] = answer
    return np.stack(answers) if parts[0].ndim == 2 else answers
