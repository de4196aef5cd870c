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

from octavo.arithmetic.affine import INT8_LEVELS, FloatArray, Quantized
from octavo.arithmetic.saturation import MOST, quantize_linear

DAMPING = 0.1  # of the mean of C's diagonal, added to it: C comes from examples, and other texts will be read
BLOCK = 64  # rows to which the losses of the rows before them are added in one product


def round_compensated(weights: Sequence[FloatArray], moment: FloatArray, *, saturates: bool) -> list[Quantized]:
    """The codes of layers that share one input; scales are those of `quantize_linear`, one per output channel.

    Args:
        weights: each [in, out], finite.
        moment: C, [in, in], symmetric and positive semi-definite.
        saturates: keep the codes of each pair within what does not, see `octavo.arithmetic.saturation`.
    """
    widths = np.cumsum([weight.shape[1] for weight in weights])[:-1]
    joined = np.concatenate(weights, axis=1, dtype=np.float32)
    scale = quantize_linear(joined, saturates=saturates).scale
    order, ahead = passed_on(moment)
    rows = joined[order] / scale
    codes = np.zeros((len(joined) + len(joined) % 2, joined.shape[1]), np.int16)
    lost = np.zeros_like(rows)
    for start in range(0, len(rows), BLOCK):
        stop = min(len(rows), start + BLOCK)
        wanted = rows[start:stop] + ahead[:start, start:stop].T @ lost[:start]
        for row in range(start, stop):
            value = wanted[row - start] + ahead[start:row, row] @ lost[start:row]
            beside = codes[order[row] ^ 1] * np.int16(saturates)  # of the same pair; 0 where it is not rounded yet
            low, high = np.maximum(-beside, 0) - MOST, MOST - np.maximum(beside, 0)
            rounded = np.clip(np.rint(value), np.maximum(low, -INT8_LEVELS), np.minimum(high, INT8_LEVELS))
            codes[order[row]], lost[row] = rounded, rows[row] - rounded
    codes = codes[: len(joined)].astype(np.int8)
    parts = zip(np.split(codes, widths, axis=1), np.split(scale, widths, axis=1), strict=True)
    return [Quantized(np.ascontiguousarray(code), part) for code, part in parts]


def passed_on(moment: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """The order of rounding, the largest inputs first, and A [in, in] of the damped moment in that order.

    With J the reversal of rows and columns and J C J = L L^T, A + I ~ J L J.
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = moment[np.ix_(order, order)].astype(np.float64)
    diagonal = np.diag_indices_from(damped)
    mean = float(damped[diagonal].mean())
    damped[diagonal] += DAMPING * mean if mean > 0 else 1.0
    upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    return order, np.asarray(upper / upper[diagonal], np.float32)
