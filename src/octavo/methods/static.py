"""`static`: int8 weights, and activations whose ranges were learnt from the user's own examples.

Ranges are constants of the graph, so an answer does not depend on what else is in the batch, and no time goes into
computing them at run time. They are those of what is read behind the smoothing (`methods.calibrated`). Layers that a
rule names, or `mixed`, have one scale for each token instead, as it comes (`methods.dynamic`).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import Quantized, affine_range, quantize_asymmetric, round_range
from octavo.arithmetic.observers import Range, mse_range, percentile_range
from octavo.arithmetic.saturation import count_saturated, quantize_linear
from octavo.arithmetic.smoothquant import Rounding, exact_outputs, output_error, round_sample
from octavo.errors import DataError
from octavo.graph.layers import Layer
from octavo.graph.lower_dynamic import lower_ranged_linear, lower_row_linear
from octavo.graph.lowering import lower_static_linear
from octavo.graph.scaling import Group, find_groups
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_histograms
from octavo.methods.calibrated import Input, calibrate
from octavo.methods.dynamic import lowest_input, rounding_of
from octavo.methods.layer_results import (
    decide,
    four_bit_tables,
    halved,
    lower_layers,
    lower_rows,
    needs_exact,
    rounded_by_token,
    symmetric_result,
)
from octavo.schema.layers import LayerResult, Overflow
from octavo.schema.recipe import Recipe

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the extremes' range that the observer `output` tries
MARGIN = 1.3  # times a range's end at the most, for numbers that no text showed
OVERFLOW_ROWS = 64  # of each layer's input, to count on


def quantize_static(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Raises:
        DataError: no examples to calibrate on were given.
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    if not context.calibration:
        raise DataError("static int8 learns ranges from examples, and none were given", then="--calibrate FILE")
    model = model.clone(deep_copy=False)
    decided = decide(model, recipe)
    four_bits, by_token = four_bit_tables(decided, recipe), rounded_by_token(decided, recipe)
    groups = find_groups([layer for layer, reason in decided if reason is None])
    layers = [layer for group in groups for layer in group.layers]

    def rounding(group: Group) -> Rounding:
        rows = all(layer.path in by_token for layer in group.layers)
        return rounding_of(group, by_token) if rows else round_sample

    learnt = calibrate(model, groups, recipe, context, rounding)
    smoothed = model.clone(deep_copy=False)
    ranged = [layer for layer in layers if layer.path not in by_token]
    spans = _spans(model, ranged, learnt.seen, recipe, context)
    if recipe.own_sentences:
        spans = {name: with_margin(span, learnt.seen[name]) for name, span in spans.items()}
    overflow = _overflow(ranged, learnt.seen, spans, learnt.weights) if context.target.saturates else None

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "embedding":
            return lower_rows(model, layer, four_bits)
        weight = learnt.weights[layer.path]
        activation = "token" if layer.path in by_token else "static"
        result = symmetric_result(layer, weight, activation=activation, smoothing=learnt.strengths.get(layer.path))
        if recipe.bias_correction:
            learnt.correct(model, layer)
        if layer.path in by_token:
            lower_row_linear(model, layer, weight, lowest_input(layer))
            return result
        ranges = {name: affine_range(*spans[name]) for name in layer.inputs}
        write = lower_ranged_linear if recipe.by_token else lower_static_linear  # no other engine would run it anyway
        write(model, layer, weight, ranges)
        return result

    results = lower_layers(decided, lower)
    return MethodResult(model, halved(model, results, recipe), needs_exact(learnt.weights), overflow, smoothed)


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
    spans = {name: (float(seen[name].low.min()), float(seen[name].high.max())) for name in readers}
    if recipe.observer == "minmax":
        return spans
    if recipe.observer == "output":
        tried = {name: [(low * share, high * share) for share in SHARES] for name, (low, high) in spans.items()}
    else:
        find = mse_range if recipe.observer == "mse" else partial(percentile_range, percentile=recipe.percentile)
        tried = {name: [spans[name], find(seen_as)] for name, seen_as in see_histograms(model, spans, context).items()}
    for name, candidates in tried.items():
        weights = [layer.matrix() for layer in readers[name]]
        rows, saturates = seen[name].rows, context.target.saturates
        exact = exact_outputs(rows, weights)
        errors = [output_error(exact, round_range(rows, *span), weights, saturates=saturates) for span in candidates]
        spans[name] = candidates[int(np.argmin(errors))]
    return spans


def with_margin(span: Range, seen: Input) -> Range:
    """A range that is wider where the tail is heavy, for numbers that no text showed.

    Where extremes grew from the sampled rows to all they are taken to grow by as much again.
    """
    ends = (seen.low.min(), seen.rows.min()), (seen.high.max(), seen.rows.max())
    growth = [min(MARGIN, max(1.0, float(every / sampled))) if sampled else 1.0 for every, sampled in ends]
    return span[0] * growth[0], span[1] * growth[1]


def _overflow(
    layers: Sequence[Layer], seen: Mapping[str, Input], spans: Mapping[str, Range], rounded: Mapping[str, Quantized]
) -> Overflow:
    """How often sums of two products would leave 16 bits, on the model's numbers.

    With weights that use all of 8 bits, as they would be on other CPUs, and with those of the artifact.
    """
    pairs, counts = 0, [0, 0]
    for layer in layers:
        for name in layer.inputs:
            codes = quantize_asymmetric(seen[name].rows[:OVERFLOW_ROWS], *affine_range(*spans[name]))
            pairs += len(codes) * -(-codes.shape[1] // 2) * layer.matrix().shape[1]
            eight = quantize_linear(layer.matrix(), saturates=False)
            for index, weight in enumerate((eight, rounded[layer.path])):
                counts[index] += count_saturated(codes, weight.codes)
    return Overflow(pairs, *counts)
