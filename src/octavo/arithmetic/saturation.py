"""The u8 x s8 products of an x86 CPU without VNNI, in numpy: how often a model's own numbers would overflow.

`vpmaddubsw` multiplies unsigned with signed bytes and adds neighbouring pairs in 16 bits, saturating (Intel's Software
Developer's Manual, volume 2, PMADDUBSW); only then are the sums widened to 32 bits:

    pair = clip(u_0 s_0 + u_1 s_1, -32768, 32767)

Nothing is lost where the codes of one sign in a pair add up to 128 at most: 255 x 128 = 32640. Two codes of 7 bits keep
to that, and so do 127 and 1, or 127 and -127; weights need a larger step than that of 8 bits only where two large ones
of one sign are neighbours.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT8_LEVELS, FloatArray, Quantized, quantize_symmetric, safe_scale, symmetric_scale

LOW, HIGH = -32768, 32767
Number = TypeVar("Number", np.float32, np.int32)
MOST = 128  # that codes of one sign in a pair may add up to


def quantize_linear(weight: FloatArray, *, saturates: bool) -> Quantized:
    """Codes of a Linear's weight [in, out], one scale per output channel: the largest magnitude on 127.

    Where products can saturate it is the largest sum of one sign in a pair that is on 127: both codes are rounded, so
    that 128 is the most that they add up to.
    """
    if not saturates:
        return quantize_symmetric(weight, axis=0)
    scale = linear_scale(weight, saturates=True)
    return Quantized(np.rint(weight / scale).astype(np.int8), scale)


def linear_scale(weight: FloatArray, *, saturates: bool) -> FloatArray:
    """The scales [1, out] of `quantize_linear`."""
    if not saturates:
        return symmetric_scale(weight, axis=0)
    return safe_scale(np.asarray(largest_pairs(weight) / INT8_LEVELS, np.float32))


def round_linear(weight: FloatArray, *, saturates: bool) -> FloatArray:
    """The numbers that the codes of `quantize_linear` stand for, [in, out]."""
    scale = linear_scale(weight, saturates=saturates)
    rounded = weight / scale
    np.rint(rounded, out=rounded)
    rounded *= scale
    return rounded


def quantize_by_steps(
    weight: FloatArray, scale: FloatArray, *, saturates: bool, levels: int = INT8_LEVELS
) -> Quantized:
    """Codes of a Linear's weight [in, out] for scales [1, out] that are given: the nearest, up to `levels`.

    Where products can saturate the second code of a pair gives way, so that those of one sign add up to 128 at most.
    """
    codes = np.clip(np.rint(weight / scale), -levels, levels)
    if saturates:
        pairs = _pairs(codes)
        first, second = pairs[:, 0], pairs[:, 1]
        pairs[:, 1] = np.clip(second, np.maximum(-first, 0) - MOST, MOST - np.maximum(first, 0))
        codes = pairs.reshape(-1, codes.shape[1])[: len(codes)]
    return Quantized(codes.astype(np.int8), scale)


def largest_pairs(weight: NDArray[Number]) -> NDArray[Number]:
    """The largest sum of one sign in a pair, of numbers or codes [in, out]: the magnitude, [1, out].

    That of two numbers of one sign is the magnitude of their sum, and of others that of one alone.
    """
    sums = weight[: len(weight) // 2 * 2 : 2] + weight[1::2]
    ends = [end for part in (weight, sums) if len(part) for end in (part.max(axis=0), -part.min(axis=0))]
    largest: NDArray[Number] = np.max(ends, axis=0)[None]
    return largest


def can_saturate(codes: NDArray[np.int8]) -> bool:
    """Whether there are activations with which a product of these codes [in, out] saturates."""
    return bool(largest_pairs(codes.astype(np.int32)).max(initial=0) > MOST)


def count_saturated(x: NDArray[np.uint8], weight: NDArray[np.int8]) -> int:
    """How many pairs of the product of codes [n, in] and [in, out] saturate, of n x ceil(in / 2) x out.

    Rows 2k and 2k + 1 of the weight are a pair, as ONNX Runtime's and oneDNN's kernels pack them; an odd last one is
    paired with a zero. Computed only where two weights are large enough for it: a pair can leave 16 bits only if 255
    times its positive or its negative weights does.
    """
    left, right = _pairs(x.T.astype(np.int32)), _pairs(weight.astype(np.int32))
    most = 255 * np.maximum(np.maximum(right, 0).sum(axis=1), -np.minimum(right, 0).sum(axis=1))
    saturated = 0
    for k in np.flatnonzero((most > HIGH).any(axis=1)):
        columns = right[k][:, most[k] > HIGH]
        pair = left[k, 0, :, None] * columns[0] + left[k, 1, :, None] * columns[1]
        saturated += int(np.count_nonzero((pair > HIGH) | (pair < LOW)))
    return saturated


def _pairs(rows: NDArray[Number]) -> NDArray[Number]:
    """Rows [in, n] as [ceil(in / 2), 2, n]; an odd last one is paired with zeros."""
    even = np.pad(rows, ((0, len(rows) % 2), (0, 0)))
    return even.reshape(-1, 2, rows.shape[1])
