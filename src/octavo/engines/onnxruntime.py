"""Runs an ONNX model in ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from octavo.errors import ArtifactError, OctavoError
from octavo.hardware import choose_threads


class OnnxRuntimeSession:
    """A session of ONNX Runtime; `run` may be called from several threads."""

    name = "onnxruntime"

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
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the first output."""
        try:
            return np.asarray(self._session.run(self._outputs, inputs)[0])
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise OctavoError("ONNX Runtime could not run the model", got=reason) from None


def open_session(model: Path | bytes, threads: int | None = None) -> OnnxRuntimeSession:
    """A session with `threads` threads, by default as many as this process may use cores."""
    return OnnxRuntimeSession(model, choose_threads(threads))
