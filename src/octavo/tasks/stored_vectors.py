"""What a search loses where vectors are stored shorter, or in fewer bits, together with what int8 already lost."""

from dataclasses import dataclass

import numpy as np

from octavo.arithmetic.vectors import PRECISIONS, numbers, quantized, ranges_of, shortened
from octavo.encoding.batching import FloatArray
from octavo.errors import InputError, did_you_mean
from octavo.metrics.ranking import DEPTH, nearest, similarities
from octavo.schema.signature import Pooling, Signature

RESCORED = 4  # times as many passages are looked at again: sentence-transformers' rescore_multiplier
FLOATS = ("float32", "float16")


@dataclass(frozen=True)
class Storing:
    """So many numbers of a vector in a precision; `rescored`: the best are ordered again by the query as it is."""

    dimensions: int
    precision: str
    rescored: bool

    @property
    def bytes(self) -> int:
        """Of a vector."""
        bits = 1 if self.precision.endswith("binary") else 8 * np.dtype(self.precision).itemsize
        return -(-self.dimensions * bits // 8)


def storings(signature: Signature, dimensions: tuple[int, ...], precisions: tuple[str, ...]) -> tuple[Storing, ...]:
    """Each number of dimensions in each precision; of codes without a second look and with one.

    Raises:
        InputError: the model has not so many numbers, or there is no such precision.
    """
    assert signature.pooling is not None
    most = signature.pooling.dimension
    for count in dimensions:
        if not 1 <= count <= most:
            raise InputError("--dimensions is how many numbers are kept", got=count, allowed=f"1 to {most}")
    for name in precisions:
        if name not in PRECISIONS:
            raise InputError("unknown --precision", got=name, allowed=did_you_mean(name, PRECISIONS))
    return tuple(
        Storing(count, name, rescored)
        for count in dict.fromkeys(dimensions or (most,))
        for name in dict.fromkeys(precisions or ("float32",))
        for rescored in ((False,) if name in FLOATS else (False, True))
    )


def search_stored(
    queries: FloatArray, passages: FloatArray, storing: Storing, pooling: Pooling
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first `DEPTH` passages of each query, best first, and their scores; passages are stored, queries too.

    Ranges are those of the passages. Codes are compared as numbers by the model's similarity, bits by the Hamming
    distance. A second look takes `RESCORED` times as many passages and orders them by the query in float32 against
    their codes, as sentence-transformers' `semantic_search_usearch(rescore=True)` does.
    """
    cut = storing.dimensions < passages.shape[1] and any(step.kind == "normalize" for step in pooling.steps)
    wide, known = (shortened(rows, storing.dimensions, normalize=cut) for rows in (queries, passages))
    ranges, name = ranges_of(known), storing.precision
    asked, stored = (numbers(quantized(rows, name, ranges), name, storing.dimensions) for rows in (wide, known))
    similarity = "dot" if name.endswith("binary") else pooling.similarity
    hits = nearest(asked, stored, DEPTH * (RESCORED if storing.rescored else 1), similarity)
    pairs = list(zip(*hits, strict=True))
    if not storing.rescored:
        return pairs
    rescored = []
    for query, (order, _) in zip(wide, pairs, strict=True):
        scores = similarities(query[None], stored[order], "dot")[0].astype(np.float64)
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        rescored.append((order[best], scores[best]))
    return rescored
