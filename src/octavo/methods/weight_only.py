"""`weight-only`: weights of 8 or 4 bits in blocks, and what is between layers in float; needs no data.

For models that make one token after the other: there each weight is read for one row, and what is read counts.
A Linear becomes ONNX Runtime's `MatMulNBits`, an embedding int8 rows with one scale per row. With `bits = 4` a head
keeps 8, since every word depends on it; an embedding that is the same table is read from the head's codes. Examples to
calibrate on, where they are given, are for the compensated rounding (`octavo.arithmetic.ldlq`) of 4-bit weights.

Products are taken in integers, the input rounded to 8 bits as it comes, with a scale for each row and block. They never
saturate: where a CPU adds two products in 16 bits, ONNX Runtime splits the codes (in its source,
`sqnbitgemm_kernel_avx2_int8_blklen64.h`: "2 x i8 x i8 may be larger than i16"). In float32 (accuracy_level 1) products
of 8-bit weights were two hundred times as slow. So the recipe's `products = "float"` stores int8 with one scale per
output channel, which are floats again when the model is loaded: float's speed and memory, a quarter of the file.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import FloatArray, error_db, quantize_symmetric
from octavo.arithmetic.blocks import Blocks, quantize_blocks
from octavo.errors import RecipeError
from octavo.graph.layers import Layer
from octavo.graph.lowering import lower_block_linear, lower_block_rows, lower_stored_linear
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_channels
from octavo.methods.layer_results import decide, halved, int8_result, layer_result, lower_layers, lower_rows
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import LayerRule, Recipe, kept_as

BLOCK = {8: 128, 4: 32}  # inputs that share one scale
FEW = 256  # inputs of a layer, up to which 4-bit weights are in blocks of 16: the fewer there are, the more each counts
SMALLEST = 16  # inputs in a block, as few as the operator allows


def quantize_weight_only(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Put every weight into blocks but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Raises:
        RecipeError: a layer rule matches nothing or asks for embedding rows of 4 bits, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    decided = decide(model, recipe)
    if recipe.products == "float":
        return MethodResult(model, halved(model, lower_layers(decided, partial(_lower_stored, model)), recipe))
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
        rule = rules.get(layer.paths[0])
        if rule is not None and rule.keep == "int4":
            raise RecipeError("embedding rows are int8 or float", got=f"{rule.match}: int4")
        head = heads.get(str(layer.weight.name))
        if head is None or blocks_of(head).bits != 8 or not blocks_of(head).fills:
            return lower_rows(model, layer)
        lower_block_rows(model, layer, blocks_of(head), head.path)
        error = round(error_db(layer.matrix(), blocks_of(head).dequantize().T), 2)
        reason = f"rows of the codes of {head.path}"  # its bytes are counted there
        return layer_result(layer, "int8", reason, 0, weight_bits=8, error_db=error)

    return MethodResult(model, halved(model, lower_layers(decided, lower), recipe))


def _lower_stored(model: ir.Model, layer: Layer) -> LayerResult:
    """Int8 with one scale per row or output channel, and products in float."""
    if layer.kind == "embedding":
        return lower_rows(model, layer)
    weight = quantize_symmetric(layer.matrix(), axis=0)
    result = int8_result(layer, weight)
    lower_stored_linear(model, layer, weight)
    return result


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
    moments = {layer.path: [seen[name].moment for name in layer.inputs] for layer in layers}
    return {path: np.mean(parts, axis=0, dtype=np.float32) for path, parts in moments.items()}


def _linear_result(layer: Layer, weight: Blocks) -> LayerResult:
    kind = "symmetric" if weight.bits == 8 else "asymmetric"
    reason = f"one scale per {weight.codes.shape[1]} inputs of an output channel, {kind}"
    details = {"weight_bits": weight.bits, "activation": "block"}
    error = round(error_db(layer.matrix(), weight.dequantize()), 2)
    return layer_result(layer, f"int{weight.bits}", reason, weight.bytes, **details, error_db=error)
