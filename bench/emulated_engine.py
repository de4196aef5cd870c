"""OpenVINO with int8 computed as floats: what a quantized model says where no kernel saturates. Fidelity, not speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from octavo.hardware import choose_threads


class EmulatedSession:
    """A model whose FakeQuantize nodes run as they are written; the setting is an internal one of the CPU plugin."""

    name, streams = "openvino-emulated", 1

    def __init__(self, model: Path, threads: int | None = None) -> None:
        self.threads = choose_threads(threads)
        settings = {
            "LP_TRANSFORMS_MODE": "NO",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        self.model = openvino.Core().compile_model(str(model), "CPU", settings)

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run one batch: its first output, which is the only one of classifiers and encoders."""
        return np.array(self.model.create_infer_request().infer(inputs)[self.model.output(0)])
