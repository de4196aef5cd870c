"""Runs a checkpoint in torch, in float32: what the user has today."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.engines import SPAN
from octavo.errors import OctavoError
from octavo.hardware import choose_threads


class TorchSession:
    """A torch model. torch's threads are the process's: the last session that was opened sets them."""

    name = "torch"
    streams = 1

    def __init__(self, model: Any, threads: int | None = None) -> None:
        """Take a model in evaluation mode."""
        self.threads = choose_threads(threads)
        torch.set_num_threads(self.threads)
        self._model = model

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns the answer; see `engines.answer_names`."""
        try:
            with torch.inference_mode():
                outputs = self._model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        except (RuntimeError, IndexError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise OctavoError("torch could not run the model", got=reason) from None
        if all(name in outputs for name in SPAN):
            return np.stack([outputs[name].numpy() for name in SPAN], axis=-1)
        return np.asarray(outputs[0].numpy())
