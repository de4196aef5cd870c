"""Compensated rounding: the weights that are rounded next compensate for what rounding a weight loses.

Rounding to the nearest code brings each weight as near as possible, but not a layer's output. With E = W - W' its error
is

    tr(E^T C E) = sum_k D_k |E_k + sum_{j < k} A_jk E_j|^2        C [in, in] = (A + I) D (A + I)^T

with C = E[x x^T] over the inputs x, or their covariance where the bias corrects the mean; A strictly upper triangular,
D diagonal. So each row k of W, the largest inputs' first, is rounded after adding sum_{j < k} A_jk E_j. This is LDLQ of
Chee et al. 2023, "QuIP" (arXiv:2307.13304), who prove that Frantar et al. 2023, "GPTQ" (arXiv:2210.17323), which takes
an inverse, gives the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT8_LEVELS, FloatArray, Quantized, clipped_scale
from octavo.arithmetic.saturation import MOST, quantize_linear

DAMPING = 0.1  # of the mean of C's diagonal, added to it: C comes from examples, and other texts will be read
COLUMNS = 192  # of a Cholesky factor that are found at a time
BLOCK = 64  # rows to which the losses of the rows before them are added in one product


def round_compensated(
    weights: Sequence[FloatArray], moment: FloatArray, *, saturates: bool, levels: int = INT8_LEVELS
) -> list[Quantized]:
    """The codes of layers that share one input; scales are those of `quantize_linear`, one per output channel.

    Args:
        weights: each [in, out], finite.
        moment: C, [in, in], symmetric and positive semi-definite.
        saturates: keep the codes of each pair within what does not, see `octavo.arithmetic.saturation`.
        levels: the largest code; with fewer than 127 scales are those of `clipped_scale`, and no product saturates.
    """
    widths = np.cumsum([weight.shape[1] for weight in weights])[:-1]
    joined = np.concatenate(weights, axis=1, dtype=np.float32)
    if levels < INT8_LEVELS:
        saturates, scale = False, clipped_scale(joined, np.diagonal(moment), levels=levels)
    else:
        scale = quantize_linear(joined, saturates=saturates).scale
    order, ahead = passed_on(moment)
    rows = joined[order] / scale
    codes, lost = np.zeros_like(joined), np.zeros_like(rows)
    free = np.ones(len(joined) + len(joined) % 2, bool)  # not rounded yet, or the missing partner of an odd last one
    for start in range(0, len(rows), BLOCK):
        stop = min(len(rows), start + BLOCK)
        wanted = rows[start:stop] + ahead[:start, start:stop].T @ lost[:start]
        for row in range(start, stop):
            value = wanted[row - start]
            value += ahead[start:row, row] @ lost[start:row]
            np.rint(value, out=value)
            low, high = -levels, levels
            if saturates and not free[order[row] ^ 1]:
                beside = codes[order[row] ^ 1]  # of the same pair
                low = np.maximum(low, -MOST - np.minimum(beside, 0))
                high = np.minimum(high, MOST - np.maximum(beside, 0))
            np.minimum(np.maximum(value, low, out=value), high, out=value)
            codes[order[row]], lost[row], free[order[row]] = value, rows[row] - value, False
    parts = zip(np.split(codes.astype(np.int8), widths, axis=1), np.split(scale, widths, axis=1), strict=True)
    return [Quantized(np.ascontiguousarray(code), part) for code, part in parts]


def passed_on(moment: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """The order of rounding, the largest inputs first, and A [in, in] of the damped moment in that order.

    With J the reversal of rows and columns and J C J = L L^T, A + I ~ J L J.
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = moment[order[::-1]].take(order[::-1], axis=1)
    diagonal = np.diag_indices_from(damped)
    mean = float(damped[diagonal].mean(dtype=np.float64))
    damped[diagonal] += DAMPING * mean if mean > 0 else 1.0
    lower = cholesky(damped)
    lower /= lower[diagonal]
    return order, np.ascontiguousarray(lower[::-1, ::-1])


def cholesky(matrix: FloatArray) -> FloatArray:
    """L of L L^T, float32 [n, n], column block by column block: numpy's takes four times as long on large ones.

    The matrix must be as positive definite as damped moments are: what float32 rounds away is far below their smallest
    eigenvalue.
    """
    lower = matrix.copy()
    for first in range(0, len(lower), COLUMNS):
        last = min(len(lower), first + COLUMNS)
        lower[first:, first:last] -= lower[first:, :first] @ lower[first:last, :first].T
        square = np.linalg.cholesky(lower[first:last, first:last].astype(np.float64))
        lower[first:last, first:last], lower[first:last, last:] = square, 0
        lower[last:, first:last] = lower[last:, first:last] @ np.linalg.inv(square).T.astype(np.float32)
    return lower
