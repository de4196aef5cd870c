"""The layers of a graph: every Linear and Embedding, by its torch module path.

A Linear is a MatMul or Gemm with a constant matrix or its Transpose, an Embedding a Gather of rows of a constant table.
One path may have several call sites (ALBERT runs one layer many times), and several paths may share one weight.
"""

from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.schema.layers import Kind, part_of


@dataclass(frozen=True)
class Layer:
    """A Linear or an Embedding.

    `path` is its module path, `nodes` its call sites, `weight` the constant that they read (float32; a Linear's is
    [in, out], or [out, in] where `transposed`; an Embedding's [rows, width]).
    """

    path: str
    kind: Kind
    nodes: tuple[ir.Node, ...]
    weight: ir.Value
    transposed: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The module paths that it covers: several where layers were merged (`joint_path`)."""
        return paths_of(self.path)

    @property
    def inputs(self) -> dict[str, ir.Value]:
        """The values that a Linear reads, by name, in the order of its call sites."""
        return {str(node.inputs[0].name): node.inputs[0] for node in self.nodes if node.inputs[0] is not None}

    @property
    def parameters(self) -> int:
        """Numbers in the weight."""
        return int(np.prod(self.weight.shape.numpy())) if self.weight.shape else 0

    @property
    def part(self) -> str:
        """The part of a transformer that it is in: embedding, attention, feed-forward or head."""
        return part_of(self.path, self.kind)

    def matrix(self) -> NDArray[np.float32]:
        """The weight as [in, out] for a Linear and [rows, width] for an Embedding."""
        return numbers_of(self.weight).T if self.transposed else numbers_of(self.weight)


def paths_of(path: str) -> tuple[str, ...]:
    """The module paths that the path of a layer covers."""
    stem, brace, names = path.partition("{")
    return tuple(f"{stem}{name}" for name in names.rstrip("}").split(",")) if brace else (path,)


def find_layers(model: ir.Model) -> tuple[Layer, ...]:
    """Every layer of the graph, in the order in which the graph first runs it."""
    layers: dict[tuple[str, str], Layer] = {}
    for node in model.graph:
        layer = _as_layer(node)
        if layer is not None:
            key = (layer.path, str(layer.weight.name))
            layers[key] = replace(layer, nodes=(*layers[key].nodes, node)) if key in layers else layer
    return tuple(layers.values())


def numbers_of(value: ir.Value | None) -> NDArray[np.float32]:
    """The numbers of a constant."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def find_bias(node: ir.Node) -> tuple[ir.Node, int] | None:
    """The node that adds the bias at a Linear's call site, and the position of the bias among its inputs.

    It is the third input of a Gemm, or one side of the Add that alone reads a product. None where there is no bias.
    """
    if node.op_type == "Gemm":
        return (node, 2) if len(node.inputs) > 2 and _is_vector(node.inputs[2]) else None
    readers = node.outputs[0].consumers()
    if len(readers) != 1 or readers[0].op_type != "Add" or node.outputs[0].is_graph_output():
        return None
    weight = node.inputs[1]
    outputs = weight.shape[1] if weight is not None and weight.shape is not None else None
    for position, value in enumerate(readers[0].inputs):
        tensor = value.const_value if value is not None else None
        if tensor is not None and tensor.shape.numpy() == (outputs,):
            return readers[0], position
    return None


def _is_vector(value: ir.Value | None) -> TypeGuard[ir.Value]:
    return value is not None and value.const_value is not None and len(value.const_value.shape) == 1


def constant(model: ir.Model, name: str, array: NDArray[np.generic]) -> ir.Value:
    """An initializer of that name; where one with the same numbers is there already, that one."""
    known = model.graph.initializers.get(name)
    if known is not None and known.const_value is not None and np.array_equal(known.const_value.numpy(), array):
        return known
    while name in model.graph.initializers:
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(array, order="C"), name=name))
    value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype  # type: ignore[union-attr]
    model.graph.register_initializer(value)
    return value


def _as_layer(node: ir.Node) -> Layer | None:
    """The node as a layer with one call site, or None where it is no layer."""
    path, settings = str(node.name).rpartition("/")[0], node.attributes
    if node.op_type == "Gather" and settings.get_int("axis", 0) == 0:
        table, indices = node.inputs
        if _is_matrix(table) and indices is not None and indices.const_value is None:
            return Layer(path, "embedding", (node,), table)
    elif node.op_type == "MatMul":
        weight = node.inputs[1]
        if _is_matrix(weight):
            return Layer(path, "linear", (node,), weight)
        turned = weight.producer() if weight is not None else None  # a head that is an embedding table too
        if turned is not None and turned.op_type == "Transpose" and _is_matrix(turned.inputs[0]):
            return Layer(path, "linear", (node,), turned.inputs[0], transposed=True)
    elif node.op_type == "Gemm" and not settings.get_int("transA", 0):
        weight = node.inputs[1]
        if _is_matrix(weight) and settings.get_float("alpha", 1.0) == 1.0 and settings.get_float("beta", 1.0) == 1.0:
            return Layer(path, "linear", (node,), weight, bool(settings.get_int("transB", 0)))
    return None


def _is_matrix(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Whether the value is a constant float32 matrix; the scales of int8 rows, [rows, 1], do not count as one."""
    tensor = value.const_value if value is not None else None
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) == 2 and tensor.shape[1] != 1
