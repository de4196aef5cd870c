"""SmoothQuant: move the difficulty of quantizing from activations, where a few channels are huge, to weights.

    x W = (x / s) (s W)        s_j = max|x_j|^a / max|W_j|^(1-a)

for each input channel j, after Xiao et al. 2023, "SmoothQuant" (arXiv:2211.10438), equation 4. The strength `a` is 0
to leave all of the difficulty to the activations, and 1 to move all of it into the weights. Unlike in the paper, s is
normalized to a geometric mean of 1 and clipped, so that the factors of unused channels stay bounded.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray, affine_range, quantize_asymmetric, quantize_symmetric
from octavo.arithmetic.observers import Range

STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST = 100.0  # of a factor; 1 / LARGEST is the smallest
PAYS = 0.9  # a factor that costs a multiplication has to bring the error below this share of the error without one


def smoothing_factor(largest_input: FloatArray, weights: Sequence[FloatArray], strength: float) -> FloatArray:
    """The factor s [in] of layers that share one input.

    Args:
        largest_input: max |x_j| of each channel [in].
        weights: the layers' weights, each [in, out]; the largest magnitude over all of them counts.
        strength: the exponent `a`, between 0 and 1.
    """
    largest_weight = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    tiny = np.float64(1e-5)
    x, w = np.maximum(largest_input.astype(np.float64), tiny), np.maximum(largest_weight.astype(np.float64), tiny)
    logarithm = strength * np.log(x) - (1 - strength) * np.log(w)
    factor = np.exp(logarithm - logarithm.mean())
    return np.asarray(np.clip(factor, 1 / LARGEST, LARGEST), np.float32)


def output_error(rows: FloatArray, span: Range, weights: Sequence[FloatArray], levels: int) -> float:
    """How far int8 layers are from float layers: the squared error of their outputs over the squared outputs.

    Args:
        rows: inputs [n, in].
        span: the range of the inputs' codes.
        weights: each [in, out].
        levels: the largest weight code, see `quantize_symmetric`.
    """
    scale, zero_point = affine_range(*span)
    codes = quantize_asymmetric(rows, scale, zero_point).astype(np.float32)
    rounded = (codes - np.float32(zero_point)) * scale
    noise = signal = 0.0
    for weight in weights:
        exact = rows @ weight
        approximate = rounded @ quantize_symmetric(weight, axis=0, levels=levels).dequantize()
        noise += float(np.sum(np.square(approximate - exact), dtype=np.float64))
        signal += float(np.sum(np.square(exact), dtype=np.float64))
    return noise / max(signal, np.finfo(np.float64).tiny)


def choose_factor(
    rows: FloatArray,
    extremes: tuple[FloatArray, FloatArray],
    weights: Sequence[FloatArray],
    levels: int,
    *,
    free: bool,
) -> tuple[float, FloatArray] | None:
    """The strength with the smallest `output_error`, and its factor; None where none pays.

    `extremes` are the lowest and the highest number of each channel [in], over more rows than `rows`. `free`: the
    factor can be folded into what comes before, so that any gain is worth it.
    """
    low, high = extremes
    largest = np.maximum(np.abs(low), np.abs(high))
    best: tuple[float, FloatArray] | None = None
    least = output_error(rows, (float(low.min()), float(high.max())), weights, levels) * (1.0 if free else PAYS)
    for strength in STRENGTHS:
        factor = smoothing_factor(largest, weights, strength)
        scaled = [weight * factor[:, None] for weight in weights]
        span = (float((low / factor).min()), float((high / factor).max()))
        error = output_error(rows / factor, span, scaled, levels)
        if error < least:
            best, least = (strength, factor), error
    return best


def bias_correction(mean: NDArray[np.float64], weight: FloatArray, approximation: FloatArray) -> FloatArray:
    """What to add to a layer's bias [out] so that its mean output is that of the float layer: E[x] (W - W').

    Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721),
    section 4.2. `mean` [in] is E[x] over the calibration examples, W' the dequantized weight.
    """
    return (mean @ (weight.astype(np.float64) - approximation)).astype(np.float32)
