"""Models that write, in ONNX Runtime: a decoder whose cache stays in the engine, perhaps behind an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.engines.cache import ALL, KEEP, PAST, PRESENT, empty, positions
from octavo.engines.onnxruntime import OnnxRuntimeSession, open_session
from octavo.generation import FloatArray, IntArray
from octavo.generation.processors import log_softmax

CHUNK = 512  # tokens of a prompt that are read at once: what attends to what is as large as its square
ONE = np.array([1], np.int64)


class OnnxWriter:
    """Begins to write in a decoder's session, behind that of an encoder where there is one."""

    def __init__(self, decoder: OnnxRuntimeSession, encoder: OnnxRuntimeSession | None = None) -> None:
        self.name, self.threads, self.streams = decoder.name, decoder.threads, 1
        self._decoder, self._encoder = decoder, encoder

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """The log-probability of every token given those before it, [batch, length]; see `token_scores`."""
        return token_scores(self.logits(inputs), inputs)

    def logits(self, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
        """The logits behind every token, [batch, length, vocabulary]; with an encoder behind `decoder_input_ids`."""
        if self._encoder is None:
            return self._decoder.run({name: inputs[name] for name in ("input_ids", "attention_mask")})
        prompts = inputs["decoder_input_ids"]
        steps = _AnswerSteps(self._decoder, self._encoder, inputs["input_ids"], inputs["attention_mask"], prompts)
        return steps.step(prompts)

    def begin(self, ids: IntArray, mask: IntArray, prompts: IntArray | None = None) -> CachedSteps:
        """Read texts [rows, length], padded on the left; or, with an encoder, anywhere, and answer from `prompts`."""
        if self._encoder is None:
            return CachedSteps(self._decoder, ids, mask)
        assert prompts is not None
        return _AnswerSteps(self._decoder, self._encoder, ids, mask, prompts)


def token_scores(logits: FloatArray, inputs: dict[str, NDArray[np.int64]]) -> FloatArray:
    """Log p of each token given those before it, [batch, length]; 0 for the first of a row and for padding.

    Tokens are those that are written: `decoder_input_ids` with their mask where there are some.
    """
    prefix = "decoder_" if "decoder_input_ids" in inputs else ""
    ids, mask = inputs[f"{prefix}input_ids"], inputs[f"{prefix}attention_mask"]
    scores = np.zeros(ids.shape, np.float32)
    for row in range(len(ids)):  # row by row: the logits are large, and are not copied as a whole
        own = np.take_along_axis(log_softmax(logits[row, :-1]), ids[row, 1:, None], axis=1)[:, 0]
        scores[row, 1:] = own * mask[row, 1:] * mask[row, :-1]
    return scores


def open_writer(files: Mapping[str, Path], threads: int | None = None) -> OnnxWriter:
    """A writer of an artifact's model files by component: `model`, or `encoder` and `decoder`."""
    sessions = {name: open_session(file, threads) for name, file in files.items()}
    return OnnxWriter(sessions.get("decoder") or sessions["model"], sessions.get("encoder"))


class CachedSteps:
    """A batch that is being written, with its cache: `Steps` of `octavo.generation`."""

    def __init__(self, session: OnnxRuntimeSession, prompts: IntArray, mask: IntArray) -> None:
        """Prompts and mask [rows, length]; they are read with the first tokens."""
        self._session, self._unread, self._mask = session, prompts, mask
        self._cache: dict[str, Any] = {
            name: empty(port, len(prompts))
            for name, port in session.inputs.items()
            if name.startswith(PAST) and ".encoder." not in name
        }

    def advance(self, tokens: IntArray) -> FloatArray:
        """See `Steps`."""
        self._mask = np.concatenate([self._mask, np.ones(tokens.shape, np.int64)], axis=1)
        tokens, self._unread = np.concatenate([self._unread, tokens], axis=1), tokens[:, :0]
        for start in range(0, tokens.shape[1], CHUNK):
            logits = self.step(tokens[:, start : start + CHUNK], tokens.shape[1] - start - CHUNK, ONE)
        return logits[:, -1]

    def select(self, rows: IntArray) -> None:
        """See `Steps`."""
        self._unread, self._mask = self._unread[rows], self._mask[rows]
        self._cache = {name: take(value, rows) for name, value in self._cache.items()}

    def step(self, tokens: IntArray, behind: int = 0, keep: IntArray = ALL) -> FloatArray:
        """Read tokens; the logits [rows, tokens, vocabulary] of as many of the last of them as `keep` [1] says.

        `behind`: how many of the mask are still to come.
        """
        feeds = self._feeds(tokens, max(0, behind)) | ({KEEP: keep} if KEEP in self._session.inputs else {})
        outputs = self._session.run_values(feeds | self._cache)
        for name in self._cache:
            self._cache[name] = outputs[PRESENT + name.removeprefix(PAST)]
        logits: FloatArray = outputs["logits"].numpy()
        return logits

    def _feeds(self, tokens: IntArray, behind: int) -> dict[str, Any]:
        mask = self._mask[:, : self._mask.shape[1] - behind]
        feeds = {"input_ids": tokens, "attention_mask": mask, "position_ids": positions(mask, tokens.shape[1])}
        return {name: np.ascontiguousarray(feeds[name]) for name in feeds if name in self._session.inputs}


class _AnswerSteps(CachedSteps):
    """Answers to texts that an encoder has read; what it has read of each is gathered anew only where rows go."""

    def __init__(
        self, decoder: OnnxRuntimeSession, encoder: OnnxRuntimeSession, ids: IntArray, mask: IntArray, prompts: IntArray
    ) -> None:
        super().__init__(decoder, prompts, np.ones(prompts.shape, np.int64))
        outputs = encoder.run_values({"input_ids": ids, "attention_mask": mask})
        self._encoded = {PAST + name.removeprefix(PRESENT): value for name, value in outputs.items()}
        self._encoded["encoder_attention_mask"] = np.ascontiguousarray(mask)
        self._texts = np.arange(len(prompts))

    def select(self, rows: IntArray) -> None:
        super().select(rows)
        texts = self._texts[rows]
        if not np.array_equal(texts, self._texts):
            self._encoded = {name: take(value, rows) for name, value in self._encoded.items()}
            self._texts = texts

    def _feeds(self, tokens: IntArray, behind: int) -> dict[str, Any]:  # noqa: ARG002 - answers have no padding
        feeds = {"input_ids": np.ascontiguousarray(tokens)} | self._encoded
        return {name: value for name, value in feeds.items() if name in self._session.inputs}


def take(value: Any, rows: IntArray) -> NDArray[Any]:
    """The rows of an array, or of one that ONNX Runtime holds."""
    array = value if isinstance(value, np.ndarray) else value.numpy()
    return np.ascontiguousarray(array[rows])
