"""Length-sorted batches under a token budget, and padding. It knows token ids and nothing of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InputError
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
    """Rows that run together: `rows` are their positions in the input, `inputs` name -> int64 [batch, length].

    `starts` are the places in the batch where a part begins that other models read too (`equal_batches`); by default
    each row is one.
    """

    rows: tuple[int, ...]
    inputs: Inputs
    starts: tuple[int, ...] | None = None

    @property
    def parts(self) -> tuple[int, ...]:
        """The first row of each part."""
        return tuple(range(len(self.rows))) if self.starts is None else self.starts


def plan_batches(
    lengths: Sequence[int],
    token_budget: int = TOKEN_BUDGET,
    most_rows: int = MAX_ROWS,
    sizes: Sequence[int] | None = None,
    *,
    exact: bool = False,
) -> list[tuple[int, ...]]:
    """Group rows of similar length, shortest first, so that rows x longest row stays within the budget.

    A row longer than the budget is a batch of its own. Each row is in exactly one batch, with `most_rows` at most.
    `sizes`: how many rows each one is, by default 1; `exact`: rows of one length alone run together.
    """
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    filled = 0
    for row in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
        size = 1 if sizes is None else sizes[row]
        full = (filled + size) * lengths[row] > token_budget or filled + size > most_rows
        if current and (full or (exact and lengths[row] != lengths[current[0]])):
            batches.append(tuple(current))
            current, filled = [], 0
        current.append(row)
        filled += size
    return [*batches, tuple(current)] if current else batches


def make_batches(
    encoded: Sequence[Encoded], signature: Signature, token_budget: int = TOKEN_BUDGET, most_rows: int = MAX_ROWS
) -> list[Batch]:
    """Plan and pad."""
    lengths = [len(row.ids) for row in encoded]
    plan = plan_batches(lengths, token_budget, most_rows, exact=signature.exact_lengths)
    return [Batch(rows, pad([encoded[row] for row in rows], signature)) for rows in plan]


def equal_batches(
    encodings: Sequence[Sequence[Encoded]], signatures: Sequence[Signature], token_budget: int = TOKEN_BUDGET
) -> list[list[Batch]]:
    """The batches of several models that read the same rows by tokenizers of their own: the same rows in each batch.

    Rows are planned by the longest and most that any model makes of them. Where one is several (windows, choices), it
    is cut into as many parts as the model has that makes fewest of it, so that no batch becomes long by that.

    Raises:
        InputError: there are several, and one needs exact lengths.
    """
    exact = any(signature.exact_lengths for signature in signatures)
    if exact and len(signatures) > 1:
        then = "compare it with models of its own tokenizer"
        raise InputError("padding changes a model's answers, and these models cut texts otherwise", then=then)
    parts = _common_parts(encodings)
    lengths = [max(len(rows[i].ids) for rows, part in zip(encodings, own, strict=True) for i in part) for own in parts]
    plan = plan_batches(lengths, token_budget, sizes=[max(map(len, own)) for own in parts], exact=exact)
    made = []
    for model, (encoded, signature) in enumerate(zip(encodings, signatures, strict=True)):
        batches = []
        for numbers in plan:
            own = [parts[number][model] for number in numbers]
            rows = tuple(row for part in own for row in part)
            starts = tuple(np.cumsum([0, *map(len, own[:-1])]).tolist())
            batches.append(Batch(rows, pad([encoded[row] for row in rows], signature), starts))
        made.append(batches)
    return made


def _common_parts(encodings: Sequence[Sequence[Encoded]]) -> list[tuple[list[int], ...]]:
    """Of each part of each row what every model made of it: positions among its own."""
    owned: list[dict[int, list[int]]] = [{} for _ in encodings]
    for places, encoded in zip(owned, encodings, strict=True):
        for index, tokens in enumerate(encoded):
            places.setdefault(index if tokens.row is None else tokens.row, []).append(index)
    parts = []
    for row in owned[0]:
        of_all = [places[row] for places in owned]
        cut = [np.array_split(places, min(map(len, of_all))) for places in of_all]
        parts += [tuple(part.tolist() for part in part_of_all) for part_of_all in zip(*cut, strict=True)]
    return parts


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
