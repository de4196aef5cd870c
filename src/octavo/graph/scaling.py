"""Divides what layers read by a factor per channel and multiplies their weights by it: the function stays the same.

    x W = (x / s) (s W)

The division goes into the layer that makes x where that is exact (`find_maker`), and is a Mul of its own elsewhere.
This module does not choose the factor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from octavo.arithmetic.affine import FloatArray
from octavo.graph.layers import Layer, constant, find_bias, numbers_of


@dataclass(frozen=True)
class Group:
    """Linears that have to be scaled together: they read the same values, or one weight at several places.

    `inputs` are the values that they read, [..., in].
    """

    layers: tuple[Layer, ...]
    inputs: tuple[ir.Value, ...]


Maker = tuple[tuple[ir.Node, int], ...]  # inputs of nodes: constants [..., channels] that make a value's channels


def find_groups(layers: Sequence[Layer]) -> tuple[Group, ...]:
    """The Linears among the layers, in groups, in the order of the graph."""
    groups: list[tuple[list[Layer], dict[str, ir.Value]]] = []
    for layer in layers:
        if layer.kind != "linear":
            continue
        joined = ([layer], layer.inputs)
        apart = []
        for members, values in groups:
            if values.keys() & layer.inputs.keys() or any(member.weight is layer.weight for member in members):
                joined = ([*members, *joined[0]], values | joined[1])
            else:
                apart.append((members, values))
        groups = [*apart, joined]
    return tuple(Group(tuple(members), tuple(values.values())) for members, values in groups)


def separable(group: Group) -> bool:
    """Whether nothing but the group reads its weights: the table of a tied embedding must not be scaled."""
    ours = {id(node) for layer in group.layers for node in layer.nodes}
    return all(id(node) in ours for layer in group.layers for node in layer.weight.consumers())


def find_maker(group: Group) -> Maker | None:
    """The constants to divide, where nothing but the group reads what they make; None where a Mul is needed.

    Two places are exact. The output of an attention, [batch, length, heads x width]: it is a weighted sum of the rows
    of its value, so a factor per channel can go into the value projection. And the scale and bias of a
    LayerNormalization that only the group reads; in BERT the residual sum reads it too, so it is not such a place.
    """
    if len(group.inputs) != 1:
        return None
    value = group.inputs[0]
    ours = {id(node) for layer in group.layers for node in layer.nodes}
    producer = value.producer()
    if producer is None or value.is_graph_output() or any(id(node) not in ours for node in value.consumers()):
        return None
    if producer.op_type == "LayerNormalization":
        sites = tuple((producer, index) for index in range(1, len(producer.inputs)))
        return sites if all(_constant_of(*site) is not None for site in sites) else None
    if producer.op_type != "Attention" or "q_num_heads" not in producer.attributes:
        return None  # with heads apart, [batch, heads, length, width], the channels are split over two axes
    heads = producer.attributes.get_int("q_num_heads"), producer.attributes.get_int("kv_num_heads")
    projected = producer.inputs[2] if len(producer.inputs) > 2 else None
    if heads[0] != heads[1] or projected is None or len(projected.consumers()) != 1 or projected.is_graph_output():
        return None
    return _projection(projected.producer())


def _projection(node: ir.Node | None) -> Maker | None:
    """The weight and bias of the Linear that ends in `node`; None where other nodes read its weight."""
    bias: Maker = ()
    if node is not None and node.op_type == "Add":
        product = next((side.producer() for side in node.inputs if side is not None and side.producer()), None)
        site = find_bias(product) if product is not None and product.op_type == "MatMul" else None
        if site is None:
            return None
        node, bias = product, (site,)
    if node is None or node.op_type != "MatMul":
        return None
    weight = _constant_of(node, 1)
    return ((node, 1), *bias) if weight is not None and len(weight.uses()) == 1 else None


def _constant_of(node: ir.Node, position: int) -> ir.Value | None:
    value = node.inputs[position]
    return value if value is not None and value.const_value is not None else None


def scale_group(model: ir.Model, group: Group, factor: FloatArray) -> bool:
    """Divide the group's inputs by `factor` [in] and multiply its weights by it; in place.

    Returns whether the division cost nothing. Layers and groups that were found before are out of date then.
    """
    for weight, transposed in {layer.weight: layer.transposed for layer in group.layers}.items():
        _set(weight, numbers_of(weight) * (factor if transposed else factor[:, None]))
    maker = find_maker(group)
    if maker is not None:
        for node, position in maker:
            _divide(model, node, position, factor)
        return True
    ours = {id(node) for layer in group.layers for node in layer.nodes}
    for value in group.inputs:
        inverse = constant(model, f"{group.layers[0].path}.smoothing", (1 / factor).astype(np.float32))
        divide = ir.node("Mul", [value, inverse], name=f"{value.name}_smoothed")
        divide.outputs[0].name, divide.outputs[0].shape = divide.name, value.shape
        divide.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        first = next(node for node in model.graph if id(node) in ours and node.inputs[0] is value)
        model.graph.insert_before(first, divide)
        for node in value.consumers():
            if id(node) in ours and node.inputs[0] is value:
                node.replace_input_with(0, divide.outputs[0])
    return False


def correct_bias(model: ir.Model, layer: Layer, correction: FloatArray) -> bool:
    """Add to the layer's bias [out] if it has one at every call site; in place. Returns whether it has."""
    sites = [site for site in map(find_bias, layer.nodes) if site is not None]
    if len(sites) < len(layer.nodes):
        return False
    for node, position in sites:
        old = node.inputs[position]
        assert old is not None
        corrected = constant(model, f"{layer.path}.bias_corrected", numbers_of(old) + correction)
        node.replace_input_with(position, corrected)
        if not old.uses():
            model.graph.initializers.pop(str(old.name))
    return True


def _divide(model: ir.Model, node: ir.Node, position: int, factor: FloatArray) -> None:
    """Divide a constant in its last axis; a vector that other nodes read too is copied for this one."""
    old = node.inputs[position]
    assert old is not None
    divided = (numbers_of(old) / factor).astype(np.float32)
    if len(old.uses()) == 1:
        _set(old, divided)
    else:
        node.replace_input_with(position, constant(model, f"{node.name}_smoothed_{position}", divided))


def _set(value: ir.Value, array: NDArray[np.floating[Any]]) -> None:
    """Give a constant other numbers; the tensor that it had, which other graphs may hold, is left as it is."""
    value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=value.name)
