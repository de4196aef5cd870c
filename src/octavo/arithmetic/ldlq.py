"""Rounding that makes up for itself: what rounding a weight loses is made up for by the weights that are rounded next.

To the nearest code each weight is as near as it can be, and a layer's output is not. What counts, E = W - W', is

    tr(E^T C E) = sum_k D_k |E_k + sum_{j < k} A_jk E_j|^2        C [in, in] = (A + I) D (A + I)^T

with C = E[x x^T] over the inputs x, or their covariance where the bias makes up for the mean; A strictly upper
triangular, D diagonal. So each row k of W, the largest inputs' first, is rounded after adding sum_{j < k} A_jk E_j.
Chee et al. 2023, "QuIP" (arXiv:2307.13304), LDLQ; they prove that Frantar et al. 2023, "GPTQ" (arXiv:2210.17323), which
takes an inverse, finds the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.arithmetic.affine import FloatArray, Quantized, quantize_symmetric

DAMPING = 0.1  # of the mean of C's diagonal, added to it: C comes from examples, and other texts will be read
BLOCK = 64  # rows that what the rows before them lost is added to in one product


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
    ahead = passed_on(moment[np.ix_(order, order)])
    rows, codes = joined[order] / scale, np.empty(joined.shape, np.int8)
    lost = np.zeros_like(rows)
    for start in range(0, len(rows), BLOCK):
        stop = min(len(rows), start + BLOCK)
        wanted = rows[start:stop] + ahead[:start, start:stop].T @ lost[:start]
        for row in range(start, stop):
            value = wanted[row - start] + ahead[start:row, row] @ lost[start:row]
            rounded = np.clip(np.rint(value), -levels, levels)
            codes[order[row]], lost[row] = rounded, rows[row] - rounded
    parts = zip(np.split(codes, widths, axis=1), np.split(scale, widths, axis=1), strict=True)
    return [Quantized(np.ascontiguousarray(code), part) for code, part in parts]


def passed_on(moment: FloatArray) -> FloatArray:
    """A [in, in] of the damped moment: with J the reversal of rows and columns and J C J = L L^T, A + I ~ J L J."""
    damped = moment.astype(np.float64)
    diagonal = np.diag_indices_from(damped)
    mean = float(damped[diagonal].mean())
    damped[diagonal] += DAMPING * mean if mean > 0 else 1.0
    upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    return np.asarray(upper / upper[diagonal], np.float32)
