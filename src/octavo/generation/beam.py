"""Beam search, scored and ended as in transformers' `GenerationMixin._beam_search`.

Of each text `num_beams` beginnings are kept. A text that ends is scored by the sum of its tokens' log-probabilities
over its length to the power of `length_penalty`; the search ends as `early_stopping` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from octavo.generation import FloatArray, IntArray, Steps
from octavo.generation.loop import Ended
from octavo.generation.processors import log_softmax, process
from octavo.schema.signature import Generation, GenerationConfig

LOW = np.float32(-1e9)


@dataclass(frozen=True)
class _Beams:
    """Texts of a number of rows, [rows, beams]: tokens [rows, beams, tokens], scores, and whether they have ended."""

    tokens: IntArray
    scores: FloatArray
    ended: NDArray[np.bool_]

    def best(self, count: int) -> tuple[Self, IntArray]:
        """The `count` best of each row, best first, and where they stood."""
        order = _best(self.scores, count)
        return type(self)(*(_pick(part, order) for part in (self.tokens, self.scores, self.ended))), order


def search(
    steps: Steps, prompts: Sequence[Sequence[int]], model: Generation, ended: Ended | None = None
) -> list[list[int]]:
    """The best text of each row, as ids without the prompt; see `loop.write` for the arguments."""
    config, rows, beams = model.sampling, len(prompts), model.sampling.num_beams
    logits = steps.advance(np.empty((rows, 0), np.int64))
    steps.select(np.repeat(np.arange(rows), beams))
    logits = np.repeat(logits, beams, axis=0)
    begin = [len(prompts[row // beams]) for row in range(rows * beams)]
    scores = np.tile(np.where(np.arange(beams) == 0, np.float32(0), LOW), (rows, 1)).astype(np.float32)
    nothing = np.zeros((rows, beams, 0), np.int64)
    running = _Beams(nothing, scores, np.zeros((rows, beams), bool))
    finished = _Beams(nothing, np.full((rows, beams), LOW), np.zeros((rows, beams), bool))
    hopeful = np.ones((rows, 1), bool)
    for length in range(1, config.max_new_tokens + 1):
        written = [[*prompts[row], *running.tokens[row, beam].tolist()] for row in range(rows) for beam in range(beams)]
        grown, parents = _continue(process(log_softmax(logits), written, begin, model), running, model)
        hits = np.isin(grown.tokens[:, :, -1], model.eos_token_ids) | (length == config.max_new_tokens)
        if ended is not None:
            hits |= np.array([[ended(row, ids.tolist()) for ids in grown.tokens[row]] for row in range(rows)])
        finished = _finish(finished, grown, hits, hopeful, config)
        left = _Beams(grown.tokens, np.asarray(grown.scores + hits * LOW, np.float32), hits)
        running, order = left.best(beams)
        hopeful = hopeful & _may_improve(running, finished, length, config)
        full = config.early_stopping is True and bool(finished.ended.all())
        if not hopeful.any() or full or hits.all():
            break
        chosen = np.take_along_axis(parents, order, axis=1) + beams * np.arange(rows)[:, None]
        steps.select(chosen.reshape(-1))
        logits = steps.advance(running.tokens[:, :, -1].reshape(-1, 1))
    # A text without the padding behind its end.
    return [[token for token in finished.tokens[row, 0].tolist() if token >= 0] for row in range(rows)]


def _continue(scores: FloatArray, running: _Beams, model: Generation) -> tuple[_Beams, IntArray]:
    """The best continuations of each row, enough of them that `num_beams` go on if others end, and their beams."""
    rows, beams = running.scores.shape
    vocabulary = scores.shape[1]
    total = (scores.reshape(rows, beams, vocabulary) + running.scores[:, :, None]).reshape(rows, -1)
    places = _best(total, min(max(2, 1 + len(model.eos_token_ids)) * beams, total.shape[1]))
    parents = places // vocabulary
    tokens = np.concatenate([_pick(running.tokens, parents), (places % vocabulary)[:, :, None]], axis=2)
    return _Beams(tokens, np.take_along_axis(total, places, axis=1), np.zeros(places.shape, bool)), parents


def _finish(
    finished: _Beams, grown: _Beams, hits: NDArray[np.bool_], hopeful: NDArray[np.bool_], config: GenerationConfig
) -> _Beams:
    """The best of what had ended and of what ends now; only the first `num_beams` continuations count."""
    beams, length = config.num_beams, grown.tokens.shape[2]
    now = hits & (np.arange(hits.shape[1]) < beams)
    scores = grown.scores / np.float32(length**config.length_penalty)
    full = finished.ended.all(axis=1, keepdims=True) & (config.early_stopping is True)
    scores = scores + full * LOW + ~hopeful * LOW + ~now * LOW
    padded = np.pad(finished.tokens, ((0, 0), (0, 0), (0, length - finished.tokens.shape[2])), constant_values=-1)
    merged = _Beams(
        np.concatenate([padded, grown.tokens], axis=1),
        np.concatenate([finished.scores, scores], axis=1, dtype=np.float32),
        np.concatenate([finished.ended, now], axis=1),
    )
    return merged.best(beams)[0]


def _may_improve(running: _Beams, finished: _Beams, length: int, config: GenerationConfig) -> NDArray[np.bool_]:
    """Whether a row's best running text could still beat the worst that ended, [rows, 1]."""
    never = config.early_stopping == "never" and config.length_penalty > 0
    hoped = config.max_new_tokens if never else length
    best = running.scores[:, :1] / np.float32(hoped**config.length_penalty)
    worst = np.where(finished.ended, finished.scores.min(axis=1, keepdims=True), LOW)
    return np.asarray((best > worst).any(axis=1, keepdims=True))


def _best(scores: FloatArray, count: int) -> IntArray:
    """The positions of the `count` highest scores of each row, highest first."""
    if count < scores.shape[1]:
        highest = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        highest.sort(axis=1)
    else:
        highest = np.tile(np.arange(scores.shape[1]), (len(scores), 1))
    order = np.argsort(-np.take_along_axis(scores, highest, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(highest, order, axis=1), np.int64)


def _pick(part: NDArray[Any], order: IntArray) -> NDArray[Any]:
    """Beams of each row in an order; `part` [rows, beams] or [rows, beams, tokens]."""
    return np.take_along_axis(part, order if part.ndim == 2 else order[:, :, None], axis=1)
