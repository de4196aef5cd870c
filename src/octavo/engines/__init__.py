"""What runs a model: one file per engine, behind one protocol."""

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
from octavo.generation import Steps
from octavo.hardware import this_cpu
from octavo.schema.recipe import Recipe

ENGINES = {  # for artifacts: of the format onnx, and of the format torch; checkpoints run in torch too
    "onnxruntime": "octavo.engines.onnxruntime:open_session",
    "openvino": "octavo.engines.openvino:open_session",
    "torch": "octavo.engines.torch:open_session",
}
MODES: dict[str, dict[str, dict[str, Any]]] = {  # behind a colon, several with commas: "openvino:throughput,bf16"
    "openvino": {"throughput": {"throughput": True}, "bf16": {"precision": "bf16"}},
    "torch": {
        "bf16": {"precision": "bf16"},
        "fp8": {"precision": "fp8"},
        "compile": {"compiled": True},
        "cuda": {"device": "cuda"},
        "torchao": {"torchao": True},
    },
}
SPAN = ("start_logits", "end_logits")
STATIC = ("static", "qat")  # methods whose graphs know the ranges of activations
LARGE = 30_000_000  # numbers in weights of Linears; measured were MiniLM (11 M) and BERT-base (85 M), none between


class Session(Protocol):
    """A model that is loaded and can be run, from several threads at once; `streams` runs are served at a time."""

    name: str
    threads: int
    streams: int

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the model's answer, float32; see `answer_names`."""


class Writer(Session, Protocol):
    """A model that writes: `run` gives the log-probability of every token given those before it, [batch, length]."""

    def logits(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The logits behind every token, [batch, length, vocabulary]."""

    def begin(self, ids: NDArray[np.int64], mask: NDArray[np.int64], prompts: NDArray[np.int64] | None = None) -> Steps:
        """Begin with texts [rows, length]; with an encoder answers begin with `prompts` [rows, tokens]."""


class OpenSession(Protocol):
    """How a session is opened: `threads` by default `hardware.default_threads`.

    `outputs`, of graphs: those that are the answer, by default `answer_names`.
    """

    def __call__(self, model: Path, threads: int | None = None, **outputs: Sequence[str]) -> Session:
        """Load a model file."""


def find_engine(name: str) -> OpenSession:
    """The function that opens a session of an engine, imported on first use; modes stand behind a colon.

    Raises:
        InputError: there is no such engine or mode.
        MissingExtraError: it is not installed.
    """
    settings = modes_of(name)
    name = name.partition(":")[0]
    module, _, attribute = ENGINES[name].partition(":")
    if find_spec(module.rpartition(".")[2]) is None:
        extra = "convert" if name == "torch" else name
        raise MissingExtraError(f"{name} is not installed", then=f"pip install 'octavo[{extra}]'")
    return partial(getattr(import_module(module), attribute), **settings)


def modes_of(engine: str) -> dict[str, Any]:
    """What the modes behind an engine's name mean to the function that opens its sessions.

    Raises:
        InputError: there is no such engine or mode.
    """
    name, _, rest = engine.partition(":")
    if name not in ENGINES:
        raise InputError("unknown engine", got=name, allowed=did_you_mean(name, ("auto", *ENGINES)))
    modes = MODES.get(name, {})
    settings: dict[str, Any] = {}
    for mode in rest.split(",") if rest else []:
        if mode not in modes:
            allowed = ", ".join(f"{name}:{mode}" for mode in modes) or f"none: {name} has no modes"
            raise InputError(f"unknown mode of {name}", got=mode, allowed=allowed)
        settings |= modes[mode]
    return settings


def on_device(engine: str, device: str) -> str:
    """The engine's name with a device as one of its modes.

    Raises:
        InputError: the engine runs on CPUs only, or there is no such device.
    """
    if device == "cpu":
        return engine
    name, colon, rest = engine.partition(":")
    if "device" not in MODES["torch"].get(device, {}):
        raise InputError("unknown device", got=device, allowed="cpu, cuda")
    if name not in {"auto", "torch"}:
        raise InputError(f"{name} runs on CPUs here", got=device, allowed="cpu", then="--format torch, or a checkpoint")
    return f"torch:{device}{',' if colon else ''}{rest}"


def answer_names(names: Sequence[str]) -> list[str]:
    """The outputs of a model that are its answer: `logits`, or those of where a span starts and ends, or the first.

    Several are [batch, length] each, and stacked to [batch, length, outputs].
    """
    if set(SPAN) <= set(names):
        return list(SPAN)
    return ["logits" if "logits" in names else names[0]]


def stack_answers(answers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """A model's answer from the outputs of `answer_names`."""
    return answers[0] if len(answers) == 1 else np.stack(answers, axis=-1)


def first_line(error: Exception) -> str:
    """What a library's error says, without its details."""
    return str(error).strip().partition("\n")[0]


def run_batches(session: Session, batches: Sequence[dict[str, NDArray[np.int64]]]) -> list[NDArray[np.float32]]:
    """The outputs of each batch; as many at once as the session has streams."""
    if session.streams == 1:
        return [session.run(batch) for batch in batches]
    with ThreadPoolExecutor(session.streams) as pool:
        return list(pool.map(session.run, batches))


def runs_torch(engine: str) -> bool:
    """Whether an engine runs torch models, and not graphs."""
    return engine.partition(":")[0] == "torch"


def choose_engine(recipe: Recipe, parameters: int | None = None) -> tuple[str, str]:
    """The engine for an artifact on this CPU, and why: a fixed rule, no measurement.

    `parameters`: the numbers in the weights of its Linears, None where that is not known. Static int8 of a large model
    goes to OpenVINO where the CPU multiplies int8 in hardware (VNNI, AMX): it is the faster one there in batches of
    short rows. Small ones are faster in ONNX Runtime (docs/benchmarks.md, "Every engine and every tool on AMX").
    Without such instructions its int8 was measured slower than its float (1.07x the time on Zen 3), and everything goes
    to ONNX Runtime. A float model with 16-bit weights goes to OpenVINO where the CPU computes in bf16.
    """
    if recipe.format == "torch":
        return "torch", "the format is torch"
    features, method = this_cpu().features, recipe.method
    if recipe.by_token:
        return "onnxruntime", "single layers are rounded per token"
    if method in STATIC and features & {"avx512_vnni", "avx_vnni", "amx_int8"}:
        if parameters is not None and parameters < LARGE:
            return "onnxruntime", "OpenVINO's int8 is faster for larger models only"
        name, reason = "openvino", "static int8 on a CPU with VNNI"
    elif recipe.storage == "float16" and features & {"amx_bf16", "avx512_bf16"}:
        name, reason = "openvino:bf16", "16-bit weights on a CPU that computes in bf16"
    else:
        why = "this CPU has no VNNI, without which OpenVINO's int8 is slow" if method in STATIC else "the usual one"
        return "onnxruntime", why
    if find_spec("openvino") is None:
        return "onnxruntime", f"OpenVINO would be faster ({reason}): pip install 'octavo[openvino]'"
    return name, reason
