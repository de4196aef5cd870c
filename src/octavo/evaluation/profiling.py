"""Where the time of a model goes, and how near it comes to what this machine can do in int8."""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from octavo.checkpoint.paths import find_onnx, kind_of
from octavo.checkpoint.source import Checkpoint
from octavo.checkpoint.weights import has_weights
from octavo.data.examples import DataFile
from octavo.encoding.batching import make_batches
from octavo.engines.onnxruntime import OnnxRuntimeSession
from octavo.errors import InputError
from octavo.evaluation.entries import Entry, find_entries
from octavo.hardware import choose_threads
from octavo.inspection.models import inspect
from octavo.schema.comparison import PARTS, Profile
from octavo.schema.signature import lower_limit
from octavo.tasks import find_task, task_over


def profile_nodes(
    model: Path, batches: Sequence[dict[str, NDArray[np.int64]]], threads: int | None = None
) -> list[tuple[str, str, float]]:
    """Run the batches once, after a warm-up, and time every node: (node, operator as it was fused, seconds).

    By ONNX Runtime's profiler, which slows what it measures down a little.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = choose_threads(threads)
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for batch in (batches[0], *batches):
            session.run(None, batch)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    start, ending = [event["ts"] for event in events if event["name"] == "model_run"][1], "_kernel_time"
    return [
        (event["name"].removesuffix(ending), event["args"]["op_name"], event["dur"] / 1e6)
        for event in events
        if event["ts"] >= start and event["name"].endswith(ending) and event.get("cat") == "Node"
    ]


def int8_peak(threads: int | None = None) -> float:
    """Integer operations a second that a large u8 x s8 product reaches here: the best of several runs.

    [1024, 1024] x [1024, 4096]; a multiplication and an addition are two operations. The weights stay within 7 bits.
    """
    import onnx_ir as ir

    rows, inner, outputs = 1024, 1024, 4096
    codes = ir.tensor(np.random.default_rng(0).integers(-64, 65, (inner, outputs), np.int8), name="codes")
    weight = ir.Value(
        name="codes", const_value=codes, shape=ir.Shape([inner, outputs]), type=ir.TensorType(codes.dtype)
    )
    x = ir.val("x", ir.DataType.UINT8, [rows, inner])
    product = ir.node("MatMulInteger", [x, weight], name="product")
    y = product.outputs[0]
    y.name, y.dtype, y.shape = "y", ir.DataType.INT32, ir.Shape([rows, outputs])
    graph = ir.Graph([x], [y], nodes=[product], initializers=[weight], opset_imports={"": 20}, name="peak")
    session = OnnxRuntimeSession(
        ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString(), choose_threads(threads)
    )
    feed: Any = {"x": np.random.default_rng(1).integers(0, 256, (rows, inner)).astype(np.uint8)}
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        session.run(feed)
        seconds.append(time.perf_counter() - start)
    return 2.0 * rows * inner * outputs / min(seconds)


ROWS = 500  # a seeded sample of so many rows is enough for shares
_INTEGER = {
    "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm", "MatMulNBits",
}  # fmt: skip
_OPERATORS = {
    "matrix products": {"MatMul", "Gemm", "FusedMatMul", "FusedGemm", *_INTEGER},
    "attention": {"Attention", "MultiHeadAttention", "QAttention", "Softmax", "QLinearSoftmax"},
    "quantizing": {"DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "ReduceMax", "ReduceMin"},
    "embeddings": {"Gather", "EmbedLayerNormalization", "QEmbedLayerNormalization", "GatherBlockQuantized"},
}  # fmt: skip


def profile(model: str | Path | Checkpoint, *, data: str | Path | DataFile, threads: int | None = None) -> Profile:
    """Attribute the time of an artifact, or of any ONNX model, to its parts; on a sample of the data.

    Raises:
        InputError: it is a checkpoint, which torch runs; or what `compare` raises for it.
    """
    (entry,) = require_profiled([model])
    file = data if isinstance(data, DataFile) else DataFile(data)
    signature = lower_limit(entry.signature, file.max_length)
    task = task_over(signature, file)
    rows = task.rows(task.read_examples(replace(file, limit=min(file.limit or ROWS, ROWS))))
    encoded = task.encode(task.make_tokenizer(entry.tokenizer_json), rows)
    batches = make_batches(encoded, signature, task.token_budget)
    path = find_onnx(entry.contender.path)
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    rest: dict[str, float] = defaultdict(float)
    integer_seconds = 0.0
    for node, operator, node_seconds in profile_nodes(
        path, [batch.inputs for batch in batches], choose_threads(threads)
    ):
        part = part_of_time(node, operator)
        seconds[part] += node_seconds
        integer_seconds += node_seconds if operator in _INTEGER else 0.0
        if part == "the rest":
            rest[operator] += node_seconds
    # Each token passes every Linear of the encoder, as often as the graph reads it; a head reads one, or is small.
    integers = [
        weight
        for weight in inspect(path).weights
        if not weight.is_float and weight.kind == "linear" and weight.part != "head"
    ]
    tokens = sum(batch.inputs["input_ids"].size for batch in batches)
    operations = 2.0 * tokens * sum(weight.parameters * weight.uses for weight in integers)
    return Profile(
        name=entry.name,
        rows=len(rows),
        seconds=seconds,
        largest_of_the_rest=dict(sorted(rest.items(), key=lambda item: -item[1])[:4]),
        operations=operations / integer_seconds if operations and integer_seconds else None,
        peak=int8_peak(threads),
    )


def with_graphs(models: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The models that are ONNX graphs: torch models have no profile."""
    kinds = [kind_of(model.path) for model in models]
    return [
        model
        for model, kind in zip(models, kinds, strict=True)
        if kind == "onnx" or (kind == "artifact" and not has_weights(Path(model.path)))
    ]


def require_profiled(models: Sequence[str | Path | Checkpoint]) -> list[Entry]:
    """The entries of the models, checked to be ones that can be profiled.

    Raises:
        InputError: one is no ONNX model of ONNX Runtime's, or one that writes.
    """
    entries = [find_entries(model)[0] for model in models]
    for entry in entries:
        if entry.contender.engine != "onnxruntime":
            raise InputError("only ONNX models have a profile", got=entry.name, then="quantize it with --method float")
        if find_task(entry.signature).writes:
            raise InputError("models that write have no profile", got=f"{entry.name}: {entry.signature.task}")
    return entries


def part_of_time(node: str, operator: str) -> str:
    """The part that a node's time belongs to, by what ONNX Runtime made of it and by its module."""
    other = "embeddings" if "embedding" in node.lower() else "the rest"
    return next((part for part, operators in _OPERATORS.items() if operator in operators), other)
