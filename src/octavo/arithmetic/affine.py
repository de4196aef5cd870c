"""Scales, zero points and rounding: the affine map between real numbers and 8-bit integers.

    q = clip(round(x / scale) + zero_point, low, high)        x' = (q - zero_point) * scale

as in Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(arXiv:1712.05877), equation 1. Rounding is half to even, as in ONNX's QuantizeLinear and DynamicQuantizeLinear.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
INT8_LEVELS = 127  # symmetric: -127..127, so that zero is exact and -x has the code of x, negated
INT7_LEVELS = 64  # the largest magnitude at which two u8 x s8 products fit into 16 bits: 2 * 255 * 64 = 32640
LEVELS = {8: INT8_LEVELS, 4: 7}  # bits -> the largest code of symmetric ones
SHARES = tuple(np.arange(20, 9, -1) / 20)  # of the largest magnitude that are tried: with 15 codes clipping it may pay
_PART = 1 << 20  # numbers that are worked on at a time


@dataclass(frozen=True)
class Quantized:
    """Symmetric integers and their scales.

    `codes` int8, the shape of the weight; `scale` float32, the same shape with the reduced axis kept as 1, in units of
    the weight per step.
    """

    codes: NDArray[np.int8]
    scale: FloatArray

    def dequantize(self) -> FloatArray:
        """The real numbers of the codes."""
        return self.codes.astype(np.float32) * self.scale

    def error_db(self, weight: FloatArray) -> float:
        """The error of these codes of a weight; see `error_db`."""
        return _decibels(weight, lambda part: self.codes[part].astype(np.float32) * _along(self.scale, part))


def quantize_symmetric(weight: FloatArray, *, axis: int, levels: int = INT8_LEVELS) -> Quantized:
    """Quantize a matrix symmetrically with one scale per slice, the largest magnitude of the slice on `levels`.

    Args:
        weight: any shape, finite.
        axis: the axis that is reduced: slices along it share one scale. 0 for a [in, out] weight gives one scale per
            output channel, 1 for an embedding table [rows, width] one per row.
        levels: the largest code, 127 for 8 bits; `INT7_LEVELS` where products of 8-bit codes could saturate.

    A slice of zeros gets scale 1, so that it comes back as zeros.
    Source: per-channel symmetric weights, Krishnamoorthi 2018 (arXiv:1806.08342), section 2.2.
    """
    scale = symmetric_scale(weight, axis=axis, levels=levels)
    codes = np.empty(weight.shape, np.int8)
    for part in _parts(weight):
        codes[part] = np.clip(np.rint(weight[part] / _along(scale, part)), -levels, levels)
    return Quantized(codes, scale)


def symmetric_scale(weight: FloatArray, *, axis: int, levels: int = INT8_LEVELS) -> FloatArray:
    """The scales of `quantize_symmetric`, with the reduced axis kept as 1."""
    largest = np.maximum(np.max(weight, axis=axis, keepdims=True), -np.min(weight, axis=axis, keepdims=True))
    return safe_scale(largest.astype(np.float32) / np.float32(levels))


def clipped_scale(weight: FloatArray, importance: FloatArray, *, levels: int) -> FloatArray:
    """The scales with which the nearest codes of a weight [in, out] lose least, one per output channel: [1, out].

    Of `SHARES` of those of `symmetric_scale`; the squared error of each input counts by its `importance` [in]. As in
    Banner et al. 2019 (arXiv:1810.05723), with the weights themselves in the place of their distribution.
    """
    widest = symmetric_scale(weight, axis=0, levels=levels)
    losses = []
    for share in SHARES:
        scale = widest * np.float32(share)
        rounded = np.clip(np.rint(weight / scale), -levels, levels) * scale
        losses.append(importance @ np.square(weight - rounded))
    return np.asarray(widest * np.array(SHARES, np.float32)[np.argmin(losses, axis=0)], np.float32)


def safe_scale(scale: FloatArray) -> FloatArray:
    """The scales with 1 in the place of 0: zeros come back as zeros, and so do subnormal numbers, as good as zero."""
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale).astype(np.float32)


def affine_range(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of uint8 codes that span `low` to `high`, widened to hold zero: padding stays exact.

        scale = (max(0, high) - min(0, low)) / 255      zero_point = clip(round(-min(0, low) / scale), 0, 255)

    So ONNX's DynamicQuantizeLinear (opset 11) has it of a tensor's extremes. Of zeros the standard's formula has scale
    0, where runtimes disagree; here it is 1.
    """
    low32, high32 = np.float32(min(0.0, low)), np.float32(max(0.0, high))
    scale = np.float32((high32 - low32) / np.float32(255))
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1), np.uint8(0)
    return scale, np.uint8(np.clip(np.rint(-low32 / scale), 0, 255))


def quantize_asymmetric(x: FloatArray, scale: np.float32, zero_point: np.uint8) -> NDArray[np.uint8]:
    """The uint8 codes of `x` under one scale and zero point, saturating at 0 and 255."""
    codes: NDArray[np.uint8] = np.clip(np.rint(x / scale) + np.float32(zero_point), 0, 255).astype(np.uint8)
    return codes


def round_range(x: FloatArray, low: float, high: float) -> FloatArray:
    """The numbers that the codes of `x` stand for, uint8 with one scale and zero point that span `low` to `high`."""
    scale, zero_point = affine_range(low, high)
    return (quantize_asymmetric(x, scale, zero_point).astype(np.float32) - np.float32(zero_point)) * scale


def round_rows(x: FloatArray, zero_point: int = 128, lowest: float | None = None) -> FloatArray:
    """The numbers that the codes of `x` [n, width] stand for, one scale for each row; see `lower_row_linear`."""
    if lowest is None:
        step = np.abs(x).max(axis=1, keepdims=True) / np.float32(INT8_LEVELS)
    else:
        step = np.maximum(x.max(axis=1, keepdims=True) / np.float32(255 - zero_point), -lowest / zero_point)
    scale = safe_scale(np.asarray(step, np.float32))
    return np.asarray(np.rint(x / scale) * scale, np.float32)


def error_db(reference: FloatArray, approximation: FloatArray) -> float:
    """Signal over quantization noise in decibels, 10 log10(sum x^2 / sum (x - x')^2); infinite where they are equal.

    Summed in float64. Larger is better; 8-bit weights of a transformer have about 40 dB.
    """
    return _decibels(reference, lambda part: approximation[part])


def _decibels(reference: FloatArray, approximation: Callable[[slice], FloatArray]) -> float:
    noise = signal = 0.0
    for part in _parts(reference):
        exact = reference[part].astype(np.float64)
        noise += float(np.sum(np.square(exact - approximation(part))))
        signal += float(np.sum(np.square(exact)))
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def _parts(array: NDArray[Any]) -> Iterator[slice]:
    """The first axis in parts of some million numbers: of a table of 250,000 rows no second array is made."""
    rows = max(1, _PART // max(1, array[:1].size))
    return (slice(first, first + rows) for first in range(0, len(array), rows))


def _along(scale: FloatArray, part: slice) -> FloatArray:
    """The scales of a part of the first axis, which may be the one that was reduced."""
    return scale if len(scale) == 1 else scale[part]
