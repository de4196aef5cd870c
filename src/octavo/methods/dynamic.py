"""`dynamic`: int8 weights, activations quantized as they come; needs no data, and gains by it.

Linear: one scale per output channel, symmetric. Embedding: int8 rows with one scale each, or 4 bits in groups.
Activations: one scale per token, so that no text's answer depends on what else is in its batch. The recipe's
`granularity = "tensor"` is faster: one scale and zero point for all that a layer reads, but for what comes straight out
of an activation function. There a few tokens are many times larger than the rest (in the models that were measured
up to seven times the median token), one scale for all of them leaves the rest with a few codes, and it was half of the
whole loss.

With examples, inputs are smoothed and weights rounded as those of `static` are (`methods.calibrated`).
"""

from collections.abc import Collection

import onnx_ir as ir

from octavo.arithmetic.affine import FloatArray, round_rows
from octavo.arithmetic.saturation import quantize_linear
from octavo.arithmetic.smoothquant import Rounding, Sample, round_sample
from octavo.graph.layers import Layer
from octavo.graph.lower_dynamic import ROW_ZERO_POINT, lower_dynamic_linear, lower_row_linear
from octavo.graph.scaling import Group, find_groups
from octavo.methods import Context, MethodResult
from octavo.methods.calibrated import Calibrated, calibrate
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
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import Recipe

LOWEST = {"Gelu": -0.17, "Relu": 0.0}  # the smallest value of an activation function: Gelu(-0.7518) = -0.16997


def quantize_dynamic(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Where products could saturate on the target, weights keep to what does not: exact there, and faster than u8 x u8
    (which is exact too; `bench/dynamic.py` measures both).

    Raises:
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    decided = decide(model, recipe)
    four_bits, by_token = four_bit_tables(decided, recipe), rounded_by_token(decided, recipe)
    if recipe.granularity == "token":
        by_token |= {layer.path for layer, _ in decided}
    linears = [layer for layer, reason in decided if reason is None and layer.kind == "linear"]
    if context.calibration:
        learnt = calibrate(model, find_groups(linears), recipe, context, lambda group: rounding_of(group, by_token))
        smoothed = model.clone(deep_copy=False)
    else:
        saturates = context.target.saturates
        weights = {layer.path: quantize_linear(layer.matrix(), saturates=saturates) for layer in linears}
        learnt, smoothed = Calibrated({}, {}, weights), None

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "embedding":
            return lower_rows(model, layer, four_bits)
        weight, strength = learnt.weights[layer.path], learnt.strengths.get(layer.path)
        by_tensor = layer.path not in by_token and lowest_input(layer) is None
        result = symmetric_result(layer, weight, activation="tensor" if by_tensor else "token", smoothing=strength)
        if context.calibration and recipe.bias_correction:
            learnt.correct(model, layer)
        if by_tensor:
            lower_dynamic_linear(model, layer, weight)
        else:
            lower_row_linear(model, layer, weight, lowest_input(layer))
        return result

    results = lower_layers(decided, lower)
    return MethodResult(model, halved(model, results, recipe), needs_exact(learnt.weights), reference=smoothed)


def rounding_of(group: Group, by_token: Collection[str]) -> Rounding:
    """How the group's input is rounded, per token where that is so of all of its layers, and else as one tensor.

    Behind a division it comes no longer straight out of an activation function.
    """
    lowest = [_lowest(value) for value in group.inputs]
    rows = all(layer.path in by_token for layer in group.layers)

    def rounding(sample: Sample) -> FloatArray:
        if None not in lowest and not sample.smoothed:
            return round_rows(sample.rows, ROW_ZERO_POINT, min(bound for bound in lowest if bound is not None))
        return round_rows(sample.rows) if rows else round_sample(sample)

    return rounding


def lowest_input(layer: Layer) -> float | None:
    """The lower bound of what the layer reads, where that comes straight out of known activation functions."""
    bounds = [_lowest(node.inputs[0]) for node in layer.nodes]
    return None if None in bounds else min(bound for bound in bounds if bound is not None)


def _lowest(value: ir.Value | None) -> float | None:
    producer = value.producer() if value is not None else None
    return LOWEST.get(producer.op_type) if producer is not None else None
