"""`weight-only`: weights of 8 or 4 bits in blocks, and what is between layers in float; needs no data.

For models that make one token after the other: there each weight is read for one row, and what is read counts.
A Linear becomes ONNX Runtime's `MatMulNBits`, an embedding int8 rows with one scale per row. With `bits = 4` a head
keeps 8, since every word hangs on it; an embedding that is the same table is read from the head's codes. Examples to
calibrate on, where they are given, are for rounding that makes up for itself (`quant.rounding`), of 4-bit weights.

Products are taken in integers, the input rounded to 8 bits as it comes, with a scale for each row and block. They never
saturate: where a CPU adds two products in 16 bits, ONNX Runtime splits the codes (in its source,
`sqnbitgemm_kernel_avx2_int8_blklen64.h`: "2 x i8 x i8 may be larger than i16"). In float32 (accuracy_level 1) products
of 8-bit weights were two hundred times as slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import FloatArray, error_db
from octavo.arithmetic.blocks import Blocks, quantize_blocks
from octavo.errors import RecipeError
from octavo.graph.layers import Layer, find_layers
from octavo.graph.lower_blocks import lower_block_linear, lower_block_rows
from octavo.methods import Context, MethodResult
from octavo.methods.activations import see_channels
from octavo.methods.layer_results import float_result, lower_rows, reason_for_float
from octavo.schema.layers import LayerResult
from octavo.schema.recipe import LayerRule, Recipe, kept_as

BLOCK = {8: 128, 4: 32}  # inputs that share one scale
FEW = 256  # inputs of a layer, up to which 4-bit weights are in blocks of 16: the fewer there are, the more each counts
SMALLEST = 16  # that the operator has


def quantize_weight_only(model: ir.Model, recipe: Recipe, context: Context) -> MethodResult:
    """Put every weight into blocks but those that a rule keeps float, and tables of a few rows that no rule asks for.

    Raises:
        RecipeError: a layer rule matches nothing or asks for embedding rows of 4 bits, or no layer is left to quantize.
    """
    model = model.clone(deep_copy=False)
    layers = find_layers(model)
    rules = kept_as(recipe, [path for layer in layers for path in layer.paths])
    decided = [(layer, rules.get(layer.paths[0])) for layer in layers]
    linears = [layer for layer, rule in decided if layer.kind == "linear" and reason_for_float(layer, rule) is None]
    bits_of = {layer.path: _bits(layer, rules.get(layer.paths[0]), recipe) for layer in linears}
    moments = _moments(model, [layer for layer in linears if bits_of[layer.path] == 4], context)
    heads = {str(layer.weight.name): layer for layer in linears if layer.transposed and layer.part == "head"}

    @cache
    def made(layer: Layer) -> Blocks:
        bits = bits_of[layer.path]
        return quantize_blocks(layer.matrix(), bits, _block(layer, bits, recipe), moments.get(layer.path))

    outcomes = []
    for layer, rule in decided:
        reason = reason_for_float(layer, rule)
        if reason is not None:
            outcomes.append(float_result(layer, reason))
        elif layer.kind == "embedding":
            if rule is not None and rule.keep == "int4":
                raise RecipeError("embedding rows are int8 or float", got=f"{rule.match}: int4")
            head = heads.get(str(layer.weight.name))
            shared = made(head) if head is not None else None
            if head is not None and shared is not None and shared.bits == 8 and shared.fills:
                outcomes.append(_shared(layer, shared, head.path))
                lower_block_rows(model, layer, shared, head.path)
            else:
                outcomes.append(lower_rows(model, layer))
        else:
            outcomes.append(_outcome(layer, made(layer)))
            lower_block_linear(model, layer, made(layer))
    if all(outcome.dtype.startswith("float") for outcome in outcomes):
        raise RecipeError("no layer would be quantized", got=f"{len(outcomes)} layers, all kept float")
    return MethodResult(model, tuple(outcomes))


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
    read = {layer.path: list(dict.fromkeys(str(node.inputs[0].name) for node in layer.nodes if node.inputs[0]))
            for layer in layers}  # fmt: skip
    seen = see_channels(model, list(dict.fromkeys(name for names in read.values() for name in names)), context)
    return {
        path: np.mean([seen[name].moment for name in names], axis=0, dtype=np.float32) for path, names in read.items()
    }


def _shared(layer: Layer, weight: Blocks, head: str) -> LayerResult:
    """The outcome of an embedding that is stored in the head's codes; its bytes are counted there."""
    error = round(error_db(layer.matrix(), weight.dequantize().T), 2)
    reason, size = f"rows of the codes of {head}", layer.parameters
    return LayerResult(layer.path, layer.kind, layer.part, "int8", reason, size, 0, weight_bits=8, error_db=error)


def _outcome(layer: Layer, weight: Blocks) -> LayerResult:
    block, kind = weight.codes.shape[1], "symmetric" if weight.bits == 8 else "asymmetric"
    return LayerResult(
        path=layer.path,
        kind=layer.kind,
        part=layer.part,
        dtype=f"int{weight.bits}",
        reason=f"one scale per {block} inputs of an output channel, {kind}",
        parameters=layer.parameters,
        bytes=weight.bytes,
        weight_bits=weight.bits,
        activation="block",
        error_db=round(error_db(layer.matrix(), weight.dequantize()), 2),
    )
