"""Writes int8 into a graph: a float layer's nodes are replaced by integer ones, in standard ONNX operators.

It decides nothing and computes no scale: it is given codes and scales and says how the graph reads them. ONNX Runtime
fuses the nodes of a dynamic Linear (DynamicQuantizeLinear, MatMulInteger, Cast, Mul) into one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.graph.layers import Layer, constant
from octavo.quant.affine import Quantized

ROW_ZERO_POINT = 32  # 32 of 255 codes for what an activation function lets through below zero (-0.17 for Gelu)


def lower_half(model: ir.Model, layer: Layer) -> None:
    """Store the weight in 16 bits and read it through a Cast, which engines compute once when they load; in place."""
    value = layer.weight
    assert value.const_value is not None
    half = constant(model, f"{value.name}_float16", value.const_value.numpy().astype(np.float16))
    real = _node("Cast", [half], f"{value.name}_cast", to=ir.DataType.FLOAT)
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
        rows = _node("Gather", [codes, ids], f"{node.name}_rows", axis=0)
        row_scales = _node("Gather", [scales, ids], f"{node.name}_scales", axis=0)
        real = _node("Cast", [rows.outputs[0]], f"{node.name}_cast", to=ir.DataType.FLOAT)
        _replace(model, node, [rows, row_scales, real], ("Mul", [real.outputs[0], row_scales.outputs[0]]))
    drop_if_unread(model, layer.weight)


def lower_dynamic_linear(model: ir.Model, layer: Layer, weight: Quantized) -> None:
    """Multiply in integers, the input quantized as it comes, with one scale and zero point per tensor; in place.

    `weight.codes` int8 [in, out], `weight.scale` float32 [1, out]. The quantized input is shared by all layers that
    read the same value (query, key and value).
    """
    codes = constant(model, f"{layer.path}.weight_int8", weight.codes)
    scale = constant(model, f"{layer.path}.weight_scale", weight.scale.reshape(-1))
    for node in layer.nodes:
        x = node.inputs[0]
        assert x is not None
        quantized = _quantize_once(model, x)
        integer = _node("MatMulInteger", [quantized.outputs[0], codes, quantized.outputs[2]], f"{node.name}_integer")
        real = _node("Cast", [integer.outputs[0]], f"{node.name}_cast", to=ir.DataType.FLOAT)
        joint = _node("Mul", [quantized.outputs[1], scale], f"{node.name}_scale")
        nodes, product = [integer, real, joint], [real.outputs[0], joint.outputs[0]]
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is None:
            _replace(model, node, nodes, ("Mul", product))
        else:
            scaled = _node("Mul", product, f"{node.name}_product")
            _replace(model, node, [*nodes, scaled], ("Add", [scaled.outputs[0], bias]))
    drop_if_unread(model, layer.weight)


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
        real = _node("DequantizeLinear", [codes, scale, zeros], f"{node.name}_weight", axis=1)
        operands = [rounded, real.outputs[0]]
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is None:
            _replace(model, node, [real], ("MatMul", operands))
        else:
            product = _node("MatMul", operands, f"{node.name}_product")
            _replace(model, node, [real, product], ("Add", [product.outputs[0], bias]))
    drop_if_unread(model, layer.weight)


def _round_once(model: ir.Model, x: ir.Value, scale: np.float32, zero_point: np.uint8) -> ir.Value:
    """`x` through its codes and back, written where that is not done yet."""
    for node in x.consumers():
        if node.op_type == "QuantizeLinear":
            return node.outputs[0].consumers()[0].outputs[0]
    step = constant(model, f"{x.name}_scale", np.array(scale, np.float32))
    zero = constant(model, f"{x.name}_zero_point", np.array(zero_point, np.uint8))
    codes = _node("QuantizeLinear", [x, step, zero], f"{x.name}_codes")
    real = _node("DequantizeLinear", [codes.outputs[0], step, zero], f"{x.name}_rounded")
    _insert_behind(model, x, [codes, real])
    return real.outputs[0]


def lower_row_linear(model: ir.Model, layer: Layer, weight: Quantized, lowest: float | None = None) -> None:
    """Multiply in integers, with one scale per token; in place.

    An input of both signs (`lowest` None) has the zero point z = 128, one that is bounded below, as what comes out of
    Gelu, z = `ROW_ZERO_POINT`. With m the largest number of a token, or the largest magnitude where z is 128,

        s = m / 127        or        s = max(m / (255 - z), -lowest / z)        codes = clip(round(x / s) + z, 0, 255)

    so that both ends are in range. QuantizeLinear takes one scale per row of [tokens, in]. MatMulInteger knows no scale
    per row, and what it returns has to be multiplied: by the weight's scales, which ONNX Runtime does while it
    multiplies, then by s for each token. All layers that read one value share its codes.
    """
    codes = constant(model, f"{layer.path}.weight_int8", weight.codes)
    weight_scale = constant(model, f"{layer.path}.weight_scale", weight.scale.reshape(-1))
    width, outputs = weight.codes.shape
    zero = constant(model, *_row_zero_point(lowest))
    for node in layer.nodes:
        x = node.inputs[0]
        assert x is not None
        quantized, scales = _quantize_rows_once(model, x, width, lowest)
        nodes: list[ir.Node] = []
        integer = _add(nodes, "MatMulInteger", [quantized, codes, zero], f"{node.name}_integer")
        real = _add(nodes, "Cast", [integer], f"{node.name}_cast", to=ir.DataType.FLOAT)
        joint = _add(nodes, "Mul", [_one(model, scales), weight_scale], f"{node.name}_scale")
        product = _add(nodes, "Mul", [real, joint], f"{node.name}_product")
        rows = _add(nodes, "Mul", [product, scales], f"{node.name}_scaled")
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        if bias is not None:
            rows = _add(nodes, "Add", [rows, bias], f"{node.name}_biased")
        shape_of = f"{_rows_of(x)}_shape_{outputs}"
        shape = _known(model, shape_of)
        if shape is None:
            leading = _add(nodes, "Shape", [x], f"{node.name}_leading", end=-1)
            last = constant(model, f"width_{outputs}", np.array([outputs], np.int64))
            shape = _add(nodes, "Concat", [leading, last], shape_of, axis=0)
        _replace(model, node, nodes, ("Reshape", [rows, shape]))
    drop_if_unread(model, layer.weight)


def _one(model: ir.Model, scales: ir.Value) -> ir.Value:
    """A 1 that is computed: s / s of the largest scale of the first layer, once for the whole graph.

    ONNX Runtime multiplies by weight scales within the product only where a factor of them is computed; a constant is
    folded into them and the product is not fused (7 % slower for BERT-base). A factor that is not exactly 1, such as
    the largest scale of a batch, would move last bits with the batch, and these the next layer's codes.
    """
    found = _known(model, "one")
    if found is not None:
        return found
    nodes: list[ir.Node] = []
    largest = _add(nodes, "ReduceMax", [scales], "largest_row_scale", keepdims=0)
    one = _add(nodes, "Div", [largest, largest], "one")
    _insert_behind(model, scales, nodes)
    return one


def _quantize_rows_once(model: ir.Model, x: ir.Value, width: int, lowest: float | None) -> tuple[ir.Value, ir.Value]:
    """Codes [tokens, in] of `x`, and each token's scale [tokens, 1]."""
    zero_name, zero_point = _row_zero_point(lowest)
    stem = f"{x.name}_row{zero_point}"
    names = f"{stem}_codes", f"{stem}_scales"
    found = _known(model, names[0]), _known(model, names[1])
    if found[0] is not None and found[1] is not None:
        return found[0], found[1]
    nodes: list[ir.Node] = []
    axis = constant(model, "axis_1", np.array([1], np.int64))
    flat = _add(nodes, "Reshape", [x, constant(model, f"rows_of_{width}", np.array([-1, width], np.int64))], stem)
    top = _add(nodes, "ReduceMax", [flat, axis], f"{stem}_top", keepdims=0)
    span, floor = 255 - ROW_ZERO_POINT, 1e-9
    if lowest is None:
        bottom = _add(nodes, "ReduceMin", [flat, axis], f"{stem}_bottom", keepdims=0)
        depth = _add(nodes, "Neg", [bottom], f"{stem}_depth")
        top = _add(nodes, "Max", [top, depth], f"{stem}_magnitude")
        span = 127
    else:
        floor = max(-lowest / ROW_ZERO_POINT, floor)
    inverse = constant(model, f"row_span_{span}", np.array(1 / span, np.float32))
    bound = constant(model, f"row_floor_{floor:.6g}", np.array(floor, np.float32))
    scale = _add(nodes, "Max", [_add(nodes, "Mul", [top, inverse], f"{stem}_step"), bound], f"{stem}_scale")
    zeros_name = f"{_rows_of(x)}_{zero_name}s"
    zeros = _known(model, zeros_name)
    if zeros is None:
        count = _add(nodes, "Shape", [scale], f"{stem}_count")
        zeros = _add(nodes, "Expand", [constant(model, zero_name, zero_point), count], zeros_name)
    codes = _add(nodes, "QuantizeLinear", [flat, scale, zeros], names[0], axis=0)
    column = _add(nodes, "Reshape", [scale, constant(model, "column", np.array([-1, 1], np.int64))], names[1])
    _insert_behind(model, x, nodes)
    return codes, column


def _row_zero_point(lowest: float | None) -> tuple[str, NDArray[np.uint8]]:
    zero = 128 if lowest is None else ROW_ZERO_POINT
    return f"row_zero_point_{zero}", np.array(zero, np.uint8)


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
                parts.append(_node("MatMulInteger", operands, name))
            _replace(model, node, parts, ("Add", [part.outputs[0] for part in parts]))
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


def _rows_of(x: ir.Value) -> str:
    """A name for the leading dimensions of `x`, the same for values that have the same ones."""
    known = x.shape is not None and len(x.shape) == 3 and "None" not in f"{x.shape[0]} {x.shape[1]}"
    return f"rows[{x.shape[0]},{x.shape[1]}]" if known and x.shape is not None else str(x.name)


def _add(
    nodes: list[ir.Node], operator: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int
) -> ir.Value:
    """Append a node with one output; returns the output."""
    nodes.append(_node(operator, inputs, name, **attributes))
    return nodes[-1].outputs[0]


def _quantize_once(model: ir.Model, x: ir.Value) -> ir.Node:
    """The DynamicQuantizeLinear that reads `x`, written where there is none yet."""
    for node in x.consumers():
        if node.op_type == "DynamicQuantizeLinear":
            return node
    node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}_quantized")
    for value, suffix in zip(node.outputs, ("codes", "scale", "zero_point"), strict=True):
        value.name = f"{x.name}_quantized_{suffix}"
    _insert_behind(model, x, [node])
    return node


def _insert_behind(model: ir.Model, x: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Put nodes right behind what makes `x`, for layers that run before the one that asks first."""
    producer = x.producer()
    if producer is not None:
        model.graph.insert_after(producer, nodes)
    else:
        model.graph.insert_before(model.graph[0], nodes)


def _known(model: ir.Model, name: str) -> ir.Value | None:
    """The value of that name that an earlier layer of equal symbolic shape has computed."""
    return next((value for node in model.graph for value in node.outputs if value.name == name), None)


def _node(operator: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int) -> ir.Node:
    node = ir.node(operator, inputs, attributes, name=name)
    node.outputs[0].name = name
    return node


def _replace(model: ir.Model, old: ir.Node, nodes: list[ir.Node], last: tuple[str, Sequence[ir.Value | None]]) -> None:
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
