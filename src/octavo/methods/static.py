"""`static`: int8 weights, and activations whose ranges were learnt from the user's own examples.

Ranges are constants of the graph, so an answer does not depend on what else is in the batch, and no time goes into
looking for them at run time. The order: see what the layers read, smooth (`quant.smooth`) where it pays, find the
ranges of what is read then, round (`quant.rounding`), correct biases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import (
    INT8_LEVELS,
    FloatArray,
    Quantized,
    affine_range,
    quantize_asymmetric,
    quantize_symmetric,
)
from octavo.arithmetic.ldlq import round_compensated
from octavo.arithmetic.observers import Range, mse_range, percentile_range
from octavo.arithmetic.saturation import count_saturated
from octavo.arithmetic.smoothquant import bias_correction, choose_factor, output_error, smoothing_factor
from octavo.errors import DataError
from octavo.graph.layers import Layer, find_bias
from octavo.graph.lower_static import lower_static_linear
from octavo.graph.scaling import Group, correct_bias, find_groups, find_maker, scale_group, separable
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_channels, see_histograms
from octavo.methods.layer_results import decide, int8_result, lower_layers, weight_levels
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

    def divided(self, factor: FloatArray) -> Input:
        """The same behind a division of each channel by its factor [in]."""
        low, high, mean, rows = self.low / factor, self.high / factor, self.mean / factor, self.rows / factor
        return Input(low, high, mean, rows, self.moment, self.factor * factor)

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
    groups = find_groups([layer for layer, reason in decided if reason is None])
    names = [str(value.name) for group in groups for value in group.inputs]
    seen = {
        name: Input(found.low, found.high, found.mean, found.rows, found.moment, np.ones_like(found.low))
        for name, found in see_channels(model, names, context).items()
    }
    seen, strengths = _smooth(model, groups, seen, recipe, levels)
    smoothed = model.clone(deep_copy=False)
    spans = _spans(model, groups, seen, recipe, context)
    rounded = _round(groups, seen, recipe, levels, context)
    overflow = _overflow(groups, seen, spans, rounded) if context.target.saturates else None

    def lower_linear(layer: Layer) -> LayerResult:
        weight = rounded[layer.path]
        strength = strengths.get(layer.path)
        outcome = int8_result(layer, weight, "one scale per output channel", levels, "static", strength)
        if recipe.bias_correction:
            mean = np.mean([seen[name].mean for name in names_read(layer)], axis=0)
            correct_bias(model, layer, bias_correction(mean, layer.matrix(), weight.dequantize()))
        lower_static_linear(model, layer, weight, {name: affine_range(*spans[name]) for name in names_read(layer)})
        return outcome

    return replace(lower_layers(model, decided, lower_linear, levels, overflow), reference=smoothed)


def _smooth(
    model: ir.Model, groups: Sequence[Group], seen: dict[str, Input], recipe: Recipe, levels: int
) -> tuple[dict[str, Input], dict[str, float]]:
    """Smooth the groups as the recipe says, in place; returns what layers read then, and each layer's strength."""
    found, strengths = dict(seen), {}
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
        old = {id(node): str(node.inputs[0].name) for layer in group.layers for node in layer.nodes if node.inputs[0]}
        scale_group(model, group, factor)
        for layer in group.layers:
            strengths[layer.path] = strength
            for node in layer.nodes:
                if node.inputs[0] is not None:
                    found[str(node.inputs[0].name)] = seen[old[id(node)]].divided(factor)
    return found, strengths


def _spans(
    model: ir.Model, groups: Sequence[Group], seen: Mapping[str, Input], recipe: Recipe, context: Context
) -> dict[str, Range]:
    """The range of the codes of each value that a layer reads.

    A range that leaves outliers out is taken only where the layers' outputs on the sampled rows come closer by it: a
    percentile alone has made models useless whose rare large numbers carry meaning.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in (layer for group in groups for layer in group.layers):
        for name in names_read(layer):
            readers.setdefault(name, []).append(layer)
    spans = {name: seen[name].extremes for name in readers}
    if recipe.observer == "minmax":
        return spans
    find = mse_range if recipe.observer == "mse" else partial(percentile_range, percentile=recipe.percentile)
    levels = weight_levels(context.target)
    for name, histogram in see_histograms(model, spans, context).items():
        weights = [layer.matrix() for layer in readers[name]]
        tried = [spans[name], find(histogram)]
        spans[name] = min(tried, key=lambda span: output_error(seen[name].rows, span, weights, levels))
    return spans


def _round(
    groups: Sequence[Group], seen: Mapping[str, Input], recipe: Recipe, levels: int, context: Context
) -> dict[str, Quantized]:
    """The integers of each layer's weight; layers that read the same values are rounded together."""
    together: dict[tuple[bool, tuple[str, ...]], list[Layer]] = {}
    for layer in (layer for group in groups for layer in group.layers):
        corrected = recipe.bias_correction and all(find_bias(node) for node in layer.nodes)
        together.setdefault((corrected, tuple(names_read(layer))), []).append(layer)
    found: dict[str, Quantized] = {}
    context.progress.start("rounding weights", len(together))
    for (corrected, names), layers in together.items():
        moment = np.mean([seen[name].spread(centered=corrected) for name in names], axis=0)
        weights = round_compensated([layer.matrix() for layer in layers], moment, levels)
        found |= zip((layer.path for layer in layers), weights, strict=True)
        context.progress.advance()
    return found


def _overflow(
    groups: Sequence[Group], seen: Mapping[str, Input], spans: Mapping[str, Range], rounded: Mapping[str, Quantized]
) -> Overflow:
    """How often sums of two products would leave 16 bits, with weights of 8 bits and of 7, on the model's numbers.

    The 7-bit ones are those of the artifact, the 8-bit ones what they would be.
    """
    pairs, counts = 0, [0, 0]
    for layer in (layer for group in groups for layer in group.layers):
        for name in names_read(layer):
            codes = quantize_asymmetric(seen[name].rows[:OVERFLOW_ROWS], *affine_range(*spans[name]))
            pairs += len(codes) * -(-codes.shape[1] // 2) * layer.matrix().shape[1]
            eight = quantize_symmetric(layer.matrix(), axis=0, levels=INT8_LEVELS)
            for index, weight in enumerate((eight, rounded[layer.path])):
                counts[index] += count_saturated(codes, weight.codes)
    return Overflow(pairs, *counts)


def names_read(layer: Layer) -> list[str]:
    """The names of the values that a Linear reads, in the order of its call sites."""
    return list(dict.fromkeys(str(node.inputs[0].name) for node in layer.nodes if node.inputs[0] is not None))
