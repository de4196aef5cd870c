"""Writes weights in blocks into a graph: a Linear becomes ONNX Runtime's `MatMulNBits`, its activations stay float."""

from __future__ import annotations

from typing import Literal

import onnx_ir as ir

from octavo.graph.layers import Layer, constant
from octavo.graph.lower import drop_if_unread, replace_node
from octavo.quant.blocks import Blocks

DOMAIN = "com.microsoft"


def lower_block_linear(model: ir.Model, layer: Layer, weight: Blocks, accuracy: Literal[1, 4]) -> None:
    """Multiply by a weight in blocks; in place.

    `accuracy` is the operator's accuracy_level: 1 computes in float32 with weights made real on the fly, 4 in integers
    with the input quantized as it comes, one scale for each row and block.
    """
    outputs = weight.codes.shape[2]
    codes = constant(model, f"{layer.path}.weight_int{weight.bits}", weight.packed())
    scale = constant(model, f"{layer.path}.weight_scale", weight.packed_scale())
    operands = [codes, scale]
    if weight.bits == 4:
        operands.append(constant(model, f"{layer.path}.weight_zero_point", weight.packed_zeros()))
    settings = {
        "K": weight.inputs,
        "N": outputs,
        "bits": weight.bits,
        "block_size": weight.codes.shape[1],
        "accuracy_level": accuracy,
    }
    for node in layer.nodes:
        product = ir.node(
            "MatMulNBits", [node.inputs[0], *operands], settings, domain=DOMAIN, name=f"{node.name}_nbits"
        )
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is None:
            replace_node(model, node, [product])
        else:
            product.outputs[0].name = product.name
            replace_node(model, node, [product, ir.node("Add", [product.outputs[0], bias], name=f"{node.name}_biased")])
    drop_if_unread(model, layer.weight)
    model.opset_imports[DOMAIN] = 1
