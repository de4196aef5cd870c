"""`dynamic`: int8 weights, activations quantized as they come; needs no data.

Linear: one scale per output channel, symmetric. Embedding: int8 rows with one scale each, or 4 bits in groups.
Activations: one scale per token, so that no text's answer depends on what else is in its batch. The recipe's
`granularity = "tensor"` is faster: one scale and zero point for all that a layer reads, but for what comes straight out
of an activation function. There a few tokens are many times larger than the rest (in the models that were measured
up to seven times the median token), one scale for all of them leaves the rest with a few codes, and it was half of the
whole loss.
"""

from collections.abc import Collection
from functools import partial

import onnx_ir as ir

from octavo.arithmetic.affine import quantize_symmetric
from octavo.graph.layers import Layer
from octavo.graph.lower_dynamic import lower_dynamic_linear, lower_row_linear
from octavo.methods import Context, MethodResult
from octavo.methods.layer_results import (
    can_saturate,
    decide,
    four_bit_tables,
    int8_result,
    lower_layers,
    lower_rows,
    weight_levels,
)
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import Recipe

LOWEST = {"Gelu": -0.17, "Relu": 0.0}  # the smallest value of an activation function: Gelu(-0.7518) = -0.16997


def quantize_dynamic(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Where products could saturate on the target, weights stay within 7 bits: exact there, and faster than u8 x u8 (which
    is exact too; `bench/dynamic.py` measures both).

    Raises:
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    decided = decide(model, recipe)
    four_bits = four_bit_tables(decided, recipe)
    lower = partial(_lower, model, weight_levels(context.target), recipe.granularity, four_bits)
    results = lower_layers(decided, lower)
    return MethodResult(model, results, can_saturate(results))


def _lower(model: ir.Model, levels: int, granularity: str, four_bits: Collection[str], layer: Layer) -> LayerResult:
    if layer.kind == "embedding":
        return lower_rows(model, layer, four_bits)
    weight = quantize_symmetric(layer.matrix(), axis=0, levels=levels)
    bounds = [_lowest_input(node) for node in layer.nodes]
    lowest = None if None in bounds else min(bound for bound in bounds if bound is not None)
    if granularity == "tensor" and lowest is None:
        lower_dynamic_linear(model, layer, weight)
        return int8_result(layer, weight, levels, activation="tensor")
    lower_row_linear(model, layer, weight, lowest)
    return int8_result(layer, weight, levels, activation="token")


def _lowest_input(node: ir.Node) -> float | None:
    """The lower bound of the node's input, where it comes straight out of a known activation function."""
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    return LOWEST.get(producer.op_type) if producer is not None else None
