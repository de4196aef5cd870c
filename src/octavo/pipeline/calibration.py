"""The user's examples as a method calibrates on them: read, encoded, batched, and remembered by their hashes."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from octavo.arithmetic.vectors import ranges_of, shortened
from octavo.data.examples import DataFile, Example, example_hashes, sample
from octavo.data.ranking import is_ranking, read_pieces
from octavo.data.sentences import SENTENCES
from octavo.encoding.batching import Encoded, Inputs, make_batches
from octavo.encoding.sample_texts import FIXED
from octavo.encoding.tokenizing import Row
from octavo.engines import Session
from octavo.errors import OctavoWarning
from octavo.schema.manifest import CalibrationRecord
from octavo.schema.signature import Pooling, Signature
from octavo.tasks import find_task
from octavo.tasks.task import Task

ENOUGH = 300  # examples: more change the ranges, and the answers, very little
FEW = 100
SIZES = 32  # numbers: a shortened vector has a multiple of it
TOKEN_BUDGET = 1024  # of a batch: what the layers read is held for one batch at a time


@dataclass(frozen=True)
class Calibration:
    """Examples as inputs of the model, and what the artifact remembers of them."""

    batches: tuple[Inputs, ...]
    record: CalibrationRecord


def read_calibration(file: DataFile, tokenizer_json: str, signature: Signature) -> Calibration:
    """Read at most `file.limit` examples (`ENOUGH` where that is None), labels left out, and encode them.

    Of queries and passages, as rankings are scored on, an example is a text, or a reranker's pair.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    task, limit = find_task(signature), file.limit or ENOUGH
    if (ranking := task.ranking()) is None or not is_ranking(file):
        return encode_calibration(task.read_examples(replace(file, limit=limit)), tokenizer_json, task)
    examples, rows = zip(*sample(ranking.pieces(*read_pieces(file)), limit, file.seed), strict=True)
    return encode_calibration(examples, tokenizer_json, task, rows)


def encode_calibration(
    examples: Sequence[Example], tokenizer_json: str, task: Task[Any], rows: Sequence[Row] | None = None
) -> Calibration:
    """Examples that were read, encoded, or these rows of them; a warning where they are few."""
    if len(examples) < FEW:
        warnings.warn(
            f"{len(examples)} examples are few to calibrate on: ranges may be too narrow for what comes; "
            f"{ENOUGH} would do",
            OctavoWarning,
            stacklevel=4,
        )
    encoded = task.encode(task.make_tokenizer(tokenizer_json), task.rows(examples) if rows is None else rows)
    hashes = example_hashes(examples)
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    tokens = sum(len(row.ids) for row in encoded)
    record = CalibrationRecord(rows=len(examples), tokens=tokens, sha256=digest, examples=hashes)
    return Calibration(_batches(task, encoded), record)


def vector_ranges(session: Session, batches: Sequence[Inputs], pooling: Pooling) -> bytes:
    """The ranges of an embedder's numbers on the examples, as safetensors, for every size that may be asked for.

    All of them, and every multiple of `SIZES` below: shortened vectors are brought to length 1 again, so that each size
    has ranges of its own.
    """
    from safetensors.numpy import save

    vectors = np.concatenate([session.run(inputs) for inputs in batches])
    whole, normalize = vectors.shape[1], any(step.kind == "normalize" for step in pooling.steps)
    ranges = {str(whole): ranges_of(vectors)}
    for size in range(SIZES, whole, SIZES):
        ranges[str(size)] = ranges_of(shortened(vectors, size, normalize=normalize))
    return bytes(save(ranges))


def sentence_batches(tokenizer_json: str, signature: Signature, *, odd: bool = False) -> tuple[Inputs, ...]:
    """Octavo's own sentences as inputs of the model, to look at it where the user gave no examples.

    `odd`: with texts that are unlike any sentence.
    """
    task, texts = find_task(signature), (*SENTENCES, *FIXED) if odd else SENTENCES
    return _batches(task, task.encode(task.make_tokenizer(tokenizer_json), task.from_texts(texts)))


def _batches(task: Task[Any], encoded: Sequence[Encoded]) -> tuple[Inputs, ...]:
    budget = min(TOKEN_BUDGET, task.token_budget)
    return tuple(batch.inputs for batch in make_batches(encoded, task.signature, budget))
