"""Where the time of a model goes, and how near it comes to what this machine can do in int8."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from octavo.batching import make_batches
from octavo.data import DataFile
from octavo.engines.onnxruntime import int8_peak, profile_nodes
from octavo.errors import InputError
from octavo.evaluation.entries import Entry, find_entries
from octavo.hardware import choose_threads
from octavo.inspection import find_onnx, inspect
from octavo.signature import lower_limit
from octavo.source import Checkpoint
from octavo.tasks import find_task

ROWS = 500  # a seeded sample of so many rows is enough for shares
PARTS = ("matrix products", "attention", "quantizing", "embeddings", "the rest")
_INTEGER = {
    "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm", "MatMulNBits",
}  # fmt: skip
_OPERATORS = {
    "matrix products": {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", *_INTEGER},
    "attention": {"Attention", "MultiHeadAttention", "QAttention", "Softmax", "QLinearSoftmax"},
    "quantizing": {"DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "ReduceMax", "ReduceMin"},
    "embeddings": {"Gather", "EmbedLayerNormalization", "QEmbedLayerNormalization", "GatherBlockQuantized"},
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """Seconds of a model by part, and the largest operators of the rest.

    `operations` a second in its integer matrix products (None for a float model), `peak` those of a large product
    on this machine, measured in the same minute. Products that quantize their input themselves
    (DynamicQuantizeMatMul) count as products.
    """

    name: str
    rows: int
    seconds: dict[str, float]
    largest_of_the_rest: dict[str, float]
    operations: float | None
    peak: float

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON takes it."""
        return asdict(self)


def profile(model: str | Path | Checkpoint, *, data: str | Path | DataFile, threads: int | None = None) -> Profile:
    """Attribute the time of an artifact, or of any ONNX model, to its parts; on a sample of the data.

    Raises:
        InputError: it is a checkpoint, which torch runs; or what `compare` raises for it.
    """
    (entry,) = require_profiled([model])
    file = data if isinstance(data, DataFile) else DataFile(data)
    signature = lower_limit(entry.signature, file.max_length)
    task = find_task(signature.task)
    rows = task.rows(task.read_examples(replace(file, limit=min(file.limit or ROWS, ROWS))), signature)
    batches = make_batches(
        task.encode(task.make_tokenizer(entry.tokenizer_json, signature), rows, signature), signature
    )
    path = find_onnx(entry.contender.path)
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    rest: dict[str, float] = defaultdict(float)
    integer_seconds = 0.0
    for node, operator, spent in profile_nodes(path, [batch.inputs for batch in batches], choose_threads(threads)):
        part = part_of_time(node, operator)
        seconds[part] += spent
        integer_seconds += spent if operator in _INTEGER else 0.0
        if part == "the rest":
            rest[operator] += spent
    # Each token passes every Linear of the encoder, as often as the graph reads it; a head reads one, or is small.
    weights = inspect(path).weights
    integers = [one for one in weights if not one.is_float and one.kind == "linear" and one.part != "head"]
    tokens = sum(batch.inputs["input_ids"].size for batch in batches)
    operations = 2.0 * tokens * sum(one.parameters * one.uses for one in integers)
    return Profile(
        name=entry.name,
        rows=len(rows),
        seconds=seconds,
        largest_of_the_rest=dict(sorted(rest.items(), key=lambda item: -item[1])[:4]),
        operations=operations / integer_seconds if operations and integer_seconds else None,
        peak=int8_peak(threads),
    )


def require_profiled(models: Sequence[str | Path | Checkpoint]) -> list[Entry]:
    """The models, each as one that can be profiled.

    Raises:
        InputError: one is no ONNX model of ONNX Runtime's, or one that writes.
    """
    entries = [find_entries(model)[0] for model in models]
    for entry in entries:
        if entry.contender.engine != "onnxruntime":
            raise InputError("only ONNX models have a profile", got=entry.name, then="quantize it with --method float")
        if entry.signature.generation is not None:
            raise InputError("models that write have no profile", got=f"{entry.name}: {entry.signature.task}")
    return entries


def part_of_time(node: str, operator: str) -> str:
    """The part that a node's time belongs to, by what ONNX Runtime made of it and by its module."""
    found = next((part for part, operators in _OPERATORS.items() if operator in operators), "the rest")
    return "embeddings" if found == "the rest" and "embedding" in node.lower() else found
