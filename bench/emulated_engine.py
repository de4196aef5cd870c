"""OpenVINO with int8 computed as floats: what a quantized model says where no kernel saturates. Fidelity, not speed."""

from __future__ import annotations

from pathlib import Path

import openvino

from octavo.engines.openvino import OpenVinoSession
from octavo.hardware import choose_threads


class EmulatedSession(OpenVinoSession):
    """A model whose FakeQuantize nodes run as they are written; the setting is an internal one of the CPU plugin."""

    def __init__(self, model: Path, threads: int | None = None) -> None:
        self.threads, self.streams = choose_threads(threads), 1
        settings = {
            "LP_TRANSFORMS_MODE": "NO",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        self._model = openvino.Core().compile_model(str(model), "CPU", settings)
        self._output = self._model.output(0)
