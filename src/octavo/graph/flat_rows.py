"""Keeps activations as rows [tokens, width] between products with one scale per token, instead of turning them twice.

`lower_row_linear` writes a Reshape to rows in front of each product and one back behind it. What stands between two of
them treats each token alone, so it gives the same numbers for rows. Attention, and heads that pick tokens, read
[batch, length, width] as before.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.graph.layers import constant
from octavo.graph.lowering import insert_behind, make_node

_BY_TOKEN = {"Add", "Gelu", "LayerNormalization", "Mul", "Relu", "Sum", "Tanh"}


@dataclass(frozen=True)
class _Rows:
    """The rows of a value, and the shape that turns them back."""

    value: ir.Value
    shape: ir.Value


def keep_rows_flat(model: ir.Model) -> None:
    """Move operators that treat each token alone in front of the Reshape that they follow; in place."""
    rows, twins = dict[ir.Value, _Rows](), list[tuple[ir.Node, ir.Node, ir.Value]]()
    for node in list(model.graph):
        output = node.outputs[0]
        if node.op_type == "Reshape" and (shape := _turns_back(node)) is not None:
            assert node.inputs[0] is not None
            rows[output] = _Rows(node.inputs[0], shape)
        elif node.op_type == "Reshape" and node.inputs[0] in rows and _turns_to_rows(node):
            ir.convenience.replace_all_uses_with(output, rows[node.inputs[0]].value)
            model.graph.remove(node, safe=True)
        elif node.op_type == "Shape" and node.inputs[0] in rows and str(node.name).endswith("_leading"):
            leading = rows[node.inputs[0]].shape.producer()
            assert leading is not None
            if leading.inputs[0] is not output and leading.inputs[0] is not None:
                ir.convenience.replace_all_uses_with(output, leading.inputs[0])
                model.graph.remove(node, safe=True)
        elif node.op_type in _BY_TOKEN and (inputs := _as_rows(model, node, rows)) is not None:
            twin = ir.node(node.op_type, inputs, node.attributes, name=f"{node.name}_flat")
            twin.outputs[0].name, twin.outputs[0].type = twin.name, output.type
            model.graph.insert_before(node, twin)
            rows[output] = _Rows(twin.outputs[0], next(rows[value].shape for value in node.inputs if value in rows))
            twins.append((node, twin, rows[output].shape))
    for node, twin, shape in reversed(twins):  # what reads them was settled before
        _keep_one(model, node, twin, shape)
    for value, flat in rows.items():
        maker = value.producer()
        turned = maker is not None and maker.op_type == "Reshape" and _turns_back(maker) is not None
        if maker is not None and turned and not value.uses() and not value.is_graph_output():
            model.graph.remove(maker, safe=True)
            flat.value.name = value.name  # by which a layer's output is found


def _turns_back(node: ir.Node) -> ir.Value | None:
    """The shape of a Reshape that `lower_row_linear` put behind a product."""
    shape = node.inputs[1]
    made = shape.producer() if shape is not None else None
    of_product = made is not None and made.op_type == "Concat" and "_shape_" in str(made.name)
    return shape if of_product and str(node.name).endswith("_int8") else None


def _turns_to_rows(node: ir.Node) -> bool:
    return node.inputs[1] is not None and str(node.inputs[1].name).startswith("rows_of_")


def _as_rows(model: ir.Model, node: ir.Node, rows: dict[ir.Value, _Rows]) -> list[ir.Value | None] | None:
    """The inputs of a node as rows; None where one of them has none, or none of them is of a product."""
    known = next((value for value in node.inputs if value in rows), None)
    if known is None or (node.op_type == "LayerNormalization" and node.attributes["axis"].as_int() != -1):
        return None
    inputs = list[ir.Value | None]()
    for value in node.inputs:
        if value is None or value is known:
            inputs.append(rows[known].value if value is known else None)
        elif value.const_value is not None and _is_of_a_row(value.const_value.numpy()):
            inputs.append(value)
        elif _same_shape(value, known):
            inputs.append(rows[value].value if value in rows else _flattened(model, value))
        else:
            return None
    return inputs if _same_shape(node.outputs[0], known) else None


def _is_of_a_row(constant: NDArray[np.generic]) -> bool:
    """Whether it is one number, or one for each place of a row."""
    return constant.ndim <= 2 and constant.size in {1, *constant.shape[-1:]}


def _same_shape(value: ir.Value, other: ir.Value) -> bool:
    return value.shape is not None and other.shape is not None and tuple(value.shape) == tuple(other.shape)


def _flattened(model: ir.Model, value: ir.Value) -> ir.Value:
    """The rows of a value that no product gave."""
    for node in value.consumers():
        if node.op_type == "Reshape" and _turns_to_rows(node):
            return node.outputs[0]
    assert value.shape is not None
    width = value.shape[-1]
    assert isinstance(width, int)
    shape = constant(model, f"rows_of_{width}", np.array([-1, width], np.int64))
    node = make_node("Reshape", [value, shape], f"{value.name}_flat")
    insert_behind(model, value, [node])
    return node.outputs[0]


def _keep_one(model: ir.Model, node: ir.Node, twin: ir.Node, shape: ir.Value) -> None:
    """Of a node and its twin for rows: the one that is read, or the twin and a Reshape where both are."""
    value, flat = node.outputs[0], twin.outputs[0]
    if not flat.uses():
        model.graph.remove(twin, safe=True)
        return
    if value.uses() or value.is_graph_output():
        name, back = value.name, make_node("Reshape", [flat, shape], f"{node.name}_turned")
        back.outputs[0].shape, back.outputs[0].type = value.shape, value.type
        model.graph.insert_after(node, back)
        ir.convenience.replace_all_uses_with(value, back.outputs[0], replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
        back.outputs[0].name = name
        return
    name = value.name
    model.graph.remove(node, safe=True)
    flat.name = name
