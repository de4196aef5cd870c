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


def quantize_blocks(weight: FloatArray, bits: int, block: int, moment: FloatArray | None = None) -> Blocks:
    """Quantize a matrix [in, out], finite, in blocks of `block` inputs.

    With `moment`, E[x x^T] [in, in] over the inputs, the weights that are rounded next compensate for what rounding
    loses (`octavo.arithmetic.ldlq`); scales are those of the weight itself.
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
    if moment is None:
        codes = np.clip(np.rint(blocks / scale[:, None, :]) + zero[:, None, :], 0, 2**bits - 1).astype(np.uint8)
    else:
        codes = np.broadcast_to(zero[:, None, :], blocks.shape).reshape(-1, outputs).astype(np.uint8)
        spread = (np.repeat(scale, block, axis=0)[:inputs], np.repeat(zero, block, axis=0)[:inputs])
        codes[:inputs] = _compensated(weight, *spread, 2**bits - 1, moment)
        codes = codes.reshape(blocks.shape)
    return Blocks(codes, scale, zero.astype(np.uint8), inputs, bits)


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
