"""What runs a model: one file per engine, behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InputError, MissingExtraError, did_you_mean
from octavo.hardware import this_cpu

ENGINES = {  # for artifacts; checkpoints run in torch
    "onnxruntime": "octavo.engines.onnxruntime:open_session",
    "openvino": "octavo.engines.openvino:open_session",
}
MODES: dict[str, dict[str, Any]] = {  # of OpenVINO, behind a colon: "openvino:throughput", "openvino:bf16"
    "throughput": {"throughput": True},
    "bf16": {"precision": "bf16"},
}


SPAN = ("start_logits", "end_logits")


class Session(Protocol):
    """A model that is loaded and can be run, from several threads at once; `streams` runs are served at a time."""

    name: str
    threads: int
    streams: int

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the model's answer, float32; see `answer_names`."""


class OpenSession(Protocol):
    """How a session is opened: `threads` by default as many as this process may use cores."""

    def __call__(self, model: Path, threads: int | None = None) -> Session:
        """Load a model file."""


def find_engine(name: str) -> OpenSession:
    """The function that opens a session of an engine, imported on first use; modes stand behind a colon.

    Raises:
        InputError: there is no such engine or mode.
        MissingExtraError: it is not installed.
    """
    name, _, rest = name.partition(":")
    if name not in ENGINES:
        raise InputError("unknown engine", got=name, allowed=did_you_mean(name, ("auto", *ENGINES)))
    modes = rest.split(",") if rest else []
    for mode in modes:
        if name != "openvino" or mode not in MODES:
            raise InputError(f"unknown mode of {name}", got=mode, allowed=", ".join(f"openvino:{one}" for one in MODES))
    module, _, attribute = ENGINES[name].partition(":")
    if find_spec(module.rpartition(".")[2]) is None:
        raise MissingExtraError(f"{name} is not installed", then=f"pip install 'octavo[{name}]'")
    settings = {key: value for mode in modes for key, value in MODES[mode].items()}
    found: OpenSession = partial(getattr(import_module(module), attribute), **settings)
    return found


def answer_names(names: Sequence[str]) -> list[str]:
    """The outputs of a model that are its answer: `logits`, or those of where a span starts and ends, or the first.

    Several are [batch, length] each, and stacked to [batch, length, outputs].
    """
    if set(SPAN) <= set(names):
        return list(SPAN)
    return ["logits" if "logits" in names else names[0]]


def run_batches(session: Session, batches: Sequence[dict[str, NDArray[np.int64]]]) -> list[NDArray[np.float32]]:
    """The outputs of each batch; as many at once as the session has streams."""
    if session.streams == 1:
        return [session.run(batch) for batch in batches]
    with ThreadPoolExecutor(session.streams) as pool:
        return list(pool.map(session.run, batches))


def choose_engine(method: str, *, half: bool = False) -> tuple[str, str]:
    """The engine for an artifact on this CPU, and why: a fixed rule, no measurement.

    Static int8 goes to OpenVINO where the CPU multiplies int8 in hardware (VNNI, AMX): it is the faster one there.
    Without, its int8 was measured slower than its float (1.07x the time on Zen 3), and everything goes to ONNX Runtime.
    A float model with 16-bit weights (`half`) goes to OpenVINO where the CPU computes in bf16.
    """
    features = this_cpu().features
    integer = method == "static" and bool(features & {"avx512_vnni", "avx_vnni", "amx_int8"})
    short = method == "float" and half and bool(features & {"amx_bf16", "avx512_bf16"})
    if not integer and not short:
        why = "this CPU has no VNNI, without which OpenVINO's int8 is slow" if method == "static" else "the usual one"
        return "onnxruntime", why
    name = "openvino" if integer else "openvino:bf16"
    reason = "static int8 on a CPU with VNNI" if integer else "16-bit weights on a CPU that computes in bf16"
    if find_spec("openvino") is None:
        return "onnxruntime", f"OpenVINO would be faster ({reason}): pip install 'octavo[openvino]'"
    return name, reason
