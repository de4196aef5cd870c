"""`dynamic`: int8 weights, activations quantized as they come; needs no data.

Linear: one scale per output channel, symmetric. Embedding: int8 rows, one scale per row; but a table of a few rows
stays float. Every token reads one of the two rows of BERT's token types, so their rounding errors do not average out as
those of words do: 2 KiB of int8 were half of the whole loss on film reviews. Activations: one scale per
tensor and asymmetric, except where they come straight out of an activation function. There a few tokens are many times
larger than the rest (in the models that were measured up to seven times the median token), one scale for all of them
leaves the rest with a few codes, and it was half of the whole loss; so these get one scale per token.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from octavo.errors import RecipeError
from octavo.graph.layers import Layer, find_layers
from octavo.graph.lower import lower_dynamic_linear, lower_embedding, lower_row_linear
from octavo.hardware import Target
from octavo.methods import Applied, LayerOutcome
from octavo.methods.float import float_outcome
from octavo.quant.affine import INT7_LEVELS, INT8_LEVELS, Quantized, error_db, quantize_symmetric
from octavo.recipe import Recipe, kept_as

FEW_ROWS = 8
LOWEST = {"Gelu": -0.17, "Relu": 0.0}  # the smallest value of an activation function: Gelu(-0.7518) = -0.16997


def quantize_dynamic(model: ir.Model, recipe: Recipe, target: Target) -> Applied:
    """Make every layer int8 but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Where products could saturate on the target, weights stay within 7 bits: exact there, and faster than u8 x u8 (which
    is exact too; `bench/dynamic.py` measures both).

    Raises:
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    layers = find_layers(model)
    rules = kept_as(recipe, [path for layer in layers for path in layer.paths])
    levels = INT7_LEVELS if target.saturates else INT8_LEVELS
    outcomes = []
    for layer in layers:
        rule = rules.get(layer.paths[0])
        if rule is not None and rule.keep == "float":
            outcomes.append(float_outcome(layer, f"kept by the rule {rule.match!r}"))
        elif not np.isfinite(layer.matrix()).all():
            outcomes.append(float_outcome(layer, "its weight has values that are not finite"))
        elif layer.kind == "embedding" and len(layer.matrix()) <= FEW_ROWS and rule is None:
            outcomes.append(float_outcome(layer, "so few rows that int8 shifts all tokens alike and saves nothing"))
        elif layer.kind == "embedding":
            outcomes.append(_lower_rows(model, layer))
        else:
            outcomes.append(_lower_linear(model, layer, levels))
    if not any(outcome.dtype == "int8" for outcome in outcomes):
        raise RecipeError("no layer would be quantized", got=f"{len(outcomes)} layers, all kept float")
    multiplies = any(outcome.activation for outcome in outcomes)
    return Applied(model, tuple(outcomes), exact_u8s8=multiplies and levels > INT7_LEVELS)


def _lower_rows(model: ir.Model, layer: Layer) -> LayerOutcome:
    table = quantize_symmetric(layer.matrix(), axis=1)
    lower_embedding(model, layer, table)
    return _outcome(layer, table, "one scale per row", bits=8)


def _lower_linear(model: ir.Model, layer: Layer, levels: int) -> LayerOutcome:
    weight = quantize_symmetric(layer.matrix(), axis=0, levels=levels)
    bits = 8 if levels > INT7_LEVELS else 7
    lowest = [_lowest_input(node) for node in layer.nodes]
    if None in lowest:
        lower_dynamic_linear(model, layer, weight)
        return _outcome(layer, weight, "one scale per output channel", bits, "tensor")
    lower_row_linear(model, layer, weight, min(bound for bound in lowest if bound is not None))
    return _outcome(layer, weight, "one scale per output channel", bits, "token")


def _lowest_input(node: ir.Node) -> float | None:
    """The lower bound of the node's input, where it comes straight out of a known activation function."""
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    return LOWEST.get(producer.op_type) if producer is not None else None


def _outcome(layer: Layer, weight: Quantized, reason: str, bits: int, activation: str | None = None) -> LayerOutcome:
    return LayerOutcome(
        path=layer.path,
        kind=layer.kind,
        part=layer.part,
        dtype="int8",
        reason=reason,
        parameters=layer.parameters,
        bytes=weight.codes.nbytes + weight.scale.nbytes,
        weight_bits=bits,
        activation=activation,
        error_db=round(error_db(layer.matrix(), weight.dequantize()), 2),
    )
