"""A checkpoint in torch: bf16, and int8 by torch's own quantize_dynamic. A model is named by its config.json."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
import transformers

from octavo.engines.torch import TorchSession


class FloatSession(TorchSession):
    """Answers in float32, whatever the model computes in."""

    def run(self, inputs):
        with torch.inference_mode():
            outputs = self._model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return outputs[0].float().numpy()


def load(config: Path, dtype: torch.dtype):
    name = json.loads(config.read_text(encoding="utf-8"))["architectures"][0]
    return getattr(transformers, name).from_pretrained(config.parent, dtype=dtype).eval()


def open_bf16(model: Path, threads: int | None = None) -> TorchSession:
    return FloatSession(load(model, torch.bfloat16), threads)


def open_int8(model: Path, threads: int | None = None) -> TorchSession:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and what the old guide uses
        quantized = torch.ao.quantization.quantize_dynamic(load(model, torch.float32), {torch.nn.Linear}, torch.qint8)
    return FloatSession(quantized, threads)
