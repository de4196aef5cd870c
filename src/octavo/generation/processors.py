"""What is done to the scores of the next token before one is chosen, [rows, vocabulary] each, as transformers does it.

`process` is for every way of choosing, `warp` for samples. The order is that of transformers'
`GenerationMixin._get_logits_processor`.
"""

from collections.abc import Sequence

import numpy as np

from octavo.generation import FloatArray, IntArray
from octavo.schema.signature import Generation, GenerationConfig

NEVER = np.float32(-np.inf)


def process(
    scores: FloatArray, written: Sequence[Sequence[int]], begin: Sequence[int], model: Generation
) -> FloatArray:
    """Scores after everything that does not depend on chance.

    `written` are the ids of each row so far, prompt included (a text2text model's decoder start instead of one);
    `begin` is how many of them were there when writing began.
    """
    config, scores = model.sampling, np.array(scores, np.float32)
    if config.repetition_penalty != 1:
        scores = penalize_repetition(scores, written, config.repetition_penalty)
    if config.no_repeat_ngram_size:
        scores = forbid_repeated_ngrams(scores, written, config.no_repeat_ngram_size)
    if model.suppress_token_ids:
        scores[:, list(model.suppress_token_ids)] = NEVER
    for row, ids in enumerate(written):
        new = len(ids) - begin[row]
        if new < config.min_new_tokens:
            scores[row, list(model.eos_token_ids)] = NEVER
        if model.forced_bos_token_id is not None and len(ids) == 1:
            scores[row] = only(scores[row], model.forced_bos_token_id)
        if model.forced_eos_token_id is not None and new == config.max_new_tokens - 1:
            scores[row] = only(scores[row], model.forced_eos_token_id)
    return scores


def only(scores: FloatArray, token: int) -> FloatArray:
    """The scores [vocabulary] that leave one token."""
    left = np.full_like(scores, NEVER)
    left[token] = 0
    return left


def penalize_repetition(scores: FloatArray, written: Sequence[Sequence[int]], penalty: float) -> FloatArray:
    """Divide the positive and multiply the negative scores of tokens that a row has already.

    Keskar et al. 2019, "CTRL" (arXiv:1909.05858), section 4.1.
    """
    scores = scores.copy()
    for row, ids in enumerate(written):
        seen = np.unique(np.asarray(ids, np.int64))
        values = scores[row, seen]
        scores[row, seen] = np.where(values < 0, values * np.float32(penalty), values / np.float32(penalty))
    return scores


def forbid_repeated_ngrams(scores: FloatArray, written: Sequence[Sequence[int]], size: int) -> FloatArray:
    """Forbid what would end an n-gram that a row has already."""
    scores = scores.copy()
    for row, ids in enumerate(written):
        last = tuple(ids[len(ids) + 1 - size :])
        for start in range(len(ids) - size + 1):
            if tuple(ids[start : start + size - 1]) == last:
                scores[row, ids[start + size - 1]] = NEVER
    return scores


def warp(scores: FloatArray, config: GenerationConfig) -> FloatArray:
    """Scores to draw from: temperature, then the `top_k` best, then the fewest that have `top_p` together."""
    scores = scores / np.float32(config.temperature)
    if config.top_k:
        scores = keep_best(scores, config.top_k)
    if config.top_p < 1:
        scores = keep_nucleus(scores, config.top_p)
    return scores


def keep_best(scores: FloatArray, count: int) -> FloatArray:
    """The `count` highest scores of each row, and those that are equal to the last of them."""
    count = min(count, scores.shape[1])
    lowest = np.partition(scores, -count, axis=1)[:, -count, None]
    return np.where(scores < lowest, NEVER, scores)


def keep_nucleus(scores: FloatArray, share: float) -> FloatArray:
    """The most likely tokens, as many as reach `share` together; one at least.

    Holtzman et al. 2020, "The curious case of neural text degeneration" (arXiv:1904.09751).
    """
    order = np.argsort(scores, axis=1, kind="stable")
    rising = np.cumsum(softmax(np.take_along_axis(scores, order, axis=1)), axis=1)
    out = rising <= 1 - share
    out[:, -1] = False
    dropped = np.zeros_like(out)
    np.put_along_axis(dropped, order, out, axis=1)
    return np.where(dropped, NEVER, scores)


def softmax(scores: FloatArray) -> FloatArray:
    """The probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def log_softmax(scores: FloatArray) -> FloatArray:
    """The logarithms of the probabilities of each row."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def draw(scores: FloatArray, points: FloatArray) -> IntArray:
    """One token of each row, as likely as its scores say; `points` [rows] are uniform in [0, 1)."""
    shares = np.cumsum(softmax(scores).astype(np.float64), axis=1)
    reached = shares <= points[:, None] * shares[:, -1:]
    return np.asarray(np.minimum(reached.sum(axis=1), scores.shape[1] - 1), np.int64)
