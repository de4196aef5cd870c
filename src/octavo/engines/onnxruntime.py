"""Runs an ONNX model in ONNX Runtime, on the CPU."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from octavo.engines import answer_names
from octavo.engines.cache import Port, complete
from octavo.errors import ArtifactError, OctavoError
from octavo.hardware import choose_threads

if TYPE_CHECKING:
    import onnx_ir as ir

LIGHT = 1 << 16  # bytes of an initializer that is copied with the graph


class OnnxRuntimeSession:
    """A session of ONNX Runtime; `run` may be called from several threads."""

    name = "onnxruntime"
    streams = 1

    def __init__(
        self, model: Path | bytes, threads: int, weights: Mapping[str, NDArray[np.generic]] | None = None
    ) -> None:
        """Load the model, as a file or as serialized bytes, with that many threads for one run.

        `weights` are the arrays that a serialized model declares as external data; it reads them where they are.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors come as exceptions, its warnings speak of graph internals
        # Threads that spin after a run disturb whatever runs next to them; they still spin while one is under way.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in (weights or {}).items()
        }
        if self._weights:
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception class for each of its status codes
            where = None if isinstance(model, bytes) else model
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError("ONNX Runtime cannot load the model", where=where, got=reason) from None
        self.threads = threads
        self.inputs = {port.name: Port(port.type, tuple(port.shape)) for port in self._session.get_inputs()}
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._outputs = answer_names(self.outputs)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        found = self.fetch(inputs, self._outputs)
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    def fetch(self, inputs: dict[str, NDArray[np.int64]], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Run one batch and return the outputs of these names; a cache that is not given is empty (`engines.cache`)."""
        try:
            return [np.asarray(found) for found in self._session.run(list(outputs), complete(inputs, self.inputs))]
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise OctavoError("ONNX Runtime could not run the model", got=reason) from None

    def run_values(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run one batch of ONNX Runtime's own values, not copied, or of arrays; all outputs by name."""
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }
        try:
            return dict(zip(self.outputs, self._session.run_with_ort_values(self.outputs, values), strict=True))
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise OctavoError("ONNX Runtime could not run the model", got=reason) from None


def open_graph(graph: ir.Model, threads: int | None = None) -> OnnxRuntimeSession:
    """A session over a graph and its arrays as they are in memory: a file of them would take ten times as long."""
    import onnx_ir as ir

    light, weights = graph.clone(deep_copy=False), {}
    for name, value in light.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > LIGHT:
            weights[name] = np.ascontiguousarray(tensor.numpy())
            value.const_value = ir.ExternalTensor(
                "memory", 0, tensor.nbytes, ir.DataType(tensor.dtype), shape=ir.Shape(weights[name].shape), name=name
            )
    return OnnxRuntimeSession(ir.to_proto(light).SerializeToString(), choose_threads(threads), weights)


def profile_nodes(
    model: Path, batches: Sequence[dict[str, NDArray[np.int64]]], threads: int | None = None
) -> list[tuple[str, str, float]]:
    """Run the batches once, after a warm-up, and time every node: (node, operator as it was fused, seconds).

    By ONNX Runtime's profiler, which slows what it measures down a little.
    """
    found = []
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
    start = [event["ts"] for event in events if event["name"] == "model_run"][1]
    for event in events:
        name, ending = event["name"], "_kernel_time"
        if event["ts"] >= start and name.endswith(ending) and event.get("cat") == "Node":
            found.append((name.removesuffix(ending), event["args"]["op_name"], event["dur"] / 1e6))
    return found


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


def open_session(model: Path, threads: int | None = None) -> OnnxRuntimeSession:
    """A session with `threads` threads, by default as many as this process may use cores."""
    return OnnxRuntimeSession(model, choose_threads(threads))
