"""A checkpoint that writes, in torch, in float32, with transformers' own cache."""

from __future__ import annotations

import inspect
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from octavo.engines.cache import name_in_torch, positions
from octavo.engines.onnxruntime_writer import token_scores
from octavo.generation import FloatArray, IntArray
from octavo.hardware import choose_threads


class TorchWriter:
    """Begins to write with a model of transformers; the same interface as `OnnxWriter`."""

    name = "torch"
    streams = 1

    def __init__(self, model: Any, threads: int | None = None) -> None:
        """Take a model in evaluation mode."""
        self.threads = choose_threads(threads)
        torch.set_num_threads(self.threads)
        self._model = model

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """The log-probability of every token given those before it, [batch, length]."""
        return token_scores(self.logits(inputs), inputs)

    def logits(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """The logits behind every token, [batch, length, vocabulary]."""
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items() if name != "decoder_attention_mask"}
        with torch.inference_mode():
            return cast("FloatArray", self._model(**tensors, use_cache=False).logits.numpy())

    def begin(self, ids: IntArray, mask: IntArray, prompts: IntArray | None = None) -> _TorchSteps:
        """See `OnnxWriter.begin`."""
        return _TorchSteps(self._model, ids, mask, prompts)


class _TorchSteps:
    """A batch that is being written: `Steps` of `octavo.generation`."""

    def __init__(self, model: Any, ids: IntArray, mask: IntArray, prompts: IntArray | None) -> None:
        self._model, self._mask, self._cache = model, mask, None
        self._unread = ids if prompts is None else prompts
        self._encoded: Any = None
        self._name = name_in_torch(model)
        self._counts = "position_ids" in inspect.signature(model.forward).parameters
        if prompts is not None:
            with torch.inference_mode():
                self._encoded = model.get_encoder()(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))

    def advance(self, tokens: IntArray) -> FloatArray:
        """See `Steps`."""
        tokens, self._unread = np.concatenate([self._unread, tokens], axis=1), tokens[:, :0]
        inputs: dict[str, Any] = {self._name: self._cache, "use_cache": True}
        if self._encoded is not None:
            inputs |= {"encoder_outputs": self._encoded, "decoder_input_ids": torch.from_numpy(tokens)}
        else:
            new = tokens.shape[1] - (self._mask.shape[1] if self._cache is None else 0)
            self._mask = np.concatenate([self._mask, np.ones((len(tokens), new), np.int64)], axis=1)
            inputs["input_ids"] = torch.from_numpy(tokens)
            if self._counts:
                inputs["position_ids"] = torch.from_numpy(positions(self._mask, tokens.shape[1]))
        with torch.inference_mode():
            outputs = self._model(attention_mask=torch.from_numpy(self._mask), **inputs)
            self._cache = getattr(outputs, self._name)
            return cast("FloatArray", outputs.logits[:, -1].numpy())

    def select(self, rows: IntArray) -> None:
        """See `Steps`."""
        self._unread, self._mask = self._unread[rows], self._mask[rows]
        index = torch.from_numpy(np.asarray(rows))
        with torch.inference_mode():
            if self._cache is not None:
                self._cache.reorder_cache(index)
            if self._encoded is not None:
                hidden = self._encoded.last_hidden_state[index]
                self._encoded = type(self._encoded)(last_hidden_state=hidden)
