"""MaxSim, the late interaction of ColBERT: exact, in numpy, of as many tokens at once as arrays of 16 MiB hold."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from octavo.metrics.ranking import BLOCK

Vectors = NDArray[np.float32]  # of the tokens of a text, [tokens, dimension]
TOKENS = 1 << 12  # of passages at once


def maxsim(queries: Sequence[Vectors], passages: Sequence[Vectors]) -> NDArray[np.float32]:
    """Of each query to each passage, [queries, passages]: for each token of the query the best product, summed.

    S(q, d) = sum over i of max over j of E_qi . E_dj: Khattab and Zaharia 2020 (arXiv:2004.12832), section 3.3. 0 where
    either has no token.
    """
    scores = np.zeros((len(queries), len(passages)), np.float32)
    asked, known = ([row for row, vectors in enumerate(texts) if len(vectors)] for texts in (queries, passages))
    for part in _parts([len(queries[row]) for row in asked], BLOCK // TOKENS):
        rows = asked[part]
        tokens, starts = _joined([queries[row] for row in rows])
        for other in _parts([len(passages[row]) for row in known], TOKENS):
            columns = known[other]
            others, begins = _joined([passages[column] for column in columns])
            best = np.maximum.reduceat(tokens @ others.T, begins, axis=1)
            scores[np.ix_(rows, columns)] = np.add.reduceat(best, starts, axis=0)
    return scores


def nearest_by_tokens(
    queries: Sequence[Vectors], passages: Sequence[Vectors], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `k` best passages of each query by `maxsim`, best first, and their scores: exact, [queries, k] each.

    Of equal ones the first passages are taken.
    """
    k = min(k, len(passages))
    places, values = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float64)
    rows = max(1, BLOCK // max(1, len(passages)))
    for start in range(0, len(queries), rows):
        for row, scores in enumerate(maxsim(queries[start : start + rows], passages), start=start):
            places[row] = np.argsort(-scores, kind="stable")[:k]
            values[row] = scores[places[row]]
    return places, values


def token_cosine(first: Vectors, second: Vectors) -> float:
    """The mean over tokens of the cosine of the two vectors that each has, in float64; 1 where there is no token."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(axis=1) / np.where(lengths == 0, 1, lengths))) if len(a) else 1.0


def _joined(texts: Sequence[Vectors]) -> tuple[Vectors, list[int]]:
    """The tokens of several texts, and where each text begins."""
    return np.concatenate(texts), [0, *accumulate(len(vectors) for vectors in texts[:-1])]


def _parts(lengths: Sequence[int], most: int) -> list[slice]:
    """Neighbours with at most so many tokens together; a longer text is a part of its own."""
    parts, start, filled = list[slice](), 0, 0
    for index, length in enumerate(lengths):
        if index > start and filled + length > most:
            parts.append(slice(start, index))
            start, filled = index, 0
        filled += length
    return [*parts, slice(start, len(lengths))] if lengths else parts
