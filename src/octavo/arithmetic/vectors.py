"""Vectors as people store them: shortened, and with fewer bits, as sentence-transformers' `quantize_embeddings`."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Ranges = NDArray[np.float32]  # [2, dimension]: the smallest and the largest number in each place
PRECISIONS = ("float32", "float16", "int8", "uint8", "binary", "ubinary")
RANGED = frozenset({"int8", "uint8"})
_TINY = 1e-12


def shortened(vectors: FloatArray, dimensions: int, *, normalize: bool) -> FloatArray:
    """The first so many numbers of each vector, [rows, dimension]; with `normalize` brought to length 1 again.

    Of models that were trained for it: Kusupati et al. 2022, "Matryoshka representation learning" (NeurIPS 35).
    """
    short = vectors[:, :dimensions]
    return short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), _TINY) if normalize else short


def ranges_of(vectors: FloatArray) -> Ranges:
    """The ranges of each place over [rows, dimension]."""
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)]).astype(np.float32)


def quantized(vectors: FloatArray, precision: str, ranges: Ranges | None = None) -> NDArray[np.generic]:
    """[rows, dimension] in one of `PRECISIONS`; two of these need `ranges`.

    uint8: floor((x - low) / ((high - low) / 255)), kept within 0 to 255; int8: the same less 128. ubinary: a bit for
    each number, 1 above 0, eight to a byte; binary: these bytes less 128, as int8.
    """
    if precision in RANGED:
        assert ranges is not None
        low = ranges[0]
        steps = (ranges[1] - low) / np.float32(255)
        codes = np.clip(np.floor((vectors - low) / np.where(steps == 0, np.float32(1), steps)), 0, 255)
        return np.asarray(codes, np.uint8) if precision == "uint8" else np.asarray(codes - 128, np.int8)
    if precision.endswith("binary"):
        bits = np.packbits(vectors > 0, axis=-1)
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    return vectors.astype(precision)


def numbers(stored: NDArray[np.generic], precision: str, dimensions: int) -> FloatArray:
    """What a search computes with: the codes as numbers, about 0; of bits -1 and 1, whose products order as their
    Hamming distances do.
    """  # noqa: D205 - one sentence
    if precision.endswith("binary"):
        bits = stored if precision == "ubinary" else (stored.astype(np.int16) + 128).astype(np.uint8)
        return 2 * np.unpackbits(np.asarray(bits, np.uint8), axis=-1, count=dimensions).astype(np.float32) - 1
    codes = stored.astype(np.float32)
    return codes - 128 if precision == "uint8" else codes
