"""Writes weights in blocks into a graph: a Linear becomes ONNX Runtime's `MatMulNBits`."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.blocks import MIDDLE, Blocks
from octavo.graph.layers import Layer, constant
from octavo.graph.lowering import drop_if_unread, replace_node

DOMAIN = "com.microsoft"


def lower_block_linear(model: ir.Model, layer: Layer, weight: Blocks) -> None:
    """Multiply by a weight in blocks, in integers, the input quantized for each row and block as it comes; in place."""
    outputs = weight.codes.shape[2]
    codes, scale = _stored(model, layer.path, weight)
    operands = [codes, scale]
    if weight.bits == 4:
        operands.append(constant(model, f"{layer.path}.weight_zero_point", weight.packed_zeros()))
    settings = {
        "K": weight.inputs,
        "N": outputs,
        "bits": weight.bits,
        "block_size": weight.codes.shape[1],
        "accuracy_level": 4,  # as docs/ContribOperators.md counts: the input is rounded to int8
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


def lower_block_rows(model: ir.Model, layer: Layer, weight: Blocks, head: str) -> None:
    """Read the rows of an embedding from the codes of the head, which is the same table turned; in place.

    `weight` is that of the Linear with the module path `head`: 8 bits, [width, rows], in blocks that fill the width.
    (Gather(codes, ids) - 128) * Gather(scales, ids), block by block.
    """
    codes, scale = _stored(model, head, weight)
    middle = constant(model, "middle_code", np.array(MIDDLE, np.float32))
    last, width = constant(model, "last_axis", np.array([-1], np.int64)), np.array([weight.inputs], np.int64)
    wide = constant(model, f"width_{weight.inputs}", width)
    for node in layer.nodes:
        nodes: list[ir.Node] = []

        def made(operator: str, inputs: list[ir.Value | None], name: str, **settings: int) -> ir.Value:
            nodes.append(ir.node(operator, inputs, settings, name=name))  # noqa: B023 - called in this turn only
            nodes[-1].outputs[0].name = name  # noqa: B023
            return nodes[-1].outputs[0]  # noqa: B023

        ids, stem = node.inputs[1], node.name
        rows = made("Cast", [made("Gather", [codes, ids], f"{stem}_codes")], f"{stem}_cast", to=ir.DataType.FLOAT)
        steps = made("Unsqueeze", [made("Gather", [scale, ids], f"{stem}_scales"), last], f"{stem}_steps")
        real = made("Mul", [made("Sub", [rows, middle], f"{stem}_centred"), steps], f"{stem}_blocks")
        shape = made("Concat", [made("Shape", [ids], f"{stem}_shape"), wide], f"{stem}_wide", axis=0)
        replace_node(model, node, [*nodes, ir.node("Reshape", [real, shape], name=f"{stem}_int8")])
    drop_if_unread(model, layer.weight)


def _stored(model: ir.Model, path: str, weight: Blocks) -> tuple[ir.Value, ir.Value]:
    codes = constant(model, f"{path}.weight_int{weight.bits}", weight.packed())
    return codes, constant(model, f"{path}.weight_scale", weight.packed_scale())
