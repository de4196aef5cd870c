"""Runs a checkpoint in torch, in float32: what the user has today."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.hardware import usable_cores


class TorchSession:
    """A torch model. torch's threads are the process's: the last session that was opened sets them."""

    name = "torch"

    def __init__(self, model: Any, threads: int | None = None) -> None:
        """Take a model in evaluation mode."""
        self.threads = threads or usable_cores()
        torch.set_num_threads(self.threads)
        self._model = model

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the first output."""
        with torch.inference_mode():
            outputs = self._model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return np.asarray(outputs[0].numpy())
