"""SmoothQuant: move the difficulty of quantizing from activations, where a few channels are huge, to weights.

    x W = (x / s) (s W)        s_j = max|x_j|^a / max|W_j|^(1-a)

for each input channel j, after Xiao et al. 2023, "SmoothQuant" (arXiv:2211.10438), equation 4. The strength `a` is 0
to leave all of the difficulty to the activations, and 1 to move all of it into the weights. Unlike in the paper, s is
normalized to a geometric mean of 1 and clipped, so that the factors of unused channels stay bounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray, round_range
from octavo.arithmetic.saturation import round_linear

STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST = 100.0  # of a factor; 1 / LARGEST is the smallest
TRIED = 256  # outputs of a layer, on the average of those that read the same, on which factors are tried
PAYS = 0.9  # a factor that costs a multiplication has to bring the error below this share of the error without one


@dataclass(frozen=True)
class Sample:
    """Rows of a layer's input [n, in], and the extremes of each channel [in] over these and more rows."""

    rows: FloatArray
    low: FloatArray
    high: FloatArray
    smoothed: bool = False

    def divided(self, factor: FloatArray) -> "Sample":
        """The same behind a division of each channel by its factor [in]."""
        return Sample(self.rows / factor, self.low / factor, self.high / factor, smoothed=True)

    @property
    def largest(self) -> FloatArray:
        """The largest magnitude of each channel [in]."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


Rounding = Callable[[Sample], FloatArray]  # the numbers that the codes of a sample's rows stand for, [n, in]


def round_sample(sample: Sample) -> FloatArray:
    """What static codes keep of a sample's rows [n, in]: one range of all channels, that of the extremes."""
    return round_range(sample.rows, float(sample.low.min()), float(sample.high.max()))


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


def exact_outputs(rows: FloatArray, weights: Sequence[FloatArray]) -> list[FloatArray]:
    """What float layers answer to rows [n, in], each [n, out]."""
    return [rows @ weight for weight in weights]


def output_error(
    exact: Sequence[FloatArray], rounded: FloatArray, weights: Sequence[FloatArray], *, saturates: bool
) -> float:
    """How far int8 layers are from float layers: the squared error of their outputs over the squared outputs.

    Args:
        exact: the float layers' outputs, each [n, out].
        rounded: the numbers that the codes of their input stand for, [n, in].
        weights: each [in, out].
        saturates: see `octavo.arithmetic.saturation.quantize_linear`.
    """
    noise = signal = 0.0
    for outputs, weight in zip(exact, weights, strict=True):
        error = rounded @ round_linear(weight, saturates=saturates)
        error -= outputs
        noise += squares(error)
        signal += squares(outputs)
    return noise / max(signal, np.finfo(np.float64).tiny)


def squares(array: FloatArray) -> float:
    """The sum of the squares of numbers [n, m], rows in float32 and their sums in float64."""
    return float(np.einsum("ij,ij->i", array, array).sum(dtype=np.float64))


def choose_factor(
    sample: Sample, weights: Sequence[FloatArray], rounding: Rounding, *, saturates: bool, free: bool
) -> tuple[float, FloatArray] | None:
    """The strength with the smallest `output_error`, and its factor; None where none pays.

    `rounding` is how the layers' input will be rounded. `free`: the factor can be folded into what comes before, so
    that any gain is worth it.
    """
    best: tuple[float, FloatArray] | None = None
    every = max(1, sum(weight.shape[1] for weight in weights) // (TRIED * len(weights)))
    tried = [weight[:, ::every] for weight in weights]
    exact = exact_outputs(sample.rows, tried)  # the same with every factor
    least = output_error(exact, rounding(sample), tried, saturates=saturates) * (1.0 if free else PAYS)
    extremes = [np.abs(weight).max(axis=1, keepdims=True) for weight in weights]  # as large as all outputs' weights
    for strength in STRENGTHS:
        factor = smoothing_factor(sample.largest, extremes, strength)
        scaled = [weight * factor[:, None] for weight in tried]
        error = output_error(exact, rounding(sample.divided(factor)), scaled, saturates=saturates)
        if error < least:
            best, least = (strength, factor), error
    return best


def bias_correction(mean: NDArray[np.float64], weight: FloatArray, approximation: FloatArray) -> FloatArray:
    """What to add to a layer's bias [out] so that its mean output is that of the float layer: E[x] (W - W').

    Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721),
    section 4.2. `mean` [in] is E[x] over the calibration examples, W' the dequantized weight.
    """
    return (mean @ (weight.astype(np.float64) - approximation)).astype(np.float32)
