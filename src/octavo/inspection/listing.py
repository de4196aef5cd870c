"""A graph as text for people: one line per node, values numbered, constants by type and shape, modules as headings."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import onnx_ir as ir

from octavo.inspection.anatomy import dtype_name, module_path, port_of

_SHOWN = 4  # numbers of a constant that are written out


def list_graph(model: ir.Model) -> Iterator[str]:
    """The lines: inputs, nodes in order, outputs.

    `%7 = MatMulInteger(%5, query.weight_int8 int8[256,256], %6)` reads: value 7 is that product.
    """
    names: dict[ir.Value, str] = {}
    numbers = count()
    for value in model.graph.inputs:
        names[value] = f"%{value.name}"
        yield f"input  %{value.name}: {_type(value)}"
    module = ""
    for node in model.graph:
        inside = module_path(node)
        if inside != module:
            module = inside
            yield f"# {module}" if module else "#"
        for value in node.outputs:
            names[value] = f"%{value.name}" if value.is_graph_output() else f"%{next(numbers)}"
        left = ", ".join(names[value] for value in node.outputs)
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        inputs = ", ".join(_operand(value, names) for value in node.inputs)
        settings = ", ".join(f"{name}={_setting(attribute)}" for name, attribute in node.attributes.items())
        yield f"  {left} = {operator}({inputs})" + (f" {{{settings}}}" if settings else "")
    for value in model.graph.outputs:
        yield f"output {names.get(value, '%' + str(value.name))}: {_type(value)}"


def _type(value: ir.Value) -> str:
    port = port_of(value)
    return f"{port.dtype}[{','.join(map(str, port.shape))}]"


def _operand(value: ir.Value | None, names: dict[ir.Value, str]) -> str:
    if value is None:
        return "-"
    if value in names:
        return names[value]
    tensor = value.const_value
    return _constant(tensor, str(value.name)) if tensor is not None else f"%{value.name}"


def _constant(tensor: ir.TensorProtocol, name: str = "") -> str:
    """The numbers of a small constant, else the end of its name with type and shape."""
    shape = tensor.shape.numpy()
    small = int(np.prod(shape, dtype=object)) <= _SHOWN and not isinstance(tensor, ir.ExternalTensor)
    if small and tensor.dtype != ir.DataType.STRING:
        return np.array2string(np.asarray(tensor.numpy()), separator=",", precision=4).replace("\n", "")
    short = ".".join(name.split(".")[-2:])
    return f"{short} {dtype_name(ir.DataType(tensor.dtype))}[{','.join(map(str, shape))}]".strip()


def _setting(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.TENSOR:
        return _constant(attribute.as_tensor())
    if attribute.type in {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}:
        return "<graph>"
    return str(attribute.value)[:60]
