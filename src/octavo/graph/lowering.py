"""Writes int8 into a graph: a float layer's nodes are replaced by integer ones, in standard ONNX operators.

It decides nothing and computes no scale: it is given codes and scales and says how the graph reads them. ONNX Runtime
fuses the nodes of a dynamic Linear (DynamicQuantizeLinear, MatMulInteger, Cast, Mul) into one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from octavo.arithmetic.affine import Quantized
from octavo.graph.layers import Layer, constant


def lower_half(model: ir.Model, layer: Layer) -> None:
    """Store the weight in 16 bits and read it through a Cast, which engines compute once when they load; in place."""
    value = layer.weight
    assert value.const_value is not None
    half = constant(model, f"{value.name}_float16", value.const_value.numpy().astype(np.float16))
    real = make_node("Cast", [half], f"{value.name}_cast", to=ir.DataType.FLOAT)
    real.outputs[0].shape, real.outputs[0].type = value.shape, ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(model.graph[0], real)
    ir.convenience.replace_all_uses_with(value, real.outputs[0])
    drop_if_unread(model, value)


def lower_embedding(model: ir.Model, layer: Layer, table: Quantized) -> None:
    """Read int8 rows and give them their scale: `Cast(Gather(codes, ids)) * Gather(scales, ids)`; in place.

    `table.codes` int8 [rows, width], `table.scale` float32 [rows, 1].
    """
    codes = constant(model, f"{layer.path}.weight_int8", table.codes)
    scales = constant(model, f"{layer.path}.weight_scale", table.scale)
    for node in layer.nodes:
        ids = node.inputs[1]
        rows = make_node("Gather", [codes, ids], f"{node.name}_rows", axis=0)
        row_scales = make_node("Gather", [scales, ids], f"{node.name}_scales", axis=0)
        real = make_node("Cast", [rows.outputs[0]], f"{node.name}_cast", to=ir.DataType.FLOAT)
        replace_layer(model, node, [rows, row_scales, real], ("Mul", [real.outputs[0], row_scales.outputs[0]]))
    drop_if_unread(model, layer.weight)


def with_exact_products(model: ir.Model) -> ir.Model:
    """The same model for a CPU on which products of 8-bit weights saturate: what it would answer elsewhere; a copy.

    An integer product is the sum of two with half of the weight each, which has 7 bits; a weight that is dequantized
    becomes float.
    """
    model = model.clone(deep_copy=False)
    for node in list(model.graph):
        weight = node.inputs[1 if node.op_type == "MatMulInteger" else 0] if node.inputs else None
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or tensor.dtype != ir.DataType.INT8 or len(tensor.shape) != 2:
            continue
        codes = tensor.numpy()
        if node.op_type == "MatMulInteger":
            halves = codes // 2, codes - codes // 2
            parts = []
            for k, half in enumerate(halves):
                name, rest = f"{node.name}_half_{k}", node.inputs[2:]
                operands = [node.inputs[0], constant(model, f"{weight.name}_half_{k}", half), *rest]
                parts.append(make_node("MatMulInteger", operands, name))
            replace_layer(model, node, parts, ("Add", [part.outputs[0] for part in parts]))
        elif node.op_type == "DequantizeLinear":
            scale = node.inputs[1]
            assert scale is not None
            assert scale.const_value is not None
            real = codes.astype(np.float32) * scale.const_value.numpy()
            ir.convenience.replace_all_uses_with(node.outputs[0], constant(model, f"{node.name}_real", real))
            model.graph.remove(node, safe=True)
        if not weight.uses():
            model.graph.initializers.pop(str(weight.name))
    return model


def add_node(
    nodes: list[ir.Node], operator: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int
) -> ir.Value:
    """Append a node with one output; returns the output."""
    nodes.append(make_node(operator, inputs, name, **attributes))
    return nodes[-1].outputs[0]


def insert_behind(model: ir.Model, x: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Put nodes right behind what makes `x`, for layers that run before the one that asks first."""
    producer = x.producer()
    if producer is not None:
        model.graph.insert_after(producer, nodes)
    else:
        model.graph.insert_before(model.graph[0], nodes)


def find_value(model: ir.Model, name: str) -> ir.Value | None:
    """The value of that name that an earlier layer of equal symbolic shape has computed."""
    return next((value for node in model.graph for value in node.outputs if value.name == name), None)


def make_node(operator: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int) -> ir.Node:
    """A node with one output, which carries its name."""
    node = ir.node(operator, inputs, attributes, name=name)
    node.outputs[0].name = name
    return node


def replace_layer(
    model: ir.Model, old: ir.Node, nodes: list[ir.Node], last: tuple[str, Sequence[ir.Value | None]]
) -> None:
    """Put `nodes` and a last one in the place of `old`; the last one takes over its output, name and all."""
    operator, inputs = last
    replace_node(model, old, [*nodes, ir.node(operator, inputs, name=f"{old.name}_int8")])


def replace_node(model: ir.Model, old: ir.Node, nodes: Sequence[ir.Node]) -> None:
    """Put `nodes` in the place of `old`; the last one takes over its output, name and all."""
    output, name, final = old.outputs[0], old.outputs[0].name, nodes[-1]
    final.outputs[0].shape, final.outputs[0].type = output.shape, output.type
    model.graph.insert_before(old, nodes)
    ir.convenience.replace_all_uses_with(output, final.outputs[0], replace_graph_outputs=True)
    model.graph.remove(old, safe=True)
    final.outputs[0].name = name


def drop_if_unread(model: ir.Model, value: ir.Value) -> None:
    """Take a constant out of the graph where nothing reads it any more, or only a Transpose that nobody reads."""
    for node in value.consumers():
        if node.op_type == "Transpose" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            model.graph.remove(node, safe=True)
    if not value.consumers() and not value.is_graph_output():
        model.graph.initializers.pop(str(value.name))
