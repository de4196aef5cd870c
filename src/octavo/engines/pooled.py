"""Sessions reduced to what a task answers with, batch by batch: one vector for a text, or what stands at masks.

The arithmetic is that of sentence-transformers' Pooling, Dense, LayerNorm and Normalize, in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octavo.checkpoint.pooling import Weights, read_steps
from octavo.engines import Session
from octavo.schema.signature import Pooling, PoolingMode, Signature, Step


class MaskedSession:
    """Another session of which only the masked positions are kept."""

    def __init__(self, session: Session, mask_token_id: int) -> None:
        self.name, self.threads, self.streams = session.name, session.threads, session.streams
        self._session, self._mask = session, mask_token_id
        self.model = getattr(session, "model", None)

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns [batch, most masks of a row, vocabulary], 0 behind."""
        logits, masked = self._session.run(inputs), inputs["input_ids"] == self._mask
        counts = masked.sum(axis=1)
        answers = np.zeros((len(logits), max(1, int(counts.max())), logits.shape[-1]), np.float32)
        for row, count in enumerate(counts.tolist()):
            answers[row, :count] = logits[row, masked[row]]
        return answers


class PooledSession:
    """Another session with pooling, and what else sentence-transformers does to a vector, behind it."""

    def __init__(self, session: Session, pooling: Pooling, weights: Mapping[str, Weights]) -> None:
        self.name, self.threads, self.streams = session.name, session.threads, session.streams
        self.model = getattr(session, "model", None)  # the torch module, where there is one
        self._session, self._pooling, self._weights = session, pooling, weights

    def run(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Run one batch: name -> int64 [batch, length]. Returns [batch, dimension], which a graph may give itself."""
        hidden = self._session.run(inputs)
        return hidden if hidden.ndim == 2 else embed(hidden, inputs["attention_mask"], self._pooling, self._weights)


def pooled(session: Session, signature: Signature, folder: Path) -> Session:
    """The session itself, or reduced to what its task answers with: one vector, or what stands at the masks.

    Weights of steps are in `folder`.
    """
    if signature.mask_token_id is not None:
        return MaskedSession(session, signature.mask_token_id)
    if signature.pooling is None:
        return session
    return PooledSession(session, signature.pooling, read_steps(folder, signature.pooling))


_TINY = 1e-12  # below it a vector is not divided by its length, as torch.nn.functional.normalize has it
_EPSILON = 1e-5  # of torch.nn.LayerNorm


def embed(
    hidden: NDArray[np.float32], mask: NDArray[np.int64], pooling: Pooling, weights: Mapping[str, Weights]
) -> NDArray[np.float32]:
    """One vector for each text: [batch, length, width] and a mask [batch, length] -> [batch, dimension].

    Padding is on the right. As sentence-transformers' modules compute it.
    """
    vectors = np.concatenate([_pool(hidden, mask, mode) for mode in pooling.modes], axis=1)
    for step in pooling.steps:
        if step.kind == "normalize":
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY)
        elif step.kind == "truncate":
            vectors = vectors[:, : step.dimension]
        elif step.kind == "layernorm":
            own, centred = weights[step.folder], vectors - vectors.mean(axis=1, keepdims=True)
            deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + _EPSILON)
            vectors = centred / deviation * own["norm.weight"] + own.get("norm.bias", 0)
        else:
            vectors = _dense(vectors, weights[step.folder], step)
    return np.asarray(vectors, np.float32)


def _dense(x: NDArray[np.float32], weights: Weights, step: Step) -> NDArray[np.float32]:
    vectors = _activate(x @ weights["linear.weight"].T + weights.get("linear.bias", 0), step.activation)
    if not step.residual:
        return vectors
    return vectors + (x @ weights["residual.weight"].T if "residual.weight" in weights else x)


def _pool(hidden: NDArray[np.float32], mask: NDArray[np.int64], mode: PoolingMode) -> NDArray[np.float32]:
    counts = mask.sum(axis=1)
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return np.asarray(hidden[np.arange(len(hidden)), counts - 1])
    if mode == "max":
        return np.asarray(np.where(mask[:, :, None] == 0, -np.inf, hidden).max(axis=1), np.float32)
    weights = mask.astype(np.float32)
    if mode == "weightedmean":  # later tokens weigh more: Muennighoff 2022, SGPT
        weights = weights * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    total = np.einsum("blw,bl->bw", hidden, weights)
    share = weights.sum(axis=1, keepdims=True)
    return np.asarray(total / (np.sqrt(share) if mode == "mean_sqrt_len_tokens" else share), np.float32)


def _activate(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if name == "Tanh":
        return np.tanh(x)
    if name == "ReLU":
        return np.maximum(x, 0)
    if name == "GELU":
        return np.asarray(0.5 * x * (1 + _erf(x / np.float32(math.sqrt(2)))), np.float32)
    sigmoid = np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32)
    return sigmoid if name == "Sigmoid" else x * sigmoid if name == "SiLU" else x


_erf = np.vectorize(math.erf, otypes=[np.float64])
