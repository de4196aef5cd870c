"""What any graph stores, whoever wrote it: its weights, in what type, in which part, and how it quantizes.

`octavo.graph.layers` finds the layers of a float graph that can be quantized; nothing is changed here, and int8 is read
as other tools write it: QDQ, integer operators, ONNX Runtime's own.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import INT7_LEVELS
from octavo.arithmetic.saturation import can_saturate
from octavo.schema.inspection import Port, Weight
from octavo.schema.layers import Kind, part_of

# operator -> the inputs that may be weights
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "MatMul": (1, 0), "Gemm": (1, 0), "FusedMatMul": (1, 0), "MatMulInteger": (1, 0), "QLinearMatMul": (3, 0),
    "MatMulIntegerToFloat": (1,), "DynamicQuantizeMatMul": (1,), "MatMulNBits": (1,), "QGemm": (3,), "Conv": (1,),
    "ConvInteger": (1,), "QLinearConv": (3,), "Attention": (1,), "QAttention": (1,), "LSTM": (1, 2), "GRU": (1, 2),
    "DynamicQuantizeLSTM": (1, 2), "Gather": (0,), "GatherBlockQuantized": (0,), "EmbedLayerNormalization": (2, 3, 4),
    "QEmbedLayerNormalization": (2, 3, 4),
}  # fmt: skip
_LOOKUPS = {"Gather", "GatherBlockQuantized", "EmbedLayerNormalization", "QEmbedLayerNormalization"}
# operator -> the zero point of its weight
_ZERO_POINTS = {
    "MatMulInteger": 3, "QLinearMatMul": 5, "MatMulIntegerToFloat": 5, "DynamicQuantizeMatMul": 3, "QGemm": 5,
    "ConvInteger": 3, "QLinearConv": 5, "DequantizeLinear": 2, "QAttention": 7, "MatMulNBits": 3,
    "GatherBlockQuantized": 3, "DynamicQuantizeLSTM": 9,
}  # fmt: skip
_HAND_ON = {"DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity", "Reshape"}
_SCALING = {"Mul", "Div", "Sub", "Add"}
_DYNAMIC = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
_STATIC = {"QLinearMatMul": 2, "QLinearConv": 2, "QLinearAdd": 2, "QGemm": 2, "QAttention": 6}  # -> zero point of x
_BESIDE = (".weight_scale", ".rows_zero_point")  # what Octavo gathers beside the codes of a table
_DOMAINS = {"", "ai.onnx", "com.microsoft"}


def dtype_name(dtype: ir.DataType) -> str:
    """The name that numpy and torch use: float32 and not FLOAT."""
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype.name, dtype.name.lower())


def port_of(value: ir.Value) -> Port:
    """An input or output of a graph with its type and shape."""
    sizes = tuple(dim if isinstance(dim, int) else str(dim.value or "?") for dim in value.shape or ())
    return Port(str(value.name), dtype_name(value.dtype) if value.dtype is not None else "?", sizes)


def find_weights(model: ir.Model) -> tuple[Weight, ...]:
    """Every weight, once each, in the order in which the graph first reads them."""
    weights: dict[ir.Value, Weight] = {}
    for node in model.graph.all_nodes():
        if node.domain not in _DOMAINS or (node.op_type == "Attention" and node.domain != "com.microsoft"):
            continue  # ONNX's own Attention has no weights
        for index in _WEIGHTS.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            stored, symmetric = _stored(node, value)
            if stored is None:
                continue
            if stored in weights:
                weights[stored] = replace(weights[stored], uses=weights[stored].uses + 1)
                continue
            weight = _weight(node, stored, symmetric=symmetric)
            if weight is not None:
                weights[stored] = weight
    return tuple(weights.values())


def _stored(node: ir.Node, value: ir.Value | None) -> tuple[ir.Value | None, bool]:
    """The constant behind an input, through casts and transpositions, and whether its zero point is the middle.

    Some tools write integers as `(Cast(codes) - zero point) * scale`, of standard operators.
    """
    symmetric = _is_middle(node, _ZERO_POINTS.get(node.op_type))
    while value is not None and ir.convenience.get_const_tensor(value) is None:
        producer = value.producer()
        if producer is not None and producer.op_type in _SCALING:
            codes, middle = _codes(value)
            return codes, symmetric and middle
        if producer is None or producer.op_type not in _HAND_ON:
            return None, symmetric
        symmetric = symmetric and _is_middle(producer, _ZERO_POINTS.get(producer.op_type))
        value = producer.inputs[0] if producer.inputs else None
    return value, symmetric


def _codes(value: ir.Value | None, steps: int = 8) -> tuple[ir.Value | None, bool]:
    """The 8-bit matrix that a value is made of by casts, zero points and scales alone, and whether its 0 is the middle.

    None where there is no such matrix, or something else than constants comes in.
    """
    if value is None or steps == 0:
        return None, True
    tensor, producer = ir.convenience.get_const_tensor(value), value.producer()
    if tensor is not None:
        codes = tensor.dtype in {ir.DataType.INT8, ir.DataType.UINT8} and len(tensor.shape) > 1
        return (value, True) if codes and min(tensor.shape.numpy()) > 1 else (None, True)
    if producer is not None and producer.op_type in _HAND_ON:
        return _codes(producer.inputs[0], steps - 1)
    if producer is None or producer.op_type not in _SCALING or len(producer.inputs) != 2:
        return None, True
    sides = [_codes(side, steps - 1) for side in producer.inputs]
    at = next((index for index, (matrix, _) in enumerate(sides) if matrix is not None), None)
    other = None if at is None else _numbers(producer.inputs[1 - at])
    if at is None or other is None:
        return None, True
    stored, symmetric = sides[at]
    assert stored is not None
    zero = 128 if stored.dtype == ir.DataType.UINT8 else 0
    return stored, symmetric and (producer.op_type in {"Mul", "Div"} or bool(np.all(other == zero)))


def _numbers(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The numbers of a constant, which may be cast; None where it is none."""
    for _ in range(8):
        tensor = ir.convenience.get_const_tensor(value) if value is not None else None
        if tensor is not None:
            return None if isinstance(tensor, ir.ExternalTensor) else np.asarray(tensor.numpy())
        producer = value.producer() if value is not None else None
        if producer is None or producer.op_type not in _HAND_ON:
            return None
        value = producer.inputs[0]
    return None


def _is_middle(node: ir.Node, index: int | None) -> bool:
    """Whether the zero point is 0 of a signed type or 128 of an unsigned one, or absent."""
    value = node.inputs[index] if index is not None and index < len(node.inputs) else None
    if value is None:
        return True
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or isinstance(tensor, ir.ExternalTensor):
        return False
    numbers = np.asarray(tensor.numpy())
    packed = 0x88 if node.op_type in {"MatMulNBits", "GatherBlockQuantized"} else 128  # two 4-bit numbers of 8, or one
    return bool(np.all(numbers == (packed if numbers.dtype == np.uint8 else 0)))


def _weight(node: ir.Node, stored: ir.Value, *, symmetric: bool) -> Weight | None:
    tensor = ir.convenience.get_const_tensor(stored)
    assert tensor is not None
    shape, dtype = tuple(tensor.shape.numpy()), dtype_name(tensor.dtype)
    numbers = int(np.prod(shape, dtype=object))
    if len(shape) < 2 or dtype in {"int64", "int32", "bool"} or shape[-1] == 1:
        return None
    if node.op_type == "MatMulNBits":
        bits = node.attributes.get_int("bits", 4)
        dtype = f"int{bits}"
        numbers = node.attributes.get_int("K", 0) * node.attributes.get_int("N", 0)
    kind: Kind = "embedding" if node.op_type in _LOOKUPS else "linear"
    if kind == "embedding" and str(stored.name).endswith(_BESIDE):
        return None
    if kind == "embedding" and str(stored.name).endswith(".weight_int4") and len(shape) == 3:  # two in a byte, as
        dtype, shape, numbers = "int4", (shape[0], 2 * shape[1] * shape[2]), 2 * numbers  # `lower_block_rows` has them
    for reader, _ in node.outputs[0].uses() if kind == "embedding" and node.outputs else ():
        symmetric = symmetric and _is_middle(reader, 2 if reader.op_type == "DequantizeLinear" else None)
    path = module_path(node, stored)
    named = part_of(path, kind)
    part = named if "." in path or named == "head" else _part_by_shape(node, kind, shape)
    floating = tensor.dtype.is_floating_point() and tensor.dtype.bitwidth > 8
    signed = kind == "linear" and tensor.dtype == ir.DataType.INT8
    saturates = signed and _saturates(node, stored, np.asarray(tensor.numpy()))
    middle = None if floating else symmetric
    return Weight(path, kind, part, dtype, shape, numbers, tensor.nbytes, middle, saturates)


def _saturates(node: ir.Node, stored: ir.Value, codes: NDArray[np.int8]) -> bool:
    """Whether products of these codes can saturate; where it is not plain which ones are pairs, whether any could."""
    readers = [reader for reader, _ in stored.uses()]
    readers += [later for reader in readers for output in reader.outputs for later, _ in output.uses()]
    if codes.ndim != 2 or "Conv" in node.op_type or any(reader.op_type == "Transpose" for reader in readers):
        return bool(np.abs(codes.astype(np.int16)).max(initial=0) > INT7_LEVELS)
    return can_saturate(codes.T if node.attributes.get_int("transB", 0) else codes)


def module_path(node: ir.Node, stored: ir.Value | None = None) -> str:
    """The module path in a node's name, else that in its weight's name, with dots; empty where neither has one.

    Exporters call a node `/bert/encoder/layer.0/attention/self/query/MatMul` (torch.onnx by tracing),
    `bert.encoder.layer.0.attention.self.query/MatMul` (Octavo) or `node_linear_3` (torch.onnx by torch.export, which
    keeps the weight's name).
    """
    scope = str(node.name or "").strip("/").rpartition("/")[0].replace("/", ".")
    name = str(stored.name or "") if stored is not None else ""
    for ending in ("_int8", "_int4", "_quantized", "_q4", "_transposed", "_DequantizeLinear"):
        name = name.removesuffix(ending)
    own = name.rpartition(".")[0] if name.rpartition(".")[2] in {"weight", "kernel"} else ""
    return scope if "." in scope or not own else own


def _part_by_shape(node: ir.Node, kind: Kind, shape: tuple[int, ...]) -> str:
    """A guess for nameless weights: one that no other weight follows is the head, square ones are the attention's."""
    if kind == "embedding":
        return "embedding"
    seen, open_nodes = {id(node)}, [node]
    while open_nodes:
        for output in open_nodes.pop().outputs:
            for reader, _ in output.uses():
                if id(reader) not in seen:
                    seen.add(id(reader))
                    open_nodes.append(reader)
                    if any(_stored(reader, value)[0] for value in _weight_inputs(reader)):
                        return "attention" if shape[0] == shape[-1] else "feed-forward"
    return "head"


def _weight_inputs(node: ir.Node) -> Iterator[ir.Value | None]:
    if node.op_type in _LOOKUPS:
        return
    for index in _WEIGHTS.get(node.op_type, ()):
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is not None and value.shape is not None and len(value.shape) < 2:
            continue
        yield value


def activation_scheme(model: ir.Model) -> tuple[str | None, bool | None]:
    """How activations are quantized, "dynamic" or "static", and whether symmetrically; None where they are float."""
    dynamic, middles = False, []
    for node in model.graph.all_nodes():
        if node.op_type in _DYNAMIC:
            dynamic = True
        elif node.op_type in _STATIC:
            middles.append(_is_middle(node, _STATIC[node.op_type]))
        elif node.op_type == "QuantizeLinear" and len(node.inputs) > 1 and not _is_constant(node.inputs[0]):
            if _is_constant(node.inputs[1]):
                middles.append(len(node.inputs) > 2 and _is_middle(node, 2))
            else:
                dynamic = True
    if dynamic:
        return "dynamic", False
    return ("static", all(middles)) if middles else (None, None)


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and ir.convenience.get_const_tensor(value) is not None
