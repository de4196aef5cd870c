"""`static`: int8 weights, and activations whose ranges were learnt from the user's own examples.

Ranges are constants of the graph, so an answer does not depend on what else is in the batch, and no time goes into
computing them at run time. The order: see what the layers read, smooth (`arithmetic.smoothquant`) where it pays, find
the ranges of what is read then, round (`arithmetic.ldlq`), correct biases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray, Quantized, affine_range, quantize_asymmetric, quantize_symmetric
from octavo.arithmetic.ldlq import round_compensated
from octavo.arithmetic.observers import Range, mse_range, percentile_range
from octavo.arithmetic.saturation import count_saturated
from octavo.arithmetic.smoothquant import bias_correction, choose_factor, output_error, smoothing_factor
from octavo.errors import DataError
from octavo.graph.layers import Layer, find_bias
from octavo.graph.lowering import lower_static_linear
from octavo.graph.scaling import Group, correct_bias, find_groups, find_maker, scale_group, separable
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_channels, see_histograms
from octavo.methods.layer_results import (
    can_saturate,
    decide,
    four_bit_tables,
    int8_result,
    lower_layers,
    lower_rows,
    weight_levels,
)
from octavo.schema.layers import LayerResult, Overflow
from octavo.schema.recipe import Recipe

OVERFLOW_ROWS = 64  # of each layer's input, to count on


@dataclass(frozen=True)
class Input:
    """What a layer reads, over the calibration examples.

    `low`, `high` extremes of each channel, float32 [in]; `mean` float64 [in]; `rows` a sample, float32 [n, in];
    `moment` E[x x^T] of what was seen, float32 [in, in], and `factor` what it was divided by since, float32 [in].
    """

    low: FloatArray
    high: FloatArray
    mean: NDArray[np.float64]
    rows: FloatArray
    moment: FloatArray
    factor: FloatArray

    def divided(self, factor: FloatArray) -> Self:
        """The same behind a division of each channel by its factor [in]."""
        divided = {name: getattr(self, name) / factor for name in ("low", "high", "mean", "rows")}
        return replace(self, **divided, factor=self.factor * factor)

    def spread(self, *, centered: bool) -> FloatArray:
        """E[x x^T], or the covariance, [in, in]."""
        moment = self.moment / np.outer(self.factor, self.factor)
        return moment - np.outer(self.mean, self.mean).astype(np.float32) if centered else moment

    @property
    def extremes(self) -> Range:
        """The lowest and the highest number of all channels."""
        return float(self.low.min()), float(self.high.max())


def quantize_static(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Raises:
        DataError: no examples to calibrate on were given.
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    if not context.calibration:
        raise DataError("static int8 learns ranges from examples, and none were given", then="--calibrate FILE")
    model = model.clone(deep_copy=False)
    levels = weight_levels(context.target)
    decided = decide(model, recipe)
    four_bits = four_bit_tables(decided, recipe)
    groups = find_groups([layer for layer, reason in decided if reason is None])
    layers = [layer for group in groups for layer in group.layers]
    seen = {
        name: Input(stats.low, stats.high, stats.mean, stats.rows, stats.moment, np.ones_like(stats.low))
        for name, stats in see_channels(model, layers, context).items()
    }
    seen, strengths = _smooth(model, groups, seen, recipe, levels)
    smoothed = model.clone(deep_copy=False)
    spans = _spans(model, layers, seen, recipe, context)
    rounded = _round(layers, seen, recipe, levels, context)
    overflow = _overflow(layers, seen, spans, rounded) if context.target.saturates else None

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "embedding":
            return lower_rows(model, layer, four_bits)
        weight = rounded[layer.path]
        result = int8_result(layer, weight, levels, activation="static", smoothing=strengths.get(layer.path))
        if recipe.bias_correction:
            mean = np.mean([seen[name].mean for name in layer.inputs], axis=0)
            correct_bias(model, layer, bias_correction(mean, layer.matrix(), weight.dequantize()))
        lower_static_linear(model, layer, weight, {name: affine_range(*spans[name]) for name in layer.inputs})
        return result

    results = lower_layers(decided, lower)
    return MethodResult(model, results, can_saturate(results), overflow, smoothed)


def _smooth(
    model: ir.Model, groups: Sequence[Group], seen: dict[str, Input], recipe: Recipe, levels: int
) -> tuple[dict[str, Input], dict[str, float]]:
    """Smooth the groups as the recipe says, in place; returns what layers read then, and each layer's strength."""
    smoothed, strengths = dict(seen), {}
    for group in groups:
        if not separable(group):
            continue
        before = [seen[str(value.name)] for value in group.inputs]
        low, high = np.min([x.low for x in before], axis=0), np.max([x.high for x in before], axis=0)
        weights = [layer.matrix() for layer in group.layers]
        if recipe.smoothing == "auto":
            rows = np.concatenate([x.rows for x in before])
            chosen = choose_factor(rows, (low, high), weights, levels, free=find_maker(group) is not None)
        elif recipe.smoothing == "none":
            chosen = None
        else:
            largest = np.maximum(np.abs(low), np.abs(high))
            chosen = recipe.smoothing, smoothing_factor(largest, weights, recipe.smoothing)
        if chosen is None:
            continue
        strength, factor = chosen
        names = [list(layer.inputs) for layer in group.layers]
        scale_group(model, group, factor)
        for layer, names_before in zip(group.layers, names, strict=True):
            strengths[layer.path] = strength
            for name, name_before in zip(layer.inputs, names_before, strict=True):
                smoothed[name] = seen[name_before].divided(factor)
    return smoothed, strengths


def _spans(
    model: ir.Model, layers: Sequence[Layer], seen: Mapping[str, Input], recipe: Recipe, context: Context
) -> dict[str, Range]:
    """The range of the codes of each value that a layer reads.

    A range that leaves outliers out is taken only where it brings the layers' outputs on the sampled rows closer to the
    float ones: a percentile alone has made models useless whose rare large numbers carry meaning.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    spans = {name: seen[name].extremes for name in readers}
    if recipe.observer == "minmax":
        return spans
    find = mse_range if recipe.observer == "mse" else partial(percentile_range, percentile=recipe.percentile)
    levels = weight_levels(context.target)
    for name, histogram in see_histograms(model, spans, context).items():
        weights = [layer.matrix() for layer in readers[name]]
        candidates = [spans[name], find(histogram)]
        spans[name] = min(candidates, key=lambda span: output_error(seen[name].rows, span, weights, levels))
    return spans


def _round(
    layers: Sequence[Layer], seen: Mapping[str, Input], recipe: Recipe, levels: int, context: Context
) -> dict[str, Quantized]:
    """The integers of each layer's weight; layers that read the same values are rounded together."""
    together: dict[tuple[bool, tuple[str, ...]], list[Layer]] = {}
    for layer in layers:
        corrected = recipe.bias_correction and all(find_bias(node) for node in layer.nodes)
        together.setdefault((corrected, tuple(layer.inputs)), []).append(layer)
    rounded: dict[str, Quantized] = {}
    context.progress.start("rounding weights", len(together))
    for (corrected, names), members in together.items():
        moment = np.mean([seen[name].spread(centered=corrected) for name in names], axis=0)
        weights = round_compensated([layer.matrix() for layer in members], moment, levels)
        rounded |= zip((layer.path for layer in members), weights, strict=True)
        context.progress.advance()
    return rounded


def _overflow(
    layers: Sequence[Layer], seen: Mapping[str, Input], spans: Mapping[str, Range], rounded: Mapping[str, Quantized]
) -> Overflow:
    """How often sums of two products would leave 16 bits, with weights of 8 bits and of 7, on the model's numbers.

    The 7-bit weights are those of the artifact, the 8-bit ones what they would be.
    """
    pairs, counts = 0, [0, 0]
    for layer in layers:
        for name in layer.inputs:
            codes = quantize_asymmetric(seen[name].rows[:OVERFLOW_ROWS], *affine_range(*spans[name]))
            pairs += len(codes) * -(-codes.shape[1] // 2) * layer.matrix().shape[1]
            eight = quantize_symmetric(layer.matrix(), axis=0)
            for index, weight in enumerate((eight, rounded[layer.path])):
                counts[index] += count_saturated(codes, weight.codes)
    return Overflow(pairs, *counts)
