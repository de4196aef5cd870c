"""Runs an ONNX model in ONNX Runtime, on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from octavo.checkpoint.weights import HELD
from octavo.engines import answer_names, first_line, stack_answers
from octavo.engines.cache import Port, complete
from octavo.errors import ArtifactError, OctavoError
from octavo.hardware import choose_threads

if TYPE_CHECKING:
    import onnx_ir as ir

LIGHT = 1 << 16  # bytes of an initializer that is copied with the graph
TABLE = 1 << 27  # bytes of a table above which a copy of it is spared
_NOWHERE = "memory"  # the file that arrays in memory are said to be in


class OnnxRuntimeSession:
    """A session of ONNX Runtime; `run` may be called from several threads."""

    name = "onnxruntime"
    streams = 1

    def __init__(
        self,
        model: Path | bytes,
        threads: int,
        weights: Mapping[str, NDArray[np.generic]] | None = None,
        outputs: Sequence[str] = (),
        tables: Collection[str] = (),
    ) -> None:
        """Load the model, as a file or as serialized bytes, with that many threads for one run.

        `weights` are the arrays that a serialized model declares as external data; it reads them where they are.
        `tables` are the names of those whose rows are gathered and which nothing else reads, that may be very large.
        `outputs` are those that are the answer, by default `engines.answer_names`.
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
        large = sum(array.nbytes for array in (weights or {}).values()) > HELD
        known = [name for name in self._weights if not large or name not in tables]
        if known:
            options.add_external_initializers(known, [self._weights[name] for name in known])
        more: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}
        if large:
            _spare_memory(options, self._weights, packs=isinstance(model, bytes) and b"MatMulNBits" in model)
            more["disabled_optimizers"] = ["TransposeOptimizer"]  # it turns arrays, which keep their names
        source = model if isinstance(model, bytes) else str(model)
        try:
            with _empty_file(options) if large and tables else nullcontext():
                self._session = onnxruntime.InferenceSession(source, options, **more)
        except Exception as error:  # ONNX Runtime has an exception class for each of its status codes
            raise _unloadable(None if isinstance(model, bytes) else model, first_line(error)) from None
        self.shapes = {port.name: tuple(port.shape) for port in self._session.get_outputs()}
        self.threads = threads
        self.inputs = {port.name: Port(port.type, tuple(port.shape)) for port in self._session.get_inputs()}
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._outputs = list(outputs) or answer_names(self.outputs)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        return stack_answers(self.fetch(inputs, self._outputs))

    def fetch(self, inputs: dict[str, NDArray[np.int64]], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Run one batch and return the outputs of these names; a cache that is not given is empty (`engines.cache`)."""
        try:
            return [np.asarray(output) for output in self._session.run(list(outputs), complete(inputs, self.inputs))]
        except Exception as error:
            raise OctavoError("ONNX Runtime could not run the model", got=first_line(error)) from None

    def run_values(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run one batch of ONNX Runtime's own values, not copied, or of arrays; all outputs by name."""
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in inputs.items()
        }
        try:
            return dict(zip(self.outputs, self._session.run_with_ort_values(self.outputs, values), strict=True))
        except Exception as error:
            raise OctavoError("ONNX Runtime could not run the model", got=first_line(error)) from None


def _spare_memory(options: Any, weights: Mapping[str, Any], *, packs: bool) -> None:
    """Set what makes a session over large arrays take little more than them; `packs`: it has to pack them anew."""
    for name, value in weights.items():  # or the session copies them once more
        options.add_initializer(name, value)
    options.enable_cpu_mem_arena = False  # which takes twice what it needs, and gives nothing back
    if not packs:
        options.add_session_config_entry("session.disable_prepacking", "1")  # a copy that products run faster on


@contextmanager
def _empty_file(options: Any) -> Iterator[None]:
    """The file that tables are said to be in: it has to be there, and is not read."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / _NOWHERE).touch()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        yield


def _is_table(value: ir.Value) -> bool:
    """Whether rows of the array are gathered by ids that are not known yet, and nothing else reads it."""
    readers = value.consumers()
    gathers = [
        node.op_type == "Gather" and node.inputs[0] is value and node.inputs[1].const_value is None
        for node in readers
        if node.inputs[1] is not None
    ]
    return bool(readers) and len(gathers) == len(readers) and all(gathers) and not value.is_graph_output()


def _unloadable(where: Path | None, reason: str) -> ArtifactError:
    """The error about a model that ONNX Runtime does not load; in plain words where its quantizer made it so.

    `onnxruntime.quantization` takes ONNX's Attention, of opset 23, for its own operator of that name.
    """
    if "for operator QAttention" not in reason:
        return ArtifactError("ONNX Runtime cannot load the model", where=where, got=reason)
    return ArtifactError(
        "onnxruntime.quantization made a QAttention of an Attention that is not its own, and no runtime loads that",
        where=where,
        then="quantize the float model again with op_types_to_quantize=['MatMul', 'Gather'], or one that was made "
        "by octavo quantize --method float --opset 22, which has no Attention",
    )


def open_graph(graph: ir.Model, threads: int | None = None) -> OnnxRuntimeSession:
    """A session over a graph and its arrays as they are in memory: a file of them would take ten times as long."""
    import onnx_ir as ir

    light, weights, tables = graph.clone(deep_copy=False), {}, []
    for name, value in light.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes > LIGHT and tensor.dtype.bitwidth >= 8:
            weights[name] = np.ascontiguousarray(tensor.numpy())
            if tensor.nbytes > TABLE and _is_table(value):
                tables.append(name)
            value.const_value = ir.ExternalTensor(
                _NOWHERE, 0, tensor.nbytes, ir.DataType(tensor.dtype), shape=ir.Shape(weights[name].shape), name=name
            )
        elif isinstance(tensor, ir.ExternalTensor):  # small, or of 4 bits, of which there are no OrtValues: taken along
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
    return OnnxRuntimeSession(ir.to_proto(light).SerializeToString(), choose_threads(threads), weights, tables=tables)


def open_session(model: Path, threads: int | None = None, *, outputs: Sequence[str] = ()) -> OnnxRuntimeSession:
    """A session with `threads` threads, by default `hardware.default_threads`; see it for `outputs`."""
    return OnnxRuntimeSession(model, choose_threads(threads), outputs=outputs)
