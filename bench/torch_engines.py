"""A checkpoint in torch: bf16, and int8 by torch's own quantize_dynamic. A model is named by its config.json."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
import transformers

from octavo.engines.torch import TorchSession


def load(config: Path, dtype: torch.dtype):
    name = json.loads(config.read_text(encoding="utf-8"))["architectures"][0]
    return getattr(transformers, name).from_pretrained(config.parent, dtype=dtype).eval()


def open_bf16(model: Path, threads: int | None = None) -> TorchSession:
    return TorchSession(load(model, torch.float32), threads, precision="bf16")


def open_int8(model: Path, threads: int | None = None) -> TorchSession:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and what the old guide uses
        quantized = torch.ao.quantization.quantize_dynamic(load(model, torch.float32), {torch.nn.Linear}, torch.qint8)
    return TorchSession(quantized, threads)


def open_torchao(model: Path, threads: int | None = None, *, compiled: bool = False) -> TorchSession:
    """An artifact of the format torch as transformers and torchao open it."""
    name = json.loads(model.read_text(encoding="utf-8"))["architectures"][0]
    return TorchSession(getattr(transformers, name).from_pretrained(model.parent).eval(), threads, compiled=compiled)


def open_torchao_compiled(model: Path, threads: int | None = None) -> TorchSession:
    return open_torchao(model, threads, compiled=True)
