"""Writes int8 or weights in blocks into a graph: a float layer's nodes are replaced by integer ones.

It decides nothing and computes no scale: it gets codes and scales and writes how the graph reads them, in standard ONNX
operators except for ONNX Runtime's `MatMulNBits`. ONNX Runtime fuses the nodes of a dynamic Linear
(DynamicQuantizeLinear, MatMulInteger, Cast, Mul) into one kernel.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import Quantized
from octavo.arithmetic.blocks import MIDDLE, Blocks
from octavo.graph.layers import Layer, constant, numbers_of

DOMAIN = "com.microsoft"


def lower_half(model: ir.Model, layer: Layer) -> None:
    """Store the weight in 16 bits and read it through a Cast, which engines compute once when they load; in place."""
    value = layer.weight
    half = constant(model, f"{value.name}_float16", numbers_of(value).astype(np.float16))
    real = make_node("Cast", [half], f"{value.name}_cast", to=ir.DataType.FLOAT)
    real.outputs[0].shape, real.outputs[0].type = value.shape, ir.TensorType(ir.DataType.FLOAT)
    model.graph.insert_before(model.graph[0], real)
    ir.convenience.replace_all_uses_with(value, real.outputs[0])
    drop_if_unread(model, value)


def lower_embedding(model: ir.Model, layer: Layer, table: Quantized) -> None:
    """Read int8 rows and give them their scale: `Cast(Gather(codes, ids)) * Gather(scales, ids)`; in place.

    `table.codes` int8 [rows, width], `table.scale` float32 [rows, 1].
    """
    codes, scales = store_weight(model, layer.path, table.codes, table.scale)
    for node in layer.nodes:
        ids = node.inputs[1]
        rows = make_node("Gather", [codes, ids], f"{node.name}_rows", axis=0)
        row_scales = make_node("Gather", [scales, ids], f"{node.name}_scales", axis=0)
        real = make_node("Cast", [rows.outputs[0]], f"{node.name}_cast", to=ir.DataType.FLOAT)
        replace_layer(model, node, [rows, row_scales, real], ("Mul", [real.outputs[0], row_scales.outputs[0]]))
    drop_if_unread(model, layer.weight)


def lower_stored_linear(model: ir.Model, layer: Layer, weight: Quantized) -> None:
    """Multiply in float by `Cast(codes) * scale`, which engines compute once when they load; in place.

    `weight.codes` int8 [in, out], `weight.scale` float32 [1, out].
    """
    codes, scale = store_weight(model, layer.path, weight.codes, weight.scale)
    nodes: list[ir.Node] = []
    real = add_node(nodes, "Cast", [codes], f"{layer.path}.weight_cast", to=ir.DataType.FLOAT)
    real = add_node(nodes, "Mul", [real, scale], f"{layer.path}.weight_real")
    model.graph.insert_before(model.graph[0], nodes)
    for node, x, bias in call_sites(layer):
        replace_layer(model, node, [], ("MatMul", [x, real]), bias)
    drop_if_unread(model, layer.weight)


def lower_static_linear(
    model: ir.Model,
    layer: Layer,
    weight: Quantized,
    ranges: Mapping[str, tuple[np.float32, np.uint8]],
    *,
    bits: int = 8,
) -> None:
    """Quantize the input with a scale and zero point that are known; in place.

    `ranges`: the name of each value that the layer reads -> scale and zero point of its uint8 codes. `weight.codes`
    int8 [in, out], `weight.scale` float32 [1, out]. QuantizeLinear and DequantizeLinear in front of the input, which
    all readers of a value share, DequantizeLinear in front of the weight: engines fuse them with the MatMul between.
    Codes of 4 bits are stored so, two in a byte, and read through a Cast, which engines compute once when they load.
    """
    stored = weight.codes if bits == 8 else weight.codes.astype(ir.DataType.INT4.numpy())
    codes, scale = store_weight(model, layer.path, stored, weight.scale.reshape(-1), bits)
    if bits == 4:
        wide = make_node("Cast", [codes], f"{layer.path}.weight_wide", to=ir.DataType.INT8)
        model.graph.insert_before(model.graph[0], wide)
        codes = wide.outputs[0]
    for node, x, bias in call_sites(layer):
        rounded = _round_once(model, x, *ranges[str(x.name)])
        real = make_node("DequantizeLinear", [codes, scale], f"{node.name}_weight", axis=1)
        replace_layer(model, node, [real], ("MatMul", [rounded, real.outputs[0]]), bias)
    drop_if_unread(model, layer.weight)


def _round_once(model: ir.Model, x: ir.Value, scale: np.float32, zero_point: np.uint8) -> ir.Value:
    """`x` converted to its codes and back, by nodes that are added where there are none yet."""
    for node in x.consumers():
        if node.op_type == "QuantizeLinear":
            return node.outputs[0].consumers()[0].outputs[0]
    step = constant(model, f"{x.name}_scale", np.array(scale, np.float32))
    zero = constant(model, f"{x.name}_zero_point", np.array(zero_point, np.uint8))
    codes = make_node("QuantizeLinear", [x, step, zero], f"{x.name}_codes")
    real = make_node("DequantizeLinear", [codes.outputs[0], step, zero], f"{x.name}_rounded")
    insert_behind(model, x, [codes, real])
    return real.outputs[0]


def lower_block_linear(model: ir.Model, layer: Layer, weight: Blocks) -> None:
    """Multiply by a weight in blocks, in integers, the input quantized for each row and block as it comes; in place."""
    operands = [*store_weight(model, layer.path, weight.packed(), weight.packed_scale(), weight.bits)]
    if weight.bits == 4:
        operands.append(constant(model, f"{layer.path}.weight_zero_point", weight.packed_zeros()))
    settings = {
        "K": weight.inputs,
        "N": weight.codes.shape[2],
        "bits": weight.bits,
        "block_size": weight.codes.shape[1],
        "accuracy_level": 4,  # as docs/ContribOperators.md counts: the input is rounded to int8
    }
    for node, x, bias in call_sites(layer):
        product = ir.node("MatMulNBits", [x, *operands], settings, domain=DOMAIN, name=f"{node.name}_nbits")
        nodes = [product]
        if bias is not None:
            product.outputs[0].name = product.name
            nodes.append(ir.node("Add", [product.outputs[0], bias], name=f"{node.name}_biased"))
        replace_node(model, node, nodes)
    drop_if_unread(model, layer.weight)
    model.opset_imports[DOMAIN] = 1


def lower_block_rows(model: ir.Model, layer: Layer, weight: Blocks, head: str | None = None) -> None:
    """Read an embedding's rows from codes in blocks, `(Gather(codes, ids) - zero) * Gather(scales, ids)`; in place.

    `weight` is of the table's transpose, [width, rows]; with `head` that of the Linear with this module path, whose
    codes they are, and otherwise the scales are stored in 16 bits. A byte holds two 4-bit codes, which standard
    operators take apart in real numbers: engines gather no 4-bit numbers, and not all shift bytes.
    """
    scale = weight.packed_scale()
    scale = scale if head is not None else scale.astype(np.float16)
    codes, scales = store_weight(model, head or layer.path, weight.packed(), scale, weight.bits)
    zeros = None
    if weight.bits == 4:
        zeros = constant(model, f"{layer.path}.rows_zero_point", np.ascontiguousarray(weight.zero.T))
    for node in layer.nodes:
        nodes: list[ir.Node] = []
        ids, stem = node.inputs[1], str(node.name)
        rows = add_node(nodes, "Gather", [codes, ids], f"{stem}_codes")
        rows = add_node(nodes, "Cast", [rows], f"{stem}_cast", to=ir.DataType.FLOAT)
        middle = constant(model, "middle_code", np.array(MIDDLE, np.float32))
        if zeros is not None:
            rows = _two_codes(model, nodes, rows, stem)
            middle = _of_each_block(model, nodes, zeros, node, "zeros", 2)
        steps = _of_each_block(model, nodes, scales, node, "scales", 1 if zeros is None else 2)
        rows = add_node(nodes, "Sub", [rows, middle], f"{stem}_centred")
        rows = add_node(nodes, "Mul", [rows, steps], f"{stem}_blocks")
        together = weight.codes.shape[0] * weight.codes.shape[1]
        wide = constant(model, f"width_{together}", np.array([together], np.int64))
        shape = add_node(nodes, "Shape", [ids], f"{stem}_shape")
        shape = add_node(nodes, "Concat", [shape, wide], f"{stem}_wide", axis=0)
        if weight.fills:
            replace_layer(model, node, nodes, ("Reshape", [rows, shape]))
            continue
        rows = add_node(nodes, "Reshape", [rows, shape], f"{stem}_filled")
        ends = [constant(model, f"slice_{number}", np.array([number], np.int64)) for number in (0, weight.inputs, -1)]
        replace_layer(model, node, nodes, ("Slice", [rows, *ends]))
    drop_if_unread(model, layer.weight)


def _two_codes(model: ir.Model, nodes: list[ir.Node], rows: ir.Value, stem: str) -> ir.Value:
    """The two 4-bit codes of each byte [...] -> [..., 2], the low one first: `high = floor(byte / 16)`, exactly."""
    sixteen = constant(model, "sixteen", np.array(16, np.float32))
    share = constant(model, "a_sixteenth", np.array(1 / 16, np.float32))
    last = constant(model, "last_axis", np.array([-1], np.int64))
    high = add_node(nodes, "Mul", [rows, share], f"{stem}_shifted")
    high = add_node(nodes, "Floor", [high], f"{stem}_high")
    low = add_node(nodes, "Mul", [high, sixteen], f"{stem}_high_part")
    low = add_node(nodes, "Sub", [rows, low], f"{stem}_low")
    pair = [add_node(nodes, "Unsqueeze", [code, last], f"{code.name}_code") for code in (low, high)]
    return add_node(nodes, "Concat", pair, f"{stem}_pairs", axis=-1)


def _of_each_block(
    model: ir.Model, nodes: list[ir.Node], table: ir.Value, node: ir.Node, name: str, inner: int
) -> ir.Value:
    """What the blocks of each row share, `table` [rows, blocks], as real numbers, with `inner` axes behind."""
    axes = constant(model, f"last_{inner}_axes", np.arange(-inner, 0, dtype=np.int64))
    value = add_node(nodes, "Gather", [table, node.inputs[1]], f"{node.name}_{name}")
    if table.dtype != ir.DataType.FLOAT:
        value = add_node(nodes, "Cast", [value], f"{node.name}_{name}_cast", to=ir.DataType.FLOAT)
    return add_node(nodes, "Unsqueeze", [value, axes], f"{node.name}_{name}_each")


def with_exact_products(model: ir.Model) -> ir.Model:
    """A copy that answers on a CPU on which products of 8-bit weights saturate what the model answers elsewhere.

    An integer product becomes the sum of two with half of the weight each, which has 7 bits; a weight that is
    dequantized becomes float.
    """
    model = model.clone(deep_copy=False)
    for node in list(model.graph):
        weight = node.inputs[1 if node.op_type == "MatMulInteger" else 0] if node.inputs else None
        tensor = weight.const_value if weight is not None else None
        if weight is None or tensor is None or tensor.dtype != ir.DataType.INT8 or len(tensor.shape) != 2:
            continue
        codes = tensor.numpy()
        if node.op_type == "MatMulInteger":
            parts = []
            for k, half in enumerate((codes // 2, codes - codes // 2)):
                operands = [node.inputs[0], constant(model, f"{weight.name}_half_{k}", half), *node.inputs[2:]]
                parts.append(make_node("MatMulInteger", operands, f"{node.name}_half_{k}"))
            replace_layer(model, node, parts, ("Add", [part.outputs[0] for part in parts]))
        elif node.op_type == "DequantizeLinear":
            real = codes.astype(np.float32) * numbers_of(node.inputs[1])
            ir.convenience.replace_all_uses_with(node.outputs[0], constant(model, f"{node.name}_real", real))
            model.graph.remove(node, safe=True)
        if not weight.uses():
            model.graph.initializers.pop(str(weight.name))
    return model


def keep_gelu_apart(model: ir.Model) -> None:
    """Add the bias in front of a Gelu as a row [1, n], not as a vector; in place, and the numbers are the same.

    ONNX Runtime makes an addition of a vector and a Gelu one operator, BiasGelu, which takes longer than the two. A
    bias that the product in front of it takes in stays a vector.
    """
    for node in list(model.graph):
        value = node.inputs[0] if node.op_type == "Gelu" else None
        add = value.producer() if value is not None else None
        if add is None or add.op_type != "Add":
            continue
        for place, bias in enumerate(add.inputs):
            other = add.inputs[1 - place]
            product = other.producer() if other is not None else None
            if product is None or product.op_type not in {"MatMul", "Reshape"} or bias is None:
                continue
            if bias.const_value is not None and len(bias.const_value.shape) == 1:
                add.replace_input_with(place, constant(model, f"{bias.name}_row", numbers_of(bias)[None]))
                drop_if_unread(model, bias)


def call_sites(layer: Layer) -> Iterator[tuple[ir.Node, ir.Value, ir.Value | None]]:
    """Each call site of a Linear: its node, the value that it reads, and the bias of a Gemm that has one."""
    for node in layer.nodes:
        x = node.inputs[0]
        assert x is not None
        yield node, x, node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None


def store_weight(
    model: ir.Model, path: str, codes: NDArray[np.integer], scale: NDArray[np.float32], bits: int = 8
) -> tuple[ir.Value, ir.Value]:
    """The constants of a layer's codes and scales, named by its module path."""
    return constant(model, f"{path}.weight_int{bits}", codes), constant(model, f"{path}.weight_scale", scale)


def add_node(
    nodes: list[ir.Node], operator: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int
) -> ir.Value:
    """Append a node with one output; returns the output."""
    nodes.append(make_node(operator, inputs, name, **attributes))
    return nodes[-1].outputs[0]


def insert_behind(model: ir.Model, x: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Put nodes right behind the one that makes `x`, since other layers may read them earlier than this one."""
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
    model: ir.Model,
    old: ir.Node,
    nodes: Sequence[ir.Node],
    last: tuple[str, Sequence[ir.Value | None]],
    bias: ir.Value | None = None,
) -> None:
    """Put `nodes`, a last one (operator and inputs) and the addition of a bias, if any, in the place of `old`.

    The node that comes last takes over the output of `old`, with its name.
    """
    operator, inputs = last
    if bias is not None:
        nodes = [*nodes, make_node(operator, inputs, f"{old.name}_product")]
        operator, inputs = "Add", [nodes[-1].outputs[0], bias]
    replace_node(model, old, [*nodes, ir.node(operator, inputs, name=f"{old.name}_int8")])


def replace_node(model: ir.Model, old: ir.Node, nodes: Sequence[ir.Node]) -> None:
    """Put `nodes` in the place of `old`; the last one takes over its output, with its name."""
    output, name, final = old.outputs[0], old.outputs[0].name, nodes[-1]
    final.outputs[0].shape, final.outputs[0].type = output.shape, output.type
    model.graph.insert_before(old, nodes)
    ir.convenience.replace_all_uses_with(output, final.outputs[0], replace_graph_outputs=True)
    model.graph.remove(old, safe=True)
    final.outputs[0].name = name


def drop_if_unread(model: ir.Model, value: ir.Value) -> None:
    """Remove a constant from the graph where nothing reads it any more, or only a Transpose that nothing reads."""
    for node in value.consumers():
        if node.op_type == "Transpose" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            model.graph.remove(node, safe=True)
    if not value.consumers() and not value.is_graph_output():
        model.graph.initializers.pop(str(value.name))
