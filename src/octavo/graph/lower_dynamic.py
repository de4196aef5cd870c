"""Writes a Linear for ONNX Runtime's integer product: codes of the input by scales that are computed, or known.

MatMulInteger, Cast, Mul and the bias of a Linear are one kernel there where a factor of the scales is computed.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import Quantized
from octavo.graph.layers import Layer, constant
from octavo.graph.lowering import (
    add_node,
    call_sites,
    drop_if_unread,
    find_value,
    insert_behind,
    make_node,
    replace_layer,
    store_weight,
)

ROW_ZERO_POINT = 32  # 32 of 255 codes for what an activation function lets through below zero (-0.17 for Gelu)


def lower_dynamic_linear(model: ir.Model, layer: Layer, weight: Quantized) -> None:
    """Multiply in integers, the input quantized as it comes, with one scale and zero point per tensor; in place.

    `weight.codes` int8 [in, out], `weight.scale` float32 [1, out]. The quantized input is shared by all layers that
    read the same value (query, key and value).
    """
    codes, weight_scale = store_weight(model, layer.path, weight.codes, weight.scale.reshape(-1))
    for node, x, bias in call_sites(layer):
        quantized, scale, zero = _quantize_once(model, x).outputs
        nodes: list[ir.Node] = []
        integer = add_node(nodes, "MatMulInteger", [quantized, codes, zero], f"{node.name}_integer")
        real = add_node(nodes, "Cast", [integer], f"{node.name}_cast", to=ir.DataType.FLOAT)
        joint = add_node(nodes, "Mul", [scale, weight_scale], f"{node.name}_scale")
        replace_layer(model, node, nodes, ("Mul", [real, joint]), bias)
    drop_if_unread(model, layer.weight)


def lower_row_linear(model: ir.Model, layer: Layer, weight: Quantized, lowest: float | None = None) -> None:
    """Multiply in integers, with one scale per token; in place.

    An input of both signs (`lowest` None) has the zero point z = 128, one that is bounded below, as what comes out of
    Gelu, z = `ROW_ZERO_POINT`. With m the largest number of a token, or the largest magnitude where z is 128,

        s = m / 127    or    s = max(m, -lowest / z * (255 - z)) / (255 - z)    codes = clip(round(x / s) + z, 0, 255)

    so that both ends are in range. QuantizeLinear takes one scale per row of [tokens, in]. MatMulInteger knows no scale
    per row, so its product is multiplied by the weight's scales, which ONNX Runtime does within the product, and then
    by s for each token. All layers that read one value share its codes.
    """
    codes, weight_scale = store_weight(model, layer.path, weight.codes, weight.scale.reshape(-1))
    width, outputs = weight.codes.shape
    zero = constant(model, *_row_zero_point(lowest))
    for node, x, bias in call_sites(layer):
        quantized, scales = _quantize_rows_once(model, x, width, lowest)
        nodes: list[ir.Node] = []
        integer = add_node(nodes, "MatMulInteger", [quantized, codes, zero], f"{node.name}_integer")
        real = add_node(nodes, "Cast", [integer], f"{node.name}_cast", to=ir.DataType.FLOAT)
        joint = add_node(nodes, "Mul", [_computed_one(model, scales), weight_scale], f"{node.name}_scale")
        product = add_node(nodes, "Mul", [real, joint], f"{node.name}_product")
        rows = add_node(nodes, "Mul", [product, scales], f"{node.name}_scaled")
        if bias is not None:
            rows = add_node(nodes, "Add", [rows, bias], f"{node.name}_biased")
        shape_name = f"{_rows_of(x)}_shape_{outputs}"
        shape = find_value(model, shape_name)
        if shape is None:
            leading = add_node(nodes, "Shape", [x], f"{node.name}_leading", end=-1)
            last = constant(model, f"width_{outputs}", np.array([outputs], np.int64))
            shape = add_node(nodes, "Concat", [leading, last], shape_name, axis=0)
        replace_layer(model, node, nodes, ("Reshape", [rows, shape]))
    drop_if_unread(model, layer.weight)


def lower_ranged_linear(
    model: ir.Model, layer: Layer, weight: Quantized, ranges: Mapping[str, tuple[np.float32, np.uint8]]
) -> None:
    """Multiply in integers, the input quantized with a scale and zero point that are known; in place.

    As `lowering.lower_static_linear`, of which only ONNX Runtime makes one kernel too, but for the bias.
    """
    weight_scale = weight.scale.reshape(-1)
    codes = constant(model, f"{layer.path}.weight_int8", weight.codes)
    for node, x, bias in call_sites(layer):
        scale, zero_point = ranges[str(x.name)]
        name = f"{x.name}_ranged"  # what makes x may be a layer whose nodes carry its name too
        step = constant(model, f"{name}_scale", np.array(scale, np.float32))
        zero = constant(model, f"{name}_zero_point", np.array(zero_point, np.uint8))
        quantized = find_value(model, f"{name}_codes")
        if quantized is None:
            quantize = make_node("QuantizeLinear", [x, step, zero], f"{name}_codes")
            insert_behind(model, x, [quantize])
            quantized = quantize.outputs[0]
        nodes: list[ir.Node] = []
        integer = add_node(nodes, "MatMulInteger", [quantized, codes, zero], f"{node.name}_integer")
        real = add_node(nodes, "Cast", [integer], f"{node.name}_cast", to=ir.DataType.FLOAT)
        steps = constant(model, f"{node.name}_steps", scale * weight_scale)
        joint = add_node(nodes, "Mul", [_one_of_shape(model), steps], f"{node.name}_scale")
        replace_layer(model, node, nodes, ("Mul", [real, joint]), bias)
    drop_if_unread(model, layer.weight)


def _one_of_shape(model: ir.Model) -> ir.Value:
    """The number 1, computed at the beginning: n / n of the largest dimension of an input; see `_computed_one`."""
    known = find_value(model, "one_of_shape")
    if known is not None:
        return known
    nodes: list[ir.Node] = []
    shape = add_node(nodes, "Shape", [model.graph.inputs[0]], "input_shape")
    largest = add_node(nodes, "ReduceMax", [shape], "largest_dimension", keepdims=0)
    largest = add_node(nodes, "Cast", [largest], "largest_dimension_cast", to=ir.DataType.FLOAT)
    one = add_node(nodes, "Div", [largest, largest], "one_of_shape")
    model.graph.insert_before(model.graph[0], nodes)
    return one


def _computed_one(model: ir.Model, scales: ir.Value) -> ir.Value:
    """The number 1, computed: s / s of the largest scale of the first layer, once for the whole graph.

    ONNX Runtime multiplies by weight scales within the product only where a factor of them is computed; a constant is
    folded into them and the product is not fused (7 % slower for BERT-base). A factor that is not exactly 1, such as
    the largest scale of a batch, would change last bits with the batch, and so the codes of the next layer.
    """
    known = find_value(model, "one")
    if known is not None:
        return known
    nodes: list[ir.Node] = []
    largest = add_node(nodes, "ReduceMax", [scales], "largest_row_scale", keepdims=0)
    one = add_node(nodes, "Div", [largest, largest], "one")
    insert_behind(model, scales, nodes)
    return one


def _quantize_rows_once(model: ir.Model, x: ir.Value, width: int, lowest: float | None) -> tuple[ir.Value, ir.Value]:
    """Codes [tokens, in] of `x`, and each token's scale [tokens, 1]."""
    zero_name, zero_point = _row_zero_point(lowest)
    stem = f"{x.name}_row{zero_point}"
    names = f"{stem}_codes", f"{stem}_scales"
    codes, column = find_value(model, names[0]), find_value(model, names[1])
    if codes is not None and column is not None:
        return codes, column
    nodes: list[ir.Node] = []
    axis = constant(model, "axis_1", np.array([1], np.int64))
    flat = add_node(nodes, "Reshape", [x, constant(model, f"rows_of_{width}", np.array([-1, width], np.int64))], stem)
    top = add_node(nodes, "ReduceMax", [flat, axis], f"{stem}_top", keepdims=0)
    ends, span, floor = [top], 255 - ROW_ZERO_POINT, 1e-9
    if lowest is None:
        bottom = add_node(nodes, "ReduceMin", [flat, axis], f"{stem}_bottom", keepdims=0)
        ends, span = [top, add_node(nodes, "Neg", [bottom], f"{stem}_depth")], 127
    else:
        floor = max(-lowest / ROW_ZERO_POINT, floor)
    bound = constant(model, f"row_floor_{floor:.6g}", np.array(floor * span, np.float32))
    largest = add_node(nodes, "Max", [*ends, bound], f"{stem}_magnitude")
    inverse = constant(model, f"row_span_{span}", np.array(1 / span, np.float32))
    scale = add_node(nodes, "Mul", [largest, inverse], f"{stem}_scale")
    zeros_name = f"{_rows_of(x)}_{zero_name}s"
    zeros = find_value(model, zeros_name)
    if zeros is None:
        count = add_node(nodes, "Shape", [scale], f"{stem}_count")
        zeros = add_node(nodes, "Expand", [constant(model, zero_name, zero_point), count], zeros_name)
    codes = add_node(nodes, "QuantizeLinear", [flat, scale, zeros], names[0], axis=0)
    column = add_node(nodes, "Reshape", [scale, constant(model, "column", np.array([-1, 1], np.int64))], names[1])
    insert_behind(model, x, nodes)
    return codes, column


def _row_zero_point(lowest: float | None) -> tuple[str, NDArray[np.uint8]]:
    zero = 128 if lowest is None else ROW_ZERO_POINT
    return f"row_zero_point_{zero}", np.array(zero, np.uint8)


def _rows_of(x: ir.Value) -> str:
    """A name for the leading dimensions of `x`, the same for values with the same leading dimensions."""
    known = x.shape is not None and len(x.shape) == 3 and "None" not in f"{x.shape[0]} {x.shape[1]}"
    return f"rows[{x.shape[0]},{x.shape[1]}]" if known and x.shape is not None else str(x.name)


def _quantize_once(model: ir.Model, x: ir.Value) -> ir.Node:
    """The DynamicQuantizeLinear that reads `x`, added where there is none yet."""
    for node in x.consumers():
        if node.op_type == "DynamicQuantizeLinear":
            return node
    node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}_quantized")
    for value, suffix in zip(node.outputs, ("codes", "scale", "zero_point"), strict=True):
        value.name = f"{x.name}_quantized_{suffix}"
    insert_behind(model, x, [node])
    return node
