"""Rounding that makes up for itself: each weight's rounding error is taken back by the weights still to be rounded.

To the nearest code each weight is as near as it can be, and a layer's output is not. What counts is

    tr((W - W')^T C (W - W'))        C [in, in]

with C = E[x x^T] over the inputs x, or their covariance where the bias makes up for the mean. Input channel by input
channel, the largest first, a row of W is rounded, and what it lost is spread over the rows that follow as the inverse
of C says, which is the best that they can do: Frantar et al. 2023, "GPTQ" (arXiv:2210.17323), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.quant.affine import FloatArray, Quantized, quantize_symmetric

DAMPING = 0.1  # of the mean of C's diagonal, added to it: C comes from examples, and other texts will be read
BLOCK = 64  # rows whose errors are spread over the rest in one product


def round_compensated(weights: Sequence[FloatArray], moment: FloatArray, levels: int) -> list[Quantized]:
    """The codes of layers that share one input; scales are those of `quantize_symmetric`, one per output channel.

    Args:
        weights: each [in, out], finite.
        moment: C, [in, in], symmetric and positive semi-definite.
        levels: the largest weight code, see `quantize_symmetric`.
    """
    widths = np.cumsum([weight.shape[1] for weight in weights])[:-1]
    joined = np.concatenate(weights, axis=1, dtype=np.float32)
    scale = quantize_symmetric(joined, axis=0, levels=levels).scale
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _inverse_factor(moment[np.ix_(order, order)])
    rest, codes = joined[order] / scale, np.empty(joined.shape, np.int8)
    for start in range(0, len(rest), BLOCK):
        stop = min(len(rest), start + BLOCK)
        lost = np.empty((stop - start, rest.shape[1]), np.float32)
        for row in range(start, stop):
            rounded = np.clip(np.rint(rest[row]), -levels, levels)
            codes[order[row]] = rounded
            lost[row - start] = (rest[row] - rounded) / factor[row, row]
            rest[row + 1 : stop] -= np.outer(factor[row, row + 1 : stop], lost[row - start])
        rest[stop:] -= factor[start:stop, stop:].T @ lost
    parts = zip(np.split(codes, widths, axis=1), np.split(scale, widths, axis=1), strict=True)
    return [Quantized(np.ascontiguousarray(code), part) for code, part in parts]


def _inverse_factor(moment: FloatArray) -> FloatArray:
    """The upper triangular U [in, in] with U^T U the inverse of the damped moment.

    With J the reversal of rows and columns and J C J = L L^T, C = (J L J) (J L J)^T, and U is the inverse of J L J.
    """
    damped = moment.astype(np.float64)
    diagonal = np.diag_indices_from(damped)
    mean = float(damped[diagonal].mean())
    damped[diagonal] += DAMPING * mean if mean > 0 else 1.0
    return np.linalg.inv(np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]).astype(np.float32)
