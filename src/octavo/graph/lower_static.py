"""Writes a Linear of static int8: QuantizeLinear and DequantizeLinear around its MatMul."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import Quantized
from octavo.graph.layers import Layer, constant
from octavo.graph.lowering import drop_if_unread, insert_behind, make_node, replace_layer


def lower_static_linear(
    model: ir.Model, layer: Layer, weight: Quantized, ranges: Mapping[str, tuple[np.float32, np.uint8]]
) -> None:
    """Quantize the input with a scale and zero point that are known; in place.

    `ranges`: the name of each value that the layer reads -> scale and zero point of its uint8 codes. `weight.codes`
    int8 [in, out], `weight.scale` float32 [1, out]. QuantizeLinear and DequantizeLinear in front of the input, which
    all readers of a value share, DequantizeLinear in front of the weight: engines fuse them with the MatMul between.
    """
    codes = constant(model, f"{layer.path}.weight_int8", weight.codes)
    scale = constant(model, f"{layer.path}.weight_scale", weight.scale.reshape(-1))
    zeros = constant(model, f"{layer.path}.weight_zero_point", np.zeros(weight.codes.shape[1], np.int8))
    for node in layer.nodes:
        x = node.inputs[0]
        assert x is not None
        rounded = _round_once(model, x, *ranges[str(x.name)])
        real = make_node("DequantizeLinear", [codes, scale, zeros], f"{node.name}_weight", axis=1)
        operands = [rounded, real.outputs[0]]
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is None:
            replace_layer(model, node, [real], ("MatMul", operands))
        else:
            product = make_node("MatMul", operands, f"{node.name}_product")
            replace_layer(model, node, [real, product], ("Add", [product.outputs[0], bias]))
    drop_if_unread(model, layer.weight)


def _round_once(model: ir.Model, x: ir.Value, scale: np.float32, zero_point: np.uint8) -> ir.Value:
    """`x` through its codes and back, written where that is not done yet."""
    for node in x.consumers():
        if node.op_type == "QuantizeLinear":
            return node.outputs[0].consumers()[0].outputs[0]
    step = constant(model, f"{x.name}_scale", np.array(scale, np.float32))
    zero = constant(model, f"{x.name}_zero_point", np.array(zero_point, np.uint8))
    codes = make_node("QuantizeLinear", [x, step, zero], f"{x.name}_codes")
    real = make_node("DequantizeLinear", [codes.outputs[0], step, zero], f"{x.name}_rounded")
    insert_behind(model, x, [codes, real])
    return real.outputs[0]
