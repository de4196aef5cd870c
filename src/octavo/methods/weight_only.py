"""`weight-only`: weights of 8 or 4 bits in blocks, and what is between layers in float; needs no data.

For models that make one token after the other: there each weight is read for one row, and what is read counts.
A Linear becomes ONNX Runtime's `MatMulNBits`, an embedding int8 rows with one scale each, or 4 bits in groups. With
`bits = 4` a head keeps 8, since every word depends on it; an embedding that is the same table is read from the head's
codes. Examples to calibrate on, where they are given, are for the compensated rounding (`octavo.arithmetic.ldlq`) of
4-bit weights.

Products are taken in integers, the input rounded to 8 bits as it comes, with a scale for each row and block. They never
saturate: where a CPU adds two products in 16 bits, ONNX Runtime splits the codes (in its source,
`sqnbitgemm_kernel_avx2_int8_blklen64.h`: "2 x i8 x i8 may be larger than i16"). In float32 (accuracy_level 1) products
of 8-bit weights were two hundred times as slow. So the recipe's `products = "float"` stores int8 with one scale per
output channel, which are floats again when the model is loaded: float's speed and memory, a quarter of the file.
"""

from collections.abc import Collection, Mapping
from functools import cache, partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import FloatArray, error_db, quantize_symmetric
from octavo.arithmetic.blocks import Blocks, quantize_blocks
from octavo.graph.layers import Layer
from octavo.graph.lowering import lower_block_linear, lower_block_rows, lower_stored_linear
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_channels
from octavo.methods.layer_results import (
    decide,
    four_bit_tables,
    halved,
    layer_result,
    lower_layers,
    lower_rows,
    symmetric_result,
)
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import LayerRule, Recipe, kept_as

BLOCK = {8: 128, 4: 32}  # inputs that share one scale
FEW = 256  # inputs of a layer, up to which 4-bit weights are in blocks of 16: the fewer there are, the more each counts
SMALLEST = 16  # inputs in a block, as few as the operator allows


def quantize_weight_only(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Put every weight into blocks but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Raises:
        RecipeError: a layer rule matches nothing, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    decided = decide(model, recipe)
    four_bits = four_bit_tables(decided, recipe)
    if recipe.products == "float":
        lowered = lower_layers(decided, partial(_lower_stored, model, four_bits))
        return MethodResult(model, halved(model, lowered, recipe))
    rules = kept_as(recipe, [path for layer, _ in decided for path in layer.paths])
    linears = [layer for layer, reason in decided if layer.kind == "linear" and reason is None]
    bits_of = {layer.path: _bits(layer, rules.get(layer.paths[0]), recipe) for layer in linears}
    moments = _moments(model, [layer for layer in linears if bits_of[layer.path] == 4], context)
    heads = {str(layer.weight.name): layer for layer in linears if layer.transposed and layer.part == "head"}

    @cache
    def blocks_of(layer: Layer) -> Blocks:
        bits = bits_of[layer.path]
        return quantize_blocks(layer.matrix(), bits, _block(layer, bits, recipe), moments.get(layer.path))

    def lower(layer: Layer) -> LayerResult:
        if layer.kind == "linear":
            lower_block_linear(model, layer, blocks_of(layer))
            return _linear_result(layer, blocks_of(layer))
        head, rule = heads.get(str(layer.weight.name)), rules.get(layer.paths[0])
        bits = {8} if rule is None or rule.keep == "int8" else set()  # of codes that do as well, and cost nothing
        bits |= {4} if layer.path in four_bits else set()
        if head is None or blocks_of(head).bits not in bits or not blocks_of(head).fills:
            return lower_rows(model, layer, four_bits)
        return _tied_result(model, layer, head, blocks_of(head))

    return MethodResult(model, halved(model, lower_layers(decided, lower), recipe))


def _lower_stored(model: ir.Model, four_bits: Collection[str], layer: Layer) -> LayerResult:
    """Int8 with one scale per row or output channel, and products in float."""
    if layer.kind == "embedding":
        return lower_rows(model, layer, four_bits)
    weight = quantize_symmetric(layer.matrix(), axis=0)
    result = symmetric_result(layer, weight)
    lower_stored_linear(model, layer, weight)
    return result


def _tied_result(model: ir.Model, layer: Layer, head: Layer, codes: Blocks) -> LayerResult:
    """Read a table from the codes of the head that is the same table, in place."""
    lower_block_rows(model, layer, codes, head.path)
    error = round(error_db(layer.matrix(), codes.dequantize().T), 2)
    size = codes.zero.size if codes.bits == 4 else 0  # codes and scales are counted with the head
    reason = f"rows of the codes of {head.path}"
    return layer_result(layer, f"int{codes.bits}", reason, size, weight_bits=codes.bits, error_db=error)


def _bits(layer: Layer, rule: LayerRule | None, recipe: Recipe) -> Literal[4, 8]:
    if rule is not None:
        return 4 if rule.keep == "int4" else 8
    return 8 if layer.part == "head" else recipe.bits


def _block(layer: Layer, bits: int, recipe: Recipe) -> int:
    """The recipe's block, or the default one; no larger than the layer has inputs."""
    inputs = len(layer.matrix())
    default = SMALLEST if bits == 4 and inputs <= FEW else BLOCK[bits]
    return max(SMALLEST, min(recipe.block or default, 1 << (inputs.bit_length() - 1)))


def _moments(model: ir.Model, layers: list[Layer], context: Context) -> Mapping[str, FloatArray]:
    """E[x x^T] of what each layer reads, by module path; empty without examples."""
    if not context.calibration or not layers:
        return {}
    seen = see_channels(model, layers, context)
    moments = {name: seen.pop(name).take_moment() for name in list(seen)}
    parts = {layer.path: [moments[name] for name in layer.inputs] for layer in layers}
    return {path: few[0] if len(few) == 1 else np.mean(few, axis=0, dtype=np.float32) for path, few in parts.items()}


def _linear_result(layer: Layer, weight: Blocks) -> LayerResult:
    kind = "symmetric" if weight.bits == 8 else "asymmetric"
    reason = f"one scale per {weight.codes.shape[1]} inputs of an output channel, {kind}"
    details = {"weight_bits": weight.bits, "activation": "block"}
    error = round(error_db(layer.matrix(), weight.dequantize()), 2)
    return layer_result(layer, f"int{weight.bits}", reason, weight.bytes, **details, error_db=error)
