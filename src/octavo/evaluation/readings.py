"""How the models of a comparison read the examples: each by its own tokenizer, in batches that have the same rows."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from octavo.data.examples import Example
from octavo.encoding.batching import Batch, equal_batches
from octavo.encoding.tokenizing import Asked
from octavo.errors import InputError, OctavoWarning
from octavo.evaluation.entries import Entry
from octavo.inference.predictor import UNKNOWN_SHARE, unknown_warning
from octavo.schema.signature import Signature
from octavo.tasks.task import Task


@dataclass(frozen=True)
class Reading:
    """What models with one tokenizer read: `task` is bound to the signature of the first of them."""

    task: Task[Any]
    examples: Sequence[Example]
    asked: Asked
    seconds: float

    @cached_property
    def tokens(self) -> int:
        """How many the models read."""
        return sum(len(row.ids) for row in self.asked.encoded)

    @cached_property
    def truncated(self) -> int:
        """How many rows are cut at the limit."""
        return sum(row.truncated for row in self.asked.encoded)

    def first_difference(self, other: "Reading") -> int | None:
        """The first row of token ids that another reading has otherwise, None where there is none."""
        ours, theirs = self.asked.encoded, other.asked.encoded
        for index, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            if list(a.ids) != list(b.ids) or list(a.type_ids) != list(b.type_ids):
                return index
        return None if len(ours) == len(theirs) else min(len(ours), len(theirs)) - 1


def read_entries(entries: Sequence[Entry], examples: Sequence[Example], task: Task[Any]) -> list[Reading]:
    """The reading of each entry, the same object for those whose tokens are the same.

    Labels, limit and similarity are those of the task's signature, all else (padding, masks) is each model's own.

    Raises:
        InputError: tokens differ, and the answers are tokens.
    """
    readings: list[Reading] = []
    asked: list[tuple[str, Signature]] = []
    for entry in entries:
        how = entry.tokenizer_json, _bounded(entry.signature, task.signature)
        if how in asked:
            reading = readings[asked.index(how)]
        else:
            made = _read(task, *how, examples)
            reading = next((other for other in readings if other.first_difference(made) is None), made)
        _require_one_vocabulary((entries[0], readings[0] if readings else reading), (entry, reading))
        readings.append(reading)
        asked.append(how)
    _warn_of_unknown(readings, entries)
    return readings


def _bounded(own: Signature, common: Signature) -> Signature:
    """A model's own signature, but for what all share."""
    shared: dict[str, Any] = {"labels": common.labels, "max_length": common.max_length}
    if own.pooling and common.pooling:
        shared["pooling"] = own.pooling.model_copy(update={"similarity": common.pooling.similarity})
    return own.model_copy(update=shared)


def _read(task: Task[Any], tokenizer_json: str, signature: Signature, examples: Sequence[Example]) -> Reading:
    task, start = task.bound_to(signature), time.perf_counter()
    tokenizer = task.make_tokenizer(tokenizer_json)
    examples, rows, encoded = task.prepare(tokenizer, examples)
    return Reading(task, examples, Asked(rows, encoded, tokenizer), time.perf_counter() - start)


def _require_one_vocabulary(baseline: tuple[Entry, Reading], other: tuple[Entry, Reading]) -> None:
    """See that answers that are tokens are of one vocabulary.

    Raises:
        InputError: they are not.
    """
    (entry, first), (candidate, reading) = baseline, other
    index = first.first_difference(reading)
    sizes = {model.signature.vocab_size for model in (entry, candidate)} - {None}
    if not first.task.of_tokens or (index is None and not (first.task.fills and len(sizes) > 1)):
        return
    got = " and ".join(f"{size:,} tokens" for size in sizes)
    if index is not None:
        row = first.asked.encoded[index].row
        got = f"row {index}: {first.asked.rows[index if row is None else row][0]!r:.60}"
    raise InputError(
        f"the tokenizers of {candidate.name} and {entry.name} differ, and what models for {first.task.name} answer are "
        "tokens: their scores are not about the same thing",
        got=got,
        then="compare those with one tokenizer, and each of the others alone",
    )


def _warn_of_unknown(readings: Sequence[Reading], entries: Sequence[Entry]) -> None:
    named = {
        id(reading): (reading, entry.name) for reading, entry in reversed(list(zip(readings, entries, strict=True)))
    }
    for reading, name in reversed(named.values()):
        unknown = sum(row.unknown for row in reading.asked.encoded) / reading.tokens
        if unknown > UNKNOWN_SHARE:
            text = unknown_warning(unknown)
            warnings.warn(text if len(named) == 1 else f"{name}: {text}", OctavoWarning, stacklevel=5)


def batches_of(readings: Sequence[Reading], entries: Sequence[Entry]) -> list[list[Batch]]:
    """The batches of each entry: the same rows in each, and the same batches where the tokens are the same."""
    distinct = list({id(reading): reading for reading in readings}.values())
    signatures = []
    for reading in distinct:
        readers = [entry for entry, own in zip(entries, readings, strict=True) if own is reading]
        names = dict.fromkeys(
            name for entry in readers for name in entry.signature.input_names
        )  # that any of them reads
        exact = any(entry.signature.exact_lengths for entry in readers)
        shared = {"input_names": tuple(names), "exact_lengths": exact}
        signatures.append(reading.task.signature.model_copy(update=shared))
    encodings = [reading.asked.encoded for reading in distinct]
    made = equal_batches(encodings, signatures, distinct[0].task.token_budget)
    places = {id(reading): place for place, reading in enumerate(distinct)}
    return [made[places[id(reading)]] for reading in readings]
