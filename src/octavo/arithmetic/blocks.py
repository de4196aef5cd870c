"""Blocks of a weight that share one scale, as ONNX Runtime's `MatMulNBits` stores them: 8 bits symmetric, 4 asymmetric.

    w' = (q - z) * s        q in 0 .. 2^bits - 1, one s and z for each `block` inputs of each output channel

An 8-bit block has z = 128 and s = max|w| / 127. A 4-bit one spans its own smallest and largest number, widened to hold
zero: with 16 codes half a step counts. https://github.com/microsoft/onnxruntime, docs/ContribOperators.md, MatMulNBits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray, safe_scale
from octavo.arithmetic.ldlq import passed_on

MIDDLE = 128  # the zero point of 8-bit codes
GROUP = 32  # numbers of a row of a table that share one scale, at 4 bits
TABLE_ROWS = 16_384  # that are rounded at once: a multilingual table fills a machine otherwise
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of a 4-bit block's range that are tried: clipping its ends may pay


@dataclass(frozen=True)
class Blocks:
    """A matrix in blocks.

    `codes` uint8 [blocks, block, out], the last block filled with zero points where `inputs` is no multiple of `block`;
    `scale` float32 and `zero` uint8 [blocks, out].
    """

    codes: NDArray[np.uint8]
    scale: FloatArray
    zero: NDArray[np.uint8]
    inputs: int
    bits: int

    @property
    def fills(self) -> bool:
        """Whether the blocks are as long as the inputs together, with no filling."""
        return bool(self.codes.shape[0] * self.codes.shape[1] == self.inputs)

    @property
    def bytes(self) -> int:
        """As they are stored: codes, scales, and zero points of 4 bits."""
        zeros = 0 if self.bits == 8 else self.packed_zeros().nbytes
        return self.codes.size * self.bits // 8 + self.scale.nbytes + zeros

    def dequantize(self) -> FloatArray:
        """The matrix [in, out] in real numbers."""
        real = (self.codes.astype(np.float32) - self.zero[:, None, :]) * self.scale[:, None, :]
        return np.asarray(real.reshape(-1, real.shape[2])[: self.inputs], np.float32)

    @property
    def row_bytes(self) -> int:
        """As rows of a table are stored: codes, scales of 16 bits, and a byte for each zero point."""
        return self.codes.size * self.bits // 8 + 2 * self.scale.size + self.zero.size

    def packed(self) -> NDArray[np.uint8]:
        """The codes as MatMulNBits reads them, [out, blocks, bytes of a block]; of two 4-bit codes the first is low."""
        rows = np.ascontiguousarray(self.codes.transpose(2, 0, 1))
        return rows if self.bits == 8 else np.asarray(rows[:, :, 0::2] | (rows[:, :, 1::2] << 4), np.uint8)

    def packed_zeros(self) -> NDArray[np.uint8]:
        """4-bit zero points, [out * ceil(blocks / 2)], the first of two low."""
        zeros = self.zero.T
        if zeros.shape[1] % 2:
            zeros = np.pad(zeros, ((0, 0), (0, 1)))
        return np.ascontiguousarray(zeros[:, 0::2] | (zeros[:, 1::2] << 4)).reshape(-1)

    def packed_scale(self) -> FloatArray:
        """The scales, [out, blocks]."""
        return np.ascontiguousarray(self.scale.T)


def quantize_blocks(
    weight: FloatArray, bits: int, block: int, moment: FloatArray | None = None, *, half: bool = False
) -> Blocks:
    """Quantize a matrix [in, out], finite, in blocks of `block` inputs.

    With `moment`, E[x x^T] [in, in] over the inputs, the weights that are rounded next compensate for what rounding
    loses (`octavo.arithmetic.ldlq`); scales are those of the weight itself. `half`: scales that 16 bits hold.
    """
    inputs, outputs = weight.shape
    count = -(-inputs // block)
    padded = np.zeros((count * block, outputs), np.float32)
    padded[:inputs] = weight
    blocks = padded.reshape(count, block, outputs)
    counts = np.ones(count * block, np.float32)  # how much an error of each input's weights matters
    if moment is not None:
        counts[:inputs] = np.diag(moment)
    if bits == 8:
        scale = safe_scale(np.abs(blocks).max(axis=1) / np.float32(127))
        zero = np.full(scale.shape, MIDDLE, np.float32)
    else:
        scale, zero = _asymmetric(blocks, counts.reshape(count, block, 1))
    scale = _half(scale) if half else scale
    if moment is None:
        codes = np.clip(np.rint(blocks / scale[:, None, :]) + zero[:, None, :], 0, 2**bits - 1).astype(np.uint8)
    else:
        codes = np.broadcast_to(zero[:, None, :], blocks.shape).reshape(-1, outputs).astype(np.uint8)
        spread = (np.repeat(scale, block, axis=0)[:inputs], np.repeat(zero, block, axis=0)[:inputs])
        codes[:inputs] = _compensated(weight, *spread, 2**bits - 1, moment)
        codes = codes.reshape(blocks.shape)
    return Blocks(codes, scale, zero.astype(np.uint8), inputs, bits)


def quantize_rows(table: FloatArray) -> Blocks:
    """The rows of a table [rows, width], finite, at 4 bits: `Blocks` of its transpose, with scales that 16 bits hold.

    A row's number is (q - z) * s, one s and z for each `GROUP` of its numbers.
    """
    parts = []
    for start in range(0, len(table), TABLE_ROWS):
        part = quantize_blocks(np.ascontiguousarray(table[start : start + TABLE_ROWS].T), 4, GROUP, half=True)
        parts.append((part.codes, part.scale, part.zero))
    codes, scale, zero = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return Blocks(codes, scale, zero, table.shape[1], 4)


def _half(scale: FloatArray) -> FloatArray:
    """Scales that float16 holds with all of its 11 bits; one that is too small becomes the smallest of these."""
    halves = np.finfo(np.float16)
    return np.clip(scale, halves.tiny, halves.max).astype(np.float16).astype(np.float32)


def _asymmetric(blocks: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scale and zero point of each block, 4 bits: the share of its range that loses the least in weighted squares."""
    low, high = np.minimum(blocks.min(axis=1), 0), np.maximum(blocks.max(axis=1), 0)
    best = np.full(low.shape, np.inf)
    scale, zero = np.ones_like(low), np.zeros_like(low)
    for share in SHARES:
        step = safe_scale((high - low) * np.float32(share / 15))
        middle = np.clip(np.rint(-low * np.float32(share) / step), 0, 15).astype(np.float32)
        codes = np.clip(np.rint(blocks / step[:, None, :]) + middle[:, None, :], 0, 15)
        lost = (counts * np.square((codes - middle[:, None, :]) * step[:, None, :] - blocks)).sum(axis=1)
        better = lost < best
        best, scale, zero = np.where(better, lost, best), np.where(better, step, scale), np.where(better, middle, zero)
    return scale.astype(np.float32), zero.astype(np.float32)


def _compensated(
    weight: FloatArray, scale: FloatArray, zero: FloatArray, levels: int, moment: FloatArray
) -> NDArray[np.uint8]:
    """Codes of LDLQ, the largest inputs' rows first; see `octavo.arithmetic.ldlq` for the formula. All [in, out]."""
    order, ahead = passed_on(moment)
    lost, codes = np.zeros_like(weight), np.empty(weight.shape, np.uint8)
    for place, row in enumerate(order):
        wanted = weight[row] + ahead[:place, place] @ lost[:place]
        code = np.clip(np.rint(wanted / scale[row]) + zero[row], 0, levels)
        codes[row], lost[place] = code, weight[row] - (code - zero[row]) * scale[row]
    return codes
