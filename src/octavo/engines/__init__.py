"""What runs a model: one file per engine, behind one protocol."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InputError, did_you_mean

ENGINES = {"onnxruntime": "octavo.engines.onnxruntime:open_session"}  # for artifacts; checkpoints run in torch


class Session(Protocol):
    """A model that is loaded and can be run, from several threads at once."""

    name: str
    threads: int

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the model's first output, float32."""


def find_engine(name: str) -> Any:
    """The function `open_session(model_file, threads)` of an engine, imported on first use; `auto` chooses.

    Raises:
        InputError: there is no such engine.
    """
    name = "onnxruntime" if name == "auto" else name
    if name not in ENGINES:
        raise InputError("unknown engine", got=name, allowed=did_you_mean(name, ("auto", *ENGINES)))
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(import_module(module), attribute)
