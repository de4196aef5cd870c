"""Runs an ONNX model in OpenVINO, on the CPU: the same file that ONNX Runtime runs.

Compiled models are kept in a cache folder, so that the second start of a model is fast. The precision is always said:
left to itself OpenVINO computes float models in bf16 where the CPU has it, and nobody hears of it.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from octavo.engines import SPAN, answer_names, stack_answers
from octavo.errors import ArtifactError, OctavoError
from octavo.hardware import choose_threads

Precision = Literal["f32", "bf16"]
INSTEAD = "take the engine onnxruntime, which runs what Octavo writes by any method"


class OpenVinoSession:
    """A compiled model; `run` may be called from several threads, up to `streams` of which are served at once."""

    def __init__(
        self, model: Path, threads: int, streams: int = 1, precision: Precision = "f32", outputs: Sequence[str] = ()
    ) -> None:
        """Compile the model, or take it from the cache.

        `threads` are those of all streams together; one stream is the latency mode, several are the throughput mode.
        `precision` is what float parts compute in, `outputs` are those that are the answer, by default
        `engines.answer_names`.
        """
        core = openvino.Core()
        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        folder = cache_folder()
        with contextlib.suppress(OSError):  # a home that may not be written: every start compiles
            folder.mkdir(parents=True, exist_ok=True)
            settings["CACHE_DIR"] = str(folder)
        try:
            self._model = core.compile_model(str(model), "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[-200:]
            raise ArtifactError("OpenVINO cannot load the model", where=model, got=reason, then=INSTEAD) from None
        self.name = "openvino" if precision == "f32" else f"openvino:{precision}"
        self.threads, self.streams = threads, streams
        known = set(outputs) or {"logits", *SPAN}
        names = [next(iter(known & output.get_names()), output.get_any_name()) for output in self._model.outputs]
        self._outputs = [self._model.output(names.index(name)) for name in outputs or answer_names(names)]

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        try:
            results = self._model.create_infer_request().infer(inputs)
            answers = stack_answers([np.array(results[output]) for output in self._outputs])
        except RuntimeError as error:
            reason = " ".join(str(error).split())[-200:]
            raise OctavoError("OpenVINO could not run the model", got=reason, then=INSTEAD) from None
        rows = len(inputs["attention_mask"])
        if len(answers) != rows:  # a graph of other tools with a scale by row, on one thread: no error, and no rows
            got = f"answers of {len(answers)} rows for {rows}"
            raise OctavoError("OpenVINO could not run the model", got=got, then=INSTEAD)
        return answers


def cache_folder() -> Path:
    """Where compiled models are kept: `OCTAVO_CACHE`, else `octavo` in the user's cache folder (XDG_CACHE_HOME)."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("OCTAVO_CACHE") or user / "octavo") / "openvino"


def open_session(
    model: Path,
    threads: int | None = None,
    *,
    throughput: bool = False,
    precision: Precision = "f32",
    outputs: Sequence[str] = (),
) -> OpenVinoSession:
    """A session with `threads` threads, by default `hardware.default_threads`.

    `throughput`: one stream for each thread, so that as many batches run at once; else each batch gets all threads.
    """
    threads = choose_threads(threads)
    return OpenVinoSession(Path(model), threads, threads if throughput else 1, precision, outputs)
